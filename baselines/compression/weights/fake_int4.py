"""Fake quantisation: the pitfall of weights that have 15 values and 32 bits."""

import numpy as np
from numpy.typing import NDArray

from harness.baselines.compression.weights._bits import from_bits, round_to_bits
from harness.tasks.compression.weights import Parts, TensorCodec


class FakeInt4(TensorCodec):
    """Weights rounded to int4 and stored as the float32 numbers that these stand for: as large as before (pitfall, kept
    to be seen; an entropy coder does get it smaller)."""

    small = "float32"

    def shrink(self, matrix: NDArray[np.float32]) -> Parts:
        return {"": from_bits(*round_to_bits(matrix, 4), 4)}

    def restore(self, parts: Parts, shape: tuple[int, int]) -> NDArray[np.float32]:
        return parts[""]
