"""What records show over more than one cell: limits, rankings, claims put to the test, charts, and what to choose."""

from __future__ import annotations

import importlib
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.paired import paired_ratio
from harness.stats import MIN_PROCESSES, latency_interval
from harness.table import outcome_of
from harness.task import Baseline, BreakingPoint, Chart, Claim, Outcome, Ranking, Task

if TYPE_CHECKING:
    from harness.record import Record
    from harness.registry import TaskSpec

ItemsOf = Callable[["Record"], Mapping[str, NDArray[np.float64]]]
"""Per-item scores of a record, by name."""
REFERENCE = "reference"
"""The name of items that others are told as a share of."""


@dataclass(frozen=True)
class Tested:
    """A claim on one case: the difference of two rows over the same items, as a share of the reference's mean."""

    case: str
    claim: Claim
    difference: float
    interval: tuple[float, float]
    """95 %, by a paired bootstrap over the items."""
    items: int


@dataclass(frozen=True)
class Findings:
    """Of the records of one task; imports the task's module (not the baselines')."""

    spec: TaskSpec
    records: Sequence[Record]
    beside: Sequence[Record] = ()
    """Published ones, drawn into charts: scores compare across machines."""

    @cached_property
    def task(self) -> Task[Baseline]:
        made: Task[Baseline] = getattr(importlib.import_module(self.spec.module), self.spec.class_name)()
        return made

    @cached_property
    def outcomes(self) -> list[Outcome]:
        """Of the newest machine, since costs compare within one only; oldest first: of several records of one process
        the last is the one that counts."""
        dated = sorted(self.records, key=lambda r: (r.provenance.started, r.id))
        return [outcome_of(r, self.spec) for r in dated if r.provenance.fingerprint == self.machine]

    @cached_property
    def machine(self) -> str:
        """Fingerprint of the machine of the newest record."""
        return max(self.records, key=lambda r: (r.provenance.started, r.id)).provenance.fingerprint

    def rankings(self) -> list[Ranking]:
        return list(self.task.rankings(self.outcomes))

    def charts(self) -> list[Chart]:
        """Of the records, and of those beside them under names that say so."""
        known = [outcome_of(r, self.spec) for r in self.beside]
        named = [replace(o, row=f"{o.row} (published)") for o in known]
        return list(self.task.charts([*self.outcomes, *named]))

    def advice(self) -> list[str]:
        return list(self.task.advice(self.outcomes))

    def breaking_points(self) -> list[tuple[str, BreakingPoint]]:
        """(row, limit) for every row whose records show one."""
        rows: dict[str, list[Outcome]] = {}
        for record in self.records:
            if record.repeat == 0:
                rows.setdefault(record.baseline.name, []).append(outcome_of(record, self.spec))
        return [(row, point) for row, of in sorted(rows.items()) for point in self.task.breaking_points(of)]

    def tested(self, items_of: ItemsOf) -> list[Tested]:
        """The task's claims, on each case that both rows have answered, over the draws that they share."""
        newest: dict[tuple[str, str, int], Record] = {}
        for record in sorted(self.records, key=lambda r: (r.provenance.started, r.id)):
            if record.status == "ok" and record.repeat == 0 and record.provenance.fingerprint == self.machine:
                newest[record.case.name, record.baseline.name, record.seed] = record
        found = []
        for claim in self.task.claims:
            for case in dict.fromkeys(case for case, row, _ in newest if row == claim.better):
                pairs = [(newest[c, row, seed], newest[c, claim.than, seed]) for c, row, seed in newest
                         if c == case and row == claim.better and (c, claim.than, seed) in newest]  # fmt: skip
                tested = _tested(case, claim, [(items_of(a), items_of(b)) for a, b in pairs])
                found += [tested] if tested else []
        return found


def findings_of(
    records: Iterable[Record], tasks: Mapping[str, TaskSpec], beside: Iterable[Record] = ()
) -> list[Findings]:
    """By task; preparations and other versions of a task are left out."""
    groups, known = _by_task(records, tasks), _by_task(beside, tasks)
    return [Findings(tasks[name], group, known.get(name, ())) for name, group in sorted(groups.items())]


