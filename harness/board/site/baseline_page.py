"""The page of one row's name: all that is known of it, over all tasks."""

from __future__ import annotations

from collections.abc import Sequence

from harness.board.board import Board, Entry, TaskPage
from harness.board.site.escaping import html, line
from harness.board.site.record_page import Seen
from harness.board.site.shell import Frame, page, section, table
from harness.board.site.tables import cells_of, first_record, front_mark, marks_of, ordered, params_text, row_class
from harness.board.site.words import (
    CONTROLS,
    interval,
    ms,
    number,
    place,
    rank_text,
    reason,
    state,
    status_badge,
    trust_badge,
)

_MOST_OTHERS = 200
_MOST_NOTES = 20


Rows = Sequence[tuple[TaskPage, Sequence[Entry]]]
"""Of one name: the tasks that it has rows in, and those rows."""


def rows_by_name(board: Board) -> dict[str, list[tuple[TaskPage, list[Entry]]]]:
    found: dict[str, dict[str, tuple[TaskPage, list[Entry]]]] = {}
    for task in board.tasks:
        for _, entry in ordered(task):
            found.setdefault(entry.row.baseline, {}).setdefault(task.name, (task, []))[1].append(entry)
    return {name: list(of.values()) for name, of in found.items()}


def baseline_page(frame: Frame, name: str, tasks: Rows, others: Sequence[Seen]) -> str:
    """`others` are records of the name that no row stands for: preparations, searches, other versions of a task."""
    trusts = sorted({e.trust for _, own in tasks for e in own})
    limits = sum(limit.baseline == name for t in frame.board.tasks for limit in t.limits)
    about = "A control: what others stand between. " if name in CONTROLS else ""
    results = sum(len(own) for _, own in tasks)
    counts = ", ".join(
        f"{n} {noun}{'s' * (n != 1)}"
        for n, noun in ((len(tasks), "task"), (results, "result"), (limits, "breaking point"))
    )
    aside = "Of searches, preparations, or other versions of a task."
    body = (
        f'<p class="crumbs"><a href="../baselines.html">Methods</a></p><h1>{line(name)}</h1>'
        f'<p class="counts">{about}{counts} {" ".join(map(trust_badge, trusts))}</p>'
        + "".join(_of_task(frame, task, own, name) for task, own in tasks)
        + section("others", "Further records", _others(others), aside)
    )
    return page(frame, name, body, 1, "baselines")


def _of_task(frame: Frame, task: TaskPage, own: Sequence[Entry], name: str) -> str:
    identity = frame.links.tasks[task.name]
    methods = sorted({e.row.method for e in own if e.row.method})
    params = sorted({params_text(e.row.params) for e in own if e.row.params})
    facts = [("Source file", ", ".join(methods)), *(("Parameters", p) for p in params[:3])]
    told = "".join(f"<dt>{label}</dt><dd><code>{line(v, 300)}</code></dd>" for label, v in facts if v)
    found = [x for x in task.limits if x.baseline == name or x.baseline.startswith(f"{name} on ")]
    limits = [
        [line(x.point.name), f"<b>{line(x.point.text)}</b>", html(interval(x.point.interval) or "\u2013"),
         rank_text(x.rank) or "\u2013", f'<span class="beside">{line(x.point.beside, 300)}</span>']
        for x in found
    ]  # fmt: skip
    heads = ["Breaking point", "Found", "95 %", "Rank", "Beside"]
    notes = list(dict.fromkeys(n for e in own for n in e.row.notes))
    listed = "".join(f"<li>{line(n, 300)}</li>" for n in notes[:_MOST_NOTES])
    if len(notes) > _MOST_NOTES:
        listed += f"<li>{len(notes) - _MOST_NOTES} more, on the records</li>"
    return (
        f'<section><h2><a href="../task/{identity}.html">{line(task.name)}</a></h2><dl class="facts-list">{told}</dl>'
        + (table(heads, limits, f"Breaking points of {task.name}", (1, 2, 3)) if limits else "")
        + _rows(frame, task, own)
        + (f"<details><summary>{len(notes)} notes</summary><ul>{listed}</ul></details>" if notes else "")
        + "</section>"
    )


_HEADS = (
    "Case",
    "Score [95 %]",
    "Rank",
    "Draws",
    "Latency ms [95 %]",
    "Memory",
    "Device",
    "Machine",
    "Trust",
    "Status",
    "Records",
)
_ALWAYS = (0, 1, len(_HEADS) - 1)


