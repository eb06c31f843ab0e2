"""Saying exactly so much: the question is a number, the answer any string of so many symbols."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import UsageError
from harness.tasks.length.problems.base import END, FIRST, PAD, Bools, Ints, Problem
from harness.tasks.length.problems.draw import ended, independent, one_of, whole

PRECISE = {
    **{10: (0, 20), 30: (20, 40), 50: (40, 60), 80: (70, 90), 150: (130, 170)},
    **{300: (280, 320), 500: (450, 550), 700: (630, 770)},
}
FLEXIBLE = {
    **{10: (0, 20), 30: (20, 40), 50: (40, 60), 80: (60, 100), 150: (100, 200)},
    **{300: (200, 400), 500: (400, 600), 700: (600, 800)},
}
"""Of Ruler (Li et al. 2024): for a target, counts above the first and up to the second number are right."""
DIGITS = 4


class TargetLength(Problem):
    """`x`: a random symbol, then the number `length`; `y`: so many symbols, any, then END. The reference repeats the
    symbol.

    `encoding` of the number: "digits", four of them, the largest first, or "unary", as many strokes. Tokens: symbols,
    then ten digits or the stroke.

    `judge` says three things. `exact_match`: exactly so many. `precise_match` and `flexible_match`: a count within the
    ranges that Ruler publishes for 10, 30, 50, 80, 150, 300, 500 and 700, lower end excluded; for other targets, where
    it has none, within 10 % (20 %), lower end excluded too. An answer without END is wrong."""

    name = "target-length"
    judged = ("exact_match", "precise_match", "flexible_match")

    def __init__(self, symbols: int = 10, encoding: str = "digits") -> None:
        self.fillers = whole(self.name, "symbols", symbols, 1)
        self.encoding = one_of(self.name, "encoding", encoding, ("digits", "unary"))
        self.symbols = self.fillers + (10 if encoding == "digits" else 1)

    def words(self, length: int) -> int:
        return 1

    def questions(self, words: NDArray[np.uint64], length: int) -> NDArray[Any]:
        number = [0] * length
        if self.encoding == "digits":
            number = [int(digit) for digit in f"{length:0{DIGITS}d}"]
            if len(number) > DIGITS:
                raise UsageError(
                    f"{self.name} writes the length in {DIGITS} digits, and {length} has more: ask for a "
                    f"shorter one, or for encoding='unary'"
                )
        x = np.empty((len(words), 1 + len(number)), np.int64)
        x[:, :1] = independent(words, self.fillers)
        x[:, 1:] = FIRST + self.fillers + np.array(number)
        return x

    def targets(self, x: NDArray[Any]) -> Ints:
        """(rows,) numbers that are asked for."""
        if self.encoding == "unary":
            return np.full(len(x), x.shape[1] - 1, np.int64)
        return (x[:, 1:] - FIRST - self.fillers) @ 10 ** np.arange(DIGITS)[::-1]

    def solve(self, x: NDArray[Any]) -> Ints:
        targets = self.targets(x)[:, None]
        places = np.arange(targets.max() + 1)
        return np.where(places < targets, x[:, :1], np.where(places == targets, END, PAD))

    def most(self, length: int) -> int:
        """Room for twice as many, lest the longest that fit be right."""
        return 2 * length + 1

    def chance(self, length: int) -> float:
        """Exactly so many, of any number up to twice that."""
        return 1 / (2 * length)

    def trivial(self, x: NDArray[Any], most: int) -> Ints:
        """The symbol, once."""
        return ended(x[:, :1], most)

    def judge(self, x: NDArray[Any], answers: Ints) -> Mapping[str, Bools]:
        targets = self.targets(x)
        ends = answers == END
        counts = ends.argmax(axis=1)
        said: Bools = ends.any(axis=1) & ((answers > END) | (np.arange(answers.shape[1]) >= counts[:, None])).all(
            axis=1
        )
        return {
            "exact_match": said & (counts == targets),
            "precise_match": said & within(counts, targets, PRECISE, 10),
            "flexible_match": said & within(counts, targets, FLEXIBLE, 20),
        }


def within(counts: Ints, targets: Ints, published: Mapping[int, tuple[int, int]], percent: int) -> Bools:
    """Whether each count lies in the half-open range of its target."""
    low, high = (100 - percent) * targets, (100 + percent) * targets
    for target, (over, up_to) in published.items():
        low, high = np.where(targets == target, 100 * over, low), np.where(targets == target, 100 * up_to, high)
    right: Bools = (100 * counts > low) & (100 * counts <= high)
    return right
