"""The ratio of two means over the same items, and how sure it is: a paired bootstrap.

It speaks of the items alone (queries, test examples): of the data set, not of data sets like it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
_CHUNK = 250
"""Resamples at a time: 250 times 10,000 items take 20 MB."""


class PairedRatio(NamedTuple):
    """A ratio, a 95 % interval of it, and its one-sided 95 % lower bound."""

    value: float
    low: float
    high: float
    lower: float


def paired_ratio(items: NDArray[np.floating], reference: NDArray[np.floating]) -> PairedRatio:
    """mean(items) / mean(reference), both (n,), n at least 1: percentiles of 2,000 resamples, always the same ones, in
    which an item's two values stay together.

    `lower` also allows for losses not seen, where few items lose: of their share the one-sided 95 % Poisson limit is
    taken, and of each the mean loss of those that do, or a tenth where none does. A reference of zeros gives zeros.
    """
    return _ratio(np.asarray(items, np.float64), np.asarray(reference, np.float64))


def _ratio(items: NDArray[np.float64], reference: NDArray[np.float64]) -> PairedRatio:
    if not reference.any():
        return PairedRatio(0.0, 0.0, 0.0, 0.0)
    ratio = float(items.mean() / reference.mean())
    if np.array_equal(items, reference) or not items.any():
        return PairedRatio(ratio, ratio, ratio, min(ratio, _unseen(items, reference)))
    above, below = np.empty(RESAMPLES), np.empty(RESAMPLES)
    for first in range(0, RESAMPLES, _CHUNK):
        chosen = _resamples(len(items), first)
        above[first : first + _CHUNK], below[first : first + _CHUNK] = items[chosen].mean(1), reference[chosen].mean(1)
    ratios = above[below > 0] / below[below > 0]
    low, lower, high = np.percentile(ratios, [2.5, 5, 97.5])
    return PairedRatio(ratio, float(low), float(high), min(float(lower), _unseen(items, reference)))


POISSON = (3.00, 4.74, 6.30, 7.75, 9.15, 10.51, 11.84, 13.15, 14.43, 15.71, 16.96)
"""One-sided 95 % upper limits of the mean of a Poisson count of 0, 1, ... 10 (Garwood 1936)."""


def _unseen(items: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    """A lower bound of the ratio where few or no items lose: a bootstrap cannot draw what is not there."""
    losses = (reference - items)[items < reference]
    if len(losses) >= len(POISSON):
        return float("inf")
    each = float(losses.mean() / reference.mean()) if len(losses) else 0.1
    gained = float((items - reference)[items > reference].sum() / reference.sum())
    return 1 + gained - POISSON[len(losses)] / len(items) * each


@lru_cache(maxsize=8)
def _resamples(n: int, first: int) -> NDArray[np.int32]:
    return np.random.default_rng([first, n]).integers(0, n, (_CHUNK, n), dtype=np.int32)
