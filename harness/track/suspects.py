"""From the history to what is to be run again: which numbers of the last night look worse than their past."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from harness.record import Status
from harness.track import rules
from harness.track.amounts import is_cost, too_small
from harness.track.findings import Check, Layer, Note
from harness.track.history import Cell, History, Night, Point, SeriesKey, Value, Work, series_of

Items = NDArray[np.float64]
PAIRED_NIGHTS = 7
"""Nights whose items tonight's are held against."""
BROKEN: frozenset[Status] = frozenset({"failed", "timeout", "oom", "killed"})
"""What a row that answered may not become. A missing package is the environment's, and a row may decline a case."""
_YIELDING_NIGHTS = 3
_REMEMBERED = 30
"""Nights after which a row that does not answer is not asked for any more."""


@dataclass(frozen=True)
class Suspect:
    """One number that is to be run again."""

    key: SeriesKey
    scale: str
    layer: Layer
    unit: str
    higher_is_better: bool
    value: float | None
    before: float | None
    good: Night
    """The last one in which it was as before."""
    bad: Night
    """The first in which it was seen to be worse."""
    why: str
    min_effect: float = rules.MIN_EFFECT
    by_items: bool = False
    """Whether it is decided item by item."""
    wall_s: float = 0.0
    """What one process of it took."""
    limit: float | None = None
    across: bool = False
    """Whether the past is of another context."""

    @property
    def severity(self) -> float:
        """What comes first where there is no time for all: what no longer answers, then the largest change."""
        if self.value is None or not self.before:
            return float("inf")
        return abs(self.value / self.before - 1)


@dataclass
class Judged:
    """What one look at the last night came to."""

    suspects: list[Suspect] = field(default_factory=list)
    series: int = 0
    short: int = 0
    changed_scores: int = 0
    """Scores of which any item changed: as many could have been suspected."""
    machine_moved: list[SeriesKey] = field(default_factory=list)
    """Worse than their limit, but by no more than the machine was slower."""
    improved: list[tuple[SeriesKey, float]] = field(default_factory=list)
    """With tonight's value over the past's median."""
    notes: list[Note] = field(default_factory=list)


def judge(history: History, nights: Sequence[Night], checks: Sequence[Check]) -> Judged:
    """Hold the last of `nights`, in order of time, against those before it."""
    tonight, past = nights[-1], nights[:-1]
    judged = Judged()
    begins = eras(checks, nights)
    for key, points in series_of(nights).items():
        if points[-1].night is not tonight:
            continue
        known = [p for p in points if p.night.started >= begins.get(key, "")]
        own = [p for p in known if p.comparable(points[-1])]
        across = len(own) <= rules.MIN_PAST < len(known)
        own = known if across else own  # a suspicion may err: both commits are run again in today's context
        if len(own) <= rules.MIN_PAST:
            judged.short += 1
            continue
        if too_small(key.metric, [points[-1].value.value, statistics.median(p.value.value for p in own[:-1])]):
            continue
        judged.series += 1
        before = len(judged.suspects)
        if not (points[-1].value.items and _judge_items(history, key, own, judged)):
            _judge_value(key, own, judged)
        judged.suspects[before:] = [replace(s, across=across) for s in judged.suspects[before:]]
    judged.suspects += _no_longer_answers(tonight, past, checks)
    judged.notes += [*_new_contexts(tonight, past), *_not_measured(tonight, past), *_archived(tonight, past)]
    return judged


def eras(checks: Sequence[Check], nights: Sequence[Night]) -> dict[SeriesKey, str]:
    """From when on the past of a series counts: the night of its last regression, which is its new level; or the first
    of three nights in a row that looked worse without the code being to blame, after which the machine is what it is.
    After a change of context one such night is enough."""
    started = {night.id: night.started for night in nights}
    begins: dict[SeriesKey, str] = {}
    in_a_row: dict[SeriesKey, list[str]] = {}
    for check in sorted((c for c in checks if c.night in started), key=lambda c: started[c.night]):
        at = started[check.night]
        yielding = {f.key: f.across for f in check.findings if f.yields and f.metric != "status"}
        in_a_row = {key: since for key, since in in_a_row.items() if key in yielding}
        for key, across in yielding.items():
            since = in_a_row.setdefault(key, [])
            since.append(at)
            if across or len(since) >= _YIELDING_NIGHTS:
                begins[key] = since[0]
        begins.update({f.key: at for f in check.findings if f.verdict == "regressed" and f.metric != "status"})
    return begins


