"""Published rows beside one's own: only what compares, and never a cost of another machine."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import paths
from harness.beside import comparable, is_own, published_store, rows_beside
from harness.plan import Request
from harness.record import Record
from harness.registry import BaselineSpec, load_registry, oracle_row
from harness.store import Store
from harness.table import Row

ELSEWHERE: dict[str, Any] = {"provenance__fingerprint": "another machine"}


@pytest.fixture
def published(tmp_path: Path) -> Store:
    return Store(tmp_path / "published")


def beside(own: list[Record], store: Store, *records: Record) -> dict[tuple[str, bool], Row]:
    """Rows by name and whether they are published."""
    for record in records:
        store.add(record)
    found, broken = comparable(own, store, "smoke")
    assert not broken
    return {(r.baseline, r.published): r for r in rows_beside(own, found, lambda _: {})}


def test_a_known_row_stands_beside_ones_own_with_its_score_and_says_published(made_record, published) -> None:
    rows = beside([made_record("mine", 0.4)], published, made_record("bm25", 0.9, **ELSEWHERE))
    assert list(rows) == [("bm25", True), ("mine", False)], "the better one first"
    assert rows["bm25", True].score == 0.9 and rows["bm25", True].status == "ok"


def test_costs_of_another_machine_are_left_out_and_those_of_this_one_are_shown(made_record, published) -> None:
    rows = beside([made_record("mine")], published, made_record("far", **ELSEWHERE), made_record("near"))
    far, near, mine = rows["far", True], rows["near", True], rows["mine", False]
    costs = ("latency_ns", "build_s", "throughput_per_s", "peak_rss_bytes", "delta_rss_bytes", "cost_s")
    assert [getattr(far, name) for name in costs] == [None] * 6 and far.costs == {} and far.processes == 0
    for row in (near, mine):
        assert row.latency_ns == 5e6 and row.throughput_per_s == 100 and row.peak_rss_bytes == 10**8 and row.costs


@pytest.mark.parametrize(
    "other",
    [
        {"task__version": 2}, {"task__name": "limit/free"}, {"case__name": "46-rare"},
        {"case__params": {"documents": 47}}, {"case__draw_digest": "another draw"},
        {"provenance__command": "harness run --task limit --scale full"}, {"kind": "prepare"},
    ],
    ids=lambda other: next(iter(other)),
)  # fmt: skip
def test_what_does_not_compare_is_left_out(other, made_record, published) -> None:
    assert list(beside([made_record("mine")], published, made_record("bm25", **other))) == [("mine", False)]


def test_a_record_that_names_no_scale_or_no_draw_is_taken(made_record, published) -> None:
    quiet = made_record("bm25", provenance__command="", case__draw_digest="")
    assert ("bm25", True) in beside([made_record("mine")], published, quiet)


def test_a_known_row_that_was_run_as_well_is_shown_once(made_record, published) -> None:
    own = [made_record("mine"), made_record("bm25", 0.8)]
    rows = beside(own, published, made_record("bm25", 0.9, **ELSEWHERE))
    assert set(rows) == {("mine", False), ("bm25", False)}


def test_a_file_called_like_a_known_row_is_not_mixed_with_it(made_record, published) -> None:
    mine = made_record("bm25", 0.1, baseline__source_digest="my own")
    rows = beside([mine], published, made_record("bm25", 0.9, 1, **ELSEWHERE))
    assert rows["bm25", False].score == 0.1 and rows["bm25", False].draws == 1
    assert rows["bm25", True].score == 0.9 and rows["bm25", True].draws == 1


def test_a_known_row_that_failed_here_is_still_shown_as_published(made_record, published) -> None:
    rows = beside([made_record("mine"), made_record("bm25", None)], published, made_record("bm25", 0.9, **ELSEWHERE))
    assert rows["bm25", False].status == "failed" and rows["bm25", True].score == 0.9


@pytest.mark.parametrize(("draws", "ranks"), [(5, {None}), (6, {(1, 1), (2, 2)})])
def test_ranks_span_both_from_six_common_draws_on(draws, ranks, made_record, published) -> None:
    own = [made_record("mine", 0.4 + s / 100, s) for s in range(draws)]
    known = [made_record("bm25", 0.8 + s * s / 1000, s, **ELSEWHERE) for s in range(9)]
    rows = beside(own, published, *known)
    assert {row.rank for row in rows.values()} == ranks
    assert rows["bm25", True].draws == 9, "all of its draws count for the score"


def test_a_file_that_holds_no_record_is_said_and_left_out(made_record, published) -> None:
    published.add(made_record("bm25"))
    broken = published.root / "records" / "limit.retrieval" / "bm25" / "x.json"
    broken.write_text("{}")
    found, bad = comparable([made_record("mine")], published, "smoke")
    assert len(found) == 1 and [b.path for b in bad] == [broken]


def test_only_files_named_by_their_path_are_ones_own(tmp_path: Path) -> None:
    task = load_registry().tasks["limit/retrieval"]
    known = next(r for r in load_registry().rows(task) if r.name == "bm25")
    mine = BaselineSpec("mine", task.name, tmp_path / "mine.py", "", "Mine")
    assert is_own(mine) and not is_own(known) and not is_own(oracle_row(task))
    assert is_own(replace(known, name="mine+bm25", parts=(mine,)))
    assert is_own(replace(known, name="mteb:model.py:M", more_sources=(tmp_path / "model.py",)))


def test_a_run_of_ones_own_file_prints_them_unless_alone(
    made_record, method, harness_cli, smoke, tmp_path: Path
) -> None:
    case = next(c for c in load_registry().tasks["limit/retrieval"].cases if c.name == "46-dense")
    known = made_record("known", 0.5, case__params=dict(case.params), case__draw_digest="", **ELSEWHERE)
    Store(tmp_path / paths.PUBLISHED_RESULTS).add(known)
    words = [*smoke, "--baseline", method("mine", ""), "--results", paths.DEFAULT_RESULTS]
    ran = harness_cli(*words)
    assert ran.code == 0, ran.err
    assert re.search(r"known \(published\) +0\.500 ", ran.out) and "--alone leaves these rows out" in ran.out
    alone = harness_cli(*words, "--alone")
    assert "published" not in alone.out and "mine" in alone.out


def test_nothing_is_read_without_published_records_or_a_method_of_ones_own(
    made_record, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    task = load_registry().tasks["limit/retrieval"]
    mine = BaselineSpec("mine", task.name, tmp_path / "mine.py", "", "Mine")
    request = Request([task], {task.name: [mine]})
    assert published_store(request, "results/local") is None
    Store(paths.PUBLISHED_RESULTS).add(made_record("bm25"))
    found = published_store(request, "results/local")
    assert found is not None and found.root == paths.PUBLISHED_RESULTS
    assert published_store(request, "results") is None, "one's own folder does not tell whose records they are"
    assert published_store(replace(request, rows={task.name: [oracle_row(task)]}), "results/local") is None
