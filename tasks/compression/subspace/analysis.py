"""d90: how many numbers must be trained for 90 % of a score, and which d to try next. Pure functions of outcomes."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from harness.stats import t_interval
from harness.task import BreakingPoint, Case, Outcome
from harness.tasks.compression.subspace.published import beside

SHARE = 0.9
"""Of the base (relative) or of 1.0 (absolute): both are d90 in the literature, and they differ by a third."""
NARROW = 1.1
"""The search ends when the smallest d that reaches the threshold is at most this many times the largest that fails."""
BEYOND = 4
"""How far, in multiples of the declared d, the search for the relative d90 leaves them; for the absolute one it does
not, since many objectives never reach it."""
Curve = Mapping[int, float]
"""Score by d."""


class Crossing(NamedTuple):
    """Where a curve reaches a threshold: between two d that were tried, or beyond them (None)."""

    fails: int | None
    reaches: int | None
    d90: float | None
    """On the straight line over log d between the two."""


def crossing(curve: Curve, threshold: float) -> Crossing:
    """Where `curve` reaches `threshold`, made non-decreasing first: more numbers to train do not lessen what can be
    reached, so that a dip is noise, which neighbours average out (pooled adjacent violators). Beyond the best d nothing
    is read: there it is the training that gets worse."""
    best = max(curve, key=lambda d: (curve[d], d), default=0)
    ds = sorted(d for d in curve if d <= best)
    levels = non_decreasing([curve[d] for d in ds])
    reached = [level >= threshold for level in levels]
    if not any(reached):
        return Crossing(max(curve, default=None), None, None)
    at = reached.index(True)
    if at == 0:
        return Crossing(None, ds[0], None)
    low, high = ds[at - 1], ds[at]
    share = (threshold - levels[at - 1]) / (levels[at] - levels[at - 1])
    return Crossing(low, high, low * (high / low) ** share)


def non_decreasing(values: Sequence[float]) -> list[float]:
    """The non-decreasing sequence nearest to `values` in squares (Ayer et al. 1955)."""
    blocks: list[tuple[float, int]] = []
    for value in values:
        mean, n = value, 1
        while blocks and blocks[-1][0] > mean:
            before, m = blocks.pop()
            mean, n = (before * m + mean * n) / (m + n), m + n
        blocks.append((mean, n))
    return [mean for mean, n in blocks for _ in range(n)]


class Measured(NamedTuple):
    """All that a row's outcomes say of one objective."""

    name: str
    case: Case
    """One of its cases, whatever the d."""
    base: dict[int, float]
    """Score of full training, by seed."""
    curves: dict[int, dict[int, float]]
    """Score by d, by seed."""

    @property
    def mean(self) -> Curve:
        """Over the seeds that have the d."""
        by_d: dict[int, list[float]] = defaultdict(list)
        for curve in self.curves.values():
            for d, value in curve.items():
                by_d[d].append(value)
        return {d: statistics.fmean(values) for d, values in by_d.items()}

    def threshold(self, relative: bool, seed: int | None = None) -> float | None:
        """The score to reach; None where it is relative to a base that is not known."""
        if not relative:
            return SHARE
        bases = self.base if seed is None else {seed: self.base[seed]} if seed in self.base else {}
        return SHARE * statistics.fmean(bases.values()) if bases else None


def objectives(outcomes: Iterable[Outcome]) -> list[Measured]:
    """By objective. Its score is that on the training examples where labels are shuffled: there is nothing to learn of
    the test examples, only something to memorise."""
    found: dict[str, Measured] = {}
    for outcome in outcomes:
        case, name = outcome.case, objective_of(outcome.case)
        score = "train_accuracy" if case.params.get("labels") == "shuffled" else "accuracy"
        if outcome.status != "ok" or score not in outcome.values:
            continue
        of_it = found.setdefault(name, Measured(name, case, {}, {}))
        d, value = d_of(case), outcome.values[score]
        if d == 0:
            of_it.base[outcome.seed] = value
        else:
            of_it.curves.setdefault(outcome.seed, {})[d] = value
    return [found[name] for name in sorted(found)]


def objective_of(case: Case) -> str:
    """`mnist-lenet` of `mnist-lenet-d250`."""
    return case.name.rpartition("-d")[0]


def d_of(case: Case) -> int:
    """Numbers to train; 0 for all parameters."""
    d = case.params["d"]
    if not isinstance(d, int) or d < 0:
        raise ValueError(f"case {case.name!r}: d must be a whole number of at least 0, not {d!r}")
    return d


