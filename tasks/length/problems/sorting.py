"""Sorting symbols, with and without repeats, and finding the most frequent one."""

from __future__ import annotations

from math import comb
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.tasks.length.problems.base import FIRST, Ints, Problem
from harness.tasks.length.problems.draw import distinct, ended, independent, whole


class Sort(Problem):
    """`x`: `length` independent symbols; `y`: the same in the order of the vocabulary, repeats kept. Where `length` is
    many times `symbols`, this becomes counting: take 4 x the longest length as many."""

    name = "sort"
    hints: ClassVar[tuple[str, ...]] = ("successor", "count", "fill", "reverse")

    def __init__(self, symbols: int = 256) -> None:
        self.symbols = whole(self.name, "symbols", symbols, 2)

    def words(self, length: int) -> int:
        return length

    def questions(self, words: NDArray[np.uint64], length: int) -> NDArray[Any]:
        return independent(words, self.symbols)

    def solve(self, x: NDArray[Any]) -> Ints:
        return ended(np.sort(x, axis=1))

    def most(self, length: int) -> int:
        return length + 1

    def chance(self, length: int) -> float:
        """Of any string of that length whose symbols do not descend."""
        return 1 / comb(self.symbols + length - 1, length)

    def trivial(self, x: NDArray[Any], most: int) -> Ints:
        """As it stands: right where there is nothing to do."""
        return ended(x, most)

    def hinted(self, hint: str) -> Problem:
        from harness.tasks.length.problems.hints import HINTS

        return HINTS[hint](self) if hint in self.hints else super().hinted(hint)


class SortUnique(Sort):
    """`sort` of symbols that are all different. With 64 symbols and a length of 50, the next symbol of the vocabulary
    is right four times in five; with 4 x as many as the longest length, it tells little."""

    name = "sort-unique"
    hints = ("successor", "fill", "reverse")

    def words(self, length: int) -> int:
        return self.symbols

    def questions(self, words: NDArray[np.uint64], length: int) -> NDArray[Any]:
        return FIRST + distinct(self.name, words, self.symbols, length)

    def chance(self, length: int) -> float:
        """Of any string of that length whose symbols ascend."""
        return 1 / comb(self.symbols, length)

    def trivial(self, x: NDArray[Any], most: int) -> Ints:
        """The least symbol and those that follow it in the vocabulary."""
        return ended(np.minimum(x.min(axis=1, keepdims=True) + np.arange(x.shape[1]), self.mark - 1), most)


class Mode(Problem):
    """`x`: `length` symbols; `y`: the most frequent one. Ties do not occur: where independent symbols tie, the one of
    them that stands first wins, and a random place that it does not hold becomes its own."""

    name = "mode"

    def __init__(self, symbols: int = 5) -> None:
        self.symbols = whole(self.name, "symbols", symbols, 2)

    def words(self, length: int) -> int:
        return length

    def questions(self, words: NDArray[np.uint64], length: int) -> NDArray[Any]:
        x = independent(words, self.symbols)
        counts = self._counts(x)
        most = counts.max(axis=1, keepdims=True)
        tied = np.flatnonzero((counts == most).sum(axis=1) > 1)
        if len(tied):
            some = x[tied]
            leads = np.take_along_axis(counts[tied], some - FIRST, axis=1) == most[tied]
            first = np.take_along_axis(some, leads.argmax(axis=1)[:, None], axis=1)
            # The symbols are made of the words' high halves, so the low ones are free.
            weight = (words[tied] & np.uint64(0xFFFFFFFF)) + np.uint64(1)
            x[tied, (weight * (some != first)).argmax(axis=1)] = first[:, 0]
        return x

    def _counts(self, x: NDArray[Any]) -> Ints:
        """(rows, symbols)"""
        places = np.arange(len(x))[:, None] * self.symbols + (x - FIRST)
        return np.bincount(places.ravel(), minlength=len(x) * self.symbols).reshape(len(x), self.symbols)

    def solve(self, x: NDArray[Any]) -> Ints:
        return ended(FIRST + self._counts(x).argmax(axis=1)[:, None])

    def most(self, length: int) -> int:
        return 2

    def chance(self, length: int) -> float:
        return 1 / self.symbols

    def trivial(self, x: NDArray[Any], most: int) -> Ints:
        """The first symbol."""
        return ended(x[:, :1], most)
