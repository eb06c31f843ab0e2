"""The page of one task: what to choose, where methods break, and every row."""

from __future__ import annotations

from collections.abc import Sequence

from harness.board.board import Limit, TaskPage
from harness.board.site.best import grouped_limits
from harness.board.site.escaping import html, line
from harness.board.site.plots import MOST_LINES, Plot, Trace
from harness.board.site.shell import Frame, page, section, table
from harness.board.site.tables import ordered, static_table
from harness.board.site.words import CONTROLS, interval, number, rank_text, state
from harness.findings import Tested, places
from harness.task import Ranking

ASSETS = ("assets/datatables.js", "assets/table.js", "assets/plot.js")
_COLUMNS = 14
"""Of the table of a plot's values."""


def task_page(frame: Frame, task: TaskPage, plots: Sequence[Plot]) -> str:
    name = frame.links.tasks[task.name]
    states = sorted({state(e) for _, e in ordered(task)} - {"ok"})
    counts = ", ".join(f"{sum(state(e) == s for _, e in ordered(task))} {s}" for s in states)
    parts = [
        section("words", "In words", _advice(task)),
        section("plot", "Where it breaks", _plots(plots)),
        section("limits", "Breaking points", _limits(frame, task), _ABOUT_LIMITS),
        section("table", "All rows", _rows(frame, task)),
        section("cost", "Score over cost", _cost(task), _ABOUT_COST),
        section("rankings", "Rankings of methods", _rankings(task)),
        section("claims", "Published claims, on these data", _claims(task)),
        section("cases", "Cases", _cases(task)),
    ]
    found = [(i, h) for i, h, part in zip(_IDS, _HEADINGS, parts, strict=True) if part]
    toc = "".join(f'<li><a href="#{i}">{h}</a></li>' for i, h in found)
    body = (
        f'<p class="crumbs">{line(task.family)}</p>'
        f'<h1>{line(task.name)} <span class="version">version {task.version}</span></h1>'
        f'<p class="lead">{line(task.summary)}</p>'
        f'<p class="counts">{len(task.cases)} cases, {len(ordered(task))} results{html(counts and f": {counts}")}</p>'
        f'<nav class="toc" aria-label="On this page"><ul>{toc}</ul></nav>{"".join(parts)}'
    )
    return page(frame, task.name, body, 1, task.name, [ASSETS[0], f"data/{name}.js", *ASSETS[1:]])


_IDS = ("words", "plot", "limits", "table", "cost", "rankings", "claims", "cases")
_HEADINGS = ("In words", "Plots", "Breaking points", "All rows", "Score over cost", "Rankings", "Claims", "Cases")
_ABOUT_LIMITS = "Where a method stops holding, with its 95 % interval, and the ranks that cannot be excluded."
_ABOUT_COST = "Of one machine class at a time. Filled points are on the front of score, latency and memory."


def _advice(task: TaskPage) -> str:
    first = "".join(f"<li>{line(s)}</li>" for s in task.advice[:6])
    rest = "".join(f"<li>{line(s)}</li>" for s in task.advice[6:])
    more = (
        f"<details><summary>{len(task.advice) - 6} more</summary><ul class=advice>{rest}</ul></details>" if rest else ""
    )
    return f'<ul class="advice">{first}</ul>{more}' if first else ""


# --- plots ----------------------------------------------------------------------------------------------------------


def _plots(plots: Sequence[Plot]) -> str:
    """A figure for each; with scripts one of them is shown, and drawn, at a time."""
    if not plots:
        return ""
    options = "".join(f'<option value="{i}">{line(p.title, 110)}</option>' for i, p in enumerate(plots))
    choice = f'<label class="js">Plot <select id="which-plot">{options}</select></label>' if len(plots) > 1 else ""
    tick = '<label class="js"><input type="checkbox" id="show-intervals"> 95 % intervals</label>'
    figures = "".join(
        f'<figure class="plot" data-plot="{i}"><figcaption>{line(p.title)}</figcaption>'
        f'<div class="canvas js" role="img" aria-label="{line(p.title)}: {html(p.y)} over {html(p.x)}"></div>'
        + (f'<p class="about">{html(p.note)}</p>' if p.note else "")
        + f"<details><summary>Values as a table</summary>{_values(p)}</details></figure>"
        for i, p in enumerate(plots)
    )
    return f'<div class="controls">{choice}{tick}</div>{figures}'


