"""Which rows two commits are compared on, and what the pairs are taken to say."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.cli.track_compare import _PRINTERS, _state, configure, execute
from harness.errors import NothingMatched, UsageError
from harness.track.choice import Choice, asked_for, by_difference
from harness.track.compare import Compared, Measured, Selected, judge, measure, state_of
from harness.track.history import Cell, Value, Work
from harness.track.inventory import Row
from harness.track.pairs import Once, Pair
from harness.track.trees import Tree

WORK = Work("limit/retrieval", 1, "46-dense", "bm25", 0, "cpu", 1)
SELECTED = Selected(WORK, "asked for", "bm25")


def once(status: str = "ok", items: Any = None, draw: str = "", **values: Value) -> Once:
    named = {name.replace("__", "/", 1): value for name, value in values.items()}
    cell = Cell(
        task=WORK.task, version=1, case=WORK.case, row=WORK.row, seed=0, device="cpu", threads=1, scale="smoke",
        status=status, reason="" if status == "ok" else "it broke", source="", draw=draw, values=named,  # type: ignore[arg-type]
    )  # fmt: skip
    return Once(cell, {name: np.asarray(of, float) for name, of in (items or {}).items()})


def costs(base: float, head: float, moved: bool = False, unit: str = "ns") -> Pair:
    before, after = (once(latency__query=Value(value=value, unit=unit)) for value in (base, head))
    return Pair(before, after, moved)


def scored(before: Any, after: Any, higher_is_better: bool = True) -> Pair:
    sides = []
    for items in (before, after):
        value = Value(value=float(np.mean(items)), unit="", higher_is_better=higher_is_better)
        values: dict[str, Any] = {"score__recall@2": value}
        sides.append(once(items={"score/recall@2": items}, **values))
    return Pair(sides[0], sides[1], False)


def judged(*pairs: Pair) -> Compared:
    (found,) = judge([Measured(SELECTED, list(pairs))])
    return found


def noisy(ratio: float, n: int = 10, sd: float = 0.03, seed: int = 0) -> list[Pair]:
    factors = np.exp(np.random.default_rng(seed).normal(0, sd, (n, 2)))
    return [costs(1000 * a, 1000 * ratio * b) for a, b in factors]


# --- verdicts -------------------------------------------------------------------------------------------------------


def test_a_slow_down_of_15_percent_is_told_with_an_interval_that_holds_it() -> None:
    found = judged(*noisy(1.15))
    (metric,) = found.metrics
    assert metric.verdict == "regressed" and metric.test is not None
    assert metric.test.low < 1.15 < metric.test.high and metric.test.effect > 1.05
    assert state_of([found])[0] == "regressed"


def test_the_same_the_other_way_round_is_an_improvement_and_no_alarm() -> None:
    found = judged(*noisy(1 / 1.15))
    assert [m.verdict for m in found.metrics] == ["improved"]
    assert state_of([found])[0] == "fine"


def test_the_same_code_is_not_told_to_differ() -> None:
    verdicts = [judged(*noisy(1.0, sd=0.1, seed=seed)).metrics[0].verdict for seed in range(100)]
    assert verdicts.count("regressed") <= 5 and verdicts.count("improved") <= 5


def test_a_change_under_the_least_effect_is_not_told_however_sure_it_is() -> None:
    found = judged(*noisy(1.03, sd=0.001))
    (metric,) = found.metrics
    assert metric.test is not None and metric.test.p < 0.002 and metric.verdict == "no difference found"


def test_where_the_machine_moved_in_more_than_half_of_the_pairs_there_is_no_verdict() -> None:
    pairs = [replace(pair, moved=number < 6) for number, pair in enumerate(noisy(1.5))]
    found = judged(*pairs)
    (metric,) = found.metrics
    assert metric.verdict == "inconclusive" and metric.why == "the machine's speed moved in 6 of 10 pairs"
    assert state_of([found])[0] == "inconclusive"


def test_pairs_in_which_the_machine_moved_do_not_count() -> None:
    pairs = [*noisy(1.0, sd=0.01), *(costs(1000, 3000, moved=True) for _ in range(4))]
    (metric,) = judged(*pairs).metrics
    assert metric.dropped == 4 and metric.verdict == "no difference found"
    assert metric.test is not None and metric.test.effect == pytest.approx(1, abs=0.02)


def test_memory_does_not_depend_on_the_speed_of_the_machine() -> None:
    pairs = [costs(100 + number % 3, 130 + number % 2, moved=True, unit="bytes") for number in range(10)]
    (metric,) = judged(*pairs).metrics
    assert metric.verdict == "regressed" and metric.dropped == 0


def test_too_few_pairs_are_no_verdict() -> None:
    (metric,) = judged(*noisy(1.5, n=5)).metrics
    assert metric.verdict == "inconclusive" and "6 at least" in metric.why


def test_a_lower_score_is_a_regression_item_by_item() -> None:
    before = np.ones(1000)
    after = before.copy()
    after[:20] = 0
    found = judged(*(scored(before, after) for _ in range(6)))
    metric = found.metrics[0]
    assert metric.verdict == "regressed" and metric.test is not None
    assert metric.test.effect == pytest.approx(-0.02) and metric.test.high < 0


def test_a_lower_error_is_an_improvement() -> None:
    before = np.ones(1000)
    after = before.copy()
    after[:20] = 0
    found = judged(*(scored(before, after, higher_is_better=False) for _ in range(6)))
    assert found.metrics[0].verdict == "improved"


def test_scores_that_are_the_same_do_not_make_it_harder_to_find_what_differs() -> None:
    same = np.ones(50)
    pairs = []
    for pair in noisy(1.2, n=6, sd=0.005):
        scores: dict[str, Any] = {f"score__s{i}": Value(value=1.0, unit="", higher_is_better=True) for i in range(40)}
        items = {f"score/s{i}": same for i in range(40)}
        sides = [
            once(items=items, latency__query=s.cell.values["latency/query"], **scores) for s in (pair.base, pair.head)
        ]
        pairs.append(Pair(sides[0], sides[1], False))
    told = {m.name: m.verdict for m in judged(*pairs).metrics if m.verdict != "no difference found"}
    assert told == {"latency/query": "regressed"}


def test_scores_of_another_version_of_the_task_are_not_compared() -> None:
    (found,) = judge([Measured(replace(SELECTED, version_before=2), [scored([1, 1], [0, 0])] * 6)])
    assert found.metrics == ()


def test_of_another_version_of_the_task_costs_are_listed_and_not_judged() -> None:
    (found,) = judge([Measured(replace(SELECTED, version_before=2), noisy(3.0, sd=0.001))])
    (metric,) = found.metrics
    assert metric.verdict == "not judged" and metric.test is not None and metric.test.effect == pytest.approx(3, 0.01)
    assert state_of([found])[0] == "inconclusive"


def phase(name: str, base: float, head: float, unit: str) -> Pair:
    return Pair(*(once(**{name: Value(value=value, unit=unit)}) for value in (base, head)), False)


def test_a_phase_that_grows_out_of_the_noise_is_told_and_one_that_stays_within_is_not() -> None:
    found = judged(*(phase("time__index", 2e4 + i, 2e6 + i, "ns") for i in range(10)))
    assert [m.verdict for m in found.metrics] == ["regressed"]
    assert judged(*(phase("time__index", 2e4 + i, 9e5 + i, "ns") for i in range(10))).metrics == ()


def test_memory_that_a_row_begins_to_need_is_told_although_there_was_none() -> None:
    found = judged(*(phase("memory__delta", -4096.0 * i, 5e7 + i, "bytes") for i in range(10)))
    (metric,) = found.metrics
    assert (metric.verdict, metric.dropped) == ("regressed", 0)


def test_half_a_point_of_a_score_out_of_a_hundred_is_a_small_change() -> None:
    before = np.full(1000, 100.0)
    after = before - np.where(np.arange(1000) < 300, 1.0, 0.0)  # 0.3 of 100: sure, and less than half a per cent
    (metric,) = judged(*(scored(before, after) for _ in range(6))).metrics
    assert metric.test is not None and metric.test.p < 1e-6 and metric.verdict == "no difference found"


def test_a_score_without_items_needs_as_many_pairs_as_a_cost() -> None:
    def pair(number: int) -> Pair:
        values = (Value(value=value, unit="", higher_is_better=True) for value in (0.9, 0.5 + number / 1000))
        return Pair(*(once(score__f1=value) for value in values), False)

    (few,) = judged(*map(pair, range(5))).metrics
    assert few.verdict == "inconclusive" and "5 pairs are too few" in few.why
    (enough,) = judged(*map(pair, range(10))).metrics
    assert enough.verdict == "regressed" and "it has no items" in enough.why


def test_items_of_other_questions_or_of_other_numbers_are_not_paired() -> None:
    (metric,) = judged(*(scored(np.ones(50), np.zeros(60)) for _ in range(6))).metrics
    assert (metric.verdict, metric.why) == ("inconclusive", "the two commits do not score the same items")
    pair = scored(np.ones(50), np.zeros(50))
    other = replace(pair.head, cell=pair.head.cell.model_copy(update={"draw": "another"}))
    (metric,) = judged(*[replace(pair, head=other)] * 6).metrics
    assert (metric.verdict, metric.why) == ("inconclusive", "the two commits do not ask the same questions")


# --- what it comes to -----------------------------------------------------------------------------------------------


def test_a_row_that_no_longer_answers_is_a_regression() -> None:
    found = judged(*[Pair(once(), once("failed"), False)] * 2)
    assert (found.outcome, found.reason) == ("broke", "failed: it broke")
    assert state_of([found]) == ("regressed", "limit/retrieval 46-dense bm25 no longer answers")


def test_what_fails_now_and_then_is_counted_and_no_verdict() -> None:
    answers, fails = noisy(1.0, n=6), Pair(once(), once("failed"), False)
    found = judged(*answers, *[fails] * 4)
    assert found.outcome == "inconclusive" and found.pairs == 6
    assert found.reason == "in 10 pairs, the base answered 10 times and the head 6 times; head failed: it broke"
    state, why = state_of([found])
    assert state == "inconclusive" and "the head 6 times" in why


def test_a_single_pair_convicts_no_row() -> None:
    assert judged(Pair(once(), once("failed"), False)).outcome == "inconclusive"
    assert judged(Pair(once("failed"), once(), False)).outcome == "inconclusive"


def test_a_row_that_answers_again_is_none() -> None:
    found = judged(*[Pair(once("failed"), once(), False)] * 2)
    assert found.outcome == "recovered" and state_of([found])[0] == "fine"


def test_what_fails_on_both_sides_says_that_the_environment_broke() -> None:
    found = judged(*[Pair(once("failed"), once("failed"), False)] * 2)
    assert state_of([found]) == ("environment broke", "no row answered at either commit: failed: it broke")


def test_without_a_row_nothing_was_measured() -> None:
    assert state_of([])[0] == "measured nothing"


class _Clock:
    """Goes on by a second whenever a pair is made."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def pairs(self, _: Selected, until: float) -> Iterator[Pair]:
        assert self.now < until
        for pair in noisy(1.0):
            self.now += 1
            yield pair


