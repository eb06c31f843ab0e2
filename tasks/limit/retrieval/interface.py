"""What a retrieval baseline implements: one of three small classes, the simplest that fits.

`Retriever` searches; `Encoder` only turns texts into vectors; `TokenEncoder` turns each text into several vectors.
Scoring, ranking and ties of the last two are ours (`tasks/limit/retrieval/search.py`), so that encoders differ in
nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.task import Baseline


class Hits(NamedTuple):
    """The best documents of each query, best first."""

    ids: NDArray[np.int64]
    """(n_queries, k) positions in the list of documents; -1 fills up a row with fewer than k hits."""
    scores: NDArray[np.float64]
    """(n_queries, k) scores, higher is better; ignored where the position is -1."""


class Retriever(Baseline):
    """Indexes documents, then searches them."""

    def index(self, documents: Sequence[str]) -> None:
        """Build whatever `search` needs. Called once per process."""
        raise NotImplementedError

    def search(self, queries: Sequence[str], k: int) -> Hits:
        """The k best documents of each query. Ties are broken by the judge: score, then document id descending.

        Positions follow the order of the ids, so among equal scores the higher position must be preferred at the
        cut-off.
        """
        raise NotImplementedError


class Encoder(Baseline):
    """Turns texts into one vector each."""

    similarity: ClassVar[Literal["cosine", "dot"]] = "cosine"

    def encode(self, texts: Sequence[str]) -> NDArray[Any]:
        """(n_texts, d) vectors of any float dtype."""
        raise NotImplementedError

    def encode_queries(self, texts: Sequence[str]) -> NDArray[Any]:
        """The same for queries, where a model treats them differently."""
        return self.encode(texts)

    def fit_reduce(self, documents: NDArray[Any]) -> None:
        """Learn a reduction from the documents' vectors (never from queries). Needs `shared` parameters."""

    def reduce(self, vectors: NDArray[Any]) -> NDArray[Any]:
        """Map encoded vectors to those that are searched; rows that differ only here share one encoding."""
        return vectors


class TokenEncoder(Baseline):
    """Turns texts into several vectors each (late interaction), scored by MaxSim over cosines."""

    def encode_tokens(self, texts: Sequence[str]) -> Sequence[NDArray[Any]]:
        """For each text a (n_tokens, d) array."""
        raise NotImplementedError

    def encode_query_tokens(self, texts: Sequence[str]) -> Sequence[NDArray[Any]]:
        """The same for queries, where a model treats them differently."""
        return self.encode_tokens(texts)

    def fit_reduce(self, documents: NDArray[Any]) -> None:
        """Learn a reduction from all document token vectors, (n_tokens_total, d)."""

    def reduce(self, vectors: NDArray[Any]) -> NDArray[Any]:
        """Map (n, d) token vectors to those that are compared."""
        return vectors
