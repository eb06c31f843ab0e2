"""Cells -> executor -> records: what is done already, what comes next, and what happens when it is interrupted."""

from __future__ import annotations

import json
import secrets
import shutil
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from harness import __version__, assemble, paths
from harness import record as rec
from harness.assemble import Finished, Setting
from harness.budget import Budget
from harness.errors import UsageError
from harness.executors.local import JudgeClient, JudgeError, LocalExecutor, ServerKey
from harness.interruption import deaf, interruptible
from harness.known import Known, artifact_of, checkpoint_of
from harness.measure import environment
from harness.measure.canary import CANARY_VERSION, CanaryClock
from harness.orders import server_of, spec_of
from harness.pins import with_environments
from harness.plan import Cell, Request, cells_of, chosen_cases, cuda_is_present, expand_repeats, make_cell
from harness.questions import Drawn, Questions, draw_request
from harness.registry import ORACLE, TaskSpec
from harness.store import Store
from harness.table import outcome_of
from harness.task import Case

if TYPE_CHECKING:
    from harness.record import Record


class Reporter(Protocol):
    """Told what happens; shows it or not."""

    def planned(self, to_run: Sequence[Cell], done: int) -> None: ...
    def started(self, cell: Cell) -> None: ...
    def finished(self, cell: Cell, record: Record) -> None: ...
    def more(self, cells: Sequence[Cell]) -> None: ...
    def note(self, text: str) -> None: ...