def test_each_row_gets_its_share_of_the_budget() -> None:
    clock = _Clock()
    found = measure([SELECTED] * 3, clock.pairs, lambda text: None, 9.0, clock)
    assert [len(one.pairs) for one in found] == [3, 3, 3]


def test_what_does_not_answer_is_not_run_ten_times() -> None:
    broken = Pair(once("failed"), once("failed"), False)
    (found,) = measure([SELECTED], lambda *_: iter([broken] * 10), lambda text: None)
    assert len(found.pairs) == 2


# --- selection ------------------------------------------------------------------------------------------------------


def row(name: str, task: str = "limit/retrieval", file: str = "", **otherwise: Any) -> Row:
    parts: dict[str, Any] = {
        "task": task, "version": 1, "case": "46-dense", "row": name, "seed": 0, "device": "cpu", "threads": 1,
        "source": "s", "task_source": "t", "file": file or name, "cost": "light", "own": "o", "missing": "",
    }  # fmt: skip
    return Row(**{**parts, **otherwise})


def test_without_a_difference_nothing_is_selected() -> None:
    rows = [row("bm25"), row("random")]
    assert by_difference(rows, rows, False).rows == []


def test_a_changed_file_is_compared_on_one_of_its_rows() -> None:
    base = [row("bm25"), row("bm25-unstemmed", file="bm25"), row("random")]
    head = [replace(r, own="p", source="q") if r.file == "bm25" else r for r in base]
    (one,) = by_difference(base, head, False).rows
    assert (one.work.row, one.why) == ("bm25", "its code differs")


