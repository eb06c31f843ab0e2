"""Rows of fewer than k neighbours, which every library treats in its own way."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Found = NDArray[Any]


def fill_up(ids: Found, k: int) -> Found:
    """`ids`, (n_queries, at most k), with columns of -1 up to k."""
    missing = k - ids.shape[1]
    return ids if missing <= 0 else np.pad(ids.astype(np.int64), ((0, 0), (0, missing)), constant_values=-1)


def all_or_fewer(
    search: Callable[[Found, int], Found], queries: Found, k: int, too_few: type[Exception] = RuntimeError
) -> Found:
    """Search by a library that raises `too_few` when fewer than k points can be reached from where it enters the graph.

    Such a batch is searched again one query at a time, each for as many as can be reached (found by bisection).
    """
    try:
        return search(queries, k).view(np.int64)
    except too_few:
        search(queries, 1)  # raises again where the reason is another one
    rows = []
    for query in queries[:, None]:
        reached = bisect_left(range(1, k + 1), True, key=lambda wanted: _fails(search, query, wanted, too_few))
        rows.append(fill_up(search(query, reached).view(np.int64), k))
    return np.concatenate(rows)


def _fails(search: Callable[[Found, int], Found], query: Found, k: int, too_few: type[Exception]) -> bool:
    try:
        search(query, k)
    except too_few:
        return True
    return False
