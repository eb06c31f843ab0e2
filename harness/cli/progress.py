"""What a run shows while it runs: a live bar on a terminal, plain lines elsewhere, or JSON lines for machines."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from harness.text import plain

if TYPE_CHECKING:
    from harness.plan import Cell
    from harness.record import Record
    from harness.runner import Summary


class Shown(Protocol):
    """A reporter that can be entered and closed."""

    def __enter__(self) -> Shown: ...
    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None: ...
    def close(self, summary: Summary) -> None: ...
    def planned(self, to_run: Sequence[Cell], done: int) -> None: ...
    def started(self, cell: Cell) -> None: ...
    def finished(self, cell: Cell, record: Record) -> None: ...
    def more(self, cells: Sequence[Cell]) -> None: ...
    def note(self, text: str) -> None: ...


def choose(as_json: bool, quiet: bool = False) -> Shown:
    """The reporter for this output."""
    if as_json:
        return JsonLines()
    return Bar() if sys.stdout.isatty() and not quiet else Lines()


class Lines:
    """Plain lines: one for each finished cell."""

    def __init__(self) -> None:
        self.total = 0
        self.done: Counter[str] = Counter()
        self.began = time.monotonic()

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        return None

    def close(self, summary: Summary) -> None:
        """Nothing to add: the table has been printed."""

    def planned(self, to_run: Sequence[Cell], done: int) -> None:
        self.total = len(to_run)
        self.began = time.monotonic()
        self.write(f"{len(to_run)} cells to run" + (f", {done} done before on this machine (--force runs them again)"
                   if done else ""))  # fmt: skip

    def started(self, cell: Cell) -> None:
        """Said when it ends."""

    def finished(self, cell: Cell, record: Record) -> None:
        if cell.task.in_parts and cell.stage == "prepare":
            return  # half of a cell, whose other half tells of both
        self.done[record.status] += 1
        self.write(f"[{self.done.total()}/{max(self.total, self.done.total())}] {describe(cell, record)}")

    def more(self, cells: Sequence[Cell]) -> None:
        if cells:
            self.total += len(cells)
            self.write(f"{len(cells)} more cells, to bracket breaking points")

    def note(self, text: str) -> None:
        self.write(f"note: {text}")

    def write(self, text: str) -> None:
        print(plain(text), flush=True)


class Bar(Lines):
    """A rich progress bar under the lines of what is finished."""

    def __init__(self) -> None:
        super().__init__()
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self.progress = Progress(
            TextColumn("{task.completed}/{task.total} done"), BarColumn(), TextColumn("{task.fields[failed]} not ok"),
            TimeElapsedColumn(), TextColumn("{task.fields[left]}"), TextColumn("[dim]{task.fields[now]}"),
        )  # fmt: skip
        self.bar = self.progress.add_task("", total=None, failed=0, left="", now="starting")

    def __enter__(self) -> Bar:
        self.progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self.progress.stop()

    def planned(self, to_run: Sequence[Cell], done: int) -> None:
        super().planned(to_run, done)
        self.progress.update(self.bar, total=self.total)

    def started(self, cell: Cell) -> None:
        self.progress.update(self.bar, now=cell.label)

    def finished(self, cell: Cell, record: Record) -> None:
        super().finished(cell, record)
        done = max(1, self.done.total())
        left = (time.monotonic() - self.began) / done * max(0, self.total - done)
        self.progress.update(
            self.bar, completed=done, total=max(self.total, done), failed=done - self.done["ok"],
            left=f"about {left / 60:.0f} min left" if left >= 90 else f"about {left:.0f} s left",
        )  # fmt: skip

    def write(self, text: str) -> None:
        self.progress.console.print(plain(text), markup=False, highlight=False)


class JsonLines(Lines):
    """One JSON object a line."""

    def planned(self, to_run: Sequence[Cell], done: int) -> None:
        self._emit(event="planned", cells=len(to_run), done_before=done)

    def started(self, cell: Cell) -> None:
        self._emit(event="started", cell=cell.label, key=cell.key)

    def finished(self, cell: Cell, record: Record) -> None:
        self._emit(
            event="finished", id=record.id, kind=record.kind, task=record.task.name, case=record.case.name,
            baseline=record.baseline.name, seed=record.seed, repeat=record.repeat, status=record.status,
            reason=record.reason, scores={s.name: s.value for s in record.scores}, wall_s=record.cost.wall_s,
        )  # fmt: skip

    def more(self, cells: Sequence[Cell]) -> None:
        if cells:
            self._emit(event="more", cells=len(cells))

    def note(self, text: str) -> None:
        self._emit(event="note", text=text)

    def close(self, summary: Summary) -> None:
        counts = Counter(r.status for r in summary.records)
        self._emit(event="summary", run=summary.run, statuses=dict(counts), done_before=len(summary.earlier),
                   interrupted=summary.interrupted, canary_drift=summary.canary_drift)  # fmt: skip

    def _emit(self, **fields: Any) -> None:
        print(json.dumps(fields), flush=True)


def describe(cell: Cell, record: Record) -> str:
    """One line on one finished cell."""
    if record.status != "ok":
        return f"{cell.label}: {record.status}: {record.reason.splitlines()[0] if record.reason else ''}"
    main = next((s for s in record.scores if s.main), None)
    parts = [f"{main.name} {main.value:.4g}"] if main else []
    parts += [f"{s.name} {s.median_ns / 1e6:.3g} ms" for s in record.latency if s.name == "query"]
    return f"{cell.label}: " + ", ".join([*parts, f"{record.cost.wall_s:.1f} s"])
