"""The sparse random projection, (D, d): also what a random-subspace code of a network regenerates from its seed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


class SparseProjection:
    """sqrt(D) entries a column, each +-1 / D^(1/4): columns of length 1, nearly orthogonal (Li et al. 2018, S7).

    The rows are cut into round(sqrt(D)) strips of equal height, and each column has one entry in each strip (the block
    construction of Kane & Nelson 2014), so that no draw is ever rejected: entries come straight from the raw output of
    PCG64, which NumPy promises to keep, unlike the streams of its distributions.
    """

    def __init__(self, n_parameters: int, d: int, seed: int) -> None:
        import torch

        self.n_parameters = n_parameters
        self.per_column = max(1, round(math.sqrt(n_parameters)))
        edges = np.arange(self.per_column + 1, dtype=np.uint64) * np.uint64(n_parameters) // np.uint64(self.per_column)
        raw = np.random.PCG64(seed).random_raw(d * self.per_column).reshape(d, self.per_column)
        rows = edges[:-1] + (raw >> np.uint64(1)) % np.diff(edges)
        signs = 1 - 2 * (raw & np.uint64(1)).astype(np.float32)
        self.rows = torch.from_numpy(rows.astype(np.int64).ravel())
        self.entries = torch.from_numpy((signs / math.sqrt(self.per_column)).astype(np.float32))

    def expand(self, z: Tensor) -> Tensor:
        """P z, (D,), of (d,)."""
        return z.new_zeros(self.n_parameters).scatter_add_(0, self.rows, (z[:, None] * self.entries).ravel())

    def reduce(self, gradient: Tensor) -> Tensor:
        """P^T g, (d,), of (D,)."""
        return (gradient[self.rows].reshape(self.entries.shape) * self.entries).sum(1)
