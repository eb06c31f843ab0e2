"""Estimates of intrinsic dimension: how many directions the data vary in, round each point and altogether."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from harness.task import Scalar
from harness.tasks.hnsw.exact import nearest
from harness.tasks.hnsw.generate import Float32, Float64, blocks

CAVEAT = "both estimates collapse above some 30 dimensions: isotropic 256 shows as 70 to 95"
NEIGHBOURS = 100
"""Customary in the literature on LID (Amsaleg et al. 2015); a smaller k has a larger variance."""
SAMPLE = 2_000
"""Points at which a large data set's dimension is estimated, against all of its points."""

Int64 = NDArray[np.int64]


def lid_mle(distances: Float64) -> Float64:
    """(n,) local intrinsic dimension from each row of ascending neighbour distances (n, k), the point itself left out.

    Maximum likelihood (Levina & Bickel 2004, eq. 8; Amsaleg et al. 2015): -1 / mean of ln(r_i / r_k) over i = 1 .. k,
    the last term of which is 0. Zero distances (duplicates) are left out. Infinite where all distances are equal,
    not a number where all are zero.
    """
    real = distances > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(real, np.log(distances / distances[:, -1:]), 0.0)
        # The negated sum first: equal distances give 0 and not -0, so that their estimate is plus infinity.
        estimate: Float64 = real.sum(axis=1) / (0.0 - logs.sum(axis=1))
    return estimate


def pointwise_lid(vectors: Float32, k: int = NEIGHBOURS, rows: Int64 | None = None) -> Float64:
    """(n,) `lid_mle` of each vector, or of those at the positions `rows`, from its k nearest others (fewer if n <= k).

    Costs n distances a row: 2 n^2 d operations for all. Raises ValueError for fewer than 3 vectors.
    """
    return lid_mle(neighbour_distances(vectors, k, rows))


def two_nn(distances: Float64) -> float:
    """The dimension that explains the ratio of each point's second and first neighbour's distance (TwoNN).

    Facco et al. 2017: with F the empirical distribution of mu = r2 / r1, the slope through the origin of -ln(1 - F)
    over ln mu, its upper tenth discarded. `distances` (n, at least 2) are ascending and above zero: duplicates have to
    be removed first. Infinite where all ratios are 1.
    """
    log_mu = np.sort(np.log(distances[:, 1] / distances[:, 0]))
    kept = max(1, int(0.9 * len(log_mu)))
    x, y = log_mu[:kept], -np.log1p(-np.arange(1, kept + 1) / (len(log_mu) + 1))
    return float(x @ y / (x @ x)) if x.any() else float("inf")


def neighbour_distances(vectors: Float32, k: int, rows: Int64 | None = None) -> Float64:
    """(n, k) ascending distances of each vector, or of those at `rows`, to its k nearest others.

    A point is left out of its own neighbours by its position, not by its distance: duplicates are neighbours at 0.
    """
    if len(vectors) < 3:
        raise ValueError(f"{len(vectors)} vectors have no dimension to estimate: at least 3 are needed")
    rows = np.arange(len(vectors)) if rows is None else rows
    k = min(k, len(vectors) - 1)
    ids, distances = nearest(vectors, vectors[rows], k + 1, "l2")
    drop = ids == rows[:, None]
    drop[~drop.any(axis=1), -1] = True  # so many duplicates that the point itself is beyond them
    others: Float64 = distances[~drop].reshape(len(rows), k)
    return others


def distinct_rows(vectors: NDArray[np.floating]) -> Int64:
    """Positions of the first of each set of equal rows, ascending. Needs some 150 bytes a row."""
    first: dict[bytes, int] = {}
    for position, key in enumerate(row_digests(vectors)):
        first.setdefault(key, position)
    return np.fromiter(first.values(), np.int64, len(first))


def row_digests(vectors: NDArray[np.floating]) -> Iterator[bytes]:
    """Of each row 16 bytes that equal rows share and, but for chance in 2^128, no others. Zero equals minus zero."""
    for rows in blocks(*vectors.shape):
        for row in np.ascontiguousarray(vectors[rows] + vectors.dtype.type(0)):
            yield hashlib.blake2b(row.data, digest_size=16).digest()


def describe_geometry(vectors: Float32, seed: int) -> dict[str, Scalar]:
    """Both estimates of a data set, for the record; None where undefined (fewer than 3 distinct points).

    Duplicates are removed first. A large set's are over a sample of its points by `seed`, each against all the others.
    """
    distinct = distinct_rows(vectors)
    n, rows = len(distinct), None
    points = vectors if n == len(vectors) else vectors[distinct]
    if n > SAMPLE:
        rows = np.sort(np.random.default_rng([seed, *b"geometry"]).choice(n, SAMPLE, replace=False))
    described: dict[str, Scalar] = {"lid_mle_mean": None, "lid_mle_sd": None, "two_nn": None}
    if n >= 3:
        distances = neighbour_distances(points, NEIGHBOURS, rows)
        local, whole = lid_mle(distances), two_nn(distances)
        local = local[np.isfinite(local)]
        if local.size:
            described |= {"lid_mle_mean": float(local.mean()), "lid_mle_sd": float(local.std())}
        if np.isfinite(whole):
            described["two_nn"] = whole
    return {**described, "lid_neighbours": min(NEIGHBOURS, n - 1), "sample": min(SAMPLE, n), "caveat": CAVEAT}
