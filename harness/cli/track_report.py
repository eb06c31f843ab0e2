"""`harness track report`: what changed, since which commit, how sure that is, and how to see it again."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.track.report import Between, Report

FORMATS = ("text", "json", "issue", "html")


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--history", default="results/history", metavar="DIR", help="default: results/history")
    add("--repo", default=".", metavar="DIR", help="git checkout that names the commits; default: this folder")
    add("--night", default="", metavar="ID", help="or the beginning of one; default: the newest")
    add("--machine", default="", metavar="FINGERPRINT", help="default: this one, or else the only one there is")
    add("--format", default="text", choices=FORMATS, help="issue: the title on the first line, then its text in "
        "Markdown; html: one page that needs no other file; default: text")  # fmt: skip
    add("--to", default="", metavar="FILE", help="default: the terminal")


def execute(options: argparse.Namespace) -> int:
    """Exit codes: 0 told, whatever there is to tell; 2 a history that cannot be read; 3 there is no night."""
    from harness.errors import NothingMatched
    from harness.track.report import read_kept, report_of

    root = Path(options.history)
    kept = read_kept(root, options.machine or _machine(root), options.night)
    if not kept.nights:
        raise NothingMatched(f"no night of machine {kept.machine}; `harness track run` measures one")
    text = _written(report_of(kept, kept.nights[-1], _between(options.repo)), options.format)
    if not options.to:
        print(text, end="")
        return 0
    _write(Path(options.to), text)
    print(options.to)
    return 0


def _written(report: Report, form: str) -> str:
    if form == "json":
        return report.model_dump_json(indent=1) + "\n"
    if form == "html":
        from harness.track.page import standalone

        return standalone(report)
    from harness.track.telling import as_issue, as_text

    return as_issue(report) if form == "issue" else as_text(report)


def _write(path: Path, text: str) -> None:
    from harness.errors import UsageError

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}; name another file with --to") from None


def _machine(root: Path) -> str:
    """This machine; where the history does not know it, the only one that it knows."""
    from harness.errors import NothingMatched
    from harness.measure.environment import collect, fingerprint
    from harness.track.report import machines_of

    known = machines_of(root)
    here = fingerprint(collect())
    if here in known:
        return here
    if not known:
        raise NothingMatched(f"{root} holds no night; `harness track run` measures one, --history DIR names another")
    if len(known) > 1:
        raise NothingMatched(f"{root} holds no night of this machine; choose with --machine: {', '.join(known)}")
    print(f"harness: no night of this machine; this is about {known[0]}", file=sys.stderr)
    return known[0]


def _between(repo: str) -> Between:
    """The commits of a checkout; none where it has them not, since a report may be read anywhere."""
    from harness.errors import HarnessError
    from harness.track.trees import between

    def named(good: str, bad: str) -> Sequence[str]:
        try:
            return between(Path(repo), good, bad)
        except HarnessError:
            return ()

    return named
