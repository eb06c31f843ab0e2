"""What is published or proved about this task, to be drawn beside our own results.

Two kinds of limit meet here, and only one of them is a law:

- *Geometry.* Which top-2 sets vectors can return at all is decided by the sign rank of the relevance matrix, and that
  of "all pairs of n" does not grow with n: four dimensions are enough for any n (`moment_curve`, a cyclic polytope;
  Alon, Frankl & Rodl 1985 bound the sign rank by 2k). So a critical n found by optimisation is a limit of the
  optimiser, its loss and its budget, not of the dimension.
- *Margin.* What does cost dimensions is a gap between relevant and other scores that survives rounding
  (`least_dimension`). The moment curve pays with a gap that shrinks like n to the power -4.
"""

from __future__ import annotations

import math

import numpy as np

from harness.tasks.limit.free.interface import Vectors, all_pairs

SOURCE = "Weller et al. 2025, arXiv:2508.21038v2, Table 6 (free embeddings, k = 2)"

# fmt: off
CRITICAL_N = {
    4: 10, 5: 14, 6: 19, 7: 24, 8: 28, 9: 32, 10: 36, 11: 42, 12: 47, 13: 54, 14: 62, 15: 70, 16: 79, 17: 89, 18: 99,
    19: 109, 20: 120, 21: 132, 22: 144, 23: 157, 24: 170, 25: 184, 26: 198, 27: 213, 28: 229, 29: 245, 30: 261, 31: 278,
    32: 296, 33: 314, 34: 333, 35: 352, 36: 372, 37: 392, 38: 413, 39: 434, 40: 460, 41: 484, 42: 505, 43: 545, 44: 605,
    45: 626,
}
# fmt: on
"""Dimension -> the largest n for which the authors' optimiser found vectors."""

FIT = (-10.5322, 4.0309, 0.0520, 0.0037)
"""The cubic that the authors fit to the table, as printed: coefficients of d^0 to d^3, r^2 = 0.999."""


def published_critical_n(d: int) -> int | None:
    """The published critical n of dimension d (Table 6), or None where the table has no row (d < 4 or d > 45)."""
    return CRITICAL_N.get(d)


def fitted_critical_n(d: float) -> float:
    """The published cubic at d. Beyond d = 45 it extrapolates, as the paper itself does up to d = 4096."""
    return sum(coefficient * d**power for power, coefficient in enumerate(FIT))


def least_dimension(n: int, k: int, gamma: float) -> float:
    """The dimension below which no unit vectors return every k-subset of n documents with margin gamma.

    Margin gamma: each relevant score exceeds each other score by at least 2 gamma. From C(n, k) <= (1 + 1/gamma)^d
    (Theorem 1 of the same paper). Raises ValueError unless 1 <= k <= n and 0 < gamma <= 1.
    """
    if not 1 <= k <= n or not 0 < gamma <= 1:
        raise ValueError(f"needs 1 <= k <= n and 0 < gamma <= 1, not k={k}, n={n}, gamma={gamma}")
    return math.log(math.comb(n, k)) / math.log1p(1 / gamma)


def moment_curve(n: int) -> Vectors:
    """Four-dimensional float64 unit vectors that answer all pairs of any n, as far as float64 can tell scores apart.

    Documents lie on the trigonometric moment curve (cos t, sin t, cos 2t, sin 2t) at n even steps around the circle.
    The query for a and b is the polynomial -(1 - cos(t - a)) (1 - cos(t - b)), written as a vector: it is zero at a
    and b and negative elsewhere, and what it has beside cos t, sin t, cos 2t, sin 2t is constant in t, so that it moves
    all scores of a query alike.
    """
    t = 2 * np.pi * np.arange(n) / n
    documents = np.stack([np.cos(t), np.sin(t), np.cos(2 * t), np.sin(2 * t)], axis=1) / np.sqrt(2)
    first, second = all_pairs(n)
    a, b = t[first], t[second]
    queries = np.stack([np.cos(a) + np.cos(b), np.sin(a) + np.sin(b), -np.cos(a + b) / 2, -np.sin(a + b) / 2], axis=1)
    return Vectors(queries / np.linalg.norm(queries, axis=1, keepdims=True), documents)
