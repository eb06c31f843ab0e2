"""`limit/retrieval/search.py`: exact top-k with exact ties, in single and double precision, and MaxSim."""

from __future__ import annotations

import sys
import tracemalloc
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from harness.tasks.limit.retrieval import search
from harness.tasks.limit.retrieval.interface import Hits
from harness.tasks.limit.retrieval.search import max_sim, normalise, top_k


@pytest.fixture(params=["torch", "numpy"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both engines; the second as if torch were not installed."""
    name: str = request.param
    if name == "numpy":
        monkeypatch.setitem(sys.modules, "torch", None)
    else:
        pytest.importorskip("torch")
    return name


def by_definition(scores: NDArray[Any], k: int) -> Hits:
    """Score, then position, both descending, one query at a time."""
    ids = [sorted(range(len(row)), key=lambda j, row=row: (row[j], j), reverse=True)[:k] for row in scores.tolist()]
    chosen = np.array(ids, np.int64).reshape(len(scores), -1)
    return Hits(chosen, np.take_along_axis(scores, chosen, 1).astype(np.float64))


def whole_numbers(rng: np.random.Generator, n: int, d: int, dtype: Any, width: int = 3) -> NDArray[Any]:
    """Small integers: their dot products are exact in any order, so that ties are real and many."""
    return rng.integers(-width, width + 1, (n, d)).astype(dtype)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1), n_queries=st.integers(1, 40), n_documents=st.integers(1, 90),
    k=st.integers(1, 100), dtype=st.sampled_from([np.float16, np.float32, np.float64]), tile=st.integers(1, 64),
)  # fmt: skip
def test_top_k_is_the_definition(seed: int, n_queries: int, n_documents: int, k: int, dtype: Any, tile: int) -> None:
    rng = np.random.default_rng(seed)
    queries, documents = whole_numbers(rng, n_queries, 3, dtype), whole_numbers(rng, n_documents, 3, dtype)
    expected = by_definition(queries.astype(np.float64) @ documents.astype(np.float64).T, k)
    product = search._Product(search._floats(queries))

    def tiles() -> Any:
        for stop in range(n_documents, 0, -tile):
            start = max(0, stop - tile)
            yield start, product(search._floats(documents[start:stop]))

    depth = min(k, n_documents)
    blocked = search._select(n_queries, depth, tiles(), search._floats(queries).dtype)
    for hits in (top_k(queries, documents, k), blocked):
        np.testing.assert_array_equal(hits.ids, expected.ids)
        np.testing.assert_array_equal(hits.scores, expected.scores)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_many_blocks_of_queries_and_documents_agree_with_one(engine: str, dtype: Any) -> None:
    rng = np.random.default_rng(1)
    queries, documents = whole_numbers(rng, 1100, 6, dtype), whole_numbers(rng, 9500, 6, dtype)
    expected = by_definition((queries @ documents.T)[::50], 20)
    hits = top_k(queries, documents, 20)
    np.testing.assert_array_equal(hits.ids[::50], expected.ids)
    np.testing.assert_array_equal(hits.scores[::50], expected.scores)


def test_a_tie_at_the_cut_off_goes_to_the_higher_position(engine: str) -> None:
    documents = np.ones((9000, 4), np.float32)
    hits = top_k(np.ones((3, 4), np.float32), documents, 5)
    np.testing.assert_array_equal(hits.ids, [[8999, 8998, 8997, 8996, 8995]] * 3)


def test_scores_that_rise_with_the_visit_prune_without_loss() -> None:
    """The worst order: every document is better than all that were visited before it."""
    documents = np.arange(30000, 0, -1, dtype=np.float32)[:, None]
    hits = top_k(np.ones((2, 1), np.float32), documents, 1000)
    np.testing.assert_array_equal(hits.ids, [list(range(1000))] * 2)


def test_the_two_zeros_tie(engine: str) -> None:
    documents = np.array([[0.0], [-0.0], [0.0]], np.float32)
    np.testing.assert_array_equal(top_k(np.array([[1.0]], np.float32), documents, 3).ids, [[2, 1, 0]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_score_that_is_not_a_number_never_hits(dtype: Any) -> None:
    documents = np.array([[np.nan], [1.0], [np.nan], [2.0], [-np.inf]], dtype)
    hits = top_k(np.array([[1.0], [np.nan]], dtype), documents, 4)
    np.testing.assert_array_equal(hits.ids, [[3, 1, 4, -1], [-1] * 4])


def test_more_hits_than_documents_are_not_invented() -> None:
    hits = top_k(np.ones((2, 3), np.float32), np.ones((4, 3), np.float32), 100)
    assert hits.ids.shape == hits.scores.shape == (2, 4)
    assert hits.ids.dtype == np.int64
    assert hits.scores.dtype == np.float64


def test_nothing_asked_is_an_empty_answer() -> None:
    assert top_k(np.ones((0, 3), np.float32), np.ones((4, 3), np.float32), 2).ids.shape == (0, 2)


def test_single_precision_is_not_silently_widened() -> None:
    """A difference of 1e-9 exists in double precision only, and decides there."""
    documents = np.array([[1.0 + 1e-9], [1.0]])
    assert top_k(np.array([[1.0]]), documents, 1).ids[0, 0] == 0
    assert top_k(np.array([[1.0]], np.float32), documents.astype(np.float32), 1).ids[0, 0] == 1


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_copies_of_a_document_tie_wherever_they_lie(similarity: Literal["dot", "cosine"]) -> None:
    """Real vectors: matrix products round differently at the edges of a block unless care is taken."""
    pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    for d in (5, 64, 100, 384):
        original = rng.standard_normal((7, d)).astype(np.float32)
        copies = np.tile(original, (1300, 1))[:9001]
        queries = rng.standard_normal((37, d)).astype(np.float32)
        hits = top_k(queries, copies, 9001, similarity)
        order = np.argsort(hits.ids, axis=1)
        scores = np.take_along_axis(hits.scores, order, 1)
        np.testing.assert_array_equal(scores, scores[:, np.arange(9001) % 7])


def test_a_batch_scores_like_any_other_batch() -> None:
    pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    queries, documents = (rng.standard_normal((n, 100)).astype(np.float32) for n in (50, 700))
    whole, part = top_k(queries, documents, 10), top_k(queries[17:20], documents, 10)
    np.testing.assert_array_equal(whole.scores[17:20], part.scores)


def test_cosine_ignores_lengths_and_survives_zero_vectors(engine: str) -> None:
    rng = np.random.default_rng(4)
    queries, documents = rng.standard_normal((20, 8)), rng.standard_normal((60, 8))
    lengths = rng.uniform(0.1, 10, (60, 1))
    scaled = top_k(queries, documents * lengths, 5, "cosine")
    np.testing.assert_array_equal(top_k(queries, documents, 5, "cosine").ids, scaled.ids)
    documents[7] = 0
    hits = top_k(queries, documents, 60, "cosine")
    assert np.isfinite(hits.scores).all()
    assert (hits.scores[hits.ids == 7] == 0).all()


def test_both_engines_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    rng = np.random.default_rng(5)
    queries, documents = (rng.standard_normal((n, 64)).astype(np.float32) for n in (30, 5000))
    with_torch, unit = top_k(queries, documents, 50, "cosine"), normalise(documents)
    monkeypatch.setitem(sys.modules, "torch", None)
    without = top_k(queries, documents, 50, "cosine")
    np.testing.assert_allclose(with_torch.scores, without.scores, atol=1e-6)
    np.testing.assert_allclose(unit, normalise(documents), atol=1e-6)


def test_the_inputs_are_left_alone() -> None:
    rng = np.random.default_rng(6)
    queries, documents = (rng.standard_normal((n, 8)).astype(np.float32) for n in (3, 20))
    before = queries.copy(), documents.copy()
    top_k(queries, documents, 5, "cosine")
    np.testing.assert_array_equal(queries, before[0])
    np.testing.assert_array_equal(documents, before[1])


def test_memory_does_not_grow_with_the_number_of_scores() -> None:
    """5,000 x 20,000 scores are 400 MB; NumPy's share of the memory (all of ours) stays within the stated bound."""
    queries, documents = np.zeros((5000, 2), np.float32), np.random.default_rng(7).random((20000, 2), np.float32)
    queries[:] = 1
    top_k(queries[:10], documents, 10)
    tracemalloc.start()
    try:
        top_k(queries, documents, 100, "cosine")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 120e6


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\) and documents \(4, 5\)"):
        top_k(np.ones((2, 3)), np.ones((4, 5)), 1)


# MaxSim ---------------------------------------------------------------------------------------------------------------


def ragged(
    rng: np.random.Generator, n: int, longest: int, d: int, dtype: Any
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    offsets = np.concatenate([[0], np.cumsum(rng.integers(1, longest + 1, n))])
    return whole_numbers(rng, int(offsets[-1]), d, dtype), offsets


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), n_queries=st.integers(1, 20), n_documents=st.integers(1, 30),
       k=st.integers(1, 40), dtype=st.sampled_from([np.float32, np.float64]))  # fmt: skip
