"""What a method of this task implements, and what "solved" means, for method and judge alike."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.task import Baseline

TIE = 1e-12
"""Scores closer than this are tied. Rounding moves a 64-bit dot product of unit vectors by less than 1e-15, so that
the verdict depends neither on the order of summation nor on the machine."""
BLOCK_ITEMS = 1 << 18
"""Scores held at a time (2 MiB in float64, the size of a core's cache), whatever the number of pairs."""


class Vectors(NamedTuple):
    """One attempt: a vector for every pair of documents and for every document, all of length 1."""

    queries: NDArray[Any]
    """(n (n - 1) / 2, d), any float dtype; rows in the order of `itertools.combinations(range(n), 2)`."""
    documents: NDArray[Any]
    """(n, d), any float dtype."""


class FreeEmbedder(Baseline):
    """Finds vectors that answer all pairs. Nothing is read: the vectors themselves are the free parameters."""

    def fit(self, n: int, d: int) -> Vectors:
        """Unit vectors in d dimensions so that the two best documents of query {a, b}, by dot product, are a and b.

        Called once for each n that the search tries. A method need not succeed: what it returns is its best, and the
        search goes on from there. Raises Unsupported where the method has no answer at all for this n or d, which ends
        the search.
        """
        raise NotImplementedError


def all_pairs(n: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First and second document of every query, each of shape (n (n - 1) / 2,), in lexicographic order."""
    first, second = np.triu_indices(n, 1)
    return first, second


def smallest_margin(queries: NDArray[Any], documents: NDArray[Any]) -> float:
    """How far the worst query is from failing: its lower relevant score minus its best other score, in float64.

    The exact top 2 is right for all queries if and only if this is positive; a value below `TIE` counts as a tie, and
    a tie as a miss. It is twice the gamma of the margin bound (`published.least_dimension`). Stops at the first
    block of queries that holds a miss, so that a negative value only says "not solved". With n = 2 nothing else is
    there to be returned: infinity. NaN for vectors that hold NaN. Memory is bounded by `BLOCK_ITEMS` scores.
    """
    n = len(documents)
    first, second = all_pairs(n)
    wide = np.ascontiguousarray(documents.T, dtype=np.float64)
    rows = max(1, BLOCK_ITEMS // n)
    worst = np.inf
    for start in range(0, len(queries), rows):
        scores = queries[start : start + rows].astype(np.float64) @ wide
        row = np.arange(len(scores))
        a, b = first[start : start + rows], second[start : start + rows]
        relevant = np.minimum(scores[row, a], scores[row, b])
        scores[row, a] = scores[row, b] = -np.inf
        worst = float(np.minimum(worst, np.min(relevant - scores.max(axis=1))))  # keeps NaN, unlike min()
        if not worst > TIE:
            break
    return worst
