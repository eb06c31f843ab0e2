"""The box: where a stranger's code runs. It needs root, and it fails closed: a layer that is missing means refusal.

A boxed child is no fork of the server but a fresh interpreter, started by bubblewrap twice. The first one, as root,
lays out the files, since another user could not reach most of them; it shows the interpreter, its packages, this
project without tasks and baselines, the source files that the cell needs, and the question. The second one, as a user
that owns nothing here, makes the namespaces: no network, no other processes, no shared memory but its own, and no
capability in any of them. Landlock and the system-call filter of `harness.worker.seal` are laid on top from inside.

The keeper stays outside. It makes the one folder that the child's answer can be written to, in a mount namespace of
its own; and before anything of a submission is loaded it looks at the child from outside and compares all this with
what was meant (`Box.admit`). Memory is limited by a cgroup, and so are processors, to one more than the threads that
the cell was given, for as long as its time lasts; processes and open files by rlimits; disk by the sizes of the three
file systems that can be written to, which are memory as well and count as such.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.executors.local import child_environment
from harness.measure import memory
from harness.worker import seal
from harness.worker.cgroup import CellGroup
from harness.worker.layout import SCRATCH, Layout
from harness.worker.linux import become_subreaper, kill_descendants

LAYERS = ("user", "namespaces", "memory", "cpu", "disk", "environment")
"""What holds for every boxed child, besides the layers of the seal."""
_OUT_BYTES = 4 << 30
_OUT_FILES, _PROCESSES, _FILES = 4096, 256, 4096
_SLACK_BYTES = 32 << 20
"""Of the kernel and of bubblewrap, in the cgroup."""
_FIRST_USER = 1_900_000_000
"""One user for each cell, of a range that no system hands out."""
_LIMITS = {
    resource.RLIMIT_CORE: "Max core file size", resource.RLIMIT_NPROC: "Max processes",
    resource.RLIMIT_NOFILE: "Max open files", resource.RLIMIT_FSIZE: "Max file size",
    resource.RLIMIT_MSGQUEUE: "Max msgqueue size",
}  # fmt: skip
"""As /proc names them: to ask for those of another user's process takes a capability that a container may lack. Not the
CPU time: a limit of that makes the kernel's own figure of it as coarse as its clock's ticks."""
_NAMESPACES = ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup")
_DISPOSABLE = 'a disposable virtual machine, or a GitHub-hosted runner (`sudo env PATH="$PATH" harness ...`)'


class BoxError(Exception):
    """The box cannot be made; the message says why."""


def missing_layers() -> list[str]:
    """What keeps this machine from running a stranger's code: one sentence a layer; empty if every layer holds."""
    if platform.system() != "Linux":
        return [f"namespaces: this is {platform.system()}; use Linux, in {_DISPOSABLE}"]
    missing = []
    if os.geteuid() != 0:
        missing.append(f"another user id: user {os.geteuid()} cannot become another one; run as root, in {_DISPOSABLE}")
    for program, package in (("bwrap", "bubblewrap"), ("setpriv", "util-linux")):
        if shutil.which(program) is None:
            missing.append(f"namespaces: {program} is not installed; type: apt-get install {package}")
    if os.geteuid() == 0:
        missing += _no_limits()
    missing += [f"system calls: {m.partition(': ')[2]}; use another kernel, in {_DISPOSABLE}"
                for m in seal.probe().missing if m.startswith("network")]  # fmt: skip
    return missing or _tried()


def require() -> None:
    """Raise HarnessError, with what to do about it, where a layer is missing."""
    if missing := missing_layers():
        raise HarnessError(
            "a stranger's code runs only where every layer of its isolation holds; here is missing: "
            + "; ".join(missing)
            + ". For a file of your own: --trust"
        )


def _no_limits() -> list[str]:
    try:
        CellGroup(1 << 30, 1).end()
    except OSError as error:
        return [f"memory and cpu: no cgroup with limits can be made ({error.strerror or error}); use {_DISPOSABLE}, or "
                "start the container with --privileged"]  # fmt: skip
    return []