class Silent:
    """A reporter that shows nothing."""

    def planned(self, to_run: Sequence[Cell], done: int) -> None: ...
    def started(self, cell: Cell) -> None: ...
    def finished(self, cell: Cell, record: Record) -> None: ...
    def more(self, cells: Sequence[Cell]) -> None: ...
    def note(self, text: str) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to run, as against what to run (`plan.Request`)."""

    jobs: int = 0
    """Cells at a time; 0: one, or for tasks that are `parallel` as many as there are cores for."""
    timeout_s: float = 900.0
    memory_limit_bytes: int = 0
    """0: four fifths of what the machine or its cgroup allows."""
    force: bool = False
    data: str = ""
    data_options: Mapping[str, str] = field(default_factory=dict)
    """What else was said of the data: `queries`, `metric`."""
    search: bool = True
    """Whether tasks may ask for further cells, to bracket breaking points."""
    budget_s: float = 0.0
    """Wall time after which no further cell is started; 0: none."""
    boxed: bool = False
    """Run every child as code that is not trusted (`harness.worker.box`), one at a time and without a GPU."""


@dataclass
class Summary:
    """What a run came to."""

    run: str
    records: list[Record] = field(default_factory=list)
    """Those written by this run."""
    earlier: list[Record] = field(default_factory=list)
    """Those that made cells count as done."""
    interrupted: bool = False
    left: int = 0
    """Cells that did not fit the budget."""
    canary_drift: float = 1.0


@dataclass(frozen=True)
class _Running:
    """A cell that is under way."""

    cell: Cell
    started: str
    canary_before_ns: float
    spent_s: float
    """CPU that this process spent on starting it."""
    drawn: Drawn


class Runner:
    """One run. `run()` does everything; the methods below it are its steps."""

    def __init__(self, store: Store, options: Options, reporter: Reporter | None = None) -> None:
        self.store, self.reporter = store, reporter or Silent()
        limit = options.memory_limit_bytes or int(0.8 * (environment.memory_limit() or environment.memory_total()))
        self.options = replace(options, memory_limit_bytes=limit)
        self.judge = JudgeClient()
        self.summary = Summary(datetime.now(UTC).strftime("%Y%m%dT%H%M%S-") + secrets.token_hex(4))
        self._running: dict[str, _Running] = {}
        self._artifacts: dict[str, Path] = {}
        """Of sealed tasks, by the key of the preparation that made them."""

    def data_cases(self, tasks: Sequence[TaskSpec], path: str) -> dict[str, list[Case]]:
        """Cases over the user's own data, for every task that takes such data. Raises UsageError."""
        cases: dict[str, list[Case]] = {}
        refusals = []
        for task in tasks:
            try:
                options = dict(self.options.data_options)
                reply = self.judge.ask({"op": "data_cases", "task": _named(task), "path": path, "options": options})
                cases[task.name] = [Case(**c) for c in reply["cases"]]
            except JudgeError as error:
                if error.kind != "unsupported":
                    raise UsageError(str(error)) from None
                refusals.append(f"{task.name}: {error}")
        if not any(cases.values()):
            raise UsageError(f"--data {path}: no chosen task can use it ({'; '.join(refusals)})")
        return cases

    def check(self, request: Request) -> None:
        """Ask the tasks whether cases that the user has changed make sense. Raises UsageError."""
        for task in request.tasks if request.changed else ():
            cases = [asdict(case) for case in chosen_cases(task, request)]
            try:
                self.judge.ask({"op": "check", "task": _named(task), "cases": cases})
            except JudgeError as error:
                raise UsageError(str(error)) from None

    def run(self, request: Request) -> Summary:
        """Run what is not done yet. An interrupt ends the children, keeps what is finished, and returns.

        Raises HarnessError, before anything runs, where children are to be boxed and a layer of the box is missing.
        """
        if self.options.boxed:
            from harness.worker import box

            box.require()
            if request.device == "cuda" or (request.device == "auto" and cuda_is_present()) or self.options.jobs > 1:
                raise UsageError("what is not trusted runs on the CPU, one cell at a time: --device cpu --jobs 1")
        self._budget = Budget(self.options.budget_s)
        self.store.prepare_to_write()
        self._request = request
        self._jobs = 1 if self.options.boxed else self.options.jobs or _jobs_for(request)
        scratch = paths.runs_root() / self.summary.run
        scratch.mkdir(parents=True)
        self._scratch = scratch
        self._questions = Questions(self.judge, scratch)
        self._executor = LocalExecutor(request.threads)
        try:
            with interruptible():
                self._request = replace(request, rows=with_environments(request.rows, self.reporter.note))
                self._run_all(cells_of(self._request))
        except KeyboardInterrupt:
            self.summary.interrupted = True
        finally:
            with deaf():
                self._executor.close()
                self.judge.close()
                self._drop_artifacts(())
                shutil.rmtree(scratch, ignore_errors=True)
        return self.summary

    @cached_property
    def _canary(self) -> CanaryClock:
        return CanaryClock()

    # -- the loop ----------------------------------------------------------------------------------------------------

    def _run_all(self, cells: list[Cell]) -> None:
        self._describe_machine()
        todo = deque(self._not_done(cells))
        self.reporter.planned(list(todo), len(cells) - len(todo))
        planned = {(c.key, c.repeat) for c in cells}
        while todo or self._running or self._search(todo, planned):
            self._step(todo)
            self._drop_artifacts(todo)
        if self.summary.records:
            self.summary.canary_drift = self._canary.closing_drift()

    def _search(self, todo: deque[Cell], planned: set[tuple[str, int]]) -> bool:
        """Append what searches for breaking points ask for, round by round, until something of it is not done."""
        while more := [c for c in self._refined() if (c.key, c.repeat) not in planned]:
            planned.update((c.key, c.repeat) for c in more)
            more = self._not_done(more)
            if more:
                self.reporter.more(more)
                todo.extend(more)
                return True
        return False

    def _not_done(self, cells: Sequence[Cell]) -> list[Cell]:
        """Those without a final record on this machine; the records of the others are remembered."""
        self._known.read(cells)
        left = []
        for cell in cells:
            record = self._known.done(cell)
            if record is None:
                left.append(cell)
            else:
                self.summary.earlier.append(record)
        return left

    def _step(self, todo: deque[Cell]) -> None:
        """Start what can be started, then wait for something to end."""
        records, known = self.summary.records, self._known
        self.summary.left += self._budget.hold_back(todo, records, lambda c: bool(c.needs and known.shared(c.needs)))
        while todo and len(self._running) < self._jobs:
            cell = self._next(todo)
            if cell is None:
                break
            self._start(cell)
        if not self._running:
            return
        for event in self._executor.wait(None):
            if event["event"] == "server-lost":
                lost = [f for f, r in self._running.items() if self._server_of(r.cell) == event["server"]]
                for folder in lost:
                    self._end(folder)
            elif event["event"] in ("done", "lost") and event["cell"] in self._running:
                self._end(event["cell"])

    def _drop_artifacts(self, todo: Sequence[Cell]) -> None:
        """Artifacts of sealed tasks are as many as cells, and can be large: none outlives the cells that use it."""
        if not self._artifacts:
            return
        needed = {c.needs.key for c in [*todo, *(r.cell for r in self._running.values())] if c.needs}
        for key in set(self._artifacts) - needed:
            shutil.rmtree(self._artifacts.pop(key), ignore_errors=True)

    def _next(self, todo: deque[Cell]) -> Cell | None:
        """The first cell whose needs are met; the preparation it lacks, if that is not running yet."""
        for index, cell in enumerate(todo):
            needs = cell.needs
            if needs is None or cell.blocked or self._known.shared(needs):
                del todo[index]
                return cell
            if needs.repeat and not artifact_of(needs).is_dir():
                needs = replace(needs, repeat=0)  # only the first process leaves what the others need
            if not any(c.key == needs.key for c in (r.cell for r in self._running.values())):
                return needs
        return None

    def _start(self, cell: Cell) -> None:
        begun = time.process_time()
        identity = self.store.new_id(cell.key)
        started = _now()
        if self._drop_repeat(cell):
            return
        if cell.blocked:
            self._finish(Finished(cell, *_as_status(cell.blocked)), identity, started, None, begun)
            return
        shared = self._known.shared(cell.needs) if cell.needs else None
        if shared is not None and shared[0].status != "ok":
            reason = shared[0].reason
            if not cell.task.in_parts:  # there it is half of every cell
                reason = f"the preparation it shares with other rows: {reason}"
            self._finish(Finished(cell, shared[0].status, reason), identity, started, None, begun)
            return
        self.reporter.started(cell)
        before = self._canary.now()
        try:
            drawn = self._questions.get(cell, [r.drawn.folder for r in self._running.values()])
            if cell.row.name == ORACLE:
                finished = self._judge_oracle(cell)
                finished.drawn = drawn
                self._finish(finished, identity, started, before, begun)
                return
        except JudgeError as error:
            self._finish(Finished(cell, *_as_status((error.kind, str(error)))), identity, started, before, begun)
            return
        folder = self._scratch / identity
        folder.mkdir()
        limits = (self.options.timeout_s, self.options.memory_limit_bytes)
        lock = str(self._scratch / "timed.lock") if self._jobs > 1 else ""
        spec = spec_of(cell, drawn.folder, limits, lock, self.options.boxed)
        (folder / "spec.json").write_text(json.dumps(spec), "utf-8")
        self._executor.start(folder, self._server_of(cell))
        self._running[str(folder)] = _Running(cell, started, before, time.process_time() - begun, drawn)

    def _server_of(self, cell: Cell) -> ServerKey:
        return server_of(cell, self._request, self.options.boxed)

    def _end(self, folder: str) -> None:
        running = self._running.pop(folder)
        cell, begun = running.cell, time.process_time() - running.spent_s
        place = Path(folder)
        finished = assemble.read_end(cell, place)
        if finished.status in rec.FINAL:
            shutil.rmtree(checkpoint_of(cell), ignore_errors=True)
        if cell.needs:
            finished.shared = self._known.shared(cell.needs)
        finished.drawn = running.drawn
        if finished.status == "ok" and cell.stage == "answer" and cell.repeat == 0:
            self._score(finished, place)
        if finished.status == "ok" and cell.stage == "prepare" and cell.repeat == 0:
            self._hand_on(finished, place / "answer")
        self._finish(finished, place.name, running.started, running.canary_before_ns, begun)
        shutil.rmtree(place, ignore_errors=True)

    def _hand_on(self, finished: Finished, answer: Path) -> None:
        """Keep what a preparation made. Of a sealed task the judge writes it anew: whatever else the first child left
        in its folder, the second one never sees."""
        kept = artifact_of(finished.cell)
        shutil.rmtree(kept, ignore_errors=True)
        kept.parent.mkdir(parents=True, exist_ok=True)
        if not finished.cell.task.sealed:
            shutil.move(answer, kept)
            return
        self._artifacts[finished.cell.key] = kept
        try:
            self.judge.ask(
                {"op": "hand_on", "task": _named(finished.cell.task), "answer": str(answer), "folder": str(kept)}
            )
        except JudgeError as error:
            finished.status, finished.reason = _as_status((error.kind, str(error)))

    def _finish(self, finished: Finished, identity: str, started: str, before: float | None, begun: float) -> None:
        """Make the record, write it, and remember it."""
        cell = finished.cell
        canary = None
        if before is not None:
            after = self._canary.now()
            drift = (before + after) / 2 / self._canary.reference_ns
            canary = rec.Canary(
                version=CANARY_VERSION, before_ns=before, after_ns=after, drift=drift,
                moved=abs(drift - 1) > CanaryClock.MOVED,
            )  # fmt: skip
        setting = Setting(
            self.summary.run, self._environment_digest, self._fingerprint, __version__, self.options.timeout_s,
            self.options.memory_limit_bytes, self._request.scale, self.options.data, self.options.data_options,
            self._request.changed, self._jobs,
        )  # fmt: skip
        spent = time.process_time() - begun
        record, sidecar = assemble.build_record(finished, setting, identity, canary, started, _now(), spent)
        with deaf():  # an interrupt in here would lose a finished cell
            self.store.add(record, sidecar)
        self.summary.records.append(record)
        self._known.add(record, finished.samples)
        self.reporter.finished(cell, record)

    # -- what is known -----------------------------------------------------------------------------------------------

    def _describe_machine(self) -> None:
        wanted = {m.partition(".")[0] for rows in self._request.rows.values() for r in rows for m in r.requires}
        found = environment.collect(
            packages=sorted(wanted | {"numpy", "pydantic", "limits-harness"}), checkout=Path(__file__).parents[1]
        )
        self._environment_digest = environment.environment_digest(found)
        self._fingerprint = environment.fingerprint(found)
        self.store.add_environment(self._environment_digest, found)
        limits = (self.options.timeout_s, self.options.memory_limit_bytes)
        self._known = Known(self.store, self._fingerprint, *limits, self.options.force, self.reporter.note)

    def _drop_repeat(self, cell: Cell) -> bool:
        """A further process of a row whose first one did not answer in this run would only fail again."""
        return cell.repeat > 0 and any(
            r.key == cell.key and r.repeat == 0 and r.status != "ok" for r in self.summary.records
        )

    def _refined(self) -> list[Cell]:
        """Further cells that searches for breaking points ask for, given all that is known of each row."""
        more: list[Cell] = []
        if not self.options.search:
            return more
        seen = {r.id: r for r in [*self.summary.earlier, *self.summary.records]}.values()
        for task in self._request.tasks:
            if not task.has_refine:
                continue
            for row in self._request.rows.get(task.name, ()):
                of_row = (r for r in seen if (r.task.name, r.baseline.name) == (task.name, row.name))
                scored = [r for r in of_row if r.kind != "prepare" and r.repeat == 0]
                outcomes = [asdict(outcome_of(r, task)) for r in scored]
                if not outcomes:
                    continue
                reply = self.judge.ask({"op": "refine", "task": _named(task), "outcomes": outcomes})
                for case in (Case(**c) for c in reply["cases"]):
                    more += [make_cell(task, case, row, seed, self._request) for seed in self._seeds(case, scored)]
        return expand_repeats(more)

    def _seeds(self, case: Case, scored: Sequence[Record]) -> list[int]:
        """The draws of a case that a search asked for: as many as it says, else those that it has seen."""
        if case.seeds and self._request.seeds is None:
            return list(range(case.seeds))
        if case.within:
            return sorted({r.seed for r in scored if r.case.name == case.within})
        family = case.name.partition("-")[0]
        return sorted({r.seed for r in scored if r.case.name.partition("-")[0] == family})

    # -- the judge and the child -------------------------------------------------------------------------------------

    def _score(self, finished: Finished, place: Path) -> None:
        cell = finished.cell
        request = {**draw_request(cell), "answer": str(place / "answer"), "items": str(place / "items.npz")}
        if cell.task.sealed and cell.needs:
            request.update(artifact=str(artifact_of(cell.needs)), code_bytes=cell.row.code_bytes)
        try:
            reply = self.judge.ask({"op": "score", **request})
        except JudgeError as error:
            finished.status, finished.reason = _as_status((error.kind, str(error)))
            return
        _take_scores(finished, reply, place / "items.npz")

    def _judge_oracle(self, cell: Cell) -> Finished:
        items = self._scratch / f"oracle-{secrets.token_hex(4)}.npz"
        try:
            reply = self.judge.ask({"op": "oracle", **draw_request(cell), "items": str(items)})
        except JudgeError as error:
            return Finished(cell, *_as_status((error.kind, str(error))))
        finished = Finished(cell, "ok")
        _take_scores(finished, reply, items)
        return finished


