"""The light retrieval baselines, what they share, and models from a folder of the user's."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from harness.baselines.limit.retrieval.bm25 import BM25
from harness.baselines.limit.retrieval.hashed_ngrams import HashedNgrams
from harness.baselines.limit.retrieval.mteb_model import MtebModel
from harness.baselines.limit.retrieval.random import Random
from harness.baselines.limit.retrieval.random_additive import RandomAdditive, items, words
from harness.baselines.limit.retrieval.sentence_transformer import SentenceTransformerModel
from harness.baselines.limit.retrieval.tfidf import TfIdf
from harness.errors import Unsupported
from harness.registry import load_registry
from harness.task import Context
from harness.tasks.limit.retrieval.adapters import Method, as_retriever
from harness.tasks.limit.retrieval.corpus import Corpus
from harness.tasks.limit.retrieval.generate import generate
from harness.tasks.limit.retrieval.interface import Hits
from harness.tasks.limit.retrieval.provenance import digest_files, digest_parameters
from harness.tasks.limit.retrieval.ranking import best, best_in_blocks
from harness.tasks.limit.retrieval.scoring import Relevance, checked_hits, query_scores

TASK = "limit/retrieval"
LIGHT = [row for row in load_registry().baselines if row.task == TASK and row.cost == "light"]
TWINS = ["Ann likes Tea and Figs.", "Bob likes Tea and Figs.", "Cid likes Tea and Figs.", "Dee likes Salt and Snow."]


def made(row: Any, seed: int = 7) -> Method:
    method: Method = getattr(importlib.import_module(row.module), row.class_name)()
    for name, value in row.params.items():
        setattr(method, name, value)
    method.context = Context(seed=seed)
    method.load()
    return method


def searched(method: Method, documents: Sequence[str], queries: Sequence[str], k: int = 100) -> Hits:
    retriever = as_retriever(method)
    retriever.index(documents)
    return retriever.search(queries, min(k, len(documents)))


def recall(method: Method, corpus: Corpus) -> float:
    """Mean recall@2."""
    truth = Relevance(corpus.relevant_indptr, corpus.relevant_ids, corpus.relevance, len(corpus.documents))
    ids, scores = searched(method, corpus.documents, corpus.queries)
    hits = checked_hits({"ids": ids, "scores": scores}, truth.n_queries, truth.n_documents, 100)
    return float(query_scores(hits, truth)["recall@2"].mean())


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return generate(46, "dense", 0)


# All light rows -------------------------------------------------------------------------------------------------------


def test_the_rows_that_the_task_promises_are_there() -> None:
    rows = {row.name for row in load_registry().baselines if row.task == TASK}
    assert rows >= {
        "random", "bm25", "bm25-unstemmed", "tfidf", "hashed-ngrams", "random-additive-d512", "minilm",
        "minilm-d8", "minilm-maxsim", "minilm-maxsim-d64",
    }  # fmt: skip
    assert {row.prefix for row in load_registry().baselines if row.task == TASK} >= {"st", "mteb"}


@pytest.mark.parametrize("row", LIGHT, ids=lambda row: row.name)
def test_two_runs_and_two_batchings_give_the_same_hits(row: Any, corpus: Corpus) -> None:
    once, again = (searched(made(row), corpus.documents, corpus.queries[:40], 10) for _ in range(2))
    np.testing.assert_array_equal(once.ids, again.ids)
    np.testing.assert_array_equal(once.scores, again.scores)
    method = as_retriever(made(row))
    method.index(corpus.documents)
    single = [method.search([query], 10).ids[0] for query in corpus.queries[:40]]
    np.testing.assert_array_equal(once.ids, single)


@pytest.mark.parametrize("row", LIGHT, ids=lambda row: row.name)
def test_a_query_of_unknown_words_and_an_empty_text_still_get_an_answer(row: Any) -> None:
    ids, scores = searched(made(row), [*TWINS, "?"], ["Who likes Zyx?", "", "who"], 2)
    assert ids.shape == (3, 2)
    assert np.isfinite(scores).all()
    assert all(len(set(found)) == 2 for found in ids.tolist())


@pytest.mark.parametrize("row", LIGHT, ids=lambda row: row.name)
def test_a_second_index_forgets_the_first(row: Any, corpus: Corpus) -> None:
    method = made(row)
    searched(method, corpus.documents, corpus.queries[:3])
    assert searched(method, TWINS, ["Who likes Tea?"]).ids.max() == len(TWINS) - 1


@pytest.mark.parametrize("row", [r for r in LIGHT if r.class_name != "Random"], ids=lambda row: row.name)
def test_the_higher_position_is_preferred_at_the_cut_off(row: Any) -> None:
    documents = ["likes Tea and Figs.", "likes Tea and Figs.", "likes Tea and Figs.", "likes Salt and Snow."]
    assert searched(made(row), documents, ["Who likes Tea?"], 2).ids.tolist() == [[2, 1]]


# Each method by itself ------------------------------------------------------------------------------------------------


def test_random_is_at_chance_and_differs_between_seeds(corpus: Corpus) -> None:
    found = []
    for seed in (1, 2):
        method = Random()
        method.context = Context(seed=seed)
        found.append(searched(method, corpus.documents, corpus.queries).ids)
        # 2 of 46: 1,000 queries have a standard error of 0.3 points
        assert recall(method, corpus) == pytest.approx(2 / 46, abs=0.015)
    assert (found[0] != found[1]).any()


def test_stems_make_one_word_of_two() -> None:
    documents = ["Ann likes Painting.", "Bob likes Paints.", "Cid likes Snow."]
    for stem, hits in ((True, 2), (False, 1)):
        method = BM25()
        method.stem = stem
        method.load()
        assert np.count_nonzero(searched(method, documents, ["Painting"]).scores) == hits


def test_bm25_scores_by_its_equation() -> None:
    documents = ["alpha beta beta", "alpha gamma", "delta"]
    method = BM25()
    method.load()
    scores = dict(zip(*(part[0].tolist() for part in searched(method, documents, ["beta"])), strict=True))
    # Lucene's form drops the constant factor k1 + 1 and adds 1 within the logarithm.
    idf = np.log(1 + (3 - 1 + 0.5) / (1 + 0.5))
    assert scores[0] == pytest.approx(idf * 2 / (2 + 1.5 * (1 - 0.75 + 0.75 * 3 / 2)), rel=1e-6)
    assert scores[1] == scores[2] == 0


def test_tfidf_ranks_the_rare_word_above_the_common_one() -> None:
    hits = searched(TfIdf(), ["tea salt", "tea snow", "tea figs", "cocoa figs"], ["tea cocoa"])
    assert hits.ids[0, 0] == 3


def test_hashed_ngrams_are_the_cosine_of_log_counts_by_bucket() -> None:
    method = HashedNgrams()
    method.dimension = 97

    def plain(text: str) -> NDArray[np.float64]:
        from zlib import crc32

        vector = np.zeros(97)
        for word in text.lower().split():
            marked = f"^{word}$"
            for n, weight in ((3, 1), (4, 5), (5, 10)):
                for i in range(len(marked) - n + 1):
                    vector[crc32(marked[i : i + n].encode()) % 97] += weight
        vector = np.log1p(vector)
        return vector / np.linalg.norm(vector)

    hits = searched(method, TWINS, ["Who likes Salt?"])
    expected = [plain(TWINS[i]) @ plain("Who likes Salt?") for i in hits.ids[0]]
    np.testing.assert_allclose(hits.scores[0], expected, rtol=1e-5)


@pytest.mark.parametrize("method", [HashedNgrams, RandomAdditive])
def test_more_dimensions_answer_more_queries(method: Any, corpus: Corpus) -> None:
    found = []
    for dimension in (32, 256, 2048):
        made = method()
        made.dimension = dimension
        found.append(recall(made, corpus))
    assert found == sorted(found)
    assert found[2] - found[0] > 0.3


def test_items_come_from_the_text_alone_and_alike_on_both_sides() -> None:
    listed = items("Ann Lee likes Tea, Salt and Pepper, Elm Trees and Figs.")
    assert listed == ["Tea", "Salt", "Pepper", "Elm Trees", "Figs"]
    assert items("Who likes Salt and Pepper?") == ["Salt", "Pepper"]
    assert items("no such verb, here") == ["no such verb", "here"]
    assert items("") == []
    assert words("Who likes Elm Trees?") == ["who", "likes", "elm", "trees"]


def test_a_text_is_the_sum_of_unit_vectors_of_its_items() -> None:
    method = RandomAdditive()
    tea, figs, both, nothing = method.encode(["Who likes Tea?", "Who likes Figs?", "Ann likes Tea and Figs.", ""])
    np.testing.assert_allclose([np.linalg.norm(tea), np.linalg.norm(figs)], 1, rtol=1e-5)
    np.testing.assert_allclose(tea + figs, both, atol=1e-6)
    assert not nothing.any()
    assert method.encode([""]).shape == (1, method.dimension)


# Ranking --------------------------------------------------------------------------------------------------------------


@given(
    scores=st.lists(st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), min_size=7, max_size=7), min_size=1, max_size=5),
    k=st.integers(1, 9),
)
def test_the_best_are_those_of_a_full_sort_by_score_then_position(scores: list[list[float]], k: int) -> None:
    table = np.array(scores, np.float32)
    expected = [sorted(range(7), key=lambda i: (-row[i], -i))[:k] for row in scores]
    assert best(table, k).ids.tolist() == expected
    blocks = best_in_blocks(lambda first, last: table[first:last], len(table), 7, k)
    assert blocks.ids.tolist() == expected
    np.testing.assert_array_equal(blocks.scores, np.take_along_axis(table, blocks.ids, 1))


def test_blocks_stay_within_their_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.tasks.limit.retrieval.ranking.BLOCK_SCORES", 20)
    asked: list[tuple[int, int]] = []

    def score(first: int, last: int) -> NDArray[Any]:
        asked.append((first, last))
        return np.arange((last - first) * 9.0).reshape(-1, 9)

    assert best_in_blocks(score, 5, 9, 1).ids.ravel().tolist() == [8] * 5
    assert asked == [(0, 2), (2, 4), (4, 5)]


# Models of the user's -------------------------------------------------------------------------------------------------


def save_tiny(folder: Path, vocabulary: Sequence[str], similarity: str, prompts: dict[str, str]) -> Path:
    """A sentence-transformers model of random word vectors, which needs no network and no training."""
    transformers = pytest.importorskip("sentence_transformers")
    from sentence_transformers.models import StaticEmbedding
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.normalizers import Lowercase
    from tokenizers.pre_tokenizers import Whitespace

    known = {word: i for i, word in enumerate(["[UNK]", *vocabulary])}
    tokenizer = Tokenizer(WordLevel(known, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = Lowercase(), Whitespace()
    vectors = np.random.default_rng(0).standard_normal((len(known), 8), dtype=np.float32)
    model = transformers.SentenceTransformer(
        modules=[StaticEmbedding(tokenizer, embedding_weights=vectors)], device="cpu", prompts=prompts,
        similarity_fn_name=similarity,
    )  # fmt: skip
    model.save(str(folder))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A dozen words, a prompt for queries, dot product."""
    vocabulary = ["who", "likes", "tea", "figs", "salt", "snow", "ann", "bob", "query", ":", ".", "?"]
    return save_tiny(tmp_path / "tiny", vocabulary, "dot", {"query": "query: "})


