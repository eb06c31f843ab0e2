"""Chains of assignments, one of whose variables is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.tasks.length.problems.base import FIRST, Ints, Problem, below
from harness.tasks.length.problems.draw import distinct, ended, guess, whole, yes_or_no


class Lego(Problem):
    """`x`: `length` clauses of three tokens, a variable, a sign, and the variable of the clause before (in the first:
    ONE), such as `d + ONE  k - d  a - k`, and last a variable of the chain's second half; `y`: the sign of its value.
    LEGO of Zhang et al. 2022, asked as by Kazemnejad et al. 2023. If `shuffled`, the clauses stand in random order.

    Tokens: variables (at least `length`), then plus, minus and ONE.
    """

    name = "lego"

    def __init__(self, variables: int = 256, shuffled: bool = False) -> None:
        self.variables = whole(self.name, "variables", variables, 1)
        self.shuffled = yes_or_no(self.name, "shuffled", shuffled)
        self.plus = FIRST + self.variables
        self.one = self.plus + 2
        self.symbols = self.variables + 3

    def words(self, length: int) -> int:
        return self.variables + length + 1 + length * self.shuffled

    def questions(self, words: NDArray[np.uint64], length: int) -> NDArray[Any]:
        asked = self.variables + length
        chain = FIRST + distinct(self.name, words[:, : self.variables], self.variables, length)
        clauses = np.empty((len(words), length, 3), np.int64)
        clauses[:, :, 0] = chain
        clauses[:, :, 1] = self.plus + below(words[:, self.variables : asked], 2)
        clauses[:, 0, 2] = self.one
        clauses[:, 1:, 2] = chain[:, :-1]
        if self.shuffled:
            order = distinct(self.name, words[:, asked + 1 :], length, length)
            clauses = np.take_along_axis(clauses, order[:, :, None], axis=1)
        half = length // 2
        query = np.take_along_axis(chain, half + below(words[:, asked : asked + 1], length - half), axis=1)
        return np.concatenate([clauses.reshape(len(words), -1), query], axis=1)

    def solve(self, x: NDArray[Any]) -> Ints:
        rows = np.arange(len(x))[:, None]
        clauses = x[:, :-1].reshape(len(x), -1, 3)
        # By token: what a variable is defined by, and whether with a minus. ONE is defined by itself.
        source = np.full((len(x), self.vocabulary), self.one)
        minus = np.zeros((len(x), self.vocabulary), np.int64)
        source[rows, clauses[:, :, 0]] = clauses[:, :, 2]
        minus[rows, clauses[:, :, 0]] = clauses[:, :, 1] - self.plus
        at, sign = x[:, -1:], np.zeros((len(x), 1), np.int64)
        while (at != self.one).any():
            sign ^= minus[rows, at]
            at = source[rows, at]
        return ended(self.plus + sign)

    def most(self, length: int) -> int:
        return 2

    def chance(self, length: int) -> float:
        """Of either sign."""
        return 0.5

    def trivial(self, x: NDArray[Any], most: int) -> Ints:
        """Plus, always."""
        return guess(self.plus, x, most)
