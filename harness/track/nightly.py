"""One night: plan it, measure it within its time, and say what it was worth.

The core is every row on every case that it has at scale smoke; the rest of the time goes to the cells of scale standard
that have waited longest (`harness.track.rotation`). Everything at seed 0, from the start and on this machine: what
earlier runs have left (records, preparations, checkpoints) is not used.

Nothing is started that is known not to fit, and no process is given more time than the night has left: it takes longer
than its budget only by what comes after the last process (scoring, the file of the night).
"""

from __future__ import annotations

import glob
import re
import shutil
import statistics
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError, NothingMatched, UsageError
from harness.interruption import deaf
from harness.known import checkpoint_of
from harness.measure.canary import CANARY_VERSION
from harness.plan import Cell as Planned
from harness.plan import Request
from harness.plan import cells_of as plan_cells
from harness.record import Scalar
from harness.registry import ORACLE, Registry
from harness.runner import Options, Reporter, Runner
from harness.store import Store
from harness.track.history import Archived, Cell
from harness.track.rotation import MARGIN, Group, Past, Piece, Place, groups_of, next_chunk, share_of, split_archived
from harness.track.values import cells_of, prepared_by, source_of, work_of

CORE, ROTATION = "smoke", "standard"
SEED = 0
_NOT_OF_SPEED = {"LANG", "LC_ALL"}


@dataclass(frozen=True)
class Plan:
    """What could be measured, and the requests that it comes from, by scale."""

    core: list[Piece]
    rotation: list[Piece]
    requests: Mapping[str, Request]


@dataclass
class Measured:
    """What one run of the harness gave."""

    cells: list[Cell] = field(default_factory=list)
    items: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    interrupted: bool = False
    cut: set[Place] = field(default_factory=set)
    """What ran out of time before it had all that it may take."""
    problem: str = ""
    """Why it could not go on; what it had by then is there."""


class Measure(Protocol):
    """Runs pieces at a scale; starts nothing after `budget_s`, and gives each process `timeout_s` or what is left."""

    def __call__(self, pieces: Sequence[Piece], scale: str, budget_s: float, timeout_s: float) -> Measured: ...


@dataclass
class Outcome:
    """What a night came to."""

    cells: list[Cell] = field(default_factory=list)
    items: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    never: list[Group] = field(default_factory=list)
    """What needs more than the whole night."""
    archived: list[Archived] = field(default_factory=list)
    interrupted: bool = False
    problem: str = ""
    """Why it ended early, where the harness itself could not go on."""

    @property
    def over(self) -> bool:
        """Whether nothing more is to be started."""
        return self.interrupted or bool(self.problem)


class _NightRunner(Runner):
    """Gives no process more time than its budget has left. (`harness run` does: what it cut off would stand in its
    records as too slow. A night leaves that for another one.)"""

    def __init__(self, store: Store, options: Options, reporter: Reporter | None = None) -> None:
        super().__init__(store, options, reporter)
        self._until = time.monotonic() + options.budget_s
        self._timeout_s = options.timeout_s

    def _start(self, cell: Planned) -> None:
        left_s = max(1.0, self._until - time.monotonic())
        self.options = replace(self.options, timeout_s=min(self._timeout_s, left_s))
        super()._start(cell)


def plan_of(
    registry: Registry, tasks: str = "", baselines: Sequence[str] = (), case: str = "", *, processes: int, threads: int,
    device: str = "auto",
) -> Plan:  # fmt: skip
    """Everything that a night could measure. Raises UsageError for unknown names, NothingMatched if nothing is left.

    Every row of the core is run in `processes` fresh processes; the rotation in as many as its cases ask for.
    """
    specs = registry.select_tasks(tasks or ",".join(registry.tasks))
    rows = registry.select_rows(specs, list(baselines))
    own = {task: [row for row in chosen if row.name != ORACLE] for task, chosen in rows.items()}
    often = [replace(t, cases=tuple(replace(c, processes=processes) for c in t.cases)) for t in specs]
    request = Request(often, own, "smoke", case, [SEED], device, threads)
    requests = {CORE: request, ROTATION: replace(request, tasks=specs, scale="standard")}
    core = _pieces(requests[CORE])
    rest = _pieces(requests[ROTATION])
    places = {piece.place for piece in core}
    plan = Plan(core, [piece for piece in rest if piece.place not in places], requests)
    if not plan.core and not plan.rotation:
        raise NothingMatched(
            "no row takes part in such a case at scale smoke or standard; `harness list cases` shows who takes part "
            "where"
        )
    return plan


def subset(request: Request, pieces: Iterable[Piece]) -> Request:
    """The request for these pieces and no others."""
    wanted: dict[tuple[str, str], list[str]] = {}
    for piece in pieces:
        wanted.setdefault((piece.task, piece.row), []).append(glob.escape(piece.case))
    rows = {
        task: [replace(row, takes=tuple(wanted[task, row.name])) for row in chosen if (task, row.name) in wanted]
        for task, chosen in request.rows.items()
    }
    return replace(request, tasks=[t for t in request.tasks if rows.get(t.name)], rows=rows, case_glob="")