def register(monkeypatch: pytest.MonkeyPatch, folder: Path, **loader_kwargs: Any) -> str:
    """Make mteb know the model in `folder` by a name, as it knows those of its registry."""
    mteb = pytest.importorskip("mteb")
    from mteb.models import ModelMeta, SentenceTransformerEncoderWrapper

    def loader(name: str, revision: str | None = None, device: str | None = None, **kwargs: Any) -> Any:
        return SentenceTransformerEncoderWrapper(str(folder), device=device, **kwargs)

    meta = ModelMeta.create_empty(
        overwrites={"name": "harness/tiny", "revision": "one", "loader": loader, "loader_kwargs": loader_kwargs,
                    "similarity_fn_name": "dot"}
    )  # fmt: skip
    registry = importlib.import_module("mteb.models.get_model_meta").MODEL_REGISTRY
    monkeypatch.setitem(registry, "harness/tiny", meta)
    assert mteb.get_model_meta("harness/tiny").revision == "one"
    return "harness/tiny"


@pytest.fixture(params=[SentenceTransformerModel, MtebModel])
def adapter(request: pytest.FixtureRequest, folder: Path) -> Any:
    if request.param is MtebModel:
        pytest.importorskip("mteb")
    method = request.param()
    method.model = str(folder)
    method.load()
    return method


