"""One byte a number, with a scale for each vector."""

import numpy as np
from numpy.typing import NDArray

from harness.baselines.compression.vectors._packing import SCALE_BYTES, scaled, scales_of
from harness.baselines.compression.vectors._products import Products
from harness.tasks.compression.vectors import Codec, Float32


class Int8PerVector(Products, Codec):
    """Numbers from -127 to 127 times a bfloat16 scale in front of each vector's code. Nothing is learned."""

    symmetric: bool = False
    requires = ("ml_dtypes",)
    variants = {"int8-per-vector": {}, "int8-per-vector-symmetric": {"symmetric": True, "scale": "full"}}

    def code(self, vectors: Float32) -> NDArray[np.uint8]:
        numbers, scales = scaled(vectors, 127)
        return np.hstack([scales, np.clip(np.rint(numbers), -127, 127).astype(np.int8).view(np.uint8)])

    def numbers(self, codes: NDArray[np.uint8]) -> Float32:
        return codes[:, SCALE_BYTES:].view(np.int8).astype(np.float32)

    def scales(self, codes: NDArray[np.uint8]) -> Float32:
        return scales_of(codes)
