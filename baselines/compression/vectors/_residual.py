"""Codes whose bytes name vectors that add up, searched by tables of products."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.baselines.compression.vectors._best import Best
from harness.baselines.compression.vectors._products import BLOCK, QUERIES, Products
from harness.tasks.compression.vectors import Float32


class Residual(Products):
    """The state's `codebooks`, (bytes, 256, d), hold what the bytes name; each byte takes the nearest of what is left.

    A query's product with a sum is the sum of its products with the parts: 256 for each byte, made once a query.
    """

    def code(self, vectors: Float32) -> NDArray[np.uint8]:
        books, left = self.state["codebooks"], np.array(vectors)
        codes = np.empty((len(vectors), len(books)), np.uint8)
        for column, book in zip(codes.T, books, strict=True):
            column[:] = np.argmax(left @ book.T - np.einsum("ij,ij->i", book, book) / 2, axis=1)
            left -= book[column]
        return codes

    def numbers(self, codes: NDArray[np.uint8]) -> Float32:
        books = self.state["codebooks"]
        vectors = np.zeros((len(codes), books.shape[2]), np.float32)
        for column, book in zip(codes.T, books, strict=True):
            vectors += book[column]
        return vectors

    def search(self, queries: Float32, k: int) -> NDArray[Any]:
        books = self.state["codebooks"]
        return np.concatenate(
            [self._nearest(books @ queries[i : i + QUERIES].T, k) for i in range(0, len(queries), QUERIES)]
        )

    def _nearest(self, tables: Float32, k: int) -> NDArray[Any]:
        best = Best(tables.shape[2], k)
        rows = BLOCK // tables.shape[2]
        for start in range(0, len(self.codes), rows):
            part = slice(start, start + rows)
            scores = np.zeros((len(self.codes[part]), tables.shape[2]), np.float32)
            for column, table in zip(self.codes[part].T, tables, strict=True):
                scores += table[column]
            best.add(start, np.ascontiguousarray(scores.T) * self.factors[part] - self.shifts[part])
        return best.ids
