"""What `harness check` says of files that are well, and of files that are not."""

from __future__ import annotations

import json
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.cli import main
from harness.plan import Request
from harness.record import ScoreValue
from harness.registry import load_registry, read_baseline_file
from harness.submission import check
from harness.submission.awkward import LONG, STRANGE, Asker, awkward_questions, plain_question
from harness.submission.look import Finding, look_at
from harness.task import Draw

GOOD = '''
import numpy as np
from harness.tasks.limit.free import FreeEmbedder, Vectors
from harness.tasks.limit.free.interface import all_pairs


class Mine(FreeEmbedder):
    """Each query between its two documents."""

    def fit(self, n: int, d: int) -> Vectors:
        points = np.random.default_rng([self.context.seed, n]).standard_normal((n, d))
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        first, second = all_pairs(n)
        queries = points[first] + points[second]
        return Vectors(queries / np.linalg.norm(queries, axis=1, keepdims=True), points)
'''
CARELESS = '''
import time

import numpy as np
from harness.tasks.hnsw import Index


class Mine(Index):
    """Mostly right."""

    def build(self, vectors, metric):
        if not vectors.any(axis=1).all():
            raise ValueError("cannot normalise what is zero")
        self.vectors = np.array(vectors)

    def search(self, queries, k):
        far = -2 * queries @ self.vectors.T + (self.vectors**2).sum(axis=1)
        far[:, time.time_ns() % len(self.vectors)] = 1e9
        return far.argsort(axis=1)[:, :k]
'''


def look(tmp_path: Path, text: str, **neighbours: str) -> list[Finding]:
    path = tmp_path / "mine.py"
    path.write_text(textwrap.dedent(text))
    for name, more in neighbours.items():
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(more))
    tasks = load_registry().tasks
    rows = read_baseline_file(path, tasks)
    return look_at(path, tasks[rows[0].task], rows)


def found(findings: list[Finding], name: str) -> list[tuple[str, str]]:
    return [(f.verdict, f.text) for f in findings if f.check == name]


