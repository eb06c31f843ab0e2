"""`harness run`: plan, run, show."""

from __future__ import annotations

import argparse
import os
import re
import sys

from harness import paths
from harness.errors import UsageError

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
    add("--device", default="auto", choices=("cpu", "cuda", "auto"))
    add("--threads", type=int, default=None, metavar="N", help="threads of each cell (default: all cores, at most 4)")
    add("--jobs", type=int, default=1, metavar="N", help="cells at a time; timed parts still exclude each other")
    add("--timeout", type=float, default=900.0, metavar="S", help="seconds a cell may take (default: 900)")
    add("--memory-limit", default="", metavar="SIZE", help="memory of a cell, for example 4G (default: 4/5 of all)")
    add("--results", default=str(paths.DEFAULT_RESULTS), metavar="DIR", help=f"default: {paths.DEFAULT_RESULTS}")
    add("--force", action="store_true", help="run cells again that are done; both records are kept")
    add("--dry-run", action="store_true", help="print what would run and what it cost before; run nothing")
    add("--json", action="store_true", help="one JSON object a line instead of text")


def execute(options: argparse.Namespace) -> int:
    """Run and return the exit code."""
    from harness.api import default_threads, items_in, make_run, records_of, samples_in
    from harness.cli import progress
    from harness.cli.charts import print_charts
    from harness.cli.findings import print_findings
    from harness.cli.show import print_rows
    from harness.plan import parse_seeds
    from harness.runner import Options
    from harness.table import rows_of

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
        Options(options.jobs, options.timeout, parse_size(options.memory_limit), options.force, options.data,
                data_options), reporter, options.with_,
    )  # fmt: skip
    if options.dry_run:
        from harness.cli.dry_run import print_plan

        runner.judge.close()
        return print_plan(request, runner.store, options.json)
    with reporter:
        summary = runner.run(request)
    records = records_of(summary)
    if not options.json:
        print_rows(rows_of(records, samples_in(runner.store)))
        print_findings(records, items_in(runner.store))
        print_charts(records, options.results)
        print(f"\nrecords: {os.path.join(options.results, 'records')}   again as a table: harness show --results "
              f"{options.results}")  # fmt: skip
        if abs(summary.canary_drift - 1) > 0.1:
            print(f"note: this machine ran the same calculation {summary.canary_drift:.2f} times as long at the end as "
                  "at the start; compare costs of this run with care, and see `harness doctor`")  # fmt: skip
    reporter.close(summary)
    if summary.interrupted:
        print("interrupted: what is finished is kept; the same command goes on from here", file=sys.stderr)
        return 130
    # A row that states it cannot do a case has been answered; that is no failure of the run.
    return 1 if any(r.status not in ("ok", "unsupported") for r in records) else 0


def parse_size(text: str) -> int:
    """`4G`, `500M`, `1073741824` -> bytes; empty -> 0. Raises UsageError."""
    if not text:
        return 0
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", text.strip().lower())
    size = int(float(match[1]) * _UNITS[match[2]]) if match else 0
    if size <= 0:
        raise UsageError(f"--memory-limit {text!r} is no size; write, for example, --memory-limit 4G")
    return size
