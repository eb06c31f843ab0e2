"""`harness track check`: the last night against its past."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add = parser.add_argument
    add("--history", default="results/history", metavar="DIR", help="default: results/history")
    add("--repo", default=".", metavar="DIR", help="the checkout whose commits are run again (default: this folder)")
    add("--night", default="", metavar="ID", help="another than the last one of this machine")
    add("--budget", default="1h", metavar="TIME", help="for running again what looks bad (default: 1h)")
    add("--timeout", type=float, default=900.0, metavar="SECONDS", help="of one cell (default: 900)")
    add(
        "--again", action="store_true", help="a night that was checked already: both verdicts are kept, the last counts"
    )


def execute(options: argparse.Namespace) -> int:
    """Judge, keep the verdict beside the night, and print it. The exit code says which it is."""
    from harness.budget import parse_duration
    from harness.errors import UsageError
    from harness.interruption import interruptible
    from harness.measure import environment
    from harness.track.check import check_name, check_night
    from harness.track.evidence import Trees
    from harness.track.findings import EXIT_CODES
    from harness.track.history import History
    from harness.track.report import read_kept, report_of
    from harness.track.telling import as_text
    from harness.track.trees import between

    if not 0 < options.timeout < float("inf"):
        raise UsageError(f"--timeout {options.timeout:g}: must be more than 0 seconds; write --timeout 900")
    here = environment.fingerprint(environment.collect())
    history = History(options.history, here)
    name = check_name(history, options.night, options.again)
    repo = Path(options.repo)
    with interruptible(), Trees(repo, options.timeout) as trees:
        check = check_night(
            history, options.night, trees, commits=lambda good, bad: between(repo, good, bad),
            budget_s=parse_duration(options.budget), told=lambda text: print(text, file=sys.stderr, flush=True),
        )  # fmt: skip
    path = history.add_file("checks", name, check)
    kept = read_kept(Path(options.history), here, check.night)
    print(as_text(report_of(kept, kept.nights[-1])).rstrip("\n"))
    print(f"kept in {path}")
    return EXIT_CODES[check.state]
