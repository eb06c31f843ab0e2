"""For retrievers that make scores of their own: the k best documents of each query, by the task's rule for ties."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.tasks.limit.retrieval.interface import Hits

__all__ = ["best", "best_in_blocks"]

BLOCK_SCORES = 4 << 20
"""Scores held at once by `best_in_blocks`."""


def best(scores: NDArray[Any], k: int) -> Hits:
    """The k highest of (n_queries, n_documents) finite `scores`, best first; of equal ones the higher position.

    Returns min(k, n_documents) hits a query.
    """
    k = min(k, scores.shape[1])
    ids = np.empty((len(scores), k), np.int64)
    for row, chosen in zip(scores, ids, strict=True):
        floor = np.partition(row, len(row) - k)[len(row) - k]
        above = np.flatnonzero(row > floor)
        # Of what ties at the cut-off, however much it is, only the highest positions are needed.
        level = np.flatnonzero(row == floor)[len(above) - k :]
        found = np.concatenate([above, level])
        chosen[:] = found[np.lexsort((found, row[found]))[::-1]]
    return Hits(ids, np.take_along_axis(scores, ids, axis=1).astype(np.float64))


def best_in_blocks(score: Callable[[int, int], NDArray[Any]], n_queries: int, n_documents: int, k: int) -> Hits:
    """The same for scores that do not fit into memory at once.

    `score(first, last)` returns the (last - first, n_documents) scores of some queries.
    """
    size = max(1, BLOCK_SCORES // max(1, n_documents))
    starts = range(0, n_queries, size)
    blocks = [best(score(first, min(first + size, n_queries)), k) for first in starts]
    return Hits(np.concatenate([b.ids for b in blocks]), np.concatenate([b.scores for b in blocks]))
