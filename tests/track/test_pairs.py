"""Two trees in turns: what a session says, and that each side runs its own code."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import paths
from harness.track import inventory
from harness.track.history import Work
from harness.track.pairs import PROCESSES, Pair, _moved, centre, interleave, processes_for, run_once
from harness.track.side import _caches
from harness.track.trees import Tree, tree_of

ROOT = Path(__file__).parents[2]
WORK = Work("limit/retrieval", 1, "46-dense", "counting", 0, "cpu", 1)
METHOD = """
import time
import numpy as np
from harness.tasks.limit.retrieval import Hits, Retriever


class Counting(Retriever):
    '''Answers the last documents.'''

    cases = ("critical",)

    def index(self, documents):
        self.n = len(documents)

    def search(self, queries, k):
        {before}
        ids = np.tile(np.arange(self.n - 1, self.n - 1 - k, -1), (len(queries), 1))
        return Hits(ids, np.tile(np.arange(k, 0, -1.0), (len(queries), 1)))
"""
BRANCHES = {"main": "pass", "slow": "time.sleep(0.002)", "broken": "raise ValueError('planted')"}


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This checkout's code and a method of its own, which differs between branches."""
    root = tmp_path_factory.mktemp("repo")
    for part in ("harness", "tasks", "baselines"):
        shutil.copytree(ROOT / part, root / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(ROOT / "pyproject.toml", root)
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false", "-C", str(root)]
    subprocess.run([*git, "init", "--quiet", "--initial-branch", "main"], check=True)
    for name, before in BRANCHES.items():
        if name != "main":
            subprocess.run([*git, "switch", "--quiet", "--create", name, "main"], check=True)
        (root / "baselines" / "limit" / "retrieval" / "counting.py").write_text(METHOD.format(before=before), "utf-8")
        subprocess.run([*git, "add", "--all"], check=True)
        subprocess.run([*git, "commit", "--quiet", "--message", f"{name}: counting"], check=True)
    return root


@pytest.fixture
def trees(repo: Path) -> Iterator[Callable[[str], Tree]]:
    from contextlib import ExitStack

    with ExitStack() as stack:
        yield lambda name: stack.enter_context(tree_of(repo, name))


def broken_tree(folder: Path, text: str) -> Tree:
    (folder / "harness").mkdir(parents=True)
    (folder / "harness" / "__init__.py").write_text(text, "utf-8")
    return Tree("0" * 40, folder, "a bad day")


def test_the_centre_of_two_speeds_lies_between_them() -> None:
    assert centre([100, 100, 160, 160]) == pytest.approx(math.sqrt(100 * 160))
    assert centre([100, 101, 102, 900]) < 110
    assert centre([0.0, 1.0]) == 0.5


def test_noise_of_the_fixed_calculation_is_no_other_machine() -> None:
    noise = [30, 50, 35, 60, 33, 52, 41, 58]
    assert not _moved(noise, [50, 33, 60, 34, 55, 30, 58, 40])
    assert _moved(noise, [value * 1.3 for value in noise])
    assert not _moved(noise, [value * 1.05 for value in noise])
    assert _moved([30], [40]) and not _moved([30], [31]) and not _moved([], [])


def test_long_cells_are_run_once_a_side_and_pair() -> None:
    assert (processes_for(0.4), processes_for(60.0)) == (PROCESSES, 1)


def test_a_session_shares_data_with_the_user_and_nothing_that_code_under_test_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    for name in ("data", "prepared", "checkpoints"):
        (paths.cache_root() / name).mkdir(parents=True)
    (tmp_path / "user" / "huggingface").mkdir()
    made = _caches(tmp_path / "session")
    assert {p.name for p in made.iterdir()} == {"huggingface", "limits-harness"}
    assert [p.name for p in (made / "limits-harness").iterdir()] == ["data"]


def test_a_tree_that_cannot_start_gives_a_failed_cell_with_the_reason(tmp_path: Path) -> None:
    tree = broken_tree(tmp_path / "tree", "raise RuntimeError('not today')")
    once = run_once(tree, WORK, "smoke", timeout_s=60, scratch=tmp_path / "scratch", row="counting")
    assert once.cell.status == "failed" and "RuntimeError: not today" in once.cell.reason
    assert "a bad day" in once.cell.reason and once.cell.work == WORK


def test_a_side_that_says_nothing_is_ended_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.track.side._STARTUP_S", 1.0)
    text = f"import os, time\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)"
    tree = broken_tree(tmp_path / "tree", text)
    once = run_once(tree, WORK, "smoke", timeout_s=0.5, scratch=tmp_path / "scratch", row="counting")
    assert "said nothing for 2 s and was ended" in once.cell.reason
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text("utf-8")), 0)


