"""What stands below the tables: breaking points, and rankings of methods by cost at equal quality."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.cli.show import markdown

if TYPE_CHECKING:
    from harness.record import Record
    from harness.table import Place
    from harness.task import BreakingPoint, Ranking


def print_findings(records: Sequence[Record], form: str = "table", baseline: str = "") -> None:
    """Print what the records show over more than one cell; `baseline` leaves only the breaking points of one row."""
    from harness.registry import load_registry
    from harness.table import breaking_points, rankings

    tasks = load_registry().tasks
    if not baseline:
        for _, ranking in rankings(records, tasks):
            lines, sentences = _ranking_lines(ranking)
            _print(f"{ranking.case}: {ranking.name}", lines, form, sentences)
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


def _ranking_lines(ranking: Ranking) -> tuple[list[list[str]], list[str]]:
    """The table of a ranking, and sentences below it: who is first, and who has no place."""
    from harness.table import places

    lines = [["rank", "method", f"{ranking.unit} [95 % over processes]".strip(), "setting"]]
    found = places(ranking)
    for place in found:
        if place.value is None:
            continue
        ranks = "-" if place.ranks is None else str(place.ranks[0])
        if place.ranks and place.ranks[0] != place.ranks[1]:
            ranks += f"-{place.ranks[1]}"
        value = _number(place.value)
        if place.interval and place.interval[0] < place.interval[1]:
            value += f" [{_number(place.interval[0])}, {_number(place.interval[1])}]"
        lines.append([ranks, place.method, value, place.setting])
    return lines, _sentences(found)


def _sentences(found: Sequence[Place]) -> list[str]:
    ranked = [place for place in found if place.ranks is not None]
    sentences = []
    if len(ranked) > 1:
        equals = [p.method for p in ranked[1:] if p.ranks and p.ranks[0] == 1]
        also = f"; {', '.join(equals)} cannot be told from it here" if equals else ", ahead of all others"
        sentences.append(f"first: {ranked[0].method}{also}")
    never = [f"{place.method} ({place.why})" for place in found if place.value is None]
    return sentences + ([f"without a place: {', '.join(never)}"] if never else [])


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _print(title: str, lines: Sequence[Sequence[str]], form: str, sentences: Sequence[str] = ()) -> None:
    if form == "md":
        print(f"### {title}\n\n{markdown(lines)}\n")
        print("".join(f"{sentence}.\n\n" for sentence in sentences), end="")
        return
    print(f"\n{title}")
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    for line in lines:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())
    for sentence in sentences:
        print(f"  {sentence}")
