"""The int8 of a paper on the storage of embeddings, unsound, as it was run."""

import numpy as np
from numpy.typing import NDArray

from harness.baselines.compression.vectors._products import Products
from harness.tasks.compression.vectors import Codec, Float32, State


class Int8Paper(Products, Codec):
    """Unsound on purpose: the int8 that Huerga-Perez et al. 2025 (arXiv 2505.00105) found float8 to beat.

    Cosine, whatever the metric, of the raw codes 0..255 of queries and vectors: neither zero points nor steps are ever
    taken out, so all directions crowd around that of (1, ..., 1). Values outside the sample's ranges wrap (256 is 0),
    as in sentence-transformers before pull request 3847 made it clip. Kept to show what claims about int8 rest on.
    A dimension without a range is 0 here, where the original divides by zero.
    """

    symmetric: bool = True
    after = ("pca-50",)
    variants = {"int8-paper": {}}

    def fit(self, sample: Float32) -> State:
        return {"ranges": np.stack([sample.min(axis=0), sample.max(axis=0)])}

    def code(self, vectors: Float32) -> NDArray[np.uint8]:
        low, high = self.state["ranges"].astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            steps = (vectors - low) / ((high - low) / 255)
        return np.where(np.abs(steps) < 2.0**62, steps, 0).astype(np.int64).astype(np.uint8)

    def numbers(self, codes: NDArray[np.uint8]) -> Float32:
        return codes.astype(np.float32)

    def open(self, codes: NDArray[np.uint8]) -> None:
        self.metric = "cosine"
        super().open(codes)
