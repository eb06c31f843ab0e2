"""Exact nearest neighbours: what direct differences in float64 say, found at the speed of a matrix product.

|x|^2 - 2 q.x ranks like the distance but cancels where points are near each other and far from the origin (in float32
it gets 1 % of the neighbours wrong at intrinsic dimension 2). So it only selects candidates, in float64, and direct
differences decide among them. A margin bounds all rounding; a query for which more points lie within it than were
selected goes round again with more candidates, in the end with all points.

The margin: products of float32 numbers are exact in float64, and a sum of m terms is off by at most (m - 1) u times the
sum of their magnitudes in whatever order (u = 2^-53; Higham 2002, section 4.2, to first order). With r = |q| + max |x|,
a score is then off by at most (2d + 2) u r^2, and a direct squared distance by (d + 2) u r^2. Both hold for two
points each; `_margin` takes (8d + 64) u r^2 for all of it.
"""

from __future__ import annotations

import os
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.tasks.hnsw.generate import BLOCK_BYTES, Float32, Float64, blocks, digest
from harness.tasks.hnsw.interface import Metric

TIE = 1e-6
"""An answer is as near as the k-th neighbour if its distance is at most d_k + TIE |d_k|. Relative, since an absolute
tolerance means something else on every scale."""
VERSION = 1
"""Of what `nearest` returns; part of the cache's key."""
SLACK = 32
"""Candidates beyond k in the first round, eight times as many in all in each further one."""

TOGETHER = 256
"""Queries in one product: fewer convert the points more often, more merge candidates more often."""

Int64 = NDArray[np.int64]


