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
    """Fresh draws to begin with; none where the data are the same in every draw."""
    needed: int
    """Fresh draws that it takes to find an inflation by three points."""
    audit: bool
    """Whether the audits are run on it as well: the first cell of every row."""

    @property
    def label(self) -> str:
        return f"{self.task.name} {self.case.name} {self.row.name}"

    @property
    def cell(self) -> tuple[str, str, str]:
        """Task, row, case."""
        return self.task.name, self.row.name, self.case.name

    @property
    def runs(self) -> int:
        return 1 + len(self.fresh) + 2 * self.audit


def chosen(
    records: Sequence[Record], rows: Sequence[BaselineSpec], tasks: Mapping[str, TaskSpec], cells: int,
    rng: random.Random,
) -> list[Plan]:  # fmt: skip
    """The cells to run again, in order: of every row one at random, then all others at random; at most `cells` of them
    (0: no limit). What a record claims, its cost least of all, has no say in it: all cells of a row are equally
    likely, and so are the draws of a cell. How many of them the time allows is measured while they run (`rerun`)."""
    by_cell: dict[tuple[str, str, str], dict[int, Record]] = defaultdict(dict)
    specs = {(row.task, row.name): row for row in rows}
    for record in sorted(records, key=lambda r: (r.provenance.started, r.id)):
        own_data = any(isinstance(v, str) and os.path.isabs(v) for v in record.case.params.values())
        cell = record.task.name, record.baseline.name, record.case.name
        if record.kind != "cell" or record.status != "ok" or record.repeat or not record.scores or own_data:
            continue
        if record.task.name in tasks and cell[:2] in specs:
            by_cell[cell][record.seed] = record
    order = sorted(by_cell)
    rng.shuffle(order)
    first: dict[tuple[str, str], tuple[str, str, str]] = {}
    for cell in order:
        first.setdefault(cell[:2], cell)
    order = [*first.values(), *(cell for cell in order if cell not in first.values())]
    order = order[:cells] if cells else order
    plans: list[Plan] = []
    for cell in order:
        claimed, task = by_cell[cell], tasks[cell[0]]
        needed = fresh_draws(list(claimed.values()), len(order))
        case = _case_of(next(iter(claimed.values())), task)
        plans.append(
            Plan(task, specs[cell[:2]], case, claimed, rng.choice(sorted(claimed)), secret(min(needed, FEWEST_FRESH)),
                 needed, cell in first.values())
        )  # fmt: skip
    return plans


def secret(n: int) -> tuple[int, ...]:
    """`n` seeds of 128 bits that nobody knew before."""
    return tuple(secrets.randbits(128) for _ in range(n))


def _case_of(record: Record, task: TaskSpec) -> Case:
    """The case as it was recorded, run once for every draw."""
    only = next((case.only for case in task.cases if case.name == record.case.name), "")
    return Case(record.case.name, record.case.params, within=record.case.within, only=only)


def fresh_draws(claimed: Sequence[Record], cells: int) -> int:
    """As many as it takes to find an inflation by three points; at least three, and none where the case has the same
    data in every draw."""
    values = [main.value for record in claimed if (main := main_score(record)) is not None]
    if not values or any("revision" in record.case.params for record in claimed):
        return 0
    spread = statistics.stdev(values) if len(values) > 1 else SPREAD
    needed = draws_needed(max(spread, SPREAD / 5), len(values), cells) or MOST_FRESH
    return max(FEWEST_FRESH, min(needed, MOST_FRESH))


def main_score(record: Record) -> ScoreValue | None:
    """The score that ranks; None where the record has none."""
    return next((score for score in record.scores if score.main), None)
