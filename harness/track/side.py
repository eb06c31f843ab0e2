"""One side of a comparison: a tree's own harness, running one cell in fresh process after fresh process, in turns.

The harness of a tree is started once for several processes of the method: what takes its time is starting it, and
importing what the methods need. Each process waits for its turn, so that another side's can be timed in between.
"""

from __future__ import annotations

import glob
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from harness import paths
from harness.errors import HarnessError, UsageError
from harness.interruption import deaf
from harness.record import Record
from harness.store import Store
from harness.track.history import Work
from harness.track.inventory import python_path
from harness.track.trees import Tree

CANARY_ROUNDS = 3
"""At a run's start and end; of the round before and after every process, one."""
_OWN_CACHES = ("prepared", "checkpoints", "runs", "methods", "truth", "compression")
"""What the code of a row or a task has made: each session makes its own. The other caches are shared: what was
downloaded, environments, and, although tasks make them, `embeddings` of the data, for which a model runs for minutes:
where a commit changes how these are made, both sides get those that are there."""
_STARTUP_S = 300.0
"""More than importing everything takes."""
_END_S = 15.0
_SCRIPT = """
import json, os, sys
said = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
order = json.loads(sys.argv[1])

def say(what, **more):
    print(json.dumps({"is": what, **more}), file=said, flush=True)

class Turns:
    holds = driven = False
    def planned(self, to_run, done): pass
    def more(self, cells): pass
    def note(self, text): pass
    def started(self, cell):
        self.driven = True
        if not self.holds:
            say("ready")
            if not sys.stdin.readline():
                raise KeyboardInterrupt
            self.holds = True
    def finished(self, cell, record):
        if cell.stage == "answer":
            self.holds = False
            getattr(getattr(runner, "_known", None), "_shared", {}).clear()  # the next one prepares for itself
            say("done", status=record.status)

turns = Turns()
try:
    from dataclasses import fields, replace
    from harness.api import make_run
    from harness.errors import HarnessError
    from harness.runner import Options
    known = {field.name for field in fields(Options)}
    options = {name: value for name, value in order["options"].items() if name in known}
    try:
        runner, request = make_run(
            order["task"], [order["row"]], order["case"], order["scale"],
            [order["seed"]] * order["processes"],  # not the case's own repeats, which are not scored, and time less
            order["device"], order["threads"], order["results"], Options(**options), turns,
        )
        tasks = [replace(t, cases=tuple(replace(c, processes=1) for c in t.cases)) for t in request.tasks]
        runner.run(replace(request, tasks=tasks))
    except HarnessError as error:
        say("error", reason=str(error))
except (TypeError, ImportError, AttributeError) as error:
    if turns.driven:
        raise
    say("strange", reason=f"{type(error).__name__}: {error}")
"""
"""What drives a tree's harness, which may be older than this one: an option that it has not, it is not given."""


class SideError(HarnessError):
    """A tree's harness could not be made to run the cell at all."""


