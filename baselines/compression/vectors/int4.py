"""Half a byte a number, with a scale for each vector."""

import numpy as np
from numpy.typing import NDArray

from harness.baselines.compression.vectors._packing import SCALE_BYTES, pack_nibbles, scaled, scales_of
from harness.baselines.compression.vectors._products import Products
from harness.tasks.compression.vectors import Codec, Float32, State


class Int4(Products, Codec):
    """Whole numbers from -7 to 7 times a bfloat16 scale in front of each vector's code."""

    symmetric: bool = False
    requires = ("ml_dtypes",)
    after = ("pca-50",)
    variants = {"int4": {}, "int4-symmetric": {"symmetric": True, "scale": "full"}}

    def fit(self, sample: Float32) -> State:
        return {"low": np.full(sample.shape[1], -8, np.int8)}  # of the number 0, which is not used

    def code(self, vectors: Float32) -> NDArray[np.uint8]:
        numbers, scales = scaled(vectors, 7)
        return np.hstack([scales, pack_nibbles((np.clip(np.rint(numbers), -7, 7) + 8).astype(np.uint8))])

    def numbers(self, codes: NDArray[np.uint8]) -> Float32:
        both = codes[:, SCALE_BYTES:]
        numbers = np.empty((len(codes), len(self.state["low"])), np.float32)
        half = both.shape[1]
        numbers[:, :half] = both >> 4
        numbers[:, half:] = both[:, : numbers.shape[1] - half] & 15
        return numbers

    def scales(self, codes: NDArray[np.uint8]) -> Float32:
        return scales_of(codes)
