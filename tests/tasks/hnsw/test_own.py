"""The user's own vectors: what is wrong with them is said by name and place, and what is odd about them is counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.errors import DataError
from harness.tasks.hnsw.geometry import row_digests
from harness.tasks.hnsw.interface import Metric
from harness.tasks.hnsw.own import read_own, to_float32

RNG = np.random.default_rng(0)
BASE = RNG.standard_normal((200, 6)).astype(np.float32)
QUERIES = RNG.standard_normal((15, 6)).astype(np.float32)


def saved(path: Path, array: np.ndarray) -> str:
    np.save(path, array)
    return str(path)


def hdf5(path: Path, distance: str | bytes | None = None, **datasets: np.ndarray) -> str:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name] = values
        if distance is not None:
            file.attrs["distance"] = distance
    return str(path)


def test_queries_are_held_out_by_the_seed_and_never_also_stored(tmp_path: Path) -> None:
    path = saved(tmp_path / "base.npy", BASE)
    data, again, other = read_own(path), read_own(path), read_own(path, seed=1 << 120)
    assert data.digest() == again.digest() != other.digest()
    assert data.about["digest"] == other.about["digest"], "the data are the same, however they are split"
    assert len(data.queries) == 20 and len(data.vectors) == 180 and data.metric == "l2"
    assert data.about["queries_from"] == "held out" and data.about["queries_left_out_as_stored"] == 0
    assert sorted([*row_digests(data.vectors), *row_digests(data.queries)]) == sorted(row_digests(BASE))
    places = [int(np.flatnonzero((row == BASE).all(axis=1))[0]) for row in data.vectors]
    assert places == sorted(places), "stored points keep the order of the file"


def test_at_most_a_thousand_are_held_out_and_at_least_one(tmp_path: Path) -> None:
    assert len(read_own(saved(tmp_path / "a.npy", np.arange(30_000.0).reshape(15_000, 2))).queries) == 1_000
    small = read_own(saved(tmp_path / "b.npy", BASE[:11]))
    assert len(small.queries) == 1 and len(small.vectors) == 10


def test_own_queries_are_used_whole(tmp_path: Path) -> None:
    data = read_own(saved(tmp_path / "base.npy", BASE), saved(tmp_path / "asked.npy", QUERIES), metric="ip")
    assert (data.vectors == BASE).all() and (data.queries == QUERIES).all() and data.metric == "ip"
    assert data.about["queries_from"] == str(tmp_path / "asked.npy")


@pytest.mark.parametrize(
    ("distance", "metric"),
    [("euclidean", "l2"), (b"angular", "cosine"), ("normalized", "cosine"), ("ip", "ip"), (None, "l2")],
)
def test_a_file_of_ann_benchmarks_needs_no_names(tmp_path: Path, distance: str | bytes | None, metric: str) -> None:
    path = hdf5(tmp_path / "set.hdf5", distance, train=BASE, test=QUERIES, neighbors=np.zeros((15, 3), np.int32))
    data = read_own(path)
    assert data.metric == metric and data.vectors.shape == (200, 6) and data.queries.shape == (15, 6)
    length = np.linalg.norm(data.vectors, axis=1)
    assert np.allclose(length, 1, atol=1e-6) if metric == "cosine" else (data.vectors == BASE).all()
    assert read_own(f"{path}:train").metric == metric and len(read_own(f"{path}:train").queries) == 20, "split by name"
    assert read_own(path, metric="ip").metric == "ip", "what is asked for goes before what the file says"
    assert len(read_own(path, queries=saved(tmp_path / "q.npy", QUERIES[:3])).queries) == 3


def test_an_hdf5_file_of_other_names_says_which_it_has(tmp_path: Path) -> None:
    path = hdf5(tmp_path / "set.h5", base=BASE, learn=BASE)
    with pytest.raises(DataError, match=r"holds 2 datasets, say which; available: base, learn"):
        read_own(path)
    assert len(read_own(f"{path}:base").vectors) == 180
    odd = hdf5(tmp_path / "odd.hdf5", "jaccard", train=BASE, test=QUERIES)
    with pytest.raises(DataError, match=r"distance 'jaccard' is none of .*: choose l2, cosine or ip"):
        read_own(odd)


@pytest.mark.parametrize(
    ("array", "exact"),
    [
        (BASE.astype(np.float16), True),
        (RNG.integers(0, 256, (50, 4)).astype(np.uint8), True),
        (np.arange(200).reshape(50, 4) * 2 + (1 << 24) + 1, False),
        (np.arange(200).reshape(50, 4) * (1 << 40) + (1 << 60) + 1, False),
        (np.arange(200).reshape(50, 4) * 0.1, False),
        (np.arange(200).reshape(50, 4) * 0.5, True),
    ],
)
def test_other_types_become_float32_and_it_is_said_whether_exactly(
    tmp_path: Path, array: np.ndarray, exact: bool
) -> None:
    data = read_own(saved(tmp_path / "base.npy", array))
    assert data.vectors.dtype == np.float32 and data.about["exact_in_float32"] is exact


def test_a_number_beyond_float32_is_refused_and_not_made_infinite() -> None:
    with pytest.raises(DataError, match="mine: row 2 holds a number beyond the range of float32"):
        to_float32(np.array([[1.0], [1e39]]), "mine")


def test_duplicates_are_counted_and_not_refused(tmp_path: Path) -> None:
    twice = np.vstack([BASE[:50], BASE[:50]])
    about = read_own(
        saved(tmp_path / "twice.npy", twice), saved(tmp_path / "q.npy", np.vstack([QUERIES, BASE[:2]]))
    ).about
    assert about["duplicates"] == 50 and about["queries_left_out_as_stored"] == 2


def test_points_that_are_all_the_same_leave_no_query_that_is_not_stored(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="every query is also a stored point"):
        read_own(saved(tmp_path / "same.npy", np.ones((40, 3))))


BAD: list[tuple[np.ndarray, Metric, str]] = [
    (np.where(np.arange(200)[:, None] == 7, np.nan, BASE), "l2", "row 8 holds NaN or infinity"),
    (np.where(np.arange(200)[:, None] == 7, np.inf, BASE), "l2", "row 8 holds NaN or infinity"),
    (np.where(np.arange(200)[:, None] == 7, 0, BASE), "cosine", "row 8 is all zeros .* drop it, or use the metric l2"),
    (BASE.reshape(20, 10, 6), "l2", "has 3 dimensions"),
    (BASE[:10], "l2", "has 10 vectors, at least 10 must be stored and one held out as a query: name a larger file"),
    (BASE[:1], "l2", "has 1 vectors"),
]


@pytest.mark.parametrize(("array", "metric", "said"), BAD)
def test_bad_vectors_are_refused_by_name_and_place(
    tmp_path: Path, array: np.ndarray, metric: Metric, said: str
) -> None:
    with pytest.raises(DataError, match=rf"mine\.npy: {said}"):
        read_own(saved(tmp_path / "mine.npy", array), metric=metric)


def test_bad_queries_are_refused_by_name_and_place(tmp_path: Path) -> None:
    base = saved(tmp_path / "base.npy", BASE)
    with pytest.raises(DataError, match=r"asked\.npy: has 5 dimensions, the vectors of .*base\.npy have 6"):
        read_own(base, saved(tmp_path / "asked.npy", QUERIES[:, :5]))
    with pytest.raises(DataError, match=r"asked\.npy: row 2 is all zeros"):
        read_own(base, saved(tmp_path / "asked.npy", QUERIES * (np.arange(15)[:, None] != 1)), metric="cosine")
    with pytest.raises(DataError, match=r"base9\.npy: has 9 vectors, at least 10 must be stored: name"):
        read_own(saved(tmp_path / "base9.npy", BASE[:9]), saved(tmp_path / "asked.npy", QUERIES))


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = Path(hdf5(tmp_path / "set.hdf5", "euclidean", train=BASE, test=QUERIES))
    path.write_bytes(path.read_bytes()[:-2_000])
    with pytest.raises(DataError, match=r"set\.hdf5: not a whole HDF5 file"):
        read_own(str(path))


def test_ids_that_repeat_are_refused(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    names = [f"doc{i}" for i in range(200)]
    for ids in (names, [*names[:-1], "doc3"]):
        path = tmp_path / f"{ids[-1]}.parquet"
        parquet.write_table(pyarrow.table({"id": ids, "vector": list(BASE)}), path)
    assert len(read_own(f"{tmp_path / 'doc199.parquet'}:vector").vectors) == 180
    with pytest.raises(DataError, match=r"doc3\.parquet: the id 'doc3' of row 200 is that of row 4 as well"):
        read_own(f"{tmp_path / 'doc3.parquet'}:vector")