def _values(plot: Plot) -> str:
    if plot.kind == "points":
        rows = [[line(n), line(t.name), number(float(x)), number(y), number(low) if low is not None else "\u2013"]
                for t in plot.traces
                for n, x, y, low in zip(t.names, t.xs, t.ys, t.lows or [None] * len(t.ys), strict=True)]  # fmt: skip
        return table(["Row", "Group", plot.x, plot.y, "lower bound"], rows, plot.title, (2, 3, 4))
    seen: dict[float | str, int] = {}
    for trace in plot.traces:
        for x in trace.xs:
            seen[x] = seen.get(x, 0) + 1
    xs = sorted(sorted(seen, key=lambda x: -seen[x])[:_COLUMNS], key=lambda x: (isinstance(x, str), x))
    rows = [[line(t.name), *_at(t, xs)] for t in plot.traces[: 2 * MOST_LINES]]
    headings = ["Row", *(x if isinstance(x, str) else f"{x:g}" for x in xs)]
    return table(headings, rows, plot.title, range(1, len(headings)))


def _at(trace: Trace, xs: Sequence[float | str]) -> list[str]:
    known = dict(zip(trace.xs, trace.ys, strict=True))
    return [number(known[x]) if x in known else "" for x in xs]


def _cost(task: TaskPage) -> str:
    if not any(e.row.latency_ns and e.row.score is not None for _, e in ordered(task)):
        return ""
    return (
        '<div class="controls js"><label>Case <select id="cost-case"></select></label>'
        '<label>Machine <select id="cost-machine"></select></label>'
        '<label>Cost <select id="cost-of"><option value="latency">latency</option><option value="memory">peak memory'
        "</option></select></label></div>"
        '<figure class="plot"><div id="cost-plot" class="canvas js" role="img" '
        'aria-label="Score over cost of the rows of one case"></div></figure>'
        "<noscript><p>The table above has the same numbers.</p></noscript>"
    )


# --- tables ---------------------------------------------------------------------------------------------------------


def _limits(frame: Frame, task: TaskPage) -> str:
    groups = grouped_limits(task)
    parts = []
    told = {
        name: sum(x.point.value is not None and x.baseline not in CONTROLS for x in g) for name, g in groups.items()
    }
    most = max(told, key=lambda name: told[name], default="")
    for name, members in groups.items():
        rows = [_limit(frame, limit) for limit in members]
        body = table(["Row", "Found", "95 %", "Rank", "Beside"], rows, name, (1, 2, 3))
        first = members[0]
        top = f"{line(first.baseline, 40)}: {line(first.point.text, 40)}"
        parts.append(f"<details{' open' if name == most else ''}><summary>{line(name)} "
                     f'<span class="faint">{top}{f", {len(members)} rows" if len(members) > 1 else ""}</span></summary>'
                     f"{body}</details>")  # fmt: skip
    return "".join(parts)


def _limit(frame: Frame, limit: Limit) -> list[str]:
    point = limit.point
    name = frame.links.baselines.get(limit.baseline)
    row = f'<a href="../baseline/{name}.html">{line(limit.baseline)}</a>' if name else line(limit.baseline)
    if point.limit and point.name != point.limit:
        row += f'<br><span class="faint">{line(point.name)}</span>'
    open_ = "control" if limit.baseline in CONTROLS else "not resolved"
    rank = rank_text(limit.rank) or (f'<span class="faint">{open_}</span>' if point.limit else "\u2013")
    beside = f'<span class="beside">{line(point.beside)}</span>' if point.beside else ""
    return [row, f"<b>{line(point.text)}</b>", html(interval(point.interval) or "\u2013"), rank, beside]


