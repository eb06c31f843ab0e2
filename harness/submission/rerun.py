"""Chosen cells run again, on draws that were submitted and on fresh ones, and compared with what is claimed.

All runs go into a folder that is deleted afterwards, and the preparations of secret draws with it.
"""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.runner import Options, Runner
from harness.store import Store
from harness.submission.audited import audited
from harness.submission.audits import audits_of, required, timed_streams, unmeasured
from harness.submission.invariants import broken_invariants, evidence_in
from harness.submission.replication import Claim, Replication, replications, tolerance
from harness.submission.selection import Plan, main_score, secret
from harness.submission.verdict import Verification, add_broken

if TYPE_CHECKING:
    from harness.plan import Cell
    from harness.record import Record
    from harness.submission.law import Evidence

ENOUGH = 0.5
"""Power from which on fresh draws that do not refuse a claim vouch for it."""


class Selected(Runner):
    """A run of chosen cells only."""

    wanted: frozenset[tuple[str, str, str, int]] = frozenset()

    def _not_done(self, cells: Sequence[Cell]) -> list[Cell]:
        return super()._not_done([c for c in cells if (c.task.name, c.row.name, c.case.name, c.seed) in self.wanted])


def rerun(
    found: Verification, plans: Sequence[Plan], *, boxed: bool, budget_s: float, rng: random.Random
) -> list[Record]:
    """Run the plans' cells, one plan after the other while there is time, and judge what came of them. The records are
    gone afterwards; they are returned.

    Time is what was measured here, never what was claimed: no cell runs longer than is left of `budget_s`, and another
    one is begun only if there is time for it by what the row has taken so far. A plan that was begun must come to an
    end. At most another `budget_s` is for seeing doubted claims again.
    """
    folder = Path(tempfile.mkdtemp(prefix="harness-verify-"))
    made: list[Record] = []
    try:
        runs = _Runs(Store(folder), boxed, budget_s, rng)
        plans, made = _within_budget(found, plans, runs)
        plain = _plain(made)  # what the audits have changed is told by them alone
        evidence = evidence_in(runs.store)
        add_broken(found, "invariants of the re-run", broken_invariants(made, evidence), len(made))
        found.reproduced = {plan.cell for plan in plans if _same_draw(found, plan, plain)}
        doubted = {one.claim.name for one in _tested(plans, plain) if one.refused}
        if doubted:  # trained models fail now and then, and a t test knows nothing of that: see it again, in new draws
            runs = _Runs(runs.store, boxed, budget_s, rng)
            for index, plan in enumerate(plans):
                if plan.label in doubted:
                    more = secret(len(plan.fresh))
                    made += runs.run(plan, more, audit=False)
                    plans[index] = replace(plan, fresh=(*plan.fresh, *more))
            plain = _plain(made)
            evidence = evidence_in(runs.store)
        found.cells = [f"{plan.label} seed {plan.again}, {len(plan.fresh)} fresh draws" for plan in plans]
        found.replicated = _fresh_draws(found, plans, plain, _tested(plans, plain)) & found.reproduced
        for plan in plans:
            if plan.audit:
                _audits(found, plan, made, evidence)
    finally:
        _forget(made)
        shutil.rmtree(folder, ignore_errors=True)
    return made


def _within_budget(found: Verification, queue: Sequence[Plan], runs: _Runs) -> tuple[list[Plan], list[Record]]:
    """Run plans in their order until the time is over: those that were begun, with all of their fresh draws."""
    begun: list[Plan] = []
    made: list[Record] = []
    slowest: dict[tuple[str, str], float] = {}
    left_out: list[str] = []
    for plan in queue:
        row = plan.cell[:2]
        expected_s = slowest.get(row, max(slowest.values(), default=0.0)) * plan.runs
        if begun and runs.left_s < max(expected_s, 1.0):
            left_out.append(plan.label)
            continue
        threads = max(record.threads for record in plan.claimed.values())
        if threads > most_threads():
            found.add("threads", "noted", f"{plan.label}: claimed with {threads}; run with {most_threads()} here")
        before = runs.left_s
        made += runs.run(plan, (plan.again, *plan.fresh), audit=plan.audit)
        each_s = (before - runs.left_s) / plan.runs
        slowest[row] = max(each_s, slowest.get(row, 0.0))
        more = secret(max(0, min(plan.needed - len(plan.fresh), int(runs.left_s / 2 / max(each_s, 0.01)))))
        if more:
            made += runs.run(plan, more, audit=False)
        begun.append(replace(plan, fresh=(*plan.fresh, *more)))
    if left_out:
        some = "; ".join(left_out[:3])
        said = f"no time for {len(left_out)} cells, which stay self-reported: {some}{' ...' * (left_out[3:] != [])}"
        found.add("sample", "noted", said)
    return begun, made


