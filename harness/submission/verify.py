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
from typing import TYPE_CHECKING

from harness.errors import HarnessError, UsageError
from harness.store import Store
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
        plans = chosen(records, rows, tasks, cells, budget_s, chance)
        if not plans:
            found.add("re-run", "not done", "no cell of it can be run again here: none has an answer that is drawn")
            return found
        note(f"running {len(plans)} cells again, about {sum(plan.total_s for plan in plans) / 60:.1f} minutes")
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
    """Write a statement about the verified rows' records into a results folder that holds them; say what was done.

    Raises HarnessError where the folder does not hold them.
    """
    from harness.board.statements import Statements, make_statement

    trust = verification.trust
    if trust == "self-reported":
        return "no statement: nothing was verified"
    store = Store(results)
    there = {path.stem for path in store.paths()}
    ids = [record.id for record in submission.store.load()[0]
           if (record.task.name, record.baseline.name) in verification.rows and record.id in there]  # fmt: skip
    if not ids:
        raise HarnessError(f"{results} holds no record of this submission; `harness results merge` brings them there")
    evidence = [f"{c.name}: {c.evidence}" for c in verification.checks if c.verdict in ("passed", "noted")]
    statement = make_statement(trust, store, ids, f"run again by harness verify: {verification.sentence()}", evidence)
    return f"stated in {Statements(results).add(statement)}"
