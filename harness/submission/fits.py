"""Whether records fit their task: its scores, its cases, and all of its cells, no matter how they came out.

What a record says of a score (which way is better, what the best is, from where on it ranks) and of a case decides what
the board makes of it. So both are compared with what the installed task says, and a row is only taken as a whole.
"""

from __future__ import annotations

import importlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from harness.errors import NothingMatched
from harness.plan import Cell, Request, cells_of
from harness.record import FINAL
from harness.redact import redact
from harness.submission.strict import Refused, shown
from harness.table import outcome_of
from harness.task import Score

if TYPE_CHECKING:
    from harness.record import Record, ScoreValue
    from harness.registry import BaselineSpec, TaskSpec
    from harness.task import Case, Scalar, Scale

Group = tuple[str, str, str, int]
"""Row, case, device, threads: what has draws of its own."""
_MOST_ROUNDS = 60
_MOST_SEEDS = 20


def refuse_unfit(
    records: Mapping[str, Record], task: TaskSpec, rows: Sequence[BaselineSpec], scale: Scale
) -> None:  # fmt: skip
    """Raises Refused for records (by file, all of one submission's of `task`) that are not what running `rows` at
    `scale` leaves."""
    cases = {row.name: known_cases([r for r in records.values() if r.baseline.name == row.name], task) for row in rows}
    for name, record in records.items():
        known = cases[record.baseline.name]
        if why := other_case(record, task, known):
            raise Refused(f"{name} is of the case {shown(record.case.name)}, {why}")
        if why := other_scores(record, task, known[record.case.name]):
            raise Refused(f"{name}: {why}")
    for group, seeds in uneven(records.values()):
        row, case, device, threads = group
        raise Refused(
            f"the draws of {shown(row)} on {shown(case)} ({shown(device)}, {threads} threads) are not 0, 1, 2 and so "
            f"on (seed {seeds[-1]} is there); send all draws of a range, none chosen"
        )  # fmt: skip
    if missing := missing_cells(records.values(), task, rows, scale):
        raise Refused(
            f"{len(missing)} cells of {task.name} at scale {scale} have no finished record, for example "
            f"{missing[0].label}; run all of them, failures go in as well"
        )


# Cells ----------------------------------------------------------------------------------------------------------------


def group_of(record: Record) -> Group:
    return record.baseline.name, record.case.name, record.device, record.threads


def is_finished(record: Record) -> bool:
    """Whether a record says how its cell came out; others are run again."""
    return record.kind == "cell" and (record.status in FINAL or record.status in ("timeout", "oom"))


def missing_cells(
    records: Iterable[Record], task: TaskSpec, rows: Sequence[BaselineSpec], scale: Scale
) -> list[Cell]:  # fmt: skip
    """Cells of the scale without a finished record, for every device and number of threads that a row was run with on a
    case. Further processes of a cell whose first did not answer need not be there."""
    done: dict[tuple[str, str], dict[tuple[str, int], dict[tuple[int, int], Record]]] = defaultdict(dict)
    for record in filter(is_finished, records):
        row, case, device, threads = group_of(record)
        done[row, case].setdefault((device, threads), {})[record.seed, record.repeat] = record
    found = []
    for cell in wanted_cells(task, rows, scale):
        groups = done.get((cell.row.name, cell.case.name), {})
        if not groups or any(_is_missing(cell, of) for of in groups.values()):
            found.append(cell)
    return found


def _is_missing(cell: Cell, of: Mapping[tuple[int, int], Record]) -> bool:
    if (cell.seed, cell.repeat) in of:
        return False
    first = of.get((cell.seed, 0))
    return not cell.repeat or (first is not None and first.status == "ok")


def wanted_cells(task: TaskSpec, rows: Sequence[BaselineSpec], scale: Scale) -> list[Cell]:
    """All cells that a run of `rows` at `scale` starts with; none, if they take part in nothing there."""
    try:
        return cells_of(Request([task], {task.name: rows}, scale))
    except NothingMatched:
        return []


