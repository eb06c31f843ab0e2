"""Curves of exact match over length, the length at which a row breaks, and which lengths to try next. Pure functions of
outcomes.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from harness.stats import t_interval
from harness.task import BreakingPoint, Case, Chart, Outcome, Point, Ranking, Standing
from harness.tasks.length import published

HOLDS = 0.9
"""Exact match at which a length counts as held."""
NARROW = 1.12
"""The search ends when the shortest length that fails is at most this many times the longest that holds, or is next."""
FURTHER = (3, 5, 8, 10, 16, 25)
"""Multiples of the trained length that are tried beyond twice of it, one after the other, while a row holds."""
NEAR = (0.5, 1.0, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0)
"""Multiples that every row is tried at."""
MORE_SEEDS = 5
APART = 0.25
"""Seeds disagree where their mean exact match beyond the trained length differs by more than this."""
MATCH = "exact_match"
Curve = Mapping[int, float]
"""Exact match by length."""


def near_lengths(longest: int) -> list[int]:
    """The lengths that every row is tried at, up to twice the trained one."""
    return sorted({max(1, round(multiple * longest)) for multiple in NEAR})


def lengths_of(case: Case) -> list[int]:
    """The lengths that a case tests."""
    said = str(case.params.get("lengths") or case.params.get("grid") or "")
    return [int(n) for n in said.split()] if said else near_lengths(longest_of(case))


def longest_of(case: Case) -> int:
    """The trained length."""
    return int(case.params["longest"] or 0)


def furthest_of(case: Case) -> int:
    """The longest length that may be tested."""
    return int(case.params["furthest"] or 0)


class Held(NamedTuple):
    """Between which lengths a curve falls under HOLDS for the first time."""

    holds: int | None
    """The longest length up to which every tested one, from the trained one on, holds; None: not even that."""
    fails: int | None
    """The shortest that does not; None: all that were tested hold."""


def held(curve: Curve, longest: int) -> Held:
    """Where a curve breaks, from the trained length on."""
    before = None
    for length in sorted(n for n in curve if n >= longest):
        if curve[length] < HOLDS:
            return Held(before, length)
        before = length
    return Held(before, None)


class Measured(NamedTuple):
    """All that a row's outcomes say of one case and its searches."""

    case: Case
    curves: dict[int, dict[int, float]]
    """Exact match by length, by seed."""
    costs: dict[int, list[float]]
    """Seconds to generate one answer, by length."""
    in_distribution: dict[int, float]
    """Exact match at the trained length, by seed."""
    failed: dict[int, set[int]]
    """Lengths at which the row did not answer, by seed."""

    @property
    def mean(self) -> dict[int, float]:
        """Over the seeds that have the length."""
        by_length: dict[int, list[float]] = defaultdict(list)
        for curve in self.curves.values():
            for length, value in curve.items():
                by_length[length].append(value)
        return {n: statistics.fmean(values) for n, values in sorted(by_length.items())}

    @property
    def trained(self) -> bool:
        """Whether the row learned what it was trained on: its mean over seeds passes the gate."""
        return bool(self.in_distribution) and statistics.fmean(self.in_distribution.values()) >= self.gate

    @property
    def gate(self) -> float:
        return self.case.gate or GATE

    @property
    def open_ended(self) -> int:
        """Seeds that hold wherever they were tested."""
        return sum(held(self.bounded(seed), longest_of(self.case)).fails is None for seed in self.curves)

    @property
    def l90(self) -> dict[int, float]:
        """By seed: the longest length held, as a multiple of the trained one; 0 where not even that is."""
        longest = longest_of(self.case)
        return {seed: (held(self.bounded(seed), longest).holds or 0) / longest for seed in sorted(self.curves)}

    @property
    def crossings(self) -> list[float]:
        """By seed, as `l90`: where the straight line over the logarithm of the length between the longest length held
        and the first that was not meets the threshold. Of seeds that broke somewhere beyond the trained length."""
        longest, found = longest_of(self.case), []
        for seed in sorted(self.curves):
            curve = self.bounded(seed)
            holds, fails = held(curve, longest)
            if holds is None or fails is None:
                found.append((holds or 0) / longest)
                continue
            share = (curve[holds] - HOLDS) / (curve[holds] - curve[fails])
            found.append(math.exp(math.log(holds) + share * math.log(fails / holds)) / longest)
        return found

    def bounded(self, seed: int) -> dict[int, float]:
        """A seed's curve, with nothing right where it did not answer."""
        return {**dict.fromkeys(self.failed.get(seed, ()), 0.0), **self.curves[seed]}


