"""Every row of every task, tracked by asv: time, memory and accuracy of one and the same run of its cell.

The parameters are read from the registry, so that a new baseline, and a new task, is tracked without a line here. A row
runs when the first of its numbers is asked for, through the harness as `harness run` does it, and the others are read
from that run's record: `asv run --bench 'LimitRetrieval.*bm25'` runs one row. Its case is the first that it takes part
in at scale smoke, and its draw always the same; `HARNESS_ASV_SCALE=standard` is for those that begin with a larger one.

asv has one direction, up is worse, so accuracy is tracked as what is missing to the best. A row that cannot run here
(a missing package) is n/a, one that fails is a failed benchmark; the reason is on standard error (`asv run -e`).
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from harness.api import default_threads, make_run
from harness.plan import Cell, Request, cells_of
from harness.record import Record
from harness.registry import ORACLE, TaskSpec, load_registry
from harness.runner import Options
from harness.task import Score
from harness.track.side import caches_of_its_own

SCALE = os.environ.get("HARNESS_ASV_SCALE", "smoke")
TIMEOUT_S = 900.0
SEED = 0


class _Rows:
    """One task. asv finds its subclasses in this module: `of` makes one for each task."""

    task: str
    cases: dict[str, str]
    """By row, the case that it is tracked on."""
    param_names = ("row",)
    timeout = 4 * TIMEOUT_S
    """Of the first number of a row: what several rows share is prepared then, too."""

    def setup_cache(self) -> str:
        """Where records and caches of this `asv run` lie. Nothing runs yet: only what is asked for will."""
        return str(Path.cwd())

    def setup(self, folder: str, row: str) -> None:
        self.record = measured(Path(folder), self.task, self.cases[row], row)
        if self.record.status in ("skipped", "unsupported"):
            raise NotImplementedError(f"{self.task} {row}: {self.record.status}: {self.record.reason}")
        if self.record.status != "ok":
            raise RuntimeError(f"{self.task} {row}: {self.record.status}: {self.record.reason}")

    def track_latency(self, folder: str, row: str) -> float:
        """Median of one call at a time, of the first stream that the task times; nan where it times none."""
        return self.record.latency[0].median_ns / 1e9 if self.record.latency else math.nan

    def track_time(self, folder: str, row: str) -> float:
        """All stages of the cell; what it shares with other rows and single calls left out."""
        return sum(p.wall_ns for p in self.record.phases if not p.shared and not p.name.endswith(".single")) / 1e9

    def track_peak_memory(self, folder: str, row: str) -> float:
        """Highest resident set of the cell's own process tree, read from outside (`harness.measure.memory`)."""
        peak = self.record.peak_rss_bytes
        return math.nan if peak is None else float(peak)

    def track_shortfall(self, folder: str, row: str) -> float:
        """Distance of the task's main score from the best, so that up is worse. See `unit_of`."""
        score = next(s for s in self.record.scores if s.main)
        if not score.higher_is_better:
            return score.value - (score.best or 0.0)
        if score.best is None:
            return 1 / score.value if score.value > 0 else math.nan
        return score.best - score.value

    track_latency.unit = track_time.unit = "seconds"  # type: ignore[attr-defined]
    track_peak_memory.unit = "bytes"  # type: ignore[attr-defined]


def of(task: TaskSpec, cells: list[Cell]) -> type[_Rows]:
    """The benchmarks of one task."""
    cases: dict[str, str] = {}
    for cell in cells:
        cases.setdefault(cell.row.name, cell.case.name)
    about: dict[str, Any] = {
        "task": task.name,
        "cases": cases,
        "params": [sorted(cases)],
        "unit": unit_of(task.main_score),
        "version": f"{task.name} {task.version}",  # results of another version of the task are another series
    }
    return type(class_name(task.name), (_Rows,), about)


def unit_of(score: Score) -> str:
    """What `track_shortfall` counts; a score that has no ceiling is tracked as its reciprocal."""
    if not score.higher_is_better:
        return f"{score.name} above {score.best or 0.0:g}"
    return f"1 / {score.name}" if score.best is None else f"{score.name} below {score.best:g}"


def class_name(task: str) -> str:
    """`limit/retrieval` is `LimitRetrieval`."""
    return "".join(part.capitalize() for part in task.replace("-", "/").split("/"))


def measured(folder: Path, task: str, case: str, row: str) -> Record:
    """The record of a row: of the run that the first of its numbers made, else of one that is made now."""
    kept = folder / "rows" / task.replace("/", ".") / f"{row}.json"
    if not kept.is_file():
        # What an earlier `asv run` prepared is measured again; what was downloaded is not.
        os.environ["XDG_CACHE_HOME"] = str(caches_of_its_own(folder / "cache"))
        os.environ.setdefault("HARNESS_CANARY_ROUNDS", "3")  # its two seconds are for runs of many cells
        runner, request = make_run(
            task, [row], case, SCALE, [SEED], "auto", default_threads(), folder / "results",
            Options(timeout_s=TIMEOUT_S, search=False),
        )  # fmt: skip
        summary = runner.run(request)
        record = next(r for r in summary.records if r.kind == "cell" and r.repeat == 0)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(record.to_json(), "utf-8")
    return Record.model_validate_json(kept.read_bytes())


def _by_task() -> dict[str, type[_Rows]]:
    registry = load_registry()
    tasks = list(registry.tasks.values())
    rows = {name: [r for r in rows if r.name != ORACLE] for name, rows in registry.select_rows(tasks, []).items()}
    found: dict[str, type[_Rows]] = {}
    for task in tasks:
        cells = cells_of(Request([task], rows, SCALE, seeds=[SEED], threads=default_threads()))  # type: ignore[arg-type]
        found[class_name(task.name)] = of(task, [c for c in cells if c.repeat == 0])
    return found


globals().update(_by_task())
