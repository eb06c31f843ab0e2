"""Untrained vectors of any dimension: what dimensions alone can do.

Character n-grams are counted in as many buckets as the vector has dimensions. The fewer buckets, the more n-grams
share one: nothing else limits these vectors.
"""

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.tasks.limit.retrieval import Hits, Retriever
from harness.tasks.limit.retrieval.ranking import best_in_blocks

WEIGHTS = {3: 1.0, 4: 5.0, 5: 10.0}
"""Length of an n-gram -> what it counts, as published."""


class HashedNgrams(Retriever):
    """Character 3- to 5-grams of words, hashed into buckets; log(1 + count), cosine (NUMEN, arXiv:2601.15205)."""

    dimension: int = 32768
    variants = {
        "hashed-ngrams-d4096": {"dimension": 4096},
        "hashed-ngrams-d32768": {},
    }
    requires = ("scipy",)

    def index(self, documents: Sequence[str]) -> None:
        self.inverted = self._vectors(documents).T.tocsr()

    def search(self, queries: Sequence[str], k: int) -> Hits:
        vectors = self._vectors(queries)
        return best_in_blocks(
            lambda first, last: (vectors[first:last] @ self.inverted).toarray(),
            len(queries), self.inverted.shape[1], k,
        )  # fmt: skip

    def _vectors(self, texts: Sequence[str]) -> Any:
        """(n_texts, dimension) sparse rows of length one: words of each text times n-grams of each word."""
        columns: dict[str, int] = {}
        words = [[columns.setdefault(w, len(columns)) for w in text.lower().split()] for text in texts]
        grams = [self._ngrams(word) for word in columns]
        rows = _sparse([(row, [1.0] * len(row)) for row in words], len(columns)) @ _sparse(grams, self.dimension)
        rows.data = np.log1p(rows.data)
        squares = np.concatenate([[0.0], np.cumsum(np.square(rows.data), dtype=np.float64)])
        lengths = np.sqrt(np.diff(squares[rows.indptr]))
        rows.data /= np.repeat(lengths.astype(np.float32), np.diff(rows.indptr))
        return rows

    def _ngrams(self, word: str) -> tuple[list[int], list[float]]:
        marked = f"^{word}$"
        grams = [marked[i : i + n] for n in WEIGHTS for i in range(len(marked) - n + 1)]
        return [zlib.crc32(g.encode()) % self.dimension for g in grams], [WEIGHTS[len(g)] for g in grams]


def _sparse(rows: list[tuple[list[int], list[float]]], width: int) -> Any:
    """Rows of (columns, values) as a sparse matrix; equal columns of one row are added up by the products."""
    from scipy.sparse import csr_array

    offsets = np.cumsum([0, *(len(columns) for columns, _ in rows)])
    columns = np.fromiter((c for row, _ in rows for c in row), np.int32, offsets[-1])
    values = np.fromiter((v for _, row in rows for v in row), np.float32, offsets[-1])
    return csr_array((values, columns, offsets), shape=(len(rows), width))