def test_a_good_file_passes_every_check_by_being_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.py"
    path.write_text(GOOD)
    assert main(["check", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    said = {line.split()[1]: line for line in lines if line.startswith("ok")}
    assert said.keys() == {"interface", "imports", "smoke", "controls", "determinism", "bad"}
    assert "critical_n: random 2, mine 3, oracle 1000" in said["controls"]
    assert "to the bit" in said["determinism"]
    assert lines[-2] == f"next: harness run --task limit/free --baseline {path}"
    assert lines[-1] == f"then: harness submit {path}"


def test_an_index_that_looks_at_the_clock_and_fails_on_zeros_is_told_so(tmp_path: Path) -> None:
    """On a case of its own that is small, in processes of its own."""
    path = tmp_path / "mine.py"
    path.write_text(CARELESS)
    tasks = load_registry().tasks
    rows = read_baseline_file(path, tasks)
    case = next(case for case in tasks["hnsw"].cases if case.name == "subspace-8")
    small = replace(case, params={**case.params, "dim": 16, "n": 600})
    request = Request([tasks["hnsw"]], {"hnsw": rows}, device="cpu")
    with Asker(request, small, tmp_path) as asker:
        (random,) = check._determinism(asker, rows, 0.0)
        *failed, got_on = check._bad_inputs(asker, rows[0])
    assert random.verdict == "failed" and "differently: mine" in random.text
    assert [f.verdict for f in failed] == ["failed"] and "a vector of zeros" in failed[0].text
    assert "what is zero" in failed[0].text and "Unsupported" in failed[0].do
    assert got_on.verdict == "ok" and "one item of each" in got_on.text


def test_what_fails_is_said_with_what_to_do_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.py"
    path.write_text("x = 1")
    assert main(["check", str(path), "--format", "json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert not said["ok"] and said["next"] == [f"mend what failed, and again: harness check {path}"]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("x = (", "syntax error"),
        ("x = 1", "no baseline class found"),
        (GOOD.replace('documents."""', 'documents."""\n\n    a: int = int(3)'), "is not a literal"),
        (GOOD.replace('documents."""', 'documents."""\n\n    requires = "torch"'), "must be a tuple"),
    ],
)
def test_a_file_that_is_no_baseline_fails_with_the_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, part: str
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text)
    assert main(["check", str(path)]) == 1
    said = capsys.readouterr().out
    assert said.startswith("failed   interface") and part in said and "-> mend it" in said


def test_a_missing_package_ends_the_checks_with_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(GOOD.replace('documents."""', 'documents."""\n\n    requires = ("absent_package",)'))
    assert main(["check", str(path)]) == 1
    assert "absent_package is not installed" in capsys.readouterr().out


def test_a_class_without_a_docstring_fails_and_a_number_without_a_type_is_pointed_out(tmp_path: Path) -> None:
    text = GOOD.replace('    """Each query between its two documents."""', "    strength = 3.5")
    findings = look(tmp_path, text)
    assert [verdict for verdict, _ in found(findings, "interface")] == ["ok", "failed", "warning"]
    assert "strength has no type" in found(findings, "interface")[2][1]


def test_imports_outside_of_requires_fail_and_early_ones_are_pointed_out(tmp_path: Path) -> None:
    text = "import torch\n" + GOOD.replace("points = np", "import scipy.linalg\n        points = np").replace(
        'documents."""', 'documents."""\n\n    requires = ("torch",)'
    )
    findings = look(tmp_path, text)
    said = found(findings, "imports")
    assert [verdict for verdict, _ in said] == ["failed", "warning"]
    assert "imports scipy, which `requires` does not name" in said[0][1] and "imports torch with the file" in said[1][1]
    assert "requires = ('torch', 'scipy',)" in next(f.do for f in findings if f.verdict == "failed")


def test_types_only_and_neighbours_need_not_be_required(tmp_path: Path) -> None:
    text = "from typing import TYPE_CHECKING\nimport helper\nif TYPE_CHECKING:\n    import torch\n" + GOOD
    assert [v for v, _ in found(look(tmp_path, text, helper="import json"), "imports")] == ["ok"]


def test_the_imports_of_a_neighbour_count_as_well(tmp_path: Path) -> None:
    findings = look(tmp_path, "import helper\n" + GOOD, helper="import scipy")
    assert "helper.py:1 imports scipy" in found(findings, "imports")[0][1]


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("import socket", "imports socket (the network)"),
        ("from urllib.request import urlopen", "imports urllib (the network)"),
        ("import subprocess", "imports subprocess (other programs)"),
        ("import pickle", "imports pickle (pickles)"),
        ("import os; os.system('ls')", "calls os.system"),
        ("open('x.txt', 'w')", "writes a file"),
        ("open('x.txt', mode='ab')", "writes a file"),
        ("eval('1')", "calls eval"),
    ],
)
def test_what_reaches_beyond_the_method_is_pointed_out(tmp_path: Path, line: str, part: str) -> None:
    said = found(look(tmp_path, GOOD + f"\n\ndef more() -> None:\n    {line}\n"), "reach")
    assert [verdict for verdict, _ in said] == ["warning"] and part in said[0][1] and "mine.py:19" in said[0][1]


@pytest.mark.parametrize("path", ["/home/ann/vectors.npy", "/data/x", "~/models", "C:\\\\models\\\\x"])
def test_a_place_of_this_machine_is_pointed_out(tmp_path: Path, path: str) -> None:
    assert found(look(tmp_path, GOOD + f'\nWHERE = "{path}"\n'), "paths")[0][0] == "warning"


@pytest.mark.parametrize("text", ["/", "a/b", "n / d", "1/2", "http://x.org/y", "and/or", "//"])
def test_what_only_looks_like_a_path_is_not(tmp_path: Path, text: str) -> None:
    assert not found(look(tmp_path, GOOD + f'\nWHAT = "{text}"\n'), "paths")


