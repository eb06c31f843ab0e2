"""`--with`: two versions of one package in one run, each in a cached environment of its own; made from wheels here."""

from __future__ import annotations

import base64
import hashlib
import os
import signal
import socket
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from harness import overlay, paths
from harness.errors import UsageError
from harness.pins import parse_pins
from harness.record import Record
from harness.store import Store

HEADER = """
import numpy as np
from harness.tasks.limit.retrieval import Hits, Retriever

class Method(Retriever):
    def index(self, documents):
        self.n = len(documents)

    def search(self, queries, k):
        ids = np.tile(np.arange(k), (len(queries), 1))
        return Hits(ids, np.tile(np.arange(k, 0, -1.0), (len(queries), 1)))
"""
USER = """
    requires = ("toyindex",)

    def search(self, queries, k):
        import toyindex
        first = toyindex.first(self.n)
        ids = np.stack([(np.arange(k) + first) % self.n for _ in queries])
        return Hits(ids, np.tile(np.arange(k, 0, -1.0), (len(queries), 1)))
"""
ONE, TWO = "uses-toy@toyindex==1.0", "uses-toy@toyindex==2.0"


def write_wheel(folder: Path, name: str, version: str, source: str, needs: str = "") -> Path:
    """A wheel of one module, as an index would serve it."""
    info = f"{name}-{version}.dist-info"
    requires = f"Requires-Dist: {needs}\n" if needs else ""
    files = {
        f"{name}.py": source,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(text.encode())}\n"
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for place, text in {**files, f"{info}/RECORD": record + f"{info}/RECORD,,\n"}.items():
            wheel.writestr(place, text)
    return path


