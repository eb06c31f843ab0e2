"""What is done with answers: exact neighbours, retrieval metrics, summaries of latency; each beside a library."""

from __future__ import annotations

from itertools import combinations, islice
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.stats import latency_summary, wilson
from harness.tasks.hnsw.exact import nearest
from harness.tasks.limit.retrieval.scoring import Relevance, checked_hits, query_scores
from harness.tasks.limit.retrieval.search import top_k

K = 10
N_QUERIES, N_DOCUMENTS, DEPTH = 500, 5_000, 100
SCORES = {"recall@2": "recall_2", "recall@10": "recall_10", "recall@100": "recall_100", "ndcg@10": "ndcg_cut_10"}


@pytest.fixture(scope="module")
def points() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((10_000, 64), dtype=np.float32), rng.standard_normal((100, 64), dtype=np.float32)


@pytest.fixture(scope="module")
def flat_ids(points: Any) -> NDArray[np.int64]:
    """Neighbours by sorting all direct differences in float64."""
    vectors, queries = (side.astype(np.float64) for side in points)
    return np.array([np.argsort(((vectors - q) ** 2).sum(axis=1), kind="stable")[:K] for q in queries])


class TestExactNeighbours:
    pytestmark = pytest.mark.benchmark(group="exact neighbours: 100 queries, 10,000 x 64, float64 but for faiss")

    def test_ours(self, benchmark: Any, points: Any, flat_ids: Any) -> None:
        ids, _ = benchmark(nearest, *points, K, "l2")
        assert (ids == flat_ids).all()

    def test_sklearn(self, benchmark: Any, points: Any, flat_ids: Any) -> None:
        neighbors = pytest.importorskip("sklearn.neighbors", reason="needs scikit-learn")
        vectors, queries = (side.astype(np.float64) for side in points)
        index = neighbors.NearestNeighbors(n_neighbors=K, algorithm="brute").fit(vectors)
        _, ids = benchmark(index.kneighbors, queries)
        assert (ids == flat_ids).all()

    def test_faiss(self, benchmark: Any, points: Any, flat_ids: Any) -> None:
        faiss = pytest.importorskip("faiss", reason="needs faiss-cpu")
        index = faiss.IndexFlatL2(points[0].shape[1])
        index.add(points[0])
        _, ids = benchmark(index.search, points[1], K)
        assert (ids == flat_ids).mean() > 0.999  # in float32, near ties may change places


class TestTopK:
    pytestmark = pytest.mark.benchmark(group="top 10 by inner product: 100 queries, 10,000 x 64, float32")

    @pytest.fixture
    def best(self, points: Any) -> NDArray[np.float32]:
        return np.sort(points[1] @ points[0].T, axis=1)[:, : -K - 1 : -1]

    def test_ours(self, benchmark: Any, points: Any, best: Any) -> None:
        hits = benchmark(top_k, points[1], points[0], K)
        np.testing.assert_allclose(hits.scores, best, rtol=1e-5)

    def test_faiss(self, benchmark: Any, points: Any, best: Any) -> None:
        faiss = pytest.importorskip("faiss", reason="needs faiss-cpu")
        index = faiss.IndexFlatIP(points[0].shape[1])
        index.add(points[0])
        scores, _ = benchmark(index.search, points[1], K)
        np.testing.assert_allclose(scores, best, rtol=1e-5)

    def test_torch(self, benchmark: Any, points: Any, best: Any) -> None:
        torch = pytest.importorskip("torch", reason="needs torch")
        documents, queries = map(torch.from_numpy, points)
        found = benchmark(lambda: torch.topk(queries @ documents.T, K))
        np.testing.assert_allclose(found.values.numpy(), best, rtol=1e-5)


@pytest.fixture(scope="module")
def answer() -> tuple[dict[str, NDArray[Any]], Relevance]:
    """Hits in no order, of which some are among the two documents that each query is about."""
    rng = np.random.default_rng(1)
    pairs = np.array(list(islice(combinations(range(46), 2), N_QUERIES)))
    ids = np.array([rng.choice(N_DOCUMENTS, DEPTH, replace=False) for _ in range(N_QUERIES)])
    ids[::2, 7] = N_DOCUMENTS + 7  # what is replaced must not come twice
    ids[ids < 46] += N_DOCUMENTS
    ids[::2, 7] = pairs[::2, 0]
    ids[::3, 60] = pairs[::3, 1]
    scores = rng.permuted(np.tile(np.arange(DEPTH, dtype=np.float64), (N_QUERIES, 1)), axis=1)
    relevance = Relevance(np.arange(N_QUERIES + 1) * 2, pairs.ravel(), np.ones(2 * N_QUERIES), N_DOCUMENTS + 46)
    return {"ids": ids, "scores": scores}, relevance


