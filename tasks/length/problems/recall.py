"""Recall: one symbol of a string, or the item that a list holds under a key."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.tasks.length.problems.base import FIRST, Ints, Problem, below
from harness.tasks.length.problems.draw import distinct, ended, independent, whole, yes_or_no


class RecallOne(Problem):
    """`x`: `length` independent symbols; `y`: the first of them or, if `marked`, the one that follows the flag, which
    then stands before one of them. The flag is the token after the symbols."""

    name = "recall-one"

    def __init__(self, symbols: int = 10, marked: bool = False) -> None:
        self.items = whole(self.name, "symbols", symbols, 2)
        self.marked = yes_or_no(self.name, "marked", marked)
        self.symbols = self.items + self.marked

    @property
    def flag(self) -> int:
        """The token before the symbol that is asked for."""
        return FIRST + self.items

    def words(self, length: int) -> int:
        return length + self.marked

    def questions(self, words: NDArray[np.uint64], length: int) -> NDArray[Any]:
        x = independent(words, self.items)
        if self.marked:
            # The last word is the place; what was drawn there moves one on, and the last symbol falls off.
            places = np.arange(length + 1)
            flag = below(words[:, -1:], length)
            x = np.take_along_axis(x, places - (places > flag), axis=1)
            np.put_along_axis(x, flag, self.flag, axis=1)
        return x

    def solve(self, x: NDArray[Any]) -> Ints:
        if not self.marked:
            return ended(x[:, :1])
        return ended(np.take_along_axis(x, 1 + (x == self.flag).argmax(axis=1)[:, None], axis=1))

    def most(self, length: int) -> int:
        return 2

    def chance(self, length: int) -> float:
        """Of any symbol."""
        return 1 / self.items

    def trivial(self, x: NDArray[Any], most: int) -> Ints:
        """The last symbol."""
        return ended(x[:, -1:], most)


class RecallList(Problem):
    """`x`: `length` pairs of a key and an item, no key twice, then one of the keys; `y`: its item. After the laundry
    lists of Merullo et al. 2024, without their words. Keys are the first tokens, at least `length`; items follow."""

    name = "recall-list"

    def __init__(self, keys: int = 256, items: int = 10) -> None:
        self.keys = whole(self.name, "keys", keys, 1)
        self.items = whole(self.name, "items", items, 2)
        self.symbols = self.keys + self.items

    def words(self, length: int) -> int:
        return self.keys + length + 1

    def questions(self, words: NDArray[np.uint64], length: int) -> NDArray[Any]:
        x = np.empty((len(words), 2 * length + 1), np.int64)
        keys = FIRST + distinct(self.name, words[:, : self.keys], self.keys, length)
        x[:, :-1:2] = keys
        x[:, 1::2] = self.keys + independent(words[:, self.keys : -1], self.items)
        x[:, -1:] = np.take_along_axis(keys, below(words[:, -1:], length), axis=1)
        return x

    def solve(self, x: NDArray[Any]) -> Ints:
        place = (x[:, :-1:2] == x[:, -1:]).argmax(axis=1)[:, None]
        return ended(np.take_along_axis(x, 2 * place + 1, axis=1))

    def most(self, length: int) -> int:
        return 2

    def chance(self, length: int) -> float:
        """Of any item."""
        return 1 / self.items

    def trivial(self, x: NDArray[Any], most: int) -> Ints:
        """The last item of the list."""
        return ended(x[:, -2:-1], most)
