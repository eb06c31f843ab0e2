"""Two trees in turns on this machine: what tells a change of the code from one of the machine.

A pair is one session of each side, both started anew. Within it, processes of the two sides take turns (AB BA AB ...),
a fraction of a second each, so that a machine whose speed changes does so to both; the order within pairs alternates
too. A session's first process brings in code and data at once with the other side's, and no cost of it counts. What the
place of libraries in memory does is the same for all processes of a session: the pair, and not the process, is what
statistics count.
"""

from __future__ import annotations

import math
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.record import Record
from harness.store import Store
from harness.track.history import Cell, Value, Work, digest_of
from harness.track.rules import MOVED, signed_rank_p
from harness.track.side import Side, SideError
from harness.track.trees import Tree
from harness.track.values import cells_of, row_to_run

PROCESSES = 8
"""Of each side in a pair whose costs count, for cells of a second or so."""
SHORT_S = 10.0
"""Cells that take longer are run once a side and pair."""
_BY_CHANCE = 0.05
"""The fixed calculation takes 35 ms, and where other work comes and goes, one differs from the next by a tenth."""


@dataclass(frozen=True)
class Once:
    """One session of one side."""

    cell: Cell
    """Scores are means, and costs as in `harness.track.values`, over its processes."""
    items: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    """Item scores by metric: each the median over its processes."""
    speeds: tuple[float, ...] = ()
    """Time of the fixed calculation around each process whose costs count, in ns."""

    @property
    def ok(self) -> bool:
        return self.cell.status == "ok"


@dataclass(frozen=True)
class Pair:
    base: Once
    head: Once
    moved: bool
    """Whether the machine's speed differed between the sides."""


def processes_for(wall_s: float) -> int:
    """How many processes a side and pair are worth, of a cell that takes so long."""
    return PROCESSES if wall_s <= SHORT_S else 1


def run_once(
    tree: Tree, work: Work, scale: str, *, timeout_s: float, scratch: Path, processes: int = 1, row: str = ""
) -> Once:
    """One session of one side alone; `row` as for `interleave`. Never raises for what the code under test does."""
    row = row or row_to_run(work)
    records: list[Record] = []
    problem = ""
    with Side(tree, work, row, scale, processes=processes, timeout_s=timeout_s, scratch=scratch) as side:
        try:
            while not side.over:
                side.begin()
                side.finish()
        except SideError as error:
            problem = str(error)
        records = side.close()
    return _once(side, records, work, scale, problem, warm=processes > 1)


def interleave(
    base: Tree, head: Tree, work: Work, scale: str, *, timeout_s: float = 900.0, pairs: int = 10,
    processes: int = PROCESSES, row: str = "",
) -> Iterator[Pair]:  # fmt: skip
    """Up to `pairs` pairs of `work`, made one by one as they are asked for.

    `row` is what `--baseline` names, where that is not what the installed registry says of `work` (`row_to_run`). With
    one process, its costs count, and sides take turns from pair to pair. Code that breaks gives a cell with its status.
    """
    row = row or row_to_run(work)
    for index in range(pairs):
        with tempfile.TemporaryDirectory(prefix="harness-pair-", ignore_cleanup_errors=True) as scratch:
            folders = Path(scratch) / "base", Path(scratch) / "head"
            with ExitStack() as stack:
                sides = [
                    stack.enter_context(
                        Side(tree, work, row, scale, processes=_started(processes), timeout_s=timeout_s, scratch=folder)
                    )
                    for tree, folder in zip((base, head), folders, strict=True)
                ]
                order = sides if index % 2 == 0 else sides[::-1]
                problems = _take_turns(order, _started(processes))
                both = [
                    _once(side, side.close(), work, scale, problems.get(id(side), ""), warm=processes > 1)
                    for side in sides
                ]
        yield Pair(both[0], both[1], _moved(both[0].speeds, both[1].speeds))


def _started(processes: int) -> int:
    """One more than count, where the first does not."""
    return processes + 1 if processes > 1 else 1


def _take_turns(order: Sequence[Side], processes: int) -> dict[int, str]:
    """Run all processes of both sides; what was wrong with a side, by its id."""
    problems: dict[int, str] = {}

    def do(side: Side, *steps: str) -> None:
        try:
            for step in steps:
                getattr(side, step)()
        except SideError as error:
            problems[id(side)] = str(error)
            side.over = True

    first, second = order
    if processes > 1:
        do(first, "begin")
        do(second, "begin")
        do(first, "finish")
        do(second, "finish")
    for turn in range(1 if processes > 1 else 0, processes):
        for side in (first, second) if turn % 2 else (second, first):
            if not side.over:
                do(side, "begin", "finish")
        if first.over and second.over:
            break
    return problems


