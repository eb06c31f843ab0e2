"""`harness doctor`: can this machine give comparable numbers? Each finding is a sentence that ends in what to do."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from json import dumps
from pathlib import Path
from typing import Literal

from harness.measure import canary, environment, memory
from harness.paths import DEFAULT_RESULTS
from harness.worker.seal import landlock_abi, probe

__all__ = ["Finding", "configure", "execute", "findings", "run"]

Level = Literal["ok", "warn", "bad"]
CANARY_SECONDS = 1.0
GIB = 1 << 30


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `bad`: figures from here would mislead; `warn`: read them with care."""

    level: Level
    what: str
    sentence: str


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--json", action="store_true", help="findings for machines")
    parser.add_argument("--results", type=Path, default=DEFAULT_RESULTS, metavar="DIR", help="whose disk to look at")


def execute(options: argparse.Namespace) -> int:
    """Print the findings; exit code 1 if any is bad."""
    return run(options.json, options.results)


def run(json: bool = False, results: Path = DEFAULT_RESULTS) -> int:
    """Print the findings, for people or as JSON; 1 if any is bad, else 0. Takes about a second."""
    found = findings(results)
    if json:
        print(dumps([asdict(finding) for finding in found], indent=1))
    else:
        width = max(len(finding.what) for finding in found)
        for finding in found:
            print(f"{finding.level:<4}  {finding.what:<{width}}  {finding.sentence}")
    return 1 if any(finding.level == "bad" for finding in found) else 0


def findings(results: Path = DEFAULT_RESULTS) -> list[Finding]:
    """All findings, in a fixed order; `results` is the folder whose disk must hold the records."""
    # Load and steal first: the canary below is itself a load.
    machine = environment.collect()
    load = machine["info"]["load_average"]
    before = steal_ticks()
    sample = _canary_for(CANARY_SECONDS)
    after = steal_ticks()
    return [
        system(sys.platform),
        cores(machine["cores_usable"], machine["cores_logical"]),
        affinity(machine["affinity"], machine["cores_logical"]),
        governor(machine["governor"]),
        turbo(machine["turbo"]),
        busy(load[0] if load else None, machine["cores_logical"]),
        steal(before, after),
        cpu_quota(machine["cpu_quota"]),
        memory_limit(machine["memory_limit_bytes"], machine["memory_bytes"]),
        threads(machine["variables"] or {}),
        gpu(machine["gpus"]),
        clear_refs(memory.clear_refs_writable()),
        quiet(canary.summarise([sample])),
        disk(_free_bytes(results)),
        sealing(*_sealed()),
    ]


def _canary_for(seconds: float) -> canary.CanarySample:
    """Rounds of the canary until `seconds` have passed, at least two."""
    wall: list[int] = []
    cpu: list[int] = []
    end = time.perf_counter() + seconds
    while len(wall) < 2 or time.perf_counter() < end:
        one = canary.canary()
        wall += one.wall_ns
        cpu += one.cpu_ns
    return canary.CanarySample(canary.CANARY_VERSION, tuple(wall), tuple(cpu))


