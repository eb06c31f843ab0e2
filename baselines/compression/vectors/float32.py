"""The reference: four bytes a number."""

import numpy as np
from numpy.typing import NDArray

from harness.baselines.compression.vectors._products import Products
from harness.tasks.compression.vectors import Codec, Float32


class PlainFloat32(Products, Codec):
    """The vectors as they are, in float32 (reference): exact search over them."""

    variants = {"float32": {}}

    def code(self, vectors: Float32) -> NDArray[np.uint8]:
        return np.ascontiguousarray(vectors, np.float32).view(np.uint8)

    def numbers(self, codes: NDArray[np.uint8]) -> Float32:
        return codes.view(np.float32)
