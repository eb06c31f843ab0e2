"""Generated vectors have the dimension they claim, and a seed means the same points whatever else is drawn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from harness.errors import DataError
from harness.tasks.hnsw import generate
from harness.tasks.hnsw.exact import nearest
from harness.tasks.hnsw.generate import Vectors, clusters, digest, nested, subspace, unit

BIG = (1 << 127) + 12345
MAKERS: list[Callable[[int, int, int], Vectors]] = [
    lambda n, q, seed: subspace(5, 40, n, q, seed),
    lambda n, q, seed: nested((2, 4, 8), 20, n, q, seed, unit=False),
    lambda n, q, seed: clusters(4, 6, 30, n, q, seed),
]


def spanned(vectors: np.ndarray) -> int:
    """Dimension of the space that the rows span, up to the rounding of float32."""
    singular = np.linalg.svd(vectors.astype(np.float64), compute_uv=False)
    return int((singular > 1e-5 * singular[0]).sum())


@pytest.mark.parametrize("make", MAKERS)
def test_a_seed_of_128_bits_decides_the_points(make: Callable[[int, int, int], Vectors]) -> None:
    first, again, other = make(200, 30, BIG), make(200, 30, BIG), make(200, 30, BIG + (1 << 64))
    assert first.digest() == again.digest() != other.digest()
    assert first.vectors.dtype == first.queries.dtype == np.float32
    assert first.vectors.flags.c_contiguous and len(first.vectors) == 200 and len(first.queries) == 30


@pytest.mark.parametrize("make", MAKERS)
def test_a_point_does_not_depend_on_how_many_are_drawn(
    make: Callable[[int, int, int], Vectors], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = make(50, 7, 3)
    monkeypatch.setattr(generate, "BLOCK_BYTES", 4096)  # blocks of a few rows
    many = make(400, 60, 3)
    assert np.allclose(many.vectors[:50], few.vectors, rtol=1e-5, atol=1e-6)
    assert np.allclose(many.queries[:7], few.queries, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("make", MAKERS)
def test_no_query_is_stored(make: Callable[[int, int, int], Vectors]) -> None:
    data = make(2_000, 300, 1)
    assert nearest(data.vectors, data.queries, 1, "l2")[1].min() > 1e-4


def test_a_subspace_has_the_dimension_asked_for_in_general_position() -> None:
    data = subspace(5, 40, 300, 100, 1)
    assert spanned(data.vectors) == 5
    assert spanned(np.vstack([data.vectors, data.queries])) == 5, "queries lie in the same subspace"
    assert np.allclose(np.linalg.norm(data.vectors, axis=1), 1, atol=1e-6)
    assert (np.abs(data.vectors).max(axis=0) > 0.01).all(), "no coordinate is left out"
    raw = np.linalg.norm(subspace(5, 40, 2_000, 1, 1, unit=False).vectors, axis=1)
    assert abs((raw**2).mean() - 5) < 0.5


def test_isotropic_points_favour_no_direction() -> None:
    vectors = subspace(30, 30, 20_000, 1, 2, unit=False).vectors.astype(np.float64)
    assert np.abs(np.cov(vectors.T) - np.eye(30)).max() < 0.05
    assert np.abs(vectors.mean(axis=0)).max() < 0.05


def test_nested_points_use_the_first_vectors_of_one_basis() -> None:
    data = nested((2, 4, 8), 20, 3_000, 10, 5, unit=False)
    assert data.categories is not None and set(data.categories) == {0, 1, 2}
    for kind, dim in enumerate((2, 4, 8)):
        of_kind = data.vectors[data.categories == kind]
        assert 850 < len(of_kind) < 1150
        assert spanned(of_kind) == dim
        assert spanned(data.vectors[data.categories <= kind]) == dim, "the smaller subspaces lie inside"
        assert abs((of_kind.astype(np.float64) ** 2).sum(axis=1).mean() - dim) < 0.1 * dim + 0.1
    scaled = nested((2, 4, 8), 20, 100, 10, 5).vectors
    assert np.allclose(np.linalg.norm(scaled, axis=1), 1, atol=1e-6)


def test_clusters_overlap_at_a_small_gap_and_not_at_a_large_one() -> None:
    def foreign(gap: float) -> float:
        data = clusters(8, 16, 32, 4_000, 1, 1, gap=gap)
        assert data.categories is not None
        ids, _ = nearest(data.vectors, data.vectors[:200], 11, "l2")
        return float((data.categories[ids[:, 1:]] != data.categories[:200, None]).mean())

    assert foreign(0.1) > 0.2
    assert foreign(3.0) == 0.0


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: subspace(41, 40, 10, 1, 0), "1 .. 40, got 41"),
        (lambda: subspace(0, 40, 10, 1, 0), "got 0"),
        (lambda: nested((2, 64), 32, 10, 1, 0), r"got \[2, 64\]"),
        (lambda: clusters(0, 2, 4, 10, 1, 0), "got 0 of 2"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(call: Callable[[], Vectors], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        call()


def test_unit_length_holds_for_numbers_whose_squares_leave_the_range() -> None:
    scaled = unit(np.array([[3e38, -4e-3], [1e-45, 0.0], [3.0, 4.0]], np.float32))
    assert np.allclose(np.linalg.norm(scaled.astype(np.float64), axis=1), 1, atol=1e-6)
    assert scaled[2].tolist() == [np.float32(0.6), np.float32(0.8)]


def test_a_zero_vector_has_no_direction_and_is_named() -> None:
    with pytest.raises(DataError, match="mine: row 3 is all zeros"):
        unit(np.array([[1, 0], [0, 2], [0, -0.0]], np.float32), "mine")


def test_a_digest_tells_shapes_and_types_apart() -> None:
    a = np.arange(6, dtype=np.float32)
    assert len({digest(a.reshape(2, 3)), digest(a.reshape(3, 2)), digest(a), digest(a.astype(np.int32))}) == 4
    assert digest(a.reshape(2, 3).T) == digest(np.ascontiguousarray(a.reshape(2, 3).T))
