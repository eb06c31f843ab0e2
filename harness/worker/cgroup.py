"""Control groups of its own for one cell: the kernel's own limits of memory and of processor time.

No allocation is too fast for this limit of memory, and what is written to a tmpfs counts as memory of who wrote it, so
that it limits the box's disk as well. Both versions of cgroups are spoken.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

_PREFIX = "harness-box-"
_PERIOD_US = 100_000


class CellGroup:
    """New cgroups. Raises OSError where none can be made: no root, a read-only /sys/fs/cgroup, no controller."""

    def __init__(self, memory_bytes: int, cores: int) -> None:
        self._memory, version = _folder("memory")
        self._cpu, version_of_cpu = _folder("cpu")
        quota = cores * _PERIOD_US
        try:
            if version == 1:
                _write(self._memory / "memory.limit_in_bytes", memory_bytes)
                swap = {"memory.memsw.limit_in_bytes": memory_bytes, "memory.swappiness": 0}
            else:
                _write(self._memory / "memory.max", memory_bytes)
                swap = {"memory.swap.max": 0}
            for name, value in swap.items():  # absent where the kernel does not account for swap
                if (self._memory / name).exists():
                    _write(self._memory / name, value)
            if version_of_cpu == 1:
                _write(self._cpu / "cpu.cfs_period_us", _PERIOD_US)
                _write(self._cpu / "cpu.cfs_quota_us", quota)
            else:
                _write(self._cpu / "cpu.max", f"{quota} {_PERIOD_US}")
        except OSError:
            self.end()
            raise

    def join(self) -> None:
        """Put this process, and what it starts, into the groups."""
        for folder in self._folders():
            _write(folder / "cgroup.procs", 0)

    def holds(self, pid: int) -> bool:
        """Whether that process is in all of them."""
        return all(pid in _members(folder) for folder in self._folders())

    def oom_kills(self) -> int:
        """How often the kernel has ended a process to keep the limit of memory."""
        for name in ("memory.oom_control", "memory.events"):
            words = _text(self._memory / name).split()
            if "oom_kill" in words:
                return int(words[words.index("oom_kill") + 1])
        return 0

    def end(self, within_s: float = 5.0) -> bool:
        """SIGKILL all that is in them, and remove them; whether nothing is left."""
        deadline = time.monotonic() + within_s
        while True:
            for folder in self._folders():
                for pid in _members(folder):
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                with suppress(OSError):
                    folder.rmdir()
            if not any(folder.exists() for folder in self._folders()):
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(0.002)

    def _folders(self) -> set[Path]:
        return {self._memory, self._cpu}


def _folder(controller: str) -> tuple[Path, int]:
    """A new group of that controller's, and which version of cgroups that is. Raises OSError."""
    parent, version = _parent(controller)
    for old in parent.glob(_PREFIX + "*"):  # of keepers that were killed
        if not Path("/proc", old.name.removeprefix(_PREFIX)).exists():
            with suppress(OSError):
                old.rmdir()
    folder = parent / f"{_PREFIX}{os.getpid()}"
    folder.mkdir(exist_ok=True)
    return folder, version


def _parent(controller: str) -> tuple[Path, int]:
    own = _own()
    why = OSError(f"no file system of cgroups with the {controller} controller is mounted")
    for line in sorted(Path("/proc/self/mountinfo").read_text("utf-8", "replace").splitlines()):
        fields, _, of_kind = line.partition(" - ")
        kind, _, options = of_kind.split(" ", 2)
        root, point = fields.split(" ")[3:5]
        if kind == "cgroup" and controller in options.split(","):
            return Path(point, os.path.relpath(own.get(controller, root), root)), 1
        if kind == "cgroup2" and controller in _text(Path(point, "cgroup.controllers")).split():
            # below a group that holds processes nothing can be limited, save for the root itself
            for parent in (Path(point, own.get("", "/").lstrip("/")), Path(point)):
                try:
                    if controller not in _text(parent / "cgroup.subtree_control").split():
                        _write(parent / "cgroup.subtree_control", f"+{controller}")
                    return parent, 2
                except OSError as error:
                    why = error
    raise why


def _own() -> dict[str, str]:
    """This process's group by controller; "" for version 2."""
    found = {}
    for line in Path("/proc/self/cgroup").read_text("utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        found.update(dict.fromkeys(controllers.split(","), path))
    return found


def _members(folder: Path) -> list[int]:
    return [int(pid) for pid in _text(folder / "cgroup.procs").split()]


def _write(path: Path, value: int | str) -> None:
    path.write_text(str(value), "ascii")


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except OSError:
        return ""
