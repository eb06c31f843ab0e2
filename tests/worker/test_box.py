"""Claims about the box. The same probes run in a box and outside of one, where they must succeed to mean anything."""

from __future__ import annotations

import ctypes
import json
import os
import socket
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.api import make_run
from harness.errors import HarnessError, UsageError
from harness.executors.local import LocalExecutor, ServerKey
from harness.orders import spec_of
from harness.plan import cells_of
from harness.runner import Options
from harness.worker import box
from harness.worker.judge import Judge

MISSING = box.missing_layers()
BOXED = pytest.mark.skipif(bool(MISSING), reason="; ".join(MISSING) or "every layer holds")
PACKAGE = Path(harness.__file__).parent
METHOD = """
import os, sys, time
import numpy as np
from harness.tasks.limit.retrieval import Hits, Retriever
{above}
class Method(Retriever):
    def index(self, documents):
        self.n = len(documents)
    def search(self, queries, k):
        ids = np.tile(np.arange(k), (len(queries), 1))
        return Hits(ids, np.tile(np.arange(k, 0, -1.0), (len(queries), 1)))
{body}
"""


class Ended:
    """A cell that has ended: what its keeper saw, and what the child said."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.outcome = json.loads((place / "outcome.json").read_text())
        said = place / "result.json"
        self.result: dict[str, Any] = json.loads(said.read_text()) if said.exists() else {}


class Cells:
    """Runs single cells through a fork server, as a run does, without what a run costs besides."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.question = folder / "question"
        self._executor = LocalExecutor(1)

    def run(
        self, file: Path, boxed: bool, name: str, limits: tuple[float, int] = (60, 2 << 30), site: Path | str = ""
    ) -> Ended:
        runner, request = make_run(
            "limit/retrieval", [str(file)], "46-dense", "smoke", [0], "cpu", 1, self.folder / "results", Options()
        )
        runner.judge.close()
        (cell,) = cells_of(request)
        named = {"module": cell.task.module, "class": cell.task.class_name}
        if not self.question.exists():
            draw = {"op": "draw", "task": named, "case": asdict(cell.case), "seed": 0, "folder": str(self.question)}
            Judge().answer(draw)
        place = self.folder / name
        place.mkdir()
        spec = spec_of(cell, self.question, limits, "", boxed)
        if boxed:
            spec["box"].update(preload=[cell.task.module], hidden=["rich"], site=str(site))
        (place / "spec.json").write_text(json.dumps(spec))
        self._executor.start(place, ServerKey((), "", boxed))
        while not any(event["event"] in ("done", "lost", "server-lost") for event in self._executor.wait(60)):
            pass
        return Ended(place)

    def close(self) -> None:
        self._executor.close()


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cells]:
    yield from _cells(tmp_path_factory.mktemp("box"))


@pytest.fixture
def own_cells(tmp_path: Path) -> Iterator[Cells]:
    """Those of a server that is started with the variables of this test."""
    yield from _cells(tmp_path / "own")


def _cells(folder: Path) -> Iterator[Cells]:
    folder.mkdir(exist_ok=True)
    made = Cells(folder)
    yield made
    made.close()


