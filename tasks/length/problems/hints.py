"""Problems trained beside sorting, in its vocabulary (Awasthi and Gupta 2023): the list, MARK, and what is asked of
it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import UsageError
from harness.tasks.length.problems.base import FIRST, Ints, Problem, below
from harness.tasks.length.problems.draw import ended, guess

if TYPE_CHECKING:
    from harness.tasks.length.problems.sorting import Sort


class Hint(Problem):
    """A question about the lists of `listed`. The last of the random words is free to say which symbol it is about."""

    def __init__(self, listed: Sort) -> None:
        self.listed, self.symbols = listed, listed.symbols

    def words(self, length: int) -> int:
        return self.listed.words(length) + 1

    def most(self, length: int) -> int:
        return 2

    def about(self, words: NDArray[np.uint64], length: int) -> tuple[Ints, Ints]:
        """The lists, (rows, `length`), and a random place in each, (rows, 1)."""
        return self.listed.questions(words[:, :-1], length), below(words[:, -1:], length)

    def marked(self, x: Ints, *rest: Ints) -> Ints:
        """List, MARK, the rest."""
        return np.concatenate([x, np.full((len(x), 1), self.mark, np.int64), *rest], axis=1)


class Successor(Hint):
    """`x`: list, MARK, one of its symbols; `y`: the next larger symbol of the list, MARK where there is none."""

    name = "sort-successor"

    def questions(self, words: NDArray[np.uint64], length: int) -> NDArray[Any]:
        x, place = self.about(words, length)
        return self.marked(x, np.take_along_axis(x, place, axis=1))

    def solve(self, x: NDArray[Any]) -> Ints:
        listed, one = x[:, :-2], x[:, -1:]
        return ended(np.where(listed > one, listed, self.mark).min(axis=1, keepdims=True))

    def chance(self, length: int) -> float:
        """Of any symbol, or MARK."""
        return 1 / (self.symbols + 1)

    def trivial(self, x: NDArray[Any], most: int) -> Ints:
        """The next symbol of the vocabulary, listed or not."""
        return ended(x[:, -1:] + 1, most)


class Count(Hint):
    """`x`: list, MARK, one of its symbols; `y`: how often it is listed: FIRST for once, the next token for twice,
    ..."""

    name = "sort-count"

    def questions(self, words: NDArray[np.uint64], length: int) -> NDArray[Any]:
        if length > self.symbols:
            raise UsageError(
                f"{self.name} of length {length} counts by symbols, and there are {self.symbols}: take more"
            )
        x, place = self.about(words, length)
        return self.marked(x, np.take_along_axis(x, place, axis=1))

    def solve(self, x: NDArray[Any]) -> Ints:
        return ended(FIRST - 1 + (x[:, :-2] == x[:, -1:]).sum(axis=1, keepdims=True))

    def chance(self, length: int) -> float:
        """Of any number up to the length."""
        return 1 / length

    def trivial(self, x: NDArray[Any], most: int) -> Ints:
        """Once."""
        return guess(FIRST, x, most)


class Fill(Hint):
    """`x`: list, MARK, the list sorted with MARK in place of one symbol; `y`: that symbol."""

    name = "sort-fill"

    def questions(self, words: NDArray[np.uint64], length: int) -> NDArray[Any]:
        x, place = self.about(words, length)
        gap = np.sort(x, axis=1)
        np.put_along_axis(gap, place, self.mark, axis=1)
        return self.marked(x, gap)

    def solve(self, x: NDArray[Any]) -> Ints:
        length = x.shape[1] // 2
        rest = x[:, length + 1 :]
        total = x[:, :length].sum(axis=1) - np.where(rest == self.mark, 0, rest).sum(axis=1)
        return ended(total[:, None])

    def chance(self, length: int) -> float:
        """Of any symbol."""
        return 1 / self.symbols

    def trivial(self, x: NDArray[Any], most: int) -> Ints:
        """The first of the list."""
        return ended(x[:, :1], most)


class Backwards(Hint):
    """`x`: list, MARK; `y`: the list from the last to the first."""

    name = "sort-reverse"

    def words(self, length: int) -> int:
        return self.listed.words(length)

    def questions(self, words: NDArray[np.uint64], length: int) -> NDArray[Any]:
        return self.marked(self.listed.questions(words, length))

    def solve(self, x: NDArray[Any]) -> Ints:
        return ended(x[:, -2::-1])

    def most(self, length: int) -> int:
        return length + 1

    def chance(self, length: int) -> float:
        """Of any string of that length."""
        return float(self.symbols) ** -length

    def trivial(self, x: NDArray[Any], most: int) -> Ints:
        """As it stands."""
        return ended(x[:, :-1], most)


HINTS: dict[str, type[Hint]] = {"successor": Successor, "count": Count, "fill": Fill, "reverse": Backwards}
