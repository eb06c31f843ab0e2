"""From a case and a seed to vectors in their order of insertion."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.errors import DataError, Unsupported
from harness.task import Case
from harness.tasks.hnsw.collection import collect, own_cases, thinned
from harness.tasks.hnsw.generate import Vectors
from harness.tasks.hnsw.task import Hnsw

DIGITS = {c.name: c for c in Hnsw.cases if c.name.startswith("digits-")}


def _texts() -> Vectors:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((50, 4)).astype(np.float32)
    return Vectors(vectors, vectors[:20] * 2, "cosine", np.arange(50), [np.array([i]) for i in range(20)])


def test_a_draw_of_fixed_texts_keeps_what_answers_and_asks_only_that() -> None:
    whole = _texts()
    draw = thinned(whole, 30, 1)
    assert draw.vectors.shape == (30, 4) and draw.relevant is not None and draw.categories is not None
    assert 0 < len(draw.queries) == len(draw.relevant) < 20
    for query, (answer,) in zip(draw.queries, draw.relevant, strict=True):
        assert np.array_equal(draw.vectors[answer] * 2, query)
    assert np.array_equal(draw.vectors, whole.vectors[draw.categories])


def test_draws_of_fixed_texts_differ_by_seed_and_agree_between_models() -> None:
    one, other = thinned(_texts(), 30, 1), thinned(_texts(), 30, 2)
    assert not np.array_equal(one.categories, other.categories)
    assert np.array_equal(one.categories, thinned(_texts(), 30, 1).categories)


@pytest.mark.parametrize("name", sorted(DIGITS))
def test_every_order_stores_the_same_points(name: str, tmp_path: Path) -> None:
    given, _ = collect(DIGITS["digits-given"], 3, tmp_path)
    data, about = collect(DIGITS[name], 3, tmp_path)
    assert np.array_equal(np.sort(data.vectors, axis=0), np.sort(given.vectors, axis=0))
    assert np.array_equal(data.queries, given.queries)
    assert about["n"] == len(data.vectors) == 1297 and about["order"] == name.partition("-")[2]
    if name == "digits-category":
        assert data.categories is not None and (np.diff(data.categories) >= 0).all()


def test_own_vectors_that_change_under_a_case_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "v.npy"
    np.save(path, np.random.default_rng(0).standard_normal((100, 3)).astype(np.float32))
    case = next(iter(own_cases(str(path))))
    collect(case, 0, tmp_path)
    np.save(path, np.random.default_rng(1).standard_normal((100, 3)).astype(np.float32))
    with pytest.raises(DataError, match="has changed"):
        collect(case, 0, tmp_path)


def test_a_folder_is_no_file_of_vectors(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match=r"vectors\.npy"):
        list(own_cases(str(tmp_path)))


def test_an_unknown_metric_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.ones((20, 3), np.float32))
    with pytest.raises(DataError, match="l2, cosine, ip"):
        list(own_cases(str(tmp_path / "v.npy"), metric="manhattan"))


def test_unknown_data_of_a_case_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'nonsense'"):
        collect(Case("x", {"data": "nonsense"}), 0, tmp_path)
