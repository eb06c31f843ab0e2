"""Two commits side by side on this machine: what differs, by how much, and how sure that is.

Costs are ratios over pairs (see `harness.track.pairs`), scores differences over the items of one draw. Of all numbers
that are looked at together, at most `RATE` of what is said to differ does not (Benjamini & Hochberg 1995), each way.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.track.amounts import MIN_DELTA_BYTES, too_small
from harness.track.findings import State
from harness.track.history import Value, Work
from harness.track.pairs import Once, Pair, centre
from harness.track.rules import (
    MIN_EFFECT,
    MIN_SCORE_EFFECT,
    PairTest,
    discoveries,
    least_score_effect,
    paired_differences,
    paired_items,
    paired_ratio,
)

RATE = 0.025
"""Larger than the nightly check's: somebody asked about these commits, and looks at what is said."""
STATUS_PAIRS = 2
"""After so many pairs that did not answer, none will."""
LEAST_PAIRS = 6
"""With fewer there is no interval of 95 %."""
Verdict = Literal["regressed", "improved", "no difference found", "inconclusive", "not judged"]
Outcome = Literal["compared", "broke", "recovered", "fails in both", "inconclusive", "not reached"]


@dataclass(frozen=True)
class Selected:
    """A row on a case that both trees have, and why it is run."""

    work: Work
    why: str
    row: str = ""
    """What `--baseline` names, if not the row itself."""
    version_before: int = 0
    """The base's version of the task, where it is another: scores then mean other things, and so may costs."""


@dataclass(frozen=True)
class Metric:
    """One number of one row, over both sides."""

    name: str
    unit: str
    higher_is_better: bool
    base: float
    head: float
    test: PairTest | None
    """head / base of costs, head - base of scores; None where nothing can be tested."""
    better_p: float
    """One-sided, of head being no better."""
    dropped: int
    verdict: Verdict
    why: str = ""

    @property
    def is_score(self) -> bool:
        return self.name.startswith("score/")


@dataclass(frozen=True)
class Compared:
    """What came of one row."""

    selected: Selected
    outcome: Outcome
    reason: str = ""
    metrics: tuple[Metric, ...] = ()
    pairs: int = 0
    moved: int = 0
    speed_known: bool = True
    """False where both sides made other versions of the fixed calculation, and `moved` says nothing."""


@dataclass
class _Number:
    """What the pairs say of one number, before all are judged together."""

    name: str
    value: Value
    base: float
    head: float
    test: PairTest | None = None
    better_p: float = 1.0
    dropped: int = 0
    verdict: Literal["", "inconclusive", "not judged"] = ""
    """One that needs no test."""
    same: bool = False
    """Whether not one item, or value, differs: then there is nothing to be tested."""
    least: bool = False
    """Whether the change is as large as one must be to be told."""
    why: str = ""


class _Judged(NamedTuple):
    row: int
    name: str


@dataclass
class Measured:
    """Pairs of one row, as they came."""

    selected: Selected
    pairs: list[Pair] = field(default_factory=list)

    @property
    def answered(self) -> list[Pair]:
        return [pair for pair in self.pairs if pair.base.ok and pair.head.ok]

    @property
    def outcome(self) -> tuple[Outcome, str]:
        n = len(self.pairs)
        if not n:
            return "not reached", "no time was left for it"
        base, head = sum(pair.base.ok for pair in self.pairs), sum(pair.head.ok for pair in self.pairs)
        if base == head == n:
            return "compared", ""
        before, after = (
            next((f"{once.cell.status}: {once.cell.reason}" for once in side if not once.ok), "")
            for side in ([pair.base for pair in self.pairs], [pair.head for pair in self.pairs])
        )
        if base == head == 0:
            return "fails in both", after
        if (base, head) == (n, 0) and n >= STATUS_PAIRS:
            return "broke", after
        if (base, head) == (0, n) and n >= STATUS_PAIRS:
            return "recovered", f"before: {before}"
        said = [f"in {n} pair{'s' * (n != 1)}, the base answered {base} times and the head {head} times"]
        said += [f"base {before}"] * bool(before) + [f"head {after}"] * bool(after)
        return "inconclusive", "; ".join(said)

    @property
    def enough(self) -> bool:
        return not self.answered and len(self.pairs) >= STATUS_PAIRS