GATE = 0.95
"""In-distribution exact match under which a row is not trained (a case's `gate` replaces it)."""


def measured(outcomes: Iterable[Outcome]) -> dict[str, Measured]:
    """By the name of the case that was trained on."""
    found: dict[str, Measured] = {}
    for outcome in outcomes:
        if outcome.repeat:
            continue
        name = outcome.case.within or outcome.case.name
        of_it = found.setdefault(name, Measured(outcome.case, {}, {}, {}, {}))
        if not outcome.case.within:
            of_it = found[name] = of_it._replace(case=outcome.case)
        if outcome.status != "ok":
            of_it.failed.setdefault(outcome.seed, set()).update(lengths_of(outcome.case))
            continue
        curve = of_it.curves.setdefault(outcome.seed, {})
        for key, value in outcome.values.items():
            if key.startswith(f"{MATCH}[") and key.endswith("]"):
                curve[int(key[len(MATCH) + 1 : -1])] = value
        if "in_distribution" in outcome.values:
            of_it.in_distribution[outcome.seed] = outcome.values["in_distribution"]
        for key in outcome.costs:
            if key.startswith("predict[") and key.endswith("].wall_s"):
                rate = outcome.costs.get(key.replace(".wall_s", ".items_per_s"))
                if rate:
                    of_it.costs.setdefault(int(key[len("predict[") : -len("].wall_s")]), []).append(1 / rate)
    return {name: of for name, of in found.items() if of.curves}


def next_cases(outcomes: Sequence[Outcome]) -> Iterator[Case]:
    """Per case: more seeds where they disagree; further lengths for rows that still hold; lengths in between for those
    that broke. Rows that did not learn what they were trained on are not searched."""
    for of in measured(outcomes).values():
        if of.case.within or not of.trained:
            continue
        beyond = [mean_beyond(curve, of.case) for curve in of.curves.values()]
        if 1 < len(beyond) < MORE_SEEDS and max(beyond) - min(beyond) > APART:
            yield replace(of.case, seeds=MORE_SEEDS)
        for n in sorted({n for seed in of.curves if (n := next_length(of.bounded(seed), of.case))}):
            yield replace(of.case, name=f"{of.case.name}-at-{n}", params={**of.case.params, "lengths": str(n)},
                          within=of.case.name, seeds=0)  # fmt: skip


def next_length(curve: Curve, case: Case) -> int | None:
    """The next length to try for one seed: further out while it holds, then the geometric middle of the bracket."""
    longest, furthest = longest_of(case), furthest_of(case)
    if case.params.get("grid") or case.params.get("lengths"):
        return None  # these are the lengths that there are, or that were asked for
    holds, fails = held(curve, longest)
    if holds is None:
        return None
    if fails is None:
        outwards = [min(furthest, m * longest) for m in FURTHER]
        return next((n for n in [*outwards, furthest] if n > holds), None)
    if fails <= max(NARROW * holds, holds + 1):
        return None
    middle = round(math.sqrt(holds * fails))
    return min(max(middle, holds + 1), fails - 1)


def mean_beyond(curve: Curve, case: Case) -> float:
    """Mean exact match over all lengths in L + 1 ... 2L, on straight lines between those tested (the trained length
    itself plays no part); of a case with a grid, over the lengths beyond L that there are."""
    longest = longest_of(case)
    if case.params.get("grid"):
        return statistics.fmean(value for n, value in curve.items() if n > longest)
    lengths = sorted(n for n in curve if longest < n <= 2 * longest)
    if not lengths:
        return 0.0
    return float(np.interp(range(longest + 1, 2 * longest + 1), lengths, [curve[n] for n in lengths]).mean())


def growth(costs: Mapping[int, Sequence[float]]) -> float | None:
    """The exponent of seconds an answer over length, by least squares of logarithms; None under three lengths, or where
    the longest is not three times the shortest."""
    points = [(math.log(n), math.log(statistics.median(values))) for n, values in costs.items() if min(values) > 0]
    if len(points) < 3 or max(costs) < 3 * min(costs):
        return None
    mean_x, mean_y = (statistics.fmean(axis) for axis in zip(*points, strict=True))
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else None


def breaking_points(outcomes: Sequence[Outcome]) -> Iterator[BreakingPoint]:
    """For every case of one row: the longest length held, as a multiple of the trained one, mean over seeds."""
    row = outcomes[0].row if outcomes else ""
    for name, of in sorted(measured(outcomes).items()):
        yield _l90(name, of, published.curve_of(str(of.case.params["problem"]), row))
        exponent = growth(of.costs)
        if exponent is not None and of.trained:  # what has not learned to end ends anywhere
            lengths = f"batches, lengths {min(of.costs)} to {max(of.costs)}"
            yield BreakingPoint(f"time of an answer, {name}", f"n^{exponent:.2f}", exponent, beside=lengths)