def test_a_change_in_what_a_file_imports_counts_as_one_of_its_own() -> None:
    base = [row("bm25"), row("random")]
    (one,) = by_difference(base, [replace(base[0], source="q"), base[1]], False).rows
    assert one.work.row == "bm25"


def test_a_changed_task_is_stood_for_by_three_rows_the_control_last() -> None:
    base = [row("random"), row("a", cost="heavy"), row("b"), row("c"), row("d"), row("x", task="hnsw")]
    head = [replace(r, task_source="u", source="q") if r.task != "hnsw" else r for r in base]
    chosen = by_difference(base, head, False).rows
    assert [one.work.row for one in chosen] == ["b", "c", "d"]
    assert {one.why for one in chosen} == {"stands for limit/retrieval, whose code differs"}


def test_a_changed_harness_is_stood_for_by_one_row_of_each_family() -> None:
    rows = [row("random"), row("b"), row("x", task="hnsw"), row("y", task="compression/vectors"),
            row("z", task="compression/weights")]  # fmt: skip
    assert [one.work.row for one in by_difference(rows, rows, True).rows] == ["b", "x", "y"]


def test_many_changed_rows_are_cut_with_a_count() -> None:
    base = [row(f"r{i}") for i in range(30)]
    chosen = by_difference(base, [replace(r, own="p", source="q") for r in base], False)
    assert len(chosen.rows) == 12 and chosen.notes[0].startswith("30 rows differ, of which 12 are run")