def _jobs_for(request: Request) -> int:
    """One cell at a time, or as many as the cores hold where all tasks are `parallel` and rows say how many threads
    they can use."""
    rows = [row for task in request.tasks for row in request.rows[task.name] if row.path]
    if request.device != "cpu" and cuda_is_present():
        return 1
    if not rows or not all(task.parallel for task in request.tasks) or not all(row.max_threads for row in rows):
        return 1
    return max(1, int(environment.usable_cores()) // min(request.threads, max(row.max_threads for row in rows)))


def _take_scores(finished: Finished, reply: Mapping[str, Any], items: Path) -> None:
    finished.scores = reply["values"]
    finished.notes += reply["notes"]
    finished.independent = reply["independent"]
    finished.intervals = {name: (low, high) for name, (low, high) in reply["intervals"].items()}
    with np.load(items, allow_pickle=False) as arrays:
        finished.items = {name: arrays[name] for name in arrays.files}


def _named(task: TaskSpec) -> dict[str, str]:
    return {"module": task.module, "class": task.class_name}


def _as_status(pair: tuple[str, str]) -> tuple[rec.Status, str]:
    kind, reason = pair
    if kind == "failed" or kind == "unsupported" or kind == "skipped":
        return kind, reason  # type: ignore[return-value]
    return "failed", f"the task itself failed ({kind}): {reason}; please report this"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
