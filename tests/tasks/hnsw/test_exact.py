"""Exact search returns what sorting all direct float64 distances does, on data where faster formulas fail too."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.tasks.hnsw import exact
from harness.tasks.hnsw.exact import agree, cached_nearest, direct_distances, nearest, recall
from harness.tasks.hnsw.generate import Float32, subspace
from harness.tasks.hnsw.interface import Metric


def sorted_all(vectors: Float32, queries: Float32, k: int, metric: Metric) -> tuple[np.ndarray, np.ndarray]:
    """The definition: every distance by itself, in float64; ties by position."""
    ids, distances = [], []
    for query in queries.astype(np.float64):
        points = vectors.astype(np.float64)
        values = -np.einsum("ij,j->i", points, query) if metric == "ip" else ((points - query) ** 2).sum(axis=1)
        first = np.argsort(values, kind="stable")[:k]
        ids.append(first)
        distances.append(values[first] if metric == "ip" else np.sqrt(values[first]))
    return np.array(ids), np.array(distances)


def expanded_float32(vectors: Float32, queries: Float32, k: int) -> np.ndarray:
    scores = (vectors**2).sum(axis=1) - 2 * queries @ vectors.T
    return np.argsort(scores, axis=1, kind="stable")[:, :k]


def check(vectors: Float32, queries: Float32, k: int, metric: Metric) -> None:
    ids, distances = nearest(vectors, queries, k, metric)
    true_ids, true = sorted_all(vectors, queries, k, metric)
    assert ids.dtype == np.int64 and ids.shape == distances.shape == (len(queries), k)
    np.testing.assert_allclose(distances, true, rtol=1e-13, atol=0)
    differ = ids != true_ids
    # Sums in another order may differ in the last digit: only there may two ids change places.
    own = direct_distances(vectors, queries, ids, metric)
    np.testing.assert_allclose(own[differ], true[differ], rtol=1e-13, atol=0)
    assert differ.mean() < 0.01


def test_at_intrinsic_dimension_2_it_agrees_with_float64_where_the_float32_formula_does_not() -> None:
    data = subspace(2, 1024, 10_000, 200, 1)
    check(data.vectors, data.queries[:20], 10, "l2")
    ids, true = nearest(data.vectors, data.queries, 10, "l2")
    assert recall(ids, direct_distances(data.vectors, data.queries, ids, "l2"), true, 10).min() == 1.0
    ids = expanded_float32(data.vectors, data.queries, 10)
    assert recall(ids, direct_distances(data.vectors, data.queries, ids, "l2"), true, 10).mean() < 0.995


@pytest.mark.parametrize("metric", ["l2", "ip"])
def test_data_far_from_the_origin(metric: Metric) -> None:
    rng = np.random.default_rng(0)
    vectors, queries = (rng.standard_normal((n, 64)).astype(np.float32) + np.float32(1e4) for n in (3_000, 40))
    check(vectors, queries, 10, metric)
    if metric == "l2":
        ids = expanded_float32(vectors, queries, 10)
        true = nearest(vectors, queries, 10, "l2")[1]
        assert recall(ids, direct_distances(vectors, queries, ids, "l2"), true, 10).mean() < 0.5


def rounds(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Records queries and candidates of each scan of the data."""
    seen: list[tuple[int, int]] = []
    scan = exact._candidates

    def recorded(
        vectors: Float32, offsets: np.ndarray, queries: Float32, wanted: int, metric: Metric
    ) -> tuple[np.ndarray, np.ndarray]:
        seen.append((len(queries), wanted))
        return scan(vectors, offsets, queries, wanted, metric)

    monkeypatch.setattr(exact, "_candidates", recorded)
    return seen


def test_a_query_among_many_duplicates_goes_round_again_and_the_others_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((2_000, 8)).astype(np.float32)
    vectors[::4] = vectors[0]  # 500 equal points: 10 nearest are decided by position alone
    queries = np.vstack([vectors[:1], rng.standard_normal((30, 8)).astype(np.float32) + 3])
    seen = rounds(monkeypatch)
    ids, distances = nearest(vectors, queries, 10, "l2")
    assert ids[0].tolist() == list(range(0, 40, 4)) and (distances[0] == 0).all()
    assert seen == [(31, 42), (1, 336), (1, 2_000)]
    check(vectors, queries, 10, "l2")


