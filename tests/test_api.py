"""The same from Python: the examples in the docstrings run, and show what the command line shows."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

import harness
from harness import api
from harness.errors import UsageError


@pytest.mark.parametrize("function", [api.run, api.load_results])
def test_the_example_in_the_docstring_runs(function, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    examples = doctest.DocTestFinder(recurse=False).find(function, globs={})
    assert sum(len(e.examples) for e in examples) >= 3
    runner = doctest.DocTestRunner()
    for example in examples:
        assert runner.run(example).failed == 0


def test_a_run_gives_a_frame_with_one_row_a_baseline(method, tmp_path: Path) -> None:
    path = method("plain", "")
    frame = harness.run("limit/retrieval", [str(path), "oracle"], case="46-dense", seeds=2, results=tmp_path / "r")
    rows = frame.set_index("baseline")
    assert rows.loc["oracle", "recall@2"] == 1.0
    assert rows.loc["plain", "draws"] == 2
    assert rows.loc["plain", "interval"][0] <= rows.loc["plain", "score"] <= rows.loc["plain", "interval"][1]
    again = harness.load_results(tmp_path / "r").set_index("baseline")
    assert again.loc["plain", "score"] == rows.loc["plain", "score"]
    records = harness.load_results(tmp_path / "r", records=True, baseline="plain")
    assert sorted(records["seed"]) == [0, 1]


def test_impossible_values_are_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean"):
        harness.run("limti", results=tmp_path)
    with pytest.raises(UsageError, match="--threads"):
        harness.run("limit", threads=0, results=tmp_path)
