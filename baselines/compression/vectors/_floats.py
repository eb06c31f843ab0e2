"""Plain casts to smaller floats, and back without a table."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.baselines.compression.vectors._products import Products
from harness.tasks.compression.vectors import Float32

LAYOUTS = {
    "float16": (5, 10),
    "bfloat16": (8, 7),
    "float8_e4m3fn": (4, 3),
    "float8_e5m2": (5, 2),
}
"""Bits of exponent and mantissa, by the name of the NumPy or ml_dtypes type."""


def widen(codes: NDArray[np.signedinteger[Any]], exponent: int, mantissa: int) -> Float32:
    """Finite floats of a sign, `exponent` and `mantissa` bits, held in signed integers of that width, as float32.

    The bits are shifted to where float32 has them, and the difference of the biases is multiplied in, which makes
    subnormal numbers right as well. Some ten times as fast as a cast of one number at a time.
    """
    bits = codes.astype(np.int32)  # the sign is spread over all higher bits: the mask leaves the highest
    bits <<= 23 - mantissa
    bits &= np.int32(-(2**31) + 2 ** (23 + exponent) - 1)
    floats: Float32 = bits.view(np.float32)
    if exponent < 8:
        floats *= np.float32(2.0 ** (127 - (2 ** (exponent - 1) - 1)))
    return floats


class Cast(Products):
    """Rounds each number to the nearest of type `kind`; what is larger than its largest becomes that."""

    kind: str = ""

    def code(self, vectors: Float32) -> NDArray[np.uint8]:
        import ml_dtypes

        largest = float(ml_dtypes.finfo(self.kind).max)  # type: ignore[no-untyped-call]
        return np.clip(vectors, -largest, largest).astype(self.kind).view(np.uint8)

    def numbers(self, codes: NDArray[np.uint8]) -> Float32:
        exponent, mantissa = LAYOUTS[self.kind]
        return widen(codes.view(f"i{(1 + exponent + mantissa) // 8}"), exponent, mantissa)