def settings(wheels: Path, cache: Path) -> dict[str, str]:
    """Variables with which pip knows one folder only."""
    where = {"PIP_FIND_LINKS": str(wheels), "XDG_CACHE_HOME": str(cache)}
    return {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", **where}


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all pip knows, with toyindex 1.0. Caches are the test's own."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    write_wheel(folder, "toyindex", "1.0", "__version__ = '1.0'\ndef first(n): return 0\n")
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    for name, value in settings(folder, tmp_path / "cache").items():
        monkeypatch.setenv(name, value)
    return folder


class Told(NamedTuple):
    """What one of several commands said, and the records that there were after it."""

    code: int
    out: str
    records: dict[str, list[Record]]

    def one(self, row: str) -> Record:
        (record,) = self.records[row]
        return record


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Told]:
    """A user's day with `--with`, in one folder; each test below reads a part of it."""
    folder = tmp_path_factory.mktemp("side-by-side")
    wheels = folder / "wheels"
    wheels.mkdir()
    variables = {k: v for k, v in os.environ.items() if not k.startswith("PIP_")}
    variables |= settings(wheels, folder / "cache")
    environments = folder / "cache" / "limits-harness" / "environments"
    for version, first in (("1.0", "0"), ("2.0", "n // 2")):
        write_wheel(wheels, "toyindex", version, f"__version__ = {version!r}\ndef first(n): return {first}\n")
    (folder / "uses_toy.py").write_text(HEADER + USER)
    (folder / "plain.py").write_text(HEADER)

    def harness(*words: str) -> Told:
        done = subprocess.run(
            [sys.executable, "-m", "harness", *words, "--results", "results"], capture_output=True, text=True,
            cwd=folder, env=variables, stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        records: dict[str, list[Record]] = {}
        for record in Store(folder / "results").load()[0]:
            records.setdefault(record.baseline.name, []).append(record)
        return Told(done.returncode, done.stdout + done.stderr, records)

    case = ["run", "--task", "limit/retrieval", "--case", "46-dense", "--scale", "smoke", "--seeds", "1"]
    both = [*case, "--with", "toyindex==1.0", "--with", "toyindex==2.0", "--baseline", "uses_toy.py"]
    parts = {"dry before": harness(*both, "plain.py", "--dry-run")}
    assert not environments.exists()
    parts["first"] = harness(*both, "plain.py")
    parts["missing"] = harness(*both, "--with", "toyindex==3.0", "--with", "current", "--seeds", "2")
    parts["left"] = Told(0, "\n".join(os.listdir(environments)), {})
    for wheel in wheels.iterdir():
        wheel.unlink()  # from here on pip could find nothing
    parts["dry after"] = harness(*both, "--with", "toyindex==3.0", "--dry-run")
    parts["again"] = harness(*both)
    parts["rerun"] = harness("rerun", parts["first"].one(TWO).id, "--baseline", "uses_toy.py")
    parts["path"] = harness("results", "path")
    harness("results", "clean", "--caches")
    assert not environments.exists()
    return parts


def test_two_versions_of_one_package_run_side_by_side(told: dict[str, Told]) -> None:
    ran = told["first"]
    assert ran.code == 0, ran.out
    assert set(ran.records) == {ONE, TWO, "plain"}
    one, two = ran.one(ONE), ran.one(TWO)
    assert one.key != two.key
    for record, version in ((one, "1.0"), (two, "2.0")):
        assert record.status == "ok"
        assert record.provenance.libraries["toyindex"] == version
        assert record.baseline.pinned is not None
        assert record.baseline.pinned.requirements == [f"toyindex=={version}"]
        assert record.baseline.pinned.packages == {"toyindex": version}
        assert len(record.baseline.pinned.lock) == 64
        assert record.notes == []
        assert f"--with toyindex=={version}" in record.provenance.command
    assert one.baseline.pinned != two.baseline.pinned
    assert [s.value for s in one.scores] != [s.value for s in two.scores]


def test_a_row_that_no_pin_touches_runs_as_ever(told: dict[str, Told]) -> None:
    plain = told["first"].one("plain")
    assert plain.baseline.pinned is None
    assert "toyindex" not in plain.provenance.libraries


def test_environments_are_made_before_anything_is_timed(told: dict[str, Told]) -> None:
    out = told["first"].out
    assert 0 < out.index("making an environment with toyindex==1.0") < out.index("3 cells to run")


def test_a_second_run_has_nothing_to_do_and_needs_no_wheel(told: dict[str, Told]) -> None:
    assert "0 cells to run, 2 done before" in told["again"].out
    assert "making" not in told["again"].out


def test_a_version_that_does_not_exist_costs_its_row_one_skipped_record(told: dict[str, Told]) -> None:
    ran = told["missing"]
    assert ran.code == 1
    missing = ran.one("uses-toy@toyindex==3.0")
    assert missing.status == "skipped"
    assert "No matching distribution found for toyindex==3.0" in missing.reason
    assert "pip index versions toyindex" in missing.reason
    assert [r.status for r in ran.records[ONE] + ran.records[TWO]] == ["ok"] * 4
    assert len(told["left"].out.split()) == 2  # nothing half made is left


def test_what_is_installed_runs_beside_only_if_asked_for(told: dict[str, Told]) -> None:
    assert "uses-toy" not in told["first"].records
    beside = told["missing"].records["uses-toy"]
    assert {r.status for r in beside} == {"skipped"}
    assert "toyindex is not installed" in beside[0].reason


def test_a_dry_run_says_which_environments_there_are(told: dict[str, Told]) -> None:
    assert told["dry before"].code == told["dry after"].code == 0
    assert "would make an environment with toyindex==1.0" in told["dry before"].out
    assert "environment with toyindex==1.0 is there" in told["dry after"].out
    assert "would make an environment with toyindex==3.0" in told["dry after"].out


def test_rerun_repeats_a_pinned_record_with_its_pins(told: dict[str, Told]) -> None:
    again = told["rerun"]
    assert again.code == 0, again.out
    assert "the same to the last bit" in again.out
    assert again.records[TWO][-1].key == told["first"].one(TWO).key
    assert len(again.records[TWO]) == len(told["again"].records[TWO]) + 1


def test_the_caches_that_are_listed_include_the_environments(told: dict[str, Told]) -> None:
    assert "pinned environments" in told["path"].out


def test_an_interrupt_while_pip_works_leaves_nothing(tmp_path: Path, method, wheels: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # an index that never answers
        port = silent.getsockname()[1]
        variables = {**os.environ, "PIP_INDEX_URL": f"http://127.0.0.1:{port}/simple"}
        del variables["PIP_NO_INDEX"]
        words = ["run", "--task", "limit/retrieval", "--baseline", str(method("uses-toy", USER))]
        process = subprocess.Popen(
            [sys.executable, "-m", "harness", *words, "--with", "toyindex==1.0", "--results", str(tmp_path / "r")],
            env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        silent.settimeout(60)
        connection, _ = silent.accept()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 130
        connection.settimeout(60)
        while connection.recv(1 << 16):  # nothing more comes once pip has ended
            pass
    assert list(paths.overlays_root().iterdir()) == []


@pytest.mark.parametrize(
    ("pin", "part"),
    [
        ("toyindex", "--with faiss-cpu==1.11.0"),
        ("toyindex>=1.0", "no pinned version"),
        ("toyindex==1.*", "no pinned version"),
        ("toyindex @ file:///somewhere", "no pinned version"),
        ("toyindex==1.0,toy_index==", "no pinned version"),
        ("", "no pinned version"),
        ("toyindex==1.0,ToyIndex==2.0", "write --with twice"),
        ("pydantic==2.6.0", "no chosen row needs pydantic; they require toyindex"),
    ],
)
def test_a_pin_that_cannot_be_meant_is_refused_with_an_example(pin, part, method, harness_cli, smoke) -> None:
    ran = harness_cli(*smoke, "--baseline", method("uses-toy", USER), "--with", pin)
    assert ran.code == 2, ran.out
    assert part in ran.err
    assert "Traceback" not in ran.err
    assert not (ran.results / "records").exists()


def test_a_package_that_lacks_what_the_row_requires_says_so(harness_cli, smoke, method, wheels: Path) -> None:
    path = method("uses-other", 'requires = ("othertoy",)')
    ran = harness_cli(*smoke, "--baseline", path, "--with", "toyindex==1.0")
    record = ran.one("uses-other@toyindex==1.0")
    assert record.status == "skipped"
    assert "othertoy" in record.reason


def test_a_pin_that_is_not_what_gets_imported_is_noted(harness_cli, smoke, method, wheels: Path, tmp_path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "toyindex.py").write_text("__version__ = '0.5'\ndef first(n): return 0\n")
    trick = f"import sys; sys.path.insert(0, {str(other)!r}); sys.modules.pop('toyindex', None); import toyindex"
    path = method("uses-toy", USER + f"\n    def load(self):\n        {trick}\n")
    ran = harness_cli(*smoke, "--baseline", path, "--with", "toyindex==1.0")
    record = ran.one(ONE)
    assert record.status == "ok", record.reason
    assert record.notes == ["toyindex==1.0 was not what was imported: toyindex 0.5"]


def test_installed_packages_stay_unless_the_pin_cannot_go_with_them(wheels: Path) -> None:
    write_wheel(wheels, "toyneeds", "1.0", "", "numpy>=1")
    write_wheel(wheels, "toyneeds", "2.0", "", "numpy==0.0.1")
    write_wheel(wheels, "numpy", "0.0.1", "")
    kept = overlay.make(overlay.find(("toyneeds==1.0",)))
    assert (dict(kept.packages), kept.note, kept.problem) == ({"toyneeds": "1.0"}, "", "")
    moved = overlay.make(overlay.find(("toyneeds==2.0",)))
    assert moved.packages == {"toyneeds": "2.0", "numpy": "0.0.1"}
    assert f"numpy {np.__version__} -> 0.0.1" in moved.note


def test_an_installation_that_was_cut_off_does_not_count_as_made(wheels: Path) -> None:
    half = overlay.find(("toyindex==1.0",))
    half.site.mkdir(parents=True)
    (half.site / "toyindex.py").write_text("half")
    assert not overlay.find(half.requirements).lock
    made = overlay.make(half)
    assert made.lock
    assert not made.problem
    assert (made.site / "toyindex.py").read_text() != "half"
    assert overlay.make(half) == made  # as a second run that was at it at the same time


def test_the_lock_says_what_was_installed_and_not_where(wheels: Path, monkeypatch, tmp_path: Path) -> None:
    first = overlay.make(overlay.find(("toyindex==1.0",)))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    second = overlay.make(overlay.find(("toyindex==1.0",)))
    assert first.folder != second.folder
    assert first.lock == second.lock
    write_wheel(wheels, "toyindex", "1.0", "__version__ = '1.0'\ndef first(n): return 7\n")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "third"))
    assert overlay.make(overlay.find(("toyindex==1.0",))).lock != first.lock


def test_without_an_index_the_reason_says_what_to_do(wheels: Path, monkeypatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    problem = overlay.make(overlay.find(("elsewhere==1.0",))).problem
    assert "no package index was reached; where there is no network, name a folder" in problem
    assert "127.0.0.1" not in problem


def test_pins_are_compared_by_their_normalised_names() -> None:
    assert parse_pins("Faiss_CPU==1.11.0 , numpy==1.26.4") == ("faiss-cpu==1.11.0", "numpy==1.26.4")
    assert parse_pins("numpy==1.26.4,faiss.cpu==1.11.0") == parse_pins("faiss-cpu==1.11.0,numpy==1.26.4")
    assert parse_pins("current") == ()
    with pytest.raises(UsageError, match="write NAME==VERSION"):
        parse_pins("faiss-cpu=1.11.0")
