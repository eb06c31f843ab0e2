"""Claims about the record of machine and software."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.measure import environment as env

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc and /sys: Linux only")

MACHINE = {
    "cpu_model": "Some CPU", "machine": "x86_64", "cores_usable": 2.0, "memory_bytes": 16 << 30,
    "memory_limit_bytes": None, "os": "Linux Debian", "gpus": [{"name": "G", "driver": "1"}],
    "packages": {"numpy": "1"}, "variables": {}, "info": {"load_average": [0, 0, 0]}, "unknown": {},
}  # fmt: skip


def test_an_environment_is_strict_json_with_a_reason_for_each_failure() -> None:
    collected = env.collect(["pytest"])
    text = json.dumps(collected, allow_nan=False)
    assert json.loads(text) == collected
    for key, reason in collected["unknown"].items():
        assert collected[key] is None
        assert len(reason) > 10


def test_a_collector_that_fails_costs_only_its_own_key(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> str:
        raise OSError("no such thing in /home/somebody/secret/file")

    monkeypatch.setattr(env, "cpu_model", broken)
    collected = env.collect()
    assert collected["cpu_model"] is None
    assert collected["unknown"]["cpu_model"] == "OSError: no such thing in <path>/file"
    assert collected["memory_bytes"] > 0


def test_neither_host_nor_home_nor_folders_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD", "/home/somebody/lib/libfast.so")
    monkeypatch.setenv("CUDA_API_TOKEN", "abc")
    text = json.dumps(env.collect(["pytest"], Path(__file__).parents[2]))
    assert "<path>/libfast.so" in text
    assert "/home/" not in text
    assert "CUDA_API_TOKEN" not in text
    node = os.uname().nodename
    assert len(node) < 4 or node not in text


def test_thread_settings_are_recorded_and_other_variables_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("MY_NAME", "x")
    found = env.variables()
    assert found["OMP_NUM_THREADS"] == "3"
    assert "MY_NAME" not in found


def test_packages_that_are_not_installed_are_none() -> None:
    found = env.read_packages(["pytest", "no-such-distribution"])
    assert found["pytest"] == pytest.__version__
    assert found["no-such-distribution"] is None


def test_affinity_limits_the_usable_cores() -> None:
    source = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]);" \
        "from harness.measure import environment as e; print(e.usable_cores())"  # fmt: skip
    shown = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True).stdout
    assert 0 < float(shown) <= 1


@pytest.mark.parametrize(
    ("files", "read", "expected"),
    [
        ({"own": "0::/a/b", "a/b/cpu.max": "max 100000", "a/cpu.max": "150000 100000"}, env.cpu_quota, 1.5),
        ({"own": "0::/a", "a/cpu.max": "max 100000"}, env.cpu_quota, None),
        (
            {"own": "3:cpu,cpuacct:/a", "cpu,cpuacct/a/cpu.cfs_quota_us": "50000",
             "cpu,cpuacct/a/cpu.cfs_period_us": "100000"},
            env.cpu_quota, 0.5,
        ),
        ({"own": "1:cpu:/", "cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, env.cpu_quota, None),
        ({"own": "0::/a/b", "a/b/memory.max": "max", "a/memory.max": "1048576"}, env.memory_limit, 1 << 20),
        ({"own": "4:memory:/a", "memory/a/memory.limit_in_bytes": "2097152"}, env.memory_limit, 2 << 20),
        ({"own": "4:memory:/a", "memory/a/memory.limit_in_bytes": "9223372036854771712"}, env.memory_limit, None),
    ],
)  # fmt: skip
def test_the_tightest_cgroup_limit_on_the_way_up_holds(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: dict[str, str],
    read: Callable[[], float | None],
    expected: float | None,
) -> None:
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    folders = env._cgroup_folders
    real_read = Path.read_text
    monkeypatch.setattr(env, "CGROUP", tmp_path)
    monkeypatch.setattr(
        Path,
        "read_text",
        lambda path, *a, **k: real_read(tmp_path / "own" if str(path) == "/proc/self/cgroup" else path),
    )
    assert folders("cpu" if read is env.cpu_quota else "memory")
    assert read() == expected


def test_git_state_tells_a_changed_checkout_from_a_clean_one(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)

    assert env.git_state(tmp_path) is None
    git("init")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-m", "first")
    clean = env.git_state(tmp_path)
    (tmp_path / "file").write_text("two")
    changed = env.git_state(tmp_path)
    assert clean is not None
    assert changed is not None
    assert len(clean["commit"]) == 40
    assert (clean["dirty"], changed["dirty"]) == (False, True)


def test_blas_is_reported_without_its_folder() -> None:
    pytest.importorskip("numpy")
    libraries = env.blas_info()
    assert libraries
    assert all("/" not in library["filepath"] and library["num_threads"] >= 1 for library in libraries)


def test_the_digest_ignores_the_load_and_the_fingerprint_the_software() -> None:
    busy = {**MACHINE, "info": {"load_average": [9, 9, 9]}}
    newer = {**MACHINE, "packages": {"numpy": "2"}}
    assert env.environment_digest(busy) == env.environment_digest(MACHINE)
    assert env.environment_digest(newer) != env.environment_digest(MACHINE)
    assert env.fingerprint(newer) == env.fingerprint(MACHINE)


@pytest.mark.parametrize(
    "change",
    [{"cpu_model": "Other"}, {"cores_usable": 1.0}, {"memory_bytes": 8 << 30}, {"memory_limit_bytes": 4 << 30},
     {"os": "Darwin 23"}, {"machine": "aarch64"}, {"gpus": []}],
)  # fmt: skip
def test_another_machine_has_another_fingerprint(change: dict[str, object]) -> None:
    assert env.fingerprint({**MACHINE, **change}) != env.fingerprint(MACHINE)


@given(st.integers(-(64 << 20), 64 << 20))
def test_a_kernel_that_keeps_a_little_more_memory_makes_no_other_machine(difference: int) -> None:
    assert env.fingerprint({**MACHINE, "memory_bytes": (16 << 30) + difference}) == env.fingerprint(MACHINE)


def test_the_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert env.environment_digest(dict(reversed(MACHINE.items()))) == env.environment_digest(MACHINE)