def test_a_spread_below_the_rounding_of_scores_is_still_ranked(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    # Distances near 1e-3 at length 1e7: the float64 scores are off by more than the squares of all distances.
    vectors = np.zeros((500, 4), np.float32)
    vectors[:, 0], vectors[:, 1:] = 1e7, rng.standard_normal((500, 3)) * 1e-3
    queries = np.array([[1e7, 0, 0, 0]], np.float32)
    seen = rounds(monkeypatch)
    check(vectors, queries, 10, "l2")
    assert seen[-1] == (1, 500), "all points became candidates"


@settings(max_examples=60)
@given(
    n=st.integers(1, 300),
    dim=st.integers(1, 20),
    levels=st.integers(1, 50),
    seed=st.integers(0, 1 << 20),
    metric=st.sampled_from(["l2", "cosine", "ip"]),
)
def test_coarse_numbers_full_of_ties_come_by_distance_and_then_by_position(
    n: int, dim: int, levels: int, seed: int, metric: Metric
) -> None:
    rng = np.random.default_rng(seed)
    vectors, queries = (rng.integers(-levels, levels, (count, dim)).astype(np.float32) for count in (n, 5))
    k = int(rng.integers(1, n + 1))
    ids, distances = nearest(vectors, queries, k, metric)
    true_ids, true = sorted_all(vectors, queries, k, metric)
    assert (ids == true_ids).all() and (distances == true).all(), "integers are exact in any order of summation"


def test_blocks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    data = subspace(6, 16, 1_000, 70, 3)
    ids, distances = nearest(data.vectors, data.queries, 12, "l2")
    monkeypatch.setattr(exact, "BLOCK_BYTES", 20_000)
    small_ids, small = nearest(data.vectors, data.queries, 12, "l2")
    assert (small_ids == ids).all() and (small == distances).all()


@pytest.mark.parametrize("k", [0, 6])
def test_more_neighbours_than_points_are_refused(k: int) -> None:
    with pytest.raises(ValueError, match=f"{k} neighbours among 5 points"):
        nearest(np.eye(5, dtype=np.float32), np.eye(5, dtype=np.float32), k, "l2")


def test_no_queries_have_no_neighbours() -> None:
    ids, distances = nearest(np.eye(5, dtype=np.float32), np.empty((0, 5), np.float32), 2, "l2")
    assert ids.shape == distances.shape == (0, 2)


def test_direct_distances_of_a_short_answer_are_infinite_where_it_ends() -> None:
    vectors, queries = np.array([[0, 0], [3, 4]], np.float32), np.array([[0, 0], [6, 8]], np.float32)
    ids = np.array([[1, -1], [0, 1]])
    assert direct_distances(vectors, queries, ids, "l2").tolist() == [[5.0, np.inf], [10.0, 5.0]]
    assert direct_distances(vectors, queries, ids, "ip").tolist() == [[0.0, np.inf], [0.0, -50.0]]


def test_a_tie_counts_a_repeated_id_once_and_a_missing_one_never() -> None:
    ids = np.array([[4, 4, 9, 2, -1]])
    distances = np.array([[1.0, 1.0, 1.0 + 0.9e-6, 1.0 + 1.1e-6, np.inf]])
    assert agree(ids, distances, np.array([1.0])).tolist() == [[True, False, True, False, False]]
    assert agree(ids, -distances, np.array([-1.0])).tolist() == [[True, False, True, True, False]]
    assert recall(ids, distances, np.array([[0.5, 1.0]]), 2).tolist() == [0.5]


def test_recall_depends_on_no_scale() -> None:
    data = subspace(8, 16, 500, 20, 4)
    ids, true = nearest(data.vectors, data.queries, 20, "l2")
    answered = ids[:, 5:15]  # of 10 answers the last 5 are further than the 10th neighbour
    for scale in (1e-6, 1.0, 1e6):
        assert recall(answered, true[:, 5:15] * scale, true * scale, 10).mean() == 0.5


def test_a_truth_is_computed_once_and_a_broken_file_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = subspace(4, 8, 200, 10, 5)
    seen = rounds(monkeypatch)
    first = cached_nearest(data.vectors, data.queries, 3, "l2", tmp_path / "deep")
    again = cached_nearest(data.vectors, data.queries, 3, "l2", tmp_path / "deep")
    assert len(seen) == 1 and (first[0] == again[0]).all() and (first[1] == again[1]).all()
    [path] = (tmp_path / "deep").iterdir()
    assert re.fullmatch(r"exact-[0-9a-f]{64}\.npz", path.name)
    path.write_bytes(path.read_bytes()[:-30])
    mended = cached_nearest(data.vectors, data.queries, 3, "l2", tmp_path / "deep")
    assert len(seen) == 2 and (mended[0] == first[0]).all()
    for vectors, k, metric in [(data.vectors, 4, "l2"), (data.vectors, 3, "ip"), (data.vectors[1:], 3, "l2")]:
        cached_nearest(vectors, data.queries, k, metric, tmp_path / "deep")  # type: ignore[arg-type]
    assert len(seen) == 5 and len(list((tmp_path / "deep").iterdir())) == 4
