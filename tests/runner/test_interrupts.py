"""A run may end at any moment: what is finished stays, nothing is broken, nothing is left running."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.store import BrokenRecord, Store

ROUNDS = int(os.environ.get("HARNESS_KILL_ROUNDS", "8"))
"""How often the run is killed; 100 were tried before this was written down."""


def _start(words: list[str], folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "harness", *words], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
        # a shell that runs the tests in the background has SIGINT ignored, and children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )  # fmt: skip


def _mentioning(text: str) -> list[int]:
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if text.encode() in Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes():
                found.append(int(pid))
        except OSError:
            continue
    return [pid for pid in found if pid != os.getpid()]


def _wait_for(condition, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_two_seconds_after_a_sigkill_no_process_of_the_run_is_left(method, smoke, tmp_path: Path, monkeypatch) -> None:
    marker = f"harness-test-{os.getpid()}-{random.getrandbits(32)}"
    monkeypatch.setenv("HARNESS_TEST_MARKER", marker)
    (tmp_path / "started").unlink(missing_ok=True)
    path = method(
        "daemonises",
        f"""
        def index(self, documents):
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    signal.signal(signal.SIGTERM, signal.SIG_IGN)
                    open({str(tmp_path / "started")!r}, 'w').write('x')
                    time.sleep(600)
                os._exit(0)
            time.sleep(600)
        """,
    )
    run = _start([*smoke, "--results", str(tmp_path / "r"), "--baseline", str(path)], tmp_path)
    assert _wait_for((tmp_path / "started").exists, 90)
    assert len([pid for pid in _mentioning(marker) if pid != run.pid]) >= 4  # server, judge, keeper, child, daemon
    run.kill()
    run.wait()
    time.sleep(2)
    assert [pid for pid in _mentioning(marker) if not _is_ours(pid)] == []


def _is_ours(pid: int) -> bool:
    """The test's own process and its ancestors carry the marker as well."""
    current = os.getpid()
    while current > 1:
        if current == pid:
            return True
        current = int(Path(f"/proc/{current}/stat").read_text().rpartition(")")[2].split()[1])
    return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_keeps_what_is_done_and_says_so(number: int, method, smoke, tmp_path: Path) -> None:
    quick = method("quick", "")
    # It sleeps while it is imported; within a timed phase it would hold the lock by which these exclude each other.
    slow = method("slow", "time.sleep(600)")
    run = _start(
        [*smoke, "--results", str(tmp_path / "r"), "--baseline", str(quick), str(slow), "--jobs", "2"], tmp_path
    )
    assert _wait_for(lambda: list((tmp_path / "r").rglob("quick/*.json")) or run.poll() is not None, 90)
    assert run.poll() is None, "the run ended by itself"
    run.send_signal(number)
    try:
        assert run.wait(15) == 130
    finally:
        run.kill()
    records, broken = Store(tmp_path / "r").load()
    assert not broken
    assert [r.baseline.name for r in records] == ["quick"]


@pytest.mark.slow
def test_killed_at_random_moments_it_loses_nothing_that_was_finished(
    method, harness_cli, smoke, tmp_path: Path
) -> None:
    rows = [method(f"m{i}", "") for i in range(6)]
    words = [*smoke, "--baseline", *map(str, rows), "oracle"]
    results = tmp_path / "results"
    rng = random.Random(1)
    seen: set[str] = set()
    for _ in range(ROUNDS):
        run = _start([*words, "--force", "--results", str(results)], tmp_path)
        time.sleep(rng.uniform(0.1, 6.0))
        run.kill()
        run.wait()
        records, broken = Store(results).load()
        assert not broken
        ids = {r.id for r in records}
        assert seen <= ids  # nothing finished is lost
        seen = ids
    done = harness_cli(*words)
    assert done.code == 0
    assert {r.baseline.name for r in Store(results).load()[0]} == {*(p.stem for p in rows), "oracle"}
    for record in Store(results).load()[0]:
        assert isinstance(record, BrokenRecord) is False
    again = harness_cli(*words)
    assert "0 cells to run" in again.out
