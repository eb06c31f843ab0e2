"""Sorting numbers by pointing at them."""

from __future__ import annotations

from math import factorial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.tasks.length.problems.base import Ints, Problem


class SortFloats(Problem):
    """`x`: `length` numbers in [0, 1), float32, multiples of 2^-24 and so the same on every platform; `y`: places,
    counted from 0, of the least number, the next, ..., the largest; of equal ones the first comes first. No end mark:
    the answer is as long as the question (Vinyals et al. 2016, Order Matters, section 5.1)."""

    name = "sort-floats"
    kind = "pointing"

    def words(self, length: int) -> int:
        return length

    def questions(self, words: NDArray[np.uint64], length: int) -> NDArray[Any]:
        return (words >> np.uint64(40)).astype(np.float32) * np.float32(2**-24)

    def solve(self, x: NDArray[Any]) -> Ints:
        return np.argsort(x, axis=1, kind="stable").astype(np.int64)

    def most(self, length: int) -> int:
        return length

    def chance(self, length: int) -> float:
        """Of any order."""
        return 1 / factorial(length)

    def trivial(self, x: NDArray[Any], most: int) -> Ints:
        """As it stands."""
        return np.repeat(np.arange(x.shape[1])[None], len(x), axis=0)