def test_a_model_in_a_folder_encodes_with_its_own_prompt_and_similarity(adapter: Any, folder: Path) -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    np.testing.assert_allclose(adapter.encode(TWINS), model.encode(TWINS), atol=1e-6)
    queries = ["Who likes Tea?", "Who likes Snow?"]
    prompted = model.encode([f"query: {query}" for query in queries])
    np.testing.assert_allclose(adapter.encode_queries(queries), prompted, atol=1e-6)
    hits = searched(adapter, TWINS, queries, 4)
    products = prompted @ model.encode(TWINS).T
    np.testing.assert_allclose(hits.scores, np.take_along_axis(products, hits.ids, 1), rtol=1e-5, atol=1e-6)


def test_a_model_is_described_by_what_decides_its_vectors(adapter: Any, folder: Path) -> None:
    adapter.encode(TWINS)
    described = dict(adapter.describe())
    json.dumps(described, allow_nan=False)
    (weights,) = folder.rglob("*.safetensors")
    assert described["weights_digest"] == sha256(weights.read_bytes()).hexdigest()
    assert json.loads(str(described["prompts"])) == {"query": "query: "}
    assert described["similarity"] == "dot"
    assert described["dtype"] == "float32"
    assert described["remote_code"] is False
    assert described["max_tokens"] is None


