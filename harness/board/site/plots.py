"""What a task's page draws: the charts that the task makes of its records, and, where it makes none, the score over
each parameter of a case or of a method that enough rows differ in."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from harness.board.board import CaseTable, Entry, TaskPage
from harness.board.site.words import CONTROLS, all_retracted
from harness.charts import means
from harness.stats import t_interval
from harness.task import Chart

BOUND = "bound"
"""The group of a chart's points that are theory or others' results: drawn as a thin line, never as one of the rows."""
MIN_XS = 3
"""A parameter is drawn from so many values of it on."""
MOST_LINES = 16
"""Of more rows the best are drawn, and the page says so."""
_NOT_SWEPT = ("seed",)
Kind = Literal["row", "control", "bound"]


@dataclass(frozen=True)
class Trace:
    """One row in a plot. `lows` and `highs` are 95 % intervals; `dots` single draws as (x, y, seed)."""

    name: str
    xs: Sequence[float | str]
    ys: Sequence[float]
    kind: Kind = "row"
    lows: Sequence[float | None] = ()
    highs: Sequence[float | None] = ()
    dots: Sequence[tuple[float, float, int | None]] = ()
    names: Sequence[str] = ()
    """Of a plot of points: the row that each is."""
    best: Sequence[bool] = ()


@dataclass(frozen=True)
class Plot:
    """One plot, to be drawn in the browser and told as a table."""

    title: str
    x: str
    y: str
    traces: Sequence[Trace]
    kind: Literal["lines", "points", "categories"] = "lines"
    log: tuple[bool, bool] = (False, False)
    """Of x and of y."""
    edge: float | None = None
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        return {
            "title": self.title, "x": self.x, "y": self.y, "kind": self.kind, "log": list(self.log), "edge": self.edge,
            "traces": [
                {k: v for k, v in {
                    "n": t.name, "k": t.kind, "x": [_short(x) for x in t.xs], "y": [_short(y) for y in t.ys],
                    "lo": [_short(v) for v in t.lows], "hi": [_short(v) for v in t.highs],
                    "d": [[_short(x), _short(y), seed] for x, y, seed in t.dots],
                    "names": list(t.names), "best": [int(b) for b in t.best],
                }.items() if v not in ([], "row")}
                for t in self.traces
            ],
        }  # fmt: skip


def _short(value: float | str | None) -> float | str | None:
    """Six digits are more than a screen shows."""
    if value is None or isinstance(value, str):
        return value
    return float(f"{value:.6g}") if math.isfinite(value) else None


def plots_of(task: TaskPage) -> list[Plot]:
    """The task's charts, the one with most lines first, and what its rows show over the choices of its cases; without
    charts, what they show over every parameter."""
    if task.charts:
        charts = [plot_of(chart) for chart in task.charts]
        fullest = min(charts, key=lambda p: -len(p.traces) if p.kind == "lines" else 0)
        choices = [p for p in _over_cases(task) if p.kind == "categories"]
        return [fullest, *(p for p in charts if p is not fullest), *sorted(choices, key=_fullest)]
    return [plot for found in (_over_methods(task), _over_cases(task)) for plot in sorted(found, key=_fullest)]


def _fullest(plot: Plot) -> int:
    return -sum(len(t.xs) for t in plot.traces)


def plot_of(chart: Chart) -> Plot:
    return _lines_of(chart) if chart.lines else _points_of(chart)


def _kind(row: str) -> Kind:
    return "control" if row.partition(" (")[0] in CONTROLS else "row"


def _lines_of(chart: Chart) -> Plot:
    traces = []
    shares = all(0 <= p.y <= 1 for p in chart.points)
    groups = {p.row: p.group for p in chart.points}
    for row, line in means(chart).items():
        own = [p for p in chart.points if p.row == row]
        over = {x: _interval([p.y for p in own if p.x == x], shares) for x in line}
        drawn = groups[row] == BOUND
        traces.append(Trace(
            row, list(line), list(line.values()), BOUND if drawn else _kind(row),  # type: ignore[arg-type]
            [o[0] for o in over.values()], [o[1] for o in over.values()],
            [] if drawn else [(p.x, p.y, p.seed) for p in own if p.seed is not None],
        ))  # fmt: skip
    xs, ys = [p.x for p in chart.points], [p.y for p in chart.points]
    log = (_is_wide(xs), not shares and _is_wide(ys))
    return _fewer(Plot(chart.title, chart.x, chart.y, traces, log=log, edge=chart.edge))


def _interval(values: Sequence[float], shares: bool) -> tuple[float | None, float | None]:
    over = t_interval(values)
    if over is None:
        return None, None
    return (max(0.0, over.low), min(1.0, over.high)) if shares else (over.low, over.high)


def _points_of(chart: Chart) -> Plot:
    traces = []
    for group in dict.fromkeys(p.group for p in chart.points):
        own = sorted((p for p in chart.points if p.group == group), key=lambda p: (p.x, p.row))
        traces.append(Trace(
            group or "rows", [p.x for p in own], [p.y for p in own], _kind(group), [p.low for p in own],
            names=[p.row for p in own], best=[p.best for p in own],
        ))  # fmt: skip
    return Plot(chart.title, chart.x, chart.y, traces, "points", (_is_wide([p.x for p in chart.points]), False))


def _is_wide(values: Sequence[float]) -> bool:
    return bool(values) and min(values) > 0 and max(values) >= 8 * min(values)


# --- sweeps ---------------------------------------------------------------------------------------------------------


def _usable(case: CaseTable) -> list[Entry]:
    return [e for e in case.entries if e.row.score is not None and not all_retracted(e)]


def _numeric(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _score_name(task: TaskPage) -> str:
    main = next((s for s in task.scores if s.main), None)
    return (main.name + (f" ({main.unit})" if main.unit else "")) if main else "score"


def _apart(params: Mapping[str, object], without: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((k, str(v)) for k, v in params.items() if k != without))


def _over_cases(task: TaskPage) -> Iterator[Plot]:
    """The score over a number that cases differ in, all else being equal; and over one choice of words."""
    names = dict.fromkeys(name for case in task.cases for name in case.params)
    chosen: list[tuple[int, str, list[list[CaseTable]]]] = []
    for name in names:
        groups: dict[tuple[tuple[str, str], ...], list[CaseTable]] = defaultdict(list)
        for case in task.cases:
            if name in case.params:
                groups[_apart(case.params, name)].append(case)
        wide = [g for g in groups.values() if len({str(c.params[name]) for c in g}) >= MIN_XS]
        if wide and all(_numeric(c.params[name]) for g in wide for c in g):
            yield from _split(task, name, wide)
        elif wide:
            chosen.append((max(len(g) for g in wide), name, wide))
    if chosen:
        _, name, wide = max(chosen, key=lambda c: (c[0], c[1]))
        for group in wide:
            yield _categories(task, name, group)


def _split(task: TaskPage, name: str, groups: Sequence[Sequence[CaseTable]]) -> Iterator[Plot]:
    """One plot of few lines, else one a group."""
    labels = _labels([_apart(g[0].params, name) for g in groups])
    of_group = [_lines_over(name, group) for group in groups]
    if len(groups) > 1 and sum(map(len, of_group)) <= MOST_LINES // 2:
        merged = [
            Trace(f"{t.name}, {label}", t.xs, t.ys, t.kind, t.lows, t.highs)
            for label, traces in zip(labels, of_group, strict=True) for t in traces
        ]  # fmt: skip
        yield _sweep(task, name, f"{_score_name(task)} over {name}", merged)
        return
    for label, traces in zip(labels, of_group, strict=True):
        if traces:
            yield _sweep(task, name, f"{_score_name(task)} over {name}" + (f": {label}" if label else ""), traces)


def _sweep(task: TaskPage, name: str, title: str, traces: Sequence[Trace]) -> Plot:
    xs = [float(x) for t in traces for x in t.xs]
    main = next((s for s in task.scores if s.main), None)
    ys = [y for t in traces for y in t.ys]
    free = main is None or main.best is None
    log = (_is_wide(xs), free and bool(ys) and min(ys) > 0 and max(ys) >= 50 * min(ys))
    return _fewer(Plot(title, name, _score_name(task), traces, log=log))


def _fewer(plot: Plot) -> Plot:
    """Without the rows that there is no room for."""
    rows = [t for t in plot.traces if t.kind == "row"]
    if len(rows) <= MOST_LINES:
        return plot
    best = set(map(id, sorted(rows, key=lambda t: (-statistics.fmean(t.ys), t.name))[:MOST_LINES]))
    kept = [t for t in plot.traces if t.kind != "row" or id(t) in best]
    return replace(
        plot, traces=kept, note=f"The {MOST_LINES} highest of {len(rows)} rows are drawn; the table has all."
    )


def _lines_over(name: str, cases: Iterable[CaseTable]) -> list[Trace]:
    found: dict[str, list[tuple[float, Entry]]] = defaultdict(list)
    for case in cases:
        for entry in _usable(case):
            found[_row_name(entry)].append((float(str(case.params[name])), entry))
    return [_trace(row, points) for row, points in sorted(found.items()) if len(points) > 1]


def _row_name(entry: Entry) -> str:
    return entry.row.baseline + ("" if entry.row.device in ("", "cpu") else f" on {entry.row.device}")


def _trace(name: str, points: Iterable[tuple[float, Entry]]) -> Trace:
    dated = sorted(points, key=lambda p: (p[0], p[1].row.baseline))
    ends = [e.row.interval or (None, None) for _, e in dated]
    ys = [float(e.row.score or 0.0) for _, e in dated]
    return Trace(name, [x for x, _ in dated], ys, _kind(name), [e[0] for e in ends], [e[1] for e in ends])


def _categories(task: TaskPage, name: str, cases: Sequence[CaseTable]) -> Plot:
    label = ", ".join(v for _, v in _apart(cases[0].params, name))
    found: dict[str, list[tuple[str, Entry]]] = defaultdict(list)
    for case in cases:
        for entry in _usable(case):
            found[_row_name(entry)].append((str(case.params[name]), entry))
    traces = []
    for row, points in sorted(found.items()):
        if len(points) > 1:
            ends = [e.row.interval or (None, None) for _, e in points]
            traces.append(Trace(row, [x for x, _ in points], [float(e.row.score or 0.0) for _, e in points], _kind(row),
                                [e[0] for e in ends], [e[1] for e in ends]))  # fmt: skip
    title = f"{_score_name(task)} by {name}" + (f": {label}" if label else "")
    return _fewer(Plot(title, name, _score_name(task), traces, "categories"))


def _over_methods(task: TaskPage) -> Iterator[Plot]:
    """The score over a number that rows of one method differ in, case by case; controls and the best of the other rows
    are level lines."""
    for case in task.cases:
        swept: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], list[tuple[float, Entry]]]] = {}
        for entry in _usable(case):
            row = entry.row
            for name, value in row.params.items():
                if _numeric(value) and name not in _NOT_SWEPT and row.method:
                    group = swept.setdefault(name, defaultdict(list))
                    group[row.method, _apart(row.params, name)].append((float(value), entry))
        for name, groups in swept.items():
            wide = {key: points for key, points in groups.items() if len({x for x, _ in points}) >= MIN_XS}
            if not wide:
                continue
            labels = _labels([((("method", _stem(method)), *apart)) for method, apart in wide])
            traces = [_trace(label, points) for label, points in zip(labels, wide.values(), strict=True)]
            inside = {id(e) for points in wide.values() for _, e in points}
            others = [e for e in _usable(case) if id(e) not in inside]
            yield _sweep(
                task, name, f"{case.name}: {_score_name(task)} over {name}", [*traces, *_levels(traces, others)]
            )


def _levels(traces: Sequence[Trace], others: Sequence[Entry]) -> Iterator[Trace]:
    xs = [float(x) for t in traces for x in t.xs]
    rows = [e for e in others if _kind(e.row.baseline) == "row" and e.row.kind == "cell"]
    for entry in [e for e in others if e not in rows] + rows[:1]:
        low, high = entry.row.interval or (None, None)
        score = float(entry.row.score or 0.0)
        name = _row_name(entry) + (" (best of the others)" if entry in rows else "")
        yield Trace(name, [min(xs), max(xs)], [score, score], "control", [low, low], [high, high])


def _stem(file: str) -> str:
    return file.removesuffix(".py")


def _labels(groups: Sequence[tuple[tuple[str, str], ...]]) -> list[str]:
    """What tells groups apart: values of the parameters that they do not share."""
    common = set.intersection(*(set(g) for g in groups)) if len(groups) > 1 else set()
    return [
        ", ".join(f"{k} {v}" if v[:1].isdigit() else v for k, v in group if (k, v) not in common) for group in groups
    ]
