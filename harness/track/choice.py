"""Which rows two commits are compared on: those asked for, else those whose code differs."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from harness.errors import NothingMatched, did_you_mean
from harness.track.compare import Selected
from harness.track.history import Work
from harness.track.inventory import Row, in_common
from harness.track.values import SHARED_PART, row_to_run

MOST_ROWS = 12
"""Without being asked: two minutes each."""
A_TASK = 3
"""Rows that stand for a task whose own code differs."""
_SHOWN = 5


@dataclass
class Choice:
    """What is run, and what else is to be said."""

    rows: list[Selected] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left_out: int = 0
    """Of what would be run, so many rows cannot be here."""


def asked_for(base: Sequence[Row], head: Sequence[Row], tasks: str, baselines: Sequence[str], case: str) -> Choice:
    """Rows by task or family, by row, file or pattern, and by case. Raises NothingMatched or UsageError."""
    wanted = [name for name in tasks.split(",") if name]
    known = {name for row in head for name in (row.task, row.family)}
    for name in wanted:
        if name not in known:
            raise did_you_mean("task", name, known)
    choice = Choice()
    shared = [name for name in baselines if name.endswith(SHARED_PART)]
    rows = {row.row for row in head}  # as `harness run` has it: a row's name first, else its file's
    by_row = [name for name in baselines if name in rows or any(c in name for c in "*?[")]
    files = {name for name in baselines if name not in by_row}
    for old, new in in_common(base, head):
        fits = not wanted or new.task in wanted or new.family in wanted
        if not fits or not fnmatch.fnmatchcase(new.case, case or "*"):
            continue
        if not baselines or new.file in files or any(fnmatch.fnmatchcase(new.row, name) for name in by_row):
            choice.rows.append(_selected(old, new, "asked for"))
        for name in shared:
            work = _work(new, name)
            if row_to_run(work) == new.row:
                choice.rows.append(Selected(work, "asked for", new.row, _version(old, new)))
    if not choice.rows:
        names = {name for row in [*base, *head] for name in (row.row, row.file)}
        for name in baselines:
            if name not in names and not name.endswith(SHARED_PART) and not set(name) & set("*?["):
                raise did_you_mean("baseline", name, names)
        raise NothingMatched(
            "the two commits have no such row on a case in common; `harness list baselines` and `harness list cases` "
            "show what there is, and --scale standard takes in more cases"
        )
    _leave_out_missing(choice, head)
    return choice


def by_difference(base: Sequence[Row], head: Sequence[Row], harness_differs: bool) -> Choice:
    """Rows whose own code, or whose task's, differs, one for each file; where the harness differs, a cheap one of each
    task family as well. Raises NothingMatched where the commits have no row in common."""
    both = in_common(base, head)
    if not both:
        raise NothingMatched("the two commits have no row on a case in common, so that there is nothing to compare")
    choice = Choice()
    both.sort(key=lambda pair: bool(pair[1].missing))  # what cannot run here stands for others only where all cannot
    own = [(o, n) for o, n in both if o.own != n.own or (o.source != n.source and o.task_source == n.task_source)]
    _add(choice, _one_each(own, lambda row: (row.task, row.case, row.file)), "its code differs")
    of_tasks = [(o, n) for o, n in both if o.task_source != n.task_source]
    for task in dict.fromkeys(new.task for _, new in of_tasks):
        members = _one_each(
            _cheap_first((o, n) for o, n in of_tasks if n.task == task), lambda row: (row.task, row.file)
        )
        can_run = [pair for pair in members if not pair[1].missing]
        _add(choice, (can_run or members)[:A_TASK], f"stands for {task}, whose code differs")
    if harness_differs:
        cheap = _one_each(_cheap_first(both), lambda row: row.family)
        done = {one.work.task.partition("/")[0] for one in choice.rows}
        _add(
            choice,
            [(o, n) for o, n in cheap if n.family not in done],
            "the harness differs, and it stands for its tasks",
        )
    _leave_out_missing(choice, head)
    if len(choice.rows) > MOST_ROWS:
        choice.notes.append(
            f"{len(choice.rows)} rows differ, of which {MOST_ROWS} are run; name others with --task and --baseline"
        )
        del choice.rows[MOST_ROWS:]
    alone = sorted({row.row for row in head if row.place not in {r.place for r in base}})
    if alone:
        choice.notes.append(f"new, with nothing to compare with: {', '.join(alone[:8])}{' ...' * (len(alone) > 8)}")
    return choice


def _add(choice: Choice, pairs: Iterable[tuple[Row, Row]], why: str) -> None:
    there = {one.work for one in choice.rows}
    for old, new in pairs:
        one = _selected(old, new, why)
        if one.work not in there:
            there.add(one.work)
            choice.rows.append(one)


def _selected(old: Row, new: Row, why: str) -> Selected:
    return Selected(_work(new, new.row), why, new.row, _version(old, new))


def _work(row: Row, name: str) -> Work:
    return Work(row.task, row.version, row.case, name, row.seed, row.device, row.threads)


def _version(old: Row, new: Row) -> int:
    return old.version if old.version != new.version else 0


def _one_each(pairs: Iterable[tuple[Row, Row]], group: Callable[[Row], object]) -> list[tuple[Row, Row]]:
    first: dict[object, tuple[Row, Row]] = {}
    for old, new in pairs:
        first.setdefault(group(new), (old, new))
    return list(first.values())


def _cheap_first(pairs: Iterable[tuple[Row, Row]]) -> list[tuple[Row, Row]]:
    """Light rows before heavy ones; controls, which do nothing worth timing, after them; what cannot run here last."""
    return sorted(pairs, key=lambda pair: (bool(pair[1].missing), pair[1].cost == "heavy", pair[1].file == "random"))


def _leave_out_missing(choice: Choice, rows: Sequence[Row]) -> None:
    """Say what cannot run here, once for each reason."""
    missing = {row.place: row.missing for row in rows if row.missing}
    kept, reasons = [], dict[str, dict[str, None]]()
    for one in choice.rows:
        reason = missing.get((one.work.task, one.work.case, one.row or one.work.row))
        if reason is None:
            kept.append(one)
        else:
            reasons.setdefault(reason, {})[one.work.row] = None
    choice.left_out = len(choice.rows) - len(kept)
    choice.rows[:] = kept
    for reason, names in reasons.items():
        some = ", ".join(list(names)[:_SHOWN]) + f" and {len(names) - _SHOWN} more" * (len(names) > _SHOWN)
        choice.notes.append(f"cannot run here: {some}: {reason}")
