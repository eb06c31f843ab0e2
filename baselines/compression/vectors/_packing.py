"""Scales of two bytes a vector, and two numbers a byte."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.tasks.compression.vectors import Float32

SCALE_BYTES = 2


def scaled(vectors: Float32, top: float) -> tuple[Float32, NDArray[np.uint8]]:
    """`vectors` divided so that the largest entry of each is about `top`, and the (n, 2) bytes of what it was
    divided by. These are bfloat16: float16 ends at 65,504, and the numbers are rounded against the rounded scale."""
    import ml_dtypes

    scales = (np.abs(vectors).max(axis=1, keepdims=True) / top).astype(ml_dtypes.bfloat16)
    scales[scales == 0] = 1
    return vectors / scales.astype(np.float32), scales.view(np.uint8)


def scales_of(codes: NDArray[np.uint8]) -> Float32:
    """(n,) scales that stand in the first bytes of `codes`."""
    high = np.ascontiguousarray(codes[:, :SCALE_BYTES]).view("<u2")[:, 0].astype(np.uint32) << np.uint32(16)
    return high.view(np.float32)


def pack_nibbles(numbers: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(n, d) numbers below 16 as (n, d / 2 rounded up) bytes: dimension i and i + half share one, so that both are
    unpacked in one stretch."""
    half = (numbers.shape[1] + 1) // 2
    packed = numbers[:, :half] << np.uint8(4)
    packed[:, : numbers.shape[1] - half] |= numbers[:, half:]
    return packed