def _rows(frame: Frame, task: TaskPage, own: Sequence[Entry]) -> str:
    """A line a row. There may be thousands: closing tags, which HTML does not ask for here, are left out, what all
    rows share is said once, and marks are numbers that are told below."""
    marks = list(dict.fromkeys(m for e in own for m in marks_of(e)))
    cells = [_cells(frame, e, [marks.index(m) + 1 for m in marks_of(e)]) for e in own]
    same = [i for i in range(len(_HEADS)) if i not in _ALWAYS and len({c[i] for c in cells}) == 1]
    kept = [i for i in range(len(_HEADS)) if i not in same]
    head = "".join(f'<th scope="col">{html(_HEADS[i])}</th>' for i in kept)
    kinds = [row_class(e) for e in own]
    body = "".join(
        (f'<tr class="{kind}">' if kind else "<tr>") + "".join(f"<td>{row[i]}" for i in kept)
        for kind, row in zip(kinds, cells, strict=True)
    )
    shared = ", ".join(f"{html(_HEADS[i].partition(' [')[0].lower())} {cells[0][i]}" for i in same)
    table = f'<table class="rows"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    told = "; ".join(f"<sup>{n}</sup> {line(m, 300)}" for n, m in enumerate(marks[:_MOST_NOTES], 1))
    return (
        (f'<p class="about">In all: {shared}</p>' if shared else "")
        + f'<div class="scroll" role="region" aria-label="Rows of {line(task.name, 150)}" tabindex="0">{table}</div>'
        + (f'<p class="about">{told}</p>' if told else "")
    )


def _cells(frame: Frame, entry: Entry, marks: Sequence[int]) -> list[str]:
    row, cells = entry.row, cells_of(entry)
    quick = row.latency_interval_ns
    latency = ms(row.latency_ns) + (f" [{ms(quick[0])}, {ms(quick[1])}]" if quick else "")
    why = f'<span class="why">{line(reason(entry), 200)}</span>' if reason(entry) else ""
    status = "ok" if state(entry) == "ok" else status_badge(state(entry))
    numbers = f"<sup>{', '.join(map(str, marks))}</sup>" if marks else ""
    return [cells["case"], f"<b>{number(row.score)}</b> {interval(row.interval)}{front_mark(entry)}", place(entry),
            cells["draws"], latency, cells["memory"], cells["device"], line(row.machine[:8]), trust_badge(entry.trust),
            f"{status}{numbers}{why}", _records(frame, entry)]  # fmt: skip


def _records(frame: Frame, entry: Entry) -> str:
    """The first of its records, whose page leads to the others."""
    first = first_record(entry, frame.links)
    return f'<a href="../record/{first}.html">{len(entry.row.records)}</a>' if first else str(len(entry.row.records))


def _others(others: Sequence[Seen]) -> str:
    rows = [
        [f'<a href="../record/{s.file}.html">{line(s.case, 80)}</a>', line(f"{s.task}@{s.version}"), line(s.kind),
         str(s.seed), status_badge(s.status)]
        for s in others[:_MOST_OTHERS]
    ]  # fmt: skip
    if not rows:
        return ""
    left = len(others) - _MOST_OTHERS
    more = f"<p>{left} more are in the results folder.</p>" if left > 0 else ""
    listed = table(["Case", "Task", "Kind", "Draw", "Status"], rows, "Further records")
    return f"<details><summary>{len(others)} of them</summary>{listed}{more}</details>"


def baselines_page(frame: Frame, rows: dict[str, list[tuple[TaskPage, list[Entry]]]]) -> str:
    """All names, and the tasks that each has results on."""
    listed = [
        [f'<a href="baseline/{frame.links.baselines[name]}.html">{line(name)}</a>',
         f"<code>{line(', '.join(sorted({e.row.method for _, own in tasks for e in own})), 80)}</code>",
         _on(frame, tasks)]
        for name, tasks in sorted(rows.items())
    ]  # fmt: skip
    body = f"<h1>Methods</h1><p class=lead>{len(listed)} rows: a method with one choice of its parameters each.</p>"
    body += table(["Row", "Source file", "Results"], listed, "Methods") if listed else "<p>None yet.</p>"
    return page(frame, "Methods", body, 0, "baselines")


def _on(frame: Frame, tasks: Rows) -> str:
    return ", ".join(
        f'<a href="task/{frame.links.tasks[task.name]}.html">{line(task.name)}</a> {len(own)}' for task, own in tasks
    )
