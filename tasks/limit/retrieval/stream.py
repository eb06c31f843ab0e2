"""Random integers that are the same on every platform and for ever: a hash in counter mode.

`random` and `numpy.random` promise less (a method may change with a version, seeds are folded to a fixed width);
here each value follows from the bytes of SHAKE-256 over (label, seed, counter) and integer arithmetic alone.
"""

from __future__ import annotations

from hashlib import shake_256

import numpy as np
from numpy.typing import NDArray

_WORD_VALUES = 1 << 64


class Stream:
    """An endless sequence of 64-bit words named by a label and a seed of any size."""

    def __init__(self, label: str, seed: int) -> None:
        self._key = f"{label}\0{seed:x}\0"
        self._counter = 0

    def words(self, n: int) -> NDArray[np.uint64]:
        """The next `n` words, uniform over [0, 2^64)."""
        block = shake_256(f"{self._key}{self._counter}".encode("ascii")).digest(8 * n)
        self._counter += 1
        return np.frombuffer(block, dtype="<u8").astype(np.uint64)

    def below(self, bound: int, n: int) -> NDArray[np.int64]:
        """`n` integers uniform over [0, bound), exactly: words that would favour small values are drawn again.

        Raises ValueError unless 0 < bound <= 2^63.
        """
        if not 0 < bound <= 1 << 63:
            raise ValueError(f"bound must lie in 1..2^63, got {bound}")
        last_fair = np.uint64(_WORD_VALUES - _WORD_VALUES % bound - 1)
        drawn = self.words(n)
        while (unfair := np.flatnonzero(drawn > last_fair)).size:
            drawn[unfair] = self.words(unfair.size)
        return (drawn % np.uint64(bound)).astype(np.int64)

    def permutation(self, n: int) -> NDArray[np.int64]:
        """0..n-1 in random order: sorted by one random word each (equal words, chance under n^2/2^65, keep order)."""
        return np.argsort(self.words(n), kind="stable").astype(np.int64)

    def distinct(self, size: int, n: int) -> NDArray[np.int64]:
        """`size` different members of 0..n-1 in random order: drawn one after the other, repeats left out."""
        if not 0 <= size <= n:
            raise ValueError(f"cannot choose {size} of {n}")
        chosen = np.empty(0, dtype=np.int64)
        while chosen.size < size:
            drawn = np.concatenate([chosen, self.below(n, size - chosen.size)])
            chosen = drawn[np.sort(np.unique(drawn, return_index=True)[1])]
        return chosen

    def subsets(self, n_subsets: int, size: int, n: int) -> NDArray[np.int64]:
        """(n_subsets, size) distinct members of 0..n-1 per row, every subset equally likely (Floyd's algorithm)."""
        if not 0 < size <= n:
            raise ValueError(f"cannot choose {size} of {n}")
        chosen = np.empty((n_subsets, size), dtype=np.int64)
        for column in range(size):
            newest = n - size + column
            candidate = self.below(newest + 1, n_subsets)
            taken = (chosen[:, :column] == candidate[:, None]).any(axis=1)
            chosen[:, column] = np.where(taken, newest, candidate)
        return chosen

    def arrangements(self, n_rows: int, size: int, n: int, block: int = 4096) -> NDArray[np.int64]:
        """(n_rows, size) distinct members of 0..n-1 per row, in random order: the first steps of Fisher-Yates.

        `block` rows are shuffled side by side, which bounds the memory at block x n; it is part of the definition.
        """
        if not 0 <= size <= n:
            raise ValueError(f"cannot choose {size} of {n}")
        out = np.empty((n_rows, size), dtype=np.int64)
        for start in range(0, n_rows, block):
            rows = np.arange(min(block, n_rows - start))
            deck = np.tile(np.arange(n, dtype=np.int32), (rows.size, 1))
            for step in range(size):
                pick = step + self.below(n - step, rows.size)
                drawn = deck[rows, pick]
                deck[rows, pick] = deck[:, step]
                out[start : start + rows.size, step] = drawn
        return out