def _judge_value(key: SeriesKey, points: Sequence[Point], judged: Judged) -> None:
    """A number without items."""
    last = points[-1]
    better_high = last.value.higher_is_better
    raw = [p.value.value for p in points]
    timed = last.value.unit == "ns"
    values = rules.at_speed(raw, [p.cell.canary_ns for p in points]) if timed else raw
    least = rules.MIN_EFFECT if is_cost(key.metric) else rules.MIN_SCORE_EFFECT
    found = rules.suspicion(values, better_high, least)
    limit = rules.limit_of(values[:-1], better_high, least)
    if found is None:
        if limit is not None and timed and rules.is_worse(raw[-1], limit, better_high):
            judged.machine_moved.append(key)
        middle = statistics.median(values[:-1][-rules.WINDOW :])
        other_side = rules.limit_of(values[:-1], not better_high, least)
        if middle > 0 and other_side is not None and rules.is_worse(values[-1], other_side, not better_high):
            judged.improved.append((key, values[-1] / middle))
        return
    said = {
        "night": f"{values[-1]:.4g} {last.value.unit} against a median of {found.before:.4g} over "
        f"{min(len(points) - 1, rules.WINDOW)} nights; the limit is {found.limit:.4g}",
        "drift": f"the level rose from {found.before:.4g} to {statistics.median(values[found.bad :]):.4g} "
        f"{last.value.unit}, step by step",
    }[found.layer]
    smallest = least if is_cost(key.metric) else least * abs(found.before)
    suspect = _suspect(
        key, last, found.layer, found.before, points[found.good].night, points[found.bad].night, said, smallest
    )
    judged.suspects.append(replace(suspect, value=values[-1], limit=found.limit))


def _judge_items(history: History, key: SeriesKey, points: Sequence[Point], judged: Judged) -> bool:
    """A score, item by item against the mean of the last nights that asked the same, and of the first ones. False where
    no night did, or its items are not kept any more."""
    last = points[-1]
    tonight = history.items(last.value.items)
    if tonight is None:
        return False
    same = [
        (p, items) for p in points[:-1]
        if p.cell.draw == last.cell.draw and (items := history.items(p.value.items)) is not None
        and items.shape == tonight.shape
    ]  # fmt: skip
    if not same:
        return False
    if all(p.value.items == last.value.items for p, _ in same):
        return True
    judged.changed_scores += 1
    lately, first = same[-PAIRED_NIGHTS:], same[:PAIRED_NIGHTS]
    least = rules.least_score_effect(lately[-1][1])
    windows: tuple[tuple[Layer, list[tuple[Point, Items]]], ...] = (("items", lately), ("drift", first))
    for layer, window in windows:
        mean = np.mean([items for _, items in window], axis=0)
        test = rules.paired_items(mean, tonight, last.value.higher_is_better)
        if test.p > rules.SUSPECT_P or test.worse_by < least:
            continue
        good = next((p for p, _ in reversed(window) if _as_before(p, [p for p, _ in window], least)), window[-1][0])
        said = (
            f"{last.value.value:.4g} against {mean.mean():.4g} over {len(window)} nights, item by item: "
            f"{test.effect:+.4g} over {test.n} items"
        )
        found = _suspect(key, last, layer, float(mean.mean()), good.night, last.night, said, least, by_items=True)
        judged.suspects.append(found)
        return True
    _changed_answers(key, [(p.value.items, items) for p, items in lately], tonight, judged)
    return True


def _changed_answers(key: SeriesKey, before: Sequence[tuple[str, Items]], tonight: Items, judged: Judged) -> None:
    """Answers that were the same every night, and are not tonight: no alarm, but something did it."""
    usual = before[-1][1]
    changed, up = int(np.count_nonzero(usual != tonight)), int(np.count_nonzero(tonight > usual))
    if changed and len({digest for digest, _ in before}) == 1:
        text = (
            f"{key}: {changed} of {len(tonight)} items came out otherwise ({up} higher, {changed - up} lower) than in "
            f"each of the {len(before)} nights before; {float((tonight - usual).mean()):+.4g} in all"
        )
        judged.notes.append(Note(kind="changed answers", text=text))


def _as_before(point: Point, points: Sequence[Point], least: float) -> bool:
    middle = statistics.median(p.value.value for p in points)
    worse = point.value.value - middle if not point.value.higher_is_better else middle - point.value.value
    return worse < least


def _suspect(
    key: SeriesKey, last: Point, layer: Layer, before: float, good: Night, bad: Night, why: str,
    min_effect: float = rules.MIN_EFFECT, by_items: bool = False,
) -> Suspect:  # fmt: skip
    value: Value = last.value
    return Suspect(
        key, last.cell.scale, layer, value.unit, value.higher_is_better, value.value, before, good, bad, why,
        min_effect, by_items, last.cell.wall_s / max(v.processes for v in last.cell.values.values()),
    )  # fmt: skip


