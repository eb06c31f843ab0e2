"""The maintainer's screen."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.record import Record
from harness.registry import load_registry, plugin_roots, read_baseline_file
from harness.store import Store
from harness.submission import review as reviewing
from harness.submission.review import code_tokens, existing_methods, licence_of, nearest, review, screen

PUBLISHED = Path(__file__).parents[2] / "results"
BASELINES = plugin_roots("baselines")[0][0]


class Opened:
    """As much of an opened submission as a review reads."""

    def __init__(self, root: Path) -> None:
        self.root, self.store, self.requirements = root, Store(root), None
        self.files = sorted(root.glob("baselines/**/*.py"))

    def rows(self) -> list[object]:
        return [row for path in self.files for row in read_baseline_file(path, load_registry().tasks)]


@pytest.fixture
def submitted(tmp_path: Path) -> Path:
    folder = tmp_path / "baselines" / "limit" / "retrieval"
    folder.mkdir(parents=True)
    text = (BASELINES / "limit/retrieval/bm25.py").read_text()
    (folder / "mine.py").write_text(text.replace("class BM25", "class Mine").replace("queries", "asked"))
    return tmp_path


def test_a_copy_with_other_names_and_comments_is_told_by_its_tokens() -> None:
    text = (BASELINES / "limit/retrieval/bm25.py").read_text()
    renamed = text.replace("queries", "asked").replace('"""', '"""Other words. ', 1).replace("BM25(", "Mine(")
    name, share = nearest(renamed, existing_methods())
    assert name == "limit/retrieval/bm25.py" and share > 0.9
    assert nearest(renamed, existing_methods(), leave_out="limit/retrieval/bm25.py")[1] < 0.7


def test_comments_docstrings_and_layout_play_no_part() -> None:
    assert code_tokens("def f(x):\n    '''a'''\n    return x + 1 # b\n") == code_tokens("def g(y):  return y+1")
    assert not code_tokens("not python (")


@pytest.mark.parametrize("terms", [600, 30_000])
def test_a_sum_of_many_terms_is_like_no_other(terms: int) -> None:
    assert not code_tokens("x = " + "+".join(["1"] * terms))


def test_a_file_in_another_encoding_is_read_in_it(submitted: Path) -> None:
    path = next(submitted.rglob("mine.py"))
    path.write_bytes(b"# -*- coding: latin-1 -*-\n# caf\xe9\n" + path.read_bytes())
    (file,) = review(Opened(submitted)).files  # type: ignore[arg-type]
    assert file.nearest.endswith("bm25.py") and file.likeness > 0.8
    assert "caf\u00e9" in reviewing.source_text(path)
    path.write_bytes(b"# caf\xe9\n")  # which Python itself would refuse
    assert "caf" in reviewing.source_text(path)


def test_the_screen_shows_files_imports_and_what_to_do_next(submitted: Path) -> None:
    found = review(Opened(submitted))  # type: ignore[arg-type]
    (file,) = found.files
    assert file.state == "new" and file.nearest.endswith("bm25.py") and file.likeness > 0.8
    assert "bm25s" in {package.name for package in found.packages}
    text = screen(found)
    assert len(text.splitlines()) <= 40 and "harness verify DIR" in text


def test_a_file_that_is_here_is_compared_with_it(submitted: Path) -> None:
    path = submitted / "baselines/limit/retrieval/bm25.py"
    path.write_text((BASELINES / "limit/retrieval/bm25.py").read_text().replace("k1: float = 1.5", "k1: float = 1.2"))
    found = review(Opened(submitted))  # type: ignore[arg-type]
    assert {file.state for file in found.files} == {"new", "+1 -1 lines"}
    lines = list(reviewing.difference(Opened(submitted)))  # type: ignore[arg-type]
    assert "+    k1: float = 1.2" in lines


@pytest.mark.skipif(not (PUBLISHED / "records").is_dir(), reason="the published records are not here")
def test_claims_stand_beside_the_best_row_that_is_known(submitted: Path) -> None:
    known = Store(PUBLISHED)
    record: Record = next(r for r in known.load("limit/retrieval")[0]
                          if r.baseline.name == "tfidf" and r.case.name == "46-dense")  # fmt: skip
    better = [s.model_copy(update={"value": 1.0, "interval": (0.999, 1.0)}) for s in record.scores]
    named = record.baseline.model_copy(update={"name": "mine"})
    Opened(submitted).store.add(record.model_copy(update={"baseline": named, "sidecar": "", "scores": better}))
    (standing,) = review(Opened(submitted), known).standings  # type: ignore[arg-type]
    assert (standing.row, standing.value) == ("mine", 1.0)
    assert standing.best == "random-additive-d2048" and standing.best_value == 1.0  # of an untrained encoder


def test_licences_are_read_from_what_is_installed() -> None:
    from importlib import metadata

    assert licence_of(metadata.metadata("pytest"))
