"""The forms that a table of results takes: cells of text, Markdown, LaTeX, and CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from harness.table import Row
from harness.text import cell, spreadsheet

FURTHER = 5
"""Scores besides the main one that a table has room for."""


@dataclass(frozen=True)
class Sheet:
    """The table of one case, in words."""

    title: str
    about: str
    headings: Sequence[str]
    body: Sequence[Sequence[str]]
    rows: Sequence[Row]

    def columns(self) -> list[int]:
        """Those that say anything, the first two in any case."""
        return [i for i, _ in enumerate(self.headings) if i < 2 or any(line[i] not in ("", "-") for line in self.body)]


def sheets(rows: Sequence[Row]) -> list[Sheet]:
    """One for each task and case, in the order of the rows."""
    made = []
    for (task, case), members in groupby(rows, key=lambda r: (r.task, r.case)):
        group = list(members)
        title = f"{task} (version {group[0].task_version}), case {case}"
        further = _further(group)
        made.append(Sheet(title, _about(group), _headings(group, further), [_cells(r, further) for r in group], group))
    return made


def _headings(rows: Sequence[Row], further: Sequence[str]) -> list[str]:
    main = next((r.main_score for r in rows if r.main_score), "score")
    return ["baseline", f"{main} [95 %]", *further, "rank", "draws", "latency ms [95 %]", "p99 ms",
            "items/s", "build s", "memory MB", "device"]  # fmt: skip


def _further(rows: Sequence[Row]) -> list[str]:
    """Further scores that get a column; those of other settings (in brackets) are in the JSON only."""
    fullest = sorted(rows, key=lambda r: -len(r.scores))  # its order is the one that the task declares
    names = dict.fromkeys(n for r in fullest for n in r.scores if n != r.main_score and "[" not in n)
    return list(names)[:FURTHER]


def _about(rows: Sequence[Row]) -> str:
    """What the task says of the data, of the newest draw."""
    about = next((r.about for r in rows if r.about), {})
    return ", ".join(
        f"{name} {_number(v) if isinstance(v, float) else v}"
        for name, v in about.items()
        if not name.endswith("digest")
    )


def _cells(row: Row, further: Sequence[str]) -> list[str]:
    shown = [_number(row.scores[name]) if name in row.scores else "-" for name in further]
    if row.score is None:
        score = row.status + (f": {row.reason.splitlines()[0]}" if row.reason else "")
    else:
        score = _number(row.score) + (
            f" [{_number(row.interval[0])}, {_number(row.interval[1])}]" if row.interval else ""
        )
        score += f" ({row.unranked})" if row.unranked else ""
    latency = "-"
    if row.latency_ns is not None:
        latency = _ms(row.latency_ns)
        if row.latency_interval_ns:
            latency += f" [{_ms(row.latency_interval_ns[0])}, {_ms(row.latency_interval_ns[1])}]"
        latency += " ~" if row.canary_moved else ""
    memory = f"{(row.delta_rss_bytes or 0) / 1e6:.0f} / {row.peak_rss_bytes / 1e6:.0f}" if row.peak_rss_bytes else "-"
    return [
        row.baseline + (" (published)" if row.published else ""), score, *shown,
        f"{row.rank[0]}-{row.rank[1]}" if row.rank else "-", str(row.draws), latency,
        _ms(row.latency_p99_ns) if row.latency_p99_ns else "-",
        f"{row.throughput_per_s:,.0f}" if row.throughput_per_s else "-",
        f"{row.build_s:.2f}" if row.build_s is not None else "-", memory, row.device,
    ]  # fmt: skip


def _number(value: float) -> str:
    if 0 <= value <= 1:
        return f"{value:.3g}" if 0 < value < 0.01 else f"{value:.3f}"
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"


def _ms(ns: float) -> str:
    return f"{ns / 1e6:.3g}"


def markdown(lines: Sequence[Sequence[str]]) -> str:
    head, *body = lines
    rows = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(map(cell, r)) + " |" for r in rows)


def latex(sheet: Sheet) -> str:
    """A `table` for the package booktabs; the best score is bold, and all that are printed as the same."""
    keep, best = sheet.columns(), _best(sheet.rows)
    lines = []
    for row, cells in zip(sheet.rows, sheet.body, strict=True):
        shown = [_first(escaped(cells[0])), *(escaped(cells[i]) for i in keep[1:])]
        if row.score is not None and _number(row.score) in best and _contends(row):
            score, space, rest = shown[1].partition(" ")
            shown[1] = f"\\textbf{{{score}}}{space}{rest}"
        lines.append("    " + " & ".join(shown) + r" \\")
    label = re.sub(r"[^A-Za-z0-9]+", "-", f"{sheet.rows[0].task}-{sheet.rows[0].case}").strip("-")
    caption = escaped(f"{sheet.title}. {sheet.about}" if sheet.about else sheet.title)
    return "\n".join([
        r"\begin{table}", r"  \centering", rf"  \caption{{{caption}}}",
        rf"  \label{{tab:{label}}}", rf"  \begin{{tabular}}{{ll{'r' * (len(keep) - 2)}}}", r"    \toprule",
        "    " + " & ".join(escaped(sheet.headings[i]) for i in keep) + r" \\", r"    \midrule", *lines,
        r"    \bottomrule", r"  \end{tabular}", r"\end{table}",
    ])  # fmt: skip


_SPECIAL = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "`": r"\textasciigrave{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}",
    **{c: f"\\{c}" for c in "&%$#_{}"},
}  # fmt: skip


def escaped(text: str) -> str:
    """Text that LaTeX prints as it stands, on one line: no command, no comment, no dash made of two hyphens."""
    plain = re.sub(r"[\x00-\x1f\x7f\s]+", " ", text)
    return re.sub(r"([-,'])(?=\1)", r"\1{}", "".join(_SPECIAL.get(c, c) for c in plain))


def _first(cell: str) -> str:
    """A row may not begin with what the end of the line before takes for its argument: `[` or `*`."""
    return "{}" + cell if cell.lstrip()[:1] in ("[", "*") else cell


def _contends(row: Row) -> bool:
    return row.kind == "cell" and not row.unranked


def _best(rows: Sequence[Row]) -> set[str]:
    """The best score as it is printed; empty if there is none. Controls and rows that missed a gate do not count."""
    scored = [(r.score, r.higher_is_better) for r in rows if r.score is not None and _contends(r)]
    if not scored:
        return set()
    values = [value for value, _ in scored]
    return {_number(max(values) if scored[0][1] else min(values))}


def comma_separated(rows: Sequence[Row]) -> str:
    names = list(dict.fromkeys(n for r in rows for n in r.scores))
    fixed = ["task", "task_version", "case", "baseline", "device", "status", "main_score", "score", "interval_low",
             "interval_high", "rank_low", "rank_high", "draws", "latency_ns", "latency_low_ns", "latency_high_ns",
             "latency_p99_ns", "processes", "throughput_per_s", "build_s", "delta_rss_bytes", "peak_rss_bytes",
             "gpu_peak_bytes", "cost_s", "canary_moved", "reason"]  # fmt: skip
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(fixed + names)
    for r in rows:
        pairs = {"interval": r.interval, "rank": r.rank, "latency": r.latency_interval_ns}
        flat = {**r.as_dict()}
        for name, pair in pairs.items():
            unit = "_ns" if name == "latency" else ""
            flat[f"{name}_low{unit}"], flat[f"{name}_high{unit}"] = pair or ("", "")
        values = [flat.get(k) for k in fixed] + [r.scores.get(n) for n in names]
        writer.writerow([spreadsheet(v) if isinstance(v, str) else v for v in values])
    return out.getvalue()
