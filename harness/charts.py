"""Charts as one page of HTML, drawn by Plotly, that needs no network to be read."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.errors import MissingPackage
from harness.task import Chart

APART = 1.15
"""Of points on the front that are nearer in x than this factor only the last is named: names would overlap."""
CROWDED = 1.05
"""Of values on the x axis that are nearer than this factor only the last is labelled."""
COLOURS, SYMBOLS = 10, ("circle", "diamond", "square", "cross")
"""Plotly has ten colours; the next ten groups get another symbol."""


def write_page(charts: Sequence[Chart], title: str, path: Path) -> Path:
    """Write `charts`, one below the other, to `path`. Raises MissingPackage without Plotly."""
    try:
        import plotly.io
    except ImportError as error:
        install = "pip install 'limits-harness[compression]'"
        raise MissingPackage(f"drawing charts needs the package `plotly`: {install}") from error
    parts = [
        plotly.io.to_html(_figure(chart), full_html=False, include_plotlyjs=(index == 0), div_id=f"chart-{index}")
        for index, chart in enumerate(charts)
    ]
    page = (f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>'
            f'<body style="font-family: sans-serif; margin: 1.5rem">{"".join(parts)}</body></html>\n')  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, "utf-8")
    return path


def _figure(chart: Chart) -> Any:
    return _lines(chart) if chart.lines else _front(chart)


def means(chart: Chart) -> dict[str, dict[float, float]]:
    """Of a chart with lines: the mean of y over the draws that have x, by row, rows with the largest sum first."""
    found: dict[str, dict[float, list[float]]] = {}
    for point in chart.points:
        found.setdefault(point.row, {}).setdefault(point.x, []).append(point.y)
    lines = {row: {x: statistics.fmean(ys) for x, ys in sorted(of.items())} for row, of in found.items()}
    shared = set.intersection(*(set(of) for of in lines.values())) if lines else set()
    return dict(sorted(lines.items(), key=lambda line: (-sum(y for x, y in line[1].items() if x in shared), line[0])))


def _lines(chart: Chart) -> Any:
    """A line a row through the means, and the draws as dots of the same colour."""
    import plotly.colors
    import plotly.graph_objects as go

    figure, colours = go.Figure(), plotly.colors.qualitative.Plotly
    dashes = ("solid", "dash", "dot", "dashdot")
    for index, (row, line) in enumerate(means(chart).items()):
        look = {"color": colours[index % COLOURS], "dash": dashes[index // COLOURS % len(dashes)]}
        own = [p for p in chart.points if p.row == row]
        figure.add_scatter(x=list(line), y=list(line.values()), mode="lines", name=row, legendgroup=row, line=look)
        figure.add_scatter(
            x=[p.x for p in own], y=[p.y for p in own], mode="markers", legendgroup=row, showlegend=False,
            marker={"size": 5, "color": look["color"], "opacity": 0.6}, customdata=[[row, p.seed] for p in own],
            hovertemplate="%{customdata[0]}, draw %{customdata[1]}<br>%{x:,.0f}, %{y:.3f}<extra></extra>",
        )  # fmt: skip
    if chart.edge is not None:
        figure.add_vline(x=chart.edge, line={"color": "#888", "dash": "dot"})
    figure.update_layout(title=chart.title, template="plotly_white", height=560, legend={"title": "method"})
    tried = sorted({p.x for p in chart.points})
    ticks = [x for x, after in zip(tried, [*tried[1:], math.inf], strict=True) if after > CROWDED * x]
    figure.update_xaxes(title=chart.x, type="log", tickvals=ticks, ticktext=[f"{x:g}" for x in ticks])
    figure.update_yaxes(title=chart.y)
    return figure


def _front(chart: Chart) -> Any:
    """Points by group, with their lower bounds, and a line along the front. Names stand on the front alone."""
    import plotly.graph_objects as go

    figure = go.Figure()
    front = sorted((p for p in chart.points if p.best), key=lambda p: p.x)
    figure.add_scatter(x=[p.x for p in front], y=[p.y for p in front], mode="lines", name="front",
                       line={"color": "#888", "dash": "dot", "shape": "hv"}, hoverinfo="skip")  # fmt: skip
    named = {p.row for p, after in zip(front, [*front[1:], None], strict=True) if not after or after.x > APART * p.x}
    for index, group in enumerate(dict.fromkeys(p.group for p in chart.points)):
        own = [p for p in chart.points if p.group == group]
        figure.add_scatter(
            x=[p.x for p in own], y=[p.y for p in own], mode="markers+text", name=group or "rows", cliponaxis=False,
            text=[p.row if p.row in named else "" for p in own], textposition="top left",
            marker={"size": 9, "symbol": SYMBOLS[index // COLOURS % len(SYMBOLS)]}, customdata=[p.row for p in own],
            error_y={"type": "data", "symmetric": False, "array": [0.0] * len(own),
                     "arrayminus": [0.0 if p.low is None else max(0.0, p.y - p.low) for p in own], "thickness": 1},
            hovertemplate="%{customdata}<br>%{x:,.0f}, %{y:.4f}<extra></extra>",
        )  # fmt: skip
    figure.update_layout(title=chart.title, template="plotly_white", height=560, legend={"title": "method"})
    figure.update_xaxes(title=chart.x, type="log")
    figure.update_yaxes(title=chart.y)
    return figure