@cache
def _tried() -> list[str]:
    """Start an empty box, in a process of its own, and look at it as the keeper does."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "harness.worker.box"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip
    said = (done.stdout.strip() or done.stderr.strip())[-400:]
    if done.returncode == 0 and not said:
        return []
    hint = "start the container with --privileged, or use " + _DISPOSABLE
    if Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").exists():
        hint = "type: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0 (on a disposable machine), or " + hint
    return [f"namespaces: an empty box does not start ({' '.join(said.split())}); {hint}"]


class Box:
    """The box of one cell, as its keeper holds it. Nothing here raises: `problem` says why a box does not hold."""

    def __init__(self, place: Path, spec: dict[str, Any]) -> None:
        self.problem = ""
        self.pid = 0
        """The boxed child's, as it is known outside; 0 until it was admitted."""
        self.sealed: dict[str, Any] | None = None
        self._user = _FIRST_USER + os.getpid()
        self._out = place / "out"
        self._outer: set[int] = set()
        self._group: CellGroup | None = None
        self._oom_kills = self._cpu_ns = 0
        try:
            self._make(spec)
        except (OSError, BoxError) as error:
            self.problem = str(error)

    def _make(self, spec: dict[str, Any]) -> None:
        cores = os.cpu_count() or 1
        self._variables = _variables(spec["threads"])
        self._limits = {
            resource.RLIMIT_CORE: 0,
            resource.RLIMIT_NPROC: max(_PROCESSES, 8 * cores),
            resource.RLIMIT_NOFILE: _FILES,
            resource.RLIMIT_FSIZE: _OUT_BYTES,
            resource.RLIMIT_MSGQUEUE: 0,
        }
        inside = spec["box"]
        named = (*inside["code"], spec["question"], spec["prepared"], inside["site"])
        shown = [Path(path) for path in named if path]
        _assert_readable(shown)
        self._files = Layout(
            shown, self._out, seal.hidden_paths([each for each in inside["hidden"] if "/" not in each])
        )
        self._group = CellGroup(spec["memory_limit_bytes"] + _SLACK_BYTES, spec["threads"] + 1)
        _own_mounts()
        self._out.mkdir()
        owned = f"mode=0700,uid={self._user},gid={self._user}"
        _mount_memory(self._out, f"size={_OUT_BYTES},nr_inodes={_OUT_FILES},{owned}")
        for_child = self._out / "spec.json"
        told = {**spec, "box": {**inside, "scratch": SCRATCH}, "cache_dir": "/box/cache", "checkpoint": "", "lock": ""}
        for_child.write_text(json.dumps(told), "utf-8")
        for_child.chmod(0o644)

    def enter(self, program: Sequence[str], pipes: Sequence[int] = ()) -> None:
        """Become the box, in a freshly forked process. Returns only if that fails."""
        assert self._group is not None
        self._group.join()
        os.umask(0o022)
        for limit, value in self._limits.items():
            resource.setrlimit(limit, (value, value))
        for fd in pipes:
            os.set_inheritable(fd, True)
        words = self._files.command(self._user, self._variables, program)
        os.execve(words[0], words, {})

    def child(self, pipes: Sequence[int]) -> list[str]:
        """The program of a cell."""
        return [sys.executable, "-P", "-s", "-m", "harness.worker.boxed", str(self._out), *map(str, pipes)]

    def admit(self, outer: int, mark: dict[str, Any]) -> bool:
        """Look at the child from outside, once it has shut itself in and before it loads anything of the method's."""
        found = memory.descendants(outer)
        alone = [pid for pid in found if not memory.descendants(pid)]
        layers = mark.get("layers", [])
        if len(alone) != 1:
            self.problem = f"{len(alone)} processes run in it instead of one"
        elif "network" not in layers or "ipc" not in layers:
            self.problem = "; ".join(map(str, mark.get("missing", [])))
        else:
            try:
                self.problem = "; ".join(self._differences(alone[0]))
            except (OSError, ValueError, LookupError) as error:
                self.problem = f"it cannot be looked into: {error!r}"
        if not self.problem:
            self.pid = alone[0]
            self._outer = {outer, *found} - {self.pid}
            self.sealed = {"layers": [*LAYERS, *layers], "missing": mark.get("missing", [])}
        return not self.problem

    def rss(self, outer: int) -> int:
        """Resident bytes of all that the child has started, wherever it hangs in the tree, without bubblewrap's own."""
        if self.pid:  # what the kernel ends together with its namespace, nobody is told the time of
            self._cpu_ns = memory.cpu_ns(self.pid) or self._cpu_ns
        statuses = (memory.status(each) for each in [outer, *memory.descendants(outer)] if each not in self._outer)
        return sum(each.rss for each in statuses if each is not None)

    def end(self) -> None:
        """End whatever is left in it."""
        if self._group is not None:
            self._oom_kills = self._group.oom_kills()
            if not self._group.end():
                self.problem = self.problem or "some of its processes could not be ended"

    def finish(self, place: Path, outcome: dict[str, Any]) -> None:
        """Correct what the keeper saw for the processes between it and the child, and take out what the child left."""
        code = outcome["exit_code"]
        outcome["exit_code"] = code = 128 - code if 128 < code <= 128 + signal.NSIG else code
        outcome["memory_watch"] += ", and a cgroup"
        outcome["cpu_ns"] = max(outcome["cpu_ns"], self._cpu_ns)
        if self._oom_kills and code and outcome["ended_by"] is None:
            outcome["ended_by"] = "memory"
        if not self.problem and not self.pid and outcome["ended_by"] is None:
            last = outcome["output_tail"].strip().splitlines()[-1:] or [f"it ended with code {code}"]
            self.problem = last[0][:500]
        if self.problem:
            outcome.update(ended_by=None, exit_code=0)
            result: dict[str, Any] = {"status": "failed", "reason": f"the box did not hold: {self.problem}"}
        elif not self.pid:
            return
        else:
            from harness.worker.takeout import take_out  # imports a schema library, which no other cell needs

            try:
                result = take_out(self._out, place, _OUT_BYTES)
            except Exception as error:  # what a stranger left must not end the keeper, whatever it is
                result = {"status": "failed", "reason": f"wrong answer: it cannot be read ({type(error).__name__})"}
        if result:
            (place / "result.json").write_text(json.dumps({**result, "seal": self.sealed}), "utf-8")

    def _differences(self, pid: int) -> Iterator[str]:
        """In what the process is held less than it was meant to be."""
        assert self._group is not None
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        for name in ("Uid", "Gid"):
            if {int(word) for word in status[name].split()} != {self._user}:
                yield f"user: its {name} is {status[name]}"
        if set(status.get("Groups", "").split()) - {str(self._user)}:
            yield f"user: it is in the groups {status['Groups']}"
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            if int(status[name], 16):
                yield f"user: it has capabilities ({name} {status[name]})"
        if status["NoNewPrivs"] != "1" or status["Seccomp"] != "2":
            yield "system calls: they are not filtered"
        for name in _NAMESPACES:
            ours = {os.readlink(f"/proc/{each}/ns/{name}") for each in ("self", os.getppid())}
            if os.readlink(f"/proc/{pid}/ns/{name}") in ours:
                yield f"namespaces: {name} is shared"
        for line in Path(f"/proc/{pid}/net/dev").read_text().splitlines()[2:]:
            if line.split(":")[0].strip() != "lo":
                yield f"network: it has the interface {line.split(':')[0].strip()}"
        yield from self._files.differences(Path(f"/proc/{pid}/mountinfo").read_text())
        if not self._group.holds(pid):
            yield "memory and cpu: it is not in its cgroups"
        limits = Path(f"/proc/{pid}/limits").read_text()
        for limit, name in _LIMITS.items():
            if f"{name} {self._limits[limit]} {self._limits[limit]} " not in " ".join(limits.split()) + " ":
                yield f"limits: {name} is not {self._limits[limit]}"
        names = {pair.partition(b"=")[0].decode() for pair in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")}
        if more := names - {*self._variables, "PWD", ""}:
            yield f"environment: it holds {', '.join(sorted(more))}"
        for fd in os.listdir(f"/proc/{pid}/fd"):
            target = os.readlink(f"/proc/{pid}/fd/{fd}")
            if not target.startswith(("pipe:", "/proc")) and target != os.devnull:
                yield f"descriptors: number {fd} is {target}"


def _variables(threads: int) -> dict[str, str]:
    """The whole environment of a boxed child."""
    own = {"PATH": "/usr/bin:/bin", "HOME": "/box", "TMPDIR": "/box", "XDG_CACHE_HOME": "/box/cache", "USER": "box",
           "LOGNAME": "box", "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C.UTF-8"}  # fmt: skip
    return {**child_environment(threads, bare=True), **own}


def _assert_readable(shown: Sequence[Path]) -> None:
    for path in shown:
        for each in [path, *(path.iterdir() if path.is_dir() else ())]:
            if not each.stat().st_mode & 0o004:
                raise BoxError(f"{each} cannot be read by another user; type: chmod -R o+rX {path}")


_NEW_MOUNTS, _RECURSIVE, _PRIVATE = 0x20000, 0x4000, 1 << 18
_NOSUID, _NODEV, _NOEXEC = 2, 4, 8
_libc = ctypes.CDLL(None, use_errno=True)


def _own_mounts() -> None:
    """From here on what this process mounts is seen by itself and its children alone, and goes when they do."""
    if _libc.unshare(_NEW_MOUNTS) or _libc.mount(b"none", b"/", None, _RECURSIVE | _PRIVATE, None):
        raise BoxError(f"disk: no mount namespace ({os.strerror(ctypes.get_errno())})")


def _mount_memory(folder: Path, options: str) -> None:
    if _libc.mount(b"box", bytes(folder), b"tmpfs", _NOSUID | _NODEV | _NOEXEC, options.encode()):
        raise BoxError(f"disk: no file system of limited size ({os.strerror(ctypes.get_errno())})")


def main() -> None:
    """Start a box around an interpreter that shuts itself in and waits, look at it, and print what is wrong with it."""
    import tempfile

    become_subreaper()
    place = Path(tempfile.mkdtemp())
    inside = {"code": [], "hidden": [], "preload": [], "site": ""}
    spec = {"box": inside, "threads": 1, "timeout_s": 10, "memory_limit_bytes": 1 << 30, "question": "", "prepared": ""}
    box = Box(place, spec)
    marks, theirs = os.pipe()
    acks, ours = os.pipe()
    pid = 0 if box.problem else os.fork()
    if pid == 0 and not box.problem:
        try:
            box.enter(box.child((theirs, acks)), (theirs, acks))
        finally:
            os._exit(70)
    os.close(theirs)
    if pid:
        with os.fdopen(marks) as stream:
            line = stream.readline()
        if line:
            box.admit(pid, json.loads(line))
        os.write(ours, b"!")
        box.problem = box.problem or ("" if line else "it ended before it was shut in")
    box.end()
    kill_descendants()
    print(box.problem)
    _libc.umount2(bytes(place / "out"), 2)
    shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()
