"""`harness run`: plan, run, show."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness import paths
from harness.budget import parse_duration
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.plan import Request
    from harness.record import Record
    from harness.store import Store
    from harness.table import Row

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add = parser.add_argument
    add("--task", required=True, metavar="NAME[,NAME]", help="task or family, for example limit or limit/retrieval")
    add("--baseline", nargs="+", action="extend", default=[], metavar="NAME",
        help="row or file name, 'pattern*', PATH.py, or mteb:MODEL; default: all that are installed")  # fmt: skip
    add("--case", default="", metavar="GLOB", help="only cases whose name matches, for example '1000-*'")
    add(
        "--scale", default="standard", choices=("smoke", "standard", "full"), help="how much to run (default: standard)"
    )
    add("--seeds", default=None, metavar="N", help="5: five draws; 7,8: those; fresh: a secret one (default: by scale)")
    add("--data", default="", metavar="PATH", help="your own data instead of the cases, for example a folder with "
        "corpus.jsonl, queries.jsonl and qrels.jsonl, or vectors.npy")  # fmt: skip
    add("--queries", default="", metavar="PATH", help="vectors to search your --data for (default: some held out)")
    add("--qrels", default="", metavar="PATH", help="which of your --data answer which --queries: JSON lines or "
        "tab-separated, query number and row number (default: the exact neighbours count)")  # fmt: skip
    add("--metric", default="", choices=("l2", "cosine", "ip"), help="how vectors of --data compare (default: l2)")
    add("--with", dest="with_", action="append", default=[], metavar="NAME==VERSION",
        help="run the rows that need this package with that version, in a cached environment; repeat to compare "
        "several, 'current': what is installed, 'a==1.0,b==2.1': both in one")  # fmt: skip
    add("--set", dest="set_", nargs="+", action="extend", default=[], metavar="NAME=VALUE",
        help="other values for parameters of the cases, for example steps=8000")  # fmt: skip
    add("--device", default="auto", choices=("cpu", "cuda", "auto"))
    add("--threads", type=int, default=None, metavar="N", help="threads of each cell (default: all cores, at most 4)")
    add("--jobs", type=int, default=None, metavar="N", help="cells at a time; timed parts still exclude each other "
        "(default: 1, for tasks that train as many as there are cores)")  # fmt: skip
    add("--timeout", type=float, default=900.0, metavar="S", help="seconds a cell may take (default: 900)")
    add("--budget", default="", metavar="TIME", help="start no cell that would end later than this, for example 90s, "
        "30m or 2h; the same command goes on from there")  # fmt: skip
    add("--memory-limit", default="", metavar="SIZE", help="memory of a cell, for example 4G (default: 4/5 of all)")
    add("--results", default=str(paths.DEFAULT_RESULTS), metavar="DIR", help=f"default: {paths.DEFAULT_RESULTS}")
    add("--force", action="store_true", help="run cells again that are done; both records are kept")
    add("--dry-run", action="store_true", help="print what would run and what it cost before; run nothing")
    add("--alone", action="store_true", help="leave out the published rows that are shown beside a PATH.py")
    add("--json", action="store_true", help="one JSON object a line instead of text")


def execute(options: argparse.Namespace) -> int:
    """Run and return the exit code."""
    from harness.api import default_threads, make_run, records_of
    from harness.beside import SENTENCE
    from harness.cli import progress
    from harness.cli.charts import print_charts
    from harness.cli.findings import print_findings
    from harness.cli.show import print_rows
    from harness.known import items_in
    from harness.plan import parse_seeds
    from harness.runner import Options

    if not sys.platform.startswith("linux"):
        raise UsageError(
            "running needs Linux (process limits and memory are read from /proc); `harness show` works here"
        )
    reporter = progress.choose(options.json, options.dry_run)
    threads = default_threads() if options.threads is None else options.threads
    said = {"queries": options.queries, "qrels": options.qrels, "metric": options.metric}
    data_options = {name: value for name, value in said.items() if value}
    if data_options and not options.data:
        raise UsageError(f"--{next(iter(data_options))} says something of --data, which is missing; name it as well")
    runner, request = make_run(
        options.task, options.baseline, options.case, options.scale,
        parse_seeds(options.seeds) if options.seeds is not None else None, options.device, threads, options.results,
        Options(
            jobs=_jobs(options.jobs), timeout_s=options.timeout, memory_limit_bytes=parse_size(options.memory_limit),
            force=options.force, data=options.data, data_options=data_options,
            budget_s=parse_duration(options.budget),
        ), reporter, options.with_, changes(options.set_),
    )  # fmt: skip
    if options.dry_run:
        from harness.cli.dry_run import print_plan

        runner.judge.close()
        return print_plan(request, runner.store, options.json)
    with reporter:
        summary = runner.run(request)
    records = records_of(summary)
    if not options.json:
        rows, known = _rows(records, runner.store, request, options)
        print_rows(rows)
        if any(row.published for row in rows):
            print(SENTENCE)
        print_findings(records, items_in(runner.store), beside=known)
        print_charts(records, options.results, known)
        print(f"\nrecords: {os.path.join(options.results, 'records')}   again as a table: harness show --results "
              f"{options.results}")  # fmt: skip
        if abs(summary.canary_drift - 1) > 0.1:
            print(f"note: this machine ran the same calculation {summary.canary_drift:.2f} times as long at the end as "
                  "at the start; compare costs of this run with care, and see `harness doctor`")  # fmt: skip
    if summary.left:
        reporter.note(f"--budget {options.budget} is spent: {summary.left} cells left; the same command goes on")
    reporter.close(summary)
    if summary.interrupted:
        print("interrupted: what is finished is kept; the same command goes on from here", file=sys.stderr)
        return 130
    # A row that states it cannot do a case has been answered; that is no failure of the run.
    return 1 if any(r.status not in ("ok", "unsupported") for r in records) else 0


def _rows(
    records: Sequence[Record], store: Store, request: Request, options: argparse.Namespace
) -> tuple[list[Row], list[Record]]:
    """The rows of a run, with the published ones beside a method of the user's own; and the records of these."""
    from harness import beside
    from harness.known import samples_in
    from harness.table import rows_of

    own = samples_in(store)
    published = None if options.alone else beside.published_store(request, options.results)
    if published is None:
        return rows_of(records, own), []
    known = samples_in(published)
    found, broken = beside.comparable(records, published, request.scale)
    for bad in broken:
        print(f"harness: {bad.path} left out: {bad.reason}", file=sys.stderr)
    return beside.rows_beside(records, found, lambda record: own(record) or known(record)), found


def changes(words: Sequence[str]) -> dict[str, str]:
    """`["steps=8000"]` -> {"steps": "8000"}. Raises UsageError."""
    for word in words:
        if not re.fullmatch(r"[a-z_]+=.*", word):
            raise UsageError(f"--set {word!r} is no NAME=VALUE; write, for example, --set steps=8000")
    return dict(word.split("=", 1) for word in words)


def _jobs(asked: int | None) -> int:
    if asked is not None and asked < 1:
        raise UsageError(f"--jobs {asked}: at least one job is needed; write --jobs 1, or leave it out")
    return asked or 0


def parse_size(text: str) -> int:
    """`4G`, `500M`, `1073741824` -> bytes; empty -> 0. Raises UsageError."""
    if not text:
        return 0
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", text.strip().lower())
    size = int(float(match[1]) * _UNITS[match[2]]) if match else 0
    if size <= 0:
        raise UsageError(f"--memory-limit {text!r} is no size; write, for example, --memory-limit 4G")
    return size
