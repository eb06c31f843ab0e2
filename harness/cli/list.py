"""`harness list`: what is installed, read from the sources without importing them."""

from __future__ import annotations

import argparse
import json

from harness.registry import load_registry


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("what", nargs="?", default="tasks", choices=("tasks", "baselines", "cases"))
    parser.add_argument("--task", default="", metavar="NAME[,NAME]", help="only of these tasks")
    parser.add_argument("--json", action="store_true")


def execute(options: argparse.Namespace) -> int:
    """Print the list."""
    registry = load_registry()
    tasks = registry.select_tasks(options.task) if options.task else list(registry.tasks.values())
    rows: list[dict[str, str]] = []
    for task in tasks:
        if options.what == "tasks":
            rows.append({"task": task.name, "version": str(task.version), "cases": str(len(task.cases)),
                         "baselines": str(len(registry.rows(task))), "summary": task.summary})  # fmt: skip
        elif options.what == "cases":
            rows += [{"task": task.name, "case": c.name, "light from": c.light or "-", "heavy from": c.heavy or "-",
                      "processes": str(c.processes), "for": c.only or "all", "download": c.download}
                     for c in task.cases]  # fmt: skip
        else:
            rows += [{"task": task.name, "baseline": b.name, "file": b.path.name if b.path else "-", "cost": b.cost,
                      "needs": ", ".join(b.requires), "summary": b.summary} for b in registry.rows(task)]  # fmt: skip
            rows += [{"task": task.name, "baseline": f"{b.prefix}:MODEL", "file": b.path.name if b.path else "-",
                      "cost": b.cost, "needs": ", ".join(b.requires), "summary": b.summary}
                     for b in registry.baselines if b.prefix and b.task == task.name]  # fmt: skip
    if options.json:
        print(json.dumps(rows, indent=1))
        return 0
    if rows:
        widths = {k: min(40, max(len(k), *(len(r[k]) for r in rows))) for k in rows[0]}
        for row in [{k: k for k in rows[0]}, *rows]:
            print("  ".join(f"{row[k]:<{w}}" for k, w in widths.items()).rstrip())
    for broken in registry.broken:
        print(f"broken: {broken.reason}")
    return 0
