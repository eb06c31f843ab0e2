"""State tracking: the answer is the state after the last letter. All of them can be written out step by step."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.tasks.length.problems.base import FIRST, Ints, Problem, Strings
from harness.tasks.length.problems.draw import ended, guess, independent, whole


class Running(Problem):
    """`x`: `length` letters; `y`: the state after the last, one token.

    Scratchpads (Merrill and Sabharwal 2024): `interleaved`, x1 q1 x2 q2 ... MARK answer, where every step needs only
    its neighbours; `states`, q1 q2 ... MARK answer, where each needs the letter at its own place in the question."""

    scratchpads = ("interleaved", "states")
    letters: int
    """Tokens FIRST ... FIRST + letters - 1 make up the questions."""
    states: int
    """So many answers."""
    lowest: int = FIRST
    """Token of state 0. States share the letters' tokens where they are of one kind."""

    def running(self, x: NDArray[Any]) -> Ints:
        """Tokens of the states after each letter, (rows, length)."""
        raise NotImplementedError

    def words(self, length: int) -> int:
        return length

    def questions(self, words: NDArray[np.uint64], length: int) -> NDArray[Any]:
        return independent(words, self.letters)

    def solve(self, x: NDArray[Any]) -> Ints:
        return ended(self.running(x)[:, -1:])

    def most(self, length: int) -> int:
        return 2

    def chance(self, length: int) -> float:
        """Of any state."""
        return 1 / self.states

    def trivial(self, x: NDArray[Any], most: int) -> Ints:
        """State 0, always."""
        return guess(self.lowest, x, most)

    def written_out(self, strings: Strings, scratchpad: str) -> Strings:
        if scratchpad not in self.scratchpads:
            return super().written_out(strings, scratchpad)
        steps = self.running(strings.x)
        if scratchpad == "interleaved":
            steps = np.stack([strings.x, steps], axis=2).reshape(len(steps), -1)
        mark = np.full((len(steps), 1), self.mark, np.int64)
        return Strings(strings.x, np.concatenate([steps, mark, strings.y], axis=1))


class Parity(Running):
    """`x`: bits; `y`: their sum mod 2, as a bit. The language of strings with an even number of ones."""

    name = "parity"
    symbols = letters = states = 2

    def running(self, x: NDArray[Any]) -> Ints:
        return FIRST + (np.cumsum(x - FIRST, axis=1) & 1)


class EvenPairs(Running):
    """`x`: letters a and b; `y`: whether ab and ba occur an odd number of times in all, as the token of b (yes) or
    a (no). The same as whether the last letter differs from the first (Deletang et al. 2023)."""

    name = "even-pairs"
    symbols = letters = states = 2

    def running(self, x: NDArray[Any]) -> Ints:
        changes = np.zeros_like(x)
        changes[:, 1:] = x[:, 1:] != x[:, :-1]
        return FIRST + (np.cumsum(changes, axis=1) & 1)


class ModularSum(Running):
    """`x`: digits 1 ... `modulus` - 1; `y`: their sum mod `modulus`, a digit (summation of Kazemnejad et al. 2023).
    Digit d is token FIRST + d."""

    name = "modular-sum"

    def __init__(self, modulus: int = 10) -> None:
        self.symbols = self.states = whole(self.name, "modulus", modulus, 3)
        self.letters = self.states - 1

    def questions(self, words: NDArray[np.uint64], length: int) -> NDArray[Any]:
        return 1 + independent(words, self.letters)

    def running(self, x: NDArray[Any]) -> Ints:
        return FIRST + np.cumsum(x - FIRST, axis=1) % self.states


class Cycle(Running):
    """`x`: steps on a ring of `places`: stay, forward, back; `y`: the place where they lead from place 0 (cycle
    navigation, Deletang et al. 2023). Places have their own tokens after the three steps'."""

    name = "cycle"
    letters = 3
    lowest = FIRST + 3

    def __init__(self, places: int = 5) -> None:
        self.states = whole(self.name, "places", places, 3)
        self.symbols = self.letters + self.states

    def running(self, x: NDArray[Any]) -> Ints:
        steps = np.array([0, 1, -1])[x - FIRST]
        return self.lowest + np.cumsum(steps, axis=1) % self.states


class EvenLength(Running):
    """`x`: `length` times the letter a; `y`: whether the string is in (aa)*, as token FIRST (yes) or FIRST + 1 (no). A
    regular language that is not star-free (Bhattamishra et al. 2020). There is one string of each length, seen in
    training: only longer ones tell something, of both parities."""

    name = "aa-star"
    letters = 1
    symbols = states = 2

    def running(self, x: NDArray[Any]) -> Ints:
        return np.repeat(FIRST + np.arange(1, x.shape[1] + 1)[None] % 2, len(x), axis=0)


class Permutations(Running):
    """`x`: permutations of `degree` things; `y`: what they make of the things, done one after the other, as a
    permutation with the same token. With 5 things the word problem of S5, complete for NC1 (Barrington 1989): no
    constant depth suffices unless TC0 = NC1 (Merrill and Sabharwal 2024). Token FIRST + i is the i-th permutation in
    the order of the dictionary; FIRST changes nothing."""

    name = "permutations"

    def __init__(self, degree: int = 5) -> None:
        self.degree = whole(self.name, "degree", degree, 2, 5)
        every = np.array(list(permutations(range(degree))))
        digits = degree ** np.arange(degree)
        number = np.zeros(degree**degree, np.int64)
        number[every @ digits] = np.arange(len(every))
        # After p, q: thing i goes to q[p[i]].
        self.then = number[every[:, every].transpose(1, 0, 2) @ digits]
        self.symbols = self.letters = self.states = len(every)

    def running(self, x: NDArray[Any]) -> Ints:
        states = np.empty_like(x)
        state = np.zeros(len(x), np.int64)
        for place in range(x.shape[1]):
            state = self.then[state, x[:, place] - FIRST]
            states[:, place] = state
        return FIRST + states