def _l90(name: str, of: Measured, known: str) -> BreakingPoint:
    title = f"longest length with exact match of {HOLDS:g}, {name}"
    longest, per_seed = longest_of(of.case), of.l90
    shown = "; ".join(f"{n}: {value:.3f}".rstrip("0").rstrip(".") for n, value in of.mean.items() if n >= longest)
    seeds = ", ".join(f"{value:.3g}" for value in per_seed.values())
    beside = f"seeds {seeds}; exact match {shown}"
    if known:
        beside += f"; {known}"
    if failed := set().union(*of.failed.values()):
        beside += f"; no answer at {', '.join(map(str, sorted(failed)))}"
    if not of.trained:
        at = statistics.fmean(of.in_distribution.values()) if of.in_distribution else 0.0
        why = f"exact match {at:.2f} at length {longest}, {of.gate:g} needed"
        return BreakingPoint(title, "not trained", None, beside=f"{why}; {beside}")
    value = statistics.fmean(per_seed.values())
    open_ended = of.open_ended
    # the lengths held are the lower sides of brackets, which agree where the limits themselves do not
    interval = t_interval(of.crossings) if not open_ended else None
    text = f"{'>= ' if open_ended else ''}{value:.3g} x {longest}"
    bounds = (max(0.0, min(value, interval.low)), max(value, interval.high)) if interval else (None, None)
    if open_ended:
        beside = f"{open_ended} of {len(per_seed)} seeds hold wherever they were tested; {beside}"
    return BreakingPoint(title, text, None if open_ended else value, bounds, beside, title, True, per_seed, 1 / longest)


def rankings(outcomes: Sequence[Outcome]) -> Iterator[Ranking]:
    """Per case: rows by the longest length held, mean over seeds, the best seed beside it."""
    rows: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        rows[outcome.row].append(outcome)
    by_case: dict[str, list[Standing]] = defaultdict(list)
    for row, of_row in sorted(rows.items()):
        for name, of in measured(of_row).items() if of_row[0].method else ():  # controls are no methods
            if not of.in_distribution:
                continue
            values = list(of.l90.values())
            mean = statistics.fmean(values)
            beyond = statistics.fmean(mean_beyond(c, of.case) for c in of.curves.values())
            best = f"best seed {max(values):.3g} x; exact match over (L, 2L] {beyond:.2f}; {len(values)} seeds"
            if of.open_ended:
                best += f", {of.open_ended} of which hold wherever they were tested"
            standing = Standing(row, best, [mean]) if of.trained else Standing(row, "", [], "not trained")
            by_case[name].append(standing)
    for name, standings in sorted(by_case.items()):
        yield Ranking(name, "longest length held, mean over seeds", "x trained length", standings,
                      higher_is_better=True, values="listed")  # fmt: skip


def agreements(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Per case whose problem has published curves: how our order of position schemes agrees with theirs, in words."""
    by_case: dict[str, dict[str, float]] = defaultdict(dict)
    problems: dict[str, str] = {}
    rows: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        rows[outcome.row].append(outcome)
    for row, of_row in sorted(rows.items()):
        for name, of in measured(of_row).items():
            if of.trained:
                beyond = statistics.fmean(mean_beyond(c, of.case) for c in of.curves.values())
                by_case[name][row], problems[name] = beyond, str(of.case.params["problem"])
    for name, ours in sorted(by_case.items()):
        found = published.agreement(problems[name], ours)
        if found is not None:
            yield f"{name}: {found.sentence}."
        yield from (f"{name}: {said}." for said in published.anchors_of(problems[name]))


def charts(outcomes: Sequence[Outcome]) -> Iterator[Chart]:
    """Per case: exact match over length, a line a row, a dot a seed."""
    by_case: dict[str, list[Point]] = defaultdict(list)
    edges: dict[str, int] = {}
    rows: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        rows[outcome.row].append(outcome)
    for row, of_row in sorted(rows.items()):
        for name, of in measured(of_row).items():
            edges[name] = longest_of(of.case)
            by_case[name] += [
                Point(row, n, value, group=row, seed=seed)
                for seed, curve in of.curves.items() for n, value in curve.items()
            ]  # fmt: skip
    for name, points in sorted(by_case.items()):
        yield Chart(name, f"{name}: exact match by length", f"length (trained to {edges[name]})", "exact match", points,
                    lines=True, edge=edges[name])  # fmt: skip
