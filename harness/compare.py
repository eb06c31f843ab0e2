"""Two rows, case by case: how far apart, how sure, and what that comes to in words.

The unit is the draw or the training seed: differences are paired over those that both have. Costs are told as ratios,
and only where both were measured on one machine class; of one run, cells were interleaved, which is better. What else
makes ratios doubtful (a machine whose speed moved, another number of threads) is said beside them.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from harness.record import Record
from harness.stats import MIN_UNITS, Interval, paired_t_pvalue, t_interval
from harness.table import Measured, Row, measured_rows


@dataclass(frozen=True)
class Ratio:
    """What `b` costs, as a multiple of what `a` does."""

    name: str
    value: float
    interval: tuple[float, float] | None
    """95 % at least: from the ends of both rows' own intervals, where both have five processes."""


@dataclass(frozen=True)
class Comparison:
    """Two rows on one case."""

    task: str
    case: str
    a: Row
    b: Row
    score: str
    difference: float | None
    """Mean of b - a over shared draws; None where one has no score."""
    interval: Interval | None
    shared: int
    verdict: str
    ratios: tuple[Ratio, ...]
    why_no_ratios: str = ""
    marks: tuple[str, ...] = ()
    """What makes the ratios doubtful."""


class _Side(NamedTuple):
    """A row on a case, and the number of threads of the record that its costs are of."""

    measured: Measured
    threads: int


def compare(a: Iterable[Record], b: Iterable[Record]) -> list[Comparison]:
    """Comparisons on every case, version and device that both have answered, in order of task and case. Where they have
    no version of a task in common, its cases are listed with that as the verdict, and no numbers."""
    first, second = _by_case(a), _by_case(b)
    both = first.keys() & second.keys()
    old, new = _newest(first), _newest(second)
    compared = {(task, case, device) for task, _, case, device in both}
    apart = {at: (old[at], new[at]) for at in old.keys() & new.keys() if at not in compared}
    found = [_compared(first[at], second[at]) for at in both]
    found += [_of_two_versions(one.measured.row, other.measured.row) for one, other in apart.values()]
    return sorted(found, key=lambda c: (c.task, c.a.task_version, c.case, c.a.device))


def _by_case(records: Iterable[Record]) -> Mapping[tuple[str, int, str, str], _Side]:
    """Of one row, or of one row of each name."""
    by_id = {record.id: record for record in records}
    sides = {}
    for measured in measured_rows(by_id.values()):
        row = measured.row
        # as the row's own costs: those of the newest record
        newest = max((by_id[i] for i in row.records), key=lambda r: (r.provenance.started, r.id))
        sides[row.task, row.task_version, row.case, row.device] = _Side(measured, newest.threads)
    return sides


def _newest(sides: Mapping[tuple[str, int, str, str], _Side]) -> dict[tuple[str, str, str], _Side]:
    """The newest version of each task, case and device."""
    return {(task, case, device): sides[task, version, case, device] for task, version, case, device in sorted(sides)}


def _compared(one: _Side, other: _Side) -> Comparison:
    a, b = one.measured, other.measured
    shared = sorted(a.units.keys() & b.units.keys())
    differences = [b.units[u] - a.units[u] for u in shared]
    interval = t_interval(differences)
    difference = statistics.fmean(differences) if differences else None
    same_machine = a.row.machine == b.row.machine
    ratios = tuple(_ratios(a.row, b.row)) if same_machine else ()
    return Comparison(
        a.row.task, a.row.case, a.row, b.row, a.row.main_score, difference, interval, len(shared),
        _verdict(a.row, b.row, differences, interval, max(a.resolution, b.resolution)), ratios,
        "" if same_machine else "measured on machines of two classes, whose costs do not compare",
        tuple(_marks(one, other)) if ratios else (),
    )  # fmt: skip


def _of_two_versions(a: Row, b: Row) -> Comparison:
    old, new = sorted((a.task_version, b.task_version))
    verdict = (
        f"not compared: version {a.task_version} of the task against version {b.task_version}, whose scores mean other "
        f"things; run the one of version {old} again"
    )
    why = f"measured with versions {old} and {new} of the task, whose costs do not compare"
    return Comparison(a.task, a.case, a, b, a.main_score, None, None, 0, verdict, (), why)


def _marks(a: _Side, b: _Side) -> Iterable[str]:
    """What a reader of the ratios must know."""
    rows = a.measured.row, b.measured.row
    moved = [row.canary_moved for row in rows]
    if all(moved):
        yield "the machine's speed moved during both"
    elif any(moved):
        same = rows[0].baseline == rows[1].baseline
        name = ("A", "B")[moved.index(True)] if same else rows[moved.index(True)].baseline
        yield f"the machine's speed moved during {name}"
    if a.threads != b.threads:
        yield f"{b.threads} thread{'s' * (b.threads != 1)} against {a.threads}"


def _verdict(a: Row, b: Row, differences: list[float], interval: Interval | None, resolution: float) -> str:
    for row in (a, b):
        if row.status != "ok":
            return f"{row.baseline} did not answer: {row.status}"
        if row.unranked:
            return f"{row.baseline} is not ranked: {row.unranked}"
    if not differences:
        return "no draw in common: run both with the same --seeds"
    n = len(differences)
    if n < MIN_UNITS:
        return f"not resolved: {n} draw{'s' * (n > 1)} in common, {MIN_UNITS} needed (--seeds {MIN_UNITS})"
    if paired_t_pvalue(differences, resolution) >= 0.05:
        return "no difference shown" + (
            f"; it lies within [{interval.low:+.3g}, {interval.high:+.3g}]" if interval else ""
        )
    better = (statistics.fmean(differences) > 0) == a.higher_is_better
    return f"{b.baseline if better else a.baseline} is better"


def _ratios(a: Row, b: Row) -> Iterable[Ratio]:
    if a.latency_ns and b.latency_ns:
        interval = None
        if a.latency_interval_ns and b.latency_interval_ns:
            low, high = a.latency_interval_ns, b.latency_interval_ns
            interval = high[0] / low[1], high[1] / low[0]
        yield Ratio("latency", b.latency_ns / a.latency_ns, interval)
    for name, of_a, of_b in (
        ("build", a.build_s, b.build_s),
        ("peak memory", a.peak_rss_bytes, b.peak_rss_bytes),
        ("memory needed", a.delta_rss_bytes, b.delta_rss_bytes),
        ("GPU memory", a.gpu_peak_bytes, b.gpu_peak_bytes),
    ):
        if of_a and of_b and math.isfinite(of_b / of_a):
            yield Ratio(name, of_b / of_a, None)