def uneven(records: Iterable[Record]) -> Iterator[tuple[Group, list[int]]]:
    """Groups whose draws are not 0, 1, 2 and so on, with their seeds."""
    seeds: dict[Group, set[int]] = defaultdict(set)
    for record in records:
        if record.kind == "cell":
            seeds[group_of(record)].add(record.seed)
    yield from ((group, sorted(of)) for group, of in seeds.items() if of != set(range(len(of))))


# Cases ----------------------------------------------------------------------------------------------------------------


def known_cases(records: Sequence[Record], task: TaskSpec) -> dict[str, Case]:
    """By name the cases that one row's records may be of: those that the task declares, and those that its searches ask
    for, given these records. A search goes by what was finished when it went on: it is followed from the first draw
    alone, from the first two, and so on, each from the start and from where fewer draws had led."""
    declared = {case.name: case for case in task.cases}
    scored = [r for r in records if r.kind == "cell" and not r.repeat]
    if not task.has_refine or all(r.case.name in declared for r in scored):
        return declared
    made = getattr(importlib.import_module(task.module), task.class_name)()
    seeds = sorted({r.seed for r in scored})[:_MOST_SEEDS]
    asked: dict[str, Case] = {}
    for count in range(1, len(seeds) + 1):
        of = [r for r in scored if r.seed in seeds[:count]]
        for start in ({}, dict(asked)):
            asked.update(_followed(made.refine, of, task, {**declared, **start}))
    return {**asked, **declared}


def _followed(refine: Callable[..., Iterable[Case]], records: Sequence[Record], task: TaskSpec,
              known: dict[str, Case]) -> dict[str, Case]:  # fmt: skip
    """`known`, and what a search asks for, given the records of known cases, until it asks for nothing new that is
    there."""
    there = {record.case.name for record in records}
    for _ in range(_MOST_ROUNDS):
        outcomes = [outcome_of(r, task) for r in records if not other_case(r, task, known)]
        try:
            new = [case for case in refine(outcomes) if case.name not in known] if outcomes else []
        except (ArithmeticError, LookupError, ValueError, TypeError, AttributeError) as error:
            raise Refused(
                f"holds records of {task.name} that its search cannot read ({type(error).__name__})"
            ) from None
        known = {**known, **{case.name: case for case in new}}
        if not there & {case.name for case in new}:
            break
    return known


def other_case(record: Record, task: TaskSpec, known: Mapping[str, Case]) -> str:
    """Why a record's case is none of these; empty if it is one."""
    said = record.case
    case = known.get(said.name)
    if any(isinstance(value, str) and os.path.isabs(value) for value in said.params.values()):
        return "which is of data on one machine"
    if case is None:
        return f"which {task.name} neither declares nor asks for in a search, given these records"
    meant = _redacted(case.params)
    if record.kind == "prepare":
        meant = {name: value for name, value in meant.items() if name not in task.swept}
    if dict(said.params) != meant:
        return f"to which {task.name} gives other parameters"
    if record.kind == "cell" and said.within != case.within:
        return f"which {task.name} has within {shown(case.within)}, and the record within {shown(said.within)}"
    return ""


def _redacted(params: Mapping[str, Scalar]) -> dict[str, Scalar]:
    return {name: redact(value) if isinstance(value, str) else value for name, value in params.items()}


# Scores ---------------------------------------------------------------------------------------------------------------


def other_scores(record: Record, task: TaskSpec, case: Case) -> str:
    """What a record's scores say otherwise than the task; empty if nothing."""
    declared = {score.name: score for score in task.scores}
    names = [score.name for score in record.scores]
    if again := [name for name in names if names.count(name) > 1]:
        return f"the score {shown(again[0])} is there twice"
    for said in record.scores:
        score = declared.get(said.name.partition("[")[0], Score(said.name, bounded=False))
        gate = None if score.gate is None else case.gate or score.gate
        main = score.main and said.name == score.name
        meant = (score.unit, score.higher_is_better, score.best, main, gate, score.below)
        if field := _first_difference(said, meant):
            return f"the score {shown(said.name)} has another {field} than {task.name} gives it"
    return ""


_DEFINED = ("unit", "higher_is_better", "best", "main", "gate", "below")


def _first_difference(said: ScoreValue, meant: Sequence[object]) -> str:
    return next((name for name, value in zip(_DEFINED, meant, strict=True) if getattr(said, name) != value), "")