def nearest(vectors: Float32, queries: Float32, k: int, metric: Metric) -> tuple[Int64, Float64]:
    """The k nearest of `vectors` (n, d) to each of `queries` (q, d): positions (q, k) and distances (q, k), ascending.

    Distance: Euclidean (l2, and cosine, where lengths are 1), or minus the inner product (ip). Equal distances come by
    position. The result is that of sorting all direct float64 distances. Memory beyond arguments and result: about
    5 BLOCK_BYTES (160 MB) and 8 n bytes. Raises ValueError unless 1 <= k <= n.
    """
    n = len(vectors)
    if not 1 <= k <= n:
        raise ValueError(f"{k} neighbours among {n} points do not exist: ask for 1 .. {n}")
    ids, distances = np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float64)
    squares = _squared_norms(vectors)
    margin = _margin(squares, queries)
    offsets = np.zeros(n) if metric == "ip" else squares
    pending, wanted = np.arange(len(queries)), min(n, k + SLACK)
    while pending.size:
        again = []
        for start in range(0, len(pending), step := max(1, min(TOGETHER, BLOCK_BYTES // (16 * wanted)))):
            some = pending[start : start + step]
            found, scores = _candidates(vectors, offsets, queries[some], wanted, metric)
            # Nothing outside can be among the k nearest if the last candidate lies beyond the k-th and the margin.
            beyond = scores.max(axis=1) > np.partition(scores, k - 1, axis=1)[:, k - 1] + margin[some]
            settled = beyond | (wanted == n)
            for query, candidates in zip(some[settled], found[settled], strict=True):
                ids[query], distances[query] = _rank(vectors, queries[query], np.sort(candidates), k, metric)
            again.append(some[~settled])
        pending, wanted = np.concatenate(again), min(n, 8 * wanted)
    return ids, distances


def cached_nearest(vectors: Float32, queries: Float32, k: int, metric: Metric, folder: Path) -> tuple[Int64, Float64]:
    """`nearest`, kept in `folder` as an .npz named by a digest of all that decides it. A broken file is made anew."""
    path = folder / f"exact-{digest(vectors, queries, label=f'{VERSION} {k} {metric}')}.npz"
    try:
        with np.load(path, allow_pickle=False) as kept:
            ids, distances = kept["ids"], kept["distances"]
            if ids.shape == distances.shape == (len(queries), k):
                return ids, distances
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        pass
    ids, distances = nearest(vectors, queries, k, metric)
    save_arrays(path, ids=ids, distances=distances)
    return ids, distances


def save_arrays(path: Path, **arrays: Any) -> None:
    """Write an .npz whole or not at all: by temporary file, fsync and rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".making-")
    try:
        with open(handle, "wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def direct_distances(vectors: Float32, queries: Float32, ids: NDArray[np.integer], metric: Metric) -> Float64:
    """(q, k) float64 distances, as of `nearest`, to the positions `ids` (q, k); infinite where an id is -1."""
    out = np.full(ids.shape, np.inf)
    for row, query in enumerate(queries):
        real = ids[row] >= 0
        squares = _direct(vectors, query, ids[row][real].astype(np.int64), metric)
        out[row, real] = squares if metric == "ip" else np.sqrt(squares)
    return out


def agree(ids: NDArray[np.integer], distances: Float64, kth_distance: Float64) -> NDArray[np.bool_]:
    """(q, m): is each answered id (q, m), at its direct distance (q, m), as near as the true k-th neighbour (q,)?

    Ties within TIE count, -1 never does, and of a repeated id only its first place does.
    """
    order = np.argsort(ids, axis=1, kind="stable")
    ordered = np.take_along_axis(ids, order, axis=1)
    repeated = np.zeros(ids.shape, bool)
    np.put_along_axis(repeated, order[:, 1:], ordered[:, 1:] == ordered[:, :-1], axis=1)
    limit = (kth_distance + TIE * np.abs(kth_distance))[:, None]
    near: NDArray[np.bool_] = (distances <= limit) & ~repeated & (ids >= 0)
    return near


def recall(ids: NDArray[np.integer], distances: Float64, true_distances: Float64, k: int) -> Float64:
    """(q,) recall@k: how many of the first k answered ids `agree` with the k-th true distance, over k.

    `ids` and `distances` (q, at least k or fewer if fewer were answered), `true_distances` (q, at least k).
    """
    counts: Float64 = agree(ids[:, :k], distances[:, :k], true_distances[:, k - 1]).sum(axis=1) / k
    return counts


def _candidates(
    vectors: Float32, offsets: Float64, queries: Float32, wanted: int, metric: Metric
) -> tuple[Int64, Float64]:
    """Positions and scores (q, wanted) of the lowest scores offset - 2 q.x (- q.x for ip), in no order."""
    dim = vectors.shape[1]
    # The offset is one more column, so that one product gives the score; a factor of 2 costs no digits.
    left = np.empty((len(queries), dim + 1))
    left[:, :dim], left[:, dim] = queries.astype(np.float64) * (-1.0 if metric == "ip" else -2.0), 1.0
    ids = np.full((len(queries), wanted), -1, np.int64)
    best = np.full((len(queries), wanted), np.inf)
    worst = np.full(len(queries), np.inf)
    step = max(1, min(BLOCK_BYTES // (8 * len(queries)), BLOCK_BYTES // (8 * (dim + 1))))
    for start in range(0, len(vectors), step):
        rows = slice(start, min(start + step, len(vectors)))
        right = np.empty((rows.stop - start, dim + 1))
        right[:, :dim], right[:, dim] = vectors[rows], offsets[rows]
        scores = left @ right.T
        hits = scores < worst[:, None]
        for row in np.flatnonzero(hits.any(axis=1)):
            new = np.flatnonzero(hits[row])
            pool = np.concatenate([best[row], scores[row, new]])
            keep = np.argpartition(pool, wanted - 1)[:wanted]
            best[row], ids[row] = pool[keep], np.concatenate([ids[row], new + start])[keep]
            worst[row] = best[row].max()
    return ids, best


def _rank(vectors: Float32, query: Float32, ids: Int64, k: int, metric: Metric) -> tuple[Int64, Float64]:
    """The k nearest of the ascending positions `ids`, by direct distance and then by position."""
    values = _direct(vectors, query, ids, metric)
    first = np.argsort(values, kind="stable")[:k]
    return ids[first], values[first] if metric == "ip" else np.sqrt(values[first])


def _direct(vectors: Float32, query: Float32, ids: Int64, metric: Metric) -> Float64:
    """Squared Euclidean distances, or minus the inner products (ip), summed in float64."""
    out = np.empty(len(ids))
    exact = query.astype(np.float64)
    for rows in blocks(len(ids), vectors.shape[1]):
        points = vectors[ids[rows]].astype(np.float64)
        if metric == "ip":
            out[rows] = -np.einsum("ij,j->i", points, exact)
        else:
            points -= exact
            out[rows] = np.einsum("ij,ij->i", points, points)
    return out


def _squared_norms(vectors: Float32) -> Float64:
    out = np.empty(len(vectors))
    for rows in blocks(*vectors.shape):
        block = vectors[rows].astype(np.float64)
        out[rows] = np.einsum("ij,ij->i", block, block)
    return out


def _margin(squares: Float64, queries: Float32) -> Float64:
    """(q,) how far two scores must lie apart for their order to be that of the direct distances (see the top)."""
    reach = np.sqrt(_squared_norms(queries)) + np.sqrt(squares.max())
    margin: Float64 = (8 * queries.shape[1] + 64) * 2.0**-53 * reach**2
    return margin
