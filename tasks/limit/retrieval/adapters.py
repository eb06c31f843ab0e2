"""Turns encoders into retrievers: encode, reduce, normalise, and search exactly (`search.py`).

What an encoder makes of a list of texts is a `Side`: one vector a text, or several. Rows of one model that differ only
in their reduction share the two sides, which cross from one process to another as named arrays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.task import Answer, InvalidAnswer
from harness.tasks.limit.retrieval.interface import Encoder, Hits, Retriever, TokenEncoder
from harness.tasks.limit.retrieval.search import max_sim, normalise, top_k

__all__ = ["EncodingRetriever", "Side", "as_retriever"]

Method = Retriever | Encoder | TokenEncoder
Vectors = NDArray[Any]
MATRIX = 2


@dataclass(frozen=True)
class Side:
    """The vectors of a list of texts: text i has the rows offsets[i]:offsets[i + 1], or row i if offsets is None."""

    vectors: Vectors
    offsets: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.vectors) if self.offsets is None else len(self.offsets) - 1

    def part(self, first: int, last: int) -> Side:
        """Texts first:last, without copying vectors."""
        if self.offsets is None:
            return Side(self.vectors[first:last])
        offsets = self.offsets[first : last + 1]
        return Side(self.vectors[offsets[0] : offsets[-1]], offsets - offsets[0])

    def pick(self, positions: Sequence[int]) -> Side:
        """The texts at `positions`, in that order."""
        parts = [self.part(p, p + 1) for p in positions]
        if self.offsets is None:
            return Side(self.vectors[list(positions)])
        offsets = np.cumsum([0, *(len(p.vectors) for p in parts)])
        return Side(np.concatenate([p.vectors for p in parts]), offsets)

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """Named float32 arrays, to be written to files; `from_arrays` reads them back."""
        arrays: dict[str, NDArray[Any]] = {name: np.asarray(self.vectors, np.float32)}
        return arrays if self.offsets is None else {**arrays, f"{name}_offsets": self.offsets}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], name: str) -> Side:
        return cls(arrays[name], arrays.get(f"{name}_offsets"))


def as_retriever(method: Method, prepared: Answer | None = None) -> Retriever | EncodingRetriever:
    """`method` itself if it searches, else the adapter around it. `prepared` holds vectors from `Task.prepare`."""
    if isinstance(method, Retriever):
        return method
    if isinstance(method, (Encoder, TokenEncoder)):
        return EncodingRetriever(method, prepared)
    raise TypeError(f"{type(method).__name__} must derive from Retriever, Encoder or TokenEncoder of limit/retrieval")


class EncodingRetriever:
    """An encoder with the task's own exact search behind it. With `prepared` sides, nothing is encoded again."""

    def __init__(self, method: Encoder | TokenEncoder, prepared: Answer | None = None) -> None:
        self.method = method
        self.prepared_documents = None if prepared is None else Side.from_arrays(prepared, "documents")
        self.prepared_queries = None if prepared is None else Side.from_arrays(prepared, "queries")
        self._documents: Side | None = None

    def index(self, documents: Sequence[str]) -> None:
        """Encode (or take what was prepared), learn the reduction from the documents, reduce, normalise."""
        side = self.prepared_documents
        self.index_side(self.encode_documents(documents) if side is None else side)

    def search(self, queries: Sequence[str], k: int) -> Hits:
        """The k best documents of each query, encoded here."""
        return self.search_side(self.encode_queries(queries), k)

    def encode_documents(self, texts: Sequence[str]) -> Side:
        if isinstance(self.method, Encoder):
            return Side(_matrix(self.method.encode(texts), len(texts), "encode"))
        return _ragged(self.method.encode_tokens(texts), len(texts), "encode_tokens")

    def encode_queries(self, texts: Sequence[str]) -> Side:
        if isinstance(self.method, Encoder):
            return Side(_matrix(self.method.encode_queries(texts), len(texts), "encode_queries"))
        return _ragged(self.method.encode_query_tokens(texts), len(texts), "encode_query_tokens")

    def index_side(self, documents: Side) -> None:
        """Index encoded documents."""
        self.method.fit_reduce(documents.vectors)
        self._documents = self._reduced(documents)

    def search_side(self, queries: Side, k: int) -> Hits:
        """Search with encoded queries."""
        if self._documents is None:
            raise RuntimeError("call index before search")
        documents, queries = self._documents, self._reduced(queries)
        if documents.vectors.shape[1] != queries.vectors.shape[1]:
            raise InvalidAnswer(
                f"queries have {queries.vectors.shape[1]} dimensions, documents {documents.vectors.shape[1]}"
            )
        if documents.offsets is None or queries.offsets is None:
            return top_k(queries.vectors, documents.vectors, k)
        return max_sim(queries.vectors, queries.offsets, documents.vectors, documents.offsets, k)

    def _reduced(self, side: Side) -> Side:
        """What is compared: reduced, and of length one unless the method asks for dot products."""
        vectors = _matrix(self.method.reduce(side.vectors), len(side.vectors), "reduce")
        dot = isinstance(self.method, Encoder) and self.method.similarity == "dot"
        return Side(vectors if dot else normalise(vectors), side.offsets)


def _matrix(vectors: object, rows: int, source: str) -> Vectors:
    """`vectors` as a finite (rows, d) float array. Raises InvalidAnswer that names what came instead."""
    array = np.asarray(vectors)
    if array.ndim != MATRIX or array.shape[0] != rows or array.shape[1] < 1:
        raise InvalidAnswer(f"{source} must return {rows} rows, ({rows}, d); it returned the shape {array.shape}")
    if array.dtype.kind != "f":
        raise InvalidAnswer(f"{source} must return floats; it returned {array.dtype}")
    finite = np.isfinite(array).all(axis=1)
    if not finite.all():
        raise InvalidAnswer(f"{source} returned NaN or infinity in {np.count_nonzero(~finite)} of {rows} rows, "
                            f"first in row {int(np.argmin(finite))}")  # fmt: skip
    return array


def _ragged(texts: Sequence[object], count: int, source: str) -> Side:
    """Concatenate one (n_tokens, d) array a text. Raises InvalidAnswer for what does not fit together."""
    if len(texts) != count:
        raise InvalidAnswer(f"{source} must return {count} arrays, one a text; it returned {len(texts)}")
    arrays = [np.asarray(tokens) for tokens in texts]
    for i, array in enumerate(arrays):
        if array.ndim != MATRIX or not len(array) or array.shape[1] != arrays[0].shape[1]:
            raise InvalidAnswer(
                f"{source} must return (n_tokens, d) arrays with at least one token and the same d; "
                f"text {i} came as {array.shape}, text 0 as {arrays[0].shape}"
            )
    offsets = np.cumsum([0, *(len(array) for array in arrays)])
    return Side(_matrix(np.concatenate(arrays), int(offsets[-1]), source), offsets)
