"""Floats of half a byte: sign, two bits of exponent, one of mantissa."""

import numpy as np
from numpy.typing import NDArray

from harness.baselines.compression.vectors._packing import SCALE_BYTES, pack_nibbles, scaled, scales_of
from harness.baselines.compression.vectors._products import Products
from harness.tasks.compression.vectors import Codec, Float32, State


class Float4(Products, Codec):
    """Cast to float4 e2m1 (0, 0.5, 1, 1.5, 2, 3, 4, 6) by ml_dtypes, with a bfloat16 scale in front of each code.

    The row float4-paper casts without a scale, queries too, as in Huerga-Perez et al. 2025: what is below 0.25, nearly
    every entry of a unit vector, becomes 0.
    """

    scale_each: bool = True
    symmetric: bool = False
    requires = ("ml_dtypes",)
    variants = {"float4": {}, "float4-paper": {"scale_each": False, "symmetric": True, "scale": "full"}}

    def fit(self, sample: Float32) -> State:
        return {"dimension": np.array(sample.shape[1], np.uint32)}

    def code(self, vectors: Float32) -> NDArray[np.uint8]:
        import ml_dtypes

        numbers, scales = scaled(vectors, 6) if self.scale_each else (vectors, np.empty((len(vectors), 0), np.uint8))
        packed = pack_nibbles(np.clip(numbers, -6, 6).astype(ml_dtypes.float4_e2m1fn).view(np.uint8))
        return np.hstack([scales, packed])

    def numbers(self, codes: NDArray[np.uint8]) -> Float32:
        both = codes[:, SCALE_BYTES:] if self.scale_each else codes
        halves = np.hstack([both >> 4, both & 15])[:, : int(self.state["dimension"])]
        # Twice the value, in bytes: 0.5 is subnormal, which the arithmetic of floats is slow on, and frequent.
        exponent, mantissa = halves >> 1 & 3, halves & 1
        twice = (mantissa | np.minimum(exponent, 1) << 1) << (np.maximum(exponent, 1) - 1)
        signed = twice.view(np.int8) * (1 - (halves >> 2 & 2).view(np.int8))
        values: Float32 = signed.astype(np.float32) * np.float32(0.5)
        return values

    def scales(self, codes: NDArray[np.uint8]) -> Float32:
        return scales_of(codes) if self.scale_each else super().scales(codes)
