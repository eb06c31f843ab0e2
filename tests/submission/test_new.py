"""What `harness new` writes runs as it is."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from harness.cli import main
from harness.cli.new import write_new
from harness.errors import UsageError
from harness.registry import load_registry, read_baseline_file
from harness.submission.look import look_at
from harness.submission.templates import baseline_text, names_of, smallest_case, text_of_test

TASKS = sorted(load_registry().tasks)


def load(path: Path) -> ModuleType:
    found = util.spec_from_file_location(path.stem, path)
    assert found and found.loader
    module = util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def make(tmp_path: Path, task: str) -> Any:
    """An instance of the method that the template of a task is."""
    assert main(["new", "baseline", task, "word-overlap", "--out", str(tmp_path)]) == 0
    return load(tmp_path / "word_overlap.py").WordOverlap()


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_a_template_with_two_rows_and_nothing_to_find_fault_with(tmp_path: Path, task: str) -> None:
    registry = load_registry()
    spec = registry.tasks[task]
    assert (spec.path.parent / "template.py.txt").is_file()
    assert main(["new", "baseline", task, "word-overlap", "--out", str(tmp_path)]) == 0
    rows = read_baseline_file(tmp_path / "word_overlap.py", registry.tasks)
    assert rows[0].name == "word-overlap" and len(rows) == 2 and rows[0].task == task
    assert rows[0].params != rows[1].params
    assert {f.verdict for f in look_at(tmp_path / "word_overlap.py", spec, rows)} == {"ok"}
    test = (tmp_path / "test_word_overlap.py").read_text()
    ast.parse(test)
    assert smallest_case(spec).name in test and "word-overlap" in test
    assert 'mine > table.loc["random"' in test or task == "compression/subspace"


def test_templates_and_tests_are_written_as_the_project_is(tmp_path: Path) -> None:
    ruff = shutil.which("ruff")
    if ruff is None:
        pytest.skip("ruff is not installed")
    for task in TASKS:
        main(["new", "baseline", task, "word-overlap", "--out", str(tmp_path / task.replace("/", "_"))])
    config = ["--config", str(Path(__file__).parents[2] / "pyproject.toml"), "--no-cache"]
    for words in (["check"], ["format", "--check"]):
        ran = subprocess.run([ruff, *words, *config, str(tmp_path)], check=False, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stdout


def test_the_retrieval_template_gives_one_vector_a_text_and_the_same_for_other_capitals(tmp_path: Path) -> None:
    method = make(tmp_path, "limit/retrieval")
    vectors = method.encode(["Ann likes Tea.", "ann likes tea", "", "Ben"])
    assert vectors.shape == (4, 256) and np.array_equal(vectors[0], vectors[1]) and not vectors[2].any()


def test_the_template_of_free_embeddings_gives_unit_vectors_that_answer_three_documents(tmp_path: Path) -> None:
    from harness.tasks.limit.free.interface import smallest_margin

    queries, documents = make(tmp_path, "limit/free").fit(3, 4)
    assert np.allclose(np.linalg.norm(queries, axis=1), 1) and smallest_margin(queries, documents) > 0


def test_the_index_template_finds_all_where_it_looks_at_all_centres(tmp_path: Path) -> None:
    method = make(tmp_path, "hnsw")
    vectors = np.random.default_rng(0).standard_normal((60, 5)).astype(np.float32)
    method.build(vectors, "l2")
    method.set_effort(method.centres)
    found = method.search(vectors[:7], 3)
    assert found.shape == (7, 3) and found[:, 0].tolist() == list(range(7))
    method.set_effort(1)
    assert (method.search(vectors[:7], 60) == -1).any()


def test_the_codec_template_gives_back_what_it_was_given_to_half_a_step(tmp_path: Path) -> None:
    method = make(tmp_path, "compression/vectors")
    vectors = np.random.default_rng(0).standard_normal((20, 6)).astype(np.float32)
    method.state = method.fit(vectors)
    codes = method.code(vectors)
    assert codes.dtype == np.uint8 and codes.shape == vectors.shape
    assert np.abs(method.decode(codes) - vectors).max() <= method.state["step"][0] * 0.51


def test_the_compressor_template_gives_back_a_matrix_to_half_a_step(tmp_path: Path) -> None:
    method = make(tmp_path, "compression/weights")
    matrix = np.random.default_rng(0).standard_normal((4, 9)).astype(np.float32)
    again = method.restore(method.shrink(matrix), matrix.shape)
    assert again.dtype == np.float32 and np.abs(again - matrix).max() <= np.abs(matrix).max() / 127 * 0.51


def test_a_task_without_a_template_gets_what_its_interface_asks_for(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("harness.submission.templates.TEMPLATE", "absent.txt")
    registry = load_registry()
    for task in registry.tasks.values():
        path = tmp_path / "later.py"
        path.write_text(baseline_text(task, "later"))
        row = read_baseline_file(path, registry.tasks)[0]
        assert (row.task, row.name) == (task.name, "later")
        method = load(path).Later()
        assert any(name in vars(type(method)) for name in ("index", "fit", "build", "code", "encode", "project"))


def test_the_family_with_several_tasks_says_which_one_was_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", "baseline", "limit", "mine", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "this is for limit/retrieval" in said and "limit/free" in said and "next: harness check" in said


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["baseline", "limit/retreival", "mine"], "did you mean"),
        (["baseline", "limit/retrieval", "bm25"], "has a row bm25 already"),
        (["baseline", "limit/retrieval", "../mine"], "can be no name"),
        (["baseline", "limit/retrieval", "9lives"], "can be no name"),
        (["baseline", "limit/retrieval", "import"], "cannot be the name"),
        (["baseline", "limit/retrieval", "test-mine"], "cannot be the name"),
        (["task", "limit"], "there is a task limit already"),
    ],
)
def test_a_name_that_cannot_be_is_an_error_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], part: str
) -> None:
    assert main(["new", *words, "--out", str(tmp_path / "new")]) == 2
    assert part in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_no_file_is_ever_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "test_mine.py").write_text("precious")
    assert main(["new", "baseline", "hnsw", "mine", "--out", str(tmp_path)]) == 2
    assert "is left as it is" in capsys.readouterr().err
    assert (tmp_path / "test_mine.py").read_text() == "precious" and not (tmp_path / "mine.py").exists()


def test_files_that_cannot_all_be_written_leave_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="try --out"):
        write_new({tmp_path / "new" / "a" / "x.py": "x", tmp_path / "file" / "y.py": "y"})
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("name", ["word-overlap", "Word_Overlap", "WORD overlap"])
def test_one_name_makes_a_row_a_file_and_a_class(name: str) -> None:
    row, module, class_name = names_of(name)
    assert (row, module) == ("word-overlap", "word_overlap") and class_name.lower() == "wordoverlap"


def test_the_test_of_a_task_where_less_is_better_compares_the_other_way(monkeypatch: Any) -> None:
    from dataclasses import replace

    spec = load_registry().tasks["hnsw"]
    turned = replace(spec, scores=(replace(spec.main_score, higher_is_better=False),))
    text = text_of_test(turned, load_registry().rows(spec), "mine")
    assert 'mine < table.loc["random"' in text and 'mine >= table.loc["oracle"' in text


@pytest.mark.slow
def test_a_new_task_is_found_by_its_entry_points_and_runs(tmp_path: Path, harness_cli: Callable[..., Any]) -> None:
    """Three seconds: its metadata are made as an installation makes them, and it runs with its methods."""
    package = tmp_path / "most-frequent"
    assert main(["new", "task", "most-frequent", "--out", str(package)]) == 0
    (package / "meta").mkdir()
    made = "import setuptools.build_meta as b; b.prepare_metadata_for_build_wheel('meta')"
    subprocess.run([sys.executable, "-c", made], cwd=package, check=True, capture_output=True)
    where = os.pathsep.join([str(package), str(package / "meta"), *filter(None, [os.environ.get("PYTHONPATH")])])
    ran = subprocess.run(
        [sys.executable, "-m", "harness", "run", "--task", "most_frequent", "--scale", "smoke", "--json",
         "--results", "results"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": where}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    rows = {json.loads(p.read_text())["baseline"]["name"]: json.loads(p.read_text())
            for p in tmp_path.glob("results/records/*/*/*.json")}  # fmt: skip
    score = {name: row["scores"][0]["value"] for name, row in rows.items()}
    assert score["random"] < score["counting"] < score["counting-100"] == score["oracle"] == 1.0
