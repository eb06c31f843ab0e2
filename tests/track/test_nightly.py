"""The nightly set: what runs, what waits, what is archived, and that no night takes longer than it may."""

from __future__ import annotations

import itertools
import random
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError, NothingMatched, UsageError
from harness.plan import cells_of as plan_cells
from harness.record import Record
from harness.registry import ORACLE, load_registry
from harness.runner import Silent
from harness.store import Store
from harness.track.health import state_of
from harness.track.history import Cell, Night, Value
from harness.track.nightly import (
    CORE,
    ROTATION,
    Measured,
    Outcome,
    Plan,
    context_of_night,
    foreseen,
    measure_with,
    plan_of,
    published_costs,
    require_same_code,
    run_night,
    subset,
)  # fmt: skip
from harness.track.rotation import (
    ALONE_AFTER,
    ARCHIVE_AFTER,
    MARGIN,
    RETRY_AFTER,
    Past,
    Piece,
    groups_of,
    next_chunk,
    share_of,
    split_archived,
)

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def piece(row: str = "x", case: str = "c", source: str = "s", **more: Any) -> Piece:
    return Piece("t", case, row, source, **more)


def cell(
    row: str = "x", status: str = "ok", wall_s: float = 1.0, source: str = "s", case: str = "c", **more: Any
) -> Cell:
    fields = {"task": "t", "version": 1, "case": case, "row": row, "seed": 0, "device": "cpu", "threads": 1,
              "scale": "smoke", "status": status, "source": source, "wall_s": wall_s,
              "values": {"time/fit": Value(value=1.0, unit="ns")} if status == "ok" else {}}  # fmt: skip
    return Cell.model_validate({**fields, **more})


def night(number: int, cells: Sequence[Cell], seconds: float | None = None, state: str = "fine") -> Night:
    start = BEGIN + timedelta(days=number)
    end = start + timedelta(seconds=sum(c.wall_s for c in cells) if seconds is None else seconds)
    return Night(
        id=f"{start:%Y%m%dT%H%M%S}-{number:08x}", commit="0" * 40, committed=start.isoformat(), subject="",
        started=start.isoformat(), ended=end.isoformat(), machine="0" * 16, context={}, cells=list(cells),
        info={"state": state},
    )  # fmt: skip


def nights(*statuses: str, **more: Any) -> list[Night]:
    return [night(n, [cell(status=status, **more)]) for n, status in enumerate(statuses)]


# --- archive ---------------------------------------------------------------------------------------------------------


def test_what_is_broken_for_fourteen_nights_is_archived_with_the_last_reason() -> None:
    history = nights("ok", *["failed"] * 13, "timeout", reason="it broke")
    gone = Past(history).archived(piece())
    assert gone is not None
    assert (gone.nights, gone.since, gone.reason) == (14, history[1].id, "timeout: it broke")
    assert Past(history[:-1]).archived(piece()) is None, "thirteen are not enough"


def test_an_archived_row_comes_back_with_another_source_or_when_it_is_named() -> None:
    past = Past(nights(*["failed"] * 20))
    assert split_archived([piece()], past)[0] == []
    assert split_archived([piece(source="mended")], past) == ([piece(source="mended")], [])
    assert split_archived([piece()], past, frozenset({"x"})) == ([piece()], [])
    assert split_archived([piece()], past, frozenset({"y"}))[0] == []


def test_nights_of_an_earlier_source_do_not_count_against_the_present_one() -> None:
    history = [*nights(*["failed"] * 10, source="old"), *(night(10 + n, [cell(status="failed")]) for n in range(13))]
    assert Past(history).archived(piece()) is None
    assert Past([*history, night(23, [cell(status="oom")])]).archived(piece()) is not None


def test_an_archived_row_is_tried_once_again_every_fourteen_nights() -> None:
    history = nights(*["failed"] * 14)
    tried = []
    for number in range(14, 60):
        again = Past(history).archived(piece()) is None
        tried += [number] * again
        history.append(night(number, [cell(status="failed")] if again else []))
    assert tried == [13 + RETRY_AFTER, 13 + 2 * RETRY_AFTER, 13 + 3 * RETRY_AFTER]
    assert Past([*history, night(60, [cell()])]).archived(piece()) is None, "as soon as it answers it is back"