def _once(side: Side, records: Sequence[Record], work: Work, scale: str, problem: str, *, warm: bool) -> Once:
    """What a session came to, for `work` itself: costs of all processes but the first, scores of all."""
    store = Store(side.results)
    found = [
        (record, cell, items)
        for record in records
        for cell, items in [_single(store, record, scale)]
        if cell is not None and (cell.case, cell.row, cell.seed) == (work.case, work.row, work.seed)
    ]
    bad = next((cell for _, cell, _ in found if cell.status != "ok"), None)
    if bad is not None:
        return Once(bad)
    if problem or not found:
        return Once(_broken(work, scale, problem or _why_nothing(side, records, work)))
    timed = found[1 if warm and len(found) > 1 else 0 :]
    (together,) = cells_of(store, [record for record, _, _ in timed], scale)[0]
    costs = {name: value for name, value in together.values.items() if not name.startswith("score/")}
    scores, items = _scores([(cell, items) for _, cell, items in found])
    speeds = tuple(cell.canary_ns for _, cell, _ in timed if cell.canary_ns)
    changes = {
        "values": {**scores, **costs},
        "canary_ns": statistics.fmean(speeds) if speeds else None,
        "wall_s": sum(cell.wall_s for _, cell, _ in found),
    }
    return Once(together.model_copy(update=changes), items, speeds)


def _single(store: Store, record: Record, scale: str) -> tuple[Cell | None, dict[str, NDArray[np.float64]]]:
    """One process as a cell, and its item scores by metric."""
    cells, arrays = cells_of(store, [record], scale)
    if not cells:
        return None, {}
    return cells[0], {name: arrays[value.items] for name, value in cells[0].values.items() if value.items}


def _scores(
    found: Sequence[tuple[Cell, dict[str, NDArray[np.float64]]]],
) -> tuple[dict[str, Value], dict[str, NDArray[np.float64]]]:
    """Scores, the mean over all processes, and item by item the median: what most processes answer."""
    first, arrays = found[0]
    values, middles = {}, {}
    for name, value in first.values.items():
        if not name.startswith("score/"):
            continue
        every = [cell.values[name].value for cell, _ in found if name in cell.values]
        of_items = [items[name] for _, items in found if name in items and items[name].shape == arrays[name].shape]
        digest = ""
        if of_items:
            middles[name] = np.median(of_items, axis=0)
            digest = digest_of(middles[name])
        changes = {"value": statistics.fmean(every), "processes": len(every), "items": digest}
        values[name] = value.model_copy(update=changes)
    return values, middles


def centre(values: Sequence[float]) -> float:
    """Hodges-Lehmann estimate of the middle, of logarithms where all are above 0."""
    logs = [math.log(value) for value in values] if min(values) > 0 else list(values)
    middle = statistics.median((a + b) / 2 for i, a in enumerate(logs) for b in logs[i:])
    return math.exp(middle) if min(values) > 0 else middle


def _broken(work: Work, scale: str, reason: str) -> Cell:
    return Cell(
        task=work.task, version=work.version, case=work.case, row=work.row, seed=work.seed, device=work.device,
        threads=work.threads, scale=scale, status="failed", reason=reason, source="",
    )  # fmt: skip


def _why_nothing(side: Side, records: Sequence[Record], work: Work) -> str:
    """A preparation that failed leaves a record of its own."""
    bad = next((record for record in records if record.status != "ok"), None)
    return f"{bad.status}: {bad.reason}" if bad else f"{work} at {side.tree.short} ran, and left no record"


def _moved(base: Sequence[float], head: Sequence[float]) -> bool:
    """Whether one side had a machine of another speed: by more than `MOVED`, and, of sides that took turns, by more
    than one process differs from the next anyway."""
    logs = [math.log(b / a) for a, b in zip(base, head, strict=False)]
    if not logs or abs(math.log(centre([math.exp(log) for log in logs]))) <= math.log(1 + MOVED):
        return False
    return len(logs) == 1 or 2 * min(signed_rank_p(logs), signed_rank_p([-log for log in logs])) <= _BY_CHANCE
