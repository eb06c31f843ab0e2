"""The table of all rows of a task: as data for the browser, and as plain HTML for those without scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.board.board import CaseTable, Entry, TaskPage
from harness.board.site.escaping import html, line
from harness.board.site.words import (
    all_retracted,
    contends,
    interval,
    ms,
    number,
    place,
    reason,
    seconds,
    size,
    state,
    status_badge,
    trust_badge,
)

FIRST_ROWS = 60
"""So many rows stand on a task's page as HTML; with scripts the data file has all."""
FURTHER = 12
"""Further scores that a row's data hold; those of other settings (in brackets) are on the record's page."""
_LONGEST = 300
_FRONT = "On the front of score, latency and memory"

HEADINGS: Sequence[tuple[str, str, str]] = (
    ("more", "", "More about the row"),
    ("case", "Case", "The problem that the row answers"),
    ("baseline", "Row", "A method with one choice of its parameters"),
    ("score", "Score [95 %]", "Mean over draws, with its interval"),
    ("rank", "Rank", "The ranks that six or more common draws cannot exclude"),
    ("draws", "Draws", "Draws, or training seeds, behind the score"),
    ("latency", "Latency ms [95 %]", "One query at a time: median over processes; an interval from five processes on"),
    ("p99", "p99 ms", "From 662 samples on"),
    ("rate", "Items/s", "In batches"),
    ("build", "Build", "All before the first query"),
    ("memory", "Memory", "Peak beyond the loaded libraries / peak in all"),
    ("device", "Device", "Where it ran"),
    ("machine", "Machine", "Machine class: costs compare only within one"),
    ("trust", "Trust", "What others found"),
    ("state", "Status", "ok, or what happened"),
)
"""Column, heading, and what it means."""
_NARROW = {"more": "js", "case": "p1", "draws": "p3", "p99": "p3", "rate": "p3", "build": "p3", "memory": "p2",
           "device": "p3", "machine": "p3", "trust": "p2", "latency": "p1"}  # fmt: skip
"""From which width on a column is shown."""


@dataclass
class Strings:
    """Texts that many rows share, by number."""

    texts: list[str] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)

    def of(self, text: str) -> int:
        if text not in self.numbers:
            self.numbers[text] = len(self.texts)
            self.texts.append(text)
        return self.numbers[text]


@dataclass(frozen=True)
class Links:
    """File names of pages, without ending, by what they are of."""

    tasks: Mapping[str, str]
    baselines: Mapping[str, str]
    records: Mapping[str, str]
    releases: Mapping[str, str] = field(default_factory=dict)


def ordered(task: TaskPage) -> list[tuple[CaseTable, Entry]]:
    return [(case, entry) for case in task.cases for entry in case.entries]


def rows_json(task: TaskPage, links: Links) -> dict[str, Any]:
    """What `table.js` reads: `rows` are arrays in the order of `fields`, texts are numbers into `strings`."""
    strings = Strings([""], {"": 0})
    rows = [_row_json(entry, links, strings) for _, entry in ordered(task)]
    return {"task": task.name, "score": _main(task), "strings": strings.texts, "rows": rows,
            "baselines": {str(strings.of(n)): links.baselines[n] for n in _names(task)}}  # fmt: skip


def _names(task: TaskPage) -> list[str]:
    return sorted({entry.row.baseline for _, entry in ordered(task)})


def _main(task: TaskPage) -> dict[str, Any]:
    main = next((s for s in task.scores if s.main), None)
    if main is None:
        return {"name": "score", "unit": "", "best": None, "up": True}
    return {"name": main.name, "unit": main.unit, "best": main.best, "up": main.higher_is_better}


def _row_json(entry: Entry, links: Links, strings: Strings) -> list[Any]:
    row = entry.row
    gone = all_retracted(entry)
    low, high = row.interval or (None, None)
    first, last = row.rank or (None, None)
    quick, slow = row.latency_interval_ns or (None, None)
    flags = entry.front + 2 * contends(entry) + 4 * (row.kind == "control") + 8 * row.canary_moved + 16 * gone
    values = [
        strings.of(row.case), strings.of(row.baseline), _brief(row.score), _brief(low), _brief(high), first, last,
        row.draws, _brief(row.latency_ns, 1e6), _brief(quick, 1e6), _brief(slow, 1e6), _brief(row.latency_p99_ns, 1e6),
        _brief(row.throughput_per_s), _brief(row.build_s), _brief(row.delta_rss_bytes, 1e6),
        _brief(row.peak_rss_bytes, 1e6), strings.of(row.device), strings.of(row.machine), strings.of(entry.trust),
        strings.of(state(entry)), strings.of(row.method), flags, strings.of(reason(entry)[:_LONGEST]),
        [strings.of(m) for m in marks_of(entry)], first_record(entry, links) or 0, len(row.records),
        strings.of(params_text(row.params)), [v for pair in _further(entry, strings) for v in pair],
        [strings.of(n[:_LONGEST]) for n in row.notes[:3]], row.failures, _brief(row.gpu_peak_bytes, 1e6),
    ]  # fmt: skip
    while values[-1] in (None, 0, []):  # what is empty at the end need not be written
        values.pop()
    return values


