"""Which cells of a submission are run again, and on how many fresh draws."""

from __future__ import annotations

import os
import random
import secrets
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.submission.replication import draws_needed
from harness.task import Case

if TYPE_CHECKING:
    from harness.record import Record, ScoreValue
    from harness.registry import BaselineSpec, TaskSpec

FEWEST_FRESH, MOST_FRESH = 3, 12
SPREAD = 0.01
"""Standard deviation of a draw, where a claim of one draw does not tell it."""
OVERHEAD_S = 6.0
"""What a cell costs beyond itself: drawing, scoring, its process."""


@dataclass(frozen=True)
class Plan:
    """One cell to run again."""

    task: TaskSpec
    row: BaselineSpec
    case: Case
    claimed: Mapping[int, Record]
    """By seed."""
    again: int
    """The submitted draw that is drawn again."""
    fresh: tuple[int, ...]
    audit: bool
    """Whether the audits are run on it as well."""
    cost_s: float

    @property
    def label(self) -> str:
        return f"{self.task.name} {self.case.name} {self.row.name}"

    @property
    def total_s(self) -> float:
        return (self.cost_s + OVERHEAD_S) * (1 + len(self.fresh) + 2 * self.audit)


def chosen(
    records: Sequence[Record], rows: Sequence[BaselineSpec], tasks: Mapping[str, TaskSpec], cells: int,
    budget_s: float, rng: random.Random,
) -> list[Plan]:  # fmt: skip
    """The cells to run again: of every row the one that costs least, then others at random, until there are `cells` of
    them (0: no limit) or the budget is spent; the first one is always taken. Which of the claimed draws is drawn again
    is random too."""
    by_cell: dict[tuple[str, str, str], dict[int, Record]] = defaultdict(dict)
    for record in sorted(records, key=lambda r: (r.provenance.started, r.id)):
        own_data = any(isinstance(v, str) and os.path.isabs(v) for v in record.case.params.values())
        if record.kind == "cell" and record.status == "ok" and not record.repeat and record.scores and not own_data:
            by_cell[record.task.name, record.baseline.name, record.case.name][record.seed] = record
    costs = {cell: statistics.median(r.cost.wall_s for r in of.values()) for cell, of in by_cell.items()}
    cheapest: dict[tuple[str, str], tuple[str, str, str]] = {}
    for cell in sorted(by_cell, key=lambda c: (costs[c], c)):
        cheapest.setdefault(cell[:2], cell)
    first = sorted(cheapest.values(), key=lambda c: costs[c])
    rest = sorted(set(by_cell) - set(first))
    rng.shuffle(rest)
    specs = {(row.task, row.name): row for row in rows}
    plans: list[Plan] = []
    spent = 0.0
    for task, name, case in [*first, *rest]:
        if (cells and len(plans) >= cells) or task not in tasks or (task, name) not in specs:
            continue
        claimed, cost = by_cell[task, name, case], costs[task, name, case]
        n = fresh_draws(list(claimed.values()), cost, (budget_s - spent) / 2, len(first))
        one = next(iter(claimed.values()))
        plan = Plan(
            tasks[task], specs[task, name], _case_of(one, tasks[task]), claimed, rng.choice(sorted(claimed)),
            tuple(secrets.randbits(128) for _ in range(n)), (task, name, case) in first, cost,
        )  # fmt: skip
        if plans and spent + plan.total_s > budget_s:
            continue
        plans.append(plan)
        spent += plan.total_s
    return plans


def _case_of(record: Record, task: TaskSpec) -> Case:
    """The case as it was recorded, run once for every draw."""
    only = next((case.only for case in task.cases if case.name == record.case.name), "")
    return Case(record.case.name, record.case.params, within=record.case.within, only=only)


def fresh_draws(claimed: Sequence[Record], cost_s: float, left_s: float, cells: int) -> int:
    """As many as it takes to find an inflation by three points, within the time that is left; at least three, and none
    where the case has the same data in every draw."""
    values = [main.value for record in claimed if (main := main_score(record)) is not None]
    if not values or any("revision" in record.case.params for record in claimed):
        return 0
    spread = statistics.stdev(values) if len(values) > 1 else SPREAD
    needed = draws_needed(max(spread, SPREAD / 5), len(values), cells) or MOST_FRESH
    affordable = int(left_s / (cost_s + OVERHEAD_S))
    return max(FEWEST_FRESH, min(needed, MOST_FRESH, affordable))


def main_score(record: Record) -> ScoreValue | None:
    """The score that ranks; None where the record has none."""
    return next((score for score in record.scores if score.main), None)
