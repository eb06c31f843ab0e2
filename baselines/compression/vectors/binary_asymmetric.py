"""One bit a number, against queries of full precision."""

import numpy as np
from numpy.typing import NDArray

from harness.baselines.compression.vectors._products import Products
from harness.tasks.compression.vectors import Codec, Float32, State


class BinaryAsymmetric(Products, Codec):
    """Signs as bits, which stand for -1 and 1; the queries stay float32.

    The row binary-paper takes 0 and 1 for them, on both sides, as Huerga-Perez et al. 2025 (arXiv 2505.00105) do.
    """

    lower: int = -1
    symmetric: bool = False
    variants = {"binary-asymmetric": {}, "binary-paper": {"lower": 0, "symmetric": True, "scale": "full"}}

    def fit(self, sample: Float32) -> State:
        return {"low": np.full(sample.shape[1], self.lower, np.int8), "step": np.array(1 - self.lower, np.int8)}

    def code(self, vectors: Float32) -> NDArray[np.uint8]:
        return np.packbits(vectors > 0, axis=1)

    def numbers(self, codes: NDArray[np.uint8]) -> Float32:
        return np.unpackbits(codes, axis=1, count=len(self.state["low"])).astype(np.float32)
