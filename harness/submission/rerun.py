"""Chosen cells run again, on draws that were submitted and on fresh ones, and compared with what is claimed.

All runs go into a folder that is deleted afterwards, and the preparations of secret draws with it.
"""

from __future__ import annotations

import random
import secrets
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.runner import Options, Runner
from harness.store import Store
from harness.submission.audited import audited
from harness.submission.audits import audits_of
from harness.submission.invariants import broken_invariants, evidence_in
from harness.submission.replication import Claim, Replication, replications, tolerance
from harness.submission.selection import Plan, main_score
from harness.submission.verdict import Verdict, Verification, add_broken

if TYPE_CHECKING:
    from harness.plan import Cell
    from harness.record import Record
    from harness.registry import BaselineSpec, TaskSpec
    from harness.task import Case

ENOUGH = 0.5
"""Power from which on fresh draws that do not refuse a claim vouch for it: one cell of each row must have it."""


class Selected(Runner):
    """A run of chosen cells only."""

    wanted: frozenset[tuple[str, str, str, int]] = frozenset()

    def _not_done(self, cells: Sequence[Cell]) -> list[Cell]:
        return super()._not_done([c for c in cells if (c.task.name, c.row.name, c.case.name, c.seed) in self.wanted])


def rerun(
    found: Verification, plans: Sequence[Plan], *, boxed: bool, budget_s: float, rng: random.Random
) -> list[Record]:
    """Run the plans' cells and judge what came of them. The records are gone afterwards; they are returned."""
    folder = Path(tempfile.mkdtemp(prefix="harness-verify-"))
    made: list[Record] = []
    try:
        store = Store(folder)
        threads = sorted({record.threads for plan in plans for record in plan.claimed.values()})
        for n in threads:
            of = [plan for plan in plans if plan.claimed[plan.again].threads == n]
            wanted = [(plan, (plan.again, *plan.fresh), plan.audit) for plan in of]
            made += _run(store, wanted, n, boxed, budget_s, rng) if of else []
        # what the audits have changed is told by them alone
        plain = [record for record in made if not record.task.name.endswith(".audit")]
        evidence = evidence_in(store)
        add_broken(found, "invariants of the re-run", broken_invariants(made, evidence), len(made))
        found.cells = [f"{plan.label} seed {plan.again}, {len(plan.fresh)} fresh draws" for plan in plans]
        same = [_same_draw(found, plan, plain) for plan in plans]
        found.reproduced = any(same)
        found.rows = {(plan.task.name, plan.row.name) for plan, is_so in zip(plans, same, strict=True) if is_so}
        tested, seeds = _tested(plans, plain), {plan.label: plan.fresh for plan in plans}
        doubted = {one.claim.name for one in tested if one.refused}
        if doubted:  # trained models fail now and then, and a t test knows nothing of that: see it again, in new draws
            for n in threads:
                of = [plan for plan in plans if plan.label in doubted and plan.claimed[plan.again].threads == n]
                more = {plan.label: tuple(secrets.randbits(128) for _ in plan.fresh) for plan in of}
                seeds.update({label: (*seeds[label], *new) for label, new in more.items()})
                wanted = [(plan, more[plan.label], False) for plan in of]
                made += _run(store, wanted, n, boxed, budget_s, rng) if of else []
            plain = [record for record in made if not record.task.name.endswith(".audit")]
            plans = [replace(plan, fresh=seeds[plan.label]) for plan in plans]
            tested = _tested(plans, plain)
        found.replicated = _fresh_draws(found, plans, plain, tested)
        for plan in plans:
            for record in made if plan.audit else ():
                if record.task.name == audited(plan.task).name and record.baseline.name == plan.row.name:
                    _audits(found, plan, record, evidence(record).items)
    finally:
        _forget(made)
        shutil.rmtree(folder, ignore_errors=True)
    return made


def _forget(records: Sequence[Record]) -> None:
    """Preparations on secret draws are of no use to anybody."""
    from harness import paths

    for record in records:
        if record.kind == "prepare":
            shutil.rmtree(paths.prepared_root() / record.key, ignore_errors=True)


def _run(
    store: Store, chosen_draws: Sequence[tuple[Plan, tuple[int, ...], bool]], threads: int, boxed: bool,
    budget_s: float, rng: random.Random,
) -> list[Record]:  # fmt: skip
    """Plans, each with its draws and whether it is audited, in one run and in random order: nothing tells a method
    which draw is which."""
    from harness.plan import Request

    tasks: dict[str, TaskSpec] = {}
    rows: dict[str, list[BaselineSpec]] = {}
    cases: dict[str, dict[str, Case]] = {}
    wanted: set[tuple[str, str, str, int]] = set()
    for plan, seeds, audit in chosen_draws:
        both = [(plan.task, seeds), (audited(plan.task), (secrets.randbits(128),))]
        for task, of in both if audit else both[:1]:
            tasks[task.name] = task
            rows.setdefault(task.name, [])
            rows[task.name] += [plan.row] if plan.row not in rows[task.name] else []
            cases.setdefault(task.name, {})[plan.case.name] = plan.case
            wanted |= {(task.name, plan.row.name, plan.case.name, seed) for seed in of}
    seeds_of_all = sorted({seed for _, _, _, seed in wanted})
    rng.shuffle(seeds_of_all)
    claimed = [record for plan, _, _ in chosen_draws for record in plan.claimed.values()]
    # planned within the budget; a machine that is slower than the claims' may take twice as long before it is stopped
    planned_s = sum(plan.total_s for plan, _, _ in chosen_draws)
    options = Options(
        jobs=1, force=True, search=False, budget_s=2 * max(budget_s, planned_s), boxed=boxed,
        timeout_s=max(60.0, 3 * max(record.cost.wall_s for record in claimed)),
    )  # fmt: skip
    request = Request(
        list(tasks.values()), rows, "full", "", seeds_of_all, "auto" if _any_gpu(claimed) else "cpu", threads,
        {name: list(of.values()) for name, of in cases.items()},
    )  # fmt: skip
    runner = Selected(store, options)
    runner.wanted = frozenset(wanted)
    summary = runner.run(request)
    if summary.interrupted:
        raise KeyboardInterrupt
    return summary.records


