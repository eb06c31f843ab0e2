"""A run's wall time: which cells it leaves for another time."""

from __future__ import annotations

import re
import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.plan import Cell
    from harness.record import Record

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(text: str, option: str = "--budget") -> float:
    """`90s`, `30m`, `2h`, `1.5h`, `1h30m` -> seconds; empty -> 0. Raises UsageError for all else, and for no time."""
    if not text:
        return 0.0
    plain = text.strip().lower()
    parts = re.findall(r"(\d+(?:\.\d+)?|\.\d+)\s*([smhd])", plain, re.ASCII)
    rest = re.sub(r"(?:\d+(?:\.\d+)?|\.\d+)\s*[smhd]\s*", "", plain, flags=re.ASCII)
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if rest or not 0 < seconds < float("inf"):
        raise UsageError(f"{option} {text!r} is no time; write, for example, {option} 90s, 30m or 1.5h")
    return seconds


class Budget:
    """Seconds of wall time from now on; 0: as many as it takes."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock, self._began = seconds, clock, clock()

    def hold_back(self, todo: deque[Cell], records: Sequence[Record], prepared: Callable[[Cell], bool]) -> int:
        """Take the cells out of `todo` that are not to be started any more, and return how many these are: all when
        the time is over, and before that those whose typical cost is more than what is left.

        `records` are this run's. A cell whose preparation is there (`prepared`) is not held back for its cost, most of
        which is spent, nor is one of a row of which nothing is known yet.
        """
        if not self._seconds:
            return 0
        left = self._seconds - (self._clock() - self._began)
        kept = [c for c in todo if left > 0 and (prepared(c) or _typical_s(c, records) <= left)]
        held = len(todo) - len(kept)
        if held:
            todo.clear()
            todo.extend(kept)
        return held


def _typical_s(cell: Cell, records: Sequence[Record]) -> float:
    """Median over what the same row took on the same case in this run; 0 if it has not been there."""
    took = [
        r.cost.wall_s
        for r in records
        if r.kind != "prepare"
        and (r.task.name, r.case.name, r.baseline.name) == (cell.task.name, cell.case.name, cell.row.name)
    ]
    return statistics.median(took) if took else 0.0
