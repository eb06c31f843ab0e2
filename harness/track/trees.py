"""Commits of a checkout as folders that can be run: laid out as the package is when it is installed.

`PYTHONPATH=FOLDER python -m harness run ...`, with FOLDER as the working directory, runs the harness, tasks and
baselines of that commit in today's Python environment, whatever else is installed. The checkout itself is left alone.
"""

from __future__ import annotations

import compileall
import io
import shutil
import subprocess
import tarfile
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import UsageError, did_you_mean
from harness.interruption import deaf

WORKTREE = "WORKTREE"
"""In place of a commit's name: the files as they lie there, whether committed or not."""
_PARTS = ("harness", "tasks", "baselines")
_REQUIREMENTS = ("pyproject.toml", "constraints.txt")
_SHORT = 12


@dataclass(frozen=True)
class Commit:
    """One commit; of `WORKTREE`, the one that it stands on, and that name for its hash."""

    hash: str
    subject: str
    date: str
    """ISO 8601."""

    @property
    def short(self) -> str:
        return self.hash[:_SHORT]


@dataclass(frozen=True)
class Tree:
    """A commit's code, ready to run."""

    commit: str
    """Its whole hash, or `WORKTREE`."""
    folder: Path
    """To be the first on PYTHONPATH, and the working directory."""
    subject: str

    @property
    def short(self) -> str:
        return self.commit[:_SHORT]


@contextmanager
def tree_of(repo: Path, commit: str) -> Iterator[Tree]:
    """A temporary copy of a commit (any name that git knows) or of `WORKTREE`; removed at the end.

    Its bytecode is written beforehand: neither of two sides that are compared compiles while it is timed.
    Raises UsageError for what is no checkout, no commit in it, or a commit without a harness.
    """
    found = resolve(repo, commit)
    folder = Path(tempfile.mkdtemp(prefix="harness-tree-"))
    try:
        if found.hash == WORKTREE:
            _copy_worktree(_top(repo), folder)
        else:
            _unpack(_top(repo), found.hash, folder)
        _lay_out(folder, found)
        compileall.compile_dir(folder, quiet=2)
        yield Tree(found.hash, folder, found.subject)
    finally:
        with deaf():
            shutil.rmtree(folder, ignore_errors=True)


