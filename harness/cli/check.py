"""`harness check`: is this file ready for others? In under a minute, one line a check."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.submission.look import Finding


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("file", metavar="FILE", help="the Python file with the method")
    parser.add_argument("--format", default="text", choices=("text", "json"))
    parser.add_argument("--seconds", type=float, default=40.0, metavar="S",
        help="start no cell of the smoke cases after this (default: 40)")  # fmt: skip


def execute(options: argparse.Namespace) -> int:
    """Print what is found. 0 if nothing failed, else 1."""
    from harness.submission.check import check

    if not sys.platform.startswith("linux"):
        raise UsageError("checking runs the file, which needs Linux (process limits and memory are read from /proc)")
    path = Path(options.file)
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name the Python file in it")
    if not path.is_file():
        raise UsageError(f"{path}: no such file; name the Python file with the method")
    found = []
    for finding in check(path, options.seconds):
        found.append(finding)
        if options.format == "text":
            _print(finding)
    failed = sum(f.verdict == "failed" for f in found)
    warned = sum(f.verdict == "warning" for f in found)
    task = _task_of(path) if not failed else ""
    following = _next(path, task)
    if options.format == "json":
        print(json.dumps({"file": path.name, "ok": not failed, "checks": [asdict(f) for f in found],
                          "next": following}, indent=1))  # fmt: skip
    else:
        print(f"\n{failed} failed, {warned} warnings" + (f"; {len(found)} checks" if not failed else ""))
        print("next: " + "\nthen: ".join(following))
    return 1 if failed else 0


def _task_of(path: Path) -> str:
    from harness.registry import load_registry, read_baseline_file

    return read_baseline_file(path, load_registry().tasks)[0].task


def _next(path: Path, task: str) -> list[str]:
    if not task:
        return [f"mend what failed, and again: {shlex.join(['harness', 'check', str(path)])}"]
    return [
        shlex.join(["harness", "run", "--task", task, "--baseline", str(path)]),
        shlex.join(["harness", "submit", str(path)]),
    ]


def _print(finding: Finding) -> None:
    print(f"{finding.verdict:<8} {finding.check:<12} {finding.text}", flush=True)
    for line in finding.do.splitlines():
        print(f"{'':<21} {'-> ' if finding.verdict != 'ok' else ''}{line}", flush=True)
