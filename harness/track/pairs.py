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
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.record import Record
from harness.store import Store
from harness.track.history import Cell, Value, Work, digest_of
from harness.track.rules import MOVED, signed_rank_p
from harness.track.side import Side, SideError
from harness.track.trees import Tree
from harness.track.values import cells_of, row_to_run

PROCESSES = 12
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
    calculation: int = 0
    """Its version; 0: none was made."""

    @property
    def ok(self) -> bool:
        return self.cell.status == "ok"


@dataclass(frozen=True)
class Pair:
    base: Once
    head: Once
    moved: bool
    """Whether the machine's speed differed between the sides."""
    speed_known: bool = True
    """False where the sides made different versions of the fixed calculation: `moved` then says nothing."""


def processes_for(wall_s: float) -> int:
    """How many processes a side and pair are worth, of a cell that takes so long."""
    return PROCESSES if wall_s <= SHORT_S else 1


def interleave(
    base: Tree, head: Tree, work: Work, scale: str, *, timeout_s: float = 900.0, pairs: int = 10,
    processes: int | None = None, row: str = "", deadline: float = math.inf,
) -> Iterator[Pair]:  # fmt: skip
    """Up to `pairs` pairs of `work`, made one by one as they are asked for.

    `row` is what `--baseline` names, where that is not what the installed registry says of `work` (`row_to_run`). With
    one process, its costs count, and sides take turns from pair to pair; None: as many as a cell that takes so long is
    worth. Code that breaks gives a cell with its status, and no further process of that session. After `deadline` (by
    `time.monotonic`) no process is begun, so that one cell's timeout is what it may be overrun by.
    Raises UsageError for a tree whose harness this one cannot drive.
    """
    row = row or row_to_run(work)
    count = processes or PROCESSES
    for index in range(pairs):
        if time.monotonic() >= deadline:
            return
        started, warm = _started(count), count > 1
        with tempfile.TemporaryDirectory(prefix="harness-pair-", ignore_cleanup_errors=True) as scratch:
            folders = Path(scratch) / "base", Path(scratch) / "head"
            with ExitStack() as stack:
                sides = [
                    stack.enter_context(
                        Side(tree, work, row, scale, processes=started, timeout_s=timeout_s, scratch=folder)
                    )
                    for tree, folder in zip((base, head), folders, strict=True)
                ]
                turns = _Turns(sides if index % 2 == 0 else sides[::-1], started, deadline)
                turns.take(only_short=processes is None)
                if turns.cut_off:
                    return
                if turns.long:
                    count = 1
                for side in sides:
                    side.close()
                both = [
                    _once(side, side.records(), work, scale, turns.problems.get(id(side), ""), warm=warm)
                    for side in sides
                ]
        yield _pair(*both)


def _started(processes: int) -> int:
    """One more than count, where the first does not."""
    return processes + 1 if processes > 1 else 1


class _Turns:
    """The processes of both sides of a pair, one after the other."""

    def __init__(self, order: Sequence[Side], processes: int, deadline: float) -> None:
        self._order, self._processes, self._deadline = order, processes, deadline
        self._bad: set[int] = set()
        self.problems: dict[int, str] = {}
        """What was wrong with a side, by its id."""
        self.cut_off = False
        """Whether time was up before a process of each side counted."""
        self.long = False
        """Whether a process takes so long that one of each side is enough."""

    def take(self, *, only_short: bool) -> None:
        """Run them until one of a side is not ok: no number of that pair is used, and whatever made it hang or fail
        would once more. `only_short`: also until one has taken longer than `SHORT_S`."""
        first, second = self._order
        begin = 0
        if self._processes > 1:
            begin = 1
            self._do(first, "begin")
            self._do(second, "begin")
            self._do(first, "finish")
            self._do(second, "finish")
        for turn in range(begin, self._processes):
            if self._bad:
                return
            if time.monotonic() >= self._deadline:
                self.cut_off = turn == begin
                return
            for side in (first, second) if turn % 2 else (second, first):
                self._do(side, "begin", "finish")
            if only_short and turn and max(side.took_s for side in self._order) > SHORT_S:
                self.long = True
                return

    def _do(self, side: Side, *steps: Literal["begin", "finish"]) -> None:
        if side.over:
            return
        try:
            for step in steps:
                if step == "begin":
                    side.begin()
                elif side.finish() != "ok":
                    self._bad.add(id(side))
        except SideError as error:
            self.problems[id(side)] = str(error)
            self._bad.add(id(side))
            side.over = True


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
    versions = {record.canary.version for record, _, _ in timed if record.canary}
    changes = {
        "values": {**scores, **costs},
        "canary_ns": statistics.fmean(speeds) if speeds else None,
        "wall_s": sum(cell.wall_s for _, cell, _ in found),
    }
    return Once(together.model_copy(update=changes), items, speeds, max(versions, default=0))


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


def _pair(base: Once, head: Once) -> Pair:
    if base.calculation and head.calculation and base.calculation != head.calculation:
        return Pair(base, head, moved=False, speed_known=False)
    return Pair(base, head, _moved(base.speeds, head.speeds))


def _moved(base: Sequence[float], head: Sequence[float]) -> bool:
    """Whether one side had a machine of another speed: by more than `MOVED`, and, of sides that took turns, by more
    than one process differs from the next anyway."""
    logs = [math.log(b / a) for a, b in zip(base, head, strict=False)]
    if not logs or abs(math.log(centre([math.exp(log) for log in logs]))) <= math.log(1 + MOVED):
        return False
    return len(logs) == 1 or 2 * min(signed_rank_p(logs), signed_rank_p([-log for log in logs])) <= _BY_CHANCE
