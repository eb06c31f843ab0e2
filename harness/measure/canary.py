"""The canary: a fixed calculation whose time tells how quiet the machine is, and whether it changed meanwhile."""

from __future__ import annotations

import gc
import hashlib
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["CANARY_VERSION", "CanarySample", "CanarySummary", "canary", "drift", "summarise"]

CANARY_VERSION = 1
"""Raised with every change of the calculation: times of different versions are never compared."""

_ITERATIONS = 300_000
_BLOCK = bytes(range(256)) * 8192
_EXPECTED = 3_107_985_305


@dataclass(frozen=True)
class CanarySample:
    """Times of the rounds, in order."""

    version: int
    wall_ns: tuple[int, ...]
    cpu_ns: tuple[int, ...]
    """CPU time of this thread: where it stays and the wall time grows, somebody else had the core."""


@dataclass(frozen=True)
class CanarySummary:
    """Spread of the wall times of a sample."""

    n: int
    median_ns: float
    cov: float | None
    """Standard deviation over mean; None from one round."""
    waited: float
    """Share of the wall time in which the thread had no core."""


def _round() -> int:
    """The calculation: the interpreter's loop and integers, then a digest (native code, memory)."""
    state = 1
    for _ in range(_ITERATIONS):
        state = (state * 1_103_515_245 + 12_345) & 0x7FFF_FFFF
    return state ^ int.from_bytes(hashlib.sha256(_BLOCK).digest()[:4], "big")


def canary(rounds: int = 1) -> CanarySample:
    """Run the calculation `rounds` times (about 35 ms each on a server core of 2021), the garbage collector off."""
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1, got {rounds}")
    wall, cpu = [], []
    collecting = gc.isenabled()
    gc.disable()
    try:
        for _ in range(rounds):
            cpu_start, start = time.thread_time_ns(), time.perf_counter_ns()
            result = _round()
            wall.append(time.perf_counter_ns() - start)
            cpu.append(time.thread_time_ns() - cpu_start)
            if result != _EXPECTED:
                raise ArithmeticError(f"the canary computed {result} instead of {_EXPECTED}: this machine is broken")
    finally:
        if collecting:
            gc.enable()
    return CanarySample(CANARY_VERSION, tuple(wall), tuple(cpu))


def summarise(samples: Sequence[CanarySample]) -> CanarySummary:
    """Median and spread over all rounds of `samples` of one version."""
    if len({sample.version for sample in samples}) != 1:
        raise ValueError("canary samples of one version are needed, and at least one")
    wall = [value for sample in samples for value in sample.wall_ns]
    cpu = sum(value for sample in samples for value in sample.cpu_ns)
    spread = statistics.stdev(wall) / statistics.fmean(wall) if len(wall) > 1 else None
    return CanarySummary(len(wall), statistics.median(wall), spread, max(0.0, 1 - cpu / sum(wall)))


def drift(sample: CanarySample, reference: CanarySample) -> float | None:
    """Median time over that of `reference`: 1.1 is 10 % slower. None between different versions."""
    if sample.version != reference.version:
        return None
    return statistics.median(sample.wall_ns) / statistics.median(reference.wall_ns)


class CanaryClock:
    """The canary of one run: a second at its start and end, one round between cells that neighbours share."""

    OPENING_ROUNDS = 20
    """Unless the environment variable HARNESS_CANARY_ROUNDS says fewer: for tests of other things, not for figures."""
    MOVED = 0.1
    """A drift beyond this, either way, marks costs as not to be compared without a word."""
    _SHARED_S = 0.02

    def __init__(self) -> None:
        said = os.environ.get("HARNESS_CANARY_ROUNDS", "")
        self.rounds = min(self.OPENING_ROUNDS, max(1, int(said))) if said.isdigit() else self.OPENING_ROUNDS
        self.reference_ns = _median_ns(self.rounds)
        self._last = (time.monotonic(), self.reference_ns)

    def now(self) -> float:
        """Median time of the calculation in ns, taken now or a moment ago."""
        at, value = self._last
        if time.monotonic() - at > self._SHARED_S:
            value = _median_ns(1)
            self._last = (time.monotonic(), value)
        return value

    def closing_drift(self) -> float:
        """Time at the end of the run over that at its start."""
        return _median_ns(self.rounds) / self.reference_ns


def _median_ns(rounds: int) -> float:
    return statistics.median(canary(rounds).wall_ns)