def test_a_tree_tells_its_own_rows(trees: Callable[[str], Tree]) -> None:
    base, head = (inventory.ask(trees(name), "smoke", 1) for name in ("main", "slow"))
    differing = [new.row for old, new in inventory.in_common(base, head) if old != new]
    assert differing == ["counting"]
    assert inventory.harness_digest(trees("main")) == inventory.harness_digest(trees("slow"))


@pytest.mark.slow
def test_each_side_runs_its_own_code_in_turns(trees: Callable[[str], Tree]) -> None:
    pairs: list[Pair] = list(interleave(trees("main"), trees("slow"), WORK, "smoke", pairs=1, processes=2))
    (pair,) = pairs
    assert pair.base.ok and pair.head.ok, (pair.base.cell.reason, pair.head.cell.reason)
    before, after = pair.base.cell.values, pair.head.cell.values
    assert after["latency/query"].value > before["latency/query"].value + 1.5e6
    assert after["latency/query"].processes == 2 and len(pair.head.speeds) == 2
    assert (
        "score/recall@2" in pair.base.items
        and (pair.base.items["score/recall@2"] == pair.head.items["score/recall@2"]).all()
    )
    assert pair.base.cell.work == WORK and pair.base.cell.source != pair.head.cell.source


@pytest.mark.slow
def test_a_preparation_is_made_anew_in_every_process(trees: Callable[[str], Tree], tmp_path: Path) -> None:
    work = Work("compression/vectors", 1, "digits", "int8 (shared part)", 0, "cpu", 1)
    once = run_once(trees("main"), work, "smoke", timeout_s=120, scratch=tmp_path, processes=3, row="int8")
    assert once.ok, once.cell.reason
    assert {value.processes for value in once.cell.values.values()} == {2}


@pytest.mark.slow
def test_the_branch_that_breaks_a_row_is_told_and_the_exit_code_says_so(
    repo: Path, harness_cli: Callable[..., Any]
) -> None:
    ran = harness_cli("track", "compare", "main", "broken", "--repo", repo, "--pairs", 6, "--processes", 1,
                      "--threads", 1, "--format", "json")  # fmt: skip
    found = json.loads(ran.out)
    assert ran.code == 1 and found["state"] == "regressed"
    (row,) = found["rows"]
    assert (row["row"], row["why"], row["outcome"]) == ("counting", "its code differs", "broke")
    assert "planted" in row["reason"] and found["head"]["subject"] == "broken: counting"


def test_where_nothing_differs_nothing_is_run(repo: Path, harness_cli: Callable[..., Any]) -> None:
    ran = harness_cli("track", "compare", "main", "main", "--repo", repo)
    assert ran.code == 0 and "nothing was run" in ran.out


def test_too_few_pairs_are_refused_before_anything_runs(repo: Path, harness_cli: Callable[..., Any]) -> None:
    ran = harness_cli("track", "compare", "main", "slow", "--repo", repo, "--pairs", 3)
    assert ran.code == 2 and "write --pairs 10" in ran.err
