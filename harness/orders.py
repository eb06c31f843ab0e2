"""What a child is told, and what the server that it is forked from has imported."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from harness import paths
from harness.bundle import sealed_beside
from harness.data import path_of
from harness.executors.local import ServerKey
from harness.known import artifact_of, checkpoint_of
from harness.plan import Cell, Request
from harness.registry import BaselineSpec
from harness.sources import first_party_sources, plugin_roots
from harness.task import SCALES


def server_of(cell: Cell, request: Request, boxed: bool = False) -> ServerKey:
    """The server to fork from. It has imported what the task and all rows of this cost class and this environment in
    the run need; that of boxed cells, which are no forks of it, nothing."""
    if boxed:
        return ServerKey((), "", True)
    environment = cell.row.environment
    # a sealed child must not inherit what the rows of other tasks, or its own data, need in memory
    tasks = [cell.task] if cell.task.sealed else request.tasks
    smallest = SCALES.index(request.scale)  # rows of larger scales do not run
    every = [r for t in tasks for r in request.rows[t.name] if SCALES.index(r.scale) <= smallest]
    if cell.task.sealed:  # what is imported before the fork is not held by the seal
        every = [r for r in every if r.module]
    modules = [m for r in every if (r.cost, r.environment) == (cell.row.cost, environment) for m in r.requires]
    for task in tasks:
        modules += [*task.preload, task.module]
    modules = [m for m in modules if not any(f"{m}.".startswith(f"{h}.") for h in cell.task.hidden)]
    site = str(environment.site) if environment else ""
    return ServerKey(tuple(sorted(set(modules))), site, cell.task.sealed)


def spec_of(cell: Cell, question: Path, limits: tuple[float, int], lock: str, boxed: bool = False) -> dict[str, Any]:
    """What the child of a cell is told. `limits` are its seconds and bytes, `lock` the file by which timed stages of
    several jobs exclude each other (empty: there is one job)."""
    row = cell.row
    return {
        "task_module": cell.task.module,
        "task_class": cell.task.class_name,
        "method": _method(row),
        "parts": {part.part: _method(part) for part in row.parts},
        "seal": _seal(cell),
        "box": _box(cell) if boxed else None,
        "stage": cell.stage,
        "repeat": cell.repeat,
        "device": cell.device,
        "threads": cell.threads,
        "method_seed": cell.method_seed,
        "question": str(sealed_beside(question) if cell.task.in_parts and cell.stage == "answer" else question),
        "prepared": str(artifact_of(cell.needs)) if cell.needs else "",
        "overlay": str(row.environment.site) if row.environment else "",
        "cache_dir": str(paths.cache_root() / "methods"),
        "checkpoint": "" if cell.task.sealed else str(checkpoint_of(cell)),
        "lock": lock,
        "timeout_s": limits[0],
        "memory_limit_bytes": limits[1],
    }


def _method(row: BaselineSpec) -> dict[str, Any]:
    """What a child needs to make the method of a row."""
    params = dict(row.params)
    return {"module": row.module, "path": str(row.path), "class": row.class_name, "params": params}


def _seal(cell: Cell) -> dict[str, Any] | None:
    """What a child of a sealed task must not see, though it lies among what it may: where its data come from."""
    if not cell.task.sealed:
        return None
    own = [path_of(value) for value in cell.case.params.values() if isinstance(value, str) and os.path.isabs(value)]
    return {"hidden": [*cell.task.hidden, *own]}


def _box(cell: Cell) -> dict[str, Any]:
    """What a boxed child is shown of tasks and baselines, what it must not see of the rest, and what it imports before
    anything is timed."""
    row, task = cell.row, cell.task
    files = {*row.sources, *first_party_sources(task.path)}
    roots = [root.resolve() for kind in ("tasks", "baselines") for root, _ in plugin_roots(kind)]
    for root in roots:
        packages = {parent for path in files for parent in path.parents if parent.is_relative_to(root)}
        files |= {init for each in packages if (init := each / "__init__.py").is_file()}
    own = [*task.preload, *(module for each in (row, *row.parts) for module in each.requires), task.module]
    hidden = (_seal(cell) or {"hidden": task.hidden})["hidden"]
    return {
        "code": sorted(map(str, files)),
        "hidden": list(hidden),
        "preload": [m for m in dict.fromkeys(own) if not any(f"{m}.".startswith(f"{h}.") for h in task.hidden)],
        "site": str(row.environment.site) if row.environment else "",
    }
