"""The board's page about nights: for every machine what the last check said, with its evidence, and every series as a
small drawing. Plain HTML and SVG; the script beside it only filters.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from harness.board.site.assets import style
from harness.board.site.escaping import html, line
from harness.board.site.shell import Frame, page, table
from harness.board.site.words import status_badge
from harness.track.amounts import difference, is_cost, ratio, shown, sure_of
from harness.track.history import Cell, Night, Point, SeriesKey, Work, contexts_of, series_of
from harness.track.plot import Dot, evidence, small
from harness.track.report import PAST_NIGHTS, Group, Kept, Report, Told, report_of, short

PAGE = "tracking.html"
MOST_GROUPS, MOST_FINDINGS, MOST_COMMITS = 20, 6, 12
_STATES = {"fine": "s-ok", "regressed": "s-failed", "environment broke": "s-failed"}
_VERDICTS = {"regressed": "failed", "inconclusive": "timeout", "not re-run": "timeout", "cleared": "ok"}
_KINDS = {"score": "scores", "latency": "latency", "time": "time of phases", "memory": "memory"}
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def tracking_page(frame: Frame, machines: Sequence[Kept], asv: bool = False) -> str:
    """All machines, the one with the newest night first; `asv`: whether asv's own pages lie beside this one."""
    ordered = sorted((kept for kept in machines if kept.nights), key=lambda k: (k.nights[-1].started, k.machine))
    lead = (
        "<h1>What nights show</h1><p class=lead>Each night the same rows are measured on the same machine and held "
        "against their own past. What looks worse is run again, the last good commit and the new one in turn, before "
        "it is called a regression.</p>"
    )
    beside = '<p><a href="asv/index.html">The same rows as airspeed velocity draws them</a></p>' if asv else ""
    body = lead + beside + _filters(ordered) + "".join(_machine(kept) for kept in reversed(ordered))
    return page(frame, "Tracking", body, 0, "tracking", ["assets/tracking.js"])


def standalone(report: Report) -> str:
    """One report as a page of one file, without scripts."""
    body = f"<h1>{line(report.title, 200)}</h1>" + _told(report)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{line(report.title, 120)} \u00b7 harness</title><style>{style()}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )


def _filters(machines: Sequence[Kept]) -> str:
    tasks = sorted({cell.task for kept in machines for night in kept.nights[-PAST_NIGHTS:] for cell in night.measured})
    choices = "".join(f'<option value="{html(task)}">{line(task, 60)}</option>' for task in tasks)
    kinds = "".join(f'<option value="{name}">{says}</option>' for name, says in _KINDS.items())
    return (
        '<form class="controls js" id="tracking-filters" aria-label="Filter the series">'
        f'<label>Task <select data-filter="task"><option value="">all</option>{choices}</select></label>'
        f'<label>Number <select data-filter="kind"><option value="">all</option>{kinds}</select></label>'
        '<label>Row or case <input type="search" data-filter="q"></label>'
        '<label><input type="checkbox" data-filter="open"> only what is worse</label>'
        '<button type="reset">Reset</button><span id="tracking-count" class="faint" role="status"></span></form>'
    )


def _machine(kept: Kept) -> str:
    """One machine: the newest check, then its series by task."""
    checked = [night for night in kept.nights if night.id in kept.checks]
    night = checked[-1] if checked else kept.nights[-1]
    report = report_of(kept, night)
    bad = {t.finding.key for g in report.groups if g.verdict == "regressed" for t in g.told}
    bad |= {one.finding.key for one in report.still}
    name = f"machine-{kept.machine}"
    return (
        f'<section id="{name}"><h2 id="{name}-heading">Machine <code>{line(kept.machine)}</code></h2>'
        f'<p class="lead">{line(report.title, 200)}</p>{_told(report)}{_series(kept.nights, bad)}</section>'
    )


# --- a report ---------------------------------------------------------------------------------------------------------


def _told(report: Report) -> str:
    state = f'<span class="badge {_STATES.get(report.state, "s-timeout")}">{html(report.state)}</span>'
    cells = ", ".join(f"{n} {status}" for status, n in report.cells.items())
    facts = [
        (report.started[:10], "night"), (f"{report.series:,}", "series judged"), (f"{report.short:,}", "too young"),
        (f"{report.reruns:,}", "pairs of re-runs"), (cells or "none", "cells"),
    ]  # fmt: skip
    listed = "".join(f"<li>{html(what)} <b>{line(n, 80)}</b></li>" for n, what in facts)
    dirty = " with changes that no commit has" if report.dirty else ""
    return (
        f"<p>{state} {line(report.why, 600)}</p>"
        f'<p class="counts"><code>{line(short(report.commit), 40)}</code> {line(report.subject, 150)}{dirty}, '
        f'<code>{line(report.night)}</code></p><ul class="facts">{listed}</ul>'
        + (f'<p class="notice">{line(report.common, 600)}</p>' if report.common else "")
        + _groups(report) + _still(report) + _notes(report)
    )  # fmt: skip


