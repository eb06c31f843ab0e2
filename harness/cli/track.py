"""`harness track`: what got slower, larger or less accurate, since when, and how sure that is."""

from __future__ import annotations

import argparse
import importlib
import sys
import traceback

from harness.errors import HarnessError, MissingPackage

BROKE = 70
"""EX_SOFTWARE of sysexits.h."""

_VERBS = {
    "run": "measure the nightly set and append it to the history",
    "check": "hold the last night against its past; what looks bad is run again before anything is said",
    "report": "tell what the last check found: text, JSON, a page, an issue's text",
    "compare": "run two commits side by side on this machine, and say how they differ",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verbs below it."""
    below = parser.add_subparsers(dest="track_verb", metavar="VERB", required=True)
    for name, text in _VERBS.items():
        verb = below.add_parser(name, help=text, description=text[:1].upper() + text[1:] + ".")
        importlib.import_module(f"harness.cli.track_{name}").configure(verb)


def execute(options: argparse.Namespace) -> int:
    """Exit codes: 0 fine; 1 regressed; 3 measured nothing; 5 the environment broke; 6 inconclusive; 70 a mistake of
    the program's own, which must not pass for a regression."""
    try:
        code: int = importlib.import_module(f"harness.cli.track_{options.track_verb}").execute(options)
    except (HarnessError, MissingPackage, BrokenPipeError):
        raise
    except Exception:
        traceback.print_exc()
        print("harness: this is a mistake in the harness; please report it with the lines above", file=sys.stderr)
        return BROKE
    return code