def test_a_neighbour_from_outside_of_the_folder_fails(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "helper.py").write_text("")
    findings = look(tmp_path / "inner", "from ..helper import x\n" + GOOD)
    assert ("failed", "helper.py is imported from outside of the file's folder") in found(findings, "imports")


def test_controls_a_score_above_the_oracle_fails_and_one_not_above_random_is_pointed_out() -> None:
    task = load_registry().tasks["limit/retrieval"]

    def record(row: str, value: float) -> Any:
        score = ScoreValue(name="recall@2", value=value, interval=None, unit="", higher_is_better=True, best=1.0,
                           main=True, n=1)  # fmt: skip
        return type("R", (), {"status": "ok", "baseline": type("B", (), {"name": row}),
                              "score": lambda self, name: score if name == "recall@2" else None})()  # fmt: skip

    def verdicts(value: float) -> list[str]:
        mine = record("mine", value)
        return [f.verdict for f in check._controls(task, [record("random", 0.1), record("oracle", 0.9), mine], [mine])]

    assert [verdicts(v) for v in (0.5, 0.9, 0.95, 0.1)] == [["ok"], ["ok"], ["failed", "ok"], ["warning", "ok"]]


def test_awkward_texts_keep_their_number_so_that_the_answer_can_be_scored() -> None:
    draw = Draw({"documents": ["a", "b", "c"], "queries": ["d", "e"], "k": 3}, {})
    asked = {a.what: a for a in awkward_questions(draw, few=False, in_parts=False)}
    assert all(len(a.question["documents"]) == 3 for a in asked.values() if a.whole)
    firsts = {a.question["documents"][0] for a in asked.values() if a.whole}
    assert firsts == {"", LONG, STRANGE, "b"}
    one = asked["one item of each"].question
    assert (one["documents"], one["queries"], one["k"]) == (["a"], ["d"], 3) and not asked["one item of each"].whole


def test_awkward_vectors_hold_zeros_and_duplicates_and_leave_the_draw_alone() -> None:
    vectors = np.arange(1.0, 13).reshape(6, 2)
    draw = Draw({"vectors": vectors, "metric": "l2"}, {}, sealed={"queries": vectors[:2]})
    asked = {a.what: a for a in awkward_questions(draw, few=False, in_parts=True)}
    assert not asked["a vector of zeros"].question["vectors"][0].any()
    assert not asked["a vector of zeros"].sealed["queries"][0].any()
    same = asked["the same vector many times"].question["vectors"]
    assert len(np.unique(same, axis=0)) == 3 and same.shape == vectors.shape
    assert vectors[0].tolist() == [1, 2] and "one item of each" not in asked


def test_questions_with_neither_texts_nor_vectors_have_nothing_awkward() -> None:
    assert not list(awkward_questions(Draw({"d": 4, "labels": np.arange(3)}, {}), few=False, in_parts=False))


def test_a_heavy_method_is_asked_about_few_texts_which_are_not_scored() -> None:
    plain = plain_question(Draw({"documents": [str(i) for i in range(99)]}, {}), few=True)
    assert len(plain.question["documents"]) == 12 and not plain.whole


def test_a_file_that_is_not_there_is_bad_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path)]) == 2
    capsys.readouterr()
    assert main(["check", str(tmp_path / "nofile.py")]) == 2
    assert "no such file" in capsys.readouterr().err


def test_a_source_that_nests_without_end_is_a_finding(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(GOOD + "\nx = " + "+".join(["1"] * 30_000) + "\n")
    (finding,) = check.check(path)
    assert finding.verdict == "failed" and "nests too deeply" in finding.text


@pytest.mark.parametrize("where", ["\nif {}:\n    pass\n", "\n{}()\n"])
def test_a_sum_of_many_terms_where_source_is_looked_at_is_a_finding(tmp_path: Path, where: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(GOOD + where.format("(" + "+".join(["f"] * 900) + ")"))
    (finding,) = check.check(path)
    assert finding.verdict == "failed" and "nests too deeply" in finding.text
