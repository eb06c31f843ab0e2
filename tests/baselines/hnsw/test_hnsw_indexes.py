"""The indexes of the `hnsw` task: what they find, in what order, how often the same, and what they say they cannot."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from harness.baselines.hnsw._ivf import n_lists
from harness.baselines.hnsw.faiss_ivf_pq import n_sub_vectors, trained_bits
from harness.errors import Unsupported
from harness.task import Context
from harness.tasks.hnsw import GRAPH_DEFAULT, GRAPH_EFFORTS, Index, Metric

N, D, K = 2000, 32, 10
METRICS: tuple[Metric, ...] = ("l2", "cosine", "ip")
FLAT = {"exact": "Exact", "faiss_flat": "FlatFaiss", "numpy_flat": "FlatNumpy", "torch_flat": "FlatTorch"}
GRAPHS = {
    "faiss_hnsw": "FaissHnsw",
    "faiss_hnsw_sq": "FaissHnswSq",
    "hnswlib": "Hnswlib",
    "usearch": "Usearch",
    "voyager": "Voyager",
}
LISTS = {"faiss_ivf_flat": "FaissIvfFlat", "faiss_ivf_pq": "FaissIvfPq"}
EVERY = {**FLAT, **GRAPHS, **LISTS, "random": "Random"}
WITH_COUNTER = ("faiss_hnsw", "faiss_hnsw_sq", "usearch", *LISTS)


class Problem(NamedTuple):
    vectors: NDArray[np.float32]
    queries: NDArray[np.float32]
    truth: NDArray[np.int64]
    """(n_queries, N) positions by float64 differences, nearest first."""


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    with threadpool_limits(1):
        yield


@cache
def problem(metric: Metric) -> Problem:
    rng = np.random.default_rng(3)
    points = rng.standard_normal((N + 60, D))
    if metric == "cosine":
        points /= np.linalg.norm(points, axis=1, keepdims=True)
    vectors, queries = points[:N].astype(np.float32), points[N:].astype(np.float32)
    for array in (vectors, queries):
        array.setflags(write=False)  # as the question's files are
    x, q = vectors.astype(np.float64), queries.astype(np.float64)
    far = -q @ x.T if metric == "ip" else np.square(q[:, None] - x).sum(-1)
    return Problem(vectors, queries, far.argsort(axis=1, kind="stable"))


def kind(file: str) -> type[Index]:
    found: type[Index] = getattr(importlib.import_module(f"harness.baselines.hnsw.{file}"), EVERY[file])
    for package in found.requires:
        pytest.importorskip(package)
    return found


def built(file: str, vectors: NDArray[np.float32], metric: Metric = "l2", **params: Any) -> Any:
    index = kind(file)()
    vars(index).update(params)
    index.context = Context(seed=5)
    index.load()
    index.build(vectors, metric)
    if index.efforts:
        index.set_effort(index.efforts[-1])
    return index


@cache
def ready(file: str, metric: Metric = "l2") -> Any:
    return built(file, problem(metric).vectors, metric)


def recall(found: NDArray[Any], truth: NDArray[np.int64]) -> float:
    k = found.shape[1]
    return float(np.mean([len(set(f) & set(t[:k])) / k for f, t in zip(found.tolist(), truth.tolist(), strict=True)]))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("file", [*FLAT, *GRAPHS, "faiss_ivf_flat"])
def test_at_its_highest_effort_an_index_finds_what_float64_finds(file: str, metric: Metric) -> None:
    index, data = ready(file, metric), problem(metric)
    index.set_effort(index.efforts[-1] if index.efforts else 0)
    found = index.search(data.queries, K)
    assert found.shape == (len(data.queries), K)
    assert recall(found, data.truth) >= (1.0 if file in FLAT else 0.95)


@pytest.mark.parametrize("metric", METRICS)
def test_product_codes_lose_ranks_but_not_the_neighbourhood(metric: Metric) -> None:
    index, data = ready("faiss_ivf_pq", metric), problem(metric)
    index.set_effort(128)
    found = index.search(data.queries, 200)
    assert recall(found[:, :K], data.truth) < 0.95
    held = [len(set(t[:K]) & set(f)) / K for t, f in zip(data.truth.tolist(), found.tolist(), strict=True)]
    assert np.mean(held) >= 0.9


@pytest.mark.parametrize("file", [*GRAPHS, *LISTS])
def test_more_effort_finds_more_and_computes_more(file: str) -> None:
    index, data = ready(file), problem("l2")
    recalls, costs = [], []
    for effort in index.efforts[::3]:
        index.set_effort(effort)
        before = index.distances_computed()
        recalls.append(recall(index.search(data.queries, K), data.truth))
        costs.append(None if before is None else index.distances_computed() - before)
    assert recalls[0] < recalls[-1]
    if file in WITH_COUNTER:
        assert costs == sorted(set(costs))
        assert costs[0] > 0
    else:
        assert set(costs) == {None}


@pytest.mark.parametrize("file", [*FLAT, *GRAPHS, *LISTS])
def test_a_query_alone_and_in_a_batch_gives_the_same(file: str) -> None:
    index, data = ready(file), problem("l2")
    if index.efforts:
        index.set_effort(index.default_effort)
    alone = np.concatenate([index.search(data.queries[i : i + 1], K) for i in range(len(data.queries))])
    np.testing.assert_array_equal(alone, index.search(data.queries, K))


@pytest.mark.parametrize("file", [*FLAT, *GRAPHS, "faiss_ivf_flat"])
def test_ids_are_the_positions_in_the_order_of_insertion(file: str) -> None:
    index, data = ready(file), problem("l2")
    if index.efforts:
        index.set_effort(index.efforts[-1])
    some = np.arange(0, N, 37)
    np.testing.assert_array_equal(index.search(data.vectors[some], 1)[:, 0], some)


@pytest.mark.parametrize("n_queries", [1, 3])
@pytest.mark.parametrize("file", [*FLAT, *GRAPHS, "random"])
def test_fewer_points_than_k_are_filled_up_with_minus_one(file: str, n_queries: int) -> None:
    data = problem("l2")
    found = built(file, data.vectors[:30]).search(data.queries[:n_queries], 40)
    assert found.shape == (n_queries, 40)
    for row in found.tolist():
        assert sorted(row[:30]) == list(range(30))
        assert row[30:] == [-1] * 10


@pytest.mark.parametrize("file", [*GRAPHS, *LISTS])
def test_points_that_a_search_does_not_reach_are_minus_one(file: str) -> None:
    index, data = ready(file), problem("l2")
    index.set_effort(index.efforts[-1])
    found = index.search(data.queries[:2], N + 50)
    assert found.shape == (2, N + 50)
    for row in found.tolist():
        reached = [i for i in row if i != -1]
        assert row[len(reached) :] == [-1] * (N + 50 - len(reached))
        assert len(set(reached)) == len(reached) >= 0.95 * N


@pytest.mark.parametrize("file", [*GRAPHS, *LISTS])
def test_a_build_repeated_on_one_thread_saves_the_same_bytes(file: str, tmp_path: Path) -> None:
    vectors = problem("l2").vectors
    saved = []
    for name in ("first", "second"):
        built(file, vectors).save(str(tmp_path / name))
        saved.append((tmp_path / name).read_bytes())
    assert saved[0] == saved[1]
    assert len(saved[0]) > (vectors.nbytes if "pq" not in file and "sq" not in file else 0)


@pytest.mark.parametrize("file", ["faiss_hnsw", "faiss_hnsw_sq", "hnswlib", "voyager", *LISTS])
def test_another_seed_builds_another_index(file: str, tmp_path: Path) -> None:
    vectors = problem("l2").vectors
    saved = []
    for seed in (1, 2):
        built(file, vectors, seed=seed).save(str(tmp_path / str(seed)))
        saved.append((tmp_path / str(seed)).read_bytes())
    assert saved[0] != saved[1]


@pytest.mark.parametrize("file", WITH_COUNTER)
def test_distances_are_counted_the_same_each_time(file: str) -> None:
    data, counts = problem("l2"), []
    for index in (ready(file), built(file, data.vectors)):
        index.set_effort(index.default_effort)
        before = index.distances_computed()
        index.search(data.queries, K)
        counts.append(index.distances_computed() - before)
    assert counts[0] == counts[1]
    assert 0 < counts[0] < len(data.queries) * N


@pytest.mark.parametrize("file", FLAT)
def test_exhaustive_search_counts_every_pair(file: str, tmp_path: Path) -> None:
    data = problem("l2")
    index = built(file, data.vectors)
    assert index.distances_computed() == 0
    index.search(data.queries, K)
    assert index.distances_computed() == len(data.queries) * N
    index.save(str(tmp_path / "saved"))
    assert (tmp_path / "saved").stat().st_size >= data.vectors.nbytes


def test_random_positions_are_distinct_and_no_better_than_chance() -> None:
    index, data = ready("random"), problem("l2")
    found = index.search(data.queries, 500)
    assert all(len(set(row)) == 500 for row in found.tolist())
    assert recall(found, data.truth) == pytest.approx(500 / N, abs=0.03)


def test_the_order_of_the_points_matters_to_faiss_one_by_one_and_is_lost_in_a_bulk_add() -> None:
    rng = np.random.default_rng(0)
    dimensions = rng.choice([2, 4, 8, 16, 32, 64], 2300)
    points = (rng.standard_normal((2300, 64)) * (np.arange(64) < dimensions[:, None])).astype(np.float32)
    points, queries, dimensions = points[:2000], points[2000:], dimensions[:2000]
    ascending = points[np.argsort(dimensions, kind="stable")]

    def gain_of_descending(bulk: bool) -> float:
        recalls = []
        for vectors in (ascending[::-1].copy(), ascending):
            truth = built("exact", vectors).search(queries, K)
            index = built("faiss_hnsw", vectors, bulk=bulk)
            index.set_effort(10)
            recalls.append(recall(index.search(queries, K), truth))
        return recalls[0] - recalls[1]

    gain = gain_of_descending(bulk=False)
    assert gain > 0.05
    assert abs(gain_of_descending(bulk=True)) < gain / 2


@pytest.mark.parametrize("file", ["faiss_hnsw", "hnswlib", "usearch", "voyager"])
def test_a_row_is_named_after_its_settings_and_only_the_default_is_run_by_default(file: str) -> None:
    method = kind(file)
    name = next(iter(method.variants))
    grid = {row: said for row, said in method.variants.items() if row != f"{name}-bulk"}
    assert grid.pop(name) == {}
    assert (method.m, method.ef_construction) == (16, 128)  # type: ignore[attr-defined]
    assert len(grid) == 15
    for row, said in grid.items():
        assert row == f"{name}-m{said['m']}-efc{said['ef_construction']}"
        assert said["scale"] == "full"
    assert (method.efforts, method.default_effort) == (GRAPH_EFFORTS, GRAPH_DEFAULT)


@pytest.mark.parametrize(("file", "n"), [("faiss_ivf_flat", 60), ("faiss_ivf_pq", 60), ("faiss_ivf_pq", 500)])
def test_too_few_points_to_train_are_refused_with_their_number(file: str, n: int) -> None:
    with pytest.raises(Unsupported, match=f"^{n} points train no .* need [0-9]+ .*; take more points"):
        built(file, problem("l2").vectors[:n])


def test_lists_grow_with_the_root_of_n_where_the_points_can_train_them() -> None:
    assert [n_lists(n) for n in (78, 1_797, 10_000, 1_000_000)] == [2, 46, 256, 4000]


def test_sub_vectors_divide_the_dimension_and_bits_suit_the_points() -> None:
    assert [n_sub_vectors(d) for d in (1, 2, 32, 50, 96, 100, 127, 1024)] == [1, 1, 8, 10, 24, 25, 127, 256]
    assert [trained_bits(n, 8) for n in (624, 2_000, 9_983, 9_984, 10**6)] == [4, 5, 7, 8, 8]
    assert trained_bits(10**6, 6) == 6


def test_torch_says_which_share_of_the_matrix_peak_a_batch_reaches() -> None:
    rng = np.random.default_rng(0)
    method = built("torch_flat", rng.standard_normal((5000, 64)).astype(np.float32))
    method.search(rng.standard_normal((200, 64)).astype(np.float32), 10)
    said = method.describe()
    assert said["matrix_peak_gflops"] > 0
    assert 0 < said["share_of_peak"] < 1.5