def resolve(repo: Path, name: str) -> Commit:
    """The commit that a branch, tag, hash or expression such as `HEAD~3` names. Raises UsageError."""
    top = _top(repo)
    if name == WORKTREE:
        on = resolve(repo, "HEAD")
        return Commit(WORKTREE, f"the files as they are, on {on.short} {on.subject}", on.date)
    full = "" if name.startswith("-") else _try(top, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    if not full:
        raise _unknown(top, name)
    shown = _git(top, "show", "--no-patch", "--no-show-signature", "--format=%cI%n%s", full.strip())
    date, _, subject = shown.rstrip("\n").partition("\n")
    return Commit(full.strip(), subject, date)


def between(repo: Path, good: str, bad: str) -> list[str]:
    """Commits that `bad` has and `good` has not, newest first: `HASH SUBJECT`. Raises UsageError for unknown ones."""
    first, last = resolve(repo, good), resolve(repo, bad)
    ends = [_git(_top(repo), "rev-parse", "HEAD").strip() if c.hash == WORKTREE else c.hash for c in (first, last)]
    listed = _git(
        _top(repo), "log", "--no-show-signature", f"--abbrev={_SHORT}", "--format=%h %s", f"{ends[0]}..{ends[1]}"
    ).splitlines()
    return [f"{WORKTREE} {last.subject}", *listed] if last.hash == WORKTREE else listed


def state(repo: Path) -> tuple[Commit, bool]:
    """The commit that is checked out, and whether what is run or installed differs from it: new files count, what git
    ignores and what only people read does not. Raises UsageError."""
    what = ("status", "--porcelain", "--untracked-files=normal", "--", *_PARTS, *_REQUIREMENTS)
    return resolve(repo, "HEAD"), bool(_git(_top(repo), *what).strip())


def requirements_differ(repo: Path, a: str, b: str) -> str:
    """A sentence where two commits ask for other packages, else an empty one: both are run with today's."""
    differing = []
    for name in _REQUIREMENTS:
        one, other = (_requirements(name, _content(repo, commit, name)) for commit in (a, b))
        if one != other:
            differing.append(name)
    if not differing:
        return ""
    what = " and ".join(differing)
    verb = "asks" if len(differing) == 1 else "ask"
    return f"{what} {verb} for other packages in one than in the other; both were run with those that are installed now"


# --- git --------------------------------------------------------------------------------------------------------------


def _git(top: Path, *words: str) -> str:
    done = _call(top, words)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise UsageError(f"git {words[0]} failed in {top}: {said[-1] if said else f'exit code {done.returncode}'}")
    return done.stdout.decode(errors="replace")


def _try(top: Path, *words: str) -> str:
    """Its output; empty where it failed."""
    done = _call(top, words)
    return "" if done.returncode else done.stdout.decode(errors="replace")


def _call(top: Path, words: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            ["git", "-C", str(top), *words], capture_output=True, stdin=subprocess.DEVNULL, check=False
        )
    except FileNotFoundError:
        raise UsageError("git is not installed, and commits are told apart by it; install git and try again") from None


def _top(repo: Path) -> Path:
    """The checkout's own folder."""
    found = _try(repo, "rev-parse", "--show-toplevel").strip() if repo.is_dir() else ""
    if not found:
        raise UsageError(
            f"{repo} is in no git checkout, and commits are compared from one; go to a clone of the project, or name "
            "one with --repo"
        )
    return Path(found)


def _unknown(top: Path, name: str) -> UsageError:
    if _try(top, "rev-parse", "--is-shallow-repository").strip() == "true":
        return UsageError(f"{name!r} is no commit of {top}, whose history is cut off: git fetch --unshallow")
    names = _try(top, "for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/tags", "refs/remotes").split()
    if not names:
        return UsageError(f"{name!r} is no commit of {top}, which has none yet; commit something first")
    hint = str(did_you_mean("commit", name, names)).partition(" (`harness")[0]
    return UsageError(f"{hint}; `git log --oneline` in {top} shows all")


# --- files ------------------------------------------------------------------------------------------------------------


def _unpack(top: Path, commit: str, folder: Path) -> None:
    there = _git(top, "ls-tree", "-d", "--name-only", commit, *_PARTS).split()
    if "harness" not in there:
        return  # said by _lay_out
    done = _call(top, ["archive", "--format=tar", commit, *there])
    if done.returncode:
        raise UsageError(f"git archive of {commit[:_SHORT]} failed: {done.stderr.decode(errors='replace').strip()}")
    try:
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
            archive.extractall(folder, filter="data")
    except tarfile.TarError as error:  # a link that leads out of the tree, say
        raise UsageError(f"{commit[:_SHORT]} cannot be unpacked: {error}") from None


def _copy_worktree(top: Path, folder: Path) -> None:
    """Tracked files and new ones that git does not ignore."""
    listed = _git(top, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *_PARTS)
    for name in filter(None, dict.fromkeys(listed.split("\0"))):
        source, target = top / name, folder / name
        if source.is_file():  # what was deleted is still in git's list
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


def _lay_out(folder: Path, commit: Commit) -> None:
    if not (folder / "harness" / "__main__.py").is_file():
        raise UsageError(
            f"{commit.short} ({commit.subject}) has no harness/ that can be run; name a commit of this project"
        )
    for part in _PARTS[1:]:
        if (folder / part).is_dir():
            (folder / part).rename(folder / "harness" / part)


def _content(repo: Path, commit: str, name: str) -> str:
    found = resolve(repo, commit)
    if found.hash != WORKTREE:
        return _try(_top(repo), "show", f"{found.hash}:{name}")
    path = _top(repo) / name
    return path.read_text("utf-8", errors="replace") if path.is_file() else ""


def _requirements(name: str, text: str) -> Any:
    """What a file asks for, without what else it says."""
    if name != "pyproject.toml":
        lines = (line.partition("#")[0].strip() for line in text.splitlines())
        return sorted(filter(None, lines))
    try:
        project = tomllib.loads(text).get("project", {})
    except tomllib.TOMLDecodeError:
        return text
    return [project.get(key) for key in ("requires-python", "dependencies", "optional-dependencies")]
