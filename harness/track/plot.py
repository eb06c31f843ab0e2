"""A series over nights: as a line of blocks on a terminal, as a small drawing, and as the evidence for a finding. Plain
SVG, coloured by the site's classes, so that it needs no script.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from harness.board.site.escaping import html
from harness.track.amounts import is_cost, shown
from harness.track.report import Told, short

_BLOCKS = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
_QUIET = {True: 0.2, False: 0.05}
"""The axis of a cost, or of a score, spans at least this share of the median: noise must not look like a change."""
_SMALL_WIDTH, _SMALL_HEIGHT = 120, 30
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 640, 190, 70, 86, 14, 34


class Dot(NamedTuple):
    """One night of a small drawing."""

    x: float
    """Where the night stands among all that are drawn, from 0 to 1."""
    y: float
    context: str


def sparkline(values: Sequence[float], metric: str) -> str:
    """A block a value, from the lowest to the highest; values that differ by little look alike."""
    if not values:
        return ""
    low, high = _span(values, metric)
    return "".join(_BLOCKS[min(7, int((value - low) / (high - low) * 8))] for value in values)


def _span(values: Iterable[float], metric: str) -> tuple[float, float]:
    """The axis: what there is, and no less than `_QUIET` of the median."""
    found = list(values)
    low, high, middle = min(found), max(found), statistics.median(found)
    missing = max(_QUIET[is_cost(metric)] * abs(middle), 1e-12) - (high - low)
    return (low - missing / 2, high + missing / 2) if missing > 0 else (low, high)


def small(dots: Sequence[Dot], metric: str, says: str, bad: bool = False) -> str:
    """A drawing without axes, told by `says`. The line is broken where the context changed."""
    low, high = _span([dot.y for dot in dots], metric)

    def at(dot: Dot) -> str:
        y = 3 + (high - dot.y) / (high - low) * (_SMALL_HEIGHT - 6)
        return f"{3 + dot.x * (_SMALL_WIDTH - 6):.0f} {y:.0f}"

    lines = ""
    for _, same in groupby(dots, key=lambda dot: dot.context):
        points = [at(dot) for dot in same]
        lines += f"M{points[0]}" + ("L" + " ".join(points[1:]) if len(points) > 1 else "h.1")
    x, _, y = at(dots[-1]).partition(" ")
    return (
        f'<svg class="spark{" bad" if bad else ""}" viewBox="0 0 {_SMALL_WIDTH} {_SMALL_HEIGHT}" role="img" '
        f'aria-label="{html(says)}"><path d="{lines}"/><circle cx="{x}" cy="{y}" r="2.5"/></svg>'
    )


def evidence(told: Told) -> str:
    """The past of a finding by night, its median, the limit that tonight's value passed, where the commits lie between
    which it changed, and beside it what the re-runs say; empty without a past."""
    past, finding = told.past, told.finding
    if len(past) < 2:
        return ""
    again = _rerun(told)
    marks = [v for v in (told.limit, *again) if v is not None]
    low, high = _span([p.value for p in past] + marks, finding.metric)
    inner = _WIDTH - _LEFT - _RIGHT

    def x(index: float) -> float:
        return _LEFT + index / (len(past) - 1) * inner

    def y(value: float) -> float:
        return _TOP + (high - value) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    drawn = []
    if told.middle is not None:
        drawn.append(f'<path class="middle" d="M{_LEFT} {y(told.middle):.1f}h{inner}"/>')
    if told.limit is not None:
        drawn.append(f'<path class="line" d="M{_LEFT} {y(told.limit):.1f}h{inner}"/>')
        drawn.append(_text(_LEFT + 4, y(told.limit) - 4, "limit", "start"))
    if (step := _step(told)) is not None:
        drawn.append(f'<path class="step" d="M{x(step):.1f} {_TOP}V{_HEIGHT - _BOTTOM}"/>')
    for same, points in groupby(enumerate(past), key=lambda p: p[1].same):
        spots = [(x(i), y(p.value)) for i, p in points]
        path = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in spots)
        drawn.append(f'<path class="{"past" if same else "other"}" d="{path}"/>' if len(spots) > 1 else "")
    for index, point in enumerate(past):
        kind = "now" if index == len(past) - 1 else "dot" if point.same else "dot other"
        tip = f"{point.night[:8]} {short(point.commit)}: {shown(point.value, finding.unit)}"
        drawn.append(
            f'<circle class="{kind}" cx="{x(index):.1f}" cy="{y(point.value):.1f}" r="{4 if kind == "now" else 2.4}">'
            f"<title>{html(tip)}</title></circle>"
        )
    drawn.append(_interval(again, y))
    drawn.append(f'<path class="axis" d="M{_LEFT} {_TOP}V{_HEIGHT - _BOTTOM}H{_LEFT + inner}"/>')
    drawn += [_text(_LEFT - 6, y(v) + 4, shown(v, finding.unit), "end") for v in (low, high)]
    drawn.append(_text(_LEFT, _HEIGHT - _BOTTOM + 16, _day(past[0].night), "start"))
    drawn.append(_text(_LEFT + inner, _HEIGHT - _BOTTOM + 16, _day(past[-1].night), "end"))
    return (
        f'<figure class="evidence"><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{html(_says(told))}">'
        f"{''.join(drawn)}</svg><figcaption>{html(_says(told))}.</figcaption></figure>"
    )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{html(text)}</text>'


def _interval(again: tuple[float | None, float | None, float | None], y: Callable[[float], float]) -> str:
    """The re-runs' interval beside the nights: where the value would lie if only what they show had changed."""
    effect, low, high = again
    if effect is None:
        return ""
    x = _WIDTH - _RIGHT + 30
    bar = f'<path class="again" d="M{x} {y(low):.1f}V{y(high):.1f}"/>' if low is not None and high is not None else ""
    return f'{bar}<circle class="again" cx="{x}" cy="{y(effect):.1f}" r="4"/>' + _text(
        x, _HEIGHT - _BOTTOM + 16, "re-runs", "middle"
    )


def _rerun(told: Told) -> tuple[float | None, float | None, float | None]:
    """Effect and interval of the re-runs, put on what the series was before."""
    finding, start = told.finding, told.finding.before if told.finding.before is not None else told.middle
    if finding.effect is None or start is None:
        return None, None, None

    def put(value: float | None) -> float | None:
        return None if value is None else start * value if is_cost(finding.metric) else start + value

    return put(finding.effect), put(finding.low), put(finding.high)


def _step(told: Told) -> float | None:
    """Between which nights it changed, as a place between two indices."""
    bad = told.finding.bad
    index = next((i for i, p in enumerate(told.past) if bad and p.commit.startswith(bad)), len(told.past) - 1)
    return index - 0.5 if index > 0 else None


def _says(told: Told) -> str:
    finding, past = told.finding, told.past
    others = sum(not p.same for p in past)
    says = f"{len(past)} nights of {finding.metric}, now {shown(past[-1].value, finding.unit)}"
    if told.middle is not None:
        says += f", median before {shown(told.middle, finding.unit)}"
    if told.limit is not None:
        says += f", limit {shown(told.limit, finding.unit)}"
    says += f"; re-runs: {told.change}" if finding.effect is not None else ""
    return says + (f"; {others} nights in another context, in grey" if others else "")


def _day(night: str) -> str:
    return f"{night[:4]}-{night[4:6]}-{night[6:8]}"
