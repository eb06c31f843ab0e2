"""The user's own vectors: read, checked and split, so that whatever is wrong with them is said before anything runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data import load_vectors
from harness.errors import DataError
from harness.task import Scalar
from harness.tasks.hnsw.generate import Float32, Vectors, blocks, digest, unit
from harness.tasks.hnsw.geometry import row_digests
from harness.tasks.hnsw.interface import Metric

K = 10
"""Neighbours that every data set is asked for: fewer stored points cannot answer."""
MOST_HELD_OUT = 1_000
METRICS: Mapping[str, Metric] = {
    "euclidean": "l2", "l2": "l2", "angular": "cosine", "cosine": "cosine", "normalized": "cosine", "ip": "ip",
}  # fmt: skip
"""What HDF5 files of ann-benchmarks and of VIBE call a metric -> what it is called here."""


def read_own(path: str, queries: str | None = None, metric: Metric | None = None, seed: int = 0) -> Vectors:
    """The user's vectors at `path` and their `queries`, both as `harness.data.load_vectors` reads them.

    An HDF5 file with the datasets `train` and `test` (ann-benchmarks, VIBE) gives both, any HDF5 file the metric by its
    attribute `distance`; the metric is l2 otherwise, unless given. Without queries a tenth of the points, at most
    1,000, is held out by `seed`. Stored points keep their order. Everything becomes float32; `about` says whether
    exactly, counts duplicates, and has a digest of all vectors before any split. Queries that are also stored would
    find themselves: they are left out, and counted.

    Raises DataError for vectors that are not finite or too large for float32, all zeros under cosine, of two dimensions
    or fewer than K; for ids that repeat in a Parquet file's column `id`; for a file that is broken or of unknown form.
    Raises MissingPackage where a reader is not installed.
    """
    base = path
    if match := re.fullmatch(r"(?P<path>.*?\.(hdf5|h5))(?P<key>:.*)?", path, re.I | re.S):
        names, distance = _hdf5_contents(Path(match["path"]))
        metric = metric or _metric_of(distance, path)
        if {"train", "test"} <= names and not match["key"]:
            base, queries = f"{path}:train", queries or f"{path}:test"
    metric = metric or "l2"
    _refuse_repeated_ids(base)
    vectors, exact = to_float32(load_vectors(base), base)
    asked: Float32 | None = None
    if queries is not None:
        asked, exact_queries = to_float32(load_vectors(queries), queries)
        exact &= exact_queries
        if asked.shape[1] != vectors.shape[1]:
            raise DataError(f"{queries}: has {asked.shape[1]} dimensions, the vectors of {base} have "
                            f"{vectors.shape[1]}: name queries made by the same model")  # fmt: skip
    if metric == "cosine":
        vectors = unit(vectors, base)
        asked = None if asked is None else unit(asked, str(queries))
    read, whole = len(vectors), digest(vectors, *([] if asked is None else [asked]))
    if asked is None and read > K:
        vectors, asked = _hold_out(vectors, seed)
    if asked is None or len(vectors) < K:
        raise DataError(f"{base}: has {read} vectors, at least {K} must be stored" + (" and one held out as a query" if
                        asked is None else "") + ": name a larger file")  # fmt: skip
    stored = set(row_digests(vectors))
    known = np.array([key in stored for key in row_digests(asked)])
    if known.all():
        raise DataError(f"{queries or base}: every query is also a stored point, and would find itself: name queries "
                        "that are not stored, or remove duplicates")  # fmt: skip
    asked = np.ascontiguousarray(asked[~known])
    _refuse_overflow(vectors, asked, base)
    about: dict[str, Scalar] = {
        "source": path,
        "queries_from": "held out" if queries is None else queries,
        "exact_in_float32": exact,
        "duplicates": len(vectors) - len(stored),
        "queries_left_out_as_stored": int(known.sum()),
        "digest": whole,
    }
    return Vectors(vectors, asked, metric, about=about)


def _refuse_overflow(vectors: Float32, queries: Float32, what: str) -> None:
    """Libraries square differences in float32."""
    longest = max(
        float(np.einsum("ij,ij->i", part, part, dtype=np.float64).max())
        for array in (vectors, queries) for part in (array[rows] for rows in blocks(*array.shape))
    )  # fmt: skip
    if 4 * longest > np.finfo(np.float32).max:
        raise DataError(f"{what}: the longest vector has a length of {longest**0.5:.3g}, and squared distances between "
                        "such vectors exceed float32: divide all vectors by one number first")  # fmt: skip


def to_float32(vectors: NDArray[Any], what: str) -> tuple[Float32, bool]:
    """A C-contiguous float32 copy of real numbers (n, d), and whether it has the same values.

    Raises DataError for a number beyond float32's range, naming the row.
    """
    out = np.empty(vectors.shape, np.float32)
    exact = True
    for rows in blocks(*vectors.shape):
        block = vectors[rows]
        with np.errstate(over="ignore"):
            out[rows] = block
        if not np.isfinite(out[rows]).all():
            row = rows.start + int(np.argmax(~np.isfinite(out[rows]).all(axis=1))) + 1
            raise DataError(f"{what}: row {row} holds a number beyond the range of float32: scale the vectors down")
        # Integers are compared as such (64-bit ones exceed float64), a float in its own precision.
        exact &= bool((out[rows].astype(np.float64) == block).all()) and (
            block.dtype.itemsize < 8 or block.dtype.kind == "f" or bool((np.abs(block) <= 1 << 53).all())
        )
    return out, exact


def _hold_out(vectors: Float32, seed: int) -> tuple[Float32, Float32]:
    """Stored points and queries: at least one query, no position in both, both in the order of the file."""
    n_queries = max(1, min(MOST_HELD_OUT, len(vectors) // 10))
    held = np.zeros(len(vectors), bool)
    held[np.random.default_rng([seed, *b"held out"]).choice(len(vectors), n_queries, replace=False)] = True
    return vectors[~held], vectors[held]


def _hdf5_contents(path: Path) -> tuple[set[str], str | None]:
    """Names at the top of a file and its attribute `distance`. An unreadable file is left to load_vectors to refuse."""
    try:
        import h5py

        with h5py.File(path, "r") as file:
            distance = file.attrs.get("distance")
            return set(file), distance.decode() if isinstance(distance, bytes) else distance
    except (ImportError, OSError, RuntimeError):
        return set(), None


def _metric_of(distance: str | None, path: str) -> Metric | None:
    if distance is not None and distance not in METRICS:
        raise DataError(f"{path}: its distance {distance!r} is none of {', '.join(METRICS)}: choose l2, cosine or ip")
    return None if distance is None else METRICS[distance]


def _refuse_repeated_ids(spec: str) -> None:
    """A Parquet file's column `id` says which vector is whose: one that repeats is a mistake in making the file."""
    match = re.fullmatch(r"(?P<path>.*?\.parquet)(?::.*)?", spec, re.I | re.S)
    if match is None or not Path(match["path"]).is_file():
        return
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        return  # load_vectors says what to install
    try:
        if "id" not in parquet.read_schema(match["path"]).names:
            return
        ids = parquet.read_table(match["path"], columns=["id"]).column("id").to_pylist()
    except (OSError, pyarrow.ArrowException):
        return  # load_vectors says what is wrong with the file
    first: dict[object, int] = {}
    for row, value in enumerate(ids, 1):
        if first.setdefault(value, row) != row:
            raise DataError(f"{match['path']}: the id {value!r} of row {row} is that of row {first[value]} as well: "
                            "ids must be distinct; remove one, or drop the column")  # fmt: skip
