"""Fastfood (Le et al. 2013): a projection that acts like a gaussian one in O(D log d) time and O(D) memory.

Stacked blocks G H S H B of n x n, n the next power of two from d: B random signs, H the Hadamard transform, S a random
order, G gaussian factors. Used for intrinsic dimension by Li et al. 2018 (section S7) and Aghajanyan et al. 2020.
"""

import math

import numpy as np
import torch
from torch import Tensor

from harness.tasks.compression.subspace import Projection, SubspaceMethod


class Fastfood(SubspaceMethod):
    """theta0 + P z, P of stacked Hadamard blocks with random signs, orders and gaussian factors."""

    takes = ("digits-fc50-*",)
    scale = "full"

    def project(self, n_parameters: int, d: int, seed: int) -> Projection:
        return FastfoodProjection(n_parameters, d, seed)


class FastfoodProjection:
    """P as its factors. All columns of whole blocks have the same length, which is brought to 1; of the last block
    only as many rows are used as are left, so that columns end up within a share of about n / D of it."""

    def __init__(self, n_parameters: int, d: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.n_parameters, self.d = n_parameters, d
        self.n = n = 1 << max(0, math.ceil(math.log2(d)))
        self.blocks = blocks = -(-n_parameters // n)
        self.signs = torch.from_numpy(1 - 2 * rng.integers(2, size=(blocks, n)).astype(np.float32))
        self.order = torch.from_numpy(rng.permuted(np.tile(np.arange(n), (blocks, 1)), axis=1))
        factors = rng.standard_normal((blocks, n), dtype=np.float32)
        used = np.minimum(n, n_parameters - n * np.arange(blocks))
        squares = (factors**2).sum(1) * used  # of one column's entries in each block, n_parameters / n of them in all
        self.factors = torch.from_numpy((factors / math.sqrt(squares.sum())).astype(np.float32))

    def expand(self, z: Tensor) -> Tensor:
        padded = torch.nn.functional.pad(z, (0, self.n - self.d))
        mixed = hadamard(self.signs * padded).gather(1, self.order)
        return hadamard(self.factors * mixed).flatten()[: self.n_parameters]

    def reduce(self, gradient: Tensor) -> Tensor:
        padded = torch.nn.functional.pad(gradient, (0, self.n * self.blocks - self.n_parameters))
        mixed = self.factors * hadamard(padded.view(self.blocks, self.n))
        back = torch.empty_like(mixed).scatter_(1, self.order, mixed)
        return (self.signs * hadamard(back)).sum(0)[: self.d]


def hadamard(rows: Tensor) -> Tensor:
    """The Walsh-Hadamard transform of every row, (m, n), n a power of two: O(m n log n), not normalised."""
    m, n = rows.shape
    half = 1
    while half < n:
        pairs = rows.view(m, n // (2 * half), 2, half)
        rows = torch.stack([pairs[:, :, 0] + pairs[:, :, 1], pairs[:, :, 0] - pairs[:, :, 1]], dim=2).view(m, n)
        half *= 2
    return rows
