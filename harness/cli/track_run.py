"""`harness track run`: measure the nightly set and append it to the history."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from harness.budget import parse_duration
from harness.errors import UsageError
from harness.text import plain

if TYPE_CHECKING:
    from harness.track.findings import State
    from harness.track.history import Night
    from harness.track.nightly import Plan
    from harness.track.rotation import Group, Past

DEFAULT_HISTORY = "results/history"
DEFAULT_RESULTS = "results/local/track"
NIGHT = re.compile(r"[0-9]{8}T[0-9]{6}-[0-9a-f]{8}")
_INTERRUPTED = 130
_SHOWN = 20


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add = parser.add_argument
    add("--history", default=DEFAULT_HISTORY, metavar="DIR", help=f"where nights are kept (default: {DEFAULT_HISTORY})")
    add("--repo", default=".", metavar="DIR", help="the checkout whose commit is measured (default: this folder)")
    add("--results", default=DEFAULT_RESULTS, metavar="DIR",
        help=f"where the records go, a folder a night (default: {DEFAULT_RESULTS})")  # fmt: skip
    add("--keep", type=int, default=14, metavar="N", help="nights of which the records are kept; 0: all (default: 14)")
    add("--task", default="", metavar="NAME[,NAME]", help="only these tasks or families (default: all)")
    add("--baseline", nargs="+", action="extend", default=[], metavar="NAME",
        help="only these rows, archived or not (default: all)")  # fmt: skip
    add("--case", default="", metavar="GLOB", help="only cases whose name matches")
    add("--budget", default="3h", metavar="TIME", help="wall time of the night, for example 30m (default: 3h)")
    add("--processes", type=int, default=5, metavar="N",
        help="fresh processes of each row of the core; the quickest counts (default: 5)")  # fmt: skip
    add("--timeout", type=float, default=900.0, metavar="S", help="seconds a cell may take (default: 900)")
    add("--memory-limit", default="", metavar="SIZE", help="memory of a cell, for example 4G (default: 4/5 of all)")
    add("--device", default="auto", choices=("cpu", "cuda", "auto"))
    add("--threads", type=int, default=None, metavar="N", help="threads of each cell (default: all cores, at most 4)")
    add("--dry-run", action="store_true", help="print what would be measured, and how long it would take")
    add("--json", action="store_true", help="one JSON object a line instead of text")


def execute(options: argparse.Namespace) -> int:
    """Exit codes: 0 measured; 3 nothing was; 5 the environment broke; 130 interrupted."""
    import harness
    from harness.api import default_threads
    from harness.cli import progress
    from harness.cli.run import parse_size
    from harness.interruption import deaf, interruptible
    from harness.measure import environment
    from harness.measure.canary import CanaryClock
    from harness.registry import load_registry
    from harness.track import nightly, trees
    from harness.track.findings import EXIT_CODES
    from harness.track.health import state_of
    from harness.track.history import History, Night, new_night_id
    from harness.track.rotation import STATE, Past

    if not sys.platform.startswith("linux"):
        raise UsageError("measuring needs Linux (process limits and memory are read from /proc)")
    _require_sensible(options)
    budget_s, threads = parse_duration(options.budget), options.threads or default_threads()
    memory_limit = parse_size(options.memory_limit)
    commit, dirty = trees.state(Path(options.repo))
    top = _checkout(Path(options.repo))
    nightly.require_same_code(top, Path(harness.__file__).parent)
    found = environment.collect()
    history = History(options.history, environment.fingerprint(found))
    plan = nightly.plan_of(
        load_registry(), options.task, options.baseline, options.case,
        processes=options.processes, threads=threads, device=options.device,
    )  # fmt: skip
    past = Past(history.nights())
    if any(past.cost_s(piece.place, 1) is None for piece in plan.rotation):
        past.published_s = nightly.published_costs(top / "results")
    named = frozenset(piece.row for piece in [*plan.core, *plan.rotation]) if options.baseline else frozenset()
    if options.dry_run:
        return _print_plan(plan, past, budget_s, named, options.json)
    if dirty:
        print("harness: what runs differs from the commit (`git status` shows where); the night says so, and what it "
              "finds cannot be traced to a commit", file=sys.stderr)  # fmt: skip
    night_id, started, before = new_night_id(), _now(), CanaryClock().reference_ns
    folder = Path(options.results) / night_id
    reporter = progress.JsonLines if options.json else progress.Lines
    context, info = nightly.context_of_night(found, options.processes)
    with interruptible():
        measure = nightly.measure_with(plan, folder, memory_limit, reporter)
        outcome = nightly.run_night(plan, past, measure, budget_s=budget_s, timeout_s=options.timeout, named=named)
        with deaf():  # an interrupt in here would lose the night
            state, why = state_of(outcome.cells, past, left=len(outcome.left), problem=outcome.problem)
            info.update({"harness": harness.__version__, "interrupted": outcome.interrupted,
                         "problem": outcome.problem, STATE: state})  # fmt: skip
            if outcome.never:
                info["never fits"] = "; ".join(group.name for group in outcome.never)
            night = Night(
                id=night_id, commit=commit.hash, committed=commit.date, subject=commit.subject, dirty=dirty,
                started=started, ended=_now(), machine=history.machine, context=context, info=info,
                canary_ns=(before, CanaryClock().reference_ns), budget_s=budget_s, cells=outcome.cells,
                left=outcome.left, archived=outcome.archived,
            )  # fmt: skip
            path = history.add(night, outcome.items)
            _drop_old(Path(options.results), options.keep)
            _print_end(night, path, state, why, outcome.never, options)
    return _INTERRUPTED if outcome.interrupted else EXIT_CODES[state]


def _require_sensible(options: argparse.Namespace) -> None:
    if options.processes < 1:
        raise UsageError(f"--processes {options.processes}: at least one is needed; write --processes 5")
    if options.keep < 0:
        raise UsageError(f"--keep {options.keep}: write how many nights' records to keep, or --keep 0 for all")
    if not 0 < options.timeout < float("inf"):
        raise UsageError(f"--timeout {options.timeout:g}: must be more than 0 seconds; write --timeout 900")
    if options.threads is not None and options.threads < 1:
        raise UsageError(f"--threads {options.threads}: at least one thread is needed; write --threads 1")


def _print_plan(plan: Plan, past: Past, budget_s: float, named: frozenset[str], as_json: bool) -> int:
    """What would be measured, what it cost before, and what would wait."""
    from harness.track.nightly import CORE, ROTATION, foreseen
    from harness.track.rotation import groups_of, share_of, split_archived, total_s

    core, gone = split_archived(plan.core, past, named)
    rotation, gone_too = split_archived(plan.rotation, past, named)
    core_s, core_unknown = total_s(core, past)
    turn = groups_of(rotation, past)
    share = share_of(groups_of(core, past), turn, budget_s, len(past.nights))
    left_s = share.beside_s
    taken = []
    if share.alone:
        left_s = max(0.0, budget_s - core_s - (share.alone.cost_s or 0.0))
        taken = [share.alone]
    taken += foreseen([group for group in turn if group is not share.alone], left_s)
    chosen = {group.name for group in taken}
    waits = [group for group in turn if group.name not in chosen]
    if as_json:
        for scale, groups in ((CORE, groups_of(core, past)), (ROTATION, taken), ("waits", waits)):
            for group in groups:
                rows = [piece.row for piece in group.pieces]
                print(json.dumps({"scale": scale, "task": group.pieces[0].task, "case": group.pieces[0].case,
                                  "rows": rows, "cost_s": group.cost_s, "last": _night(past, group.last)}))  # fmt: skip
        for archived in gone + gone_too:
            print(json.dumps({"archived": archived.model_dump()}))
        print(json.dumps({"core_s": core_s, "core_unknown": core_unknown, "budget_s": budget_s,
                          "rotation_s": sum(g.cost_s or 0.0 for g in taken), "whole_core": share.whole,
                          "never": [group.name for group in share.never]}))  # fmt: skip
        return 0
    print(f"core: {len(core)} rows on their cases at scale {CORE}, {_time(core_s)} by what is known"
          + (f" ({core_unknown} unknown)" if core_unknown else ""))  # fmt: skip
    if not share.whole:
        print("  which does not fit one night: what has waited longest is measured, and the rotation has a quarter")
    known = sum(group.cost_s or 0.0 for group in taken)
    print(f"rotation: {len(taken)} of {len(turn)} groups at scale {ROTATION}, {_time(known)} of "
          f"{_time(left_s + (share.alone.cost_s or 0.0 if share.alone else 0.0))}")  # fmt: skip
    if share.alone:
        print(plain(f"  first, as it does not fit beside the core, which has what is left: {share.alone.name}"))
    for group in taken:
        cost = "unknown" if group.cost_s is None else _time(group.cost_s)
        last = _night(past, group.last)
        more = f" ({len(group.pieces)} rows)" if len(group.pieces) > 1 else ""
        print(plain(f"  {group.name + more:<72} {cost:>9}  {last or 'never measured'}"))
    if waits:
        print(f"waits for another night: {len(waits)}")
        for group in waits[:_SHOWN]:
            print(plain(f"  {group.name:<72} {'unknown' if group.cost_s is None else _time(group.cost_s):>9}"))
        if len(waits) > _SHOWN:
            print(f"  and {len(waits) - _SHOWN} more")
    _print_never(share.never, budget_s)
    for one in gone + gone_too:
        print(plain(f"archived: {one.task} {one.case} {one.row}: not ok in {one.nights} nights, since {one.since}: "
                    f"{one.reason}"))  # fmt: skip
    return 0


def _print_never(never: Sequence[Group], budget_s: float) -> None:
    for group in never[:_SHOWN]:
        print(plain(f"never fits: {group.name} takes {_time(group.cost_s or 0.0)}, with a margin more than the "
                    f"{_time(budget_s)} of a night; give it more with --budget"))  # fmt: skip
    if len(never) > _SHOWN:
        print(f"and {len(never) - _SHOWN} more that never fit")


def _print_end(
    night: Night, path: Path, state: State, why: str, never: Sequence[Group], options: argparse.Namespace
) -> None:
    partly = [cell for cell in night.measured if cell.reason]
    if options.json:
        print(json.dumps({
            "event": "night", "id": night.id, "commit": night.commit, "path": str(path), "state": state, "why": why,
            "cells": len(night.cells), "ok": len(night.measured), "left": len(night.left),
            "archived": len(night.archived), "interrupted": bool(night.info.get("interrupted")),
            "partly": [f"{cell.work}: {cell.reason}" for cell in partly], "never": [group.name for group in never],
        }))  # fmt: skip
        return
    print(f"\nnight {night.id} at {night.commit[:12]}: {plain(why)}")
    bad = [cell for cell in night.cells if cell.status not in ("ok", "unsupported")]
    for cells, what in ((bad, "not ok"), (partly, "ok, but not in every process")):
        for cell in cells[:_SHOWN]:
            said = cell.reason.splitlines()[0] if cell.reason else ""
            print(plain(f"  {cell.work}: {cell.status}{', but ' if cell in partly else ': '}{said}"))
        if len(cells) > _SHOWN:
            print(f"  and {len(cells) - _SHOWN} more that are {what}")
    if night.archived:
        print(f"archived, not run: {len(night.archived)} rows (`harness track run --dry-run` lists them; --baseline "
              "runs one nevertheless)")  # fmt: skip
    if night.left:
        print(f"left for want of time: {len(night.left)} rows, which are the first the next time")
    _print_never(never, night.budget_s)
    start, end = night.canary_ns or (1.0, 1.0)
    if abs(end / start - 1) > 0.1:
        print(f"note: this machine ran the same calculation {end / start:.2f} times as long at the end as at the start")
    history = "" if options.history == DEFAULT_HISTORY else f" --history {options.history}"
    if night.info.get("interrupted"):
        print("interrupted: the night so far is kept", file=sys.stderr)
    print(f"kept as {path}; what it means: harness track check{history}")


def _night(past: Past, number: int) -> str:
    return "" if number < 0 else past.nights[number].id


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min" if seconds < 5400 else (
        f"{seconds / 3600:.1f} h"
    )  # fmt: skip


def _checkout(folder: Path) -> Path:
    """The folder of the checkout that `folder` lies in."""
    full = folder.resolve()
    return next((place for place in (full, *full.parents) if (place / ".git").exists()), full)


def _drop_old(results: Path, keep: int) -> None:
    """Remove the records of all but the last nights: what the history says of them stays."""
    nights = sorted(path for path in results.glob("*") if path.is_dir() and NIGHT.fullmatch(path.name))
    for path in nights[:-keep] if keep else ():
        shutil.rmtree(path, ignore_errors=True)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
