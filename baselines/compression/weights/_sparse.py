"""A matrix of few non-zero weights: which ones they are as one bit each, and their values as float16."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.tasks.compression.weights import Parts


def by_mask(matrix: NDArray[Any], kept: NDArray[np.bool_]) -> Parts:
    """Parts `m`, the mask, and `x`, the values where it is set, row by row."""
    return {"m": np.packbits(kept), "x": matrix[kept].astype(np.float16)}


def from_mask(parts: Parts, shape: tuple[int, int]) -> NDArray[np.float32]:
    """The matrix, with zeros elsewhere."""
    matrix = np.zeros(shape, np.float32)
    matrix[np.unpackbits(parts["m"], count=matrix.size).reshape(shape).astype(bool)] = parts["x"]
    return matrix


def largest(matrices: list[NDArray[np.float32]], share: float) -> float:
    """The magnitude that so large a share of all weights does not reach."""
    return float(np.quantile(np.concatenate([np.abs(m).ravel() for m in matrices]), share))