def _plain(records: Sequence[Record]) -> list[Record]:
    return [record for record in records if not record.task.name.endswith(".audit")]


def most_threads() -> int:
    """Threads that a cell gets here at most: claims of more are no reason to crowd the machine."""
    from harness.measure.environment import usable_cores

    return max(1, int(usable_cores()))


def _forget(records: Sequence[Record]) -> None:
    """Preparations on secret draws are of no use to anybody."""
    from harness import paths

    for record in records:
        if record.kind == "prepare":
            shutil.rmtree(paths.prepared_root() / record.key, ignore_errors=True)


class _Runs:
    """Runs of single plans into one store, within one budget of wall time."""

    def __init__(self, store: Store, boxed: bool, budget_s: float, rng: random.Random) -> None:
        self.store, self._boxed, self._rng = store, boxed, rng
        self._ends = time.monotonic() + budget_s

    @property
    def left_s(self) -> float:
        return self._ends - time.monotonic()

    def run(self, plan: Plan, seeds: Sequence[int], *, audit: bool) -> list[Record]:
        """Draws of a plan, and the audits of it, in one run and in random order: nothing tells a method which draw is
        which. Draws for which there is no time are missing among the records."""
        from harness.plan import Request

        left = self.left_s
        if left <= 0:
            return []
        drawn = [(plan.task, seed) for seed in seeds]
        drawn += [(audited(plan.task), seed) for seed in secret(1)] if audit else []
        self._rng.shuffle(drawn)
        tasks = {task.name: task for task, _ in drawn}
        claimed = list(plan.claimed.values())
        gpu = not self._boxed and any(record.device == "cuda" for record in claimed)  # a box has none
        # a claim of a long time buys none: a cell is stopped, at the latest, when the budget is over
        timeout_s = min(left, max(60.0, 3 * max(record.cost.wall_s for record in claimed)))
        options = Options(jobs=1, force=True, search=False, budget_s=left, boxed=self._boxed, timeout_s=timeout_s)
        request = Request(
            list(tasks.values()), {name: [plan.row] for name in tasks}, "full", "", [seed for _, seed in drawn],
            "auto" if gpu else "cpu", min(max(record.threads for record in claimed), most_threads()),
            {name: [plan.case] for name in tasks},
        )  # fmt: skip
        runner = Selected(self.store, options)
        runner.wanted = frozenset((task.name, plan.row.name, plan.case.name, seed) for task, seed in drawn)
        summary = runner.run(request)
        if summary.interrupted:
            raise KeyboardInterrupt
        return summary.records


# What came of it ------------------------------------------------------------------------------------------------------


def _of(records: Sequence[Record], plan: Plan, seeds: Sequence[int]) -> list[Record]:
    cell = plan.task.name, plan.case.name, plan.row.name
    answers = (r for r in records if r.kind == "cell" and r.seed in seeds)
    return [r for r in answers if (r.task.name, r.case.name, r.baseline.name) == cell]


_SLOW = ("timeout", "oom")