def _by_task(records: Iterable[Record], tasks: Mapping[str, TaskSpec]) -> dict[str, list[Record]]:
    """Of each row's case and the searches within it, what the newest source and version of the method has answered:
    a search goes on from earlier lengths, and those of another method are not its own. Rows that ran on several devices
    are told apart by name."""
    groups: dict[str, list[Record]] = {}
    newest: dict[tuple[str, ...], tuple[str, str, str]] = {}
    devices: dict[tuple[str, str], set[str]] = {}
    kept = []
    for record in records:
        spec = tasks.get(record.task.name)
        if spec and record.task.version == spec.version and record.kind != "prepare":
            kept.append(record)
            made = (record.provenance.started, record.id, record.baseline.source_digest)
            newest[_searched(record)] = max(newest.get(_searched(record), made), made)
            devices.setdefault((record.task.name, record.baseline.name), set()).add(record.device)
    for record in kept:
        if record.kind != "control" and record.baseline.source_digest != newest[_searched(record)][2]:
            continue
        if len(devices[record.task.name, record.baseline.name]) > 1:
            named = record.baseline.model_copy(update={"name": f"{record.baseline.name} on {record.device}"})
            groups.setdefault(record.task.name, []).append(record.model_copy(update={"baseline": named}))
        else:
            groups.setdefault(record.task.name, []).append(record)
    return groups


def _searched(record: Record) -> tuple[str, ...]:
    case = record.case.within or record.case.name
    return record.task.name, case, record.baseline.name, record.device


Items = Mapping[str, NDArray[np.float64]]


def _tested(case: str, claim: Claim, pairs: Sequence[tuple[Items, Items]]) -> Tested | None:
    differences, references = [], []
    for better, than in pairs:
        name = next((n for n in better if n in than and n != REFERENCE and len(better[n]) == len(than[n])), None)
        if name is None or REFERENCE not in better or REFERENCE not in than:
            continue
        if not np.array_equal(better[REFERENCE], than[REFERENCE]):
            continue  # other data, or other items of them
        differences.append(better[name] - than[name])
        references.append(better[REFERENCE])
    if not differences:
        return None
    ratio = paired_ratio(np.concatenate(differences), np.concatenate(references))
    return Tested(case, claim, ratio.value, (ratio.low, ratio.high), sum(map(len, differences)))


@dataclass(frozen=True)
class Place:
    """One line of a ranking: intervals are over processes, from five of them or more; `ranks` are those that
    overlapping intervals cannot exclude."""

    method: str
    setting: str
    value: float | None
    interval: tuple[float, float] | None
    ranks: tuple[int, int] | None
    why: str


def places(ranking: Ranking) -> list[Place]:
    """The methods of a ranking, best first, those without a value last."""
    found = []
    for standing in ranking.standings:
        value = statistics.median(standing.values) if standing.values else None
        interval = _over_processes(standing.values, ranking.best)
        if ranking.values == "exact" and value is not None:
            interval = value, value
        found.append((standing, value, interval))
    sign = -1 if ranking.higher_is_better else 1
    found.sort(key=lambda f: (f[1] is None, sign * (f[1] or 0.0), f[0].method))
    ranked = [(f[0].method, f[2]) for f in found if f[2] is not None and ranking.values != "listed"]
    ranks = dict(zip([m for m, _ in ranked], _ranks([i for _, i in ranked], ranking.higher_is_better), strict=True))
    return [Place(s.method, s.setting, v, i, ranks.get(s.method) if i else None, s.why) for s, v, i in found]


def _over_processes(values: Sequence[float], best: float | None) -> tuple[float, float] | None:
    if len(values) >= MIN_PROCESSES and min(values) == max(values):
        return values[0], values[0]
    over = latency_interval(values)
    return (over.low, over.high if best is None else min(best, over.high)) if over else None


def _ranks(intervals: Sequence[tuple[float, float]], higher_is_better: bool) -> list[tuple[int, int]]:
    """From 1 + those that are surely better to all but those that are surely worse."""
    out = []
    for low, high in intervals:
        above = sum(other[1] < low for other in intervals)
        below = sum(other[0] > high for other in intervals)
        better, worse = (below, above) if higher_is_better else (above, below)
        out.append((1 + better, len(intervals) - worse))
    return out