@pytest.fixture(scope="module")
def targets(cells: Cells) -> Iterator[dict[str, Any]]:
    """What the probes are after: files, a process with a secret, sockets, shared memory; all made for this."""
    folder = cells.folder / "targets"
    (folder / "records").mkdir(parents=True)
    for name in ("records/record.json", "neighbour.txt", "spec.json"):
        (folder / name).write_text("{}")
    secret = "a-secret-that-a-box-does-not-show"
    os.environ["HARNESS_PROBE_SECRET"] = secret
    process = subprocess.Popen(["sleep", "300"])
    tcp, path = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX)
    abstract, named = f"harness-probe-{os.getpid()}", str(folder / "socket")
    hidden = socket.socket(socket.AF_UNIX)
    for end, address in ((path, named), (hidden, "\0" + abstract)):
        end.bind(address)
        end.listen()
    shared = Path("/dev/shm", abstract)
    shared.write_text("shared")
    libc = ctypes.CDLL(None)
    segment = libc.shmget(os.getpid(), 4096, 0o1600)
    queue = libc.mq_open(b"/" + abstract.encode(), os.O_CREAT | os.O_RDWR, 0o600, None)
    fd, in_tmp = tempfile.mkstemp(dir="/tmp")
    os.write(fd, b"x")
    os.close(fd)
    home = [str(p) for p in Path.home().iterdir() if p.is_file()][:1]
    yield {
        "secret": secret, "process": process.pid, "keeper": 0, "tcp": tcp.getsockname()[1], "socket": named,
        "abstract": abstract, "results": str(folder / "records" / "record.json"), "home": home,
        "checkout": __file__, "tmp": in_tmp,
        "neighbour": str(folder / "neighbour.txt"), "other_cell": str(folder / "spec.json"),
        "hidden": str(Path(sys.modules["rich"].__file__ or "")) if "rich" in sys.modules else _file_of("rich"),
        "package": str(PACKAGE), "question": str(cells.question), "shared": abstract, "segment": os.getpid(),
        "other_task": _file_of("harness.tasks.hnsw"), "spec": "",
    }  # fmt: skip
    del os.environ["HARNESS_PROBE_SECRET"]
    process.kill()
    process.wait()
    for end in (tcp, path, hidden):
        end.close()
    shared.unlink()
    os.unlink(in_tmp)
    libc.shmctl(segment, 0, None)
    if queue >= 0:
        os.close(queue)
        libc.mq_unlink(b"/" + abstract.encode())


def _file_of(module: str) -> str:
    import importlib.util

    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None
    return spec.origin


def _probing(cells: Cells, targets: dict[str, Any], boxed: bool) -> Ended:
    name = "boxed" if boxed else "plain"
    file = cells.folder / f"probing_{name}.py"
    text = (Path(__file__).parent / "probes.py").read_text()
    mine = {**targets, "boxed": boxed, "spec": str(cells.folder / name / "spec.json")}
    file.write_text(text.replace("TARGET = {}", f"TARGET = {mine!r}"))
    return cells.run(file, boxed, name, limits=(60, 64 << 30))  # the watcher counts shared pages once a process


@pytest.fixture(scope="module")
def boxed(cells: Cells, targets: dict[str, Any]) -> Ended:
    return _probing(cells, targets, boxed=True)


@pytest.fixture(scope="module")
def plain(cells: Cells, targets: dict[str, Any]) -> Ended:
    return _probing(cells, targets, boxed=False)


# --- what a box holds back ------------------------------------------------------------------------------------------

NOWHERE = {"inherited-descriptors", "interfaces", "home", "block-devices", "kernel-memory", "core-dump", "clock",
           "keyring", "message-queue", "cgroup", "tools", "ipv6", "netlink", "host-tmp", "name-servers", "segment",
           "settings-of-the-kernel", "other-users"}  # fmt: skip
"""What some machine denies to everybody, or does not have."""


@BOXED
def test_no_probe_gets_out_of_the_box(boxed: Ended) -> None:
    assert boxed.result["status"] == "ok", boxed.result["reason"] + boxed.outcome["output_tail"]
    found = boxed.result["description"]
    assert len(found) > 60
    assert {name: said for name, said in found.items() if not said.startswith("stopped: ")} == {}


@BOXED
def test_the_same_probes_get_what_they_want_outside_of_a_box(plain: Ended) -> None:
    assert plain.result["status"] == "ok", plain.result["reason"] + plain.outcome["output_tail"]
    found = plain.result["description"]
    assert {name: said for name, said in found.items() if name not in NOWHERE and not said.startswith("done: ")} == {}


@BOXED
def test_processes_and_threads_are_limited(boxed: Ended) -> None:
    found = boxed.result["description"]
    assert "BlockingIOError" in found["process-bomb"]
    assert "can't start new thread" in found["thread-bomb"]


