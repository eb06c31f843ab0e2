"""The keeper of one cell: forks the child, measures it from outside, holds it to its limits, and ends its whole tree.

It is a subreaper, so that a process which leaves its session or daemonises stays in its tree. It answers the child's
phase marks with a byte, after it has read memory, CPU and clock itself: what the child says of itself is kept apart.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.measure import memory
from harness.worker.linux import become_subreaper, die_with_parent, kill_descendants

if TYPE_CHECKING:
    from harness.worker.box import Box

POLL_S = 0.01
"""Between two looks at the tree's memory. A faster allocator overshoots the limit by what it takes in this time."""
_TAIL_BYTES = 16_384
_PHASES, _ITEMS = 2_000, 1 << 53
"""More phases than these are not written down, and no larger numbers of items: a child may say what it likes."""
_NOTHING = memory.MemoryStatus(0, 0, 0, 0, 0, 0)


class _Phases:
    """Stages of the child, stamped here."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.done: list[dict[str, Any]] = []
        self.open: dict[str, Any] | None = None
        self.peak_rss = 0

    def begin(self, name: str, items: int) -> None:
        reset = memory.reset_peak(self.pid)
        now = memory.status(self.pid) or _NOTHING
        self.open = {
            "name": name, "items": items, "base_rss_bytes": now.rss, "base_anon_bytes": now.rss_anon,
            "tree_peak_bytes": 0, "peak_reset": reset, "started_ns": time.perf_counter_ns(),
            "cpu_ns": memory.cpu_ns(self.pid),
        }  # fmt: skip

    def end(self) -> None:
        if self.open is None:
            return
        phase, self.open = self.open, None
        ended, cpu = time.perf_counter_ns(), memory.cpu_ns(self.pid)
        now = memory.status(self.pid) or _NOTHING
        phase["wall_ns"] = ended - phase.pop("started_ns")
        phase["cpu_ns"] = None if cpu is None or phase["cpu_ns"] is None else cpu - phase["cpu_ns"]
        phase["peak_rss_bytes"] = max(now.hwm, phase.pop("tree_peak_bytes"))
        phase["end_anon_bytes"] = now.rss_anon
        if len(self.done) < _PHASES:
            self.done.append(phase)

    def saw_tree(self, rss: int) -> None:
        self.peak_rss = max(self.peak_rss, rss)
        if self.open is not None:
            self.open["tree_peak_bytes"] = max(self.open["tree_peak_bytes"], rss)


class _Tail:
    """The last bytes of an endless stream."""

    def __init__(self) -> None:
        self.chunks: deque[bytes] = deque()
        self.size = self.total = 0

    def add(self, chunk: bytes) -> None:
        self.chunks.append(chunk)
        self.size += len(chunk)
        self.total += len(chunk)
        while self.size - len(self.chunks[0]) >= _TAIL_BYTES:
            self.size -= len(self.chunks.popleft())

    def text(self) -> str:
        return b"".join(self.chunks)[-_TAIL_BYTES:].decode("utf-8", errors="replace")


def keep(folder: str, events: int) -> None:
    """Run the cell whose `spec.json` lies in `folder`; write `outcome.json` there and tell the parent."""
    os.setsid()
    become_subreaper()
    signal.signal(signal.SIGTERM, lambda *_: (kill_descendants(), os._exit(0)))
    die_with_parent(signal.SIGTERM)
    place = Path(folder)
    spec = json.loads((place / "spec.json").read_text("utf-8"))
    outcome = _run_child(place, spec)
    temporary = place / "outcome.tmp"
    temporary.write_text(json.dumps(outcome), "utf-8")
    temporary.rename(place / "outcome.json")
    os.write(events, json.dumps({"event": "done", "cell": folder}).encode() + b"\n")


def _run_child(place: Path, spec: dict[str, Any]) -> dict[str, Any]:
    marks_read, marks_write = os.pipe()
    ack_read, ack_write = os.pipe()
    out_read, out_write = os.pipe()
    started, oom_kills = time.perf_counter_ns(), _kernel_oom_kills()
    box = _box(place, spec) if spec["box"] else None
    pid = os.fork()
    if pid == 0:
        _become_child(place, spec, marks_write, ack_read, out_write, box)
    for fd in (marks_write, ack_read, out_write):
        os.close(fd)
    for fd in (marks_read, out_read, ack_write):
        os.set_blocking(fd, False)
    phases, tail = _Phases(pid), _Tail()
    ended_by, status = _watch(pid, spec, phases, tail, marks_read, ack_write, out_read, box)
    open_phase = phases.open["name"] if phases.open else None
    phases.end()  # the one in which it died keeps its base and what was sampled of its peak
    if box:
        box.end()
        kill_descendants()  # what the kernel and bubblewrap are still taking down was not left behind
    outcome = {
        "wall_ns": time.perf_counter_ns() - started,
        "cpu_ns": _cpu_of_children(),
        "exit_code": os.waitstatus_to_exitcode(status),
        "ended_by": ended_by,
        "left_behind": kill_descendants(),
        "peak_rss_bytes": max([phases.peak_rss, *(p["peak_rss_bytes"] for p in phases.done)]),
        "memory_watch": f"watcher of the process tree's resident memory, every {POLL_S * 1000:.0f} ms",
        "kernel_oom_kills": _kernel_oom_kills() - oom_kills,
        "open_phase": open_phase,
        "phases": phases.done,
    }
    _drain(out_read, tail)
    outcome.update(output_tail=tail.text(), output_bytes=tail.total)
    if box:
        box.finish(place, outcome)
    return outcome


def _box(place: Path, spec: dict[str, Any]) -> Box:
    from harness.worker.box import Box

    return Box(place, spec)


def _watch(
    pid: int, spec: dict[str, Any], phases: _Phases, tail: _Tail, marks: int, acks: int, out: int, box: Box | None
) -> tuple[str | None, int]:
    """Serve the child until it ends; return who ended it, if we did, and its wait status."""
    deadline = time.monotonic() + spec["timeout_s"]
    ended_by = None
    pidfd = os.pidfd_open(pid)
    selector = selectors.DefaultSelector()
    for fd in (marks, out, pidfd):
        selector.register(fd, selectors.EVENT_READ)
    pending = b""
    next_look = 0.0
    while True:
        ready = {key.fd for key, _ in selector.select(POLL_S)}
        if out in ready:
            chunk = _read(out)
            tail.add(chunk) if chunk else selector.unregister(out)
        if marks in ready:
            chunk = _read(marks)
            if not chunk:
                selector.unregister(marks)
            pending += chunk
            *lines, pending = pending.split(b"\n")
            for line in lines:
                _answer(line, phases, acks, box)
            pending = pending[-4096:]
        if pidfd in ready:
            break
        now = time.monotonic()
        if now >= next_look and ended_by is None:
            next_look = now + POLL_S
            # a lone child's own VmHWM is exact; the sum over the tree can only be sampled
            rss = box.rss(pid) if box else memory.tree_rss(pid)
            phases.saw_tree(rss)
            if rss > spec["memory_limit_bytes"]:
                ended_by = "memory"
            elif now >= deadline:
                ended_by = "timeout"
            elif box and box.problem:
                ended_by = "box"
            if ended_by:
                os.kill(pid, signal.SIGKILL)
    selector.close()
    os.close(pidfd)
    return ended_by, os.waitpid(pid, 0)[1]


def _answer(line: bytes, phases: _Phases, acks: int, box: Box | None) -> None:
    """Act on one mark of the child. Anything else on this channel is ignored: the child may write what it likes."""
    try:
        mark = json.loads(line)
        if box and not box.pid:
            if mark["mark"] != "sealed" or not box.admit(phases.pid, mark):
                return
            phases.pid = box.pid
        elif mark["mark"] == "begin":
            name = str(mark["name"])[:100].encode("utf-8", "replace").decode()
            phases.begin(name, min(max(int(mark["items"]), 0), _ITEMS))
        elif mark["mark"] == "end":
            phases.end()
        os.write(acks, b".")
    except (ValueError, TypeError, KeyError, OSError, OverflowError, RecursionError):
        return


def _become_child(place: Path, spec: dict[str, Any], marks: int, acks: int, out: int, box: Box | None) -> None:
    code = 70
    try:
        die_with_parent()
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(out, 1)
        os.dup2(out, 2)
        for fd in sorted({int(n) for n in os.listdir("/proc/self/fd")} - {0, 1, 2, marks, acks}):
            try:
                os.close(fd)
            except OSError:
                pass  # the listing's own descriptor
        Path("/proc/self/oom_score_adj").write_text("500")  # the kernel should end this one, not the run
        if box:
            if not box.problem:
                box.enter(box.child((marks, acks)), (marks, acks))
            return
        from harness.worker.child import run_cell

        code = run_cell(place, spec, marks, acks)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def _cpu_of_children() -> int:
    spent = os.times()
    return int((spent.children_user + spent.children_system) * 1e9)


def _kernel_oom_kills() -> int:
    """Processes that the kernel has ended for want of memory since boot; 0 where it does not say."""
    try:
        for line in Path("/proc/vmstat").read_text("ascii").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    except (OSError, ValueError):
        pass
    return 0


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 1 << 16)
    except BlockingIOError:
        return b""


def _drain(fd: int, tail: _Tail) -> None:
    """What is left in the pipe; never waits for a process that still holds it."""
    for _ in range(64):
        chunk = _read(fd)
        if not chunk:
            break
        tail.add(chunk)
