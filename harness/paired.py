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
    sure: float


def paired_ratio(items: NDArray[np.floating], reference: NDArray[np.floating]) -> PairedRatio:
    """mean(items) / mean(reference), both (n,), n at least 1: percentiles of 2,000 resamples, always the same ones, in
    which an item's two values stay together.

    Where the two are equal in every item there is no spread: then the bounds say nothing of items not seen. A reference
    of zeros alone gives zeros.
    """
    items, reference = np.asarray(items, np.float64), np.asarray(reference, np.float64)
    if not reference.any():
        return PairedRatio(0.0, 0.0, 0.0, 0.0)
    ratio = float(items.mean() / reference.mean())
    if np.array_equal(items, reference) or not items.any():
        return PairedRatio(ratio, ratio, ratio, ratio)
    above, below = np.empty(RESAMPLES), np.empty(RESAMPLES)
    for first in range(0, RESAMPLES, _CHUNK):
        chosen = _resamples(len(items), first)
        above[first : first + _CHUNK], below[first : first + _CHUNK] = items[chosen].mean(1), reference[chosen].mean(1)
    ratios = above[below > 0] / below[below > 0]
    low, sure, high = np.percentile(ratios, [2.5, 5, 97.5])
    return PairedRatio(ratio, float(low), float(high), float(sure))


@lru_cache(maxsize=8)
def _resamples(n: int, first: int) -> NDArray[np.int32]:
    return np.random.default_rng([first, n]).integers(0, n, (_CHUNK, n), dtype=np.int32)
