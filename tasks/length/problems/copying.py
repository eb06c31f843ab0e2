"""Copying: a string of symbols, said again, once over, or backwards."""

from __future__ import annotations

from math import perm
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.tasks.length.problems.base import FIRST, Ints, Problem
from harness.tasks.length.problems.draw import distinct, ended, independent, whole


class Copy(Problem):
    """`x`: `length` independent symbols; `y`: the same. Copying of random words (`cmc` of Kazemnejad et al. 2023)."""

    name = "copy"

    def __init__(self, symbols: int = 10) -> None:
        self.symbols = whole(self.name, "symbols", symbols, 2)

    def words(self, length: int) -> int:
        return length

    def questions(self, words: NDArray[np.uint64], length: int) -> NDArray[Any]:
        return independent(words, self.symbols)

    def solve(self, x: NDArray[Any]) -> Ints:
        return ended(x)

    def most(self, length: int) -> int:
        return length + 1

    def chance(self, length: int) -> float:
        """Of any string of that length."""
        return float(self.symbols) ** -length

    def trivial(self, x: NDArray[Any], most: int) -> Ints:
        """The first symbol, as often as there are symbols."""
        return ended(np.repeat(x[:, :1], x.shape[1], axis=1), most)


class CopyUnique(Copy):
    """`copy` of symbols that are all different, so that each place can be found by what stands there (Zhou et al. 2024,
    RASP-L). Takes at least `length` symbols; 4 x as many, lest the string be known from what is missing."""

    name = "copy-unique"

    def __init__(self, symbols: int = 256) -> None:
        self.symbols = whole(self.name, "symbols", symbols, 2)

    def words(self, length: int) -> int:
        return self.symbols

    def questions(self, words: NDArray[np.uint64], length: int) -> NDArray[Any]:
        return FIRST + distinct(self.name, words, self.symbols, length)

    def chance(self, length: int) -> float:
        """Of any string of that length without repeats."""
        return 1 / perm(self.symbols, length)

    def trivial(self, x: NDArray[Any], most: int) -> Ints:
        """The first symbol and those that follow it in the vocabulary."""
        return ended(FIRST + (x[:, :1] - FIRST + np.arange(x.shape[1])) % self.symbols, most)


class RepeatToken(Copy):
    """`x`: one random symbol, `length` times over; `y`: the same (`rsc` of Kazemnejad et al. 2023). All there is to
    learn is when to end. There are no more questions of a length than symbols: each of them is seen in training."""

    name = "repeat-token"

    def words(self, length: int) -> int:
        return 1

    def questions(self, words: NDArray[np.uint64], length: int) -> NDArray[Any]:
        return np.repeat(independent(words, self.symbols), length, axis=1)

    def chance(self, length: int) -> float:
        """Of any symbol, that often."""
        return 1 / self.symbols

    def trivial(self, x: NDArray[Any], most: int) -> Ints:
        """The first symbol of the vocabulary, that often."""
        return ended(np.full_like(x, FIRST), most)


class Reverse(Copy):
    """`x`: `length` independent symbols; `y`: the same from the last to the first (`mc` of Kazemnejad et al. 2023)."""

    name = "reverse"

    def solve(self, x: NDArray[Any]) -> Ints:
        return ended(x[:, ::-1])

    def trivial(self, x: NDArray[Any], most: int) -> Ints:
        """As it stands: right for palindromes."""
        return ended(x, most)
