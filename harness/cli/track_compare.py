"""`harness track compare`: two commits in turns on this machine, and a verdict on every number with its interval."""

from __future__ import annotations

import argparse
import json
import math
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.track.choice import Choice
    from harness.track.compare import Compared, Metric, Selected
    from harness.track.findings import State
    from harness.track.pairs import Pair
    from harness.track.trees import Tree

_EPILOG = """BASE and HEAD: any name of a commit, or WORKTREE for the files as they are
exit codes: 0 nothing worse; 1 regressed; 2 bad usage; 3 nothing to compare, or nothing
that can be run here; 5 the environment broke; 6 inconclusive"""

_FEW_ROWS = 4


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.epilog, parser.formatter_class = _EPILOG, argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("base", metavar="BASE", help="the commit to compare with, for example main")
    add("head", metavar="HEAD", help="the commit in question, for example HEAD or WORKTREE")
    add("--task", default="", metavar="NAME[,NAME]", help="task or family (default: rows whose code differs)")
    add("--baseline", nargs="+", action="extend", default=[], metavar="NAME", help="row or file name, or 'pattern*'")
    add("--case", default="", metavar="GLOB", help="only cases whose name matches")
    add("--scale", default="smoke", choices=("smoke", "standard", "full"))
    add("--pairs", type=int, default=None, metavar="N",
        help="pairs of sessions of each row, 6 at least (default: 12; of more than 4 rows, 14)")  # fmt: skip
    add("--processes", type=int, default=None, metavar="N",
        help="processes of each side in a pair that are timed (default: 12; of cells over 10 s, 1)")  # fmt: skip
    add("--threads", type=int, default=None, metavar="N", help="threads of each cell (default: all cores, at most 4)")
    add("--device", default="auto", choices=("cpu", "cuda", "auto"))
    add("--timeout", type=float, default=900.0, metavar="S", help="seconds a process may take (default: 900)")
    add("--budget", default="", metavar="TIME", help="begin no further process after this, for example 20m")
    add("--repo", default=".", metavar="DIR", help="a checkout that has both commits (default: here)")
    add("--format", default="text", choices=("text", "json", "markdown"))


def execute(options: argparse.Namespace) -> int:
    """Print the comparison. Returns the exit code that its state has."""
    from harness.api import default_threads
    from harness.budget import parse_duration
    from harness.interruption import interruptible
    from harness.track.compare import judge, measure
    from harness.track.findings import EXIT_CODES
    from harness.track.pairs import interleave
    from harness.track.trees import tree_of

    _require_sensible(options)
    threads = default_threads() if options.threads is None else options.threads
    budget_s = parse_duration(options.budget)
    repo = Path(options.repo)
    with interruptible(), ExitStack() as stack:
        base, head = (stack.enter_context(tree_of(repo, name)) for name in (options.base, options.head))
        chosen = _choose(options, base, head, threads)
        # the more numbers are looked at, the surer each must be, and pairs set how sure one can be
        pairs = options.pairs or (12 if len(chosen.rows) <= _FEW_ROWS else 14)

        def rerun(one: Selected, deadline: float) -> Iterator[Pair]:
            return interleave(
                base, head, one.work, options.scale, timeout_s=options.timeout, pairs=pairs + pairs // 2,
                processes=options.processes, row=one.row, deadline=deadline,
            )  # fmt: skip

        def told(text: str) -> None:
            print(text, file=sys.stderr, flush=True)

        compared = judge(measure(chosen.rows, rerun, told, budget_s, n_pairs=pairs))
    state, why = _state(chosen, compared)
    _PRINTERS[options.format](options, base, head, chosen, compared, state, why)
    return EXIT_CODES[state]


def _require_sensible(options: argparse.Namespace) -> None:
    from harness.errors import UsageError
    from harness.track.compare import LEAST_PAIRS
    from harness.track.pairs import PROCESSES

    if options.pairs is not None and options.pairs < LEAST_PAIRS:
        raise UsageError(f"--pairs {options.pairs}: an interval needs {LEAST_PAIRS} at least; write --pairs 10")
    if options.processes is not None and options.processes < 1:
        raise UsageError(f"--processes {options.processes}: at least one is needed; write --processes {PROCESSES}")
    if not 0 < options.timeout < math.inf:
        raise UsageError(f"--timeout {options.timeout:g}: must be more than 0 seconds; write --timeout 900")
    if options.threads is not None and options.threads < 1:
        raise UsageError(f"--threads {options.threads}: at least one thread is needed; write --threads 1")


def _choose(options: argparse.Namespace, base: Tree, head: Tree, threads: int) -> Choice:
    from harness.track import choice, inventory
    from harness.track.trees import requirements_differ

    old, new = (inventory.ask(tree, options.scale, threads, options.device) for tree in (base, head))
    if options.task or options.baseline or options.case:
        chosen = choice.asked_for(old, new, options.task, options.baseline, options.case)
    else:
        differs = inventory.harness_digest(base) != inventory.harness_digest(head)
        chosen = choice.by_difference(old, new, differs)
    if note := requirements_differ(Path(options.repo), options.base, options.head):
        chosen.notes.append(note)
    return chosen


def _state(chosen: Choice, compared: Sequence[Compared]) -> tuple[State, str]:
    from harness.track.compare import state_of

    if compared:
        return state_of(compared)
    if chosen.left_out:
        return "measured nothing", "none of the rows in question can be run here"
    if chosen.notes:
        return "fine", "no row that can be compared differs"
    return "fine", "neither a row's code nor the harness that runs it differs: nothing was run"


