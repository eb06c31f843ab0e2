"""`harness review`: one screen about a submission, for who decides. Nothing of it is run."""

from __future__ import annotations

import argparse
import json


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("submission", metavar="DIR", help="the folder that `harness submit` wrote, or an archive of it")
    parser.add_argument("--diff", action="store_true", help="print what differs from the files of that name here")
    parser.add_argument("--results", default="", metavar="DIR", help="records to compare with (default: published)")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")


def execute(options: argparse.Namespace) -> int:
    """Print the screen. A submission that cannot be opened is bad usage (2)."""
    from dataclasses import asdict

    from harness import paths
    from harness.store import Store
    from harness.submission.folder import open_submission
    from harness.submission.review import difference, review, screen
    from harness.text import one_line

    with open_submission(options.submission) as submission:
        found = review(submission, Store(options.results or paths.PUBLISHED_RESULTS))
        if options.json:
            print(json.dumps({**asdict(found), "sentence": found.sentence()}, indent=1))
            return 0
        for line in [*(difference(submission) if options.diff else ()), *screen(found).splitlines()]:
            print(one_line(line))
    return 0
