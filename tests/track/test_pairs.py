"""Two trees in turns: what a session says, and that each side runs its own code."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.track import inventory, pairs
from harness.track.history import Cell, Work
from harness.track.pairs import PROCESSES, Once, Pair, _moved, _pair, _Turns, centre, interleave, processes_for
from harness.track.side import Side
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
SAYS_THAT_IT_RAN = {
    "runner": """
from dataclasses import dataclass
from types import SimpleNamespace

@dataclass
class Options:
    timeout_s: float

@dataclass
class Request:
    tasks: tuple

@dataclass
class Runner:
    n: int
    turns: object

    def run(self, request):
        for _ in range(self.n):
            cell = SimpleNamespace(stage="answer")
            self.turns.started(cell)
            with open({log!r}, "a") as log:
                log.write(".")
            self.turns.finished(cell, SimpleNamespace(status={status!r}))
""",
    "api": """
from harness.runner import Request, Runner

def make_run(task, rows, case, scale, seeds, device, threads, results, options, turns):
    return Runner(len(seeds), turns), Request(())
""",
}
_OTHERS = ("hnsw", "length", "weights")
"""Tasks that no test here needs: listing a tree's rows reads all of them."""
BRANCHES = {"main": "pass", "slow": "time.sleep(0.002)", "broken": "raise ValueError('planted')"}


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This checkout's code, of two task families, and a method of its own, which differs between branches."""
    root = tmp_path_factory.mktemp("repo")
    for part in ("harness", "tasks", "baselines"):
        left_out = shutil.ignore_patterns("__pycache__", *(_OTHERS if part != "harness" else ()))
        shutil.copytree(ROOT / part, root / part, ignore=left_out)
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


@pytest.fixture(scope="module")
def trees(repo: Path) -> Iterator[Callable[[str], Tree]]:
    with ExitStack() as stack:
        made: dict[str, Tree] = {}

        def tree(name: str) -> Tree:
            if name not in made:
                made[name] = stack.enter_context(tree_of(repo, name))
            return made[name]

        yield tree


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


def test_two_versions_of_the_fixed_calculation_say_nothing_of_the_machine() -> None:
    cell = Cell(task=WORK.task, version=1, case=WORK.case, row=WORK.row, seed=0, device="cpu", threads=1, scale="smoke",
                status="ok", source="")  # fmt: skip
    base, head = Once(cell, speeds=(30.0,), calculation=1), Once(cell, speeds=(60.0,), calculation=1)
    assert (_pair(base, head).moved, _pair(base, head).speed_known) == (True, True)
    other = replace(head, calculation=2)
    assert (_pair(base, other).moved, _pair(base, other).speed_known) == (False, False)


def test_a_tree_tells_its_own_rows(trees: Callable[[str], Tree]) -> None:
    base, head = (inventory.ask(trees(name), "smoke", 1) for name in ("main", "slow"))
    differing = [new.row for old, new in inventory.in_common(base, head) if old != new]
    assert differing == ["counting"]
    assert inventory.harness_digest(trees("main")) == inventory.harness_digest(trees("slow"))


@pytest.mark.slow
def test_each_side_runs_its_own_code_in_turns(trees: Callable[[str], Tree]) -> None:
    (pair,) = list(interleave(trees("main"), trees("slow"), WORK, "smoke", pairs=1, processes=2))
    assert pair.base.ok and pair.head.ok, (pair.base.cell.reason, pair.head.cell.reason)
    before, after = pair.base.cell.values, pair.head.cell.values
    assert after["latency/query"].value > before["latency/query"].value + 1.5e6
    assert after["latency/query"].processes == 2 and len(pair.head.speeds) == 2
    assert (
        "score/recall@2" in pair.base.items
        and (pair.base.items["score/recall@2"] == pair.head.items["score/recall@2"]).all()
    )
    assert pair.base.cell.work == WORK and pair.base.cell.source != pair.head.cell.source
    assert pair.speed_known and pair.base.calculation > 0