def _any_gpu(records: Sequence[Record]) -> bool:
    return any(record.device == "cuda" for record in records)


# What came of it ------------------------------------------------------------------------------------------------------


def _of(records: Sequence[Record], plan: Plan, seeds: Sequence[int]) -> list[Record]:
    cell = plan.task.name, plan.case.name, plan.row.name
    answers = (r for r in records if r.kind == "cell" and r.seed in seeds)
    return [r for r in answers if (r.task.name, r.case.name, r.baseline.name) == cell]


def _same_draw(found: Verification, plan: Plan, made: Sequence[Record]) -> bool:
    """Whether the submitted draw came to the same."""
    name, claimed = "same draw", plan.claimed[plan.again]
    again = _of(made, plan, [plan.again])
    if not again:
        found.add(name, "not done", f"{plan.label}: not reached within the budget")
        return False
    new = again[0]
    if new.status in ("skipped", "unsupported", "timeout", "oom"):
        found.add(name, "not done", f"{plan.label} seed {plan.again}: {new.status}: {new.reason}")
        return False
    if new.status != "ok":
        found.add(name, "failed", f"{plan.label} seed {plan.again}: {new.status} here: {new.reason}")
        return False
    same_machine = new.provenance.fingerprint == claimed.provenance.fingerprint and new.device == claimed.device
    if same_machine and new.task.source_digest == claimed.task.source_digest \
            and new.case.draw_digest != claimed.case.draw_digest:  # fmt: skip
        found.add(name, "failed", f"{plan.label} seed {plan.again}: the record is not of the draw that it names")
        return False
    wrong, compared = _differences(claimed, new, same_machine)
    if wrong:
        found.add(name, "failed", f"{plan.label} seed {plan.again}: {'; '.join(wrong[:3])}")
        return False
    how = "to the last bit" if same_machine and claimed.baseline.deterministic else "within what may be expected"
    found.add(name, "passed", f"{plan.label} seed {plan.again}: {compared} scores, {how}")
    return True


def _differences(claimed: Record, new: Record, same_machine: bool) -> tuple[list[str], int]:
    """Scores that differ by more than they may. Those that are no means of items (sizes, counts) must be the same only
    of a deterministic row on the same class of machine."""
    wrong, compared = [], 0
    exact = claimed.baseline.deterministic and same_machine
    for score in claimed.scores:
        if not exact and not score.n and not score.main:
            continue
        after = new.score(score.name)
        if after is None:
            wrong.append(f"{score.name} is claimed, and is not there")
            continue
        compared += 1
        allowed = tolerance(score.value, score.n, score.best, claimed.baseline.deterministic, same_machine)
        if abs(after.value - score.value) > allowed + 1e-12:
            wrong.append(f"{score.name} is claimed as {score.value!r}, and is {after.value!r} (within {allowed:.2g})")
    return wrong, compared


def _tested(plans: Sequence[Plan], made: Sequence[Record]) -> list[Replication]:
    """The claims against their fresh draws, all cells together."""
    claims: list[Claim] = []
    for plan in plans:
        answered = (r for r in _of(made, plan, plan.fresh) if r.status == "ok")
        values = [main.value for r in answered if (main := main_score(r)) is not None]
        claimed = [main for r in plan.claimed.values() if (main := main_score(r)) is not None]
        if values and claimed:
            one = claimed[0]
            of = [score.value for score in claimed]
            claims.append(Claim(plan.label, of, values, one.n, one.higher_is_better, one.best == 1.0))
    return replications(claims)


def _fresh_draws(
    found: Verification, plans: Sequence[Plan], made: Sequence[Record], tested: Sequence[Replication]
) -> bool:
    """Whether fresh draws bear the claims out."""
    name = "fresh draws"
    compared = {one.claim.name for one in tested}
    for plan in plans:
        gone = [r for r in _of(made, plan, plan.fresh) if r.status in ("failed", "killed")]
        if gone:
            said = f"{plan.label}: {gone[0].status} on {len(gone)} of {len(plan.fresh)} fresh draws: {gone[0].reason}"
            found.add(name, "failed", said)
        elif not plan.fresh:
            found.add(name, "not done", f"{plan.label}: its data are the same in every draw")
        elif plan.label not in compared:
            found.add(name, "not done", f"{plan.label}: no fresh draw was answered, or it has no main score")
    vouched: set[tuple[str, str]] = set()
    rows = {plan.label: (plan.task.name, plan.row.name) for plan in plans}
    for one in tested:
        said = f"{one.claim.name}: {one.sentence()}"
        if one.refused:
            found.add(name, "failed", said)
        elif one.power < ENOUGH:
            found.add(name, "noted", f"{said}: too few to vouch for it; claim more draws")
        else:
            found.add(name, "passed", said)
            vouched.add(rows[one.claim.name])
    return bool(tested) and vouched >= found.rows


def _audits(found: Verification, plan: Plan, record: Record, items: Mapping[str, Any]) -> None:
    if record.kind != "cell":
        return
    if record.status != "ok":
        verdict: Verdict = "failed" if record.status in ("failed", "killed") else "not done"
        found.add("audits", verdict, f"{plan.label}: {record.status}: {record.reason}")
        return
    for audit in audits_of(items):
        found.add(audit.name, audit.verdict, f"{plan.label}, {audit.evidence}")
