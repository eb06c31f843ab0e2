"""What one tree holds: its rows with digests of their sources, and a digest of the harness around them.

Asked in a process of its own, of the tree's own code, which uses only what every harness of this project has had: the
registry and the plan.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UsageError
from harness.track.trees import Tree

_APART = ("tasks", "baselines", "board", "submission", "track", "cli")
"""Folders of the harness that no measured cell goes through."""
_SCRIPT = """
import hashlib, json, sys
from harness.plan import Request, cells_of
from harness.registry import load_registry
from harness.errors import HarnessError
scale, threads, device = sys.argv[1], int(sys.argv[2]), sys.argv[3]
registry = load_registry()
found = []
for task in registry.tasks.values():
    rows = {task.name: registry.rows(task)}
    try:
        cells = cells_of(Request([task], rows, scale, seeds=[0], device=device, threads=threads))
    except HarnessError:
        continue
    for cell in cells:
        row = cell.row
        if cell.repeat or not row.path:
            continue
        found.append({
            "task": task.name, "version": task.version, "case": cell.case.name, "row": row.name, "seed": cell.seed,
            "device": cell.device, "threads": cell.threads, "source": row.source_digest,
            "task_source": task.source_digest, "file": row.path.stem.replace("_", "-"), "cost": row.cost,
            "own": hashlib.sha256(row.path.read_bytes()).hexdigest(),
            "missing": cell.blocked[1] if cell.blocked else "",
        })
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Row:
    """A row on a case, as one tree has it."""

    task: str
    version: int
    case: str
    row: str
    seed: int
    device: str
    threads: int
    source: str
    task_source: str
    file: str
    cost: str
    own: str
    """Digest of its own file alone."""
    missing: str
    """Why it cannot run here; empty if it can."""

    @property
    def place(self) -> tuple[str, str, str]:
        return self.task, self.case, self.row

    @property
    def family(self) -> str:
        return self.task.partition("/")[0]


def ask(tree: Tree, scale: str, threads: int, device: str = "auto") -> list[Row]:
    """The rows of a tree that take part at a scale, with seed 0. Raises UsageError for a tree that cannot tell."""
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, scale, str(threads), device], capture_output=True, text=True, check=False,
        cwd=tree.folder, stdin=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": python_path(tree)},
    )  # fmt: skip
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise UsageError(
            f"the harness of {tree.short} ({tree.subject}) cannot list its rows: {said[-1] if said else 'no reason'}"
        )
    try:
        return [Row(**row) for row in json.loads(done.stdout)]
    except (ValueError, TypeError):
        raise UsageError(
            f"the harness of {tree.short} ({tree.subject}) lists no rows: {done.stdout[-200:]!r}"
        ) from None


def python_path(tree: Tree) -> str:
    """PYTHONPATH with the tree in front."""
    return os.pathsep.join(filter(None, (str(tree.folder), os.environ.get("PYTHONPATH", ""))))


def harness_digest(tree: Tree) -> str:
    """Digest of the part of the harness that cells go through."""
    root = tree.folder / "harness"
    digest = hashlib.sha256()
    for path in _sources(root):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _sources(root: Path) -> Iterable[Path]:
    every = sorted(root.rglob("*.py"))
    return (path for path in every if path.relative_to(root).parts[0] not in _APART)


def in_common(base: Sequence[Row], head: Sequence[Row]) -> list[tuple[Row, Row]]:
    """Rows on cases that both trees have, in head's order."""
    old = {row.place: row for row in base}
    return [(old[row.place], row) for row in head if row.place in old]
