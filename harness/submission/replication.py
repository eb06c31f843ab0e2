"""Does a claim hold? On the same draw to the last bit, on fresh draws as well as chance allows. Pure statistics.

A claim is the mean of a score over the draws that were submitted, all of which are public: a method can have been made
for them. Fresh draws come from a seed that nobody knew. Under the hypothesis of an honest submission both are samples
of one distribution, so that Student's two-sample test with a pooled variance is exact for normal ones, whatever the
numbers of draws; it also holds for a claim of one draw, whose spread the fresh ones tell. A claim is refused where it
is *too good*; one that is too low harms its maker alone, and is only said.

Who refuses draws as many fresh ones again first, and refuses only if all of them together say so: trained models fail
now and then, of which a t test knows nothing.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.stats import holm, t_pvalue, t_quantile

ALPHA = 0.001
"""Chance that an honest submission is refused for its fresh draws, over all of its cells together (one-sided, Holm)."""
POWER = 0.92
"""Nine of ten should be caught, and a refusal is seen a second time before it stands."""
EFFECT = 0.03
"""The inflation that should be caught, of a score whose best is 1; of other scores, this share of the claim."""
MARGIN = 0.01
"""What a claim must be too good by, at least: scores near their ceiling differ by less, and are not normal there."""
DESIGN_EFFECT = 20.0
"""Variance of the mean of a draw, over that of as many independent items. Used only where one draw stands against
another and nothing tells their spread: 1,000 queries that share 46 documents of a logit sd of 1 have about 19."""
MOST_DRAWS = 60
"""More fresh draws than this are never asked for."""
OTHER_MACHINE = 0.005
"""How far a deterministic score may move on another class of machine: a few items whose last digits decide."""
UNBOUNDED = 0.02
"""The same for scores without items, as a share of their value."""


@dataclass(frozen=True)
class Claim:
    """One cell's claim, and what fresh draws came to."""

    name: str
    claimed: Sequence[float]
    """The score on each of the draws that were submitted."""
    fresh: Sequence[float]
    items: int = 0
    """Items of one draw; 0: the score is no mean of items."""
    higher_is_better: bool = True
    bounded: bool = True


@dataclass(frozen=True)
class Replication:
    """What was made of a claim."""

    claim: Claim
    difference: float
    """Claimed less fresh, in the direction in which it flatters."""
    interval: tuple[float, float] | None
    """In which that difference lies by chance, at this cell's share of the level; None: nothing tells the spread."""
    p: float
    """Adjusted (Holm) chance of so large a difference."""
    refused: bool
    spread: float
    """Standard deviation of one draw."""
    level: float
    """What this cell has of the level."""

    @property
    def power(self) -> float:
        """Chance that an inflation by `EFFECT` would have been refused."""
        claimed, fresh = len(self.claim.claimed), len(self.claim.fresh)
        return power_of(self.spread, claimed, fresh, _effect(self.claim), self.level)

    def sentence(self) -> str:
        claim = self.claim
        sign = 1 if claim.higher_is_better else -1
        said = (f"claimed {statistics.fmean(claim.claimed):.4g} over {len(claim.claimed)}, "
                f"{statistics.fmean(claim.fresh):.4g} over {len(claim.fresh)} fresh")  # fmt: skip
        if self.interval is not None:
            said += f"; by chance the difference lies within {self.interval[0]:+.3g} and {self.interval[1]:+.3g}"
        if self.refused:
            return f"{said}; too good by {sign * self.difference:+.3g} (p = {self.p:.1g})"
        if self.interval is not None and self.difference < self.interval[0]:
            said += "; the claim is too modest, which is no fault"
        return f"{said}; {self.power:.0%} of inflations by {_effect(claim):.3g} would be caught"


def replications(claims: Sequence[Claim], alpha: float = ALPHA) -> list[Replication]:
    """Test all claims of a submission together (Holm over the cells). Each needs at least one draw of both kinds."""
    each = [_tested(claim) for claim in claims]
    adjusted = holm([p for p, _, _, _ in each])
    level = alpha / max(1, len(claims))
    found = []
    for claim, (_, difference, error, df), p in zip(claims, each, adjusted, strict=True):
        half = error * t_quantile(1 - 2 * level, df) if df else error * _normal_quantile(level)
        spread = error / math.sqrt(1 / len(claim.claimed) + 1 / len(claim.fresh))
        margin = MARGIN * (1.0 if claim.bounded else abs(statistics.fmean(claim.claimed)))
        refused = p < alpha and difference > margin
        found.append(Replication(claim, difference, (-half, half), p, refused, spread, level))
    return found


def _effect(claim: Claim) -> float:
    return EFFECT if claim.bounded else EFFECT * max(abs(statistics.fmean(claim.claimed)), 1e-12)


