"""The exact index is exact, also where float32 products are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from harness.baselines.hnsw.exact import Exact
from harness.baselines.hnsw.faiss_flat import FlatFaiss
from harness.tasks.hnsw import Metric

pytest.importorskip("faiss")
Floats = NDArray[np.float32]


def built(kind: type[Any], vectors: Floats, metric: Metric, **params: int) -> Any:
    index = kind()
    vars(index).update(params)
    index.load()
    index.build(vectors, metric)
    return index


def in_a_plane(n: int, d: int) -> Floats:
    """Unit vectors of a random plane in d dimensions: neighbours far nearer to each other than to the origin."""
    rng = np.random.default_rng(1)
    basis, _ = np.linalg.qr(rng.standard_normal((d, 2)))
    vectors = rng.standard_normal((n, 2)) @ basis.T
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def nearest(vectors: Floats, queries: Floats, k: int) -> NDArray[np.int64]:
    """The k nearest by direct differences in float64, among the 5k nearest by products in float64."""
    x, q = vectors.astype(np.float64), queries.astype(np.float64)
    likely = np.argpartition(np.square(x).sum(1) - 2 * q @ x.T, 5 * k, axis=1)[:, : 5 * k]
    far = np.stack([np.square(x[ids] - one).sum(1) for ids, one in zip(likely, q, strict=True)])
    return np.take_along_axis(likely, far.argsort(axis=1), 1)[:, :k]


def test_in_a_plane_of_1024_dimensions_exact_agrees_with_float64_and_plain_float32_does_not() -> None:
    points = in_a_plane(10_500, 1024)
    vectors, queries = points[:10_000], points[10_000:]
    with threadpool_limits(1):
        truth = nearest(vectors, queries, 10)
        exact = built(Exact, vectors, "cosine").search(queries, 10)
        plain = built(FlatFaiss, vectors, "cosine").search(queries, 10)
    np.testing.assert_array_equal(exact, truth)
    assert np.mean([set(p) == set(t) for p, t in zip(plain.tolist(), truth.tolist(), strict=True)]) < 1


@given(
    n=st.integers(1, 300), d=st.integers(1, 9), k=st.integers(1, 12), metric=st.sampled_from(["l2", "ip"]),
    offset=st.sampled_from([0.0, 1.0, 3000.0]), scale=st.sampled_from([1e-4, 1.0, 100.0]), repeated=st.integers(1, 9),
    seed=st.integers(0, 2**32),
)  # fmt: skip
def test_the_distances_found_are_those_of_a_full_float64_search(
    n: int, d: int, k: int, metric: Metric, offset: float, scale: float, repeated: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    sides = rng.choice([-offset, offset], (n + 25, 1))  # two far clusters: their centre is near to neither
    points = rng.standard_normal((n + 25, d)) * scale + sides
    vectors, queries = points[:n].astype(np.float32)[rng.integers(0, n, n)], points[n:].astype(np.float32)
    vectors = np.repeat(vectors, repeated, axis=0)[:n]
    found = built(Exact, vectors, metric, slack=1, wider=2).search(queries, k)
    x, q = vectors.astype(np.float64), queries.astype(np.float64)
    far = -q @ x.T if metric == "ip" else np.square(q[:, None] - x).sum(-1)
    held = min(k, n)
    assert all(len(set(row)) == held for row in found[:, :held].tolist())
    assert (found[:, held:] == -1).all()
    size = (abs(offset) + 6 * scale) ** 2 * d if metric == "ip" else 0
    np.testing.assert_allclose(
        np.take_along_axis(far, found[:, :held], 1), np.sort(far, axis=1)[:, :held], rtol=1e-12, atol=1e-14 * size
    )


def test_answers_that_few_candidates_cannot_prove_are_searched_wider_and_at_last_whole() -> None:
    points = in_a_plane(3_000, 64)
    clear = built(Exact, np.random.default_rng(0).standard_normal((3_000, 64)).astype(np.float32), "l2")
    clear.search(points[:50], 10)
    assert clear.describe() == {"searched_wider": 0, "searched_whole": 0}
    same = np.repeat(points[:2], 1_000, axis=0)
    tied = built(Exact, same, "l2")
    assert (tied.search(points[:1], 10) < 1_000).all()
    assert tied.describe() == {"searched_wider": 2, "searched_whole": 1}
