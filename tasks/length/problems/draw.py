"""What the problems share: checks of their parameters, symbols without repeats, and answers that end."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import UsageError
from harness.tasks.length.problems.base import END, FIRST, PAD, Ints, below

MOST_SYMBOLS = 1 << 16
"""More than any problem needs; with them `distinct` still has 48 random bits to order symbols by."""


def whole(problem: str, parameter: str, value: object, least: int, most: int = MOST_SYMBOLS) -> int:
    """`value`, if it is a whole number in `least` ... `most`; UsageError otherwise."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise UsageError(f"{problem} takes {parameter} as a whole number in {least} ... {most}, not {value!r}")
    return value


def yes_or_no(problem: str, parameter: str, value: object) -> bool:
    """`value`, if it is a truth value; UsageError otherwise."""
    if not isinstance(value, bool):
        raise UsageError(f"{problem} takes {parameter} as True or False, not {value!r}")
    return value


def one_of(problem: str, parameter: str, value: str, known: tuple[str, ...]) -> str:
    """`value`, if it is one of `known`; UsageError otherwise."""
    if value not in known:
        raise UsageError(f"{problem} takes {parameter} as {' or '.join(map(repr, known))}, not {value!r}")
    return value


def independent(words: NDArray[np.uint64], symbols: int) -> Ints:
    """Tokens of the first `symbols` symbols, one a word."""
    return FIRST + below(words, symbols)


def distinct(problem: str, words: NDArray[np.uint64], symbols: int, count: int) -> Ints:
    """(rows, `count`) numbers in 0 ... `symbols` - 1 in random order, none twice, from (rows, `symbols`) words.

    Raises UsageError if there are not so many.
    """
    if count > symbols:
        raise UsageError(
            f"{problem} of length {count} needs as many different symbols, and there are {symbols}: "
            f"ask for a shorter length or for more (4 x the longest length, lest few be missing)"
        )
    # Each word lends its random high bits to one symbol, which it carries in its low ones: no two are equal, so that
    # which are the least, and in which order, does not depend on how this machine sorts.
    low = np.uint64((1 << (symbols - 1).bit_length()) - 1)
    carriers = (words & ~low) | np.arange(symbols, dtype=np.uint64)
    if count < symbols:
        carriers = np.partition(carriers, count - 1, axis=1)[:, :count]
    return (np.sort(carriers, axis=1) & low).astype(np.int64)


def ended(tokens: Ints, most: int = 0) -> Ints:
    """`tokens`, (rows, n), then END, then PAD up to `most` columns."""
    rows, n = tokens.shape
    answers = np.full((rows, max(n + 1, most)), PAD, np.int64)
    answers[:, :n] = tokens
    answers[:, n] = END
    return answers


def guess(token: int, x: NDArray[Any], most: int) -> Ints:
    """The same one token as the answer to every question."""
    return ended(np.full((len(x), 1), token, np.int64), most)