def measure(
    selected: Sequence[Selected], rerun: Callable[[Selected, float], Iterator[Pair]], told: Callable[[str], None],
    budget_s: float = 0.0, clock: Callable[[], float] = time.monotonic, n_pairs: int = 0,
) -> list[Measured]:  # fmt: skip
    """Make the pairs of every row, one row after the other, until the budget (0: none) is spent, or there are `n_pairs`
    (0: as many as `rerun` makes) in which the machine's speed did not move.

    A row gets its share of the time that is left, so that none is without a word because of those before it. `rerun`
    is told when that ends, by the clock.
    """
    begun = clock()
    found = []
    for index, one in enumerate(selected):
        measured = Measured(one)
        found.append(measured)
        left_s = budget_s - (clock() - begun)
        until = clock() + left_s / (len(selected) - index) if budget_s else math.inf
        if budget_s and left_s <= 0:
            continue
        for number, pair in enumerate(rerun(one, until), 1):
            measured.pairs.append(pair)
            failed = [f", the {name} {once.cell.status}" for name, once in _sides(pair) if not once.ok]
            moved = ", the machine moved" * pair.moved
            told(f"[{index + 1}/{len(selected)}] {one.work}: pair {number}{moved}{''.join(failed)}")
            steady = sum(not made.moved for made in measured.pairs)
            if measured.enough or clock() >= until or steady == n_pairs:
                break
    return found


def _sides(pair: Pair) -> tuple[tuple[str, Once], ...]:
    return ("base", pair.base), ("head", pair.head)


def judge(found: Sequence[Measured]) -> list[Compared]:
    """Verdicts on every number of every row."""
    numbers = {_Judged(i, n.name): n for i, one in enumerate(found) for n in _numbers(one.answered, one.selected)}
    tested = {key: n.test for key, n in numbers.items() if n.test is not None and not (n.verdict or n.same)}
    worse = discoveries({key: test.p for key, test in tested.items()}, RATE)
    better = discoveries({key: numbers[key].better_p for key in tested}, RATE)
    compared = []
    for index, one in enumerate(found):
        outcome, reason = one.outcome
        metrics = []
        for key, number in numbers.items():
            if key.row != index:
                continue
            verdict: Verdict = number.verdict or "no difference found"
            if number.least and (key in worse or key in better):
                verdict = "regressed" if key in worse else "improved"
            value = number.value
            metric = Metric(
                number.name, value.unit, value.higher_is_better, number.base, number.head, number.test,
                number.better_p, number.dropped, verdict, number.why,
            )  # fmt: skip
            metrics.append(metric)
        moved = sum(pair.moved for pair in one.answered)
        known = all(pair.speed_known for pair in one.answered)
        compared.append(Compared(one.selected, outcome, reason, tuple(metrics), len(one.answered), moved, known))
    return compared


def state_of(compared: Sequence[Compared]) -> tuple[State, str]:
    """What all of it comes to, and a sentence for it."""
    numbers = [(one, metric) for one in compared for metric in one.metrics]
    worse = [f"{one.selected.work} {metric.name}" for one, metric in numbers if metric.verdict == "regressed"]
    worse += [f"{one.selected.work} no longer answers" for one in compared if one.outcome == "broke"]
    if worse:
        return "regressed", _some(worse)
    if not compared:
        return "measured nothing", "no row was selected"
    if not any(one.outcome in ("compared", "recovered", "inconclusive") for one in compared):
        unreached = all(one.outcome == "not reached" for one in compared)
        if unreached:
            return "measured nothing", "there was no time for a single pair; give more with --budget"
        reason = next(one.reason for one in compared if one.outcome != "not reached")
        return "environment broke", f"no row answered at either commit: {reason}"
    unclear = [f"{one.selected.work} {metric.name}" for one, metric in numbers if metric.verdict == "inconclusive"]
    unclear += [f"{one.selected.work} (no time was left)" for one in compared if one.outcome == "not reached"]
    unclear += [f"{one.selected.work} ({one.reason})" for one in compared if one.outcome == "inconclusive"]
    if unclear:
        return "inconclusive", _some(unclear)
    if numbers and all(metric.verdict == "not judged" for _, metric in numbers):
        return "inconclusive", "the task's version is another one, so that no number can be judged"
    return "fine", "nothing got slower, larger or less accurate by more than what is told"


