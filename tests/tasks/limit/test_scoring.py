"""`limit/retrieval/scoring.py`: the checks on an answer, and the scores as trec_eval computes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from harness.task import InvalidAnswer
from harness.tasks.limit.retrieval.scoring import RECALL_DEPTHS, Relevance, checked_hits, query_scores


def relevance_of(judged: list[dict[int, float]], n_documents: int) -> Relevance:
    indptr = np.cumsum([0, *map(len, judged)])
    ids = np.array([i for row in judged for i in row], np.int64)
    return Relevance(indptr, ids, np.array([g for row in judged for g in row.values()], float), n_documents)


def scored(ids: Any, scores: Any, judged: list[dict[int, float]], n_documents: int) -> dict[str, NDArray[np.float64]]:
    answer = {"ids": np.asarray(ids), "scores": np.asarray(scores, float)}
    return query_scores(checked_hits(answer, len(judged), n_documents, 100), relevance_of(judged, n_documents))


@settings(deadline=None, max_examples=80)
@given(st.data())
def test_scores_are_those_of_trec_eval(data: st.DataObject) -> None:
    """Graded judgements, ties, short rows: the same per query as pytrec_eval, to 1e-12."""
    pytrec_eval = pytest.importorskip("pytrec_eval")
    n = data.draw(st.integers(1, 130))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    queries = data.draw(st.integers(1, 8))
    names = [f"d{i:03}" for i in range(n)]
    k = int(rng.integers(1, min(n, 100) + 1))
    ids = np.stack([rng.permutation(n)[:k] for _ in range(queries)])
    scores = rng.integers(0, 5, ids.shape) / 4
    ids[rng.random(ids.shape) < 0.2] = -1
    ids[:, 0] = np.where(ids.max(axis=1) < 0, 0, ids[:, 0])
    picked = [rng.permutation(n)[: rng.integers(1, 25)] for _ in range(queries)]
    judged = [{int(i): float(rng.integers(1, 4)) for i in row} for row in picked]

    ours = scored(ids, scores, judged, n)
    evaluator = pytrec_eval.RelevanceEvaluator(
        {f"q{q}": {names[i]: int(g) for i, g in row.items()} for q, row in enumerate(judged)},
        {"recall.2,10,20,100", "ndcg_cut.10"},
    )
    theirs = evaluator.evaluate({
        f"q{q}": {names[i]: float(s) for i, s in zip(ids[q], scores[q], strict=True) if i >= 0} for q in range(queries)
    })  # fmt: skip
    for q in range(queries):
        for depth in RECALL_DEPTHS:
            assert ours[f"recall@{depth}"][q] == pytest.approx(theirs[f"q{q}"][f"recall_{depth}"], abs=1e-12)
        assert ours["ndcg@10"][q] == pytest.approx(theirs[f"q{q}"]["ndcg_cut_10"], abs=1e-12)


def test_the_order_of_listing_gains_nothing() -> None:
    """Documents 0 and 3 are relevant; all scores are equal, so that the higher ids come first whatever was listed."""
    judged: list[dict[int, float]] = [{0: 1.0, 3: 1.0}]
    for ids in ([0, 3, 2, 1], [3, 2, 1, 0]):
        assert scored([ids], [[0.5] * 4], judged, 4)["recall@2"][0] == 0.5


def test_fewer_hits_than_asked_are_legitimate() -> None:
    ours = scored([[5, -1, -1]], [[1.0, np.nan, np.inf]], [{5: 1.0, 7: 1.0}], 9)
    assert [ours[f"recall@{k}"][0] for k in RECALL_DEPTHS] == [0.5] * 4


def test_a_grade_below_zero_is_not_relevant() -> None:
    ours = scored([[0, 1]], [[2.0, 1.0]], [{0: -1.0, 1: 2.0}], 3)
    assert ours["recall@2"][0] == 1.0
    assert ours["ndcg@10"][0] == pytest.approx(1 / np.log2(3))


GOOD = {"ids": np.array([[0, 1], [2, -1]]), "scores": np.array([[1.0, 0.5], [1.0, 0.0]])}


def test_a_good_answer_passes() -> None:
    np.testing.assert_array_equal(checked_hits(GOOD, 2, 3, 2).ids, GOOD["ids"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ids": np.array([[0, 1]])}, r"ids must have the shape \(2, 1 to 2\), not \(1, 2\)"),
        ({"ids": np.zeros((2, 3), int)}, r"not \(2, 3\)"),
        ({"ids": np.array([0, 1])}, r"not \(2,\)"),
        ({"ids": np.zeros((2, 0), int), "scores": np.zeros((2, 0))}, r"not \(2, 0\)"),
        ({"scores": np.ones((2, 1))}, r"scores must have the shape of ids, \(2, 2\), not \(2, 1\)"),
        ({"ids": np.array([[0.0, 1.0], [2.0, -1.0]])}, "ids must be integers .* not float64"),
        ({"scores": np.ones((2, 2), int)}, "scores must be floats, not int64"),
        ({"scores": np.array([["a", "b"], ["c", "d"]])}, "scores must be floats, not <U1"),
        ({"ids": np.array([[0, 1], [3, -1]])}, "query 1 names document 3, but positions go from 0 to 2"),
        ({"ids": np.array([[0, -2], [2, -1]])}, "query 0 names document -2"),
        ({"ids": np.array([[0, 2**64 - 1], [1, 2]], np.uint64)}, "query 0 names document 18446744073709551615"),
        ({"ids": np.array([[1, 1], [2, 2]])}, r"query 0 lists document 1 twice \(and 1 other query does the like\)"),
        ({"ids": np.array([[0, 1], [-1, -1]])}, "query 1 has no hit at all"),
        ({"scores": np.array([[1.0, np.nan], [1.0, 0.0]])}, "query 0 gives document 1 the score nan"),
        ({"scores": np.array([[1.0, 0.0], [-np.inf, 0.0]])}, "query 1 gives document 2 the score -inf"),
    ],
)
def test_an_answer_that_breaks_the_contract_is_refused_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidAnswer, match=message):
        checked_hits({**GOOD, **change}, 2, 3, 2)


def test_an_answer_without_scores_says_what_it_has() -> None:
    with pytest.raises(InvalidAnswer, match=r"no scores; it has \['ids'\]"):
        checked_hits({"ids": GOOD["ids"]}, 2, 3, 2)
