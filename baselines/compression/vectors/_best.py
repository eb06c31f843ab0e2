"""The k best of scores that come in blocks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Best:
    """The k best positions of every query. After the first k only what beats the worst of them is looked at: a
    comparison of all scores is some ten times cheaper than a partition of them."""

    def __init__(self, n_queries: int, k: int) -> None:
        self.k = k
        self.scores = np.empty((n_queries, 0), np.float32)
        self.ids = np.empty((n_queries, 0), np.int64)
        """(n_queries, at most k) positions, best first; equal ones by position."""

    def add(self, start: int, scores: NDArray[np.float32]) -> None:
        """`scores`, (n_queries, m), of the positions from `start` on. Blocks come in the order of their positions."""
        n, width = scores.shape
        if self.ids.shape[1] < self.k:
            near = np.argpartition(scores, width - self.k, axis=1)[:, -self.k :] if width > self.k else np.arange(width)
            places = np.sort(np.broadcast_to(near, (n, min(width, self.k))), axis=1)
            found = np.take_along_axis(scores, places, 1)
        else:
            rows, columns = np.divmod(np.flatnonzero(scores > self.scores[:, -1:]), width)
            if not len(rows):
                return
            counts = np.bincount(rows, minlength=n)
            slots = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
            found = np.full((n, counts.max()), -np.inf, np.float32)
            places = np.zeros(found.shape, np.int64)
            found[rows, slots], places[rows, slots] = scores[rows, columns], columns
        merged, ids = np.hstack([self.scores, found]), np.hstack([self.ids, places + start])
        order = np.argsort(-merged, axis=1, kind="stable")[:, : self.k]
        self.scores, self.ids = np.take_along_axis(merged, order, 1), np.take_along_axis(ids, order, 1)