def test_new_rows_are_named_and_what_cannot_run_is_left_out_with_its_reason() -> None:
    base = [row("bm25")]
    head = [replace(base[0], own="p", source="q", missing="bm25s is not installed"), row("new")]
    chosen = by_difference(base, head, False)
    assert chosen.rows == [] and chosen.notes == [
        "cannot run here: bm25: bm25s is not installed", "new, with nothing to compare with: new"
    ]  # fmt: skip


def test_where_all_that_differs_cannot_run_nothing_was_measured() -> None:
    base = [row("ivf", missing="no faiss"), row("random")]
    head = [replace(base[0], own="p", source="q"), base[1]]
    assert _state(by_difference(base, head, False), [])[0] == "measured nothing"
    assert _state(asked_for(base, head, "", ["ivf"], ""), [])[0] == "measured nothing"
    assert _state(by_difference(base, base, False), [])[0] == "fine"


def test_what_cannot_run_stands_for_others_only_where_all_cannot() -> None:
    base = [row("a", missing="no a"), row("b"), row("a2", file="shared", missing="no a"), row("b2", file="shared")]
    head = [replace(r, task_source="u", source="q") for r in base]
    chosen = by_difference(base, head, False)
    assert [one.work.row for one in chosen.rows] == ["b", "b2"] and chosen.notes == []
    assert [one.work.row for one in by_difference(base, base, True).rows] == ["b"]