def _groups(report: Report) -> str:
    shown_groups = [g for g in report.groups if g.verdict != "cleared"]
    drawn = "".join(_group(group) for group in shown_groups[:MOST_GROUPS])
    if (left := len(shown_groups) - MOST_GROUPS) > 0:
        drawn += f"<p class=about>and {left} more rows; <code>harness track report --format json</code> has all</p>"
    cleared = [told for g in report.groups if g.verdict == "cleared" for told in g.told]
    if cleared:
        rows = [_brief(told) for told in cleared[:50]]
        more = f"<p class=about>and {len(cleared) - 50} more</p>" if len(cleared) > 50 else ""
        inner = table(["Series", "Re-runs", "How sure"], rows, "Suspected, and cleared by re-runs") + more
        drawn += f"<details><summary>{len(cleared)} suspected, and cleared by re-runs</summary>{inner}</details>"
    return drawn


def _group(group: Group) -> str:
    kinds = ", ".join(dict.fromkeys(told.kind for told in group.told))
    badge = f'<span class="badge s-{_VERDICTS.get(group.verdict, "timeout")}">{html(group.verdict)}</span>'
    since = (
        f"<code>{line(short(group.good))}..{line(short(group.bad))}</code>" if group.good else "no good commit known"
    )
    commits = "".join(f"<li>{line(commit, 150)}</li>" for commit in group.commits[:MOST_COMMITS])
    left = len(group.commits) - MOST_COMMITS
    commits += f"<li>and {left} more</li>" if left > 0 else ""
    what = html(kinds if group.verdict == "regressed" else f"{kinds}?")
    more = len(group.told) - MOST_FINDINGS
    commands = html("\n".join(filter(None, (group.again, group.bisect))))
    return (
        f'<article class="card finding" data-task="{html(group.task)}" data-words="{html(_words(group))}">'
        f'<h3>{line(group.row, 100)} <span class="version">{line(group.task, 80)}</span> '
        f"{badge} {what}</h3><p class=about>since {since}"
        + (f": {line(group.cause)}" if group.cause else "") + "</p>"
        + f'<div class="columns">{"".join(_finding(told) for told in group.told[:MOST_FINDINGS])}</div>'
        + (f"<p class=about>and {more} more of this row</p>" if more > 0 else "")
        + (f"<details><summary>{_plural(len(group.commits), 'commit')} between</summary><ul>{commits}</ul></details>"
           if commits else "")
        + f'<pre tabindex="0">{commands}</pre></article>'
    )  # fmt: skip


def _words(group: Group) -> str:
    """What the filter by words looks into."""
    return " ".join([group.row, *dict.fromkeys(told.finding.case for told in group.told)]).lower()


