"""`harness verify`: check a submission, run a sample of it again, and say what may be believed."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.budget import parse_duration
from harness.errors import UsageError
from harness.text import one_line

if TYPE_CHECKING:
    from harness.record import Record

VERIFIED, REFUSED, USAGE, NOT_HERE = 0, 1, 2, 4


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.epilog = ("exit codes: 0 verified; 1 refused, a check failed; 2 bad usage; 4 could not be verified here, "
                     "since a layer of isolation or a package is missing")  # fmt: skip
    add = parser.add_argument
    add("submission", metavar="DIR", help="the folder that `harness submit` wrote, or a .zip or .tar.gz of it")
    add("--trust", action="store_true", help="it is your own file: run it without the box")
    add("--cells", type=int, default=0, metavar="N", help="run this many cells again (default: what the budget allows)")
    add("--budget", default="30m", metavar="TIME", help="how long it may take, about (default: 30m)")
    add("--seed", type=int, default=None, metavar="N", help="choose the cells by this number (default: at random); "
        "fresh draws are secret in any case")  # fmt: skip
    add("--results", default="", metavar="DIR", help="a results folder that holds the records: state there what was "
        "found")  # fmt: skip
    add("--json", action="store_true", help="one JSON object instead of text")


def execute(options: argparse.Namespace) -> int:
    """Verify; return the exit code."""
    import random
    from pathlib import Path

    from harness.submission.folder import SubmissionError, open_submission
    from harness.submission.verdict import Verification
    from harness.submission.verify import state, verify

    if options.cells < 0:
        raise UsageError(f"--cells {options.cells}: write 1 or more, or leave it out")
    budget = parse_duration(options.budget)
    if not Path(options.submission).exists():
        raise UsageError(f"{options.submission}: no such folder or archive; `harness submit FILE` writes one")
    rng = random.Random(options.seed) if options.seed is not None else None

    def note(text: str) -> None:
        print(text, file=sys.stderr)

    stated = ""
    try:
        with open_submission(options.submission) as submission:
            found = verify(submission, trusted=options.trust, cells=options.cells, budget_s=budget, rng=rng,
                           beside=_controls(), note=note)  # fmt: skip
            if options.results and found.verdict == "verified":
                stated = state(found, submission, Path(options.results))
    except SubmissionError as error:
        found = Verification()
        found.add("folder", "failed", str(error))
    if options.json:
        print(json.dumps({**found.as_dict(), "statement": stated}, indent=1))
    else:
        print_checks([(c.name, c.verdict, c.evidence) for c in found.checks])
        print(f"\n{one_line(found.sentence())}" + (f"\n{one_line(stated)}" if stated else ""))
    return {"verified": VERIFIED, "refused": REFUSED}.get(found.verdict, NOT_HERE)


def _controls() -> list[Record]:
    """Published answers of the oracle, which nothing can beat."""
    from harness import paths
    from harness.registry import ORACLE
    from harness.store import BrokenRecord, Store, read_record

    store = Store(paths.PUBLISHED_RESULTS)
    read = [read_record(path) for path in store.paths() if path.parent.name == ORACLE]
    return [record for record in read if not isinstance(record, BrokenRecord)]


def print_checks(lines: Sequence[tuple[str, str, str]]) -> None:
    """Check, result, evidence, as a table."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    width = None if sys.stdout.isatty() else 160
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("check", "result", "evidence"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "result")
    colours = {"failed": "red", "passed": "green"}
    for name, verdict, evidence in lines:
        table.add_row(Text(one_line(name)), Text(verdict, style=colours.get(verdict, "")), Text(one_line(evidence)))
    Console(width=width, highlight=False).print(table)