def _tested(claim: Claim) -> tuple[float, float, float, int]:
    """One-sided p, the difference, its standard error, and the degrees of freedom (0: from within the draws)."""
    if not claim.claimed or not claim.fresh:
        raise ValueError(f"{claim.name}: a claim needs at least one draw, and one fresh one, to be compared")
    k, m = len(claim.claimed), len(claim.fresh)
    sign = 1.0 if claim.higher_is_better else -1.0
    difference = sign * (statistics.fmean(claim.claimed) - statistics.fmean(claim.fresh))
    df = k + m - 2
    factor = 1 / k + 1 / m
    if df:
        squares = sum((v - statistics.fmean(of)) ** 2 for of in (claim.claimed, claim.fresh) for v in of)
        # a score comes in steps of one item: rounding to them is the least that it varies by
        least = 1 / (6 * claim.items**2) if claim.items and claim.bounded else 0.0
        error = math.sqrt(max(squares / df, least) * factor)
        if error == 0:
            return (0.0 if difference > 0 else 1.0), difference, 0.0, df
        p = t_pvalue(difference / error, df) / 2
        return (p if difference > 0 else 1 - p), difference, error, df
    error = math.sqrt(within_draw(claim) * factor)
    if error == 0:
        return 1.0, difference, 0.0, 0
    return 1 - statistics.NormalDist().cdf(difference / error), difference, error, 0


def within_draw(claim: Claim) -> float:
    """Variance of the mean of one draw, from its items alone, by the design effect: of a share p of n items,
    p(1 - p) / n times as much. Two hits and two misses are added, so that a share of 1 is not certain (Agresti & Coull
    1998). 0 where there are no items."""
    if not claim.items or not claim.bounded:
        return 0.0
    n = claim.items * (len(claim.claimed) + len(claim.fresh))
    mean = statistics.fmean([*claim.claimed, *claim.fresh])
    share = min(1.0, max(0.0, (mean * n + 2) / (n + 4)))
    return share * (1 - share) / claim.items * DESIGN_EFFECT


def _normal_quantile(tail: float) -> float:
    return statistics.NormalDist().inv_cdf(1 - tail)


# How many draws it takes ----------------------------------------------------------------------------------------------


def power_of(spread: float, claimed: int, fresh: int, effect: float = EFFECT, level: float = ALPHA) -> float:
    """Chance that the one-sided pooled t test at `level` finds `effect`, given the standard deviation of one draw.

    P(T > t) of the non-central t, by the integral over the variance's distribution: 1e-6 or so.
    """
    df = claimed + fresh - 2
    if df < 1 or claimed < 1 or fresh < 1:
        return 0.0
    if spread <= 0:
        return 1.0 if effect > 0 else 0.0
    shift = effect / (spread * math.sqrt(1 / claimed + 1 / fresh))
    critical = t_quantile(1 - 2 * level, df)
    # the root of chi-square over df, about 1 with a deviation of 1 / sqrt(2 df)
    s = np.linspace(max(1e-4, 1 - 8 / math.sqrt(2 * df)), 1 + 8 / math.sqrt(2 * df), 801)
    density = np.exp(df * (np.log(s) - s * s / 2) - np.log(s))
    density /= density.sum()
    return float((density * _normal_cdf(shift - critical * s)).sum())


def _normal_cdf(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([0.5 * math.erfc(-value / math.sqrt(2)) for value in x.tolist()])


def draws_needed(
    spread: float, claimed: int, cells: int = 1, effect: float = EFFECT, alpha: float = ALPHA, power: float = POWER
) -> int | None:
    """Fresh draws with which an inflation by `effect` is caught with `power`, given the standard deviation of one draw;
    None where no number up to `MOST_DRAWS` does: the claim itself has too few."""
    for fresh in range(2, MOST_DRAWS + 1):
        if power_of(spread, claimed, fresh, effect, alpha / max(1, cells)) >= power:
            return fresh
    return None


# The same draw --------------------------------------------------------------------------------------------------------


def tolerance(
    value: float, items: int, best: float | None, deterministic: bool, same_machine: bool, alpha: float = ALPHA
) -> float:
    """How far a score may lie from the one that was claimed of the same draw: 0 for a deterministic row on the same
    class of machine; on another one `OTHER_MACHINE` or two items; where the row draws at random itself, what two
    samples of that many items differ by with a chance of `alpha`. Scores without items: a share of their value."""
    if deterministic and same_machine:
        return 0.0
    if not items or best != 1.0:
        return UNBOUNDED * abs(value) * (1 if deterministic else 5)
    few = max(OTHER_MACHINE, 2 / items)
    if deterministic:
        return few
    share = min(1.0, max(0.0, (value * items + 2) / (items + 4)))
    return few + _normal_quantile(alpha / 2) * math.sqrt(2 * share * (1 - share) / items)
