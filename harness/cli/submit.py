"""`harness submit`: a folder ready for a pull request, shown before it is written."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness import paths
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.submission.package import Package, Remark

_SHOWN = 20
NOT_WRITTEN = 1


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add = parser.add_argument
    add("file", metavar="FILE", help="the Python file with the method")
    add("--out", default="", metavar="DIR", help="the folder to write, which must not be there (default: "
        "submissions/NAME)")  # fmt: skip
    add("--results", default=str(paths.DEFAULT_RESULTS), metavar="DIR",
        help=f"where its records are (default: {paths.DEFAULT_RESULTS})")  # fmt: skip
    add("--scale", default="standard", choices=("smoke", "standard", "full"),
        help="all cells of this scale must be there (default: standard)")  # fmt: skip
    add("--requirements", default="", metavar="FILE", help="lock file of packages that the harness does not install")
    add("--yes", action="store_true", help="write without asking")


def execute(options: argparse.Namespace) -> int:
    """Show, ask, write. 0 if written."""
    from harness.submission.package import about_machines, packaged, remarks_on, steps_of
    from harness.submission.steps import carry_out

    path = Path(options.file)
    out = Path(options.out or f"submissions/{path.stem.replace('_', '-')}")
    lock = Path(options.requirements) if options.requirements else None
    package = packaged(path, Path(options.results), options.scale, lock)
    steps = steps_of(package, out)
    _show(package, out)
    for line in about_machines(package.files):
        print(line)
    remarks = list(remarks_on(package.files))
    _show_remarks(remarks)
    if not options.yes and not _agreed(out):
        print("nothing was written")
        return NOT_WRITTEN
    carry_out(steps)
    _show_next(path, package, out)
    return 0


def _show(package: Package, out: Path) -> None:
    sources = [name for name in package.files if name.startswith("baselines/")]
    size = sum(map(len, package.files.values()))
    print(f"{out}: {len(package.files) + 1} files, {size / 1e3:,.0f} kB, for {package.task.name} (version "
          f"{package.task.version})")  # fmt: skip
    print(f"rows: {', '.join(package.rows)}; {package.n_records} records")
    print(f"sources: {', '.join(sources)}")
    for line in package.left_out:
        print(f"left out: {line}")


def _show_remarks(remarks: Sequence[Remark]) -> None:
    if not remarks:
        print("nothing in it looks personal: no home, path, user, host, e-mail address or secret was found")
        return
    several = "places look" if len(remarks) > 1 else "place looks"
    print(f"{len(remarks)} {several} personal, and would be sent as it stands:")
    for remark in remarks[:_SHOWN]:
        print(f"  {remark.where}\n    {remark.text[:200]!r}\n    without it: {remark.otherwise[:200]!r}")
    if len(remarks) > _SHOWN:
        print(f"  ... and {len(remarks) - _SHOWN} more")
    print("to change that, edit the file and run it again: its records are of its text as it is")


def _agreed(out: Path) -> bool:
    if not sys.stdin.isatty():
        raise UsageError("nothing was written: this asks first, and nobody is there; look at what is listed above and "
                         "say --yes")  # fmt: skip
    return input(f"write {out}? [y/N] ").strip().lower() in ("y", "yes")


def _show_next(path: Path, package: Package, out: Path) -> None:
    name = path.stem.replace("_", "-")
    where = out
    print(f"\nwritten: {out}")
    if not any((folder / ".git").exists() for folder in out.resolve().parents):
        where = Path("submissions", out.name)
        print(f"copy it into a checkout of the project: cp -r {shlex.quote(str(out))} CHECKOUT/submissions/; there:")
    for words in (
        ["harness", "verify", "--trust", str(where)],
        ["git", "checkout", "-b", f"submit-{name}"],
        ["git", "add", str(where)],
        ["git", "commit", "-m", f"Submit {name} for {package.task.name}"],
        ["git", "push", "-u", "origin", "HEAD"],
    ):
        print(f"  {shlex.join(words)}")
    print("and open a pull request of that branch. (Your commit names you; the folder does not.)")
