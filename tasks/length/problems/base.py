"""What a problem is: strings of every length as pure functions of a key and a counter, and how answers are judged.

Tokens: END (0), START (1), SEP (2), then the problem's own symbols from FIRST (3) on, and one more, MARK, for hints and
scratchpads, so that models with and without them have the same vocabulary.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from harness.errors import UsageError

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
END, START, SEP, FIRST = 0, 1, 2, 3
PAD = -1
"""Right of an answer's end mark, where the answers of one batch differ in length."""


@dataclass(frozen=True)
class Strings:
    """Questions and their answers, one a row: `x`, (rows, width of a question), tokens (or float32 in [0, 1] where the
    answer points); `y`, (rows, width of an answer), tokens that end in END, then PAD."""

    x: NDArray[Any]
    y: Ints


class Problem:
    """One problem, with its parameters. A subclass says how a question is drawn and how it is solved.

    Raises UsageError for parameters that make no problem: a length under 1, or too few symbols.
    """

    name: ClassVar[str]
    kind: ClassVar[Literal["tokens", "pointing"]] = "tokens"
    hints: ClassVar[tuple[str, ...]] = ()
    """Names that `hinted` takes."""
    scratchpads: ClassVar[tuple[str, ...]] = ()
    """Names that `written_out` takes."""
    judged: ClassVar[tuple[str, ...]] = ("exact_match",)
    """Names of what `judge` says."""
    ragged: ClassVar[bool] = False
    """Questions of one length differ in width; `x` is then padded on the right by PAD."""
    symbols: int = 0
    """Symbols of its own; tokens FIRST ... FIRST + symbols - 1."""

    @property
    def mark(self) -> int:
        """The spare token."""
        return FIRST + self.symbols

    @property
    def vocabulary(self) -> int:
        """Tokens in all."""
        return FIRST + self.symbols + 1

    def words(self, length: int) -> int:
        """Random 64-bit words that a string of this length takes."""
        raise NotImplementedError

    def questions(self, words: NDArray[np.uint64], length: int) -> NDArray[Any]:
        """`x` from (rows, `words(length)`) random words."""
        raise NotImplementedError

    def solve(self, x: NDArray[Any]) -> Ints:
        """`y`: the reference solver."""
        raise NotImplementedError

    def most(self, length: int) -> int:
        """Tokens of the longest answer to a question of this length, END included."""
        raise NotImplementedError

    def chance(self, length: int) -> float:
        """Exact match of a guess that knows the format and nothing else."""
        raise NotImplementedError

    def trivial(self, x: NDArray[Any], most: int) -> Ints:
        """Answers by a rule that looks at little: what a model must beat. (rows, most), padded by PAD."""
        raise NotImplementedError

    def judge(self, x: NDArray[Any], answers: Ints) -> Mapping[str, Bools]:
        """Whether each of `answers`, (rows, any width) with everything from the first END on ignored, is right."""
        return {"exact_match": same(self.solve(x), answers)}

    def training_lengths(self, longest: int) -> Sequence[int]:
        """Lengths that training draws from, uniformly."""
        return range(1, longest + 1)

    def sample(self, key: str, length: int, start: int, rows: int) -> Strings:
        """Strings number `start` ... `start + rows - 1` of this length under `key`: whatever else is drawn, these stay.

        Raises UsageError for a length under 1.
        """
        if length < 1:
            raise UsageError(f"a length of {length}: {self.name} has strings of length 1 and more")
        x = self.questions(random_words(f"{key} {self.name} {length}", start, rows, self.words(length)), length)
        return Strings(x, self.solve(x))

    def hinted(self, hint: str) -> Problem:
        """The auxiliary problem that is trained beside this one, in the same vocabulary (Awasthi and Gupta 2023)."""
        raise UsageError(f"{self.name} knows no hint {hint!r}" + _known(self.hints))

    def written_out(self, strings: Strings, scratchpad: str) -> Strings:
        """The same strings with the steps written before the answer, which follows `mark`."""
        raise UsageError(f"{self.name} knows no scratchpad {scratchpad!r}" + _known(self.scratchpads))


def _known(names: Sequence[str]) -> str:
    return f"; it knows {', '.join(names)}" if names else "; it has none"


def random_words(key: str, start: int, rows: int, words: int) -> NDArray[np.uint64]:
    """(rows, words) random words of rows `start` ... of the stream named `key`: Philox counted by row, so that a row
    does not depend on which others are drawn, and is the same on every platform."""
    blocks = -(-words // 4)  # Philox makes four words at a time
    bits = np.random.Philox(key=int.from_bytes(hashlib.blake2b(key.encode(), digest_size=16).digest(), "little"))
    bits.advance(start * blocks)
    drawn: NDArray[np.uint64] = bits.random_raw(rows * blocks * 4)
    return drawn.reshape(rows, blocks * 4)[:, :words]


def below(words: NDArray[np.uint64], limit: int) -> Ints:
    """Numbers in 0 ... limit - 1, uniform within limit / 2^32."""
    return ((words >> np.uint64(32)) * np.uint64(limit) >> np.uint64(32)).astype(np.int64)


def same(wanted: Ints, answers: Ints) -> Bools:
    """Whether each row of `answers` is that of `wanted` up to its END, END included."""
    width = wanted.shape[1]
    if answers.shape[1] < width:
        answers = np.pad(answers, ((0, 0), (0, width - answers.shape[1])), constant_values=PAD)
    equal: Bools = ((answers[:, :width] == wanted) | (wanted == PAD)).all(axis=1)
    return equal
