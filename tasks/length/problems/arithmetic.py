"""Addition, and polynomials modulo a number."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.tasks.length.problems.base import FIRST, Ints, Problem, below
from harness.tasks.length.problems.draw import ended, guess, independent, one_of, whole


class Addition(Problem):
    """`x`: the digits of one number, PLUS, the digits of another, `length` of each, the least significant first,
    leading zeros allowed; `y`: the `length` + 1 digits of their sum, the least significant first. Digit d is token
    FIRST + d, PLUS comes after the largest.

    With independent digits a carry seldom goes far, and a model may pass long sums without ever carrying it. With
    `carries` "balanced" the longest run of places that carry is of 0, 1, ... or `length` places, all as often."""

    name = "addition"

    def __init__(self, base: int = 10, carries: str = "random") -> None:
        self.base = whole(self.name, "base", base, 2, 256)
        self.carries = one_of(self.name, "carries", carries, ("random", "balanced"))
        self.symbols = self.base + 1
        if self.carries == "balanced":
            self._pairs, self._count = pairs_by_carry(self.base)

    @property
    def plus(self) -> int:
        """The token between the numbers."""
        return FIRST + self.base

    def words(self, length: int) -> int:
        return 2 * length if self.carries == "random" else length + 2

    def questions(self, words: NDArray[np.uint64], length: int) -> NDArray[Any]:
        x = np.empty((len(words), 2 * length + 1), np.int64)
        x[:, length] = self.plus
        if self.carries == "random":
            digits = independent(words, self.base)
            x[:, :length], x[:, length + 1 :] = digits[:, :length], digits[:, length:]
        else:
            out = balanced_carries(words, length)
            case = out.copy()
            case[:, 1:] += 2 * out[:, :-1]  # what goes out of one place comes into the next
            pair = self._pairs[case, scaled(words[:, :length], self._count[case])]
            x[:, :length], x[:, length + 1 :] = FIRST + pair // self.base, FIRST + pair % self.base
        return x

    def solve(self, x: NDArray[Any]) -> Ints:
        length = x.shape[1] // 2
        sums = x[:, :length] + x[:, length + 1 :] - 2 * FIRST
        digits = np.zeros((len(x), length + 1), np.int64)
        carry = np.zeros(len(x), np.int64)
        for place in range(length):
            total = sums[:, place] + carry
            carry = (total >= self.base).astype(np.int64)
            digits[:, place] = total - carry * self.base
        digits[:, length] = carry
        return ended(FIRST + digits)

    def most(self, length: int) -> int:
        return length + 2

    def chance(self, length: int) -> float:
        """Of any number that is a sum."""
        return 1 / int(2 * self.base**length - 1)

    def trivial(self, x: NDArray[Any], most: int) -> Ints:
        """Each place for itself, without carrying."""
        length = x.shape[1] // 2
        digits = np.zeros((len(x), length + 1), np.int64)
        digits[:, :length] = (x[:, :length] + x[:, length + 1 :] - 2 * FIRST) % self.base
        return ended(FIRST + digits, most)


def scaled(words: NDArray[np.uint64], limits: Ints) -> Ints:
    """Numbers in 0 ... limit - 1 for each word's own limit."""
    return ((words >> np.uint64(32)) * limits.astype(np.uint64) >> np.uint64(32)).astype(np.int64)


def pairs_by_carry(base: int) -> tuple[Ints, Ints]:
    """All pairs of digits, a * base + b, by 2 * (carry that comes in) + (carry that goes out): (4, most of one kind),
    and how many there are of each kind, (4,)."""
    pairs = np.arange(base * base)
    sums = pairs // base + pairs % base
    kinds = [pairs[(sums + came >= base) == bool(goes)] for came in (0, 1) for goes in (0, 1)]
    table = np.zeros((4, max(map(len, kinds))), np.int64)
    for row, kind in zip(table, kinds, strict=True):
        row[: len(kind)] = kind
    return table, np.array([len(kind) for kind in kinds])


def balanced_carries(words: NDArray[np.uint64], length: int) -> Ints:
    """Which places carry, (rows, `length`) of 0 and 1, such that the longest run of ones is of 0 ... `length` places,
    all as often. From (rows, `length` + 2) words, of which the first `length` lend their lowest bit only."""
    run = below(words[:, length : length + 1], length + 1)
    start = scaled(words[:, length + 1 :], length + 1 - run)
    places = np.arange(length)
    bits = (words[:, :length] & np.uint64(1)).astype(np.int64)
    bits[(places >= start) & (places < start + run)] = 1
    bits[(places == start - 1) | (places == start + run)] = 0
    # Elsewhere, what would be longer than the run is broken after so many.
    zero_before = np.maximum.accumulate(np.where(bits == 0, places, -1), axis=1)
    bits[(places - zero_before) % (run + 1) == 0] = 0
    return bits


class Polynomial(Problem):
    """`x`: a number v in -2 ... 2, then `length` terms, each a coefficient c in -3 ... 3 and a degree d in 0 ... 3;
    `y`: the sum of c v^d mod 10, a digit. After the polynomials of Kazemnejad et al. 2023, without signs between the
    terms, and with one token for each number. Tokens: digits from FIRST on, then numbers, coefficients, degrees."""

    name = "polynomial"
    symbols = 10 + 5 + 7 + 4
    _number, _coefficient, _degree = FIRST + 10, FIRST + 15, FIRST + 22

    def words(self, length: int) -> int:
        return 2 * length + 1

    def questions(self, words: NDArray[np.uint64], length: int) -> NDArray[Any]:
        x = np.empty((len(words), 2 * length + 1), np.int64)
        x[:, 0] = self._number + below(words[:, 0], 5)
        x[:, 1::2] = self._coefficient + below(words[:, 1::2], 7)
        x[:, 2::2] = self._degree + below(words[:, 2::2], 4)
        return x

    def solve(self, x: NDArray[Any]) -> Ints:
        powers = (x[:, :1] - self._number - 2) ** (x[:, 2::2] - self._degree)
        total = ((x[:, 1::2] - self._coefficient - 3) * powers).sum(axis=1, keepdims=True)
        return ended(FIRST + total % 10)

    def most(self, length: int) -> int:
        return 2

    def chance(self, length: int) -> float:
        """Of any digit. The digits are not equally frequent: see `trivial`."""
        return 0.1

    def trivial(self, x: NDArray[Any], most: int) -> Ints:
        """Always 0, the most frequent digit."""
        return guess(FIRST, x, most)