def test_nights_in_which_the_environment_was_broken_archive_nothing() -> None:
    bad = [night(n, [cell(status="failed")], state="environment broke") for n in range(20)]
    assert Past(bad).archived(piece()) is None
    sound = [night(20 + n, [cell(status="failed")]) for n in range(ARCHIVE_AFTER)]
    gone = Past([*bad, *sound]).archived(piece())
    assert gone is not None and (gone.nights, gone.since) == (ARCHIVE_AFTER, sound[0].id)
    assert Past([*bad, *sound[1:]]).archived(piece()) is None


def test_that_a_row_cannot_do_a_case_is_an_answer_and_archives_nothing() -> None:
    assert Past(nights(*["unsupported"] * 30)).archived(piece()) is None


def test_what_lacked_a_package_comes_back_when_that_is_there() -> None:
    past = Past(nights(*["skipped"] * 20, wall_s=0.0))
    assert past.archived(piece(blocked="x is not installed")) is not None
    assert past.archived(piece()) is None
    in_its_process = Past(nights(*["skipped"] * 20, wall_s=2.0))
    assert in_its_process.archived(piece()) is not None, "whether that is there is known only by trying it"


# --- costs and turns -------------------------------------------------------------------------------------------------


def test_a_cost_is_the_median_of_the_last_three_nights_with_the_harness_around_it() -> None:
    history = [night(n, [cell(wall_s=s)], seconds=s + 2) for n, s in enumerate([90.0, 3.0, 5.0, 4.0])]
    past = Past(history)
    assert past.overhead_s == 2.0
    assert past.cost_s(("t", "c", "x"), 1) == 6.0
    assert past.cost_s(("t", "c", "x"), 3) == 18.0
    assert past.cost_s(("t", "c", "y"), 1) is None
    assert Past(history, {("t", "c", "y"): 8.0}).cost_s(("t", "c", "y"), 1) == 10.0


def test_of_a_row_that_does_not_answer_only_one_process_is_expected() -> None:
    place = ("t", "c", "x")
    assert Past([night(0, [cell(status="oom", wall_s=90)])]).cost_s(place, 3) == 90
    assert Past([night(0, [cell(status="timeout", wall_s=90)])]).cost_s(place, 3) is None, "it may need any more"


def test_never_measured_comes_first_then_what_has_waited_longest_and_the_cheapest_of_these() -> None:
    history = [
        night(0, [cell("old", wall_s=5), cell("cheap", wall_s=1)]), night(1, [cell("recent")]),
    ]  # fmt: skip
    past = Past(history, {("t", "c", "new"): 7.0, ("t", "c", "newer"): 6.0})
    rows = ["recent", "old", "cheap", "unknown", "new", "newer"]
    order = [g.pieces[0].row for g in groups_of([piece(row) for row in rows], past)]
    assert order == ["newer", "new", "unknown", "cheap", "old", "recent"]


def test_rows_that_share_a_preparation_go_together_and_pay_it_once() -> None:
    shared = "enc (shared part)"
    past = Past([night(0, [cell(shared, wall_s=50), cell("a", wall_s=1), cell("b", wall_s=2), cell("c", wall_s=3)])])
    groups = groups_of([piece("a", group=shared), piece("b", group=shared), piece("c"),
                        piece("a", case="d", group=shared)], past)  # fmt: skip
    assert [([p.row for p in g.pieces], g.cost_s) for g in groups] == [
        (["a"], None), (["c"], 3.0), (["a", "b"], 53.0)
    ]  # fmt: skip


def test_a_chunk_fits_what_is_left_with_a_margin_and_lets_smaller_ones_by() -> None:
    past = Past([night(0, [cell(row, wall_s=s) for row, s in (("big", 100), ("mid", 30), ("low", 10))])])
    groups = sorted(groups_of([piece(row) for row in ("big", "mid", "low")], past), key=lambda g: -(g.cost_s or 0))
    rows = [
        [g.pieces[0].row for g in next_chunk(groups, left)] for left in (140 * MARGIN, 100 * MARGIN, 45 * MARGIN, 9)
    ]
    assert rows == [["big", "mid", "low"], ["big"], ["mid", "low"], []]


def test_what_nothing_is_known_of_goes_alone() -> None:
    groups = groups_of([piece("a"), piece("b")], Past([]))
    assert [len(next_chunk(groups, left)) for left in (100.0, 0.0)] == [1, 0]