def test_a_folder_that_compares_by_distance_is_unsupported_not_misread(folder: Path) -> None:
    path = folder / "config_sentence_transformers.json"
    path.write_text(path.read_text("utf-8").replace('"dot"', '"euclidean"'), "utf-8")
    for kind in (SentenceTransformerModel, MtebModel):
        method = kind()
        method.model = str(folder)
        with pytest.raises(Unsupported, match="compares by euclidean"):
            method.load()


def test_a_name_that_mteb_knows_is_loaded_with_its_revision(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named, placed = MtebModel(), MtebModel()
    named.model, placed.model = register(monkeypatch, folder), str(folder)
    for method in (named, placed):
        method.load()
    np.testing.assert_array_equal(named.encode(TWINS), placed.encode(TWINS))
    np.testing.assert_array_equal(named.encode_queries(["Who likes Tea?"]), placed.encode_queries(["Who likes Tea?"]))
    assert named.describe()["revision"] == "one"
    assert named.describe()["weights_digest_of"] == "parameters"


def test_a_model_with_code_of_its_own_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    method = MtebModel()
    method.model = register(monkeypatch, folder, trust_remote_code=True)
    with pytest.raises(Unsupported, match="runs code from the hub"):
        method.load()


def test_a_model_of_mteb_that_is_no_encoder_is_unsupported() -> None:
    pytest.importorskip("mteb")
    method = MtebModel()
    method.model = "mteb/baseline-bm25s"
    with pytest.raises(Unsupported, match="no encoder of single vectors"):
        method.load()


@pytest.mark.slow
def test_mteb_evaluates_a_model_to_the_same_scores(corpus: Corpus, tmp_path: Path) -> None:
    mteb = pytest.importorskip("mteb")
    from datasets import Dataset

    seen = sorted({word for text in [*corpus.documents, *corpus.queries] for word in words(text)})
    method = MtebModel()
    method.model = str(save_tiny(tmp_path / "tiny", seen, "cosine", {}))
    method.load()
    task = mteb.get_task("LIMITSmallRetrieval")
    relevant = {
        name: {corpus.document_ids[i]: 1 for i in corpus.relevant(query).tolist()}
        for query, name in enumerate(corpus.query_ids)
    }
    documents = {"id": corpus.document_ids, "title": [""] * 46, "text": corpus.documents}
    split = {
        "corpus": Dataset.from_dict(documents), "relevant_docs": relevant, "top_ranked": None,
        "queries": Dataset.from_dict({"id": corpus.query_ids, "text": corpus.queries}),
    }  # fmt: skip
    task.dataset, task.data_loaded = {"default": {"test": split}}, True
    theirs = mteb.evaluate(method.encoder, task, cache=None).task_results[0].scores["test"][0]
    truth = Relevance(corpus.relevant_indptr, corpus.relevant_ids, corpus.relevance, 46)
    ids, scores = searched(method, corpus.documents, corpus.queries)
    ours = query_scores(checked_hits({"ids": ids, "scores": scores}, 1000, 46, 100), truth)
    for name in ("recall@2", "recall@10", "recall@20", "ndcg@10"):
        assert round(float(ours[name].mean()), 5) == theirs[name.replace("@", "_at_")]


def test_a_digest_is_that_of_sha256sum_and_changes_with_any_file(tmp_path: Path) -> None:
    first, second = tmp_path / "a.bin", tmp_path / "b.bin"
    first.write_bytes(b"one")
    second.write_bytes(b"two")
    assert digest_files([first]) == sha256(b"one").hexdigest()
    both = digest_files([first, second])
    second.write_bytes(b"2")
    assert len({both, digest_files([first, second]), digest_files([first])}) == 3


def test_parameters_in_memory_have_a_digest_of_their_own() -> None:
    torch = pytest.importorskip("torch")
    layer = torch.nn.Linear(3, 2)
    before = digest_parameters(layer)
    assert before == digest_parameters(layer)
    with torch.no_grad():
        layer.bias[0] += 1
    assert digest_parameters(layer) != before