def next_cases(outcomes: Sequence[Outcome], declared: Iterable[Case]) -> Iterator[Case]:
    """For each objective whose base is known, the next d of the searches for both of its d90."""
    largest: dict[str, int] = defaultdict(int)
    for case in declared:
        largest[objective_of(case)] = max(largest[objective_of(case)], d_of(case))
    failed = {objective_of(o.case) for o in outcomes if o.status != "ok"}
    for objective in objectives(outcomes):
        if objective.name in failed or not objective.base or not objective.curves:
            continue
        limit = BEYOND * (largest[objective.name] or max(objective.mean))
        asked = {next_d(objective.mean, objective.threshold(True) or 0.0, limit)}
        asked.add(next_d(objective.mean, SHARE, 0))
        for d in sorted(d for d in asked if d and d not in objective.mean):
            yield Case(f"{objective.name}-d{d}", {**objective.case.params, "d": d}, light="full", heavy="full")


def next_d(curve: Curve, threshold: float, limit: int) -> int | None:
    """The next d to try: twice or half the outermost one, or the geometric middle of the bracket. None when the bracket
    is within NARROW, or when `limit` does not allow to leave what was tried (0: never)."""
    fails, reaches, _ = crossing(curve, threshold)
    if reaches is None:
        return _round(min(2 * max(curve), limit)) if max(curve) < limit else None
    if fails is None:
        return max(1, _round(reaches / 2)) if limit and reaches > 1 else None
    if reaches <= NARROW * fails:
        return None
    d = _round(math.sqrt(fails * reaches))
    return d if fails < d < reaches else None


def _round(d: float) -> int:
    """To two significant digits: searches over different seeds then meet in the same cases."""
    unit: int = 10 ** max(0, math.floor(math.log10(d)) - 1)
    return round(d / unit) * unit


def breaking_points(outcomes: Sequence[Outcome]) -> Iterator[BreakingPoint]:
    """Both d90 of every objective with a curve, and how they compare where one objective is another's control."""
    relative: dict[str, float] = {}
    for objective in objectives(outcomes):
        if not objective.curves:
            continue
        for kind in ("relative", "absolute"):
            point = _d90(objective, kind == "relative")
            if point is None:
                continue
            yield point
            if kind == "relative" and point.value:
                relative[objective.name] = point.value
    for control, plain, what in _pairs(relative):
        ratio = relative[control] / relative[plain]
        yield BreakingPoint(f"d90 relative, {control} / {plain}", f"{ratio:.2f} x", ratio, beside=what)


def _d90(objective: Measured, relative: bool) -> BreakingPoint | None:
    threshold = objective.threshold(relative)
    if threshold is None:
        return None
    found = crossing(objective.mean, threshold)
    seeds = len(objective.curves)
    notes = [f"{SHARE:g} of {'the base ' + format(threshold / SHARE, '.3f') if relative else '1.0'}"]
    name = f"d90 {'relative' if relative else 'absolute'}, {objective.name}, {seeds} seed{'s' * (seeds > 1)}"
    value: float | None
    interval: tuple[float | None, float | None]
    if found.d90 is None:
        text = f"> {found.fails}" if found.reaches is None else f"<= {found.reaches}"
        if found.reaches is None:
            notes.append(f"not reached: at most {max(objective.mean.values()):.3f}, up to this d")
        value, interval = None, (None, None)
    else:
        value, interval = found.d90, over_seeds(objective, relative, found.d90)
        text = f"{value:.0f}"
        notes.append(f"reached at {found.reaches}, not at {found.fails}")
    if published := beside(objective.name, relative):
        notes.append(published)
    return BreakingPoint(name, text, value, interval, "; ".join(notes))


def over_seeds(objective: Measured, relative: bool, d90: float) -> tuple[float | None, float | None]:
    """Student's interval of the logarithm of the seeds' own d90, each against its own base, laid around that of the
    mean curve. None where there is one seed, or one whose own curve always reaches its threshold or never does."""
    logs = []
    for seed, curve in objective.curves.items():
        threshold = objective.threshold(relative, seed)
        own = crossing(curve, threshold).d90 if threshold is not None else None
        if own is None:
            return None, None
        logs.append(math.log(own))
    interval = t_interval(logs)
    if interval is None:
        return None, None
    factor = math.exp((interval.high - interval.low) / 2)
    return d90 / factor, d90 * factor


def _pairs(known: Mapping[str, float]) -> Iterator[tuple[str, str, str]]:
    for name in known:
        if (plain := name.removesuffix("-pixels")) != name and plain in known:
            yield name, plain, "shuffled pixels: 1 x for a fully connected net, far more for one that convolves"
        if (random := name.removesuffix("-pretrained")) != name and f"{random}-random" in known:
            yield name, f"{random}-random", "under 1 x where pre-training makes the objective smaller"
