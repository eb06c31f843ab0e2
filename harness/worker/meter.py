"""The child's side of measuring: phases and single-stream latency.

The keeper stamps phases too, from outside; this side adds raw latency samples, which only the child can take.
"""

from __future__ import annotations

import fcntl
import gc
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

ItemT = TypeVar("ItemT")
SHORT_CALL_NS = 100_000
"""Calls shorter than this are timed in loops: the clock and the interpreter would be a visible part of them."""
_WARM_BATCH, _WARM_BATCHES, _WARM_LIMIT_NS = 5, 8, 500_000_000


class PipeMeter:
    """A `harness.task.Meter` that talks to the keeper over two pipes."""

    def __init__(self, marks: int, acks: int, repeat: int, device: str, lock: str) -> None:
        self.repeat = repeat
        self.streams: dict[str, dict[str, Any]] = {}
        self.samples: dict[str, list[int]] = {}
        self.phases: list[dict[str, Any]] = []
        self._marks, self._acks, self._device = marks, acks, device
        self._lock = os.open(lock, os.O_RDONLY | os.O_CREAT) if lock else -1  # now: a sealed child could not later

    @contextmanager
    def phase(self, name: str, items: int = 1, alone: bool = True) -> Iterator[None]:
        """Time a stage once. See `harness.task.Meter.phase`."""
        with self._exclusive(alone):
            gc.collect()
            gpu = self._gpu_begin()
            self._mark(mark="begin", name=name, items=items)
            start = time.perf_counter_ns()
            cpu = time.process_time_ns()
            try:
                yield
            finally:
                self._gpu_wait()
                wall = time.perf_counter_ns() - start
                entry = {"name": name, "self_wall_ns": wall, "self_cpu_ns": time.process_time_ns() - cpu}
                self._mark(mark="end")
                self.phases.append({**entry, **self._gpu_end(gpu)})

    def each(self, name: str, items: Sequence[ItemT], call: Callable[[ItemT], object]) -> None:
        """Single-stream latency of `call(item)`. See `harness.task.Meter.each`.

        The first call is kept apart (cold). Warm-up goes on in batches of 5 until a batch is no longer faster than the
        one before. Then every item is called once; where a call takes less than 100 us, in loops of equal length over
        neighbouring items, of which the mean is one sample. The garbage collector is off meanwhile.
        """
        with self.phase(name + ".single", items=len(items)):
            clock = time.perf_counter_ns
            enabled = gc.isenabled()
            gc.disable()
            try:
                start = clock()
                call(items[0])
                cold = clock() - start
                warm_calls, typical = _warm_up(items, call)
                loops = 1 if typical >= SHORT_CALL_NS else -(-SHORT_CALL_NS // max(typical, 1))
                samples = [0] * len(items)
                events = self._event_timer()
                for index in range(len(items)):
                    # neighbours instead of the same item again, which would find everything in the caches
                    window = [items[(index + i) % len(items)] for i in range(loops)]
                    if events:
                        events.start()
                    start = clock()
                    for item in window:
                        call(item)
                    samples[index] = (clock() - start) // loops
                    if events:
                        events.stop()
            finally:
                if enabled:
                    gc.enable()
        self.samples[name] = samples
        self.streams[name] = {"cold_ns": cold, "loops": loops, "warm_up_calls": warm_calls}
        if events:
            self.samples[name + ".gpu"] = [int(ns // loops) for ns in events.finish()]
            self.streams[name + ".gpu"] = {"cold_ns": None, "loops": loops, "warm_up_calls": warm_calls}

    def _mark(self, **mark: Any) -> None:
        os.write(self._marks, json.dumps(mark).encode() + b"\n")
        os.read(self._acks, 1)

    @contextmanager
    def _exclusive(self, alone: bool) -> Iterator[None]:
        """With several jobs, timed phases exclude each other, unless they need not be `alone`."""
        if self._lock < 0 or not alone:
            yield
            return
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _gpu_begin(self) -> bool:
        if self._device != "cuda":
            return False
        from harness.measure import gpu

        gpu.reset_peak()
        return True

    def _gpu_wait(self) -> None:
        if self._device == "cuda":
            import torch

            torch.cuda.synchronize()

    def _gpu_end(self, begun: bool) -> dict[str, Any]:
        if not begun:
            return {}
        from harness.measure import gpu

        return {"gpu": gpu.peak()}

    def _event_timer(self) -> Any:
        if self._device != "cuda":
            return None
        from harness.measure.gpu import EventTimer

        return EventTimer()


def _warm_up(items: Sequence[ItemT], call: Callable[[ItemT], object]) -> tuple[int, int]:
    """Call until it gets no faster; return the number of calls and the typical time of the last ones in ns."""
    clock = time.perf_counter_ns
    begun, before, calls = clock(), None, 0
    typical = 0
    for _ in range(_WARM_BATCHES):
        taken = []
        for _ in range(_WARM_BATCH):
            item = items[calls % len(items)]
            start = clock()
            call(item)
            taken.append(clock() - start)
            calls += 1
        typical = int(statistics.median(taken))
        if (before is not None and typical >= 0.95 * before) or clock() - begun > _WARM_LIMIT_NS:
            break
        before = typical
    return calls, typical
