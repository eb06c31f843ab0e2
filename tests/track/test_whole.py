"""The whole of it, for real: nights of two commits, the second of which does more work, and the verdict."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from harness.track import evidence, rules
from harness.track.check import check_night
from harness.track.evidence import Trees
from harness.track.history import History, Night
from harness.track.trees import between, tree_of

HERE = Path(__file__).parents[2]
METHOD = "baselines/limit/retrieval/tfidf.py"
ROW = "tfidf"


def git(repo: Path, *words: str) -> str:
    who = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.org"]
    return subprocess.run(
        ["git", "-C", str(repo), *who, *words], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of its own with two commits: the second one's method searches twice."""
    root = tmp_path_factory.mktemp("repo")
    for part in ("harness", "tasks", "baselines"):
        shutil.copytree(HERE / part, root / part, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(HERE / name, root / name)
    git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "As it is")
    method = root / METHOD
    text = method.read_text("utf-8")
    begin = text.index("def search")
    body = text.index("\n", text.index("->", begin)) + 1
    (root / METHOD).write_text(text[:body] + "        sum(i * i for i in range(30_000))\n" + text[body:], "utf-8")
    git(root, "commit", "--quiet", "-am", "Search with care")
    return root


def night(repo: Path, commit: str, history: Path) -> Night:
    """Measure a night by the code of a commit, as the command line does."""
    git(repo, "checkout", "--quiet", commit)
    with tree_of(repo, commit) as tree:
        done = subprocess.run(
            [sys.executable, "-m", "harness", "track", "run", "--task", "limit/retrieval", "--baseline", ROW,
             "--case", "46-dense", "--processes", "1", "--threads", "1", "--history", str(history), "--repo", str(repo),
             "--results", str(history.parent / "records")],
            env={**os.environ, "PYTHONPATH": str(tree.folder), "HARNESS_CANARY_ROUNDS": "3"}, cwd=tree.folder,
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (machine,) = [p.name for p in history.iterdir() if p.name != "items"]
    return History(history, machine).nights()[-1]


def with_a_past(history: Path, first: Night, n: int) -> History:
    """`n` nights before `first` that are like it, but for 2 % of noise."""
    rng, kept = np.random.default_rng(0), History(history, first.machine)
    began, ended = (datetime.fromisoformat(at) for at in (first.started, first.ended))
    for back in range(n, 0, -1):
        day, end = began - timedelta(days=back), ended - timedelta(days=back)
        cells = [
            cell.model_copy(update={"values": {
                name: value.model_copy(update={"value": value.value * float(np.exp(0.02 * rng.standard_normal()))})
                if not value.items else value
                for name, value in cell.values.items()
            }}) for cell in first.cells
        ]  # fmt: skip
        stamp = day.strftime("%Y%m%dT%H%M%S")
        said = {"id": f"{stamp}-{back:08x}", "started": day.isoformat(), "ended": end.isoformat(), "cells": cells}
        kept.add_file("nights", said["id"], first.model_copy(update=said))
    return kept


@pytest.mark.slow
def test_a_method_that_does_more_work_is_named_the_morning_after(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # For time: 2^-8 is enough for the few that are suspected here, of an effect as large as this one.
    monkeypatch.setattr(rules, "PAIRS", 8)
    monkeypatch.setattr(evidence, "processes_for", lambda wall_s: 2)
    good, bad = git(repo, "rev-parse", "main~1"), git(repo, "rev-parse", "main")
    first = night(repo, good, tmp_path / "history")
    assert [cell.status for cell in first.cells] == ["ok"]
    history = with_a_past(tmp_path / "history", first, 9)
    second = night(repo, bad, tmp_path / "history")
    with Trees(repo, 300) as trees:
        check = check_night(history, second.id, trees, commits=lambda a, b: between(repo, a, b))
    regressed = {(f.row, f.metric): f for f in check.findings if f.verdict == "regressed"}
    assert (ROW, "latency/query") in regressed, check.model_dump_json(indent=1)
    finding = regressed[ROW, "latency/query"]
    assert (finding.good, finding.bad) == (good, bad)
    assert finding.effect is not None and finding.effect > 1.5
    assert check.commits == [f"{bad[:12]} Search with care"]
    told = json.loads(check.model_dump_json())
    assert told["state"] == "regressed"
