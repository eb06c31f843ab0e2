"""A report in words: on a terminal, and as an issue on GitHub. Names, reasons and subjects of commits come from others:
on a terminal they are shown as they stand, in an issue they stand in code, where nothing links, calls or closes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from harness.text import one_line
from harness.track.amounts import shown, sure_of
from harness.track.plot import sparkline
from harness.track.report import Group, Report, Told, short
from harness.track.unresolved import Open

MOST_TITLE, MOST_BYTES = 160, 60_000
"""GitHub takes 65,536 characters."""
COMMITS, LINES, LONGEST = 10, 12, 300
_ROOM, _ROOM_IN_COMMON, _ROOM_OF_ISSUE = (12, 5), (5, 2), (30, 5)
"""Rows, and findings of each: few are enough where many have a cause in common."""
_VERDICTS = {"regressed": "Regressed", "inconclusive": "Inconclusive",
             "not re-run": "Suspected, and not run again", "cleared": "Suspected, and cleared by re-runs"}  # fmt: skip
_NIGHTS = 40


def as_text(report: Report) -> str:
    """For a terminal; not all of it where there is much, and then it says where all of it is."""
    rows, findings = _ROOM_IN_COMMON if report.common else _ROOM
    lines = [_cut(report.title), *_about(report)]
    for verdict, heading in _VERDICTS.items():
        groups = [group for group in report.groups if group.verdict == verdict]
        if not groups:
            continue
        lines += ["", f"{heading}: {_count(groups)}"]
        if verdict == "cleared":
            lines += _listed(_brief(groups))
            continue
        for group in groups[:rows]:
            lines += ["", _cut(f"{group.row} of {group.task}: {_named(group)}"), *_group(group, findings)]
        lines += _more(len(groups) - rows, "rows", report)
    if report.still:
        lines += ["", "Still as bad as when it was found:"]
        lines += _listed([_still(one) for one in report.still])
    if report.notes:
        lines += ["", "Notes:", *_listed([f"{note.kind}: {note.text}" for note in report.notes])]
    if report.archived:
        lines += ["", "Archived, no longer run:"]
        lines += _listed([f"{a.row} on {a.task} {a.case}: {a.nights} nights, {a.reason}" for a in report.archived])
    return "\n".join(lines) + "\n"


def as_issue(report: Report) -> str:
    """Title on the first line, then a body in Markdown of less than `MOST_BYTES`: as many rows as have room."""
    body = [*_fenced(_about(report))]
    closing = ["", *_fenced([f"harness track report --night {report.night}"])]
    worse = [g for g in report.groups if g.verdict != "cleared"]
    room = MOST_BYTES - 2000 - len("\n".join(body + closing).encode())
    most, findings = _ROOM_IN_COMMON if report.common else _ROOM_OF_ISSUE
    left = max(0, len(worse) - most)
    for group in worse[:most]:
        part = [
            "",
            f"### {_code(group.row)} of {_code(group.task)}: {_named(group)}",
            "",
            *_fenced(_group(group, findings)),
        ]
        size = len("\n".join(part).encode()) + 1
        if size > room:
            left += 1
            continue
        room -= size
        body += part
    if left:
        body += ["", f"{left} further rows are left out here."]
    rest = [f"still: {_still(one)}" for one in report.still] + [f"{n.kind}: {n.text}" for n in report.notes]
    rest += _brief([g for g in report.groups if g.verdict == "cleared"])
    if rest:
        part = ["", "### Besides", "", *_fenced(_listed(rest))]
        body += part if len("\n".join(part).encode()) < room else []
    return "\n".join([_title(report), *body, "", "All of it:", *closing[1:]]) + "\n"


def _title(report: Report) -> str:
    title = " ".join(one_line(report.title).split())
    return title if len(title) <= MOST_TITLE else title[: MOST_TITLE - 1] + "\u2026"


def _named(group: Group) -> str:
    kinds = ", ".join(dict.fromkeys(told.kind for told in group.told))
    return kinds if group.verdict == "regressed" else f"{kinds}?"


# --- parts ------------------------------------------------------------------------------------------------------------


def _about(report: Report) -> list[str]:
    commit = f"{short(report.commit)} {report.subject}" + (" (with changes that no commit has)" if report.dirty else "")
    cells = ", ".join(f"{n} {status}" for status, n in report.cells.items())
    lines = [
        f"{report.state}: {report.why}",
        f"night {report.night}, {report.started[:16]} to {report.ended[:16]}, machine {report.machine}",
        f"commit {commit}, {report.committed[:10]}",
        f"cells: {cells or 'none'}" + (f"; {len(report.left)} left for want of time" if report.left else ""),
    ]
    if report.state != "not checked":
        lines.append(
            f"{report.series:,} series judged, {report.short:,} with too short a past; {report.reruns:,} pairs of "
            f"re-runs in {report.wall_s:,.0f} s"
        )
    if report.common:
        lines.append(f"in common: {report.common}")
    return [_cut(line, 600) for line in lines]


def _group(group: Group, findings: int) -> Iterator[str]:
    since = f"{short(group.good)}..{short(group.bad)}" if group.good else "no good commit is known"
    yield _cut(f"  since {since}" + (f"; {group.cause}" if group.cause else ""))
    for commit in group.commits[:COMMITS]:
        name, _, subject = commit.partition(" ")
        yield _cut(f"    {short(name)} {subject}", 120)
    if len(group.commits) > COMMITS:
        yield f"    and {len(group.commits) - COMMITS} more commits"
    for told in group.told[:findings]:
        yield from _finding(told)
    if len(group.told) > findings:
        yield f"  and {len(group.told) - findings} more of this row"
    yield f"  again:  {_cut(group.again, 1000)}"
    if group.bisect:
        yield f"  bisect: {_cut(group.bisect, 2000)}"


def _finding(told: Told) -> Iterator[str]:
    finding = told.finding
    yield _cut(f"  {finding.case} {finding.metric}: {told.change}, {sure_of(finding)}")
    before = finding.before if finding.before is not None else told.middle
    values = [past.value for past in told.past if past.same][-_NIGHTS:]
    if before is not None and finding.value is not None:
        limit = f", limit {shown(told.limit, finding.unit)}" if told.limit is not None else ""
        yield f"    {shown(before, finding.unit)} before, {shown(finding.value, finding.unit)} that night{limit}"
    if len(values) > 1:
        ends = f"{shown(min(values), finding.unit)} to {shown(max(values), finding.unit)}"
        yield f"    {sparkline(values, finding.metric)}  {len(values)} nights, {ends}"
    if finding.why:
        yield _cut(f"    {finding.why}")


def _brief(groups: Sequence[Group]) -> list[str]:
    return [
        f"{told.finding.row} on {told.finding.task} {told.finding.case} {told.finding.metric}: {told.change}, "
        f"{sure_of(told.finding)} ({group.verdict})"
        for group in groups for told in group.told
    ]  # fmt: skip


def _still(one: Open) -> str:
    finding = one.finding
    return f"{finding.row} on {finding.task} {finding.case} {finding.metric}: {one.change}, found {one.night[:8]}"


def _listed(sentences: Sequence[str]) -> list[str]:
    lines = [f"  {_cut(sentence)}" for sentence in sentences[:LINES]]
    return lines + ([f"  and {len(sentences) - LINES} more"] if len(sentences) > LINES else [])


def _count(groups: Sequence[Group]) -> str:
    n, rows = sum(len(group.told) for group in groups), len({(group.task, group.row) for group in groups})
    return f"{n} number{'s' * (n != 1)} of {rows} row{'s' * (rows != 1)}"


def _more(left: int, what: str, report: Report) -> list[str]:
    if left <= 0:
        return []
    return ["", f"and {left} more {what}; `harness track report --night {report.night} --format json` has all"]


def _cut(text: str, longest: int = LONGEST) -> str:
    shown_text = one_line(text)
    return shown_text if len(shown_text) <= longest else shown_text[: longest - 1] + "\u2026"


# --- Markdown ---------------------------------------------------------------------------------------------------------


def _fenced(lines: Iterable[str]) -> list[str]:
    """A block of code that no line of it can end."""
    kept = list(lines)
    runs = [len(run) for line in kept for run in re.findall("`+", line)]
    fence = "`" * max(3, 1 + max(runs, default=0))
    return [f"{fence}text", *kept, fence]


def _code(text: str) -> str:
    """A text as code within a line."""
    kept = _cut(" ".join(text.split()), 100) or " "
    tick = "`" * (1 + max((len(run) for run in re.findall("`+", kept)), default=0))
    return f"{tick} {kept} {tick}" if tick != "`" else f"`{kept}`"
