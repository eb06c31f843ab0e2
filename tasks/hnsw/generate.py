"""Vectors of known intrinsic dimension, made from a seed; and `Vectors`, the form in which all data sets come.

Points and queries are independent draws from one distribution: queries that are stored points are far easier (recall
.78 instead of .07 at dimension 1,024), so none ever is. Point i does not depend on
how many points or queries are drawn, up to the last digit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError
from harness.task import Scalar
from harness.tasks.hnsw.interface import Metric

NESTED_DIMS = (2, 4, 8, 16, 32, 64, 128, 256)
BLOCK_BYTES = 32 << 20
"""Rows are worked on in float64 in blocks of about this size, so that memory stays near that of the float32 result."""

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Vectors:
    """A data set: what is stored and what is asked. Under `cosine` all vectors have length 1 (see `unit`)."""

    vectors: Float32
    """(n, d), C-contiguous."""
    queries: Float32
    """(n_queries, d), C-contiguous, none of them also stored on purpose."""
    metric: Metric = "l2"
    categories: NDArray[np.int64] | None = None
    """(n,) of each stored point, where there are any."""
    relevant: Sequence[NDArray[np.int64]] | None = None
    """Per query the positions of the stored points that answer it (qrels, gain 1), where there are any."""
    about: Mapping[str, Scalar] = field(default_factory=dict)
    """Provenance: names, versions, digests, counts."""

    def digest(self) -> str:
        """SHA-256 (hex) of points, queries and metric."""
        return digest(self.vectors, self.queries, label=self.metric)


def subspace(k: int, dim: int, n: int, n_queries: int, seed: int, unit: bool = True) -> Vectors:
    """Gaussian coefficients on the first `k` vectors of a random orthonormal basis of R^`dim`; metric l2.

    Every point then has intrinsic dimension `k` (`k` - 1 with `unit`, which scales all points to length 1). Isotropic
    data are k = dim. `seed` is any integer from 0, of up to 128 bits and more. Raises ValueError unless 1 <= k <= dim.
    """
    if not 1 <= k <= dim:
        raise ValueError(f"an intrinsic dimension lies in 1 .. {dim}, got {k}")
    basis = _basis(k, dim, seed)

    def draw(rng: np.random.Generator, count: int) -> Float32:
        out = np.empty((count, dim), np.float32)
        for rows in blocks(count, dim):
            points = rng.standard_normal((rows.stop - rows.start, k)) @ basis
            out[rows] = _scaled(points) if unit else points
        return out

    return Vectors(draw(_rng(seed, "points"), n), draw(_rng(seed, "queries"), n_queries))


def nested(dims: Sequence[int], dim: int, n: int, n_queries: int, seed: int, unit: bool = True) -> Vectors:
    """Points of different intrinsic dimension round one origin: nested subspaces of R^`dim`; metric l2.

    All share one orthonormal basis; each point has gaussian coefficients on its first d vectors, d drawn evenly from
    `dims`, for queries too. `unit` scales to length 1, else lengths are about sqrt(d). The category is d's index.
    Raises ValueError unless all dims lie in 1 .. dim.
    """
    if not dims or min(dims) < 1 or max(dims) > dim:
        raise ValueError(f"intrinsic dimensions lie in 1 .. {dim}, got {list(dims)}")
    widest = max(dims)
    basis = _basis(widest, dim, seed)
    used = np.arange(widest) < np.asarray(dims)[:, None]

    def draw(of: str, count: int) -> tuple[Float32, NDArray[np.int64]]:
        kinds = _rng(seed, f"{of} kinds").integers(len(dims), size=count)
        rng = _rng(seed, of)
        out = np.empty((count, dim), np.float32)
        for rows in blocks(count, dim):
            points = (rng.standard_normal((rows.stop - rows.start, widest)) * used[kinds[rows]]) @ basis
            out[rows] = _scaled(points) if unit else points
        return out, kinds

    vectors, categories = draw("points", n)
    return Vectors(vectors, draw("queries", n_queries)[0], categories=categories)


def clusters(
    n_clusters: int, local_dim: int, dim: int, n: int, n_queries: int, seed: int, unit: bool = False, gap: float = 0.25
) -> Vectors:
    """Gaussian clusters of intrinsic dimension `local_dim` in R^`dim`, each in a random subspace of its own; metric l2.

    Centres lie at `gap` times a cluster's radius (sqrt(local_dim)) from the origin in random directions. Of a
    point's ten neighbours 63 % are of its own cluster at 0.25, 97 % at 0.45 (20 clusters of dimension 64 in 128, 10,000
    points). Points and queries choose a cluster evenly; it is the category.
    Raises ValueError unless 1 <= local_dim <= dim and there is a cluster.
    """
    if n_clusters < 1 or not 1 <= local_dim <= dim:
        raise ValueError(f"need clusters of dimension 1 .. {dim}, got {n_clusters} of {local_dim}")
    centres = _scaled(_rng(seed, "centres").standard_normal((n_clusters, dim))) * (gap * np.sqrt(local_dim))
    bases = [_basis(local_dim, dim, seed, f"basis {i}") for i in range(n_clusters)]

    def draw(of: str, count: int) -> tuple[Float32, NDArray[np.int64]]:
        kinds = _rng(seed, f"{of} kinds").integers(n_clusters, size=count)
        rng = _rng(seed, of)
        out = np.empty((count, dim), np.float32)
        for rows in blocks(count, dim):
            chosen, coefficients = kinds[rows], rng.standard_normal((rows.stop - rows.start, local_dim))
            points = centres[chosen]
            for i in range(n_clusters):
                points[chosen == i] += coefficients[chosen == i] @ bases[i]
            out[rows] = _scaled(points) if unit else points
        return out, kinds

    vectors, categories = draw("points", n)
    return Vectors(vectors, draw("queries", n_queries)[0], categories=categories)


def unit(vectors: NDArray[np.floating], what: str = "vectors") -> Float32:
    """`vectors` (n, d) scaled to length 1, computed in float64. Raises DataError naming a row of length zero."""
    out = np.empty(vectors.shape, np.float32)
    for rows in blocks(*vectors.shape):
        block = np.asarray(vectors[rows], np.float64)
        zero = ~block.any(axis=1)
        if zero.any():
            raise DataError(f"{what}: row {rows.start + int(np.argmax(zero)) + 1} is all zeros and has no direction "
                            "for the cosine: drop it, or use the metric l2")  # fmt: skip
        # Largest entry first: the squares of very small or large float32 numbers stay in range either way.
        out[rows] = _scaled(block / np.abs(block).max(axis=1, keepdims=True))
    return out


def digest(*arrays: NDArray[np.generic], label: str = "") -> str:
    """SHA-256 (hex) of a label and of each array's dtype, shape and bytes, in order; copies a block at a time."""
    sha = hashlib.sha256(label.encode())
    for array in arrays:
        sha.update(f"|{array.dtype.str}{array.shape}|".encode())
        for rows in blocks(len(array), int(np.prod(array.shape[1:]))):
            sha.update(np.ascontiguousarray(array[rows]).data)
    return sha.hexdigest()


def blocks(n: int, dim: int) -> Iterator[slice]:
    """Slices over `n` rows of `dim` float64 numbers, each of about BLOCK_BYTES."""
    step = max(1, BLOCK_BYTES // (8 * max(1, dim)))
    for start in range(0, n, step):
        yield slice(start, min(n, start + step))


def _rng(seed: int, stream: str) -> np.random.Generator:
    """An independent generator for each named part of one draw."""
    return np.random.default_rng([seed, *stream.encode()])


def _basis(k: int, dim: int, seed: int, stream: str = "basis") -> Float64:
    """(k, dim) orthonormal rows, uniformly distributed; a smaller k of the same seed spans a subspace of it."""
    q, r = np.linalg.qr(_rng(seed, stream).standard_normal((k, dim)).T)
    rows: Float64 = (q * np.sign(np.diagonal(r))).T
    return rows


def _scaled(points: Float64) -> Float64:
    scaled: Float64 = points / np.linalg.norm(points, axis=1, keepdims=True)
    return scaled
