"""`harness compare`: two baselines, or one in two results folders: difference, interval, and a verdict in words."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.compare import Comparison
    from harness.record import Record
    from harness.store import Store


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("a", metavar="A", help="a baseline, or a results folder")
    parser.add_argument("b", metavar="B", help="another one")
    parser.add_argument("--task", default="", metavar="NAME[,NAME]")
    parser.add_argument("--case", default="", metavar="GLOB")
    parser.add_argument("--baseline", default="", metavar="NAME", help="of two results folders: only this row")
    parser.add_argument("--results", default="", metavar="DIR", help="of two baselines: default as for `harness show`")
    parser.add_argument("--format", default="table", choices=("table", "json"))


def execute(options: argparse.Namespace) -> int:
    """Print a line a case; exit code 3 if there is no case in common."""
    import fnmatch

    from harness.compare import compare
    from harness.errors import NothingMatched

    pairs = _folders(options) if _is_folder(options.a) and _is_folder(options.b) else _rows(options)
    found = [
        c for a, b in pairs for c in compare(a, b)
        if not options.case or fnmatch.fnmatchcase(c.case, options.case)
    ]  # fmt: skip
    if not found:
        raise NothingMatched(f"{options.a} and {options.b} have no case in common; `harness show` lists what there is")
    if options.format == "json":
        print(json.dumps([_flat(c) for c in found], indent=1))
    else:
        _print(found)
    return 0


def _is_folder(name: str) -> bool:
    return (Path(name) / "records").is_dir()


def _rows(options: argparse.Namespace) -> list[tuple[list[Record], list[Record]]]:
    """The records of the two rows, by task."""
    from harness.errors import NothingMatched
    from harness.paths import default_results
    from harness.store import Store

    store = Store(options.results or default_results())
    by_task: list[tuple[list[Record], list[Record]]] = []
    for task in _tasks(options.task):
        records = _counted(store, task)
        a, b = ([r for r in records if r.baseline.name == name] for name in (options.a, options.b))
        by_task.append((a, b))
    for name, side in ((options.a, 0), (options.b, 1)):
        if not any(pair[side] for pair in by_task):
            known = " (a results folder holds `records/`)" if "/" in name else ""
            raise NothingMatched(
                f"no records of {name} under {store.root}{known}; `harness show` lists the rows there are"
            )
    return by_task


def _folders(options: argparse.Namespace) -> list[tuple[list[Record], list[Record]]]:
    """The records of each row that both folders have."""
    from harness.store import Store

    pairs = []
    for task in _tasks(options.task):
        a, b = (_by_row(_counted(Store(folder), task)) for folder in (options.a, options.b))
        pairs += [(a[row], b[row]) for row in sorted(a.keys() & b.keys()) if options.baseline in ("", row)]
    return pairs


def _counted(store: Store, task: str) -> list[Record]:
    """What was not retracted."""
    from harness.board.read import counted

    return counted(store, store.load(task)[0])[0]


def _by_row(records: list[Record]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(record.baseline.name, []).append(record)
    return found


def _tasks(names: str) -> list[str]:
    from harness.registry import load_registry

    registry = load_registry()
    return [t.name for t in registry.select_tasks(names)] if names else sorted(registry.tasks)


def _print(found: list[Comparison]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from harness.text import plain

    two = len({(c.a.baseline, c.b.baseline) for c in found}) == 1
    first, second = ("A", "B") if not two or found[0].a.baseline == found[0].b.baseline else (
        found[0].a.baseline, found[0].b.baseline)  # fmt: skip
    names = [] if two and first != "A" else ["baseline"]
    table = Table(title=f"{second} against {first}: differences are {second} - {first}, costs {second} / {first}")
    for heading in ["task", "case", *names, "score", first, second, "difference", "95 %", "draws", "costs", "verdict"]:
        table.add_column(heading, justify="left" if heading in ("task", "case", "costs", "verdict") else "right")
    for c in found:
        ratios = ", ".join(_ratio(r.name, r.value, r.interval) for r in c.ratios) or c.why_no_ratios
        costs = "; ".join([ratios, *(f"doubtful: {mark}" for mark in c.marks)])
        interval = f"[{c.interval.low:+.3f}, {c.interval.high:+.3f}]" if c.interval else ""
        cells = [
            c.task,
            c.case,
            *([c.a.baseline] if names else []),
            c.score,
            _score(c.a.score),
            _score(c.b.score),
            "" if c.difference is None else f"{c.difference:+.3f}",
            interval,
            str(c.shared),
            costs,
            c.verdict,
        ]
        table.add_row(*(Text(plain(text)) for text in cells))
    Console(width=None if Console().is_terminal else 200).print(table)


def _ratio(name: str, value: float, interval: tuple[float, float] | None) -> str:
    ends = f" [{interval[0]:.2f}, {interval[1]:.2f}]" if interval else ""
    return f"{name} {value:.2f}x{ends}"


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _flat(c: Comparison) -> dict[str, object]:
    return {
        "task": c.task, "case": c.case, "a": c.a.baseline, "b": c.b.baseline, "device": c.a.device, "score": c.score,
        "score_a": c.a.score, "score_b": c.b.score, "difference": c.difference,
        "interval": list(c.interval[:2]) if c.interval else None, "draws": c.shared, "verdict": c.verdict,
        "ratios": [asdict(r) for r in c.ratios], "why_no_ratios": c.why_no_ratios,
        "marks": list(c.marks), "task_versions": [c.a.task_version, c.b.task_version],
    }  # fmt: skip
