"""The machine and the software a record was made on: what is needed to judge whether two numbers compare.

Every key is collected by one small function that may fail: the key is then None, and `unknown` says why. No host name,
user name or absolute path is recorded.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.redact import redact

__all__ = [
    "blas_info", "collect", "cpu_quota", "environment_digest", "fingerprint", "governor", "gpus", "memory_limit",
    "read_packages", "turbo", "usable_cores",
]  # fmt: skip

SCHEMA = 1
GIB = 1 << 30
CPU = Path("/sys/devices/system/cpu")
CGROUP = Path("/sys/fs/cgroup")
VARIABLE = re.compile(
    r"^(?:\w+_NUM_THREADS|OMP_\w+|KMP_\w+|MKL_\w+|GOTO_\w+|OPENBLAS_\w+|BLIS_\w+|RAYON_\w+|CUDA_\w+|NVIDIA_VISIBLE_DEVICES"
    r"|PYTORCH_\w+|TORCH_\w+|TOKENIZERS_PARALLELISM|MALLOC_\w+|GLIBC_TUNABLES|PYTHONHASHSEED|PYTHONMALLOC|LD_PRELOAD"
    r"|LC_ALL|LANG)$"
)
"""Environment variables that change speed, memory or results; no others are read."""
_SECRET = re.compile(r"TOKEN(?!IZERS)|SECRET|KEY|PASSW")


def collect(packages: Iterable[str] = (), checkout: Path | None = None) -> dict[str, Any]:
    """Everything, as JSON values. Versions of `packages` by distribution name; git state of the folder `checkout`.

    `info` holds what changes from minute to minute (load); it is no part of any digest. About 10 ms without a GPU and
    a checkout.
    """
    parts: dict[str, Callable[[], Any]] = {
        "cpu_model": cpu_model,
        "cores_logical": os.cpu_count,
        "cores_physical": cores_physical,
        "cores_usable": usable_cores,
        "affinity": affinity,
        "governor": governor,
        "turbo": turbo,
        "cpu_quota": cpu_quota,
        "memory_bytes": memory_total,
        "memory_limit_bytes": memory_limit,
        "virtualization": virtualization,
        "machine": platform.machine,
        "os": os_name,
        "kernel": platform.release,
        "libc": lambda: " ".join(platform.libc_ver()).strip() or None,
        "python": lambda: f"{platform.python_implementation()} {platform.python_version()}",
        "python_build": lambda: " ".join([*platform.python_build(), platform.python_compiler()]),
        "variables": variables,
        "gpus": gpus,
        "packages": lambda: read_packages(packages),
        "git": lambda: git_state(checkout) if checkout else None,
    }
    environment: dict[str, Any] = {"schema": SCHEMA}
    unknown: dict[str, str] = {}
    for key, part in parts.items():
        environment[key] = _soft(key, part, unknown)
    environment["info"] = {"load_average": _soft("load_average", lambda: list(os.getloadavg()), unknown)}
    environment["unknown"] = unknown
    return environment


def _soft(key: str, part: Callable[[], Any], unknown: dict[str, str]) -> Any:
    """The value of `part`; None, and the reason in `unknown`, where it fails: a record is made in any case."""
    try:
        return part()
    except (OSError, ValueError, LookupError, AttributeError, subprocess.SubprocessError) as error:
        unknown[key] = redact(f"{type(error).__name__}: {error}")
        return None


def environment_digest(environment: Mapping[str, Any]) -> str:
    """Name under which an environment is stored once: a digest of all but `info` and `unknown`."""
    return _digest({key: value for key, value in environment.items() if key not in {"info", "unknown"}})


def fingerprint(environment: Mapping[str, Any]) -> str:
    """Digest of what decides whether costs compare and whether a cell is done *here*: the machine, not its software.

    CPU model, architecture, usable cores, memory to the GiB (kernels keep differing parts), OS family, GPU names.
    """
    memory = environment.get("memory_bytes")
    limit = environment.get("memory_limit_bytes")
    sizes = [size for size in (memory, limit) if isinstance(size, int)]
    return _digest(
        {
            "cpu_model": environment.get("cpu_model"),
            "machine": environment.get("machine"),
            "cores_usable": environment.get("cores_usable"),
            "memory_gib": round(min(sizes) / GIB) if sizes else None,
            "os": str(environment.get("os")).split(" ")[0],
            "gpus": [gpu.get("name") for gpu in environment.get("gpus") or []],
        }
    )


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:16]


# --- processor -----------------------------------------------------------------------------------------------------


def _cpuinfo() -> list[dict[str, str]]:
    """One mapping per logical processor."""
    blocks = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").strip().split("\n\n")
    return [
        {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in block.splitlines())}
        for block in blocks
    ]


def cpu_model() -> str:
    """The processor's name for people; on ARM, which has none, implementer and part number."""
    if sys.platform == "darwin":
        return subprocess.run(
            ["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, timeout=2, check=True
        ).stdout.strip()
    first = _cpuinfo()[0]
    if "model name" in first:
        return first["model name"]
    return f"implementer {first['CPU implementer']} part {first['CPU part']}"


def cores_physical() -> int:
    """Cores without their hyper-threads."""
    pairs = {
        ((cpu / "topology/physical_package_id").read_text(), (cpu / "topology/core_id").read_text())
        for cpu in CPU.glob("cpu[0-9]*")
        if (cpu / "topology/core_id").exists()
    }
    if not pairs:
        raise ValueError("no core has a topology entry")
    return len(pairs)


def affinity() -> list[int]:
    """Processors on which this process may run."""
    return sorted(os.sched_getaffinity(0))


def usable_cores() -> float:
    """Cores that this process can really use: affinity, cut by the cgroup's quota."""
    cores = float(len(affinity()) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    quota = cpu_quota()
    return cores if quota is None else min(cores, quota)


def governor() -> str:
    """The frequency governors in use, joined where processors differ."""
    found = {path.read_text().strip() for path in CPU.glob("cpu[0-9]*/cpufreq/scaling_governor")}
    if not found:
        raise FileNotFoundError("no frequency scaling is visible (usual in a virtual machine)")
    return "+".join(sorted(found))


def turbo() -> bool:
    """Whether the processor may clock above its nominal frequency."""
    intel, generic = CPU / "intel_pstate/no_turbo", CPU / "cpufreq/boost"
    if intel.exists():
        return intel.read_text().strip() == "0"
    if generic.exists():
        return generic.read_text().strip() == "1"
    raise FileNotFoundError("no turbo switch is visible (usual in a virtual machine)")


def virtualization() -> str | None:
    """`container`, `virtual machine`, both, or None for bare metal as far as can be seen."""
    kinds = []
    if os.path.exists("/.dockerenv") or os.path.exists("/run/.containerenv"):
        kinds.append("container")
    if "hypervisor" in _cpuinfo()[0].get("flags", "").split() or os.path.exists("/sys/hypervisor/type"):
        kinds.append("virtual machine")
    return ", ".join(kinds) or None


# --- limits --------------------------------------------------------------------------------------------------------


def _cgroup_folders(controller: str) -> list[Path]:
    """Folders that may limit this process, innermost first: of version 2, then of version 1's `controller`."""
    folders: list[Path] = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        roots = [CGROUP / controllers, CGROUP / controller] if controllers else [CGROUP, CGROUP / "unified"]
        parts = Path(path.lstrip("/")).parts
        for root in roots:
            folders += [root.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1)]
    return folders


def cpu_quota() -> float | None:
    """The tightest cgroup quota on the way up, in cores; None without one."""
    quotas = []
    for folder in _cgroup_folders("cpu"):
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()
        elif (folder / "cpu.cfs_quota_us").exists():
            quota, period = (folder / "cpu.cfs_quota_us").read_text(), (folder / "cpu.cfs_period_us").read_text()
        else:
            continue
        if quota != "max" and int(quota) > 0:
            quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def memory_total() -> int:
    """Physical memory in bytes."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def memory_limit() -> int | None:
    """The tightest cgroup memory limit on the way up, in bytes; None where it does not bind below all memory."""
    limits = []
    for folder in _cgroup_folders("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            if (folder / name).exists() and (text := (folder / name).read_text().strip()) != "max":
                limits.append(int(text))
    tightest = min(limits, default=None)
    return tightest if tightest is not None and tightest < memory_total() else None


# --- software ------------------------------------------------------------------------------------------------------


def os_name() -> str:
    """System and distribution, as `Linux Debian GNU/Linux 12 (bookworm)`."""
    try:
        return f"{platform.system()} {platform.freedesktop_os_release()['PRETTY_NAME']}"
    except (OSError, KeyError):
        return f"{platform.system()} {platform.mac_ver()[0]}".strip()


def variables() -> dict[str, str]:
    """Environment variables that decide threads, devices, allocation and order, redacted."""
    return {
        key: redact(value)
        for key, value in sorted(os.environ.items())
        if VARIABLE.match(key) and not _SECRET.search(key)
    }


def read_packages(names: Iterable[str]) -> dict[str, str | None]:
    """Installed versions by distribution name, read without importing anything; None for what is not installed."""
    from importlib import metadata  # 10 ms, for those who ask

    versions: dict[str, str | None] = {}
    for name in sorted(set(names)):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def blas_info() -> list[dict[str, Any]]:
    """Linear algebra and threading libraries loaded *so far* in this process, with their threads.

    Call it in the child, after its libraries are imported. Keys as in threadpoolctl, file paths cut to the name.
    """
    from threadpoolctl import threadpool_info

    return [
        {key: os.path.basename(str(value)) if key == "filepath" else value for key, value in library.items()}
        for library in threadpool_info()
    ]


def git_state(checkout: Path) -> dict[str, Any] | None:
    """Commit and whether tracked files differ from it; None where `checkout` is no git checkout."""
    if not (checkout / ".git").exists():
        return None
    commit = _run(["git", "-C", str(checkout), "rev-parse", "HEAD"])
    changed = _run(["git", "-C", str(checkout), "--no-optional-locks", "status", "--porcelain", "-uno"])
    return {"commit": commit.strip(), "dirty": bool(changed.strip())}


def gpus() -> list[dict[str, str]]:
    """Name and driver version of each NVIDIA GPU, without starting CUDA; [] where there is none."""
    folder = Path("/proc/driver/nvidia")
    if folder.exists():
        driver = re.search(r"Kernel Module\D*([\d.]+)", _text(folder / "version"))
        found = []
        for card in sorted((folder / "gpus").glob("*/information")):
            name = re.search(r"^Model:\s*(.+)$", _text(card), re.MULTILINE)
            found.append({"name": name[1].strip() if name else "unknown", "driver": driver[1] if driver else "unknown"})
        if found:
            return found
    try:
        rows = _run(["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]).splitlines()
    except FileNotFoundError:
        return []
    return [
        dict(zip(("name", "driver"), (cell.strip() for cell in row.split(",")), strict=True)) for row in rows if row
    ]


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _run(command: Sequence[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout
