"""`--budget`: no cell is started that would not fit, what is left is said, and the same command goes on."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import pytest

from harness.budget import Budget, parse_duration
from harness.errors import UsageError
from harness.plan import Cell, Request, make_cell
from harness.registry import load_registry


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("2h", 7200), ("1.5h", 5400), ("1h30m", 5400), (" 2 H ", 7200), (".5m", 30),
     ("1d", 86400), ("", 0)],
)  # fmt: skip
def test_a_time_has_a_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["2", "h", "2 hours", "-1h", "0s", "1e3s", "infh", "nanh", "2h!", "1:30", "soon", " ", "²h", "9" * 400 + "d"],
)
def test_what_is_no_time_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(UsageError, match=r"is no time; write, for example, --budget 90s"):
        parse_duration(text)


class Clock:
    """A clock that stands where it is put."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def cells(*names: str, seeds: int = 2) -> deque[Cell]:
    task = load_registry().tasks["limit/retrieval"]
    case = next(c for c in task.cases if c.name == "46-dense")
    rows = {r.name: r for r in load_registry().rows(task)}
    request = Request([task], {})
    return deque(make_cell(task, case, rows[n], seed, request) for n in names for seed in range(seeds))


def held(budget: Budget, todo: deque[Cell], records=(), prepared=lambda _: False) -> tuple[int, list[str]]:
    n = budget.hold_back(todo, list(records), prepared)
    return n, [c.row.name for c in todo]


def test_without_a_budget_nothing_is_held_back(made_record) -> None:
    clock = Clock()
    budget = Budget(0, clock)
    clock.now += 1e9
    assert held(budget, cells("bm25"), [made_record("bm25", cost__wall_s=1e6)]) == (0, ["bm25", "bm25"])


def test_when_the_time_is_over_nothing_more_is_started() -> None:
    clock = Clock()
    budget, todo = Budget(60, clock), cells("bm25", "random")
    clock.now += 59
    assert held(budget, todo) == (0, ["bm25", "bm25", "random", "random"])
    clock.now += 1
    assert held(budget, todo, prepared=lambda _: True) == (4, [])
    assert held(budget, todo) == (0, []), "what was left is counted once"


def test_a_cell_that_would_not_fit_is_left_while_others_go_on(made_record) -> None:
    clock = Clock()
    budget, todo = Budget(60, clock), cells("bm25", "random")
    records = [made_record("bm25", cost__wall_s=s) for s in (20, 30, 500)] + [made_record("random", cost__wall_s=1)]
    clock.now += 29
    assert held(budget, todo, records) == (0, ["bm25", "bm25", "random", "random"]), "the median of 30 s fits in 31"
    clock.now += 2
    assert held(budget, todo, records) == (2, ["random", "random"])


def test_what_another_case_or_row_or_a_preparation_took_says_nothing(made_record) -> None:
    others = [made_record("tfidf", cost__wall_s=900), made_record("bm25", cost__wall_s=900, case__name="1000-dense"),
              made_record("bm25", cost__wall_s=900, kind="prepare")]  # fmt: skip
    assert held(Budget(60, Clock()), cells("bm25"), others)[0] == 0


def test_a_cell_whose_preparation_is_there_is_not_held_back_for_its_cost(made_record) -> None:
    todo = cells("bm25")
    todo[0] = replace(todo[0], needs=todo[0])
    slow = [made_record("bm25", cost__wall_s=900)]
    assert held(Budget(60, Clock()), todo, slow, lambda c: c.needs is not None) == (1, ["bm25"])


def test_the_same_command_goes_on_where_the_budget_ended(method, harness_cli, smoke) -> None:
    path = method("slow", "def index(self, documents):\n    self.n = len(documents); time.sleep(1)")
    words = [*smoke[:-1], "2", "--baseline", path]
    first = harness_cli(*words, "--budget", "1.5s")
    ran = len(first.records.get("slow", []))
    assert ran <= 1, "a second one of a second does not fit in what is left"
    assert first.code == 0, first.err
    assert f"{2 - ran} cells left" in first.out and "the same command goes on" in first.out
    again = harness_cli(*words, "--budget", "1h")
    assert f"{2 - ran} cells to run" in again.out and "left" not in again.out.partition("limit/retrieval (")[2]
    assert len(again.records["slow"]) == 2