def test_commits_without_a_row_in_common_cannot_be_compared() -> None:
    with pytest.raises(NothingMatched):
        by_difference([row("a")], [row("b")], False)


def test_a_row_named_as_a_file_is_that_row_alone() -> None:
    rows = [row("bm25"), row("bm25-unstemmed", file="bm25"), row("cast", file="casts")]
    assert [one.work.row for one in asked_for(rows, rows, "", ["bm25"], "").rows] == ["bm25"]
    assert [one.work.row for one in asked_for(rows, rows, "limit", ["bm25*"], "").rows] == ["bm25", "bm25-unstemmed"]
    assert [one.work.row for one in asked_for(rows, rows, "", ["casts"], "46-*").rows] == ["cast"]


def test_a_preparation_is_run_by_a_row_that_needs_it() -> None:
    rows = [
        row("int8", task="compression/vectors", case="digits"),
        row("sq4", task="compression/vectors", case="digits"),
    ]
    (one,) = asked_for(rows, rows, "", ["int8 (shared part)"], "").rows
    assert one.row == "int8" and one.work.row == "int8 (shared part)"


def test_a_task_that_is_not_there_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'limit'"):
        asked_for([row("a")], [row("a")], "limt", [], "")
    with pytest.raises(UsageError, match="unknown baseline 'tfidff'; did you mean 'tfidf'"):
        asked_for([row("tfidf")], [row("tfidf")], "limit", ["tfidff"], "")
    with pytest.raises(NothingMatched, match="no such row"):
        asked_for([row("a")], [row("a")], "limit", ["b*"], "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--pairs", "3"], "write --pairs 10"),
        (["--processes", "0"], "write --processes 12"),
        (["--timeout", "0"], "write --timeout 900"),
        (["--timeout", "nan"], "write --timeout 900"),
        (["--threads", "0"], "write --threads 1"),
    ],
)
def test_senseless_options_are_refused_before_anything_runs(words: list[str], said: str) -> None:
    parser = argparse.ArgumentParser()
    configure(parser)
    with pytest.raises(UsageError, match=said):
        execute(parser.parse_args(["main", "HEAD", *words]))


# --- what is printed ------------------------------------------------------------------------------------------------

OPTIONS = argparse.Namespace(base="main", head="HEAD", scale="smoke", pairs=None)
TREES = Tree("a" * 40, Path(), "before"), Tree("b" * 40, Path(), "a | subject <b>\x1b[2J")


def printed(form: str, found: list[Compared], capsys: pytest.CaptureFixture[str]) -> str:
    state, why = state_of(found)
    _PRINTERS[form](OPTIONS, *TREES, Choice(notes=["a note"]), found, state, why)
    return capsys.readouterr().out


def test_the_text_names_what_regressed_with_its_interval_and_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    said = printed("text", [judged(*noisy(1.15))], capsys)
    assert "regressed (p = 0.001)" in said and "note: a note" in said and "\x1b" not in said
    assert "again: harness track compare main HEAD --task limit/retrieval --baseline bm25 --case 46-dense" in said
    assert "regressed: limit/retrieval 46-dense bm25 latency/query" in said


def test_markdown_holds_what_commits_and_reasons_say_within_its_table(capsys: pytest.CaptureFixture[str]) -> None:
    broken = Pair(
        once(), replace(once("failed"), cell=once("failed").cell.model_copy(update={"reason": "a | <i>\n`"})), False
    )
    said = printed("markdown", [judged(*noisy(1.15)), judged(broken, broken)], capsys)
    table = [line for line in said.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in table} == {7} and len(table) == 4
    assert "<b>" not in said and "<i>" not in said and "\x1b" not in said


def test_json_is_strict_even_without_an_interval(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(printed("json", [judged(*noisy(1.15, n=3))], capsys))
    (number,) = found["rows"][0]["numbers"]
    assert (number["low"], number["high"], number["verdict"]) == (None, None, "inconclusive")
    assert found["head"]["commit"] == "b" * 40