def measure_with(
    plan: Plan, folder: Path, memory_limit_bytes: int = 0, reporter: Callable[[], Reporter] | None = None
) -> Measure:
    """Measures with the harness's own runner, one cell at a time, into records under `folder`."""

    def measure(pieces: Sequence[Piece], scale: str, budget_s: float, timeout_s: float) -> Measured:
        request = subset(plan.requests[scale], pieces)
        for cell in plan_cells(request):
            _forget(cell)
        options = Options(
            jobs=1, timeout_s=timeout_s, memory_limit_bytes=memory_limit_bytes, force=True, search=False,
            budget_s=budget_s,
        )  # fmt: skip
        runner = _NightRunner(Store(folder), options, reporter() if reporter else None)
        problem = ""
        try:
            runner.run(request)
        except Exception as error:  # whatever it is, what was measured before it counts
            problem = _problem(error)
        records = runner.summary.records
        with deaf():
            cells, items = cells_of(runner.store, records, scale)
        short = [work_of(r) for r in records if r.status == "timeout" and r.timeout_s < timeout_s]
        cut = {(work.task, work.case, work.row) for work in short}
        return Measured(cells, items, runner.summary.interrupted, cut, problem)

    return measure


def run_night(
    plan: Plan, past: Past, measure: Measure, *, budget_s: float, timeout_s: float,
    named: frozenset[str] = frozenset(), clock: Callable[[], float] = time.monotonic,
) -> Outcome:  # fmt: skip
    """Measure the core, then what the rotation has next, until the time is spent. An interrupt ends it early, and so
    does whatever else goes wrong: what was measured until then is kept.

    A core that is known not to fit is itself rotated, in three quarters of the time. What does not fit beside the core
    has its turn before it. `named` rows are run although they are archived.
    """
    began, outcome = clock(), Outcome()

    def left_s() -> float:
        return budget_s - (clock() - began)

    def run(groups: Sequence[Group], scale: str) -> None:
        time_s = max(1.0, left_s())
        first = not any(cell.scale == scale for cell in outcome.cells)
        most = first and (len(groups) == 1 or time_s < timeout_s)  # there is never more time than now
        pieces = [piece for group in groups for piece in group.pieces]
        got = measure(pieces, scale, time_s, timeout_s)
        # What the night's end cut off, and not its own limit, has not failed: it waits for a night with more time.
        cut = {_place(c) for c in got.cells if c.status == "timeout"} & got.cut
        outcome.cells += [c for c in got.cells if _place(c) not in cut or (most and not past.was_ok(_place(c)))]
        outcome.items |= got.items
        outcome.interrupted, outcome.problem = got.interrupted, got.problem

    core, gone = split_archived(plan.core, past, named)
    rotation, gone_too = split_archived(plan.rotation, past, named)
    outcome.archived = gone + gone_too
    groups, turn = groups_of(core, past), groups_of(rotation, past)
    share = share_of(groups, turn, budget_s, len(past.nights))
    outcome.never = share.never
    kept_s = 0.0 if share.whole or share.alone else share.beside_s
    try:
        if share.alone:
            run([share.alone], ROTATION)
            turn.remove(share.alone)
        if groups and not outcome.over and sum(g.cost_s or 0.0 for g in groups) * MARGIN <= left_s():
            run(groups, CORE)
        else:
            _rotate(groups, CORE, run, lambda: left_s() - kept_s, outcome)
        _rotate(turn, ROTATION, run, left_s, outcome)
    except KeyboardInterrupt:
        outcome.interrupted = True
    except Exception as error:  # hours of measurements must not be lost to whatever it is
        outcome.problem = _problem(error)
    tried = {_place(cell) for cell in outcome.cells}
    outcome.left = [str(piece) for piece in [*core, *rotation] if piece.place not in tried]
    return outcome


def foreseen(groups: Sequence[Group], left_s: float) -> list[Group]:
    """The groups that a night would take, if costs are as they were; unknown ones are taken to cost nothing."""
    waiting, taken = list(groups), []
    while chunk := next_chunk(waiting, left_s):
        taken += chunk
        left_s -= sum(group.cost_s or 0.0 for group in chunk)
        started = {group.name for group in chunk}
        waiting = [group for group in waiting if group.name not in started]
    return taken