def test_max_sim_is_the_definition(seed: int, n_queries: int, n_documents: int, k: int, dtype: Any) -> None:
    rng = np.random.default_rng(seed)
    asked, asked_at = ragged(rng, n_queries, 5, 4, dtype)
    known, known_at = ragged(rng, n_documents, 12, 4, dtype)
    scores = np.array([
        [(asked[asked_at[q] : asked_at[q + 1]] @ known[known_at[t] : known_at[t + 1]].T).max(axis=1).sum()
         for t in range(n_documents)] for q in range(n_queries)
    ])  # fmt: skip
    expected = by_definition(scores, k)
    hits = max_sim(asked, asked_at, known, known_at, k)
    np.testing.assert_array_equal(hits.ids, expected.ids)
    np.testing.assert_array_equal(hits.scores, expected.scores)


def test_max_sim_in_many_blocks_agrees_with_one(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(8)
    asked, known = ragged(rng, 40, 6, 5, np.float32), ragged(rng, 60, 30, 5, np.float32)
    whole = max_sim(*asked, *known, 25)
    monkeypatch.setattr(search, "TOKENS", 17)
    monkeypatch.setattr(search, "QUERIES", 8)
    blocked = max_sim(*asked, *known, 25)
    np.testing.assert_array_equal(whole.ids, blocked.ids)
    np.testing.assert_array_equal(whole.scores, blocked.scores)


def test_copies_of_a_text_tie_under_max_sim() -> None:
    pytest.importorskip("torch")
    rng = np.random.default_rng(9)
    text = rng.standard_normal((13, 96)).astype(np.float32)
    known, known_at = np.tile(text, (400, 1)), np.arange(401) * 13
    asked, asked_at = rng.standard_normal((40, 96)).astype(np.float32), np.arange(0, 41, 4)
    hits = max_sim(asked, asked_at, known, known_at, 3)
    np.testing.assert_array_equal(hits.ids, [[399, 398, 397]] * 10)


def test_one_vector_a_text_makes_max_sim_a_dot_product(engine: str) -> None:
    rng = np.random.default_rng(10)
    queries, documents = whole_numbers(rng, 30, 6, np.float32), whole_numbers(rng, 70, 6, np.float32)
    late = max_sim(queries, np.arange(31), documents, np.arange(71), 9)
    np.testing.assert_array_equal(late.ids, top_k(queries, documents, 9).ids)


@pytest.mark.parametrize("offsets", [[0, 2, 2, 4], [0, 2], [1, 4]])
def test_offsets_that_skip_tokens_or_texts_are_refused(offsets: list[int]) -> None:
    tokens = np.ones((4, 2), np.float32)
    with pytest.raises(ValueError, match="document offsets must rise from 0 to 4"):
        max_sim(tokens, np.array([0, 4]), tokens, np.array(offsets), 1)