def _no_longer_answers(tonight: Night, past: Sequence[Night], checks: Sequence[Check]) -> Iterable[Suspect]:
    """Rows that answered, and do not tonight, unless re-runs have decided since: not only those of the first such
    night, which may have gone by undecided."""
    good = {cell.work: night for night in past[-_REMEMBERED:] for cell in night.measured}
    decided = {
        (f.key.work, check.night) for check in checks for f in check.findings
        if f.metric == "status" and f.verdict in ("regressed", "cleared")
    }  # fmt: skip
    for cell in tonight.cells:
        night = good.get(cell.work)
        if cell.status not in BROKEN or night is None:
            continue
        if any(work == cell.work and at > night.id for work, at in decided):
            continue
        yield Suspect(
            SeriesKey(cell.work, "status"), cell.scale, "status", "", False, None, None, night, tonight,
            f"{cell.status}: {cell.reason or 'no reason was given'}"[:500],
        )  # fmt: skip


def _last_seen(nights: Iterable[Night]) -> dict[Work, tuple[Night, Cell]]:
    return {cell.work: (night, cell) for night in nights for cell in night.cells}


def _new_contexts(tonight: Night, past: Sequence[Night]) -> Iterable[Note]:
    """What changed around the code, and what the numbers did with it: no alarm, since no commit did it."""
    before = _last_seen(past)
    groups: dict[tuple[str, ...], list[tuple[Cell, Cell]]] = {}
    for cell in tonight.measured:
        night, known = before.get(cell.work, (None, None))
        if night is None or known is None or _point(night, known).comparable(_point(tonight, cell)):
            continue
        both = known.libraries.keys() & cell.libraries.keys()
        libraries = [{name: of[name] for name in both} for of in (known.libraries, cell.libraries)]
        changed = (*_differences(night.context, tonight.context), *_differences(*libraries))
        groups.setdefault(changed, []).append((known, cell))
    for changes, cells in groups.items():
        ratios = {
            f"{cell.work} {metric}": value.value / old.value
            for known, cell in cells
            if known.status == "ok"
            for metric, value in cell.values.items()
            if is_cost(metric) and (old := known.values.get(metric)) is not None and old.value > 0
        }
        moved = sorted((r for r in ratios.items() if abs(r[1] - 1) > 2 * rules.MIN_EFFECT), key=lambda r: -r[1])
        text = f"{', '.join(changes)}: {len(cells)} cells, until {rules.MIN_PAST} nights are held against the old past"
        if moved:
            shown = ", ".join(f"{name} {ratio:.2f}x" for name, ratio in moved[:3])
            text += f"; against the night before, {len(moved)} of {len(ratios)} costs moved by more than 10 %: {shown}"
            text += " ..." if len(moved) > 3 else ""
        yield Note(kind="new context", text=text)


def _point(night: Night, cell: Cell) -> Point:
    return Point(night, cell, Value(value=0.0, unit=""))


def _differences(old: Mapping[str, object], new: Mapping[str, object]) -> list[str]:
    names = sorted(old.keys() | new.keys())
    return [f"{n} {old.get(n, 'none')} -> {new.get(n, 'none')}" for n in names if old.get(n) != new.get(n)]


def _not_measured(tonight: Night, past: Sequence[Night]) -> Iterable[Note]:
    """Cells of every one of the last three nights that are not in tonight's, for no reason that it gives."""
    for status in ("skipped", "unsupported"):
        lost = [c for c in tonight.cells if c.status == status and _answered(c.work, past[-_REMEMBERED:])]
        if lost:
            shown = ", ".join(str(c.work) for c in lost[:5]) + (" ..." if len(lost) > 5 else "")
            text = f"{len(lost)} cells that answered are {status}: {shown}: {lost[0].reason}"
            yield Note(kind="not measured", text=text[:2000])
    if len(past) < 3:
        return
    always = set.intersection(*({cell.work for cell in night.cells} for night in past[-3:]))
    told = {(a.task, a.case, a.row) for a in tonight.archived}
    gone = sorted(w for w in always - {c.work for c in tonight.cells} if (w.task, w.case, w.row) not in told)
    if gone:
        shown = ", ".join(str(work) for work in gone[:5]) + (" ..." if len(gone) > 5 else "")
        yield Note(kind="not measured", text=f"{len(gone)} cells of the nights before were not measured: {shown}")
    if tonight.left:
        by_task = Counter(line.partition(" ")[0] for line in tonight.left)
        shown = ", ".join(f"{n} of {task}" for task, n in sorted(by_task.items()))
        yield Note(
            kind="not measured", text=f"no time was left for {len(tonight.left)} cells ({shown}): first next time"
        )


def _answered(work: Work, nights: Sequence[Night]) -> bool:
    return any(cell.work == work for night in nights for cell in night.measured)


def _archived(tonight: Night, past: Sequence[Night]) -> Iterable[Note]:
    known = {(a.task, a.case, a.row) for a in past[-1].archived} if past else set()
    for a in tonight.archived:
        if (a.task, a.case, a.row) not in known:
            yield Note(
                kind="archived",
                text=f"{a.task} {a.case} {a.row} did not answer for {a.nights} nights, since {a.since[:10]}, and is "
                f"no longer run: {a.reason}",
            )
