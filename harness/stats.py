"""Intervals, gated percentiles and rank sets: what may be said about a number, given how it was sampled.

Closed forms and the standard library (NumPy where many rows are ranked). The unit of every test here is the draw or the
process, never the single query: queries of one draw share documents, and calls of one process share its memory layout.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "Interval", "LatencySummary", "RankSet", "holm", "interval_over_draws", "latency_interval", "latency_summary",
    "median_interval", "paired_t_pvalue", "quantile", "quantile_gate", "rank_sets", "t_interval", "t_pvalue",
    "t_quantile", "wilson",
]  # fmt: skip

MIN_UNITS = 6
"""Shared draws under which two rows are not compared: a sign test on five cannot reach 5 % whatever the data."""
MIN_PROCESSES = 5
MIN_SAMPLES: Mapping[float, int] = {0.9: 64, 0.95: 130, 0.99: 662, 0.999: 6636}
"""Smallest n at which, with 99 % confidence, at least two samples lie beyond the percentile (MLPerf's minimum)."""
UNSTABLE_SPREAD = 0.10
UNSTABLE_DRIFT = 0.10


class Interval(NamedTuple):
    """A confidence interval, in the unit of what it is of."""

    low: float
    high: float
    method: str
    level: float = 0.95


class RankSet(NamedTuple):
    """The ranks (1 is best, both ends included) that the data cannot exclude."""

    low: int
    high: int


# --- distributions -------------------------------------------------------------------------------------------------


def _z(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    return statistics.NormalDist().inv_cdf(0.5 + level / 2)


def t_pvalue(t: float, df: int) -> float:
    """Two-sided P(|T| >= |t|) of Student's t with integer `df` (Abramowitz & Stegun 26.7.3 and 26.7.4).

    O(df). Absolute error about 1e-15, so that smaller values come out as 0.
    """
    if df < 1:
        raise ValueError(f"degrees of freedom must be at least 1, got {df}")
    if math.isinf(t):
        return 0.0
    theta = math.atan(abs(t) / math.sqrt(df))
    sine, cosine = math.sin(theta), math.cos(theta)
    odd = df % 2
    term, total = (cosine, 0.0) if odd else (1.0, 0.0)
    for i in range(df // 2):
        total += term
        term *= cosine * cosine * ((2 * i + 2) / (2 * i + 3) if odd else (2 * i + 1) / (2 * i + 2))
    inside = (theta + sine * total) * 2 / math.pi if odd else sine * total
    return min(1.0, max(0.0, 1.0 - inside))


@lru_cache(maxsize=1024)
def t_quantile(level: float, df: int) -> float:
    """The t with P(|T| <= t) = `level`: the factor of a two-sided interval. By bisection, to 1e-12 relative."""
    tail = 1 - level
    low, high = 0.0, _z(level) + 1
    while t_pvalue(high, df) > tail:
        high *= 2
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if t_pvalue(middle, df) > tail else (low, middle)
    return (low + high) / 2


# --- scores --------------------------------------------------------------------------------------------------------


def wilson(successes_mean: float, n: int, level: float = 0.95) -> Interval:
    """Wilson's score interval (1927) of a proportion from `n` independent items with mean `successes_mean`.

    Valid for any per-item values in [0, 1]: their variance is at most p(1 - p), so the interval is then too wide.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    if not 0 <= successes_mean <= 1:
        raise ValueError(f"a mean of values in [0, 1] cannot be {successes_mean}")
    z2 = _z(level) ** 2
    centre = (successes_mean + z2 / (2 * n)) / (1 + z2 / n)
    spread = successes_mean * (1 - successes_mean) / n + z2 / (4 * n * n)
    half = math.sqrt(z2 * spread) / (1 + z2 / n)
    # Rounding must not push the mean itself out, which lies on the border at 0 and 1.
    low, high = min(max(0.0, centre - half), successes_mean), max(min(1.0, centre + half), successes_mean)
    return Interval(low, high, "wilson", level)


def t_interval(values: Sequence[float], level: float = 0.95) -> Interval | None:
    """Student's interval of the mean of independent `values`. None for fewer than two, or without any spread.

    Equal values carry no information about their spread: an interval of width zero would be a claim of certainty.
    """
    _finite(values)
    if len(values) < 2:
        return None
    mean = statistics.fmean(values)
    # Two passes; `statistics.stdev` works in fractions, which costs thirty times as much and gives the same.
    error = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1) / len(values))
    # `<=` an ulp or two: the spread that is left of equal values is rounding.
    if error <= 4e-16 * abs(mean):
        return None
    half = t_quantile(level, len(values) - 1) * error
    return Interval(mean - half, mean + half, "t", level)


def interval_over_draws(
    per_draw_means: Sequence[float], pooled_n: int, bounded: bool, level: float = 0.95
) -> Interval | None:
    """Interval of a score over draws: `pooled_n` items in all, one mean per draw (draws of equal size).

    Bounded scores (per-item values in [0, 1]): the hull of Student's interval over draws and Wilson's over all items,
    so that draws which happen to agree still get a width; one draw gets Wilson's alone, which does not know that the
    items of a draw belong together. Other scores: Student's, or None where there is no spread to estimate from.
    """
    over_draws = t_interval(per_draw_means, level)
    if not per_draw_means or not bounded:
        return over_draws
    mean = min(1.0, max(0.0, statistics.fmean(per_draw_means)))
    pooled = wilson(mean, pooled_n, level)
    if over_draws is None:
        return pooled
    low, high = max(0.0, over_draws.low), min(1.0, over_draws.high)
    return Interval(min(low, pooled.low), max(high, pooled.high), "t over draws, wilson", level)


def _finite(values: Sequence[float]) -> None:
    for position, value in enumerate(values):
        if not math.isfinite(value):
            raise ValueError(f"value {position} of {len(values)} is {value}; only finite values have an interval")


# --- latency -------------------------------------------------------------------------------------------------------


def quantile(ordered: Sequence[float], p: float) -> float:
    """`ordered[int(n * p)]`, p in steps of a thousandth: an observed sample, never an interpolation.

    Computed in integers, so that no rounding of `n * p` picks the neighbour.
    """
    if not ordered:
        raise ValueError("no samples")
    return ordered[min(len(ordered) * round(p * 1000) // 1000, len(ordered) - 1)]


def quantile_gate(samples: Sequence[float], p: float) -> float | None:
    """The percentile `p` (0.9, 0.95, 0.99 or 0.999) of unsorted `samples`, or None from fewer than `MIN_SAMPLES[p]`."""
    if p not in MIN_SAMPLES:
        raise ValueError(f"no minimum is known for p={p}; known: {', '.join(map(str, MIN_SAMPLES))}")
    return quantile(sorted(samples), p) if len(samples) >= MIN_SAMPLES[p] else None


def median_interval(values: Sequence[float], level: float = 0.95) -> Interval | None:
    """Interval of the median between two order statistics (binomial, distribution-free), coverage at least `level`.

    None where even minimum and maximum do not reach the level (fewer than 6 values at 95 %).
    """
    _finite(values)
    n, tail = len(values), (1 - level) / 2
    # Largest `drop` with P(Binomial(n, 1/2) <= drop) <= tail; the interval leaves out `drop` values at each end.
    drop, below, choose = -1, 0, 1
    for i in range(n + 1):
        below += choose
        # Integers of any size divide exactly to a float where 2.0**n would overflow.
        if below / (1 << n) > tail:
            break
        drop, choose = i, choose * (n - i) // (i + 1)
    if drop < 0:
        return None
    ordered = sorted(values)
    return Interval(ordered[drop], ordered[n - 1 - drop], "order statistics", level)


def latency_interval(per_process_medians: Sequence[float], level: float = 0.95) -> Interval | None:
    """Interval of the typical latency, from the median of each of at least five fresh processes; else None.

    Order statistics from six processes up. Five cannot reach 95 % that way: Student's interval of the logarithms then
    (of five values it always contains their median).
    """
    if len(per_process_medians) < MIN_PROCESSES:
        return None
    distribution_free = median_interval(per_process_medians, level)
    if distribution_free is not None:
        return distribution_free
    if min(per_process_medians) <= 0:
        raise ValueError("a latency must be positive")
    of_logs = t_interval([math.log(value) for value in per_process_medians], level)
    if of_logs is None:
        return None
    return Interval(math.exp(of_logs.low), math.exp(of_logs.high), "t of logarithms", level)


@dataclass(frozen=True)
class LatencySummary:
    """Latency of the calls of one process, in the unit of the samples (nanoseconds)."""

    n: int
    median: float
    iqr: float | None
    """None from fewer than four samples."""
    p90: float | None
    p95: float | None
    p99: float | None
    p999: float | None
    cov: float | None
    """Standard deviation over mean; None from fewer than two samples."""
    stable: bool
    reasons: tuple[str, ...]
    """Why it is not stable; empty where it is."""


def latency_summary(samples_ns: Sequence[float]) -> LatencySummary:
    """Median, spread and gated percentiles of warm calls, in the order in which they were made.

    Unstable: fewer than 11 samples (the gate of a median), quartiles apart by more than 10 % of the median, or a
    second half whose median moved by more than 10 %. Calls that differ in their work look unstable as well.
    """
    _finite(samples_ns)
    ordered = sorted(samples_ns)
    if not ordered:
        raise ValueError("no samples: there is nothing to summarise")
    n, median = len(ordered), statistics.median(ordered)
    iqr = quantile(ordered, 0.75) - quantile(ordered, 0.25) if n >= 4 else None
    mean = statistics.fmean(ordered)
    reasons = []
    if n < 11:
        reasons.append(f"{n} samples are too few to tell (11 needed)")
    elif median > 0:
        if iqr is not None and iqr > UNSTABLE_SPREAD * median:
            reasons.append(f"the quartiles lie {iqr / median:.0%} of the median apart")
        drift = statistics.median(samples_ns[n // 2 :]) / statistics.median(samples_ns[: n // 2] or [median]) - 1
        if abs(drift) > UNSTABLE_DRIFT:
            reasons.append(f"the second half is {abs(drift):.0%} {'slower' if drift > 0 else 'faster'} than the first")
    gated = {p: quantile(ordered, p) if n >= minimum else None for p, minimum in MIN_SAMPLES.items()}
    return LatencySummary(
        n, median, iqr, gated[0.9], gated[0.95], gated[0.99], gated[0.999],
        statistics.stdev(ordered) / mean if n > 1 and mean > 0 else None, not reasons, tuple(reasons),
    )  # fmt: skip


# --- ranks ---------------------------------------------------------------------------------------------------------


def paired_t_pvalue(differences: Sequence[float], resolution: float = 0.0) -> float:
    """Two-sided paired t test of mean zero.

    `resolution` is the step in which the values come (1 / items of a draw); the variance is taken as at least half its
    square, so that equal differences of a few items are not infinitely significant: near a ceiling, where most
    differences are 0, and with six draws, they would separate equal rows seven times as often as they may.
    """
    _finite(differences)
    n = len(differences)
    if n < 2:
        raise ValueError(f"a paired test needs at least two differences, got {n}")
    mean = statistics.fmean(differences)
    variance = max(statistics.variance(differences), resolution**2 / 2)
    if mean == 0:
        return 1.0
    # A spread of a few ulps is rounding, not variation.
    if math.sqrt(variance) <= 1e-14 * abs(mean):
        return 0.0
    return t_pvalue(mean / math.sqrt(variance / n), n - 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) adjusted p-values, in the given order: the chance of any false rejection stays under the level."""
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, position in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[position]))
        adjusted[position] = running
    return adjusted


def rank_sets(
    rows: Mapping[str, Mapping[int, float]],
    higher_is_better: bool = True,
    level: float = 0.95,
    resolution: float = 0.0,
) -> dict[str, RankSet | None]:
    """Ranks that each row may hold among those compared: 1 + (rows significantly better) to N - (rows significantly
    worse).

    `rows` maps a name to its value per unit (draw or training seed); units that two rows share are paired. All pairs
    are tested with a paired t test and Holm's correction over the pairs tested, so that all sets hold together with
    confidence `level` (as Mogstad, Romano, Shaikh & Wilhelm 2024 have it; Holm's steps instead of their bootstrap).
    The low end is also a point rank: 1 + the rows that are surely better; rows of one low end are tied. (Controlling
    the chance of any false separation controls the rate of false ones, too.) A pair that shares fewer than six units is
    not compared; a row without any comparison gets None ("not resolved") unless it is alone, and takes no place: else
    whoever adds rows of one draw would blur the ranks of all others. Zero differences
    everywhere are a tie. 500 rows (124,750 pairs) over 20 draws take 0.14 s.
    """
    import numpy as np  # here, since the light parent imports this module

    names = list(rows)
    units = {unit: column for column, unit in enumerate(sorted({unit for of in rows.values() for unit in of}))}
    values = np.full((len(names), len(units)), np.nan)
    for row, of in enumerate(rows.values()):
        for unit, value in of.items():
            values[row, units[unit]] = value
    every_first, every_second = np.triu_indices(len(names), 1)
    firsts, seconds, means, p_values = [], [], [], []
    for begin in range(0, len(every_first), _PAIRS):
        first, second = every_first[begin : begin + _PAIRS], every_second[begin : begin + _PAIRS]
        differences = values[first] - values[second]
        shared = np.isfinite(differences)
        n = shared.sum(axis=1)
        (enough,) = np.nonzero(n >= MIN_UNITS)
        kept, n = np.where(shared, differences, 0.0)[enough], n[enough]
        mean = kept.sum(axis=1) / n
        apart = np.where(shared[enough], kept - mean[:, None], 0.0)
        variance = np.maximum((apart * apart).sum(axis=1) / (n - 1), resolution**2 / 2)
        firsts.append(first[enough])
        seconds.append(second[enough])
        means.append(mean)
        p_values.append(_paired_t_pvalues(mean, variance, n))
    better, worse = np.zeros(len(names), int), np.zeros(len(names), int)
    compared: set[int] = set()
    if any(map(len, firsts)):
        a, b, gap, p = (np.concatenate(part) for part in (firsts, seconds, means, p_values))
        compared = {*a.tolist(), *b.tolist()}
        apart = _holm_rejects(p, 1 - level)
        a, b, first_wins = a[apart], b[apart], (gap[apart] > 0) == higher_is_better
        np.add.at(better, np.where(first_wins, b, a), 1)
        np.add.at(worse, np.where(first_wins, a, b), 1)
    return {
        name: RankSet(1 + int(better[row]), max(1, len(compared)) - int(worse[row]))
        if row in compared or len(names) == 1
        else None
        for row, name in enumerate(names)
    }


_PAIRS = 1 << 16
"""Pairs at a time: of 20 draws they take 10 MB an array."""


def _holm_rejects(p_values: NDArray[np.float64], alpha: float) -> NDArray[np.bool_]:
    """Which of the hypotheses Holm's procedure rejects: the smallest p-values, until one is too large."""
    import numpy as np

    order = np.argsort(p_values, kind="stable")
    kept = p_values[order] >= alpha / (len(p_values) - np.arange(len(p_values)))
    rejected = np.zeros(len(p_values), bool)
    rejected[order[: int(np.argmax(kept)) if kept.any() else len(p_values)]] = True
    return rejected


def _paired_t_pvalues(
    mean: NDArray[np.float64], variance: NDArray[np.float64], n: NDArray[np.int64]
) -> NDArray[np.float64]:
    """`paired_t_pvalue` of many pairs, (pairs,) each, given the means and variances of their n differences."""
    import numpy as np

    p = np.ones(len(mean))
    rounding = np.sqrt(variance) <= 1e-14 * np.abs(mean)
    p[rounding & (mean != 0)] = 0.0
    for count in np.unique(n):
        (of,) = np.nonzero((n == count) & (mean != 0) & ~rounding)
        df = int(count) - 1
        theta = np.arctan(np.abs(mean[of]) / np.sqrt(variance[of] / count) / math.sqrt(df))
        sine, cosine = np.sin(theta), np.cos(theta)
        term, total = (cosine, 0.0 * cosine) if df % 2 else (np.ones(len(of)), np.zeros(len(of)))
        for i in range(df // 2):  # the series of `t_pvalue`
            total = total + term
            term = term * cosine**2 * ((2 * i + 2) / (2 * i + 3) if df % 2 else (2 * i + 1) / (2 * i + 2))
        inside = (theta + sine * total) * 2 / math.pi if df % 2 else sine * total
        p[of] = np.clip(1.0 - inside, 0.0, 1.0)
    return p
