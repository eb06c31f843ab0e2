"""`harness track run`, in a process of its own, over a small selection."""

from __future__ import annotations

import argparse
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.cli.track_run import _drop_old, _print_end, configure, execute
from harness.errors import HarnessError, NothingMatched, UsageError
from harness.track.history import Cell, History, Night, read_model
from harness.track.nightly import Outcome
from harness.track.rotation import Group, Piece

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="measuring needs Linux")
FEW = ("--task", "limit/retrieval", "--case", "46-*", "--processes", "2", "--device", "cpu", "--threads", "1")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A git checkout of somebody's own, with one commit; commands run in its folder."""
    (tmp_path / "notes.txt").write_text("one")
    for words in (["init", "-q"], ["add", "notes.txt"],
                  ["-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "-q", "-m", "first words"],
                  ):  # fmt: skip
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    return tmp_path


@pytest.fixture
def track(checkout: Path, harness_cli: Callable[..., Any]) -> Callable[..., Any]:
    def run(*words: str) -> Any:
        return harness_cli("track", "run", *words)

    return run


def started(*words: str) -> int:
    """The command, in this process."""
    parser = argparse.ArgumentParser()
    configure(parser)
    return execute(parser.parse_args(words))


def nights(folder: Path) -> list[Night]:
    return [read_model(Night, path) for path in sorted(folder.glob("results/history/*/nights/*.json"))]


def test_a_night_is_measured_and_kept_with_its_commit(checkout: Path, track: Callable[..., Any]) -> None:
    done = track(*FEW, "--baseline", "random", "bm25", "oracle", "--budget", "20m")
    assert done.code == 0, done.err
    (night,) = nights(checkout)
    head = subprocess.run(["git", "-C", str(checkout), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert (night.commit, night.subject, night.dirty) == (head.stdout.strip(), "first words", False)
    assert [(c.row, c.status, c.scale) for c in night.cells] == [("bm25", "ok", "smoke"), ("random", "ok", "smoke")]
    values = night.cells[0].values
    assert values["latency/query"].processes == 2
    assert values["score/recall@2"].higher_is_better and values["score/recall@2"].items
    assert night.canary_ns and min(night.canary_ns) > 0 and night.cells[0].canary_ns
    assert night.context["processes"] == 2 and night.left == []
    kept = {path.stem for path in checkout.glob("results/history/items/*.npy")}
    assert {v.items for c in night.cells for v in c.values.values() if v.items} == kept
    assert "harness track check" in done.out and night.id in done.out
    records = list(checkout.glob(f"results/local/track/{night.id}/records/**/*.json"))
    assert len(records) == 4, "each process of each row has a record"

    (checkout / "constraints.txt").write_text("numpy<3")
    again = track(*FEW, "--baseline", "random", "--json")
    assert again.code == 0 and "differs from the commit" in again.err
    assert again.events[-1]["event"] == "night" and again.events[-1]["state"] == "fine"
    first, second = nights(checkout)
    assert second.dirty and second.machine == first.machine
    assert second.cells[0].draw == first.cells[1].draw and second.cells[0].source == first.cells[1].source
    score = [night.cells[n].values["score/recall@2"] for night, n in ((first, 1), (second, 0))]
    assert score[0] == score[1], "the same draw and the same method give the same items"

    plan = track(*FEW, "--dry-run", "--json")
    assert plan.code == 0 and len(nights(checkout)) == 2
    known = [e for e in plan.events if e.get("scale") == "smoke" and e["rows"] in (["random"], ["bm25"])]
    assert [(e["rows"], e["last"]) for e in known] == [(["bm25"], first.id), (["random"], second.id)]
    assert all(e["cost_s"] > 0 for e in known)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--processes", "0"], "--processes 5"), (["--budget", "soon"], "--budget"), (["--keep", "-1"], "--keep 0"),
        (["--timeout", "0"], "--timeout 900"), (["--task", "limit/retrievel"], "did you mean"),
        (["--threads", "0"], "--threads 1"), (["--memory-limit", "much"], "4G"), (["--repo", "nowhere"], "nowhere"),
        (["--task", "limit", "--baseline", "bm25", "--case", "d6"], "harness list cases"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_refused_with_what_to_type(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.chdir(checkout)
    with pytest.raises(HarnessError, match=re.escape(said)) as refused:
        started(*words)
    assert isinstance(refused.value, UsageError | NothingMatched)
    assert not nights(checkout)


def test_what_is_no_checkout_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="git"):
        started(*FEW)


def test_a_plan_measures_nothing(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(checkout)
    assert started("--task", "limit", "--device", "cpu", "--dry-run") == 0
    out = capsys.readouterr().out
    assert "core: " in out and "never measured" in out and "limit/free" in out
    assert sorted(path.name for path in checkout.iterdir()) == [".git", "notes.txt"]


def made_night(cells: list[Cell], **info: Any) -> Night:
    return Night(
        id="20260101T000000-00000000", commit="0" * 40, committed="2026-01-01T00:00:00Z", subject="", machine="0" * 16,
        started="2026-01-01T00:00:00Z", ended="2026-01-01T00:00:00Z", context={}, cells=cells, info=info,
        budget_s=600.0,
    )  # fmt: skip


@pytest.mark.parametrize("as_json", [False, True])
def test_processes_that_were_lost_and_what_never_fits_are_told_at_the_end(
    as_json: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    configure(parser)
    lost = "4 of 5 processes: killed: ended by SIGSEGV"
    cells = [
        Cell(task="t", version=1, case="c", row=row, seed=0, device="cpu", threads=1, scale="smoke", status="ok",
             source="s", reason=reason) for row, reason in (("shaky", lost), ("sound", ""))
    ]  # fmt: skip
    never = [Group((Piece("t", "c", "huge", "s"),), 7200.0, -1)]
    options = parser.parse_args(["--json"] if as_json else [])
    _print_end(made_night(cells), Path("there"), "fine", "2 of 2 cells answered", never, options)
    out = capsys.readouterr().out
    if as_json:
        said = json.loads(out)
        assert (said["partly"], said["never"]) == ([f"t c shaky: {lost}"], ["t c huge"])
    else:
        assert f"t c shaky: ok, but {lost}" in out and "sound" not in out
        assert "never fits: t c huge takes 2.0 h" in out and "--budget" in out


def test_a_signal_while_the_night_is_written_does_not_lose_it(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(checkout)

    def nothing(*_: Any, **__: Any) -> Outcome:
        return Outcome(problem="the harness could not go on")

    def add(self: History, night: Night, items: Any) -> Path:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
        return kept(self, night, items)

    kept = History.add
    monkeypatch.setattr("harness.track.nightly.run_night", nothing)
    monkeypatch.setattr(History, "add", add)
    with pytest.raises(KeyboardInterrupt):
        started(*FEW)
    (night,) = nights(checkout)
    assert night.info["state"] == "environment broke" and night.info["problem"] == "the harness could not go on"
    assert night.id in capsys.readouterr().out


def test_where_no_row_answers_the_environment_is_to_blame(checkout: Path, track: Callable[..., Any]) -> None:
    done = track("--task", "compression/vectors", "--baseline", "float16", "--case", "digits", "--memory-limit", "1M")
    assert done.code == 5
    (night,) = nights(checkout)
    assert {cell.status for cell in night.cells} == {"oom"}
    assert f"none of {len(night.cells)} cells answered" in done.out


@pytest.mark.slow
def test_an_interrupted_night_is_kept_so_far(checkout: Path) -> None:
    words = [sys.executable, "-m", "harness", "track", "run", "--task", "limit/retrieval", "--baseline", "random",
             "bm25", "--processes", "40", "--case", "46-*"]  # fmt: skip
    with subprocess.Popen(words, cwd=checkout, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout
        for line in running.stdout:
            if line.startswith("[3/"):
                break
        running.send_signal(signal.SIGTERM)
        running.stdout.read()
        assert running.stderr and "interrupted" in running.stderr.read()
    assert running.returncode == 130
    (night,) = nights(checkout)
    assert {cell.status for cell in night.cells} == {"ok"} and night.info["interrupted"] is True


def test_records_of_old_nights_are_removed_and_nothing_else(tmp_path: Path) -> None:
    names = [f"202601{day:02}T000000-00000000" for day in range(1, 6)]
    for name in [*names, "mine"]:
        (tmp_path / name).mkdir()
    (tmp_path / "20260101T000000-11111111").write_text("a file")
    _drop_old(tmp_path, 0)
    assert len(list(tmp_path.iterdir())) == 7
    _drop_old(tmp_path, 2)
    assert {p.name for p in tmp_path.iterdir()} == {*names[3:], "mine", "20260101T000000-11111111"}
    _drop_old(tmp_path / "not there", 2)
