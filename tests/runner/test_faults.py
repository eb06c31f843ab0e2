"""Whatever a baseline does costs one record with a status and a reason, and no other cell anything."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

FAULTS = {
    # name: (body, status, part of the reason)
    "raises": ("def search(self, queries, k): raise ValueError('no luck today')", "failed", "no luck today"),
    "raises-in-load": ("def load(self): raise KeyError('weights')", "failed", "weights"),
    "exits": ("def search(self, queries, k): os._exit(3)", "failed", "exited with code 3"),
    "sys-exits": ("def search(self, queries, k): sys.exit(4)", "failed", "exited with code"),
    "is-killed": ("def search(self, queries, k): os.kill(os.getpid(), signal.SIGKILL)", "killed", "SIGKILL"),
    "segfaults": ("def search(self, queries, k): import ctypes; ctypes.string_at(0)", "killed", "SIGSEGV"),
    "hangs": ("def search(self, queries, k): time.sleep(3600)", "timeout", "time limit"),
    "hangs-deaf": (
        "def search(self, queries, k):\n    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n    while True: pass",
        "timeout", "time limit",
    ),
    "allocates": (
        "def search(self, queries, k):\n    self.all = [np.ones(5_000_000) for _ in range(10_000)]", "oom",
        "memory limit",
    ),
    "memory-error": ("def search(self, queries, k): raise MemoryError('16 TB')", "oom", "16 TB"),
    "gives-nan": (
        "def search(self, queries, k):\n    return Hits(np.tile(np.arange(k), (len(queries), 1)),"
        " np.full((len(queries), k), np.nan))", "failed", "nan",
    ),
    "wrong-shape": (
        "def search(self, queries, k): return Hits(np.zeros((3, k), np.int64), np.zeros((3, k)))", "failed", "shape",
    ),
    "duplicate-ids": (
        "def search(self, queries, k):\n    shape = (len(queries), k)\n"
        "    return Hits(np.zeros(shape, np.int64), np.zeros(shape))",
        "failed", "twice",
    ),
    "no-answer": (
        "def search(self, queries, k):\n    ids = np.tile(np.arange(k), (len(queries), 1)); ids[-1] = -1\n"
        "    return Hits(ids, np.ones((len(queries), k)))", "failed", "no ",
    ),
    "out-of-range": (
        "def search(self, queries, k):\n    return Hits(np.tile(np.arange(k) + 10_000, (len(queries), 1)),"
        " np.ones((len(queries), k)))", "failed", "10000",
    ),
    "returns-none": ("def search(self, queries, k): return None", "failed", ""),
    "unsupported": (
        "def index(self, documents):\n    from harness.task import Unsupported\n    raise Unsupported('needs a moon')",
        "unsupported", "moon",
    ),
    "missing-package": ("def load(self): import a_module_that_is_not_there", "failed", "a_module_that_is_not_there"),
    "floods": ("def index(self, documents):\n    self.n = len(documents)\n    print('x' * 50_000_000)", "ok", ""),
    "forks-a-child-that-stays": (
        "def index(self, documents):\n    self.n = len(documents)\n    subprocess.Popen(['sleep', '3601'])", "ok", "",
    ),
    "daemonises": (
        "def index(self, documents):\n    self.n = len(documents)\n    if os.fork() == 0:\n        os.setsid()\n"
        "        if os.fork() == 0:\n            os.execvp('sleep', ['sleep', '3602'])\n        os._exit(0)", "ok", "",
    ),
    "closes-everything": ("def search(self, queries, k): os.closerange(0, 100)", "failed", ""),
}  # fmt: skip


@pytest.mark.slow
def test_every_fault_costs_one_record_with_its_status_and_all_others_are_ok(method, harness_cli, smoke) -> None:
    good = [method(f"good-{i}", "") for i in range(3)]
    bad = [method(name, body) for name, (body, _, _) in FAULTS.items()]
    ran = harness_cli(*smoke, "--timeout", "10", "--memory-limit", "1G", "--baseline", *good, *bad, "oracle")
    assert ran.code == 1, ran.err
    records = ran.records
    for path in good:
        assert [r.status for r in records[path.stem]] == ["ok"]
    assert ran.one("oracle").scores[0].value == 1.0
    wrong = []
    for name, (_, status, reason) in FAULTS.items():
        (record,) = records[name]
        if record.status != status or reason not in record.reason:
            wrong.append(f"{name}: {record.status}: {record.reason}")
    assert not wrong, "\n".join(wrong)
    assert "no luck today" in ran.one("raises").output_tail
    assert len(ran.one("floods").model_dump_json()) < 20_000
    for name, argument in (("forks-a-child-that-stays", "3601"), ("daemonises", "3602")):
        assert any("left 1 process" in note for note in ran.one(name).notes)
        assert not _processes_with(argument), f"{name} left a process"


def _processes_with(argument: str) -> list[str]:
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[:2] == [b"sleep", argument.encode()]:
            found.append(pid)
    return found


def test_a_child_that_passes_the_memory_limit_is_ended_soon_after(method, harness_cli, smoke) -> None:
    greedy = method("greedy", "def search(self, queries, k):\n    self.a = [np.ones(500_000) for _ in range(100_000)]")
    record = harness_cli(*smoke, "--memory-limit", "1500M", "--baseline", greedy).one("greedy")
    assert record.status == "oom"
    assert 1500 << 20 < record.peak_rss_bytes < 2500 << 20
    assert "watcher" in record.memory_watch


def test_memory_is_the_methods_own(method, harness_cli, smoke) -> None:
    """A child of a fork server with torch in it reports what the method took, not what its libraries did."""
    none = method("none", "")
    some = method("some", "def index(self, documents):\n    self.n = len(documents)\n    self.a = np.ones(12_500_000)")
    ran = harness_cli(*smoke, "--baseline", none, some)
    assert ran.one("none").delta_rss_bytes < 12e6
    assert 98e6 < ran.one("some").delta_rss_bytes < 112e6


def test_the_child_sees_neither_the_seed_nor_the_truth(method, harness_cli, smoke, tmp_path: Path) -> None:
    spy = method(
        "spy",
        f"""
        def load(self):
            import json, glob
            seen = ' '.join(open('/proc/self/cmdline').read().split('\\0')) + str(os.environ) + str(self.context)
            for path in glob.glob(os.environ['XDG_CACHE_HOME'] + '/limits-harness/runs/*/*'):
                for name in glob.glob(path + '/*.json'):
                    seen += open(name).read()
            open({str(tmp_path / "seen.txt")!r}, 'w').write(seen)
        """,
    )
    seed = 271828182845904523536
    words = ["--seeds" if w == "--seeds" else w for w in smoke]
    words[words.index("--seeds") + 1] = f"{seed},"
    assert harness_cli(*words, "--baseline", spy).one("spy").seed == seed
    seen = (tmp_path / "seen.txt").read_text()
    assert "spec" not in seen or str(seed) not in seen
    assert str(seed) not in seen
    assert "relevant" not in seen
