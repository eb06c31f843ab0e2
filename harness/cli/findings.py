"""What stands below the tables: breaking points, and rankings of methods by cost at equal quality."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from harness.cli.show import markdown

if TYPE_CHECKING:
    from harness.record import Record
    from harness.task import BreakingPoint, Ranking


def print_findings(records: Sequence[Record], form: str = "table", baseline: str = "") -> None:
    """Print what the records show over more than one cell; `baseline` leaves only the breaking points of one row."""
    from harness.registry import load_registry
    from harness.table import breaking_points, rankings

    tasks = load_registry().tasks
    if not baseline:
        for (case, unit), found in groupby(rankings(records, tasks), key=lambda r: (r[1].case, r[1].unit)):
            for _, ranking in found:
                _print(f"{case}: {ranking.name}", _ranking_lines(ranking, unit), form)
    points = [p for p in breaking_points(records, tasks) if baseline in ("", p[1])]
    if points:
        _print("Breaking points", _point_lines(points), form)


def _point_lines(points: Sequence[tuple[str, str, BreakingPoint]]) -> list[list[str]]:
    lines = [["task", "baseline", "breaking point", "found", "95 %", "beside"]]
    for task, name, point in points:
        low, high = ("..." if end is None else f"{end:.4g}" for end in point.interval)
        interval = "-" if point.interval == (None, None) else f"[{low}, {high}]"
        lines.append([task, name, point.name, point.text, interval, point.beside])
    return lines


def _ranking_lines(ranking: Ranking, unit: str) -> list[list[str]]:
    from harness.table import places

    lines = [["rank", "method", f"{unit} [95 % over processes]".strip(), "setting"]]
    for place in places(ranking):
        ranks = "-" if place.ranks is None else str(place.ranks[0])
        if place.ranks and place.ranks[0] != place.ranks[1]:
            ranks += f"-{place.ranks[1]}"
        value = "-" if place.value is None else f"{place.value:.3g}"
        if place.interval:
            value += f" [{place.interval[0]:.3g}, {place.interval[1]:.3g}]"
        lines.append([ranks, place.method, value, place.setting or place.why])
    return lines


def _print(title: str, lines: Sequence[Sequence[str]], form: str) -> None:
    if form == "md":
        print(f"### {title}\n\n{markdown(lines)}\n")
        return
    print(f"\n{title}")
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    for line in lines:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())
