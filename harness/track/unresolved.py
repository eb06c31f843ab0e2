"""Which earlier regressions still show, and what weighs most."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from harness.track.amounts import Kind, change_of, is_cost, kind_of
from harness.track.findings import Check, Finding
from harness.track.history import Cell, Night, SeriesKey, Value, _Part

FORGOTTEN = 30
"""Nights without a measurement, after which nothing is said of a series any more: it was renamed, removed, archived."""
GRAVITY: dict[Kind, int] = {"broken": 0, "less accurate": 1, "slower": 2, "larger": 2}


class Open(_Part):
    """An earlier regression that still shows."""

    night: str
    """When it was found."""
    finding: Finding
    change: str


def open_findings(
    nights: Sequence[Night], checks: Mapping[str, Check], without: Iterable[SeriesKey] = ()
) -> list[Open]:
    """Regressions up to the last of these nights that still show: what became worse was last nearer to what it became
    than to what it was. Of several of one series, the first that still shows. What has not been measured for
    `FORGOTTEN` nights is none."""
    last = {cell.work: cell for night in nights[-FORGOTTEN:] for cell in night.cells}
    skipped = set(without)
    found: dict[SeriesKey, Open] = {}
    until = nights[-1].id if nights else ""
    for check in (checks[name] for name in sorted(checks) if name <= until):  # names begin with the time
        for finding in check.findings:
            key = finding.key
            if finding.verdict != "regressed" or key in skipped or key in found:
                continue
            if _still(finding, last.get(key.work)):
                found[key] = Open(night=check.night, finding=finding, change=change_of(finding))
    return sorted(found.values(), key=lambda one: (badness(one.finding), str(one.finding.key)))


def _still(finding: Finding, cell: Cell | None) -> bool:
    if cell is None:
        return False
    if finding.metric == "status":
        return cell.status != "ok"
    now: Value | None = cell.values.get(finding.metric)
    if cell.status != "ok" or now is None or finding.before is None or finding.effect is None:
        return True
    # what the re-runs said, not the night's own value: that was picked for being far off
    became = finding.before * finding.effect if is_cost(finding.metric) else finding.before + finding.effect
    return abs(now.value - became) <= abs(now.value - finding.before)


def badness(finding: Finding) -> tuple[int, float]:
    """What no longer answers first, then scores, then costs; within them by the size of the change."""
    kind = kind_of(finding.metric)
    effect = finding.effect
    if kind in ("slower", "larger"):
        if effect is None and finding.value and finding.before:
            effect = finding.value / finding.before
        size = abs(math.log(effect)) if effect and effect > 0 else 0.0
    else:
        if effect is None:
            effect = (finding.value or 0.0) - (finding.before or 0.0)
        size = abs(effect) / (abs(finding.before or 0.0) or 1.0)
    return GRAVITY[kind], -size
