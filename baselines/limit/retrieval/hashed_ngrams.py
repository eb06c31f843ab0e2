"""Untrained vectors of any dimension: what dimensions alone can do.

Character n-grams are counted in as many buckets as the vector has dimensions. The fewer buckets, the more n-grams
share one: nothing else limits these vectors.
"""

import zlib
from collections.abc import Iterable, Sequence
from itertools import chain, repeat
from typing import Any

import numpy as np

from harness.tasks.limit.retrieval import Hits, Retriever
from harness.tasks.limit.retrieval.ranking import best_in_blocks

WEIGHTS = {3: 1.0, 4: 5.0, 5: 10.0}
"""Length of an n-gram -> what it counts, as published."""


class HashedNgrams(Retriever):
    """Character 3- to 5-grams of words, hashed into buckets; log(1 + count), cosine (NUMEN, arXiv:2601.15205)."""

    dimension: int = 32768
    requires = ("scipy",)

    def index(self, documents: Sequence[str]) -> None:
        vectors = self._vectors(documents)
        self.lengths, self.inverted = _lengths(vectors), vectors.T.tocsr()

    def search(self, queries: Sequence[str], k: int) -> Hits:
        vectors = self._vectors(queries)
        vectors.data /= np.repeat(_lengths(vectors), np.diff(vectors.indptr))
        return best_in_blocks(
            lambda first, last: (vectors[first:last] @ self.inverted).toarray() / self.lengths,
            len(queries), len(self.lengths), k,
        )  # fmt: skip

    def _vectors(self, texts: Sequence[str]) -> Any:
        """(n_texts, dimension) sparse rows: the words of each text times the n-grams of each word."""
        columns: dict[str, int] = {}
        words = [[columns.setdefault(w, len(columns)) for w in text.lower().split()] for text in texts]
        grams = [self._ngrams(word) for word in columns]
        counts = _sparse(words, repeat(1.0), len(columns))
        rows = counts @ _sparse([g for g, _ in grams], chain.from_iterable(v for _, v in grams), self.dimension)
        np.log1p(rows.data, out=rows.data)
        return rows

    def _ngrams(self, word: str) -> tuple[list[int], list[float]]:
        """Bucket and weight of each n-gram of a word, whose ends are marked."""
        marked = f"^{word}$"
        grams = [marked[i : i + n] for n in WEIGHTS for i in range(len(marked) - n + 1)]
        return [zlib.crc32(g.encode()) % self.dimension for g in grams], [WEIGHTS[len(g)] for g in grams]


def _sparse(columns: list[list[int]], values: Iterable[float], width: int) -> Any:
    """Rows of a sparse matrix; equal columns of one row are added up by products."""
    from scipy.sparse import csr_array

    offsets = np.cumsum([0, *map(len, columns)], dtype=np.int32)  # 32 bits: half the memory of what follows
    places = np.fromiter(chain.from_iterable(columns), np.int32, offsets[-1])
    numbers = np.fromiter(values, np.float32, offsets[-1])
    return csr_array((numbers, places, offsets), shape=(len(columns), width))


def _lengths(rows: Any) -> Any:
    """Euclidean length of each sparse row, at least a trifle."""
    squares = type(rows)((np.square(rows.data), rows.indices, rows.indptr), shape=rows.shape)
    return np.sqrt(np.maximum(squares.sum(axis=1), 1e-12)).astype(np.float32)