def test_a_plan_takes_what_fits_the_night() -> None:
    past = Past([night(0, [cell(row, wall_s=100) for row in "abcdef"])])
    assert len(foreseen(groups_of([piece(row) for row in "abcdef"], past), 400)) == 3


# --- nights ----------------------------------------------------------------------------------------------------------


class Machine:
    """A machine with a clock of its own on which every cell costs what it costs, more or less."""

    def __init__(self, costs: dict[str, float], spread: float = 0.1, seed: int = 0) -> None:
        self.costs, self.now, self.broken = costs, 0.0, set[str]()
        self.spread, self.random = spread, random.Random(seed)
        self.calls: list[list[str]] = []

    def clock(self) -> float:
        return self.now

    def measure(self, pieces: Sequence[Piece], scale: str, budget_s: float, timeout_s: float) -> Measured:
        assert budget_s > 0 and timeout_s > 0
        self.calls.append([p.row for p in pieces])
        end, cells, cut = self.now + budget_s, [], set[tuple[str, str, str]]()
        for one in pieces:
            if self.now >= end:
                break
            took = self.costs[one.row] * self.random.uniform(1 - self.spread, 1 + self.spread)
            limit = min(timeout_s, end - self.now)
            status = "timeout" if took > limit else "failed" if one.row in self.broken else "ok"
            cut |= {one.place} if took > limit and limit < timeout_s else set()
            took = min(took, limit)
            self.now += took
            cells.append(cell(one.row, status, took, one.source, scale=scale))
        return Measured(cells, cut=cut)


def a_year(
    core: list[Piece], rotation: list[Piece], machine: Machine, budget_s: float, days: int,
    each_day: Callable[[int, list[Piece]], list[Piece]] = lambda _, pieces: pieces, window: int = 30,
    published: dict[str, float] | None = None,
) -> tuple[list[Outcome], list[float]]:  # fmt: skip
    history: list[Night] = []
    outcomes, took = [], []
    told = {("t", "c", row): cost for row, cost in (published or {}).items()}
    for day in range(days):
        began = machine.now
        plan = Plan(core, each_day(day, rotation), {})
        outcome = run_night(
            plan, Past(history[-window:], told), machine.measure, budget_s=budget_s, timeout_s=900, clock=machine.clock
        )
        took.append(machine.now - began)
        outcomes.append(outcome)
        history.append(night(day, outcome.cells, seconds=took[-1]))
    return outcomes, took


@pytest.mark.parametrize(("seed", "budget_h"), [(0, 0.75), (1, 1.0), (2, 2.0)])
def test_over_a_year_no_night_is_too_long_and_every_cell_has_its_turn(seed: int, budget_h: float) -> None:
    rng = random.Random(seed)
    core = [piece(f"core {n}") for n in range(20)]
    rotation = [piece(f"row {n}") for n in range(80)]
    costs = {p.row: rng.uniform(1, 20) for p in core} | {
        p.row: min(800.0, rng.lognormvariate(3.5, 1.2)) for p in rotation
    }
    machine, budget_s = Machine(costs, seed=seed), 3600 * budget_h
    outcomes, took = a_year(core, rotation, machine, budget_s, 365)
    assert max(took) <= budget_s
    # What a night has for the rotation, at the worst: the core and the margin off, and one large group that just did
    # not fit.
    spare = (budget_s - 1.1 * sum(costs[p.row] for p in core)) / MARGIN - max(costs.values())
    turn = 2 + sum(costs[p.row] for p in rotation) * 1.1 / spare
    last: dict[str, int] = defaultdict(lambda: -1)
    for day, outcome in enumerate(outcomes):
        for one in outcome.cells:
            if one.row.startswith("row"):
                assert day - last[one.row] <= turn, (one.row, costs[one.row], day, last[one.row])
            last[one.row] = day
        assert {p.row for p in core} <= {c.row for c in outcome.cells}
        listed = {text.split(" ", 2)[2] for text in outcome.left}
        assert listed == {p.row for p in rotation} - {c.row for c in outcome.cells}
    assert all(len(outcomes) - last[p.row] <= turn for p in rotation)


