"""The rules, as functions of numbers alone: what is suspected, and what re-runs have shown.

Suspicion is cheap and may err: tonight's value against median and MAD of its past, and a step in the whole history by
asv's detector (`suspicion`). Nothing is said before the last good code and tonight's were run again side by side on one
machine, and only these pairs count then: `paired_ratio` for costs, `paired_items` for scores, and `regressed` over
everything suspected. Since a suspicion does not depend on the pairs, the false-discovery rate holds over all series and
not only over the suspected ones. What the constants reach is simulated in tests/benchmarks/bench_tracking.py.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Hashable, Mapping, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from harness.errors import MissingPackage
from harness.stats import t_interval

KeyT = TypeVar("KeyT", bound=Hashable)

MIN_EFFECT = 0.05
"""Smaller changes of a cost are no regressions: another layout of the same code in memory makes as much."""
MIN_SCORE_EFFECT = 0.005
"""Smaller changes of a score are none either: half a point of a hundred; of one that has no items, half a per cent."""
WINDOW = 30
"""Nights of the past that count."""
MIN_PAST = 7
"""With fewer nights, a series is not judged."""
N_MADS = 3.0
"""Of the MAD scaled to a standard deviation. Low, since a suspicion costs re-runs and no alarm."""
PAIRS = 16
"""Re-runs of both sides that decide. Their signed ranks can reach p = 2^-16, which stands against 500 suspicions."""
LOOKS = (2, 4, 7)
"""After so many pairs, what shows less than half of `MIN_EFFECT` is let go: that can only lose an alarm."""
FALSE_DISCOVERIES = 0.01
"""Of what a check says (Benjamini & Hochberg 1995); where nothing is wrong, the chance that it says anything."""
SUSPECT_P = 0.05
"""For suspecting a score, item by item against the mean of the nights before."""
SCORE_RUNS = 5
"""Re-runs of both sides behind the items of a suspected score: odd, so that a majority decides each."""
MOVED = 0.1
"""As for records: a machine whose speed differs by more is another machine for the time being."""
_MAD = 1.4826
_FEW_ITEMS = 12
"""Up to so many that changed, all signs are counted out instead of a normal distribution being believed."""
_STEP_PENALTY, _STEP_NIGHTS = 1.5, 3
"""asv's own penalty is 4 (for 4 ln n / n): made to be right without re-runs, it finds +10 % over ten nights in 4 % of
series by the tenth night, at 3 % noise with slow nodes; 1.5 finds 86 %, and raises 1.3 % of quiet series."""


class Step(NamedTuple):
    """A rise to the last level of a series, from the best one before it."""

    good: int
    """Index of the last point of the best level."""
    bad: int
    """Index of the first point above it."""
    before: float
    after: float


class Suspicion(NamedTuple):
    """Why a series is run again."""

    layer: Literal["night", "drift"]
    before: float
    """Median of the past, or the level before the step."""
    limit: float
    good: int
    """Index of the last value that was as before."""
    bad: int
    """Index of the first that was seen to be worse."""


class PairTest(NamedTuple):
    """What pairs of re-runs say."""

    effect: float
    """head / base for costs; head - base for scores."""
    low: float
    high: float
    """95 % interval of `effect`; infinite ends where there are too few pairs for one."""
    worse_by: float
    """effect - 1 for costs, the difference for scores: above 0 is worse."""
    p: float
    """One-sided: the chance of such pairs if head were no worse."""
    n: int


# --- suspicion --------------------------------------------------------------------------------------------------------


def suspicion(
    values: Sequence[float], higher_is_better: bool = False, min_effect: float = MIN_EFFECT
) -> Suspicion | None:
    """Whether the last of `values`, in order of time and of one context, is to be run again."""
    past = values[:-1]
    limit = limit_of(past, higher_is_better, min_effect)
    if limit is None:
        return None
    step = None if higher_is_better else step_in(values)
    if step is not None and step.bad < len(past):  # older than tonight: what it began from says more than last night
        return Suspicion("drift", step.before, step.before * (1 + min_effect), step.good, step.bad)
    if not is_worse(values[-1], limit, higher_is_better):
        return None
    # The last one near the median, not just within the limit: of a drift, yesterday is nearly as bad as tonight.
    before, spread = _centre(past)
    near = max(spread, min_effect * abs(before) / 5) * (-1 if higher_is_better else 1)
    good = [i for i, value in enumerate(past) if not is_worse(value, before + near, higher_is_better)]
    return Suspicion("night", before, limit, good[-1], len(past))


def at_speed(values: Sequence[float], canary_ns: Sequence[float | None]) -> list[float]:
    """Times as they would have been on the machine at its usual speed: where the fixed calculation took more than
    `MOVED` longer or shorter than its median, by that ratio. Good enough to suspect, not to convict."""
    known = [ns for ns in canary_ns if ns]
    if not known:
        return list(values)
    usual = statistics.median(known)
    ratios = [(ns or usual) / usual for ns in canary_ns]
    return [v / r if abs(r - 1) > MOVED else v for v, r in zip(values, ratios, strict=True)]


def limit_of(past: Sequence[float], higher_is_better: bool = False, min_effect: float = MIN_EFFECT) -> float | None:
    """What tonight's value must not pass (for scores: not fall below); None with fewer than `MIN_PAST` values.

    The median of the last `WINDOW` values, and the larger of 3 scaled MADs and `min_effect` of the median away from it.
    """
    if len(past) < MIN_PAST:
        return None
    middle, spread = _centre(past)
    away = max(N_MADS * spread, min_effect * abs(middle))
    return middle - away if higher_is_better else middle + away


def _centre(past: Sequence[float]) -> tuple[float, float]:
    """Median of the last `WINDOW` values, and their MAD as a standard deviation."""
    recent = np.asarray(past[-WINDOW:], float)
    middle = float(np.median(recent))
    return middle, _MAD * float(np.median(np.abs(recent - middle)))


def is_worse(value: float, limit: float, higher_is_better: bool = False) -> bool:
    return value < limit if higher_is_better else value > limit


def step_in(values: Sequence[float]) -> Step | None:
    """The rise that a cost's history ends on, by asv's step detection; None where it ends on none above `MIN_EFFECT`.

    Single values far from their neighbours (a slow node) count as missing. Needs asv. Raises MissingPackage.
    """
    kept = _not_alone(values)
    if len(kept) < MIN_PAST + _STEP_NIGHTS:
        return None
    lately = statistics.median(values[i] for i in kept[-5:])
    if lately <= (1 + MIN_EFFECT / 2) * statistics.median(values[i] for i in kept[: len(kept) // 2]):
        return None  # nothing to look for, at a tenth of the cost
    levels = _levels([values[i] for i in kept])
    begin, last = levels[-1]
    best, (best_end, level) = min(enumerate(_ends(levels, len(kept))), key=lambda found: found[1][1])
    if best == len(levels) - 1 or last <= level * (1 + MIN_EFFECT) or len(kept) - begin < _STEP_NIGHTS:
        return None
    return Step(kept[best_end - 1], kept[best_end], level, last)


def _ends(levels: Sequence[tuple[int, float]], n: int) -> list[tuple[int, float]]:
    """Levels by their ends (exclusive) instead of their beginnings."""
    return [(end, level) for (_, level), end in zip(levels, [begin for begin, _ in levels[1:]] + [n], strict=True)]


def _levels(values: Sequence[float]) -> list[tuple[int, float]]:
    """Piecewise constant: beginning and level of each piece."""
    try:
        from asv.step_detect import solve_potts_autogamma
    except ImportError:
        raise MissingPackage("drift is found by asv's step detection; pip install 'limits-harness[track]'") from None
    n = len(values)
    penalty = _STEP_PENALTY * math.log(n) / n
    ends, levels, _, _ = solve_potts_autogamma(list(values), [1.0] * n, beta=penalty, min_size=_STEP_NIGHTS)
    return list(zip([0, *ends[:-1]], levels, strict=True))


def _not_alone(values: Sequence[float]) -> list[int]:
    """Indices of values that are like those around them (Hampel's identifier over five on either side)."""
    kept = []
    for index, value in enumerate(values):
        around = [*values[max(0, index - 5) : index], *values[index + 1 : index + 6]]
        if not around:
            continue
        middle = statistics.median(around)
        spread = _MAD * statistics.median(abs(other - middle) for other in around)
        if abs(value - middle) <= max(N_MADS * spread, 0.08 * abs(middle)):
            kept.append(index)
    return kept


# --- re-runs ----------------------------------------------------------------------------------------------------------


def keep_going(worse: Sequence[float], least: float) -> bool:
    """Whether re-runs are worth a further pair: not all are made, and the last look showed something. `worse`: by how
    much head is worse, a pair each (`log_ratios` of costs, differences of scores); `least`: what would count."""
    looked = max((look for look in LOOKS if look <= len(worse)), default=0)
    if looked and statistics.median(worse[:looked]) < least / 2:
        return False
    return len(worse) < PAIRS


def log_ratios(pairs: Sequence[tuple[float, float]]) -> list[float]:
    """log(head / base) of (base, head) pairs of a cost. Raises ValueError for no pairs, or values not above 0."""
    if not pairs or any(base <= 0 or head <= 0 for base, head in pairs):
        raise ValueError("ratios need pairs of values above 0")
    return [math.log(head / base) for base, head in pairs]


def paired_ratio(pairs: Sequence[tuple[float, float]]) -> PairTest:
    """head / base over pairs of a cost (base, head): the Hodges-Lehmann estimate, Wilcoxon's exact signed-rank test and
    the interval that belongs to it. Raises ValueError for no pairs, or values that are not above 0."""
    logs = log_ratios(pairs)
    middle, low, high = (math.exp(value) for value in _hodges_lehmann(logs))
    return PairTest(middle, low, high, middle - 1, signed_rank_p(logs), len(logs))


def paired_differences(pairs: Sequence[tuple[float, float]], higher_is_better: bool) -> PairTest:
    """head - base over pairs of a score without items, otherwise as `paired_ratio`. Raises ValueError for no pairs."""
    if not pairs:
        raise ValueError("differences need pairs of values")
    differences = [head - base for base, head in pairs]
    worse = [-d for d in differences] if higher_is_better else differences
    middle, low, high = _hodges_lehmann(differences)
    return PairTest(middle, low, high, -middle if higher_is_better else middle, signed_rank_p(worse), len(pairs))


def _hodges_lehmann(values: Sequence[float]) -> tuple[float, float, float]:
    """Estimate of the middle, and the ends of its 95 % interval."""
    walsh = np.sort([(a + b) / 2 for i, a in enumerate(values) for b in values[i:]])
    outside = _outside(len(values))
    low, high = (walsh[outside], walsh[-1 - outside]) if outside is not None else (-math.inf, math.inf)
    return float(np.median(walsh)), float(low), float(high)


def paired_items(base: NDArray[np.float64], head: NDArray[np.float64], higher_is_better: bool = True) -> PairTest:
    """head - base over the items of one draw. Both sides: items, or runs x items, of which each item's median counts,
    so that what a run answers otherwise by chance does not. Raises ValueError for other shapes.

    Where items only change by one amount either way (answered or not), the exact sign test of those that changed
    (McNemar's), else Student's over all. The question is whether the code does otherwise *on this draw*, so that items
    are the unit; what a method is worth on others is asked over draws, elsewhere.
    """
    before, after = (np.median(np.atleast_2d(side), axis=0) for side in (base, head))
    if before.shape != after.shape or not len(after):
        raise ValueError(f"items of shape {base.shape} and {head.shape} cannot be paired")
    differences = after - before
    effect = float(differences.mean())
    interval = t_interval(differences.tolist())
    # without one: a single item, or all that differ by the same
    low, high = interval[:2] if interval else (effect, effect) if len(after) > 1 else (-math.inf, math.inf)
    worse = -differences if higher_is_better else differences
    return PairTest(effect, low, high, float(worse.mean()), _items_p(worse), len(differences))


def regressed(tests: Mapping[KeyT, PairTest | None], min_effects: Mapping[KeyT, float], n_series: int = 0) -> set[KeyT]:
    """Those of all suspected (None: let go before it was tested) that are worse by at least their `min_effects`, at the
    rate of `FALSE_DISCOVERIES`.

    `n_series`: how many could have been suspected. It is needed for scores: where answers do not change from run to
    run, the re-runs repeat what raised the suspicion. Pairs of costs are new, and the suspicions are all that counts.
    """
    p_values = {key: test.p if test else 1.0 for key, test in tests.items()}
    standing = discoveries(p_values, n=max(n_series, len(tests)))
    return {key for key in standing if (test := tests[key]) and test.worse_by >= min_effects[key]}


def discoveries(p_values: Mapping[KeyT, float], rate: float = FALSE_DISCOVERIES, n: int = 0) -> set[KeyT]:
    """Those that stand at this false-discovery rate (Benjamini & Hochberg 1995), of `n` if these are more."""
    ordered = sorted(p_values, key=lambda key: p_values[key])
    n = max(n, len(ordered))
    standing = [i for i, key in enumerate(ordered, 1) if p_values[key] <= rate * i / n]
    return set(ordered[: max(standing, default=0)])


def least_score_effect(before: NDArray[np.float64]) -> float:
    """`MIN_SCORE_EFFECT` of the largest item: of a score that is no share of 1, half a per cent of what it can be."""
    return MIN_SCORE_EFFECT * (float(np.abs(before).max(initial=0.0)) or 1.0)


def signed_rank_p(differences: Sequence[float]) -> float:
    """P(sum of the ranks of positive differences is as large or larger), exact, also with ties (Wilcoxon 1945); zeros
    take part in the ranking and in neither sum (Pratt 1959)."""
    sizes = np.abs(np.asarray(differences, float))
    places = np.argsort(sizes, kind="stable")
    doubled = np.empty(len(sizes), int)  # of average ranks, which are whole or half
    position = 0
    while position < len(places):
        same = int(np.count_nonzero(sizes == sizes[places[position]]))
        doubled[places[position : position + same]] = 2 * position + same + 1
        position += same
    signs = np.sign(differences)
    return _tail(tuple(sorted(int(r) for r in doubled[signs != 0])), int(doubled[signs > 0].sum()))


@lru_cache(maxsize=4096)
def _tail(doubled: tuple[int, ...], reached: int) -> float:
    """P(sum >= reached) where each rank counts with probability one half."""
    chances = np.zeros(sum(doubled) + 1)
    chances[0] = 1.0
    for rank in doubled:
        shifted = np.zeros_like(chances)
        shifted[rank:] = chances[:-rank]
        chances = (chances + shifted) / 2
    return min(1.0, float(chances[reached:].sum()))


@lru_cache(maxsize=64)
def _outside(n: int) -> int | None:
    """How many of the n (n + 1) / 2 Walsh averages lie outside a 95 % interval on either side; None with too few."""
    doubled = tuple(2 * rank for rank in range(1, n + 1))
    top = n * (n + 1) // 2
    kept = [k for k in range(top) if _tail(doubled, 2 * (top - k)) <= 0.025]
    return max(kept) if kept else None


def _items_p(worse: NDArray[np.float64]) -> float:
    changed = worse[worse != 0]
    if not len(changed):
        return 1.0
    n = len(changed)
    if np.all(np.abs(changed) == abs(changed[0])) and n <= 1000:
        lost = int(np.count_nonzero(changed > 0))
        return float(sum(math.comb(n, k) for k in range(lost, n + 1)) / 2**n)
    if n <= _FEW_ITEMS:
        signs = 1 - 2 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)
        return float(np.mean(signs @ np.abs(changed) >= changed.sum() - 1e-9 * np.abs(changed).sum()))
    z = float(worse.mean()) / (float(worse.std(ddof=1)) / math.sqrt(len(worse)) or math.inf)
    return math.erfc(z / math.sqrt(2)) / 2  # Student's t is the normal there
