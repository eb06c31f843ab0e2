"""`harness show`: results as a table in the terminal, as Markdown, LaTeX, CSV or JSON."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence

from harness.cli.advice import advice_for
from harness.cli.forms import Sheet, comma_separated, latex, markdown, sheets
from harness.table import Row
from harness.text import cell, plain


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--task", default="", metavar="NAME[,NAME]")
    parser.add_argument("--case", default="", metavar="GLOB")
    parser.add_argument("--baseline", default="", metavar="NAME")
    parser.add_argument(
        "--results", default="", metavar="DIR", help="default: results/local, else the published results"
    )
    parser.add_argument("--charts", default="", metavar="DIR", help="write the charts that the results support there")
    parser.add_argument("--format", default="table", choices=("table", "md", "latex", "csv", "json"))


def execute(options: argparse.Namespace) -> int:
    """Print results; exit code 3 if there are none."""
    import fnmatch

    from harness.cli.charts import print_charts
    from harness.cli.findings import print_findings
    from harness.errors import NothingMatched, StoreError
    from harness.known import items_in, samples_in
    from harness.paths import default_results
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
    if (store.root / "statements").is_dir():
        from harness.board.read import counted

        records, retracted = counted(store, records)
        if retracted:
            print(f"harness: {retracted} retracted records left out; `harness board` shows them", file=sys.stderr)
    rows = [
        r for r in rows_of(records, samples_in(store))
        if (not options.case or fnmatch.fnmatchcase(r.case, options.case)) and options.baseline in ("", r.baseline)
    ]  # fmt: skip
    if not rows:
        raise NothingMatched(f"no results like that under {store.root}; `harness run --task limit` makes some")
    print_rows(rows, options.format)
    # with what searches have found within the case
    chosen = [r for r in records if not options.case or fnmatch.fnmatchcase(r.case.within or r.case.name, options.case)]
    if options.format in ("table", "md"):
        print_findings(chosen, items_in(store), options.format, options.baseline)
    if options.charts:
        print_charts(chosen, options.charts)
    return 0


def print_rows(rows: Sequence[Row], form: str = "table") -> None:
    """Print rows in one of the five forms."""
    if form == "json":
        print(json.dumps([r.as_dict() for r in rows], indent=1))
        return
    if form == "csv":
        print(comma_separated(rows), end="")
        return
    if form == "latex":
        print("% needs \\usepackage{booktabs} and \\usepackage[T1]{fontenc}")
    for sheet in sheets(rows):
        if form == "md":
            title, about = cell(sheet.title), cell(sheet.about)
            print(f"### {title}\n\n{about}\n" if about else f"### {title}\n")
            print(markdown([sheet.headings, *sheet.body]) + "\n")
        elif form == "latex":
            print(latex(sheet) + "\n")
        else:
            _rich(sheet)
    for sentence in advice_for(rows):
        print(f"% {' '.join(sentence.split())}" if form == "latex" else plain(sentence))
    if form == "table":
        print(_LEGEND)


_LEGEND = (
    "[low, high]: 95 % interval over draws (within the draw, if there is one only). rank: ranks that six or more\n"
    "common draws cannot exclude; none shown: not resolved (--seeds 6). latency: one query at a time, median over\n"
    "processes, interval from five processes or more. memory: peak beyond the loaded libraries / peak in all.\n"
    "~ : the machine's speed moved while that row was timed. effort: the query-time parameter (ef, nprobe) shown."
)


def _rich(sheet: Sheet) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    width = None if sys.stdout.isatty() else int(os.environ.get("COLUMNS", "180"))
    console = Console(width=width, highlight=False)
    keep = _fitting(sheet, console.width)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index in keep:
        table.add_column(
            Text(sheet.headings[index]),
            justify="left" if index < 2 else "right",
            no_wrap=index > 1,
            overflow="fold",
            max_width=44 if index == 0 else None,
        )
    for cells, row in zip(sheet.body, sheet.rows, strict=True):
        table.add_row(*(Text(plain(cells[i])) for i in keep), style=None if row.status == "ok" else "red")
    console.print(Text(plain(f"{sheet.title}\n{sheet.about}".strip()), style="bold"), table)
    if left := [sheet.headings[index] for index in sheet.columns() if index not in keep]:
        print(f"no room here for: {', '.join(left)} (`harness show --format md` has all)")
    print()


def _fitting(sheet: Sheet, width: int) -> list[int]:
    """The columns that there is room for, from the left: else it would be the names and scores, which can be folded,
    that vanish."""
    keep, room = [], width + 2  # two spaces between columns
    for index in sheet.columns():
        longest = max(len(line[index]) for line in (sheet.headings, *sheet.body))
        room -= 2 + (min(longest, 24) if index < 2 else longest)
        if index < 2 or room >= 0:
            keep.append(index)
        else:
            break
    return keep
