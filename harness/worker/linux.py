"""The few Linux calls that Python does not wrap."""

from __future__ import annotations

import ctypes
import os
import signal
import time

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(with_signal: int = signal.SIGKILL) -> None:
    """Ask the kernel to send `with_signal` to this process when its parent ends."""
    parent = os.getppid()
    _libc.prctl(_PR_SET_PDEATHSIG, int(with_signal), 0, 0, 0)
    if os.getppid() != parent:  # the parent ended before the call
        os.kill(os.getpid(), with_signal)


def become_subreaper() -> None:
    """Adopt orphaned descendants, so that a process that daemonises stays in this process's tree."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reap() -> None:
    """Collect all ended children that are not waited for elsewhere."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def kill_descendants(within_s: float = 5.0) -> int:
    """SIGKILL every descendant of this process until none is left; return how many there were at first."""
    from harness.measure.memory import descendants

    reap()
    found = descendants(os.getpid())
    first, deadline = len(found), time.monotonic() + within_s
    while found and time.monotonic() < deadline:
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.002)
        reap()
        found = descendants(os.getpid())
    return first
