"""Whole numbers of a few bits, side by side: what makes 4 bits cost 4 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


def pack_bits(codes: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Numbers 0 .. 2**bits - 1 of any shape in `bits` bits each, with at most 7 bits of padding at the end."""
    places = np.arange(bits, dtype=np.uint16)
    return np.packbits((codes.ravel().astype(np.uint16)[:, None] >> places & 1).astype(np.uint8))


def unpack_bits(packed: NDArray[np.uint8], bits: int, n: int) -> NDArray[np.int64]:
    """The first `n` of such numbers, (n,)."""
    single = np.unpackbits(packed, count=n * bits).reshape(n, bits).astype(np.int64)
    return single @ (1 << np.arange(bits))


def packed_size(n: int, bits: int) -> int:
    """Bytes of n such numbers."""
    return -(-n * bits // 8)


def grouped(matrix: Float32, group: int) -> Float32:
    """Rows that share a scale: those of the matrix (group 0), or its numbers in tens of `group`, the last one filled
    up with zeros."""
    if not group:
        return matrix
    flat = matrix.ravel()
    return np.pad(flat, (0, -len(flat) % group)).reshape(-1, group)


def ungrouped(groups: NDArray[Any], shape: tuple[int, int]) -> Float32:
    """The matrix again, without what it was filled up with."""
    return groups.ravel()[: shape[0] * shape[1]].reshape(shape).astype(np.float32)


def round_to_bits(groups: Float32, bits: int) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
    """Symmetric integers, each row by its largest magnitude: codes from 0 (for the most negative) and scales, (n, 1).

    2**bits - 1 levels are used, round zero, so that zero is one of them.
    """
    top = _top(bits)
    scales = (np.abs(groups).max(axis=1, keepdims=True) / top).astype(np.float16)
    steps = np.where(scales > 0, scales, 1).astype(np.float32)
    return (np.clip(np.rint(groups / steps), -top, top) + top).astype(np.uint8), scales


def from_bits(codes: NDArray[Any], scales: NDArray[np.float16], bits: int) -> Float32:
    """The numbers that codes, (n, width), and scales, (n, 1), stand for."""
    numbers: Float32 = (codes.astype(np.float32) - _top(bits)) * scales.astype(np.float32).reshape(-1, 1)
    return numbers


def _top(bits: int) -> int:
    return (1 << bits - 1) - 1