def _brief(value: float | None, unit: float = 1.0) -> float | None:
    """Five digits: more are on the record's page. Whole numbers are written without a point."""
    if value is None:
        return None
    short = float(f"{value / unit:.5g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short


def _further(entry: Entry, strings: Strings) -> list[tuple[int, float | None]]:
    row = entry.row
    names = [n for n in row.scores if n != row.main_score and "[" not in n][:FURTHER]
    return [(strings.of(n), _brief(row.scores[n])) for n in names]


def params_text(params: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in params.items())


def marks_of(entry: Entry) -> list[str]:
    """What a reader must know of a row, besides its status."""
    marks = [m[:_LONGEST] for m in entry.marks]
    if entry.retracted and not all_retracted(entry):
        marks += [f"one of its records was retracted: {r.reason}"[:_LONGEST] for r in entry.retracted]
    if entry.row.failures and entry.row.status == "ok":
        marks.append(f"{entry.row.failures} of its {len(entry.row.records)} runs did not end well")
    return marks


# --- without scripts ------------------------------------------------------------------------------------------------


def static_table(task: TaskPage, links: Links, to_root: str) -> str:
    """The first rows as HTML. The browser's table takes its place and its headings."""
    rows = ordered(task)
    head = "".join(
        f'<th scope="col" data-column="{name}" class="{_class(name)}" title="{html(says)}">'
        f"{html(heading) or '<span class=unseen>More</span>'}</th>"
        for name, heading, says in HEADINGS
    )
    body = "".join(_static_row(entry, links, to_root) for _, entry in rows[:FIRST_ROWS])
    left = len(rows) - FIRST_ROWS
    more = (
        f"<noscript><p>{left} further rows need JavaScript, or the CSV of a release.</p></noscript>" if left > 0 else ""
    )
    return (
        f'<div class="scroll" role="region" aria-labelledby="rows-heading" tabindex="0"><table id="rows" class="rows">'
        f"<caption class=unseen>All rows of {html(task.name)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{more}"
    )


def _class(column: str) -> str:
    right = "num " if column in ("score", "rank", "draws", "latency", "p99", "rate", "build", "memory") else ""
    return (right + _NARROW.get(column, "")).strip()


def _static_row(entry: Entry, links: Links, to_root: str) -> str:
    row = entry.row
    cells = cells_of(entry)
    cells["baseline"] = f'<a href="{to_root}baseline/{links.baselines[row.baseline]}.html">{line(row.baseline)}</a>'
    cells["more"] = ""
    body = "".join(f'<td class="{_class(name)}">{cells[name]}</td>' for name, _, _ in HEADINGS)
    return f'<tr class="{row_class(entry)}">{body}</tr>'


def row_class(entry: Entry) -> str:
    if all_retracted(entry):
        return "retracted"
    if entry.row.status != "ok":
        return "failed"
    return "control" if entry.row.kind == "control" else ""


def front_mark(entry: Entry) -> str:
    """A sign for the rows on the front; empty for others."""
    return f' <span class="front" title="{_FRONT}">\u25c6<span class=unseen> front</span></span>' if entry.front else ""


def first_record(entry: Entry, links: Links) -> str:
    """The page of a row's first record, which leads to those of the others; empty if there is none."""
    return next((links.records[r] for r in entry.row.records if r in links.records), "")


def cells_of(entry: Entry) -> dict[str, str]:
    """Every cell of a row as HTML, but for links."""
    row = entry.row
    marks = "".join(f'<span class="mark" title="{html(m)}">{html(m)}</span>' for m in marks_of(entry))
    why = f'<span class="why">{line(reason(entry), 200)}</span>' if reason(entry) else ""
    memory = f"{size(row.delta_rss_bytes)} / {size(row.peak_rss_bytes)}" if row.peak_rss_bytes else "\u2013"
    latency = row.latency_interval_ns
    return {
        "case": line(row.case),
        "baseline": line(row.baseline),
        "score": _with(number(row.score), interval(row.interval)) + front_mark(entry),
        "rank": f'<span class="{"faint" if row.rank is None else ""}">{place(entry)}</span>',
        "draws": str(row.draws),
        "latency": _with(ms(row.latency_ns), f"[{ms(latency[0])}, {ms(latency[1])}]" if latency else "")
        + (" ~" if row.canary_moved and row.latency_ns is not None else ""),
        "p99": ms(row.latency_p99_ns),
        "rate": "\u2013" if not row.throughput_per_s else f"{row.throughput_per_s:,.0f}",
        "build": seconds(row.build_s),
        "memory": memory,
        "device": line(row.device),
        "machine": f'<span title="{html(row.machine)}">{line(row.machine[:8])}</span>',
        "trust": trust_badge(entry.trust),
        "state": f"{status_badge(state(entry))}{why}{marks}",
    }


def _with(value: str, beside: str) -> str:
    return f'<b>{value}</b> <span class="ci">{beside}</span>' if beside else f"<b>{value}</b>"