def _gone(found: Verification, name: str, plan: Plan, seeds: Sequence[int], made: Sequence[Record]) -> bool:
    """Whether draws of a cell that was answered, it is claimed, are not answered here; say so.

    A method that declines a draw, or fails on it, is refused: who answers the public draws alone has learned them. Only
    where all draws of the cell were skipped, submitted and fresh, is it a package that is missing here. What was too
    slow, or not reached, says nothing, and leaves all unverified.
    """
    records = _of(made, plan, seeds)
    every = _of(made, plan, [plan.again, *plan.fresh])
    missing_here = all(r.status == "skipped" for r in every) or all(_needs_gpu(r) for r in every)
    bad = [r for r in records if r.status not in ("ok", *_SLOW)]
    said = f"{plan.label}: {{}} on {{}} of {len(seeds)} {'fresh draws' if name == 'fresh draws' else 'submitted draws'}"
    if bad and missing_here:
        found.unfinished(name, f"{plan.label}: {bad[0].status}: {bad[0].reason}")
    elif bad:
        found.add(name, "failed", f"{said.format(bad[0].status, len(bad))}: {bad[0].reason}")
    slow = [r for r in records if r.status in _SLOW]
    if slow:
        found.unfinished(name, f"{said.format(slow[0].status, len(slow))}: {slow[0].reason}")
    reached = {r.seed for r in records}
    if lost := len(set(seeds) - reached):
        found.unfinished(name, f"{said.format('not reached within the budget', lost)}; give more with --budget")
    return bool(bad or slow or lost)


def _needs_gpu(record: Record) -> bool:
    """Whether the harness, not the method, has declined: the row runs on a GPU only, and here it had none."""
    return record.status == "unsupported" and record.device == "cpu" and record.reason.endswith(" only") \
        and not record.phases  # fmt: skip


def _same_draw(found: Verification, plan: Plan, made: Sequence[Record]) -> bool:
    """Whether the submitted draw came to the same."""
    name, claimed = "same draw", plan.claimed[plan.again]
    if _gone(found, name, plan, [plan.again], made):
        return False
    new = _of(made, plan, [plan.again])[0]
    same_machine = (new.provenance.fingerprint, new.device, new.threads) \
        == (claimed.provenance.fingerprint, claimed.device, claimed.threads)  # fmt: skip
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
) -> set[tuple[str, str, str]]:
    """The cells whose claims fresh draws bear out, every one of which was answered."""
    name = "fresh draws"
    compared = {one.claim.name for one in tested}
    unanswered: set[str] = set()
    for plan in plans:
        if not plan.fresh:
            found.add(name, "not done", f"{plan.label}: its data are the same in every draw")
        elif _gone(found, name, plan, plan.fresh, made):
            unanswered.add(plan.label)
        elif plan.label not in compared:
            found.unfinished(name, f"{plan.label}: it has no main score")
    vouched: set[tuple[str, str, str]] = set()
    cells = {plan.label: plan.cell for plan in plans}
    for one in tested:
        said = f"{one.claim.name}: {one.sentence()}"
        if one.refused:
            found.add(name, "failed", said)
        elif one.claim.name in unanswered:
            continue
        elif one.power < ENOUGH:
            found.add(name, "noted", f"{said}: too few to vouch for it; claim more draws")
        else:
            found.add(name, "passed", said)
            vouched.add(cells[one.claim.name])
    return vouched


def _audits(found: Verification, plan: Plan, made: Sequence[Record], evidence: Callable[[Record], Evidence]) -> None:
    """What the audits of a plan came to. A claim of timed questions needs audits of them."""
    name = audited(plan.task).name
    records = [r for r in made if r.kind == "cell" and (r.task.name, r.case.name) == (name, plan.case.name)
               and r.baseline.name == plan.row.name]  # fmt: skip
    for record in records[:1]:
        if record.status in _SLOW:
            found.unfinished("audits", f"{plan.label}: {record.status}: {record.reason}")
        elif record.status != "ok":
            again = {r.status for r in _of(made, plan, [plan.again, *plan.fresh])}
            if again == {record.status} and found.incomplete:  # it runs nowhere here, which is said already
                found.add("audits", "not done", f"{plan.label}: {record.status}: {record.reason}")
            else:
                found.add("audits", "failed", f"{plan.label}: {record.status}: {record.reason}")
        else:
            items, walls = evidence(record).items, {p.name: (p.items, p.wall_ns) for p in record.phases}
            streams = timed_streams(plan.task.name, plan.case.name, plan.claimed.values())
            for audit in [*required(audits_of(items), streams), *unmeasured(items, walls)]:
                found.add(audit.name, audit.verdict, f"{plan.label}, {audit.evidence}")
    if not records:
        found.unfinished("audits", f"{plan.label}: not reached within the budget; give more with --budget")