def _print_text(
    options: argparse.Namespace, base: Tree, head: Tree, chosen: Choice, compared: Sequence[Compared], state: State,
    why: str,
) -> None:  # fmt: skip
    from harness.text import one_line, plain

    print(one_line(f"base {base.short} {base.subject}"))
    print(one_line(f"head {head.short} {head.subject}"))
    for one in compared:
        print(f"\n{one_line(str(one.selected.work))} ({one.selected.why}; {_about(one)})")
        if one.outcome != "compared":
            print(f"  {one.outcome}: {one_line(one.reason)}")
        width = max((len(metric.name) for metric in one.metrics), default=0)
        for metric in one.metrics:
            print(plain(f"  {metric.name:<{width}}  {_change(metric):<32}  {_values(metric):<24}  {_said(metric)}"))
        if one.outcome == "broke" or any(m.verdict == "regressed" for m in one.metrics):
            print(f"  again: {_command(options, one)}")
    for note in chosen.notes:
        print(f"\nnote: {one_line(note)}")
    print(f"\n{state}: {one_line(why)}")


def _print_markdown(
    options: argparse.Namespace, base: Tree, head: Tree, chosen: Choice, compared: Sequence[Compared], state: State,
    why: str,
) -> None:  # fmt: skip
    from harness.text import cell

    print(f"### {state}: {cell(why)}\n")
    print(f"base {base.short} {cell(base.subject)}, head {head.short} {cell(head.subject)}\n")
    print("| row | number | change [95 %] | base | head | verdict |\n|---|---|---|---|---|---|")
    for one in compared:
        work = cell(str(one.selected.work))
        if one.outcome != "compared":
            print(f"| {work} | | | | | {one.outcome}: {cell(one.reason)} |")
        for metric in one.metrics:
            before, after = _values(metric).split(" \u2192 ")
            print(f"| {work} | {metric.name} | {_change(metric)} | {before} | {after} | {cell(_said(metric))} |")
    for note in chosen.notes:
        print(f"\n{cell(note)}")
    worse = [one for one in compared if one.outcome == "broke" or any(m.verdict == "regressed" for m in one.metrics)]
    if worse:
        commands = "\n".join(_command(options, one).replace("`", "'") for one in worse)
        print(f"\n```sh\n{commands}\n```")


def _print_json(
    options: argparse.Namespace, base: Tree, head: Tree, chosen: Choice, compared: Sequence[Compared], state: State,
    why: str,
) -> None:  # fmt: skip
    print(json.dumps({
        "state": state, "why": why,
        "base": {"commit": base.commit, "subject": base.subject},
        "head": {"commit": head.commit, "subject": head.subject},
        "rows": [_flat(options, one) for one in compared], "notes": chosen.notes,
    }, indent=1, allow_nan=False))  # fmt: skip


_PRINTERS = {"text": _print_text, "markdown": _print_markdown, "json": _print_json}


def _flat(options: argparse.Namespace, one: Compared) -> dict[str, Any]:
    work = one.selected.work
    return {
        "task": work.task, "version": work.version, "case": work.case, "row": work.row, "seed": work.seed,
        "device": work.device, "threads": work.threads, "why": one.selected.why, "outcome": one.outcome,
        "reason": one.reason, "pairs": one.pairs, "moved": one.moved,
        "speed_known": one.speed_known, "command": _command(options, one),
        "numbers": [
            {
                "metric": m.name, "unit": m.unit, "higher_is_better": m.higher_is_better, "base": m.base,
                "head": m.head, "verdict": m.verdict, "why": m.why, "dropped": m.dropped, "better_p": m.better_p,
                **({"effect": m.test.effect, "low": m.test.low if math.isfinite(m.test.high) else None,
                    "high": m.test.high if math.isfinite(m.test.high) else None,
                    "p": m.test.p, "n": m.test.n} if m.test else {}),
            }
            for m in one.metrics
        ],
    }  # fmt: skip


def _about(one: Compared) -> str:
    moved = f", in {one.moved} of which the machine's speed moved" if one.moved else ""
    version = one.selected.version_before
    other = f"; version {version} of the task before, so that numbers are not compared" if version else ""
    speed = "" if one.speed_known else (
        "; the two commits time other fixed calculations, so that nobody knows whether the machine's speed moved"
    )  # fmt: skip
    return f"{one.pairs} pairs{moved}{speed}{other}"


def _change(metric: Metric) -> str:
    from harness.track import amounts

    if metric.test is None:
        return "-"
    say = amounts.difference if metric.is_score else amounts.ratio
    test = metric.test
    if metric.is_score and test.effect == test.low == test.high == 0:
        return say(0.0)
    if not math.isfinite(test.high):
        return f"{say(test.effect)} [not known]"
    return f"{say(test.effect)} [{say(test.low)}, {say(test.high)}]"


def _values(metric: Metric) -> str:
    from harness.track import amounts

    return f"{amounts.shown(metric.base, metric.unit)} \u2192 {amounts.shown(metric.head, metric.unit)}"


def _said(metric: Metric) -> str:
    dropped = f"{metric.dropped} pairs dropped" if metric.dropped and metric.verdict != "inconclusive" else ""
    more = "; ".join(filter(None, (dropped, metric.why)))
    p = f" (p = {metric.test.p:.1g})" if metric.test and metric.verdict == "regressed" else ""
    return f"{metric.verdict}{p}{f': {more}' if more else ''}"


def _command(options: argparse.Namespace, one: Compared) -> str:
    work = one.selected.work
    words = [
        "harness", "track", "compare", options.base, options.head, "--task", work.task, "--baseline", work.row,
        "--case", work.case, "--scale", options.scale, *(("--pairs", str(options.pairs)) if options.pairs else ()),
    ]  # fmt: skip
    return shlex.join(words)