@pytest.mark.slow
def test_a_preparation_is_made_anew_in_every_process(trees: Callable[[str], Tree]) -> None:
    work = Work("compression/vectors", 1, "digits", "int8 (shared part)", 0, "cpu", 1)
    made: list[Pair] = list(interleave(trees("main"), trees("main"), work, "smoke", pairs=1, processes=2, row="int8"))
    for once in (made[0].base, made[0].head):
        assert once.ok, once.cell.reason
        assert {value.processes for value in once.cell.values.values()} == {2}


def turns_of(folder: Path, deadline: float = math.inf, head: str = "ok", only_short: bool = False) -> _Turns:
    """Six turns of two trees whose harness only says that it ran."""
    with ExitStack() as stack:
        sides = []
        for name, status in (("base", "ok"), ("head", head)):
            (folder / name / "harness").mkdir(parents=True)
            modules = {"__init__": "", "errors": "class HarnessError(Exception): pass", **SAYS_THAT_IT_RAN}
            for module, text in modules.items():
                path = folder / name / "harness" / f"{module}.py"
                path.write_text(text.format(log=str(folder / name / "log"), status=status), "utf-8")
            tree = Tree(name, folder / name, "")
            side = Side(tree, WORK, "counting", "smoke", processes=6, timeout_s=60, scratch=folder / name / "scratch")
            sides.append(stack.enter_context(side))
        turns = _Turns(sides, 6, deadline)
        turns.take(only_short=only_short)
    return turns


def ran(folder: Path) -> list[int]:
    return [len((folder / name / "log").read_text("utf-8")) for name in ("base", "head")]


def test_both_sides_run_in_turns_to_the_end(tmp_path: Path) -> None:
    turns = turns_of(tmp_path)
    assert ran(tmp_path) == [6, 6] and not (turns.problems or turns.long or turns.cut_off)


def test_what_does_not_answer_is_run_once_a_session(tmp_path: Path) -> None:
    turns_of(tmp_path, head="timeout")
    assert ran(tmp_path) == [1, 1]


def test_of_a_cell_that_turns_out_to_be_long_one_process_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairs, "SHORT_S", 0.0)
    assert turns_of(tmp_path / "any", only_short=True).long and ran(tmp_path / "any") == [2, 2]
    assert not turns_of(tmp_path / "asked for").long and ran(tmp_path / "asked for") == [6, 6]


def test_a_pair_in_which_nothing_counted_before_the_deadline_is_none(tmp_path: Path) -> None:
    assert turns_of(tmp_path, deadline=time.monotonic()).cut_off and ran(tmp_path) == [1, 1]


def test_after_the_deadline_nothing_is_begun(tmp_path: Path) -> None:
    tree = Tree("0" * 40, tmp_path / "none", "is not needed")
    assert list(interleave(tree, tree, WORK, "smoke", row="counting", deadline=time.monotonic())) == []


@pytest.mark.slow
def test_a_comparison_that_is_ended_leaves_nothing_behind(repo: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    words = ["track", "compare", "main", "slow", "--repo", str(repo), "--baseline", "counting", "--threads", "1"]
    ran = subprocess.Popen(
        [sys.executable, "-m", "harness", *words], env={**os.environ, "TMPDIR": str(scratch)}, cwd=tmp_path,
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    until = time.monotonic() + 120
    while not list(scratch.glob("harness-pair-*/*/results")) and ran.poll() is None and time.monotonic() < until:
        time.sleep(0.1)
    assert list(scratch.glob("harness-tree-*"))
    ran.send_signal(signal.SIGTERM)
    said = ran.communicate(timeout=120)[1]
    assert ran.returncode == 130, said
    assert list(scratch.glob("harness-*")) == []


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


@pytest.mark.slow
def test_where_nothing_differs_nothing_is_run(repo: Path, harness_cli: Callable[..., Any]) -> None:
    ran = harness_cli("track", "compare", "main", "main", "--repo", repo)
    assert ran.code == 0 and "nothing was run" in ran.out
