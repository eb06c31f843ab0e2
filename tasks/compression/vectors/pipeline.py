"""A reducer and a codec as one: from vectors to an artifact, and back to something that can be searched."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.task import InvalidAnswer
from harness.tasks.compression.artifact import allocate, unpack
from harness.tasks.compression.vectors.interface import BLOCK_ROWS, FIT_ROWS, Codec, Float32, Metric, Reducer, State

_CODES = "codes"
_OF_CODEC, _OF_REDUCER = "c.", "r."


class Plain(Codec):
    """Four bytes a number: what a reducer by itself is followed by."""

    def code(self, vectors: Float32) -> NDArray[np.uint8]:
        """See `Codec.code`."""
        return np.ascontiguousarray(vectors, np.float32).view(np.uint8)

    def decode(self, codes: NDArray[np.uint8]) -> Float32:
        """See `Codec.decode`."""
        return np.ascontiguousarray(codes).view(np.float32)


class Pipeline:
    """What a row does: its codec, and the reducer before it, if there is one."""

    def __init__(self, method: Codec | Reducer, metric: Metric) -> None:
        self.reducer = method if isinstance(method, Reducer) else method.reducer
        self.codec: Codec = Plain() if isinstance(method, Reducer) else method
        self.codec.metric = metric
        if self.reducer:
            self.reducer.metric = metric

    def fit(self, vectors: Float32, sample: NDArray[np.int64]) -> None:
        """Learn from the vectors at the positions `sample`."""
        learned_from = np.array(vectors[sample], np.float32)
        if self.reducer:
            self.reducer.state = _checked_state(self.reducer.fit(learned_from))
            learned_from = self._reduced(learned_from)
        self.codec.state = _checked_state(self.codec.fit(learned_from))

    def encode(self, vectors: Float32) -> NDArray[np.uint8]:
        """The artifact of vectors, (n, d), made a block at a time. Raises InvalidAnswer for codes that are none."""
        n = len(vectors)
        artifact, codes = None, None
        for rows in _blocks(n):
            block = self.codec.code(self._reduced(np.array(vectors[rows], np.float32)))
            if (
                not isinstance(block, np.ndarray)
                or block.dtype != np.uint8
                or block.ndim != 2
                or len(block) != rows.stop - rows.start
            ):
                raise InvalidAnswer(f"code returned {_kind(block)} for {rows.stop - rows.start} vectors; return uint8 "
                                    "codes of one row a vector")  # fmt: skip
            if codes is None:
                artifact, views = allocate(self._shapes(n, block.shape[1]))
                codes = views[_CODES]
                for name, part in self._states():
                    views[name][...] = part
            if block.shape[1] != codes.shape[1]:
                raise InvalidAnswer(f"codes are {block.shape[1]} bytes wide, those before them {codes.shape[1]}")
            codes[rows] = block
        assert artifact is not None
        return artifact

    def open(self, artifact: NDArray[np.uint8]) -> None:
        """Get ready to search an artifact. Raises InvalidAnswer for one that cannot be read."""
        parts = unpack(artifact)
        if _CODES not in parts:
            raise InvalidAnswer("the artifact holds no codes")
        self.codec.state = {n[len(_OF_CODEC) :]: np.array(p) for n, p in parts.items() if n.startswith(_OF_CODEC)}
        if self.reducer:
            self.reducer.state = {
                n[len(_OF_REDUCER) :]: np.array(p) for n, p in parts.items() if n.startswith(_OF_REDUCER)
            }
        self.codec.open(parts[_CODES])

    def search(self, queries: Float32, k: int) -> NDArray[Any]:
        """(n_queries, k) positions of the nearest, best first."""
        return self.codec.search(self._reduced(queries), k)

    def decoded(self, artifact: NDArray[np.uint8], rows: NDArray[np.int64]) -> Float32:
        """The vectors at `rows` as they can be had back, (len(rows), d)."""
        vectors = self.codec.decode(np.array(unpack(artifact)[_CODES][rows]))
        return self.reducer.expand(vectors) if self.reducer else vectors

    def _reduced(self, vectors: Float32) -> Float32:
        if self.reducer is None:
            return vectors
        reduced = self.reducer.reduce(vectors)
        if reduced.ndim != 2 or len(reduced) != len(vectors):
            raise InvalidAnswer(f"reduce returned {_kind(reduced)} for {len(vectors)} vectors")
        return np.ascontiguousarray(reduced, np.float32)

    def _states(self) -> Iterator[tuple[str, NDArray[Any]]]:
        yield from ((_OF_CODEC + name, part) for name, part in self.codec.state.items())
        if self.reducer:
            yield from ((_OF_REDUCER + name, part) for name, part in self.reducer.state.items())

    def _shapes(self, n: int, width: int) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
        shapes: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {_CODES: (np.dtype(np.uint8), (n, width))}
        shapes.update((name, (part.dtype, part.shape)) for name, part in self._states())
        return shapes


def code_width(artifact: NDArray[np.uint8], n: int) -> int:
    """Bytes of one vector's code. Raises InvalidAnswer where there is not one code for each of n vectors."""
    codes = unpack(artifact).get(_CODES)
    if codes is None or codes.ndim != 2 or len(codes) != n or codes.dtype != np.uint8:
        raise InvalidAnswer(
            f"the artifact holds {'no codes' if codes is None else _kind(codes)}, not codes of {n} vectors"
        )
    return int(codes.shape[1])


def fit_positions(n: int) -> NDArray[np.int64]:
    """Positions of the rows that are learned from, ascending: all, or FIT_ROWS of them."""
    if n <= FIT_ROWS:
        return np.arange(n)
    return np.sort(np.random.default_rng([n, *b"fit"]).choice(n, FIT_ROWS, replace=False))


def _blocks(n: int) -> Iterator[slice]:
    for start in range(0, n, BLOCK_ROWS):
        yield slice(start, min(n, start + BLOCK_ROWS))


def _checked_state(state: object) -> State:
    if not isinstance(state, dict) or not all(isinstance(p, np.ndarray | np.generic) for p in state.values()):
        raise InvalidAnswer(f"fit returned {_kind(state)}; return a dict of arrays (empty, if nothing is learned)")
    return {name: np.asarray(part) for name, part in state.items()}


def _kind(value: object) -> str:
    return f"{value.dtype} of shape {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
