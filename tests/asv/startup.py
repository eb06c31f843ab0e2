"""What the harness costs before any method does any work: the commands' start, and what is done once for each cell."""

from __future__ import annotations

import os
import sys

from harness import redact, stats


def cpu_seconds_of(arguments: list[str]) -> float:
    """User and system CPU seconds of one child, the least of five: noise only adds."""
    times = []
    for _ in range(5):
        null = os.open(os.devnull, os.O_WRONLY)
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, *arguments],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, null, 1)],
        )
        _, status, usage = os.wait4(pid, 0)
        os.close(null)
        if os.waitstatus_to_exitcode(status) != 0:
            raise RuntimeError(f"{arguments} ended with {os.waitstatus_to_exitcode(status)}")
        times.append(usage.ru_utime + usage.ru_stime)
    return min(times)


class CommandLine:
    """CPU time of commands that import nothing heavy."""

    params = ("--help", "--version", "list")
    param_names = ("command",)
    unit = "CPU seconds"

    def track_cpu(self, command: str) -> float:
        return cpu_seconds_of(["-c", "import sys; from harness.cli import main; sys.exit(main())", command])


class Imports:
    """CPU time of importing a module in a new interpreter, the interpreter's own start included."""

    params = ("harness", "harness.task", "harness.stats", "harness.plan", "harness.measure.environment")
    param_names = ("module",)
    unit = "CPU seconds"

    def track_cpu(self, module: str) -> float:
        return cpu_seconds_of(["-c", f"import {module}"])


class PerCell:
    """What is done in the parent for each cell and each record."""

    def setup(self) -> None:
        from harness.plan import Cell
        from harness.registry import load_registry

        registry = load_registry()
        task = registry.select_tasks("limit")[0]
        row = registry.rows(task)[0]
        self.cell = Cell(task, task.cases[0], row, 0, "cpu", 1)
        frame = '  File "/home/somebody/baselines/limit/retrieval/method.py", line 12, in index\n    raise ValueError\n'
        self.traceback = frame * 20

    def time_key(self) -> None:
        self.cell.key  # noqa: B018

    def time_redact_a_traceback(self) -> None:
        redact.redact(self.traceback)


class Ranks:
    """Rank sets of a board of 40 rows over 10 draws."""

    def setup(self) -> None:
        self.rows = {f"row {i}": {seed: (i * 37 + seed * 11) % 97 / 97 for seed in range(10)} for i in range(40)}

    def time_rank_sets(self) -> None:
        stats.rank_sets(self.rows)
