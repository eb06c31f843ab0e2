"""Verifying a submission: what must be so, what a re-run says, what the audits say, and one verdict.

In this order, since each step needs the one before: the folder and its digests (`folder`), impossible results
(`invariants`), imports, then cells of it (`selection`) run again, boxed (`rerun`), on draws that were submitted and on
fresh ones whose 128-bit seed nobody knew (`replication`), with the audits (`audits`).
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness.errors import HarnessError, UsageError
from harness.store import Store, read_record
from harness.submission.audits import own_solver
from harness.submission.invariants import broken_invariants, evidence_in
from harness.submission.requirements import install_locked
from harness.submission.rerun import rerun
from harness.submission.selection import chosen
from harness.submission.verdict import Check, Verification, add_broken

if TYPE_CHECKING:
    from harness.record import Record
    from harness.registry import TaskSpec
    from harness.submission.folder import Submission


def verify(
    submission: Submission, *, trusted: bool = False, cells: int = 0, budget_s: float = 1800.0,
    rng: random.Random | None = None, beside: Sequence[Record] = (), note: Callable[[str], None] = lambda _: None,
) -> Verification:  # fmt: skip
    """Verify an opened submission. `cells`: how many to run again (0: as many as the budget allows). `trusted`: it is
    one's own, and runs without the box. `beside`: records that others vouch for."""
    found = Verification()
    chance = rng or random.SystemRandom()
    records, broken_files = submission.store.load()
    found.add("folder", "passed", f"{len(records)} records, every digest as the manifest says")
    for bad in broken_files:
        found.add("folder", "failed", f"{bad.path.name}: {bad.reason}")
    add_broken(found, "invariants", broken_invariants(records, evidence_in(submission.store), beside), len(records))
    rows = submission.rows()
    tasks = _tasks_of(found, records)
    for task in tasks.values():
        for row in rows:
            for audit in own_solver(row.sources, task) if row.task == task.name else ():
                if Check(audit.name, "noted", audit.evidence) not in found.checks:
                    found.add(audit.name, "noted", audit.evidence)
    if found.verdict == "refused":
        found.add("re-run", "not done", "the records are refused already; nothing was run")
        return found
    missing = [] if trusted else _missing_layers()
    for sentence in missing:
        found.add("isolation", "not done", sentence)
    if missing:
        return found
    if trusted:
        found.add("isolation", "noted", "not boxed: you said that it is your own (--trust)")
    else:
        found.add("isolation", "passed", "boxed, every layer holds")
    with tempfile.TemporaryDirectory(prefix="harness-wheels-") as wheels:
        if submission.requirements is not None:
            Path(wheels).chmod(0o755)  # read by the box's user
            try:
                environment = install_locked(submission.requirements, Path(wheels))
            except UsageError as error:
                found.add("requirements", "failed" if "digest" in str(error) else "not done", str(error))
                return found
            found.add("requirements", "passed", f"{len(environment.packages)} wheels, each with its digest")
            rows = [replace(row, environment=environment) for row in rows]
        plans = chosen(records, rows, tasks, cells, chance)
        if not plans:
            found.add("re-run", "not done", "no cell of it can be run again here: none has an answer that is drawn")
            return found
        note(f"running cells again: up to {len(plans)}, as many as {budget_s / 60:.0f} minutes allow")
        rerun(found, plans, boxed=not trusted, budget_s=budget_s, rng=chance)
    return found


def _missing_layers() -> list[str]:
    from harness.worker.box import missing_layers

    return missing_layers()


def _tasks_of(found: Verification, records: Sequence[Record]) -> dict[str, TaskSpec]:
    """Tasks that the records are of, as they stand here; what was made by another version cannot be compared."""
    from harness.registry import load_registry

    known = load_registry().tasks
    tasks: dict[str, TaskSpec] = {}
    for name in sorted({record.task.name for record in records}):
        of_task = [record for record in records if record.task.name == name]
        if name not in known:
            found.add("task", "failed", f"{name} is no task that is installed here")
            continue
        tasks[name] = task = known[name]
        if versions := sorted({r.task.version for r in of_task} - {task.version}):
            found.add("task", "failed", f"{name}: records of version {versions[0]}; this is version {task.version}")
        if any(r.task.source_digest != task.source_digest for r in of_task):
            found.add("task", "noted", f"{name}: made by another text of the task than is here, of the same version")
        declared = {case.name: case for case in task.cases}
        for record in of_task:
            case = declared.get(record.case.name)
            if case is not None and dict(case.params) != dict(record.case.params):
                found.add("case", "failed", f"{record.id}: {case.name} has other parameters than the task gives it")
    return tasks


# What it means for the board ------------------------------------------------------------------------------------------


def state(verification: Verification, submission: Submission, results: Path) -> str:
    """Write statements about the records of the cells that were run again into a results folder that holds them; say
    what was done. Cells that were not run again stay self-reported, and so do cells that a search asked for, unless
    they were run again themselves.

    Raises HarnessError where the folder does not hold them, or holds others by their names.
    """
    from harness.board.statements import Statements, make_statement

    if verification.trust == "self-reported":
        return "no statement: nothing was verified"
    store = Store(results)
    there = {path.stem: path for path in store.paths()}
    evidence = [f"{c.name}: {c.evidence}" for c in verification.checks if c.verdict in ("passed", "noted")]
    kinds: dict[Literal["replicated", "reproduced"], list[str]] = {"replicated": [], "reproduced": []}
    for record in submission.store.load()[0]:
        cell = record.task.name, record.baseline.name, record.case.name
        if cell not in verification.reproduced or record.id not in there:
            continue
        if read_record(there[record.id]) != record:
            raise HarnessError(f"{there[record.id]} is not the record {record.id} that was verified; remove it")
        kinds["replicated" if cell in verification.replicated else "reproduced"].append(record.id)
    if not any(kinds.values()):
        raise HarnessError(f"{results} holds no record of this submission; `harness results merge` brings them there")
    reason = f"run again by harness verify: {verification.sentence()}"
    written = [Statements(results).add(make_statement(kind, store, ids, reason, evidence))
               for kind, ids in kinds.items() if ids]  # fmt: skip
    return f"stated in {', '.join(map(str, written))}"
