"""Memory and CPU time of another process, read from outside, so that nobody has to believe what it says of itself.

The protocol: `populate_file_mappings` in the child, `gc.collect()`, then from outside `reset_peak`, `status().rss` as
the base, and `status().hwm` as the peak of what follows. Not `ru_maxrss`: a child inherits its parent's through fork
and exec. Linux only (/proc); elsewhere the readers return None, False or an empty list.
"""

from __future__ import annotations

import ctypes
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "MemoryStatus", "clear_refs_writable", "cpu_ns", "descendants", "populate_file_mappings", "reset_peak", "status",
    "tree_rss",
]  # fmt: skip

MADV_POPULATE_READ = 22
"""Linux 5.14; older kernels answer EINVAL and nothing is populated."""
CPUCLOCK_SCHED = 2


@dataclass(frozen=True)
class MemoryStatus:
    """Resident memory in bytes, from /proc/PID/status."""

    rss: int
    hwm: int
    """Highest `rss` since the start of the program or the last `reset_peak`; counts file-backed pages as well."""
    rss_anon: int
    rss_file: int
    rss_shmem: int
    swap: int


def status(pid: int) -> MemoryStatus | None:
    """Memory of `pid`; None when it has ended (a zombie has no memory either) or cannot be read."""
    fields: dict[str, int] = {}
    try:
        with open(f"/proc/{pid}/status", "rb") as lines:
            for line in lines:
                name, _, value = line.partition(b":")
                if value.endswith(b" kB\n"):
                    fields[name.decode("ascii")] = int(value[:-4]) * 1024
    except (OSError, ValueError):
        return None
    if "VmRSS" not in fields:
        return None
    rss = fields["VmRSS"]
    return MemoryStatus(
        rss, fields.get("VmHWM", rss), fields.get("RssAnon", 0), fields.get("RssFile", 0), fields.get("RssShmem", 0),
        fields.get("VmSwap", 0),
    )  # fmt: skip


def reset_peak(pid: int) -> bool:
    """Set the peak (VmHWM) of `pid` to what it uses now. False where the system forbids it or `pid` has ended."""
    try:
        # Unbuffered: an error of the write itself must surface here and not at closing.
        with open(f"/proc/{pid}/clear_refs", "wb", buffering=0) as clear_refs:
            clear_refs.write(b"5")
    except OSError:
        return False
    return True


def clear_refs_writable() -> bool:
    """Whether peaks can be reset here at all. Tries it on this process, whose own peak is forgotten by that."""
    return reset_peak(os.getpid())


def descendants(pid: int) -> list[int]:
    """All living and unreaped descendants of `pid`, parents before children, without `pid`.

    A process whose parent ended in between belongs to somebody else (init or a subreaper) and is not found.
    """
    found: list[int] = []
    seen = {pid}
    parents: dict[int, list[int]] | None = None
    waiting = [pid]
    while waiting:
        current = waiting.pop(0)
        children = _children(current)
        if children is None:
            # Kernels without CONFIG_PROC_CHILDREN: one walk over all processes, made at most once.
            parents = _children_by_parent() if parents is None else parents
            children = parents.get(current, [])
        # A pid that comes up twice was reused while we looked: following it again would loop.
        new = [child for child in children if child not in seen]
        seen.update(new)
        found += new
        waiting += new
    return found


def _children(pid: int) -> list[int] | None:
    """Children of all threads of `pid`; None where the kernel does not list them, [] when `pid` has ended."""
    children: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    for thread in threads:
        try:
            children += map(int, Path(f"/proc/{pid}/task/{thread}/children").read_bytes().split())
        except FileNotFoundError:
            # Either the thread ended, or the kernel has no such file.
            if os.path.exists(f"/proc/{pid}/task/{thread}/stat"):
                return None
        except OSError:
            continue
    return children


def _children_by_parent() -> dict[int, list[int]]:
    children: dict[int, list[int]] = {}
    try:
        entries = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return children
    for pid in sorted(entries):
        # Ended in between: no entry.
        with suppress(OSError, ValueError, IndexError):
            # The name may itself hold spaces and parentheses; the parent's pid is the second field after it.
            fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
            children.setdefault(int(fields[1]), []).append(pid)
    return children


def tree_rss(pid: int) -> int:
    """Resident bytes of `pid` and all its descendants, added: pages they share are counted once for each."""
    statuses = (status(each) for each in [pid, *descendants(pid)])
    return sum(each.rss for each in statuses if each is not None)


def cpu_ns(pid: int) -> int | None:
    """CPU time of all threads of `pid` in nanoseconds, without its children; None when it has ended.

    Through the process's CPU-time clock, whose number is made from the pid (clock_getcpuclockid(3)): no attaching, and
    finer than the clock ticks of /proc/PID/stat.
    """
    if pid <= 0:
        raise ValueError(f"pid must be positive, got {pid}")
    try:
        return time.clock_gettime_ns((~pid << 3) | CPUCLOCK_SCHED)
    except (OSError, AttributeError):
        return None


def populate_file_mappings(max_bytes: int) -> int:
    """Fault in what this process has mapped from files (libraries, memory-mapped input), at most `max_bytes` of it.

    Otherwise the first calls of a measured phase fault these pages one by one, and its peak counts them.
    Small mappings first; a mapping that no longer fits is left out whole. Returns the bytes now resident.
    """
    try:
        mappings = sorted(_file_mappings(Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")))
        madvise = ctypes.CDLL(None, use_errno=True).madvise
    except (OSError, AttributeError):
        return 0
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    populated = 0
    for size, start in mappings:
        if populated + size > max_bytes:
            break
        # Fails on a mapping past its file's end or unmapped since: its pages stay as they are.
        if madvise(start, size, MADV_POPULATE_READ) == 0:
            populated += size
    return populated


def _file_mappings(maps: str) -> list[tuple[int, int]]:
    """(size, start) of each readable mapping of a regular file in the text of /proc/PID/maps."""
    found = []
    for line in maps.splitlines():
        fields = line.split(maxsplit=5)
        # Range, permissions, offset, device, inode, path. Devices are left alone: reading them may have effects.
        if len(fields) < 6 or not fields[1].startswith("r") or fields[4] == "0":
            continue
        if not fields[5].startswith("/") or fields[5].startswith("/dev/"):
            continue
        start, end = (int(part, 16) for part in fields[0].split("-"))
        found.append((end - start, start))
    return found