def context_of_night(environment: Mapping[str, Any], processes: int) -> tuple[dict[str, Scalar], dict[str, Scalar]]:
    """What affects performance, and what is good to know: from `measure.environment.collect`.

    To the minor version only, as libraries are: a kernel's or Python's patch release, which come every few weeks, would
    start every series anew.
    """
    variables = environment.get("variables") or {}
    gpus = environment.get("gpus") or []
    context: dict[str, Scalar] = {
        "python": _minor(environment.get("python")), "libc": environment.get("libc"),
        "kernel": _minor(environment.get("kernel")), "governor": environment.get("governor"),
        "turbo": environment.get("turbo"), "cpu_quota": environment.get("cpu_quota"),
        "virtualization": environment.get("virtualization"), "processes": processes, "canary": CANARY_VERSION,
        **{f"variable {name}": value for name, value in variables.items() if name not in _NOT_OF_SPEED},
        **{f"gpu {n}": f"{gpu['name']}, driver {_major(gpu['driver'])}" for n, gpu in enumerate(gpus)},
    }  # fmt: skip
    info: dict[str, Scalar] = {
        name: environment.get(name)
        for name in ("cpu_model", "cores_usable", "memory_bytes", "os", "kernel", "python", "python_build")
    }
    load = (environment.get("info") or {}).get("load_average")
    info["load_average"] = load[0] if load else None
    return context, info


def published_costs(root: Path) -> dict[Place, float]:
    """Seconds of wall time that one process took by the records of a folder, preparations by themselves."""
    records = Store(root).load()[0] if (root / "records").is_dir() else []
    wall = {record.id: record.cost.wall_s for record in records}
    took: dict[Place, list[float]] = {}
    for record in records:
        if record.kind != "control":
            work = work_of(record)
            own = record.cost.wall_s - wall.get(record.provenance.shared_record or "", 0.0)
            took.setdefault((work.task, work.case, work.row), []).append(max(0.0, own))
    return {place: statistics.median(found) for place, found in took.items()}


def require_same_code(repo: Path, package: Path) -> None:
    """Raise UsageError where `repo` holds other code than what runs: its commit would be a wrong label.

    `package` is the folder of the `harness` that was imported; installed, it has tasks and baselines within it.
    """
    if not (repo / "harness/__init__.py").is_file() or (repo / "harness").resolve() == package.resolve():
        return  # tasks of one's own over an installed harness, or a checkout that runs itself
    pairs = [(repo / "harness", package), *((repo / part, package / part) for part in ("tasks", "baselines"))]
    for theirs, ours in pairs:
        names = {path.relative_to(folder) for folder in (theirs, ours) for path in folder.rglob("*.py")}
        own = (name for name in names if ours != package or name.parts[0] not in ("tasks", "baselines"))
        for name in sorted(own):
            if not _same_bytes(theirs / name, ours / name):
                raise UsageError(
                    f"what runs is not the code of {repo} ({theirs.name}/{name} differs), and that commit would be a "
                    "wrong label; run `python -m harness track run` in that folder, or pip install -e it"
                )


def _same_bytes(one: Path, other: Path) -> bool:
    return one.is_file() and other.is_file() and one.read_bytes() == other.read_bytes()


def _rotate(
    groups: list[Group], scale: str, run: Callable[[Sequence[Group], str], None], left_s: Callable[[], float],
    outcome: Outcome,
) -> None:  # fmt: skip
    waiting = list(groups)
    while not outcome.over and (chunk := next_chunk(waiting, left_s())):
        run(chunk, scale)
        started = {group.name for group in chunk}
        waiting = [group for group in waiting if group.name not in started]


def _pieces(request: Request) -> list[Piece]:
    """One for each row on each case of a request; [] where no row takes part."""
    try:
        cells = plan_cells(request)
    except NothingMatched:
        return []
    often = Counter((cell.task.name, cell.case.name, cell.row.name) for cell in cells)
    return [
        Piece(
            cell.task.name, cell.case.name, cell.row.name, source_of(cell.task.source_digest, cell.row),
            often[cell.task.name, cell.case.name, cell.row.name], prepared_by(cell.row) if cell.needs else "",
            cell.blocked[1] if cell.blocked else "",
        )
        for cell in cells if cell.repeat == 0
    ]  # fmt: skip


def _problem(error: Exception) -> str:
    """A sentence for the night's file; of what nobody foresaw, where it happened, on standard error."""
    if isinstance(error, HarnessError):
        return str(error)
    traceback.print_exception(error, file=sys.stderr)
    return f"{type(error).__name__}: {error}"[:1000]


def _forget(cell: Planned) -> None:
    """Remove what an earlier run of exactly this cell left off: a night that goes on from there measures a part."""
    for one in (cell, cell.needs):
        if one is not None:
            shutil.rmtree(checkpoint_of(one), ignore_errors=True)


def _place(cell: Cell) -> Place:
    return cell.task, cell.case, cell.row


def _minor(text: object) -> str | None:
    """`CPython 3.11.9` -> `CPython 3.11`; `6.1.0-13-cloud` -> `6.1`."""
    if text is None:
        return None
    match = re.match(r"(.*?\d+\.\d+)", str(text))
    return match[1] if match else str(text)


def _major(version: str) -> str:
    return version.partition(".")[0]
