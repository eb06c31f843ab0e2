"""The history folder: what is written is read again, and nothing is changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from harness.errors import StoreError
from harness.track.history import (
    Cell,
    History,
    Night,
    Point,
    Value,
    contexts_of,
    digest_of,
    new_night_id,
    read_model,
    series_of,
)

MACHINE = "0123456789abcdef"


def cell(row: str = "bm25", status: str = "ok", values: dict[str, float] | None = None, **more: Any) -> Cell:
    found = {name: Value(value=v, unit="ns") for name, v in (values or {"latency/query": 1.0}).items()}
    fields = {"task": "t", "version": 1, "case": "c", "row": row, "seed": 0, "device": "cpu", "threads": 1,
              "scale": "smoke", "status": status, "source": "s", "values": found if status == "ok" else {}}  # fmt: skip
    return Cell.model_validate({**fields, **more})


def night(number: int = 0, cells: list[Cell] | None = None, **more: Any) -> Night:
    started = f"2026-01-{number + 1:02}T00:00:00.000Z"
    fields = {"id": f"202601{number + 1:02}T000000-{number:08x}", "commit": f"{number:040x}", "committed": started,
              "subject": "change", "started": started, "ended": started, "machine": MACHINE,
              "context": {"python": "3.11"}, "cells": [cell()] if cells is None else cells}  # fmt: skip
    return Night.model_validate({**fields, **more})


def test_nights_are_read_as_they_were_written_in_order_of_time(tmp_path: Path) -> None:
    history = History(tmp_path, MACHINE)
    nights = [night(n, left=["t c x"], canary_ns=(1.0, 2.0)) for n in range(3)]
    for one in reversed(nights):
        history.add(one, {})
    assert history.nights() == nights
    assert History(tmp_path, "f" * 16).nights() == [], "another machine's nights are another history"


def test_items_are_written_once_and_read_by_digest(tmp_path: Path) -> None:
    history, items = History(tmp_path, MACHINE), np.array([0.0, 0.25, 1.0])
    for number in range(2):
        history.add(night(number), {digest_of(items): items})
    assert len(list((tmp_path / "items").iterdir())) == 1
    found = history.items(digest_of(items))
    assert found is not None
    np.testing.assert_array_equal(found, items)
    assert history.items("0" * 32) is None and history.items("") is None


@given(arrays.arrays(np.float64, st.integers(0, 20), elements=st.floats(allow_nan=False)))
def test_items_that_differ_have_other_digests(items: np.ndarray) -> None:
    assert digest_of(items) == digest_of(items.copy())
    assert digest_of(items) != digest_of(np.append(items, 0.0))


def test_items_under_another_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="digest"):
        History(tmp_path, MACHINE).add(night(), {"0" * 32: np.zeros(3)})


def test_nothing_in_a_history_is_changed(tmp_path: Path) -> None:
    history = History(tmp_path, MACHINE)
    path = history.add(night(), {})
    before = path.read_bytes()
    with pytest.raises(StoreError, match="is there already"):
        history.add(night(subject="another"), {})
    assert path.read_bytes() == before


@pytest.mark.parametrize("broken", [{"id": "../../x"}, {"machine": "f" * 16}])
def test_a_night_of_another_machine_or_without_a_name_is_not_added(tmp_path: Path, broken: dict[str, str]) -> None:
    with pytest.raises(StoreError, match="is none of"):
        History(tmp_path, MACHINE).add(night(**broken), {})
    assert not list(tmp_path.rglob("*.json"))


def test_a_machine_is_named_by_its_fingerprint(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="harness doctor"):
        History(tmp_path, "../elsewhere")


def test_a_broken_night_is_named_with_what_is_wrong(tmp_path: Path) -> None:
    history = History(tmp_path, MACHINE)
    path = history.add(night(), {})
    path.write_text(path.read_text("utf-8").replace('"dirty": false', '"dirty": "perhaps"'), "utf-8")
    with pytest.raises(StoreError, match=r"holds no night: dirty: .*move it away"):
        history.nights()
    with pytest.raises(StoreError, match="cannot be read"):
        read_model(Night, tmp_path / "not there.json")


def test_numbers_that_json_cannot_hold_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        cell(values={"latency/query": float("nan")})


def test_a_series_has_the_nights_in_which_its_cell_was_ok() -> None:
    nights = [night(0), night(1, [cell(status="failed")]), night(2, [cell(values={"latency/query": 3.0})])]
    (key, points), = series_of(nights).items()  # fmt: skip
    assert (str(key), [p.value.value for p in points]) == ("t c bm25 latency/query", [1.0, 3.0])
    assert [p.night.id for p in points] == [nights[0].id, nights[2].id]


def test_rows_draws_and_metrics_are_series_apart() -> None:
    cells = [cell(), cell(seed=1), cell("random"), cell(case="d", values={"a": 1.0, "b": 2.0}), cell(version=2)]
    assert len(series_of([night(0, cells)])) == 6


def test_what_affects_performance_parts_a_series_and_information_does_not() -> None:
    def points(of: Night, one: Cell) -> Point:
        return Point(of, one, Value(value=1.0, unit="ns"))

    plain = points(night(), cell())
    assert plain.comparable(points(night(5, info={"load": 3.0}, subject="x"), cell(wall_s=9.0)))
    assert not plain.comparable(points(night(context={"python": "3.12"}), cell()))
    assert not points(night(), cell(libraries={"torch": "2.13"})).comparable(
        points(night(), cell(libraries={"torch": "2.14"}))
    )


def test_a_library_more_is_another_method_and_no_other_context() -> None:
    def point(**libraries: str) -> Point:
        return Point(night(), cell(libraries=libraries), Value(value=1.0, unit="ns"))

    plain, more, newer = point(numpy="2.1"), point(numpy="2.1", pandas="2.3"), point(numpy="2.2", pandas="2.3")
    assert plain.comparable(more) and more.comparable(plain)
    assert contexts_of([plain, more, plain, newer, newer]) == [0, 0, 0, 1, 1]


def test_nights_have_names_of_their_own_that_sort_by_time() -> None:
    names = {new_night_id() for _ in range(50)}
    assert len(names) == 50
    assert all(Night.model_validate({**night().model_dump(), "id": name}).id == name for name in names)
