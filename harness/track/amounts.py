"""Numbers of the history as people read them: with units, as changes, and by what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

from harness.track.findings import Finding

Kind = Literal["broken", "less accurate", "slower", "larger"]
_KINDS: dict[str, Kind] = {"status": "broken", "score": "less accurate", "latency": "slower", "time": "slower",
                           "memory": "larger"}  # fmt: skip
_STEPS = {"ns": (("ns", 1.0), ("\u00b5s", 1e3), ("ms", 1e6), ("s", 1e9)),
          "bytes": (("B", 1.0), ("kB", 1e3), ("MB", 1e6), ("GB", 1e9))}  # fmt: skip


MIN_PHASE_NS = 1e6
"""A phase under 1 ms is start-up noise of the clock and the scheduler, and no cost that anybody has."""
MIN_DELTA_BYTES = 1 << 20
"""Under 1 MiB the allocator's own steps decide what a row needed beyond its libraries; `memory/peak` holds it too."""


def too_small(metric: str, values: Iterable[float]) -> bool:
    """Whether a cost is so small on all sides that it is not judged."""
    least = MIN_PHASE_NS if metric.startswith("time/") else MIN_DELTA_BYTES if metric == "memory/delta" else 0.0
    return max(values) < least


def kind_of(metric: str) -> Kind:
    """What is wrong if it gets worse."""
    return _KINDS.get(metric.partition("/")[0], "slower")


def is_cost(metric: str) -> bool:
    """Whether changes of it are told as ratios; scores are told as differences."""
    return kind_of(metric) in ("slower", "larger")


def shown(value: float | None, unit: str) -> str:
    """Three digits, in the unit that fits."""
    if value is None:
        return "-"
    if unit not in _STEPS:
        return f"{value:.4g}" + (f" {unit}" if unit else "")
    name, size = next(((n, s) for n, s in reversed(_STEPS[unit]) if abs(value) >= s), _STEPS[unit][0])
    digits = value / size
    return f"{digits:,.0f} {name}" if abs(digits) >= 1000 else f"{digits:.3g} {name}"


def ratio(value: float) -> str:
    """Of two costs: `+21 %`, and from the double on `x 3.1`."""
    if not value < float("inf"):
        return "\u2026"
    return f"\u00d7{value:.3g}" if value >= 2 else f"{(value - 1) * 100:+.3g} %" if abs(value - 1) >= 5e-5 else "0 %"


def change_of(finding: Finding) -> str:
    """`+21 % [+18 %, +24 %]` from re-runs; without them, from the night's value alone."""
    if finding.metric == "status":
        return "no longer answers"
    if is_cost(finding.metric):
        if finding.effect is not None:
            return ratio(finding.effect) + _ends(finding, ratio)
        return ratio(finding.value / finding.before) if finding.value and finding.before else "not known"
    if finding.effect is not None:
        return difference(finding.effect) + _ends(finding, difference)
    if finding.value is None or finding.before is None:
        return "not known"
    return difference(finding.value - finding.before)


def difference(value: float) -> str:
    return f"{value:+.3g}"


def _ends(finding: Finding, say: Callable[[float], str]) -> str:
    if finding.low is None and finding.high is None:
        return ""
    low, high = ("\u2026" if end is None else say(end) for end in (finding.low, finding.high))
    return f" [{low}, {high}]"


def sure_of(finding: Finding) -> str:
    """`16 pairs of re-runs, p = 1.5e-05`."""
    if not finding.pairs and finding.p is None:
        return "not run again"
    said = f"{finding.pairs} pair{'s' * (finding.pairs != 1)} of re-runs"
    if finding.dropped:
        said += f" ({finding.dropped} more did not count: the machine's speed moved)"
    return said + (f", p = {finding.p:.2g}" if finding.p is not None else "")