@pytest.fixture(scope="module")
def by_trec_eval(answer: Any) -> Any:
    """The evaluator and its way of saying hits, from arrays."""
    pytrec_eval = pytest.importorskip("pytrec_eval", reason="needs pytrec_eval-terrier, which mteb brings")
    hits, relevance = answer
    about = relevance.ids.reshape(-1, 2)
    judged = {f"q{q}": {f"d{d}": 1 for d in pair} for q, pair in enumerate(about)}
    evaluator = pytrec_eval.RelevanceEvaluator(judged, {"recall.2,10,100", "ndcg_cut.10"})

    def run() -> dict[str, dict[str, float]]:
        return {
            f"q{q}": {f"d{d}": s for d, s in zip(ids, scores, strict=True)}
            for q, (ids, scores) in enumerate(zip(hits["ids"].tolist(), hits["scores"].tolist(), strict=True))
        }

    return evaluator, run


class TestMetrics:
    """Both sides from what they are given in their own form: arrays, dictionaries."""

    pytestmark = pytest.mark.benchmark(group="recall and nDCG: 500 queries, 100 hits each")

    def test_ours(self, benchmark: Any, answer: Any, by_trec_eval: Any) -> None:
        evaluator, run = by_trec_eval
        hits = checked_hits(answer[0], N_QUERIES, answer[1].n_documents, DEPTH)
        found = benchmark(query_scores, hits, answer[1])
        expected = evaluator.evaluate(run())
        for ours, theirs in SCORES.items():
            np.testing.assert_allclose(found[ours], [expected[f"q{q}"][theirs] for q in range(N_QUERIES)], atol=1e-12)
        assert 0 < found["ndcg@10"].mean() < 1

    def test_trec_eval(self, benchmark: Any, by_trec_eval: Any) -> None:
        evaluator, run = by_trec_eval
        assert len(benchmark(evaluator.evaluate, run())) == N_QUERIES


class TestScoring:
    """From a child's arrays to scores: checks and order, or the dictionaries."""

    pytestmark = pytest.mark.benchmark(group="scoring: 500 x 100 hits in no order, from arrays")

    def test_ours(self, benchmark: Any, answer: Any, by_trec_eval: Any) -> None:
        def score() -> float:
            hits = checked_hits(answer[0], N_QUERIES, answer[1].n_documents, DEPTH)
            return float(query_scores(hits, answer[1])["recall@10"].mean())

        evaluator, run = by_trec_eval
        expected = np.mean([q["recall_10"] for q in evaluator.evaluate(run()).values()])
        assert benchmark(score) == pytest.approx(expected)

    def test_trec_eval(self, benchmark: Any, by_trec_eval: Any) -> None:
        evaluator, run = by_trec_eval
        assert len(benchmark(lambda: evaluator.evaluate(run()))) == N_QUERIES


SAMPLES = np.random.default_rng(2).lognormal(14, 0.3, 1000).astype(np.int64)


class TestLatencySummary:
    pytestmark = pytest.mark.benchmark(group="summary of 1,000 latency samples")

    def test_ours(self, benchmark: Any) -> None:
        summary = benchmark(latency_summary, SAMPLES.tolist())
        assert (summary.median, summary.p99) == (np.median(SAMPLES), np.sort(SAMPLES)[990])

    def test_numpy(self, benchmark: Any) -> None:
        levels = (0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
        found = benchmark(lambda: (np.quantile(SAMPLES, levels), SAMPLES.std() / SAMPLES.mean()))
        assert found[0][1] == np.median(SAMPLES)


class TestWilson:
    pytestmark = pytest.mark.benchmark(group="Wilson's interval of a proportion")

    def test_ours(self, benchmark: Any) -> None:
        stats = pytest.importorskip("scipy.stats", reason="needs scipy")
        found = benchmark(wilson, 0.873, 1000)
        assert found[:2] == pytest.approx(tuple(stats.binomtest(873, 1000).proportion_ci(method="wilson")))

    def test_scipy(self, benchmark: Any) -> None:
        stats = pytest.importorskip("scipy.stats", reason="needs scipy")
        found = benchmark(lambda: stats.binomtest(873, 1000).proportion_ci(method="wilson"))
        assert found.low < 0.873 < found.high
