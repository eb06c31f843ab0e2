"""Search on codes by products of queries with the codes' small numbers, instead of with decoded vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.baselines.compression.vectors._best import Best
from harness.tasks.compression.vectors import Codec, Float32
from harness.tasks.compression.vectors.search import search_decoded

BLOCK = 2**19
"""Numbers that are decoded at a time: 2 MiB as float32, about what the caches of a core hold."""
FAR = 100.0
"""Under l2, vectors whose squared distance from zero is more than this many times their variance are not searched by
products: with one part in 10^7 of float32, nearby distances would be off by one in 10^5 or more."""
QUERIES = 256
"""Queries that are compared with a block at a time."""


class Products(Codec):
    """A codec of vectors `scale * (step * numbers + low)`: a scale per vector, a step and a low end per dimension.

    The step goes into the query, the low end into one product per query, the scale and the vector's length into
    the score. So a search makes float32 `numbers` of a block of codes, multiplies matrices, and no more; it keeps the
    codes and 8 bytes per vector. What it finds is what exact search over the decoded vectors finds, up to rounding.
    """

    def numbers(self, codes: NDArray[np.uint8]) -> Float32:
        """(n, d) numbers in `codes`, before any scale."""
        raise NotImplementedError

    def scales(self, codes: NDArray[np.uint8]) -> Float32:
        """(n,) scales of the vectors."""
        return np.ones(len(codes), np.float32)

    def decode(self, codes: NDArray[np.uint8]) -> Float32:
        vectors: Float32 = self.numbers(codes) * self.state.get("step", np.float32(1))
        vectors += self.state.get("low", np.float32(0))
        vectors *= self.scales(codes)[:, None]
        return vectors

    def open(self, codes: NDArray[np.uint8]) -> None:
        super().open(codes)
        self.factors, self.shifts = np.empty((2, len(codes)), np.float32)
        self.far = False
        self.rows = max(1, BLOCK // max(1, self.numbers(codes[:1]).shape[1]))
        for start in range(0, len(codes), self.rows):
            block, part = codes[start : start + self.rows], slice(start, start + self.rows)
            vectors = self.decode(block)
            squares = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
            lengths = np.sqrt(np.where(squares > 0, squares, 1)) if self.metric == "cosine" else 1
            if start == 0 and self.metric == "l2":
                middle = vectors.mean(axis=0, dtype=np.float64)
                self.far = bool(FAR * (np.maximum(squares.mean() - middle @ middle, 0)) < middle @ middle)
            self.factors[part] = self.scales(block) / lengths
            self.shifts[part] = squares / 2 if self.metric == "l2" else 0

    def search(self, queries: Float32, k: int) -> NDArray[Any]:
        if self.far:  # products of such vectors cancel: distances are taken from their middle
            return search_decoded(self, queries, k)
        if self.symmetric:
            queries = self.decode(self.code(queries))
        ends = (queries @ np.broadcast_to(self.state.get("low", np.float32(0)), queries.shape[1]))[:, None]
        queries = queries * self.state.get("step", np.float32(1))
        chunks = [slice(first, first + QUERIES) for first in range(0, len(queries), QUERIES)]
        best = [Best(len(queries[chunk]), k) for chunk in chunks]
        for start in range(0, len(self.codes), self.rows):
            part = slice(start, start + self.rows)
            numbers = self.numbers(self.codes[part])
            for chunk, kept in zip(chunks, best, strict=True):
                scores = queries[chunk] @ numbers.T
                scores += ends[chunk]
                scores *= self.factors[part]
                scores -= self.shifts[part]
                kept.add(start, scores)
        return np.concatenate([kept.ids for kept in best])