def test_a_broken_row_is_archived_in_time_and_comes_back_when_it_is_mended() -> None:
    core, rotation = [piece("good"), piece("bad")], [piece(f"row {n}") for n in range(5)]
    machine = Machine({p.row: 10.0 for p in [*core, *rotation]}, spread=0)
    machine.broken = {"bad", "row 0"}

    def mended(day: int, pieces: list[Piece]) -> list[Piece]:
        if day == 40:
            machine.broken.discard("row 0")
        return [piece(p.row, source="new") if p.row == "row 0" and day >= 40 else p for p in pieces]

    outcomes, _ = a_year(core, rotation, machine, 3600, 60, mended, window=60)
    ran = [{c.row for c in outcome.cells} for outcome in outcomes]
    again = ARCHIVE_AFTER - 1 + RETRY_AFTER
    assert [day for day in range(60) if "bad" in ran[day]] == [*range(ARCHIVE_AFTER), *range(again, 60, RETRY_AFTER)]
    assert [day for day in range(60) if "row 0" in ran[day]] == [*range(ARCHIVE_AFTER), again, *range(40, 60)]
    assert [a.row for a in outcomes[39].archived] == ["bad", "row 0"]
    assert [a.row for a in outcomes[40].archived] == ["bad"]
    assert all(not outcome.left for outcome in outcomes), "what is archived is not waiting"


def test_a_core_that_does_not_fit_is_itself_rotated() -> None:
    core = [piece(f"row {n}") for n in range(10)]
    machine = Machine({p.row: 100.0 for p in core}, spread=0)
    outcomes, took = a_year(core, [], machine, 500, 20)
    assert max(took) <= 500
    # Of what is unknown it starts what it can; of what is known, what fits with the margin.
    assert [len(outcome.cells) for outcome in outcomes[:4]] == [5, 5, 4, 4]
    assert len({c.row for outcome in outcomes[:2] for c in outcome.cells}) == 10
    assert len({c.row for outcome in outcomes[2:5] for c in outcome.cells}) == 10


def test_a_core_that_does_not_fit_leaves_the_rotation_a_quarter_of_the_night() -> None:
    core, rotation = [piece(f"core {n}") for n in range(10)], [piece(f"row {n}") for n in range(8)]
    machine = Machine({p.row: 100.0 if p in core else 20.0 for p in [*core, *rotation]}, spread=0)
    outcomes, took = a_year(core, rotation, machine, 500, 30)
    assert max(took) <= 500
    for start in range(5, 26):
        seen = {c.row for outcome in outcomes[start : start + 5] for c in outcome.cells}
        assert seen == {p.row for p in [*core, *rotation]}, "all have their turn within five nights"


def test_what_does_not_fit_beside_the_core_has_its_turn_before_it() -> None:
    core, rotation = [piece(f"core {n}") for n in range(6)], [piece("large"), piece("small"), piece("endless")]
    costs = {"large": 300.0, "small": 10.0, "endless": 480.0}
    costs = {p.row: costs.get(p.row, 50.0) for p in [*core, *rotation]}
    outcomes, took = a_year(core, rotation, Machine(costs, spread=0), 500, 40, window=60, published=costs)
    assert max(took) <= 500
    ran = [{c.row for c in outcome.cells if c.status == "ok"} for outcome in outcomes]
    turns = [day for day in range(5, 40) if "large" in ran[day]]
    assert len(turns) >= 4 and all(b - a == ALONE_AFTER for a, b in itertools.pairwise(turns))
    assert all({p.row for p in core} <= ran[day] for day in range(5, 40) if day not in turns)
    assert all(len(ran[day]) > 1 for day in turns), "the core has what is left"


def test_what_is_too_long_for_a_whole_night_is_told_and_holds_nothing_up() -> None:
    past = Past([night(0, [cell("huge", wall_s=1000), cell("large", wall_s=300), cell("core", wall_s=200)])], {})
    core, turn = groups_of([piece("core")], past), groups_of([piece("huge"), piece("large")], past)
    turn = sorted(turn, key=lambda group: -(group.cost_s or 0))
    share = share_of(core, turn, 500, 10)
    assert share.whole and [g.pieces[0].row for g in share.never] == ["huge"]
    assert share.alone is not None and share.alone.pieces[0].row == "large"
    assert share_of(core, turn, 500, ALONE_AFTER - 1).alone is None, "not every night"
    assert share_of(core, turn, 2000, 10).alone is None, "it fits beside the core"
    outcome = run_night(Plan([], [piece("huge")], {}), past, Machine({}).measure, budget_s=500, timeout_s=900)
    assert [g.name for g in outcome.never] == ["t c huge"] and outcome.left == ["t c huge"]


