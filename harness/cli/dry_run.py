"""`harness run --dry-run`: the cells, what they cost before, and what would be downloaded."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict

from harness import paths
from harness.plan import Request, cells_of
from harness.store import Store


def print_plan(request: Request, store: Store, as_json: bool) -> int:
    """Print the cells of a request. Nothing is run or written."""
    cells = cells_of(request)
    past: dict[str, list[float]] = defaultdict(list)
    for task in {c.task.name for c in cells}:
        for record in store.load(task)[0]:
            past[record.key].append(record.cost.wall_s)
    known = {c.key: statistics.median(past[c.key]) for c in cells if past[c.key]}
    unknown = sum(c.key not in known for c in cells)
    total = sum(known.get(c.key, 0.0) for c in cells)
    downloads = {c.case.download: c.case.download_bytes for c in cells if c.case.download}
    environments = {r.environment.label: r.environment for c in cells if (r := c.row).environment}
    if as_json:
        for cell in cells:
            print(json.dumps({
                "task": cell.task.name, "case": cell.case.name, "baseline": cell.row.name, "seed": cell.seed,
                "repeat": cell.repeat, "key": cell.key, "past_wall_s": known.get(cell.key),
                "blocked": cell.blocked[1] if cell.blocked else None,
            }))  # fmt: skip
        print(json.dumps({"cells": len(cells), "past_wall_s": total, "unknown": unknown, "downloads": downloads,
                          "environments": {label: bool(e.lock) for label, e in environments.items()}}))  # fmt: skip
        return 0
    for cell in cells:
        cost = f"{known[cell.key]:.1f} s" if cell.key in known else "unknown"
        print(f"{cell.label:<64} {cost:>10}" + (f"  {cell.blocked[0]}: {cell.blocked[1]}" if cell.blocked else ""))
    print(f"\n{len(cells)} cells: {total:.0f} s by past records" + (f", {unknown} cells unknown" if unknown else ""))
    for what, size in downloads.items():
        print(f"would download {what}: {size / 1e6:.1f} MB")
    for label, environment in environments.items():
        if environment.lock:
            print(f"environment with {label} is there: {paths.size_of(environment.folder) / 1e6:.1f} MB")
        else:
            print(f"would make an environment with {label}; its packages may be downloaded")
    if not downloads and all(e.lock for e in environments.values()):
        print("nothing to download")
    return 0
