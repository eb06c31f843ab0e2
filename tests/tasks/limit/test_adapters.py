"""`limit/retrieval/adapters.py`: an encoder becomes a retriever."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.task import Answer, InvalidAnswer
from harness.tasks.limit.retrieval.adapters import EncodingRetriever, Side, as_retriever
from harness.tasks.limit.retrieval.interface import Encoder, Hits, Retriever, TokenEncoder

TEXTS = ["ab", "abc", "cab", "xyz", "abab"]


def letters(text: str) -> NDArray[np.float32]:
    counts = np.zeros(26, np.float32)
    for letter in text:
        counts[ord(letter) - 97] += 1
    return counts


class Letters(Encoder):
    """Counts letters; `kept` dimensions survive the reduction."""

    kept: int = 26

    def encode(self, texts: Sequence[str]) -> NDArray[Any]:
        return np.stack([letters(t) for t in texts])

    def fit_reduce(self, documents: NDArray[Any]) -> None:
        self.order = np.argsort(-documents.sum(axis=0), kind="stable")[: self.kept]

    def reduce(self, vectors: NDArray[Any]) -> NDArray[Any]:
        return vectors[:, self.order]


class DotLetters(Letters):
    similarity: ClassVar[Literal["cosine", "dot"]] = "dot"


class LetterTokens(TokenEncoder):
    def encode_tokens(self, texts: Sequence[str]) -> Sequence[NDArray[Any]]:
        return [np.stack([letters(c) for c in text]) for text in texts]


class Listing(Retriever):
    def index(self, documents: Sequence[str]) -> None:
        self.documents = documents

    def search(self, queries: Sequence[str], k: int) -> Hits:
        return Hits(np.zeros((len(queries), 1), np.int64), np.ones((len(queries), 1)))


def searched(method: Encoder | TokenEncoder, queries: list[str], k: int = 5, prepared: Answer | None = None) -> Hits:
    retriever = as_retriever(method, prepared)
    retriever.index(TEXTS)
    return retriever.search(queries, k)


def test_a_retriever_is_left_as_it_is() -> None:
    method = Listing()
    assert as_retriever(method) is method


def test_something_else_is_refused() -> None:
    with pytest.raises(TypeError, match="str must derive from Retriever, Encoder or TokenEncoder"):
        as_retriever("method")  # type: ignore[arg-type]


def test_cosine_is_the_default_and_the_higher_position_wins_a_tie() -> None:
    hits = searched(Letters(), ["ab"])
    assert hits.ids[0].tolist() == [4, 0, 2, 1, 3]
    assert hits.scores[0, :2] == pytest.approx([1.0, 1.0])


def test_dot_products_see_lengths() -> None:
    assert searched(DotLetters(), ["ab"]).scores[0].tolist() == [4.0, 2.0, 2.0, 2.0, 0.0]


def test_the_reduction_is_learnt_from_documents_and_applied_to_both_sides() -> None:
    method = Letters()
    method.kept = 2
    hits = searched(method, ["abz"])
    assert method.order.tolist() == [0, 1]
    assert hits.scores[0].tolist() == pytest.approx([1.0, 1.0, 1.0, 1.0, 0.0])


def test_tokens_are_compared_by_max_sim() -> None:
    hits = searched(LetterTokens(), ["abx", "c"])
    assert hits.scores[0].tolist() == pytest.approx([2.0, 2.0, 2.0, 2.0, 1.0])
    assert hits.ids[1, :2].tolist() == [2, 1]


@pytest.mark.parametrize("method", [Letters(), LetterTokens()])
def test_prepared_vectors_give_the_same_hits_without_encoding(
    method: Encoder | TokenEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries = ["ab", "cx", "z"]
    plain, encoding = searched(method, queries), EncodingRetriever(method)
    prepared = {
        **encoding.encode_documents(TEXTS).arrays("documents"), **encoding.encode_queries(queries).arrays("queries")
    }  # fmt: skip
    for name in ("encode", "encode_tokens"):
        monkeypatch.setattr(type(method), name, None, raising=False)
    retriever = EncodingRetriever(method, prepared)
    retriever.index(TEXTS)
    assert retriever.prepared_queries is not None
    hits = retriever.search_side(retriever.prepared_queries, 5)
    np.testing.assert_array_equal(plain.ids, hits.ids)
    np.testing.assert_array_equal(plain.scores, hits.scores)
    single = [retriever.search_side(retriever.prepared_queries.part(i, i + 1), 5).ids[0] for i in range(3)]
    np.testing.assert_array_equal(single, plain.ids)


def test_a_part_of_a_side_keeps_its_texts() -> None:
    side = Side(np.arange(12.0).reshape(6, 2), np.array([0, 1, 3, 6]))
    part = side.part(1, 3)
    assert (len(side), len(part)) == (3, 2)
    assert part.offsets is not None
    assert part.offsets.tolist() == [0, 2, 5]
    np.testing.assert_array_equal(part.vectors, side.vectors[1:])


class Broken(Encoder):
    output: Any = None

    def encode(self, texts: Sequence[str]) -> NDArray[Any]:
        return self.output  # type: ignore[no-any-return]


class BrokenTokens(TokenEncoder):
    output: Any = None

    def encode_tokens(self, texts: Sequence[str]) -> Sequence[NDArray[Any]]:
        return self.output  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (np.ones((4, 3)), r"encode must return 5 rows, \(5, d\); it returned the shape \(4, 3\)"),
        (np.ones(5), r"the shape \(5,\)"),
        (np.ones((5, 0)), r"the shape \(5, 0\)"),
        (np.ones((5, 3), int), "encode must return floats; it returned int64"),
        (None, r"the shape \(\)"),
        (np.array([[1.0]] * 3 + [[np.nan], [np.inf]]), "NaN or infinity in 2 of 5 rows, first in row 3"),
    ],
)
def test_vectors_that_are_none_are_refused_by_name(output: Any, message: str) -> None:
    method = Broken()
    method.output = output
    with pytest.raises(InvalidAnswer, match=message):
        as_retriever(method).index(TEXTS)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ([np.ones((2, 3))] * 4, "must return 5 arrays, one a text; it returned 4"),
        ([np.ones((2, 3))] * 4 + [np.ones((2, 4))], r"text 4 came as \(2, 4\), text 0 as \(2, 3\)"),
        ([np.ones((2, 3))] * 4 + [np.ones((0, 3))], r"text 4 came as \(0, 3\)"),
        ([np.ones((2, 3))] * 4 + [np.full((1, 3), np.nan)], "NaN or infinity in 1 of 9 rows, first in row 8"),
    ],
)
def test_token_vectors_that_do_not_fit_are_refused(output: Any, message: str) -> None:
    method = BrokenTokens()
    method.output = output
    with pytest.raises(InvalidAnswer, match=message):
        as_retriever(method).index(TEXTS)


def test_a_reduction_to_other_dimensions_on_each_side_is_refused() -> None:
    class Lopsided(Letters):
        def reduce(self, vectors: NDArray[Any]) -> NDArray[Any]:
            return vectors[:, : len(vectors)]

    with pytest.raises(InvalidAnswer, match="queries have 1 dimensions, documents 5"):
        searched(Lopsided(), ["ab"])
