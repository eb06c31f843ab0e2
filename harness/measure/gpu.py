"""Time and memory on an NVIDIA GPU, from inside the child that uses it.

Three memory figures that are never added: what torch's allocator handed out, what it keeps reserved, and what the
driver counts for the process (context, library workspaces and other allocators included).
"""

from __future__ import annotations

import importlib
import os
import subprocess
from dataclasses import asdict, dataclass
from typing import Any

__all__ = [
    "EventTimer",
    "GpuMemory",
    "available",
    "device_name",
    "driver_bytes",
    "memory",
    "peak",
    "reset_peak",
    "synchronize",
]


@dataclass(frozen=True)
class GpuMemory:
    """Bytes on one device since the last `reset_peak`; `driver_bytes` is of now (drivers keep no peak)."""

    allocated_peak_bytes: int
    reserved_peak_bytes: int
    driver_bytes: int | None


def _torch() -> Any:
    # Imported by name: torch is no dependency of the core, and takes seconds.
    return importlib.import_module("torch")


def available() -> bool:
    """Whether torch is installed and sees a CUDA device. Starts CUDA: never call it before a fork."""
    try:
        return bool(_torch().cuda.is_available())
    except (ImportError, OSError):
        return False


def device_name(device: int = 0) -> str | None:
    """The device really used, as torch names it; None without one."""
    return str(_torch().cuda.get_device_name(device)) if available() else None


def synchronize(device: int = 0) -> None:
    """Wait for all streams of the device. Nothing without one."""
    if available():
        _torch().cuda.synchronize(device)


def reset_peak(device: int = 0) -> bool:
    """Start a new peak at what is allocated now. False without a device."""
    if not available():
        return False
    synchronize(device)
    _torch().cuda.reset_peak_memory_stats(device)
    return True


def memory(device: int = 0) -> GpuMemory | None:
    """Peaks since `reset_peak`, after waiting for the device; None without one."""
    if not available():
        return None
    synchronize(device)
    cuda = _torch().cuda
    return GpuMemory(
        int(cuda.max_memory_allocated(device)), int(cuda.max_memory_reserved(device)), driver_bytes(os.getpid())
    )


def peak() -> dict[str, int | None] | None:
    """`memory()` of the first device as JSON."""
    now = memory()
    return None if now is None else asdict(now)


def driver_bytes(pid: int) -> int | None:
    """What the driver counts for `pid` on all GPUs: by pynvml, else nvidia-smi; None where neither can tell.

    In a container the driver may know the process under another pid; that too is None.
    """
    try:
        return _by_nvml(pid)
    except ImportError:
        return _by_smi(pid)


def _by_nvml(pid: int) -> int | None:
    nvml = importlib.import_module("pynvml")
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return None
    try:
        used = [
            process.usedGpuMemory
            for index in range(nvml.nvmlDeviceGetCount())
            for process in nvml.nvmlDeviceGetComputeRunningProcesses(nvml.nvmlDeviceGetHandleByIndex(index))
            if process.pid == pid and process.usedGpuMemory is not None
        ]
    except nvml.NVMLError:
        return None
    finally:
        nvml.nvmlShutdown()
    return sum(used) if used else None


def _by_smi(pid: int) -> int | None:
    command = ["nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"]
    try:
        output = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return parse_compute_apps(output, pid)


def parse_compute_apps(output: str, pid: int) -> int | None:
    """Bytes of `pid` in nvidia-smi's table of `pid, MiB` lines; None where it is absent or shown as not available."""
    used = []
    for line in output.splitlines():
        number, _, mib = (part.strip() for part in line.partition(","))
        if number == str(pid) and mib.isdigit():
            used.append(int(mib) << 20)
    return sum(used) if used else None


class EventTimer:
    """Device time of many calls: an event before and after each, one device-wide wait at the end.

    Waiting after each call would add the wait to the time and empty the queue that keeps the device busy. Events lie on
    the current stream: work that a call puts on other streams and does not join escapes them, so compare the sum with
    the wall time up to the return of `finish`, which waits for all streams.
    """

    def __init__(self, device: int = 0) -> None:
        if not available():
            raise RuntimeError("no CUDA device is visible to torch; run with --device cpu, or check the driver")
        self._cuda = _torch().cuda
        self._device = device
        self._pairs: list[tuple[Any, Any]] = []

    def start(self) -> None:
        """Before a call. Both events are made here, so that `stop` does nothing but record."""
        pair = (self._cuda.Event(enable_timing=True), self._cuda.Event(enable_timing=True))
        self._pairs.append(pair)
        pair[0].record()

    def stop(self) -> None:
        """After the call that `start` announced."""
        self._pairs[-1][1].record()

    def finish(self) -> list[int]:
        """Nanoseconds of each call, in order, after one wait for the whole device. Forgets them."""
        self._cuda.synchronize(self._device)
        times = [round(start.elapsed_time(end) * 1e6) for start, end in self._pairs]
        self._pairs.clear()
        return times