def test_what_ran_out_of_the_nights_time_did_not_run_out_of_its_own() -> None:
    machine = Machine({"x": 100.0, "y": 500.0}, spread=0)
    past = Past([night(0, [cell("x", wall_s=10), cell("y", wall_s=10)])])
    outcome = run_night(Plan([], [piece("x"), piece("y")], {}), past, machine.measure, budget_s=300, timeout_s=900,
                        clock=machine.clock)  # fmt: skip
    assert [(c.row, c.status) for c in outcome.cells] == [("x", "ok")]
    assert outcome.left == ["t c y"], "it is tried again, with more time"


def test_an_answer_counts_although_the_nights_end_cut_off_a_further_process() -> None:
    def measure(pieces: Sequence[Piece], scale: str, budget_s: float, timeout_s: float) -> Measured:
        return Measured([cell("x", reason="1 of 3 processes: timeout")], cut={("t", "c", "x")})

    past = Past([night(0, [cell("x"), cell("y")])])
    outcome = run_night(Plan([piece("x"), piece("y")], [], {}), past, measure, budget_s=100, timeout_s=9)
    assert [c.row for c in outcome.cells] == ["x"]


def test_what_a_whole_night_is_too_short_for_is_a_timeout_and_lets_others_by() -> None:
    machine = Machine({"endless": 10**6, "y": 5.0}, spread=0)
    outcomes, took = a_year([], [piece("endless"), piece("y")], machine, 300, 4)
    assert max(took) <= 300
    assert [{c.row: c.status for c in o.cells} for o in outcomes] == [
        {"endless": "timeout"}, {"y": "ok"}, {"endless": "timeout"}, {"y": "ok"}
    ]  # fmt: skip


def test_an_interrupt_keeps_the_night_so_far() -> None:
    machine = Machine({"a": 1.0, "b": 1.0})

    def measure(pieces: Sequence[Piece], scale: str, budget_s: float, timeout_s: float) -> Measured:
        if scale == ROTATION:
            raise KeyboardInterrupt
        return machine.measure(pieces, scale, budget_s, timeout_s)

    outcome = run_night(Plan([piece("a")], [piece("b")], {}), Past([]), measure, budget_s=100, timeout_s=9)
    assert outcome.interrupted
    assert ([c.row for c in outcome.cells], outcome.left) == (["a"], ["t c b"])


def test_a_run_that_was_interrupted_is_the_last_of_its_night() -> None:
    calls = []

    def measure(pieces: Sequence[Piece], scale: str, budget_s: float, timeout_s: float) -> Measured:
        calls.append(scale)
        return Measured([cell(p.row) for p in pieces[:1]], interrupted=True)

    plan = Plan([piece("a"), piece("b")], [piece("c")], {})
    outcome = run_night(plan, Past([night(0, [cell("a"), cell("b")])]), measure, budget_s=100, timeout_s=9)
    assert (calls, outcome.interrupted, outcome.left) == ([CORE], True, ["t c b", "t c c"])


def test_a_harness_that_cannot_go_on_leaves_the_night_so_far_and_says_why() -> None:
    def measure(pieces: Sequence[Piece], scale: str, budget_s: float, timeout_s: float) -> Measured:
        if scale == ROTATION:
            raise HarnessError("no space left")
        return Measured([cell(p.row) for p in pieces])

    outcome = run_night(Plan([piece("a")], [piece("b")], {}), Past([]), measure, budget_s=100, timeout_s=9)
    assert [c.row for c in outcome.cells] == ["a"]
    assert state_of(outcome.cells, Past([]), problem=outcome.problem) == (
        "environment broke",
        "the night ended early: no space left",
    )


