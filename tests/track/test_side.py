"""One side of a comparison: trees that cannot be driven, that break or hang, and what they share with others."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from harness import paths
from harness.errors import UsageError
from harness.interruption import interruptible
from harness.track.history import Work
from harness.track.side import Side, SideError, caches_of_its_own
from harness.track.trees import Tree

WORK = Work("limit/retrieval", 1, "46-dense", "counting", 0, "cpu", 1)
OLD = {
    "errors": "class HarnessError(Exception): pass",
    "runner": """
        from dataclasses import dataclass
        @dataclass
        class Options:
            jobs: int
            timeout_s: float
    """,
    "api": """
        from harness.errors import HarnessError
        def make_run(*order):
            raise HarnessError(str(order[-2]))
    """,
}


def tree_with(folder: Path, begins: str = "", **modules: str) -> Tree:
    """A tree whose harness is nothing but these modules."""
    (folder / "harness").mkdir(parents=True)
    for name, text in {"__init__": begins, **modules}.items():
        lines = text.splitlines()
        indent = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
        (folder / "harness" / f"{name}.py").write_text("\n".join(line[indent:] for line in lines), "utf-8")
    return Tree("0" * 40, folder, "a bad day")


def why_it_ends(tree: Tree, scratch: Path, timeout_s: float = 60) -> str:
    with (
        Side(tree, WORK, "counting", "smoke", processes=1, timeout_s=timeout_s, scratch=scratch) as side,
        pytest.raises(SideError) as raised,
    ):
        side.begin()
        side.finish()
    return str(raised.value)


def test_what_breaks_a_tree_is_told_with_the_commit(tmp_path: Path) -> None:
    said = why_it_ends(tree_with(tmp_path / "tree", "raise RuntimeError('not today')"), tmp_path / "scratch")
    assert "RuntimeError: not today" in said and "a bad day" in said and str(WORK) in said


def test_an_older_harness_is_given_the_options_that_it_has(tmp_path: Path) -> None:
    said = why_it_ends(tree_with(tmp_path / "tree", **OLD), tmp_path / "scratch")
    assert said.endswith("Options(jobs=1, timeout_s=60)")


@pytest.mark.parametrize(
    ("module", "text", "reason"),
    [
        ("api", "def start_run(): pass", "ImportError"),
        ("api", "def make_run(task): pass", "TypeError"),
        ("api", "def make_run(*order): return None, None", "AttributeError"),
    ],
)
def test_a_harness_that_cannot_be_driven_is_no_row_that_breaks(
    tmp_path: Path, module: str, text: str, reason: str
) -> None:
    tree = tree_with(tmp_path / "tree", **{**OLD, module: text})
    side = Side(tree, WORK, "counting", "smoke", processes=1, timeout_s=60, scratch=tmp_path / "scratch")
    with side, pytest.raises(UsageError, match=rf"000 \(a bad day\) cannot be driven by this one \({reason}"):
        side.begin()


def test_what_says_nothing_is_ended_with_all_that_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.track.side._STARTUP_S", 1.0)
    text = f"import os, time\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)"
    said = why_it_ends(tree_with(tmp_path / "tree", text), tmp_path / "scratch", 0.5)
    assert "said nothing for 2 s and was ended" in said
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text("utf-8")), 0)


def test_what_is_done_and_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.track.side._END_S", 0.2)
    text = "import time, __main__\n__main__.said.close()\ntime.sleep(600)"
    assert "did not end, and was ended" in why_it_ends(tree_with(tmp_path / "tree", text), tmp_path / "scratch")


def test_what_is_no_message_is_shown(tmp_path: Path) -> None:
    text = "import __main__\nprint('[1]', file=__main__.said, flush=True)"
    assert "said '[1]', which is no message" in why_it_ends(tree_with(tmp_path / "tree", text), tmp_path / "scratch")


def test_a_session_shares_data_with_the_user_and_nothing_that_code_under_test_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    for name in ("data", "prepared", "checkpoints", "truth", "compression"):
        (paths.cache_root() / name).mkdir(parents=True)
    (tmp_path / "user" / "huggingface").mkdir()
    made = caches_of_its_own(tmp_path / "session")
    assert {p.name for p in made.iterdir()} == {"huggingface", "limits-harness"}
    assert [p.name for p in (made / "limits-harness").iterdir()] == ["data"]
    monkeypatch.setenv("XDG_CACHE_HOME", str(made))
    assert caches_of_its_own(made) == made


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_end_is_an_interrupt_while_something_is_under_way(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), interruptible():
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) == before