@BOXED
def test_what_can_be_written_is_limited(boxed: Ended) -> None:
    found = boxed.result["description"]
    for name in ("fill-scratch", "fill-shared-memory", "fill-the-answer", "many-files"):
        assert "No space left" in found[name] or "File too large" in found[name]


@BOXED
def test_nothing_is_left_running_and_no_cgroup_is_left(boxed: Ended) -> None:
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError):
            assert str(boxed.place).encode() not in (process / "cmdline").read_bytes()
    groups = [p for p in Path("/sys/fs/cgroup").glob("**/harness-box-*") if not Path("/proc", p.name[12:]).exists()]
    assert groups == []
    assert not any("/out" in line for line in Path("/proc/self/mountinfo").read_text().splitlines())


@BOXED
def test_forged_marks_change_neither_the_layers_nor_make_a_number_that_cannot_be(boxed: Ended) -> None:
    assert boxed.result["seal"]["layers"][: len(box.LAYERS)] == list(box.LAYERS)
    for phase in boxed.outcome["phases"]:
        assert 0 <= phase["items"] <= 1 << 53
        phase["name"].encode()


@BOXED
def test_the_layers_are_on_the_record(boxed: Ended) -> None:
    assert {"user", "namespaces", "memory", "cpu", "disk", "environment", "network", "ipc"} <= set(
        boxed.result["seal"]["layers"]
    )
    assert "cgroup" in boxed.outcome["memory_watch"]


@BOXED
def test_pinned_packages_are_imported_from_before_what_is_installed(cells: Cells, tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "toyboxed.py").write_text("VALUE = 7\n")
    (site / "sitecustomize.py").write_text("raise SystemExit('run before the box was looked at')\n")
    body = "    def describe(self):\n        import toyboxed\n        return {'v': toyboxed.VALUE}\n"
    ended = cells.run(_method(tmp_path, "", body), True, "site", site=site)
    assert ended.result["description"] == {"v": 7}


# --- what it costs --------------------------------------------------------------------------------------------------


@BOXED
def test_time_is_the_keepers_whatever_the_child_says(cells: Cells, tmp_path: Path) -> None:
    above = "clock = time.perf_counter_ns\ntime.perf_counter_ns = lambda: clock() // 4"
    ended = cells.run(_method(tmp_path, above, "    def load(self):\n        time.sleep(0.2)\n"), True, "own-time")
    said, seen = ended.result["phases"][0], ended.outcome["phases"][0]
    assert said["name"] == seen["name"] == "load"
    assert said["self_wall_ns"] < 150_000_000
    assert 200_000_000 <= seen["wall_ns"] < ended.outcome["wall_ns"]


@BOXED
def test_memory_is_that_of_the_child_and_not_of_what_started_it(cells: Cells, tmp_path: Path) -> None:
    body = "    def describe(self):\n        return {'pid': os.getpid()}\n"
    above = "held = np.ones(10_000_000)"  # 80 MB before the first phase
    ended = cells.run(_method(tmp_path, above, body), True, "memory")
    assert ended.outcome["peak_rss_bytes"] > 80_000_000
    assert all(phase["base_rss_bytes"] > 80_000_000 and phase["peak_reset"] for phase in ended.outcome["phases"])
    assert ended.result["description"]["pid"] < 10
    assert ended.outcome["cpu_ns"] > 50_000_000


@BOXED
@pytest.mark.parametrize(
    "hog",
    [
        "all = [np.ones(1_000_000) for _ in range(100)]",
        "open('/box/file', 'wb').write(bytes(200_000_000))",  # no resident memory, and too fast for a watcher
    ],
)
def test_too_much_memory_ends_as_oom(cells: Cells, tmp_path: Path, hog: str) -> None:
    file = _method(tmp_path, "", f"    def load(self):\n        {hog}\n")
    ended = cells.run(file, True, f"hog-{len(hog)}", limits=(60, 160 << 20))
    assert ended.outcome["ended_by"] == "memory"


