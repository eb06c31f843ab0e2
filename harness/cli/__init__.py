"""The command line: one module a verb. Parsing loads argparse and the verb's own imports, nothing else."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from harness import __version__
from harness.errors import HarnessError, MissingPackage, NothingMatched

OK, NOT_ALL_OK, BAD_USAGE, NOTHING_MATCHED, INTERRUPTED = 0, 1, 2, 3, 130
VERBS = {
    "run": "run baselines on tasks and record what happens",
    "show": "print a table of results",
    "list": "list tasks, baselines or cases",
    "rerun": "repeat one record",
    "new": "write a baseline or a task that runs, and its test",
    "check": "check a baseline file in under a minute",
    "submit": "make a folder ready for a pull request",
    "compare": "say how two baselines, or two results folders, differ",
    "board": "the leaderboard: page, releases, data set",
    "track": "regressions over nights: run, check, report, compare",
    "verify": "check a submission and run a sample of it again",
    "review": "show on one screen what a submission is",
    "doctor": "tell whether this machine gives comparable numbers",
    "results": "merge, clean or locate results and caches",
}
_EPILOG = """exit codes: 0 all cells ok; 1 some cells not ok; 2 bad usage; 3 nothing matched; 130 interrupted
first steps: harness run --task limit   harness show   harness list baselines"""


def main(argv: Sequence[str] | None = None) -> int:
    """Parse and run. Returns the exit code."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    parser = argparse.ArgumentParser(
        prog="harness", description="Find where learned representations break, and what each method costs there.",
        epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"harness {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    # Only the chosen verb's module is imported; the others need their names and one line.
    chosen = next((a for a in arguments if not a.startswith("-")), "")
    for name, summary in VERBS.items():
        verb = verbs.add_parser(name, help=summary, description=summary.capitalize() + ".")
        if name == chosen:
            module = importlib.import_module(f"harness.cli.{name}")
            module.configure(verb)
            verb.set_defaults(execute=module.execute)
    options = parser.parse_args(arguments)
    if not options.verb:
        parser.print_help()
        return BAD_USAGE
    try:
        code: int = options.execute(options)
        sys.stdout.flush()
        return code
    except NothingMatched as error:
        print(f"harness: {error}", file=sys.stderr)
        return NOTHING_MATCHED
    except (HarnessError, MissingPackage) as error:
        print(f"harness: {error}", file=sys.stderr)
        return BAD_USAGE
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader of our output has gone; nothing is wrong
        return OK
    except KeyboardInterrupt:
        return INTERRUPTED