def _some(names: Sequence[str], most: int = 3) -> str:
    return "; ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


# --- numbers --------------------------------------------------------------------------------------------------------


def _numbers(pairs: Sequence[Pair], selected: Selected) -> Iterator[_Number]:
    """Every number that both sides have in every pair."""
    if not pairs:
        return
    names = set.intersection(*(set(once.cell.values) for pair in pairs for once in (pair.base, pair.head)))
    for name in sorted(names):
        other_task = bool(selected.version_before)
        if not name.startswith("score/"):
            number = _cost(name, pairs)
            if too_small(name, (number.base, number.head)):
                continue
            if other_task:
                number.verdict, number.why = "not judged", "of another version of the task"
            yield number
        elif not other_task:
            yield _score(name, pairs)


def _cost(name: str, pairs: Sequence[Pair]) -> _Number:
    values = [(pair.base.cell.values[name], pair.head.cell.values[name]) for pair in pairs]
    timed = values[0][0].unit == "ns"
    still = [both for pair, both in zip(pairs, values, strict=True) if not (timed and pair.moved)]
    # what a row needs beyond its libraries may be nothing, of which there is no ratio
    least = float(MIN_DELTA_BYTES) if name == "memory/delta" else 0.0
    kept = [(max(base.value, least), max(head.value, least)) for base, head in still]
    kept = [both for both in kept if min(both) > 0]
    number = _Number(name, values[0][1], *_middles(values), dropped=len(pairs) - len(still))
    if 2 * number.dropped > len(pairs):
        number.verdict = "inconclusive"
        number.why = f"the machine's speed moved in {number.dropped} of {len(pairs)} pairs"
    elif len(kept) < LEAST_PAIRS:
        number.verdict, number.why = "inconclusive", _too_few(len(kept))
    if kept:
        number.test = paired_ratio(kept)
        number.better_p = paired_ratio([(head, base) for base, head in kept]).p
        ratio = number.test.effect
        number.least = max(ratio, 1 / ratio) >= 1 + MIN_EFFECT
    return number


def _score(name: str, pairs: Sequence[Pair]) -> _Number:
    values = [(pair.base.cell.values[name], pair.head.cell.values[name]) for pair in pairs]
    number = _Number(name, values[0][1], *_middles(values, score=True))
    if len({once.cell.draw for pair in pairs for _, once in _sides(pair)}) > 1:
        number.verdict, number.why = "inconclusive", "the two commits do not ask the same questions"
        return number
    base, head = [pair.base.items.get(name) for pair in pairs], [pair.head.items.get(name) for pair in pairs]
    shapes = {None if items is None else items.shape for items in [*base, *head]}
    if len(shapes) > 1:
        number.verdict, number.why = "inconclusive", "the two commits do not score the same items"
    elif None in shapes:
        _score_of_runs(number, [(before.value, after.value) for before, after in values])
    else:
        _score_of_items(number, np.array(base), np.array(head))
    return number


def _score_of_items(number: _Number, before: NDArray[np.float64], after: NDArray[np.float64]) -> None:
    higher = number.value.higher_is_better
    number.same = np.array_equal(before, after)
    number.test = paired_items(before, after, higher)
    number.better_p = paired_items(before, after, not higher).p
    number.least = abs(number.test.effect) >= least_score_effect(before)


def _score_of_runs(number: _Number, values: Sequence[tuple[float, float]]) -> None:
    """Without items, whole runs are what is compared."""
    higher = number.value.higher_is_better
    number.same = all(before == after for before, after in values)
    number.test = paired_differences(values, higher)
    number.better_p = paired_differences(values, not higher).p
    number.least = abs(number.test.effect) >= MIN_SCORE_EFFECT * abs(number.base)
    if not number.same:
        number.why = "of whole runs: it has no items"
        if len(values) < LEAST_PAIRS:
            number.verdict, number.why = "inconclusive", _too_few(len(values))


def _too_few(n: int) -> str:
    return f"{n} pairs are too few; {LEAST_PAIRS} at least are needed"


def _middles(values: Sequence[tuple[Value, Value]], score: bool = False) -> tuple[float, float]:
    base, head = [a.value for a, _ in values], [b.value for _, b in values]
    return (float(np.mean(base)), float(np.mean(head))) if score else (centre(base), centre(head))