def steal_ticks() -> tuple[int, int] | None:
    """(ticks taken by the hypervisor, all ticks) since boot, over all processors; None where it is not told."""
    try:
        ticks = [int(part) for part in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    except (OSError, ValueError):
        return None
    return (ticks[7], sum(ticks)) if len(ticks) == 8 else None


def _sealed() -> tuple[tuple[str, ...], tuple[str, ...], int]:
    """Layers that a sealed process would be held by here, those that are missing, and the version of Landlock."""
    found = probe()
    return found.layers, found.missing, landlock_abi()


def _free_bytes(folder: Path) -> int | None:
    """Free bytes on the disk that `folder` is, or would be, on."""
    existing = next((each for each in [folder.absolute(), *folder.absolute().parents] if each.is_dir()), None)
    try:
        return None if existing is None else shutil.disk_usage(existing).free
    except OSError:
        return None


# --- one judgement each; what was read goes in, so that every answer can be tested anywhere ------------------------


def system(name: str) -> Finding:
    if name.startswith("linux"):
        return Finding("ok", "system", "Linux, the supported system; nothing to do.")
    return Finding(
        "bad", "system", f"This is {name}: memory is not measured and limits are not kept here; run on Linux."
    )


def cores(usable: float | None, logical: int | None) -> Finding:
    if usable is None:
        return Finding("warn", "cores", "The number of usable cores is not known; pass --threads.")
    if usable < 2:
        return Finding(
            "warn", "cores", f"{usable:g} usable core: the run itself competes with what it measures; use two or more."
        )
    return Finding("ok", "cores", f"{usable:g} of {logical} cores are usable; set how many a method gets by --threads.")


def affinity(allowed: list[int] | None, logical: int | None) -> Finding:
    if allowed is None or logical is None:
        return Finding("warn", "affinity", "The affinity is not known here; read latencies with care.")
    if len(allowed) < logical:
        return Finding(
            "warn", "affinity",
            f"Bound to {len(allowed)} of {logical} cores, which makes this another machine in the records; "
            "lift it with `taskset -p`, or keep it for all runs that you compare.",
        )  # fmt: skip
    return Finding("ok", "affinity", "Not bound to particular cores; nothing to do.")


def governor(name: str | None) -> Finding:
    if name is None:
        return Finding(
            "warn",
            "governor",
            "The frequency governor is hidden (usual in a virtual machine); watch the canary instead.",
        )
    if name != "performance":
        return Finding(
            "warn", "governor",
            f"The governor is {name}: clocks follow the load; run `sudo cpupower frequency-set -g performance`.",
        )  # fmt: skip
    return Finding("ok", "governor", "The governor is performance; nothing to do.")


def turbo(on: bool | None) -> Finding:
    if on is None:
        return Finding("warn", "turbo", "Whether turbo is on is hidden; watch the canary instead.")
    if on:
        return Finding(
            "warn", "turbo",
            "Turbo is on: clocks depend on temperature and neighbours; "
            "turn it off for latencies that you publish (intel_pstate/no_turbo or cpufreq/boost under /sys).",
        )  # fmt: skip
    return Finding("ok", "turbo", "Turbo is off; nothing to do.")


def busy(load: float | None, logical: int | None) -> Finding:
    if load is None:
        return Finding("warn", "load", "The load is not known here; make sure that nothing else runs.")
    share = load / (logical or 1)
    if share > 0.5:
        level: Level = "bad" if share > 1 else "warn"
        return Finding(level, "load", f"The load is {load:.2f} on {logical} cores; end what else runs, or wait.")
    return Finding("ok", "load", f"The load is {load:.2f} on {logical} cores; nothing to do.")


def steal(before: tuple[int, int] | None, after: tuple[int, int] | None) -> Finding:
    if before is None or after is None or after[1] <= before[1]:
        return Finding("warn", "steal", "Time taken by a hypervisor is not told here; watch the canary instead.")
    share = (after[0] - before[0]) / (after[1] - before[1])
    if share > 0.01:
        return Finding(
            "bad" if share > 0.05 else "warn", "steal",
            f"The hypervisor took {share:.1%} of the time; use a machine with cores of its own.",
        )  # fmt: skip
    return Finding("ok", "steal", f"The hypervisor took {share:.1%} of the time; nothing to do.")


def cpu_quota(quota: float | None) -> Finding:
    if quota is None:
        return Finding("ok", "cpu quota", "No cgroup quota holds; nothing to do.")
    level: Level = "ok" if quota.is_integer() and quota >= 2 else "warn"
    advice = "pass --threads of at most that" if quota >= 1 else "raise it to two cores or more"
    return Finding(
        level, "cpu quota", f"A cgroup allows {quota:g} cores; more threads than that are paused in bursts: {advice}."
    )


def memory_limit(limit: int | None, total: int | None) -> Finding:
    if limit is None:
        size = "" if total is None else f" of {total / GIB:.1f} GiB"
        return Finding(
            "ok", "memory", f"No cgroup limit holds below all memory{size}; set one a cell by --memory-limit."
        )
    level: Level = "warn" if limit < 4 * GIB else "ok"
    return Finding(
        level, "memory", f"A cgroup allows {limit / GIB:.1f} GiB for everything; set --memory-limit well below it."
    )


def threads(variables: Mapping[str, str]) -> Finding:
    found = {key: value for key, value in variables.items() if key.endswith("_NUM_THREADS")}
    if not found:
        return Finding("ok", "threads", "No *_NUM_THREADS variable is set; --threads sets them all for each cell.")
    shown = ", ".join(f"{key}={value}" for key, value in found.items())
    return Finding(
        "warn" if len(set(found.values())) > 1 else "ok", "threads",
        f"{shown} in the environment; each cell gets --threads instead, so unset them to avoid confusion.",
    )  # fmt: skip


def gpu(gpus: list[dict[str, str]] | None) -> Finding:
    if gpus is None:
        return Finding("warn", "gpu", "The GPU driver does not answer; check `nvidia-smi`, or pass --device cpu.")
    if not gpus:
        return Finding("ok", "gpu", "No NVIDIA GPU; everything runs with --device cpu.")
    shown = ", ".join(f"{each.get('name', '?')} (driver {each.get('driver', '?')})" for each in gpus)
    return Finding(
        "ok", "gpu", f"{shown}; make sure by `nvidia-smi` that nobody else uses it, then pass --device cuda."
    )


def clear_refs(writable: bool) -> Finding:
    if writable:
        return Finding("ok", "peak memory", "Peaks can be reset (/proc/PID/clear_refs is writable); nothing to do.")
    return Finding(
        "bad", "peak memory",
        "Peaks cannot be reset (/proc/PID/clear_refs is not writable), so a phase's peak is that of the whole cell; "
        "run outside the sandbox, or read memory per cell only.",
    )  # fmt: skip


def quiet(summary: canary.CanarySummary) -> Finding:
    cov = summary.cov or 0.0
    shown = f"A fixed calculation varied by {cov:.1%} (median {summary.median_ns / 1e6:.1f} ms of {summary.n} rounds)"
    if summary.waited > 0.05:
        shown += f" and waited {summary.waited:.0%} of the time for a core"
    if cov > 0.10:
        return Finding("bad", "canary", f"{shown}: this machine is noisy; end what else runs, then run doctor again.")
    if cov > 0.03:
        return Finding("warn", "canary", f"{shown}; look for other load, and compare only within one run.")
    return Finding("ok", "canary", f"{shown}; nothing to do.")


def disk(free: int | None) -> Finding:
    if free is None:
        return Finding(
            "warn", "disk", "The free space for results is not known; pass a folder that exists by --results."
        )
    if free < GIB:
        level: Level = "bad" if free < 100 << 20 else "warn"
        return Finding(
            level, "disk", f"{free / GIB:.2f} GiB are free for results; run `harness results clean`, or pass --results."
        )
    return Finding("ok", "disk", f"{free / GIB:.1f} GiB are free for results; nothing to do.")


def sealing(layers: tuple[str, ...], missing: tuple[str, ...], landlock: int) -> Finding:
    if not missing:
        shown = f"{', '.join(layers)} (Landlock ABI {landlock}, seccomp)"
        return Finding("ok", "seal", f"A sealed decoder is cut off from what it must not see: {shown}; nothing to do.")
    held = f"holds for {', '.join(layers)} only" if layers else "does not hold at all"
    return Finding(
        "warn", "seal",
        f"The seal of a decoder {held}, because of {'; '.join(missing)}: run tasks that seal (compression) elsewhere.",
    )  # fmt: skip
