"""Estimates of dimension: near the truth where it is small, and as far below as the field's own packages where not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.tasks.hnsw.generate import NESTED_DIMS, nested, subspace
from harness.tasks.hnsw.geometry import (
    describe_geometry,
    distinct_rows,
    lid_mle,
    neighbour_distances,
    pointwise_lid,
    two_nn,
)


def test_lid_is_that_of_distances_which_grow_as_in_a_ball() -> None:
    # In d dimensions the i-th of k neighbours lies at (i / k)^(1/d); the mean of ln(i / k) tends to -1.
    radii = (np.arange(1, 1001) / 1000)[None, :]
    for d in (1, 3, 12):
        assert lid_mle(radii ** (1 / d))[0] == pytest.approx(d, rel=0.01)


def test_lid_leaves_duplicates_out_and_says_what_it_cannot_estimate() -> None:
    ordinary = np.array([[1.0, 2.0, 4.0]])
    assert lid_mle(np.hstack([np.zeros((1, 3)), ordinary]))[0] == lid_mle(ordinary)[0] == pytest.approx(1 / math.log(2))
    assert lid_mle(np.full((1, 5), 2.0))[0] == np.inf
    assert math.isnan(lid_mle(np.zeros((1, 5)))[0])


def test_gaussians_show_the_known_values_and_the_known_collapse() -> None:
    for dim, lid, nn in ((8, 7.7, 8.0), (32, 21.2, 25.6)):
        found = describe_geometry(subspace(dim, dim, 4_000, 1, 1, unit=False).vectors, 0)
        assert found["lid_mle_mean"] == pytest.approx(lid, rel=0.08)
        assert found["two_nn"] == pytest.approx(nn, rel=0.12)
        assert found["sample"] == 2_000 and found["lid_neighbours"] == 100
    high = describe_geometry(subspace(256, 256, 4_000, 1, 1, unit=False).vectors, 0)
    assert isinstance(high["lid_mle_mean"], float) and isinstance(high["two_nn"], float)
    assert high["lid_mle_mean"] < high["two_nn"] < 130, "less than half of the truth, as the caveat says"
    assert "256" in str(high["caveat"])


def test_digits_show_the_values_that_others_found() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    vectors = datasets.load_digits().data.astype(np.float32)
    found = describe_geometry(vectors, 0)
    assert found["lid_mle_mean"] == pytest.approx(6.3, abs=0.1)
    assert found["two_nn"] == pytest.approx(8.9, abs=0.1)


@pytest.mark.slow
def test_both_agree_with_scikit_dimension() -> None:
    estimators = pytest.importorskip("skdim.id")
    vectors = subspace(10, 20, 800, 1, 3, unit=False).vectors
    theirs = estimators.MLE().fit(vectors, n_neighbors=50).dimension_pw_
    # Theirs divides by k - 1 terms, the last being zero, and ours by k.
    np.testing.assert_allclose(pointwise_lid(vectors, 50), np.asarray(theirs) * 50 / 49, rtol=0.03)
    assert two_nn(neighbour_distances(vectors, 2)) == pytest.approx(
        estimators.TwoNN().fit(vectors).dimension_, rel=0.03
    )


def test_a_point_is_no_neighbour_of_its_own_but_its_duplicates_are() -> None:
    vectors = np.array([[0.0], [0.0], [0.0], [0.0], [1.0], [3.0]], np.float32)
    assert neighbour_distances(vectors, 2).tolist() == [[0, 0], [0, 0], [0, 0], [0, 0], [1, 1], [2, 3]]
    assert neighbour_distances(vectors, 2, np.array([5, 0])).tolist() == [[2, 3], [0, 0]]


def test_equal_rows_are_found_wherever_they_are_and_zero_has_no_sign() -> None:
    vectors = np.array([[1, 0], [2, 0], [1, -0.0], [2, 0], [1, 1e-45]], np.float32)
    assert distinct_rows(vectors).tolist() == [0, 1, 4]


def test_duplicates_do_not_change_the_estimates() -> None:
    vectors = subspace(6, 12, 1_000, 1, 4).vectors
    assert describe_geometry(np.vstack([vectors, vectors[:300]]), 1) == describe_geometry(vectors, 1)


@pytest.mark.parametrize("vectors", [np.ones((50, 4), np.float32), np.eye(2, dtype=np.float32)])
def test_too_few_distinct_points_have_no_estimate(vectors: np.ndarray) -> None:
    found = describe_geometry(vectors, 0)
    assert found["lid_mle_mean"] is found["lid_mle_sd"] is found["two_nn"] is None


def test_points_at_equal_distances_give_no_infinite_record() -> None:
    found = describe_geometry(np.eye(30, dtype=np.float32), 0)
    assert all(value is None or not isinstance(value, float) or math.isfinite(value) for value in found.values())


def test_pointwise_lid_tells_nested_dimensions_apart() -> None:
    data = nested(NESTED_DIMS, 256, 3_000, 1, 2, unit=False)
    assert data.categories is not None
    lid = pointwise_lid(data.vectors)
    medians = [float(np.median(lid[data.categories == kind])) for kind in range(len(NESTED_DIMS))]
    assert medians == sorted(medians)
