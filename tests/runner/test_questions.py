"""Questions as files: made once, thrown away when they take too much room, never while a cell uses them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import questions
from harness.bundle import write_bundle
from harness.plan import Cell
from harness.questions import Questions
from harness.registry import load_registry
from harness.task import Case


class FakeJudge:
    def __init__(self) -> None:
        self.asked: list[str] = []

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(request["case"]["name"])
        write_bundle(Path(request["folder"]), {"vectors": np.zeros(1000, np.uint8)})
        return {"digest": f"digest of {request['case']['name']}", "about": {"n": 1}}


def _cell(name: str, repeat: int = 0) -> Cell:
    registry = load_registry()
    row = next(b for b in registry.baselines if b.name == "bm25")
    return Cell(registry.tasks["limit/retrieval"], Case(name), row, 0, "cpu", 1, repeat=repeat)


@pytest.fixture
def judge() -> FakeJudge:
    return FakeJudge()


@pytest.fixture
def kept(judge: FakeJudge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Questions:
    monkeypatch.setattr(questions, "ROOM_BYTES", 3000)
    return Questions(judge, tmp_path)  # type: ignore[arg-type]


def test_a_draw_is_asked_for_once_whichever_process_needs_it(kept: Questions, judge: FakeJudge) -> None:
    first, again = kept.get(_cell("a")), kept.get(_cell("a", repeat=3))
    assert first == again and judge.asked == ["a"] and first.digest == "digest of a" and first.about == {"n": 1}


def test_the_one_used_longest_ago_makes_room_and_is_made_again_when_needed(kept: Questions, judge: FakeJudge) -> None:
    folders = [kept.get(_cell(name)).folder for name in "abc"]
    kept.get(_cell("a"))
    kept.get(_cell("d"))
    assert [f.is_dir() for f in folders] == [True, False, True]
    assert kept.get(_cell("b")).folder.is_dir() and judge.asked == ["a", "b", "c", "d", "b"]


def test_what_a_running_cell_reads_stays(kept: Questions) -> None:
    using = kept.get(_cell("a")).folder
    for name in "bcde":
        kept.get(_cell(name), [using])
    assert using.is_dir()
