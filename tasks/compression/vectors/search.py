"""Exact search over codes, by decoding a block at a time: the memory of the codes is all that it needs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.tasks.compression.vectors.interface import BLOCK_ROWS, Float32, Metric

if TYPE_CHECKING:
    from harness.tasks.compression.vectors.interface import Codec

QUERIES = 256
"""Queries that are compared with a block at a time."""


def search_decoded(codec: Codec, queries: Float32, k: int) -> NDArray[np.int64]:
    """(n_queries, k) positions of the nearest decoded vectors, best first; fewer columns where fewer are stored."""
    if codec.symmetric:
        queries = codec.decode(codec.code(queries))
    starts = range(0, len(codec.codes), BLOCK_ROWS)
    blocks = ((start, codec.decode(codec.codes[start : start + BLOCK_ROWS])) for start in starts)
    return nearest_in_blocks(blocks, queries, k, codec.metric)


def nearest_in_blocks(
    blocks: Iterable[tuple[int, Float32]], queries: Float32, k: int, metric: Metric
) -> NDArray[np.int64]:
    """(n_queries, k) positions of the nearest of vectors that come in blocks (first position, (m, d)), in float32.

    Cosine brings the vectors to length 1 (a zero vector is as far as any). Under l2 all is measured from the middle of
    the first block: far from it, |x|^2 - 2 q.x would cancel. Equal scores come by position.
    """
    middle: Float32 | None = None
    best = np.full((len(queries), 0), -np.inf, np.float32)
    ids = np.empty((len(queries), 0), np.int64)
    for start, vectors in blocks:
        offsets, scaled = np.zeros(len(vectors), np.float32), vectors
        if metric == "cosine":
            lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
            scaled = (vectors / np.where(lengths > 0, lengths, 1)[:, None]).astype(np.float32, copy=False)
        elif metric == "l2":
            if middle is None:
                middle = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
                queries = queries - middle
            scaled = vectors - middle
            offsets = np.einsum("ij,ij->i", scaled, scaled) / np.float32(2)
        found, places = [], []
        for first in range(0, len(queries), QUERIES):
            scores = queries[first : first + QUERIES] @ scaled.T - offsets
            top = _largest(scores, k)
            found.append(np.take_along_axis(scores, top, 1))
            places.append(top + start)
        merged = np.concatenate([best, np.concatenate(found)], axis=1)
        positions = np.concatenate([ids, np.concatenate(places)], axis=1)
        order = np.lexsort((positions, -merged), axis=1)[:, :k]
        best, ids = np.take_along_axis(merged, order, 1), np.take_along_axis(positions, order, 1)
    return ids


def _largest(scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Columns of the k largest of each row, in no order; of equal ones at the edge any."""
    if scores.shape[1] <= k:
        return np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
    return np.argpartition(scores, scores.shape[1] - k, axis=1)[:, -k:]
