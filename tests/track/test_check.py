"""One night against its past: what is said, and what is not. The machine is simulated, everything else is real."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import NothingMatched, UsageError
from harness.track.check import check_name, check_night, checks_of
from harness.track.findings import Check, Finding
from harness.track.history import Cell, History, Night, Value, Work, digest_of
from harness.track.pairs import Once, Pair
from harness.track.unresolved import open_findings

MACHINE = "00112233445566ff"
N_ITEMS = 400


@dataclass
class World:
    """What the code costs and scores at each commit, on a machine with 2 % noise; and the history that came of it."""

    root: Path
    rows: tuple[str, ...] = ("bm25", "tfidf", "lsa")
    seed: int = 0
    slowness: Callable[[str, str], float] = lambda commit, row: 1.0
    lost: Callable[[str, str], int] = lambda commit, row: 0
    status: Callable[[str, str], str] = lambda commit, row: "ok"
    machine_speed: Callable[[int], float] = lambda measurement: 1.0
    nights: int = 0
    reruns: list[tuple[str, str, str]] = field(default_factory=list)
    measurements: int = 0

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.history = History(self.root, MACHINE)

    def measure(self, commit: str, row: str, libraries: str = "2.1") -> tuple[Cell, dict[str, np.ndarray]]:
        self.measurements += 1
        speed = self.machine_speed(self.measurements)
        noise = lambda: float(np.exp(0.02 * self.rng.standard_normal())) * speed  # noqa: E731
        status: Any = self.status(commit, row)
        items = np.ones(N_ITEMS)
        items[: 80 + self.lost(commit, row)] = 0.0
        values = {} if status != "ok" else {
            "latency/query": Value(value=1e6 * self.slowness(commit, row) * noise(), unit="ns", processes=3),
            "memory/peak": Value(value=4e8, unit="bytes", processes=3),
            "score/recall@2": Value(value=float(items.mean()), unit="", higher_is_better=True, items=digest_of(items)),
        }  # fmt: skip
        cell = Cell(
            task="limit/retrieval", version=1, case="46", row=row, seed=0, device="cpu", threads=1, scale="smoke",
            status=status, reason="" if status == "ok" else f"{status} for a reason", source=commit, draw="d",
            libraries={"numpy": libraries}, canary_ns=2e7 * speed, wall_s=1.0, values=values,
        )  # fmt: skip
        return cell, {"score/recall@2": items} if status == "ok" else {}

    def night(self, commit: str, **otherwise: Any) -> Night:
        libraries = otherwise.pop("libraries", "2.1")
        measured = [self.measure(commit, row, libraries) for row in self.rows]
        n = self.nights
        self.nights += 1
        day = f"2026-{1 + n // 28:02}-{1 + n % 28:02}"
        made: dict[str, Any] = {
            "id": f"{day.replace('-', '')}T020000-{n:08x}", "commit": commit, "committed": f"{day}T00:00:00Z",
            "subject": f"Commit {commit[:4]}", "started": f"{day}T02:00:00Z", "ended": f"{day}T03:00:00Z",
            "machine": MACHINE, "context": {"python": "3.11"}, "cells": [cell for cell, _ in measured],
        }  # fmt: skip
        night = Night(**{**made, **otherwise})
        self.history.add(night, {digest_of(i): i for _, items in measured for i in items.values()})
        return night

    def rerun(self, work: Work, scale: str, good: str, head: str, processes: int, deadline: float) -> Iterator[Pair]:
        self.reruns.append((work.row, good, head))
        for _ in range(24):
            base, tonight = self.measure(good, work.row), self.measure(head, work.row)
            speeds = (base[0].canary_ns or 1) / (tonight[0].canary_ns or 1)
            yield Pair(Once(*base), Once(*tonight), moved=max(speeds, 1 / speeds) > 1.1)

    def check(self, **otherwise: Any) -> Check:
        """Check the last night and keep what was found, as the command does."""
        check = check_night(
            self.history, otherwise.pop("night", ""), otherwise.pop("rerun", self.rerun),
            commits=lambda good, bad: [f"{bad[:12]} something", f"{good[:12]} before"][: good != bad], **otherwise,
        )  # fmt: skip
        self.history.add_file("checks", check_name(self.history, check.night, False), check)
        return check


def commit(number: int) -> str:
    return f"{number:040x}"


def quiet_nights(world: World, n: int = 12) -> None:
    for number in range(n):
        world.night(commit(number))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "history")


def found(check: Check, verdict: str = "regressed") -> list[Finding]:
    return [f for f in check.findings if f.verdict == verdict]


def from_commit(number: int, row: str, factor: float) -> Callable[[str, str], float]:
    return lambda at, of: factor if of == row and int(at, 16) >= number else 1.0


def test_a_quiet_night_is_fine_and_nothing_is_run_again(world: World) -> None:
    quiet_nights(world)
    check = world.check()
    assert (check.state, check.series, check.findings, world.reruns) == ("fine", 9, [], [])


def test_a_slow_row_is_named_with_its_commits_its_effect_and_the_command(world: World) -> None:
    world.slowness = from_commit(12, "tfidf", 1.2)
    quiet_nights(world, 13)
    check = world.check()
    assert check.state == "regressed"
    (finding,) = found(check)
    assert (finding.row, finding.metric, finding.layer) == ("tfidf", "latency/query", "night")
    assert finding.good in (commit(10), commit(11))
    assert finding.bad == commit(12)
    assert finding.low is not None and finding.high is not None and finding.effect is not None
    assert finding.low <= 1.2 <= finding.high
    assert 1.1 < finding.effect < 1.3
    assert finding.pairs == 16
    assert finding.command.startswith(
        f"harness track compare {commit(11)[:12]} {commit(12)[:12]} --task limit/retrieval"
    )
    assert check.commits == [f"{commit(12)[:12]} something"]


def test_a_slow_night_that_the_re_runs_do_not_bear_out_is_cleared(world: World) -> None:
    quiet_nights(world)
    honest = world.measure
    world.measure = lambda at, row, libraries="2.1": slower(honest(at, row, libraries), 1.3)  # type: ignore[method-assign]
    world.night(commit(12))
    world.measure = honest  # type: ignore[method-assign]
    check = world.check()
    assert check.state == "fine"
    assert len(found(check, "cleared")) == len(check.findings) == 3
    assert world.reruns
    assert check.reruns <= 3 * 8, "what shows nothing is let go soon"


def slower(measured: tuple[Cell, dict[str, np.ndarray]], factor: float) -> tuple[Cell, dict[str, np.ndarray]]:
    cell, items = measured
    value = cell.values["latency/query"]
    values = {**cell.values, "latency/query": value.model_copy(update={"value": value.value * factor})}
    return cell.model_copy(update={"values": values}), items


def test_a_machine_that_was_slower_makes_it_inconclusive_and_no_alarm(world: World) -> None:
    quiet_nights(world)
    world.machine_speed = lambda _: 1.5
    world.night(commit(12))
    check = world.check()
    assert check.state == "inconclusive"
    assert "machine" in check.why
    assert (check.findings, world.reruns) == ([], [])


def test_a_machine_whose_speed_moves_during_the_re_runs_makes_it_inconclusive(world: World) -> None:
    world.slowness = from_commit(12, "bm25", 1.3)
    quiet_nights(world, 13)
    world.machine_speed = lambda measurement: 1.0 if measurement % 2 else 1.6
    check = world.check()
    assert check.state == "inconclusive"
    (finding,) = check.findings
    assert finding.verdict == "inconclusive"
    assert finding.dropped == 24
    assert "moved in 24 of 24 pairs" in finding.why


def test_the_same_commit_as_in_a_fast_night_is_never_accused(world: World) -> None:
    quiet_nights(world)
    world.slowness = lambda at, row: 1.3
    world.night(commit(11))
    check = world.check()
    assert check.state == "inconclusive"
    assert {f.verdict for f in check.findings} == {"inconclusive"}
    assert all("same commit" in f.why for f in check.findings)
    assert not world.reruns


def test_lost_answers_are_found_item_by_item(world: World) -> None:
    world.lost = lambda at, row: 12 if row == "lsa" and int(at, 16) >= 12 else 0
    quiet_nights(world, 13)
    check = world.check()
    (finding,) = found(check)
    assert (finding.row, finding.metric, finding.layer) == ("lsa", "score/recall@2", "items")
    assert finding.effect == pytest.approx(-12 / N_ITEMS)
    assert finding.p == pytest.approx(2**-12)
    assert finding.pairs == 5


def test_a_few_answers_that_changed_are_told_and_are_no_alarm(world: World) -> None:
    world.lost = lambda at, row: 1 if row == "lsa" and int(at, 16) >= 12 else 0
    quiet_nights(world, 13)
    check = world.check()
    assert check.state == "fine"
    (note,) = [n for n in check.notes if n.kind == "changed answers"]
    assert "lsa score/recall@2: 1 of 400 items came out otherwise (0 higher, 1 lower)" in note.text


def test_a_better_score_is_no_regression(world: World) -> None:
    world.lost = lambda at, row: -30 if int(at, 16) >= 12 else 0
    quiet_nights(world, 13)
    assert world.check().state == "fine"


def test_a_row_that_no_longer_answers_is_a_regression_of_its_own(world: World) -> None:
    world.status = lambda at, row: "failed" if row == "bm25" and int(at, 16) >= 12 else "ok"
    quiet_nights(world, 13)
    check = world.check()
    (finding,) = found(check)
    assert (finding.row, finding.metric, finding.layer) == ("bm25", "status", "status")
    assert "failed for a reason" in finding.why


def test_a_row_that_answers_again_when_run_again_is_cleared(world: World) -> None:
    quiet_nights(world)
    world.status = lambda at, row: "killed" if row == "bm25" else "ok"
    world.night(commit(12))
    world.status = lambda at, row: "ok"
    check = world.check()
    assert (check.state, [f.verdict for f in check.findings]) == ("fine", ["cleared"])


def test_an_environment_in_which_nothing_answers_is_no_regression(world: World) -> None:
    quiet_nights(world)
    world.status = lambda at, row: "skipped"
    world.night(commit(12))
    check = world.check()
    assert (check.state, check.findings) == ("environment broke", [])
    assert "none of 3 cells answered" in check.why


def test_a_package_that_half_of_the_rows_miss_is_the_environments(world: World) -> None:
    quiet_nights(world)
    world.status = lambda at, row: "ok" if row == "lsa" else "skipped"
    world.night(commit(12))
    assert world.check().state == "environment broke"


def test_rows_that_all_fail_alike_are_the_codes_where_the_good_commit_answers_here(world: World) -> None:
    quiet_nights(world)
    world.status = lambda at, row: "failed" if int(at, 16) >= 12 else "ok"
    world.night(commit(12))
    check = world.check()
    assert check.state == "regressed"
    assert "none of 3 cells answered" in check.why and "the last good commit answers" in check.why


def test_rows_that_all_fail_alike_are_the_environments_where_the_good_commit_fails_too(world: World) -> None:
    quiet_nights(world)
    world.status = lambda at, row: "failed"
    world.night(commit(12))
    check = world.check()
    assert check.state == "environment broke"
    assert {f.verdict for f in check.findings} == {"inconclusive"}


def test_a_night_without_cells_measured_nothing(world: World) -> None:
    quiet_nights(world)
    world.night(commit(12), cells=[])
    assert world.check().state == "measured nothing"


def test_without_a_night_there_is_nothing_to_check(world: World) -> None:
    with pytest.raises(NothingMatched, match="harness track run"):
        world.check()


def test_a_young_history_is_fine_and_says_so(world: World) -> None:
    quiet_nights(world, 3)
    check = world.check()
    assert (check.state, check.series, check.short) == ("fine", 0, 9)
    assert "nothing to hold it against" in check.why


def test_a_night_is_checked_once_unless_asked_again(world: World) -> None:
    quiet_nights(world)
    check = world.check()
    with pytest.raises(UsageError, match="--again"):
        check_name(world.history, "", False)
    name = check_name(world.history, "", True)
    world.history.add_file("checks", name, check.model_copy(update={"why": "the second one"}))
    assert [c.why for c in checks_of(world.history)] == ["the second one"]


def test_what_a_new_library_does_is_told_and_no_commit_is_accused(world: World) -> None:
    quiet_nights(world)
    world.slowness = lambda at, row: 1.5
    states = []
    for number in range(12, 15):
        world.night(commit(number), libraries="2.2")
        check = world.check()
        states.append((check.state, len(found(check, "cleared"))))
        if number == 12:
            (note,) = [n for n in check.notes if n.kind == "new context"]
            assert "numpy 2.1 -> 2.2: 3 cells" in note.text
            assert "3 of 6 costs moved" in note.text
    assert states == [("fine", 3), ("fine", 0), ("fine", 0)], "one night is enough to know"


def test_a_commit_that_comes_with_a_new_library_is_not_hidden_by_it(world: World) -> None:
    world.slowness = from_commit(12, "bm25", 1.4)
    world.lost = lambda at, row: 60 if row == "lsa" and int(at, 16) >= 12 else 0
    quiet_nights(world, 12)
    world.night(commit(12), libraries="2.2")
    check = world.check()
    assert {(f.row, f.metric) for f in found(check)} == {("bm25", "latency/query"), ("lsa", "score/recall@2")}
    assert all(f.across for f in found(check))


def test_a_row_that_broke_on_a_night_that_decided_nothing_is_still_suspected_on_the_next(world: World) -> None:
    quiet_nights(world)
    world.status = lambda at, row: "failed" if row == "bm25" and int(at, 16) >= 12 else "ok"
    world.night(commit(12))
    assert world.check(budget_s=1e-9).state == "inconclusive"
    world.night(commit(13))
    check = world.check()
    assert (check.state, [f.metric for f in found(check)]) == ("regressed", ["status"])
    world.night(commit(14))
    assert world.check().state == "fine", "and it is said once"


def test_a_package_that_is_missing_is_said_every_night(world: World) -> None:
    quiet_nights(world)
    world.status = lambda at, row: "skipped" if row != "lsa" else "ok"
    for number in (12, 13):
        world.night(commit(number))
        check = world.check()
        assert check.state == "environment broke"
    world.status = lambda at, row: "skipped" if row == "bm25" else "ok"
    world.night(commit(14))
    (note,) = [n for n in world.check().notes if n.kind == "not measured"]
    assert "1 cells that answered are skipped: limit/retrieval 46 bm25" in note.text


def test_commits_that_cannot_be_listed_lose_no_verdict(world: World) -> None:
    quiet_nights(world)

    def commits(good: str, bad: str) -> list[str]:
        raise UsageError("no such commit")

    check = check_night(world.history, "", world.rerun, commits=commits)
    assert (check.state, check.commits) == ("fine", [])


def test_one_slow_night_after_an_alarm_does_not_close_it(world: World) -> None:
    world.slowness = from_commit(12, "bm25", 1.3)
    quiet_nights(world, 13)
    assert world.check().state == "regressed"
    for number in range(13, 22):
        world.night(commit(number))
    honest = world.measure
    world.measure = lambda at, row, libraries="2.1": slower(honest(at, row, libraries), 1.4)  # type: ignore[method-assign]
    world.night(commit(22))
    world.measure = honest  # type: ignore[method-assign]
    check = world.check()
    assert found(check, "cleared")
    assert not [n for n in check.notes if n.kind == "recovered"]
    nights, checks = world.history.nights(), {c.night: c for c in checks_of(world.history)}
    assert [one.finding.row for one in open_findings(nights, checks)] == ["bm25"]


def test_an_alarm_night_that_was_unlucky_besides_does_not_look_like_a_recovery_the_next(world: World) -> None:
    world.slowness = from_commit(12, "bm25", 1.2)
    quiet_nights(world, 12)
    honest = world.measure
    world.measure = lambda at, row, libraries="2.1": slower(honest(at, row, libraries), 1.25)  # type: ignore[method-assign]
    world.night(commit(12))
    world.measure = honest  # type: ignore[method-assign]
    assert ("bm25", "latency/query") in {(f.row, f.metric) for f in found(world.check())}
    world.night(commit(13))
    assert not [n for n in world.check().notes if n.kind == "recovered"]


def test_a_machine_that_is_slower_for_good_is_the_new_level_after_three_nights(world: World) -> None:
    quiet_nights(world)
    world.slowness = lambda at, row: 1.3  # of the machine, which no canary shows
    states = []
    for _ in range(5):
        world.night(commit(11))
        states.append(world.check().state)
    assert states == ["inconclusive"] * 3 + ["fine"] * 2


def test_answers_whose_items_are_gone_are_held_against_their_values(world: World) -> None:
    world.lost = lambda at, row: 100 if row == "lsa" and int(at, 16) >= 12 else 0
    quiet_nights(world, 13)
    for path in (world.root / "items").iterdir():
        path.unlink()
    check = world.check()
    assert [(f.row, f.metric, f.layer) for f in found(check)] == [("lsa", "score/recall@2", "night")]
    (finding,) = found(check)
    assert finding.effect == pytest.approx(-0.25)


def test_an_alarm_is_raised_once_and_its_end_is_told(world: World) -> None:
    world.slowness = lambda at, row: 1.3 if row == "bm25" and 12 <= int(at, 16) < 15 else 1.0
    quiet_nights(world, 12)
    kinds = []
    for number in range(12, 18):
        world.night(commit(number))
        check = world.check()
        kinds.append((check.state, [n.kind for n in check.notes if n.kind == "recovered"]))
    assert kinds == [("regressed", []), *[("fine", [])] * 2, ("fine", ["recovered"]), *[("fine", [])] * 2]


def test_a_level_that_was_cleared_three_nights_in_a_row_is_the_new_one(world: World) -> None:
    quiet_nights(world)
    honest = world.measure
    states = []
    for number in range(12, 16):
        world.measure = lambda at, row, libraries="2.1": slower(honest(at, row, libraries), 1.3)  # type: ignore[method-assign]
        world.night(commit(number))
        world.measure = honest  # type: ignore[method-assign]
        check = world.check()
        states.append(len(found(check, "cleared")))
    assert states == [3, 3, 3, 0]


def test_a_drift_is_found_by_the_second_layer_with_the_level_it_began_at(world: World) -> None:
    world.slowness = lambda at, row: 1 + 0.012 * max(0, min(10, int(at, 16) - 29)) if row == "bm25" else 1.0
    layers = []
    for number in range(46):
        world.night(commit(number))
        if number >= 30:
            layers += found(world.check())
    assert [f.row for f in layers] == ["bm25"]
    (finding,) = layers
    assert finding.layer in ("drift", "night")
    assert finding.effect is not None and finding.effect > 1.05


def test_what_there_is_no_time_for_is_listed_and_the_night_is_inconclusive(world: World) -> None:
    world.slowness = lambda at, row: 1.4 if int(at, 16) >= 12 else 1.0
    quiet_nights(world, 13)
    check = world.check(budget_s=1e-9)
    assert check.state == "inconclusive"
    assert {f.verdict for f in check.findings} == {"not re-run"}
    assert "want of time" in check.why


def test_files_that_were_not_committed_are_no_ones_regression(world: World) -> None:
    quiet_nights(world)
    world.slowness = lambda at, row: 1.4
    world.night(commit(12), dirty=True)
    check = world.check()
    assert check.state == "inconclusive"
    assert all("not committed" in f.why for f in check.findings)


def test_a_commit_that_is_not_there_is_said_and_loses_nothing(world: World) -> None:
    world.slowness = lambda at, row: 1.4 if int(at, 16) >= 12 else 1.0
    quiet_nights(world, 13)

    def rerun(work: Work, scale: str, good: str, head: str, processes: int, deadline: float) -> Iterator[Pair]:
        raise UsageError(f"no commit {good[:12]} here; git fetch --unshallow")
        yield

    check = world.check(rerun=rerun)
    assert check.state == "inconclusive"
    assert all("git fetch --unshallow" in f.why for f in check.findings)


def test_cells_that_were_always_measured_and_are_not_are_missed(world: World) -> None:
    quiet_nights(world)
    world.rows = ("bm25", "tfidf")
    world.night(commit(12))
    (note,) = [n for n in world.check().notes if n.kind == "not measured"]
    assert "limit/retrieval 46 lsa" in note.text


def test_a_better_cost_is_told_without_an_alarm(world: World) -> None:
    world.slowness = from_commit(12, "bm25", 0.7)
    quiet_nights(world, 13)
    check = world.check()
    assert check.state == "fine"
    (note,) = [n for n in check.notes if n.kind == "improved"]
    assert "bm25 latency/query" in note.text


def test_thirty_quiet_nights_of_many_rows_raise_at_most_one_alarm(tmp_path: Path) -> None:
    rows = tuple(f"row{i}" for i in range(15))
    slow = np.random.default_rng(5)
    world = World(tmp_path / "h", rows=rows, seed=5)
    noise = world.measure

    def noisy(at: str, row: str, libraries: str = "2.1") -> tuple[Cell, dict[str, np.ndarray]]:
        return slower(
            noise(at, row, libraries), 1.3 if slow.random() < 0.08 else math.exp(0.02 * slow.standard_normal())
        )

    world.measure = noisy  # type: ignore[method-assign]
    alarms: Sequence[Finding] = []
    suspected = 0
    for number in range(40):
        world.night(commit(number))
        if number >= 10:
            check = world.check()
            alarms = [*alarms, *found(check)]
            suspected += len(check.findings)
    assert suspected > 10
    assert len(alarms) <= 1
