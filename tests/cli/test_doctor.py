"""Claims about what `harness doctor` finds and says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from harness.cli import doctor
from harness.cli.doctor import GIB, Finding
from harness.measure.canary import CanarySummary


def summary(cov: float, waited: float = 0.0) -> CanarySummary:
    return CanarySummary(30, 33e6, cov, waited)


@pytest.mark.parametrize(
    ("finding", "level", "advice"),
    [
        (doctor.system("linux"), "ok", "nothing to do"),
        (doctor.system("darwin"), "bad", "run on Linux"),
        (doctor.cores(8.0, 8), "ok", "--threads"),
        (doctor.cores(1.0, 2), "warn", "two or more"),
        (doctor.cores(None, None), "warn", "--threads"),
        (doctor.affinity([0, 1], 2), "ok", "nothing to do"),
        (doctor.affinity([1], 2), "warn", "compare"),
        (doctor.affinity(None, 2), "warn", "with care"),
        (doctor.governor("performance"), "ok", "nothing to do"),
        (doctor.governor("powersave"), "warn", "cpupower"),
        (doctor.governor(None), "warn", "canary"),
        (doctor.turbo(True), "warn", "/sys"),
        (doctor.turbo(False), "ok", "nothing to do"),
        (doctor.turbo(None), "warn", "canary"),
        (doctor.busy(0.2, 2), "ok", "nothing to do"),
        (doctor.busy(1.5, 2), "warn", "or wait"),
        (doctor.busy(5.0, 2), "bad", "or wait"),
        (doctor.busy(None, 2), "warn", "nothing else runs"),
        (doctor.steal((0, 100), (0, 200)), "ok", "nothing to do"),
        (doctor.steal((0, 100), (3, 200)), "warn", "cores of its own"),
        (doctor.steal((0, 100), (30, 200)), "bad", "cores of its own"),
        (doctor.steal(None, None), "warn", "canary"),
        (doctor.cpu_quota(None), "ok", "nothing to do"),
        (doctor.cpu_quota(4.0), "ok", "--threads"),
        (doctor.cpu_quota(0.5), "warn", "two cores or more"),
        (doctor.memory_limit(None, 16 * GIB), "ok", "--memory-limit"),
        (doctor.memory_limit(2 * GIB, 16 * GIB), "warn", "--memory-limit"),
        (doctor.threads({}), "ok", "--threads"),
        (doctor.threads({"OMP_NUM_THREADS": "4", "MKL_NUM_THREADS": "2"}), "warn", "unset"),
        (doctor.gpu([]), "ok", "--device cpu"),
        (doctor.gpu(None), "warn", "nvidia-smi"),
        (doctor.gpu([{"name": "G", "driver": "1"}]), "ok", "--device cuda"),
        (doctor.clear_refs(True), "ok", "nothing to do"),
        (doctor.clear_refs(False), "bad", "memory per cell"),
        (doctor.quiet(summary(0.01)), "ok", "nothing to do"),
        (doctor.quiet(summary(0.05, waited=0.2)), "warn", "within one run"),
        (doctor.quiet(summary(0.3)), "bad", "doctor again"),
        (doctor.disk(50 * GIB), "ok", "nothing to do"),
        (doctor.disk(GIB // 2), "warn", "harness results clean"),
        (doctor.disk(1 << 20), "bad", "--results"),
        (doctor.disk(None), "warn", "--results"),
        (doctor.sealing(("files", "network", "ipc"), (), 7), "ok", "nothing to do"),
        (doctor.sealing(("network", "ipc"), ("files: this kernel has no Landlock",), 0), "warn", "elsewhere"),
        (doctor.sealing((), ("files: no", "network: no", "ipc: no"), 0), "warn", "elsewhere"),
    ],
)
def test_each_finding_is_a_sentence_that_ends_in_what_to_do(finding: Finding, level: str, advice: str) -> None:
    assert finding.level == level
    last_part = re.split(r"[;:,] ", finding.sentence)[-1]
    assert advice in finding.sentence
    assert finding.sentence.endswith(".")
    assert len(last_part) < len(finding.sentence)


def test_this_machine_gets_every_finding_once(tmp_path: Path) -> None:
    found = doctor.findings(tmp_path / "not" / "made" / "yet")
    names = [finding.what for finding in found]
    assert len(names) == len(set(names)) == 15
    assert not (tmp_path / "not").exists()


def test_json_holds_the_same_findings_and_the_exit_code_tells_a_bad_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [doctor.cores(8.0, 8), doctor.system("darwin")]
    monkeypatch.setattr(doctor, "findings", lambda results: found)
    assert doctor.run(json=True) == 1
    shown = json.loads(capsys.readouterr().out)
    assert [Finding(**each) for each in shown] == found
    found.pop()
    assert doctor.run() == 0
    line = capsys.readouterr().out
    assert line.startswith("ok")
    assert "--threads" in line


def test_what_the_seal_lacks_is_named() -> None:
    finding = doctor.sealing(("network", "ipc"), ("files: this kernel has no Landlock",), 0)
    assert "files: this kernel has no Landlock" in finding.sentence
    assert "network, ipc only" in finding.sentence


def test_an_unreadable_machine_is_still_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = dict.fromkeys(
        ["cores_usable", "cores_logical", "affinity", "governor", "turbo", "cpu_quota", "memory_limit_bytes",
         "memory_bytes", "variables", "gpus"]
    ) | {"info": {"load_average": None}}  # fmt: skip
    monkeypatch.setattr("harness.measure.environment.collect", lambda: nothing)
    assert len(doctor.findings()) == 15


def test_the_command_line_reaches_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from harness.cli import main

    code = main(["doctor", "--json", "--results", str(tmp_path)])
    found = [Finding(**each) for each in json.loads(capsys.readouterr().out)]
    assert code == (1 if any(each.level == "bad" for each in found) else 0)
    assert len(found) == 15
