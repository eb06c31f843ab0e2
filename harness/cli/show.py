"""`harness show`: results as a table in the terminal, as Markdown, CSV or JSON."""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import sys
from collections.abc import Sequence
from itertools import groupby

from harness.cli.advice import advice_for
from harness.table import Row

FURTHER = 5
"""Scores besides the main one that a table has room for."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--task", default="", metavar="NAME[,NAME]")
    parser.add_argument("--case", default="", metavar="GLOB")
    parser.add_argument("--baseline", default="", metavar="NAME")
    parser.add_argument(
        "--results", default="", metavar="DIR", help="default: results/local, else the published results"
    )
    parser.add_argument("--charts", default="", metavar="DIR", help="write the charts that the results support there")
    parser.add_argument("--format", default="table", choices=("table", "md", "csv", "json"))


def execute(options: argparse.Namespace) -> int:
    """Print results; exit code 3 if there are none."""
    import fnmatch

    from harness.api import default_results, items_in, samples_in
    from harness.cli.charts import print_charts
    from harness.cli.findings import print_findings
    from harness.errors import NothingMatched, StoreError
    from harness.registry import load_registry
    from harness.store import Store
    from harness.table import rows_of

    tasks = [t.name for t in load_registry().select_tasks(options.task)] if options.task else [""]
    store = Store(options.results or default_results())
    if options.results and not store.root.is_dir():
        raise StoreError(f"{store.root} is no folder; name one that holds `records/` with --results DIR")
    records = []
    for task in tasks:
        found, broken = store.load(task)
        records += found
        for bad in broken:
            print(f"harness: {bad.path} left out: {bad.reason}; `harness results clean` moves it away", file=sys.stderr)
    rows = [
        r for r in rows_of(records, samples_in(store))
        if (not options.case or fnmatch.fnmatchcase(r.case, options.case)) and options.baseline in ("", r.baseline)
    ]  # fmt: skip
    if not rows:
        raise NothingMatched(f"no results like that under {store.root}; `harness run --task limit` makes some")
    print_rows(rows, options.format)
    chosen = [r for r in records if not options.case or fnmatch.fnmatchcase(r.case.name, options.case)]
    if options.format in ("table", "md"):
        print_findings(chosen, items_in(store), options.format, options.baseline)
    if options.charts:
        print_charts(chosen, options.charts)
    return 0


def print_rows(rows: Sequence[Row], form: str = "table") -> None:
    """Print rows in one of the four forms."""
    if form == "json":
        print(json.dumps([r.as_dict() for r in rows], indent=1))
    elif form == "csv":
        print(_csv(rows), end="")
    else:
        for (task, case), members in groupby(rows, key=lambda r: (r.task, r.case)):
            group = list(members)
            title = f"{task} (version {group[0].task_version}), case {case}"
            about = _about(group)
            body = [_cells(r, _others(group)) for r in group]
            if form == "md":
                print(f"### {title}\n\n{about}\n" if about else f"### {title}\n")
                print(markdown([_headings(group), *body]) + "\n")
            else:
                _rich(f"{title}\n{about}".strip(), _headings(group), body, group)
        for sentence in advice_for(rows):
            print(sentence)
        if form == "table":
            print(_LEGEND)


_LEGEND = (
    "[low, high]: 95 % interval over draws (within the draw, if there is one only). rank: ranks that six or more\n"
    "common draws cannot exclude; none shown: not resolved (--seeds 6). latency: one query at a time, median over\n"
    "processes, interval from five processes or more. memory: peak beyond the loaded libraries / peak in all.\n"
    "~ : the machine's speed moved while that row was timed. effort: the query-time parameter (ef, nprobe) shown."
)


def _headings(rows: Sequence[Row]) -> list[str]:
    main = next((r.main_score for r in rows if r.main_score), "score")
    return ["baseline", f"{main} [95 %]", *_others(rows), "rank", "draws", "latency ms [95 %]", "p99 ms",
            "items/s", "build s", "memory MB", "device"]  # fmt: skip


def _others(rows: Sequence[Row]) -> list[str]:
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


def _cells(row: Row, others: Sequence[str]) -> list[str]:
    shown = [_number(row.scores[name]) if name in row.scores else "-" for name in others]
    if row.score is None:
        score = row.status + (f": {row.reason.splitlines()[0]}" if row.reason else "")
    else:
        score = _number(row.score) + (
            f" [{_number(row.interval[0])}, {_number(row.interval[1])}]" if row.interval else ""
        )
    latency = "-"
    if row.latency_ns is not None:
        latency = _ms(row.latency_ns)
        if row.latency_interval_ns:
            latency += f" [{_ms(row.latency_interval_ns[0])}, {_ms(row.latency_interval_ns[1])}]"
        latency += " ~" if row.canary_moved else ""
    memory = f"{(row.delta_rss_bytes or 0) / 1e6:.0f} / {row.peak_rss_bytes / 1e6:.0f}" if row.peak_rss_bytes else "-"
    return [
        row.baseline, score, *shown, f"{row.rank[0]}-{row.rank[1]}" if row.rank else "-", str(row.draws), latency,
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


def _rich(title: str, headings: Sequence[str], body: Sequence[Sequence[str]], rows: Sequence[Row]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    terminal = sys.stdout.isatty()
    keep = [i for i, _ in enumerate(headings) if i < 2 or any(i < len(c) and c[i] not in ("", "-") for c in body)]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index in keep:
        table.add_column(
            Text(headings[index]),
            justify="left" if index < 2 else "right",
            no_wrap=index > 1,
            overflow="fold",
            max_width=44 if index == 0 else None,
        )
    for cells, row in zip(body, rows, strict=True):
        table.add_row(*(Text(cells[i]) for i in keep), style=None if row.status == "ok" else "red")
    width = None if terminal else int(os.environ.get("COLUMNS", "180"))
    console = Console(width=width, highlight=False)
    console.print(Text(title, style="bold"), table)
    print()


def markdown(lines: Sequence[Sequence[str]]) -> str:
    head, *body = lines
    rows = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(c.replace("|", "\\|").replace("\n", " ") for c in r) + " |" for r in rows)


def _csv(rows: Sequence[Row]) -> str:
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
        # a leading apostrophe keeps spreadsheets from reading a reason or a name as a formula
        values = [flat.get(k) for k in fixed] + [r.scores.get(n) for n in names]
        writer.writerow([f"'{v}" if isinstance(v, str) and v[:1] in "=+-@" and v else v for v in values])
    return out.getvalue()
