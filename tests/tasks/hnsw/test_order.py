"""Every order of insertion is a permutation, means what it is called, and needs nothing but its seed."""

from __future__ import annotations

import numpy as np
import pytest

from harness.errors import DataError
from harness.tasks.hnsw import order
from harness.tasks.hnsw.generate import nested
from harness.tasks.hnsw.geometry import pointwise_lid
from harness.tasks.hnsw.order import ORDERS, insertion_order

DATA = nested((2, 8, 32), 32, 900, 1, 1)


@pytest.mark.parametrize("name", ORDERS)
def test_an_order_is_a_permutation_that_its_seed_decides(name: str) -> None:
    first, again, other = (
        insertion_order(name, DATA.vectors, DATA.categories, seed) for seed in (1 << 100, 1 << 100, 2)
    )
    assert sorted(first) == list(range(900)) and first.dtype == np.int64
    assert (first == again).all()
    # Estimates have no ties: only where there is a choice does the seed make it.
    assert (first == other).all() == (name in ("given", "asc", "desc"))


def test_ascending_starts_with_the_lowest_dimension_and_descending_with_the_highest() -> None:
    lid = pointwise_lid(DATA.vectors)
    for name, sign in (("asc", 1), ("desc", -1)):
        inserted = lid[insertion_order(name, DATA.vectors, None, 1)]
        assert (np.diff(sign * inserted) >= 0).all()


def test_points_without_an_estimate_come_last() -> None:
    vectors = np.vstack([np.full((200, 32), 9, np.float32), DATA.vectors])
    for name in ("asc", "desc"):
        assert set(insertion_order(name, vectors, None, 1)[-200:]) == set(range(200))


def test_categories_come_one_after_the_other_in_random_order_within() -> None:
    assert DATA.categories is not None
    inserted = insertion_order("category", DATA.vectors, DATA.categories, 1)
    assert (np.diff(DATA.categories[inserted]) >= 0).all()
    first = inserted[: (DATA.categories == 0).sum()]
    assert (np.diff(first) < 0).any(), "the given order does not show through"


def test_given_is_given_and_random_is_not() -> None:
    assert insertion_order("given", DATA.vectors, None, 1).tolist() == list(range(900))
    moved = insertion_order("random", DATA.vectors, None, 1)
    assert abs(np.corrcoef(moved, np.arange(900))[0, 1]) < 0.15


def test_what_cannot_be_ordered_is_refused_with_what_can(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="no categories to insert by: take another order, one of given, random"):
        insertion_order("category", DATA.vectors, None, 0)
    with pytest.raises(DataError, match="unknown order of insertion 'up'"):
        insertion_order("up", DATA.vectors, None, 0)
    monkeypatch.setattr(order, "MOST_FOR_LID", 899)
    with pytest.raises(DataError, match=r"each of 900 points; the most for it are 899.*`random`"):
        insertion_order("desc", DATA.vectors, None, 0)


def test_kept_estimates_give_the_same_order_and_a_broken_file_is_made_anew(tmp_path) -> None:  # type: ignore[no-untyped-def]
    vectors = np.random.default_rng(0).standard_normal((300, 8)).astype(np.float32)
    plain = insertion_order("asc", vectors, None, 0)
    assert (insertion_order("asc", vectors, None, 0, tmp_path) == plain).all()
    (kept,) = tmp_path.iterdir()
    assert (insertion_order("desc", vectors, None, 0, tmp_path) == insertion_order("desc", vectors, None, 0)).all()
    kept.write_bytes(b"half")
    assert (insertion_order("asc", vectors, None, 0, tmp_path) == plain).all()
