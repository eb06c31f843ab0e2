"""The rows that a submission's files declare: in their place, under names that are theirs to take."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from harness.errors import UsageError
from harness.registry import ORACLE, load_registry, read_baseline_file
from harness.sources import first_party_sources, plugin_roots
from harness.submission.strict import Refused, shown

if TYPE_CHECKING:
    from harness.registry import BaselineSpec, TaskSpec

CONTROLS = (ORACLE, "random")
"""Rows that others are measured by: no submission brings them."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+:@,()=-]{0,99}(?<! )")


def declared_rows(
    root: Path, baselines: Mapping[str, Path], tasks: Mapping[str, int]
) -> dict[tuple[str, str], BaselineSpec]:  # fmt: skip
    """The rows of a submission's files (by relative path), by task and name. `tasks`: the versions that its manifest
    names. Raises Refused."""
    installed = load_registry().tasks
    for task, version in tasks.items():
        if task in installed and installed[task].version != version:
            raise Refused(
                f"is of version {version} of {task}, which is at {installed[task].version} here; run it again"
            )
    roots = [root.resolve()]
    roots += [place.resolve() for kind in ("tasks", "baselines") for place, _ in plugin_roots(kind)]
    rows: dict[tuple[str, str], BaselineSpec] = {}
    for name, path in baselines.items():
        try:
            found = read_baseline_file(path, installed)
            sources = first_party_sources(path)
        except UsageError as error:
            raise Refused(str(error).replace(str(root) + "/", "")) from None
        except (ValueError, LookupError, RecursionError, MemoryError, OSError, TypeError) as error:
            raise Refused(f"{name} cannot be read as Python source ({type(error).__name__})") from None
        if outside := [source for source in sources if not any(source.is_relative_to(place) for place in roots)]:
            raise Refused(f"{name} imports {outside[0].name}, which lies outside of the submission")
        for row in found:
            if PurePosixPath(name).parent.as_posix() != f"baselines/{row.task}":
                raise Refused(f"{name} is a baseline of {row.task}; its place is baselines/{row.task}/")
            if row.task not in tasks:
                raise Refused(f"{name} is a baseline of {row.task}, which the manifest does not name")
            if not _NAME.fullmatch(row.name):
                raise Refused(f"{name} declares the row {shown(row.name)}, which is no name that is shown; use "
                              "letters, digits, '-' and '.'")  # fmt: skip
            if why := taken(row, installed[row.task], name):
                raise Refused(f"{name} declares the row {shown(row.name)}, {why}")
            if rows.setdefault((row.task, row.name), row) is not row:
                raise Refused(f"{name} declares the row {shown(row.name)}, which another file declares as well")
    return rows


def taken(row: BaselineSpec, task: TaskSpec, name: str) -> str:
    """Why a submitted file (`name`: its relative path) may not call a row so; empty if it may. A file may bring rows of
    the installed file in its own place, as it is, or of a higher version."""
    if row.name.casefold() in CONTROLS:
        return "which is a control, and stays ours"
    others = [r for r in load_registry().rows(task) if r.name.casefold() == row.name.casefold()]
    for other in others:
        if other.path is None or other.parts or not _in_place(other.path, name):
            where = other.path.name if other.path else "the task"
            return f"which {where} has here; give it another name (in `variants`, or the file's)"
        if other.source_digest != row.source_digest and row.version <= other.version:
            return (f"whose text differs from {other.path.name} as it is here; say version = {other.version + 1} in "
                    "it, and run it again")  # fmt: skip
    return ""


def _in_place(path: Path, name: str) -> bool:
    """Whether an installed file lies where a submitted one will be put."""
    places: Sequence[Path] = [root.resolve() / name.removeprefix("baselines/") for root, _ in plugin_roots("baselines")]
    return path.resolve() in places
