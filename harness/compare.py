"""Two rows, case by case: how far apart, how sure, and what that comes to in words.

The unit is the draw or the training seed: differences are paired over those that both have. Costs are told as ratios,
and only where both were measured on one machine class; of one run, cells were interleaved, which is better.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

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


def compare(a: Iterable[Record], b: Iterable[Record]) -> list[Comparison]:
    """Comparisons on every case, version and device that both have answered, in order of task and case."""
    first, second = _by_case(a), _by_case(b)
    return [_compared(first[at], second[at]) for at in sorted(first.keys() & second.keys())]


def _by_case(records: Iterable[Record]) -> Mapping[tuple[str, int, str, str], Measured]:
    """Of one row, or of one row of each name."""
    return {(m.row.task, m.row.task_version, m.row.case, m.row.device): m for m in measured_rows(records)}


def _compared(a: Measured, b: Measured) -> Comparison:
    shared = sorted(a.units.keys() & b.units.keys())
    differences = [b.units[u] - a.units[u] for u in shared]
    interval = t_interval(differences)
    difference = statistics.fmean(differences) if differences else None
    same_machine = a.row.machine == b.row.machine
    ratios = tuple(_ratios(a.row, b.row)) if same_machine else ()
    return Comparison(
        a.row.task, a.row.case, a.row, b.row, a.row.main_score, difference, interval, len(shared),
        _verdict(a.row, b.row, differences, interval), ratios,
        "" if same_machine else "measured on machines of two classes, whose costs do not compare",
    )  # fmt: skip


def _verdict(a: Row, b: Row, differences: list[float], interval: Interval | None) -> str:
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
    if paired_t_pvalue(differences) >= 0.05:
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
