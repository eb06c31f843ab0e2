"""A small network from scratch in 4 bits: the rung that compressing a large one must beat."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from harness.baselines.compression.weights._trained_small import packed, predictor, trained
from harness.tasks.compression.weights import Compressor, Parts, Predictor, Problem


class SmallInt4(Compressor):
    """A fully connected network of `hidden` units (0: logistic regression), trained on the train data alone, rounded
    to 4 bits. The large network's weights are not used."""

    hidden: int = 16
    bits: int = 4
    steps: int = 1500
    lr: float = 0.005
    variants = {
        "small-int4-0": {"hidden": 0},
        "small-int4-16": {"hidden": 16},
        "small-int4-32": {"hidden": 32},
    }
    takes = ("digits-*", "mnist-*")

    def encode(self, weights: Mapping[str, NDArray[np.float32]], problem: Problem) -> Parts:
        widths = [problem.inputs.shape[1], *([self.hidden] if self.hidden else []), int(problem.labels.max()) + 1]
        small = "fc:" + "-".join(map(str, widths))
        own = trained(small, problem, self.steps, self.lr, self.context.seed)
        return packed(small, own, self.bits)

    def decode(self, parts: Parts) -> Predictor:
        return predictor(parts, self.bits)
