"""What stands below the tables: rankings, claims put to the test, breaking points, and what that comes to in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.cli.forms import markdown
from harness.text import cell, one_line, plain

if TYPE_CHECKING:
    from harness.findings import ItemsOf, Place, Tested
    from harness.record import Record
    from harness.task import BreakingPoint, Chart, Ranking


def print_findings(
    records: Sequence[Record], items_of: ItemsOf, form: str = "table", baseline: str = "",
    beside: Sequence[Record] = (),
) -> None:  # fmt: skip
    """Print what the records show over more than one cell; `baseline` leaves only the breaking points of one row;
    `beside` are published records that charts show as well."""
    from harness.findings import findings_of
    from harness.registry import load_registry

    found = findings_of(records, load_registry().tasks, beside)
    for of_task in found if not baseline else ():
        for chart in of_task.charts():
            if chart.lines:
                _print(chart.title, _curve_lines(chart), form)
        for ranking in of_task.rankings():
            lines, sentences = _ranking_lines(ranking)
            _print(f"{ranking.case}: {ranking.name}", lines, form, sentences)
        if tested := of_task.tested(items_of):
            _print("Published claims, on these data", _claim_lines(tested), form)
    points = [(f.spec.name, row, p) for f in found for row, p in f.breaking_points() if baseline in ("", row)]
    if points:
        _print("Breaking points", _point_lines(points), form)
    sentences = [sentence for of_task in found for sentence in of_task.advice()] if not baseline else []
    if sentences:
        print("\nIn words" if form == "table" else "### In words\n")
        print("\n".join(f"  {plain(s)}" if form == "table" else f"- {cell(s)}" for s in sentences))


def _curve_lines(chart: Chart) -> list[list[str]]:
    """A line a row, a column for every x that most rows have, means over draws."""
    from harness.charts import means

    curves = means(chart)
    counts = Counter(x for curve in curves.values() for x in curve)
    columns = sorted(x for x, n in counts.items() if n * 4 >= len(curves))
    lines = [["baseline", *(f"{x:g}" for x in columns), "draws"]]
    for row, curve in curves.items():
        draws = len({p.seed for p in chart.points if p.row == row})
        lines.append([row, *(f"{curve[x]:.2f}" if x in curve else "" for x in columns), str(draws)])
    return lines


def _claim_lines(tested: Sequence[Tested]) -> list[list[str]]:
    """Each claim with the paired difference of its two rows, in points of the reference's score."""
    lines = [["case", "rows", "difference, % of the reference [95 %, paired]", "claim"]]
    for one in tested:
        low, high = (100 * end for end in one.interval)
        difference = f"{100 * one.difference:+.2f} [{low:+.2f}, {high:+.2f}]"
        lines.append([one.case, f"{one.claim.better} - {one.claim.than}", difference, one.claim.says])
    return lines


def _point_lines(points: Sequence[tuple[str, str, BreakingPoint]]) -> list[list[str]]:
    lines = [["task", "baseline", "breaking point", "found", "95 %", "beside"]]
    for task, name, point in points:
        low, high = ("..." if end is None else f"{end:.4g}" for end in point.interval)
        interval = "-" if point.interval == (None, None) else f"[{low}, {high}]"
        lines.append([task, name, point.name, point.text, interval, point.beside])
    return lines


def _ranking_lines(ranking: Ranking) -> tuple[list[list[str]], list[str]]:
    """The table of a ranking, and sentences below it: who is first, and who has no place."""
    from harness.findings import places

    heading = f"{ranking.unit} [95 % over processes]".strip() if ranking.values == "measured" else ranking.unit
    lines = [["rank", "method", heading, "setting"]]
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
        print(f"### {cell(title)}\n\n{markdown(lines)}\n")
        print("".join(f"{cell(sentence)}.\n\n" for sentence in sentences), end="")
        return
    print(f"\n{plain(title)}")
    lines = [[one_line(text) for text in line] for line in lines]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    for line in lines:
        print("  ".join(f"{text:<{width}}" for text, width in zip(line, widths, strict=True)).rstrip())
    for sentence in sentences:
        print(f"  {plain(sentence)}")