@BOXED
def test_a_boxed_child_that_is_killed_or_exits_says_so(cells: Cells, tmp_path: Path) -> None:
    ended = cells.run(_method(tmp_path, "", "    def load(self):\n        os.kill(os.getpid(), 11)\n"), True, "signal")
    assert ended.outcome["exit_code"] == -11
    ended = cells.run(_method(tmp_path, "", "    def load(self):\n        os._exit(3)\n"), True, "exit")
    assert ended.outcome["exit_code"] == 3


# --- it fails closed ------------------------------------------------------------------------------------------------


@BOXED
def test_a_box_that_does_not_hold_is_found_out_before_the_method_is_loaded(
    own_cells: Cells, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "bin" / "bwrap"
    fake.parent.mkdir()
    fake.write_text('#!/bin/bash\n# isolates nothing\nwhile [[ " $* " == *" -- "* ]]; do shift; done\n"$@"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    loaded = tmp_path / "loaded"
    ended = own_cells.run(_method(tmp_path, f"open({str(loaded)!r}, 'w')", ""), True, "fake")
    assert ended.result["status"] == "failed"
    for layer in ("user: its Uid is 0", "it has capabilities", "namespaces: net is shared", "files: / can be written"):
        assert layer in ended.result["reason"]
    assert not loaded.exists()


@BOXED
def test_a_file_that_another_user_cannot_read_is_named(cells: Cells, tmp_path: Path) -> None:
    file = _method(tmp_path, "", "")
    file.chmod(0o600)
    ended = cells.run(file, True, "unreadable")
    assert "method.py cannot be read by another user; type: chmod" in ended.result["reason"]


@BOXED
def test_a_box_that_is_not_started_says_what_bubblewrap_said(
    own_cells: Cells, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "bin" / "setpriv"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho no such user >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    ended = own_cells.run(_method(tmp_path, "", ""), True, "no-start")
    assert ended.result["reason"] == "the box did not hold: no such user"


def test_a_missing_layer_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    missing = box.missing_layers()
    assert any("bwrap is not installed" in each and "apt-get install bubblewrap" in each for each in missing)
    with pytest.raises(HarnessError, match="apt-get install bubblewrap"):
        box.require()


def test_without_root_there_is_no_box(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert any(each.startswith("another user id: ") and "disposable" in each for each in box.missing_layers())


def test_nothing_runs_where_a_layer_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = _method(tmp_path, f"open({str(tmp_path / 'loaded')!r}, 'w')", "")
    monkeypatch.setenv("PATH", "/nowhere")
    runner, request = make_run(
        "limit/retrieval", [str(file)], "46-dense", "smoke", [0], "cpu", 1, tmp_path / "results", Options(boxed=True)
    )
    with pytest.raises(HarnessError, match="every layer"):
        runner.run(request)
    runner.judge.close()
    assert not (tmp_path / "loaded").exists() and not (tmp_path / "results").exists()


@BOXED
def test_boxed_cells_run_one_at_a_time(tmp_path: Path) -> None:
    options = Options(boxed=True, jobs=2)
    runner, request = make_run(
        "limit/retrieval", [str(_method(tmp_path, "", ""))], "46-dense", "smoke", [0], "cpu", 1, tmp_path, options
    )
    with pytest.raises(UsageError, match="--jobs 1"):
        runner.run(request)
    runner.judge.close()


@BOXED
@pytest.mark.parametrize("row", ["random", pytest.param("moment-curve", marks=pytest.mark.slow)])
def test_a_boxed_run_scores_as_any_other(tmp_path: Path, row: str) -> None:
    scores = []
    for boxed in (False, True):
        runner, request = make_run(
            "limit/free", [row], "d4", "smoke", [0], "cpu", 1, tmp_path / f"{boxed}", Options(boxed=boxed)
        )
        (record,) = runner.run(request).records
        assert record.status == "ok", record.reason
        assert ("namespaces" in record.provenance.sealed) is boxed
        assert record.provenance.sources_mismatch == []
        scores.append([(s.name, s.value) for s in record.scores])
    assert scores[0] == scores[1]


def _method(folder: Path, above: str, body: str) -> Path:
    file = folder / "method.py"
    file.write_text(METHOD.format(above=textwrap.dedent(above), body=body))
    return file
