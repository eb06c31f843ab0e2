"""Round-to-nearest integers with a scale for each row, or for each group of weights."""

import numpy as np
from numpy.typing import NDArray

from harness.baselines.compression.weights._bits import (
    from_bits,
    grouped,
    pack_bits,
    round_to_bits,
    ungrouped,
    unpack_bits,
)
from harness.tasks.compression.weights import Parts, TensorCodec


class Integers(TensorCodec):
    """Symmetric integers of 2 to 8 bits, really packed, with a float16 scale for each row, or for 32 weights (-g32).

    The plain rungs of Gholami et al. 2021 (arXiv:2103.13630): no calibration. Two bits are three levels.
    """

    bits: int = 8
    group: int = 0
    variants = {
        "int8": {"bits": 8},
        "int6": {"bits": 6},
        "int4": {"bits": 4},
        "int4-g32": {"bits": 4, "group": 32},
        "int3-g32": {"bits": 3, "group": 32},
        "int2-g32": {"bits": 2, "group": 32},
    }

    def shrink(self, matrix: NDArray[np.float32]) -> Parts:
        codes, scales = round_to_bits(grouped(matrix, self.group), self.bits)
        return {"q": pack_bits(codes, self.bits), "s": scales.ravel()}

    def restore(self, parts: Parts, shape: tuple[int, int]) -> NDArray[np.float32]:
        n, width = len(parts["s"]), self.group or shape[1]
        codes = unpack_bits(parts["q"], self.bits, n * width).reshape(n, width)
        return ungrouped(from_bits(codes, parts["s"], self.bits), shape)