def _rows(frame: Frame, task: TaskPage) -> str:
    return (
        f'<form id="filters" class="controls js" role="search" aria-label="Filter rows">{_FILTERS}</form>'
        + static_table(task, frame.links, "../")
    )


_FILTERS = "".join(
    f'<label>{label} <select data-filter="{name}"><option value="">all</option></select></label>'
    for name, label in (("case", "Case"), ("method", "Method"), ("device", "Device"), ("machine", "Machine"),
                        ("trust", "Trust"), ("status", "Status"))
) + (
    '<label>Search <input type="search" data-filter="q" autocomplete="off" spellcheck="false"></label>'
    '<label><input type="checkbox" data-filter="front"> front only</label>'
    '<button type="reset">Clear</button> <button type="button" id="as-csv">CSV</button>'
    ' <span id="copied" role="status"></span>'
)  # fmt: skip


def _rankings(task: TaskPage) -> str:
    by_case: dict[str, list[Ranking]] = {}
    for ranking in task.rankings:
        by_case.setdefault(ranking.case, []).append(ranking)
    return "".join(
        f"<details{' open' if index == 0 else ''}><summary>{line(case)} "
        f'<span class="faint">{len(found)} {"rankings" if len(found) > 1 else "ranking"}</span></summary>'
        f'<div class="columns">{"".join(_ranking(r) for r in found)}</div></details>'
        for index, (case, found) in enumerate(by_case.items())
    )


def _ranking(ranking: Ranking) -> str:
    found = places(ranking)
    rows = [
        [rank_text(p.ranks) or "\u2013", line(p.method),
         f"<b>{number(p.value)}</b>" + (f' <span class="ci">{interval(p.interval)}</span>'
                                        if p.interval and p.interval[0] < p.interval[1] else ""),
         f'<span class="beside">{line(p.setting)}</span>']
        for p in found if p.value is not None
    ]  # fmt: skip
    never = ", ".join(f"{p.method} ({p.why})" if p.why else p.method for p in found if p.value is None)
    heads = ["Rank", "Method", ranking.unit or "value", "Setting"]
    body = table(heads, rows, f"{ranking.case}: {ranking.name}", (0, 2)) if rows else ""
    return (f"<div><h3>{line(ranking.name)}</h3>{body}"
            + (f'<p class="about">Without a place: {line(never)}</p>' if never else "") + "</div>")  # fmt: skip


def _claims(task: TaskPage) -> str:
    rows = [_claim(one) for one in task.tested]
    heads = ["Case", "Rows", "Difference, % of the reference", "95 %, paired", "Items", "Claim"]
    return table(heads, rows, "Claims", (2, 3, 4)) if rows else ""


def _claim(one: Tested) -> list[str]:
    low, high = (100 * end for end in one.interval)
    pair = f"{line(one.claim.better)} \u2212 {line(one.claim.than)}"
    return [line(one.case), pair, f"<b>{100 * one.difference:+.2f}</b>", f"[{low:+.2f}, {high:+.2f}]", str(one.items),
            line(one.claim.says)]  # fmt: skip


def _cases(task: TaskPage) -> str:
    rows = []
    for case in task.cases:
        params = ", ".join(f"{line(k)} = {line(v, 60)}" for k, v in case.params.items())
        about = ", ".join(f"{line(k)} {_about(v)}" for k, v in case.about.items() if not k.endswith("digest"))
        ranked = "yes" if case.resolved else '<span class="faint">not resolved</span>'
        link = f'<a href="#case={_quoted(case.name)}">{line(case.name)}</a>'
        rows.append([link, str(len(case.entries)), ranked, params, f'<span class="beside">{about}</span>'])
    return table(["Case", "Rows", "Ranked", "Parameters", "Data"], rows, "Cases", (1,)) if rows else ""


def _quoted(text: str) -> str:
    from urllib.parse import quote

    from harness.board.site.escaping import shown

    return html(quote(shown(text), safe=""))


def _about(value: object) -> str:
    return number(value) if isinstance(value, float) else line(value, 80)