def _plural(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"


def _finding(told: Told) -> str:
    finding = told.finding
    values = ""
    if finding.value is not None and finding.before is not None:
        values = f"{shown(finding.before, finding.unit)} before, {shown(finding.value, finding.unit)} that night; "
    return (
        f'<div><p class="says"><b>{line(finding.case, 80)} {line(finding.metric, 80)}</b> '
        f'<span class="change">{html(told.change)}</span> <span class="faint">{html(values)}{html(sure_of(finding))}'
        f"</span></p>{evidence(told)}"
        + (f"<p class=about>{line(finding.why, 400)}</p>" if finding.why else "")
        + "</div>"
    )


def _brief(told: Told) -> list[str]:
    finding = told.finding
    name = f"{finding.row} on {finding.case} ({finding.task}), {finding.metric}"
    return [line(name, 200), html(told.change), html(sure_of(finding))]


def _still(report: Report) -> str:
    rows = [
        [line(f"{f.row} on {f.case} ({f.task}), {f.metric}", 200), html(one.change), html(one.night[:8]),
         f"<code>{line(short(f.good))}..{line(short(f.bad))}</code>"]
        for one in report.still[:50] for f in [one.finding]
    ]  # fmt: skip
    about = "Found in an earlier night, and still nearer to what it became than to what it was."
    inner = table(["Series", "Re-runs", "Found", "Between"], rows, "Still open") if rows else ""
    return f"<h3>Still open</h3><p class=about>{about}</p>{inner}" if rows else ""


def _notes(report: Report) -> str:
    told = [f"{note.kind}: {note.text}" for note in report.notes]
    told += [f"archived: {a.row} on {a.task} {a.case}, {a.nights} nights since {a.since[:8]}: {a.reason}"
             for a in report.archived]  # fmt: skip
    if report.left:
        told.append(f"{len(report.left)} cells left for want of time, the first: {'; '.join(report.left[:5])}")
    if not told:
        return ""
    listed = "".join(f"<li>{line(sentence, 300)}</li>" for sentence in told[:100])
    more = f"<li>and {len(told) - 100} more</li>" if len(told) > 100 else ""
    return f"<details><summary>{_plural(len(told), 'note')}</summary><ul>{listed}{more}</ul></details>"


# --- small multiples --------------------------------------------------------------------------------------------------


def _series(nights: Sequence[Night], bad: set[SeriesKey]) -> str:
    """Every series of the last nights, folded by task; all share one axis of nights."""
    kept = nights[-PAST_NIGHTS:]
    places = {night.id: i / max(1, len(kept) - 1) for i, night in enumerate(kept)}
    works: dict[str, dict[Work, list[tuple[str, list[Point]]]]] = defaultdict(lambda: defaultdict(list))
    for key, points in series_of(kept).items():
        works[key.work.task][key.work].append((key.metric, points))
    last: dict[Work, Cell] = {cell.work: cell for night in kept for cell in night.cells}
    for work in last:  # rows of which nothing came are shown as well
        works[work.task].setdefault(work, [])
    return "".join(_task(task, found, last, places, bad) for task, found in sorted(works.items()))


def _task(
    task: str, works: Mapping[Work, Sequence[tuple[str, Sequence[Point]]]], last: Mapping[Work, Cell],
    places: Mapping[str, float], bad: set[SeriesKey],
) -> str:  # fmt: skip
    n, worse = sum(map(len, works.values())), sum(key.work in works for key in bad)
    badge = f' <span class="badge s-failed">{worse} worse</span>' if worse else ""
    rows = "".join(
        _row(work, sorted(works[work], key=_order), last[work], places, bad)
        for work in sorted(works, key=lambda work: (work.row, work.case, work))
    )
    return (
        f'<details class="nights" data-task="{html(task)}"><summary>{line(task)}<span class="faint">{n} series of '
        f"{len(works)} cells</span>{badge}</summary>{rows}</details>"
    )


def _order(series: tuple[str, Sequence[Point]]) -> tuple[int, str]:
    kind = series[0].partition("/")[0]
    return (list(_KINDS).index(kind) if kind in _KINDS else 9), series[0]


def _row(
    work: Work, series: Iterable[tuple[str, Sequence[Point]]], cell: Cell, places: Mapping[str, float],
    bad: set[SeriesKey],
) -> str:  # fmt: skip
    apart = [f"version {work.version}"] if work.version > 1 else []
    apart += [work.device] if work.device != "cpu" else []
    apart += [f"draw {work.seed}"] if work.seed else []
    apart += [f"{work.threads} threads"] if work.threads != 1 else []
    words = " ".join([work.row, work.case, *apart])
    broken = "" if cell.status == "ok" else f" {status_badge(cell.status)} {line(cell.reason, 160)}"
    figures = "".join(_figure(metric, points, places, SeriesKey(work, metric) in bad) for metric, points in series)
    gone = " data-open" if SeriesKey(work, "status") in bad else ""
    return (
        f'<div class="cell"{gone} data-words="{html(words.lower())}"><p><b>{line(work.row, 80)}</b> '
        f"{line(work.case, 80)} "
        f'<span class="faint">{line(", ".join(apart), 80)}</span>{broken}</p>'
        f'<div class="multiples">{figures}</div></div>'
    )


def _figure(metric: str, points: Sequence[Point], places: Mapping[str, float], bad: bool) -> str:
    last = points[-1]
    before = [p.value.value for p in points[:-1] if p.comparable(last)]
    values = [p.value.value for p in points]
    unit = last.value.unit
    now, change = shown(last.value.value, unit), _change(metric, last.value.value, before)
    says = f"{len(points)} nights, {shown(min(values), unit)} to {shown(max(values), unit)}"
    drawn = small(
        [
            Dot(places[p.night.id], p.value.value, str(context))
            for p, context in zip(points, contexts_of(points), strict=True)
        ],
        metric,
        says,
        bad,
    )
    kind = metric.partition("/")[0]
    return (
        f'<figure data-kind="{html(kind)}"{" data-open" if bad else ""}>{drawn}<figcaption>{line(metric, 60)} '
        f'<b>{html(now)}</b> <span class="faint">{html(change)}</span></figcaption></figure>'
    )


def _change(metric: str, value: float, before: Sequence[float]) -> str:
    """Against the median of the past in the same context."""
    if not before:
        return "new"
    middle = statistics.median(before)
    if not is_cost(metric):
        return difference(value - middle) if value != middle else "="
    return ratio(round(value / middle, 3)) if middle > 0 and value > 0 else ""
