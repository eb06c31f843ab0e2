"""What others measured. Li et al. 2018: "Measuring the Intrinsic Dimension of Objective Landscapes" (ICLR), all of
60,000 MNIST images; their numbers are the smallest d on their grid that reached the threshold, re-read from the curves
in their repository (uber-research/intrinsic-dimension, 9754ebe, `main_plots.ipynb`).
"""

from __future__ import annotations

from collections.abc import Mapping

_RELATIVE: Mapping[str, str] = {
    "mnist-fc200": "525 (width 400; depth 3: 575); 725-900 by bootstrap of their width-200 curves",
    "mnist-lenet": "275",
}
_ABSOLUTE: Mapping[str, str] = {
    "mnist-fc200": "750",
    "mnist-lenet": "290",
    "mnist-lenet-pixels": "1400",
    "mnist-fc200-pixels": "750",
}
_LABELS = "90,000 for 6,000 labels of MNIST (15 a label), 190,000 for 60,000 (Li et al. 2018)"
_PRETRAINED = "Aghajanyan et al. 2020: 200 numbers reach 90 % on MRPC from RoBERTa; no d90 of this data is published"


def beside(objective: str, relative: bool) -> str:
    """What is published of an objective's d90 under one of the thresholds; empty where nothing is."""
    if objective.endswith("-labels"):
        return _LABELS
    if objective.startswith("mnist59"):
        return _PRETRAINED
    found = (_RELATIVE if relative else _ABSOLUTE).get(objective, "")
    return f"{found} (Li et al. 2018, 60,000 images)" if found else ""