def test_a_mistake_of_the_harness_does_not_lose_the_night(capsys: pytest.CaptureFixture[str]) -> None:
    def measure(pieces: Sequence[Piece], scale: str, budget_s: float, timeout_s: float) -> Measured:
        if scale == ROTATION:
            raise OSError(28, "no space left")
        return Measured([cell(p.row) for p in pieces])

    outcome = run_night(Plan([piece("a")], [piece("b"), piece("c")], {}), Past([]), measure, budget_s=100, timeout_s=9)
    assert [c.row for c in outcome.cells] == ["a"] and outcome.left == ["t c b", "t c c"]
    assert outcome.problem == "OSError: [Errno 28] no space left"
    assert "in measure" in capsys.readouterr().err, "where it happened is told"


def test_what_a_run_had_measured_before_it_broke_off_is_kept_and_nothing_more_is_started() -> None:
    calls = []

    def measure(pieces: Sequence[Piece], scale: str, budget_s: float, timeout_s: float) -> Measured:
        calls.append(scale)
        return Measured([cell(p.row) for p in pieces[:1]], problem="the disk is full")

    plan = Plan([piece("a"), piece("b")], [piece("c")], {})
    outcome = run_night(plan, Past([night(0, [cell("a"), cell("b")])]), measure, budget_s=100, timeout_s=9)
    assert (calls, outcome.problem, outcome.left) == ([CORE], "the disk is full", ["t c b", "t c c"])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="measuring needs Linux")
def test_no_process_has_more_time_than_the_night_has_left_and_what_broke_off_keeps_its_records(
    tmp_path: Path,
) -> None:
    plan = plan_of(load_registry(), "limit/free", ["random"], "*", processes=2, threads=1, device="cpu")
    one = next(p for p in plan.core if not p.group)
    ended = []

    class Broken(Silent):
        def finished(self, cell: Any, record: Record) -> None:
            ended.append(record)
            if len(ended) == 2:
                raise OSError("the disk is full")

    measured = measure_with(plan, tmp_path, reporter=Broken)([one], CORE, 60.0, 900.0)
    assert measured.problem == "OSError: the disk is full"
    assert [(c.row, c.status) for c in measured.cells] == [(one.row, "ok")]
    first, second = (record.timeout_s for record in ended)
    assert 60 >= first > second > 1, "each had what was left"


# --- what it was worth -----------------------------------------------------------------------------------------------

FOUR_OK = [night(0, [cell(row) for row in "abcd"])]


@pytest.mark.parametrize(
    ("statuses", "state"),
    [
        ({"a": "ok", "b": "ok", "c": "ok", "d": "ok"}, "fine"),
        ({"a": "ok", "b": "ok", "c": "ok", "d": "failed"}, "fine"),
        ({"a": "failed", "b": "failed", "c": "ok", "d": "ok"}, "environment broke"),
        ({"a": "skipped", "b": "skipped", "c": "ok", "d": "ok"}, "environment broke"),
        ({"a": "failed", "b": "timeout", "c": "ok", "d": "ok"}, "fine"),
        ({"a": "ok", "new": "failed", "newer": "failed", "newest": "failed"}, "fine"),
        ({"a": "failed"}, "environment broke"),
        ({"a": "unsupported", "b": "unsupported"}, "measured nothing"),
        ({}, "measured nothing"),
    ],
)
def test_a_broken_environment_is_told_from_broken_code(statuses: dict[str, str], state: str) -> None:
    cells = [
        cell(row, status, reason=f"failed at 0x{n} in /some/{row}") for n, (row, status) in enumerate(statuses.items())
    ]
    assert state_of(cells, Past(FOUR_OK))[0] == state


def test_rows_that_fail_each_for_its_own_reason_are_no_broken_environment() -> None:
    own = [cell(row, "failed", reason=f"{row} is wrong") for row in "abc"]
    assert state_of([*own, cell("d")], Past(FOUR_OK))[0] == "fine"


def test_the_context_is_what_affects_performance_to_the_minor_version() -> None:
    found = {
        "python": "CPython 3.11.9", "kernel": "6.1.0-13-cloud", "libc": "glibc 2.36", "governor": "performance",
        "variables": {"OMP_NUM_THREADS": "2", "LANG": "C"}, "gpus": [{"name": "G", "driver": "550.1"}],
        "info": {"load_average": [0.5, 0.4, 0.3]}, "cpu_model": "C",
    }  # fmt: skip
    context, info = context_of_night(found, 3)
    assert context["python"] == "CPython 3.11" and context["kernel"] == "6.1" and context["processes"] == 3
    assert context["variable OMP_NUM_THREADS"] == "2" and "variable LANG" not in context
    assert context["gpu 0"] == "G, driver 550"
    assert info["kernel"] == "6.1.0-13-cloud" and info["load_average"] == 0.5
    again, _ = context_of_night({**found, "python": "CPython 3.11.10", "kernel": "6.1.0-14-cloud", "info": {}}, 3)
    assert again == context
    assert context_of_night({**found, "governor": "powersave"}, 3)[0] != context


