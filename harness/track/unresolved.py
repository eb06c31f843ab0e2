"""Which earlier regressions still show, and what weighs most."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from harness.track.amounts import Kind, change_of, kind_of
from harness.track.findings import Check, Finding
from harness.track.history import Cell, Night, SeriesKey, Value, Work, _Part

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
    """Regressions up to the last of these nights that still show: what became worse was not cleared since, and was last
    nearer to what it became than to what it was."""
    newest: dict[SeriesKey, tuple[str, Finding]] = {}
    last_night = nights[-1].id if nights else ""
    for night in sorted(name for name in checks if name <= last_night):  # names begin with the time
        for finding in checks[night].findings:
            if finding.verdict == "regressed":
                newest[finding.key] = (night, finding)
            elif finding.verdict == "cleared":
                newest.pop(finding.key, None)
    last = _last_cells(nights)
    skipped = set(without)
    found = [
        Open(night=night, finding=finding, change=change_of(finding))
        for key, (night, finding) in newest.items()
        if key not in skipped and _still(finding, last.get(key.work))
    ]
    return sorted(found, key=lambda one: (badness(one.finding), str(one.finding.key)))


def _last_cells(nights: Iterable[Night]) -> dict[Work, Cell]:
    return {cell.work: cell for night in nights for cell in night.cells}


def _still(finding: Finding, cell: Cell | None) -> bool:
    if cell is None:
        return False
    if finding.metric == "status":
        return cell.status != "ok"
    now: Value | None = cell.values.get(finding.metric)
    if cell.status != "ok" or now is None or finding.value is None or finding.before is None:
        return True
    return abs(now.value - finding.value) <= abs(now.value - finding.before)


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
