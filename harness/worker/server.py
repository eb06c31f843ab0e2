"""The fork server: imports what the cells need once, then forks a keeper for each cell.

A fresh interpreter that imports torch and a sentence encoder costs seconds of CPU a cell; a fork of this process costs
milliseconds. `multiprocessing`'s own fork server is not used: it imports the user's `__main__` again, unpickles what
children send, and its children outlive a SIGKILL of the run. This process starts no thread of its own, runs no parallel
region and never touches CUDA, so that forking it is safe; it says so in its first line, with the thread count.

It reads one JSON object a line: {"op": "run", "cell": PATH} or {"op": "end"}, and writes events the same way. When its
standard input closes, because the parent ended however abruptly, it kills everything below it, daemonised processes
included (it is their subreaper), and ends.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import sys
from typing import Any

from harness.worker.keeper import keep
from harness.worker.linux import become_subreaper, kill_descendants, reap


def main() -> None:
    """Serve until standard input closes."""
    preload: list[str] = json.loads(sys.argv[1])
    events = os.dup(1)
    os.dup2(2, 1)  # whatever an import prints goes to standard error, not among the events
    become_subreaper()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    missing = {}
    for module in preload:
        try:
            importlib.import_module(module)
        except Exception as error:
            missing[module] = f"{type(error).__name__}: {error}"
    import harness.worker.child  # noqa: F401 - its imports are shared by all children

    gc.collect()
    gc.freeze()
    _send(events, {"event": "ready", "threads": len(os.listdir("/proc/self/task")), "missing": missing})
    _serve(events)


def _serve(events: int) -> None:
    keepers: dict[int, str] = {}
    pending = b""
    while True:
        readable, _, _ = select.select([0], [], [], 0.05 if keepers else None)
        if readable:
            chunk = os.read(0, 1 << 16)
            if not chunk:
                break
            pending += chunk
            *lines, pending = pending.split(b"\n")
            for line in lines:
                request = json.loads(line)
                if request["op"] == "end":
                    kill_descendants()
                    keepers.clear()
                    _send(events, {"event": "ended"})
                    continue
                pid = os.fork()
                if pid == 0:
                    os.close(0)
                    keep(request["cell"], events)
                    os._exit(0)
                keepers[pid] = request["cell"]
        _collect(keepers, events)
    kill_descendants()


def _collect(keepers: dict[int, str], events: int) -> None:
    """Reap ended keepers and orphans; a keeper that died without a word still yields an event."""
    for pid in list(keepers):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            cell = keepers.pop(pid)
            if status:
                _send(events, {"event": "lost", "cell": cell, "status": status})
    if not keepers:
        reap()


def _send(fd: int, event: dict[str, Any]) -> None:
    os.write(fd, json.dumps(event).encode() + b"\n")


if __name__ == "__main__":
    main()