# --- the real registry -----------------------------------------------------------------------------------------------


def test_the_core_is_every_row_at_scale_smoke_and_the_rotation_what_standard_adds() -> None:
    registry = load_registry()
    plan = plan_of(registry, processes=3, threads=1, device="cpu")
    places = [p.place for p in [*plan.core, *plan.rotation]]
    assert len(set(places)) == len(places)
    assert {p.task for p in plan.core} == set(registry.tasks)
    # Rows that say that they are too large for it take no part in the smallest scale.
    small = {(b.task, b.name) for b in registry.baselines if b.scale == "smoke" and not b.prefix and b.cost == "light"
             and b.takes == ("*",) and not b.part}  # fmt: skip
    assert {(p.task, p.row) for p in plan.core} & small
    assert not any(p.row == ORACLE for p in [*plan.core, *plan.rotation])
    assert {p.processes for p in plan.core} == {3}
    assert all(p.group.endswith("(shared part)") for p in plan.core if p.group) and any(p.group for p in plan.core)


def test_exactly_the_chosen_pieces_are_run() -> None:
    plan = plan_of(load_registry(), "compression/weights,limit", processes=2, threads=1, device="cpu")
    for scale, pieces in ((CORE, plan.core), (ROTATION, plan.rotation)):
        chosen = pieces[::3]
        planned = plan_cells(subset(plan.requests[scale], chosen))
        assert {(c.task.name, c.case.name, c.row.name) for c in planned} == {p.place for p in chosen}
        assert len(planned) == sum(p.processes for p in chosen)
        assert {c.seed for c in planned} == {0}
        keys = {c.key for c in plan_cells(plan.requests[scale])}
        assert {c.key for c in planned} <= keys, "what is chosen does not change what is measured"


def test_a_night_of_nothing_and_of_unknown_names_is_refused() -> None:
    with pytest.raises(UsageError, match="did you mean"):
        plan_of(load_registry(), "limit/retrievel", processes=1, threads=1)
    with pytest.raises(UsageError, match="did you mean 'bm25'"):
        plan_of(load_registry(), "limit", ["bm26"], processes=1, threads=1)
    with pytest.raises(NothingMatched, match="harness list cases"):
        plan_of(load_registry(), "limit", ["bm25"], "d6", processes=1, threads=1)


def test_published_records_tell_what_a_process_costs(tmp_path: Path, made_record: Callable[..., Any]) -> None:
    store = Store(tmp_path)
    part = made_record("a", None, kind="prepare", status="ok", baseline__file="enc.py", cost__wall_s=7.0)
    charged = made_record("a", provenance__shared_record=part.id, cost__wall_s=8.0)
    for record in (part, charged, made_record("b", cost__wall_s=2.0), made_record("b", cost__wall_s=4.0)):
        store.add(record)
    where = ("limit/retrieval", "46-dense")
    assert published_costs(tmp_path) == {(*where, "a"): 1.0, (*where, "b"): 3.0, (*where, "enc (shared part)"): 7.0}
    assert published_costs(tmp_path / "nothing") == {}


def test_a_commit_is_no_label_for_other_code(tmp_path: Path) -> None:
    repo, installed = tmp_path / "repo", tmp_path / "site/harness"
    for folder in (repo / "harness", installed):
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text("")
    for folder in (repo / "tasks", installed / "tasks"):
        folder.mkdir()
        (folder / "t.py").write_text("one")
    require_same_code(repo, installed)
    require_same_code(tmp_path, installed)
    (repo / "tasks/t.py").write_text("two")
    with pytest.raises(UsageError, match=r"tasks/t\.py differs"):
        require_same_code(repo, installed)
    (repo / "tasks/t.py").write_text("one")
    (repo / "harness/more.py").write_text("")
    with pytest.raises(UsageError, match=r"harness/more\.py differs"):
        require_same_code(repo, installed)