class Side:
    """A tree's harness under way. Use it as a context manager: at its end everything that it started is gone."""

    def __init__(
        self, tree: Tree, work: Work, row: str, scale: str, *, processes: int, timeout_s: float, scratch: Path
    ) -> None:
        self.tree, self.work, self.results = tree, work, scratch / "results"
        self._patience_s = 2 * timeout_s + _STARTUP_S  # a cell, and the preparation that it may need
        caches = caches_of_its_own(scratch / "cache")
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by close)
        order: Mapping[str, Any] = {
            "task": work.task, "row": row, "case": glob.escape(work.case), "scale": scale, "seed": work.seed,
            "device": work.device, "threads": work.threads, "results": str(self.results), "processes": processes,
            "options": {"jobs": 1, "timeout_s": timeout_s, "force": True, "search": False},
        }  # fmt: skip
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SCRIPT, json.dumps(order)], cwd=tree.folder, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
            env={**os.environ, "PYTHONPATH": python_path(tree), "XDG_CACHE_HOME": str(caches),
                 "HARNESS_CANARY_ROUNDS": str(CANARY_ROUNDS)},
        )  # fmt: skip
        self._text = b""
        self._waits = False
        self.over = False
        """Whether it has no process left to run."""
        self.took_s = 0.0
        """Wall time of the last process that was run, with its preparation."""
        self._begun = 0.0

    def __enter__(self) -> Side:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with deaf():  # a second interrupt would leave behind what the first one asked to end
            if kind is not None:
                self._kill()
            self.close()

    def begin(self) -> None:
        """Wait until it stands before its next process, and let that run. At the end, `over` is set instead.

        Raises SideError for what breaks, UsageError for a tree whose harness this one cannot drive."""
        while not self._waits and not self.over:
            self._read()
        if self.over:
            return
        self._waits = False
        self._begun = time.monotonic()
        assert self._process.stdin
        with suppress(BrokenPipeError):
            self._process.stdin.write(b"go\n")
            self._process.stdin.flush()

    def finish(self) -> str:
        """Wait for the process that was begun; its status, or an empty string if there was none. Raises SideError."""
        while not self.over:
            if (said := self._read()) and said["is"] == "done":
                self.took_s = time.monotonic() - self._begun
                return str(said["status"])
        return ""

    def close(self) -> None:
        """Let go of what is not begun, and end it."""
        if self._errors.closed:
            return
        assert self._process.stdin and self._process.stdout
        with suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._kill()
        self._process.stdout.close()
        self._errors.close()

    def records(self) -> list[Record]:
        """What was measured, in order of time."""
        if not self.results.is_dir():
            return []
        found = Store(self.results).load(self.work.task)[0]
        return sorted(found, key=lambda record: (record.provenance.started, record.id))

    def _read(self) -> dict[str, Any] | None:
        """The next thing it says; None when that is only that it waits, or has come to its end."""
        line = self._line()
        if line is None:
            self.over = True
            try:
                code = self._process.wait(_END_S)
            except subprocess.TimeoutExpired:
                self._kill()
                raise SideError(f"{self._who()} said that it is done, did not end, and was ended") from None
            if code:
                raise SideError(f"{self._who()} broke off: {self._last_error()}")
            return None
        try:
            said: dict[str, Any] = dict(json.loads(line))
        except (ValueError, TypeError):
            said = {}
        if "is" not in said:
            raise SideError(f"{self._who()} said {line[:80].decode(errors='replace')!r}, which is no message")
        if said["is"] == "strange":
            raise UsageError(
                f"the harness of {self.tree.short} ({self.tree.subject}) cannot be driven by this one "
                f"({said['reason']}); name a commit nearer to this one"
            )
        if said["is"] == "error":
            raise SideError(f"{self._who()}: {said['reason']}")
        self._waits = said["is"] == "ready"
        return None if self._waits else said

    def _line(self) -> bytes | None:
        """A line of its output; None at the end. Raises SideError where none comes in time."""
        assert self._process.stdout
        until = time.monotonic() + self._patience_s
        with selectors.DefaultSelector() as ready:
            ready.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._text:
                if not ready.select(until - time.monotonic()):
                    self._kill()
                    raise SideError(f"{self._who()} said nothing for {self._patience_s:.0f} s and was ended")
                more = os.read(self._process.stdout.fileno(), 65536)
                if not more:
                    return None
                self._text += more
        line, _, self._text = self._text.partition(b"\n")
        return line

    def _kill(self) -> None:
        """A run ends its children when asked; what does not is ended."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_S)
                return

    def _who(self) -> str:
        return f"{self.work} at {self.tree.short} ({self.tree.subject})"

    def _last_error(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read()[-4000:].decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {self._process.returncode}"


def caches_of_its_own(folder: Path) -> Path:
    """A cache folder (for `XDG_CACHE_HOME`) like the user's own, but for what code under test makes. One that is there
    already is left as it is."""
    ours = paths.cache_root()
    mine = folder / ours.name
    if mine.is_dir():
        return folder
    mine.mkdir(parents=True)
    for path in ours.parent.iterdir() if ours.parent.is_dir() else ():
        if path.name != ours.name:
            (folder / path.name).symlink_to(path.absolute())
    for path in ours.iterdir() if ours.is_dir() else ():
        if path.name not in _OWN_CACHES:
            (mine / path.name).symlink_to(path.absolute())
    return folder
