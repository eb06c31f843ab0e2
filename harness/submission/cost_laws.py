"""Laws about what one record cost: its latencies and clocks, its CPU, its dates and its memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from harness.stats import MIN_SAMPLES, latency_summary
from harness.store import KEY_CHARS
from harness.submission.law import EQUAL, Evidence, Invariant

if TYPE_CHECKING:
    from harness.record import Latency, Record

CALL_NS = 20
"""What an empty Python function costs on the fastest machine there is; no method answers in less."""
TICK_NS = 20_000_000
"""Resolution of the kernel's account of CPU, read at both ends of a phase."""
PAGES = 1 << 20
"""Bytes by which the kernel's counters of resident memory are off: each core keeps some pages back, so that a peak may
read as 100 kB under the base (of 15,000 committed phases, 31 do)."""
LATE = timedelta(hours=1)
"""How far clocks of two machines may lie apart."""
ACCOUNTED = 0.25
"""Share of a timed phase that its calls must account for, at least (of honest ones: 0.41, of 1,796; the rest is the
interpreter's)."""


# Time -----------------------------------------------------------------------------------------------------------------


def _too_fast(record: Record, _: Evidence) -> Iterator[str]:
    for stream in record.latency:
        if stream.median_ns < CALL_NS:
            yield f"{stream.name} takes {stream.median_ns:g} ns a call"


def _other_samples(record: Record, evidence: Evidence) -> Iterator[str]:
    for stream in record.latency:
        samples = evidence.samples.get(stream.name)
        if samples is None or not len(samples):
            yield f"{stream.name} has no samples"
            continue
        if samples.min() < 0:
            yield f"{stream.name} has a sample of {int(samples.min())} ns"
        meant = latency_summary(samples.tolist())
        said = {"n": stream.n, "median": stream.median_ns, "iqr": stream.iqr_ns, "p90": stream.p90_ns,
                "p95": stream.p95_ns, "p99": stream.p99_ns, "p99.9": stream.p999_ns}  # fmt: skip
        is_so = {"n": meant.n, "median": meant.median, "iqr": meant.iqr, "p90": meant.p90, "p95": meant.p95,
                 "p99": meant.p99, "p99.9": meant.p999}  # fmt: skip
        for name, value in said.items():
            if value != is_so[name]:
                yield f"the {name} of {stream.name} is {value}, and that of its samples {is_so[name]}"
    for name in sorted(set(evidence.samples) - {stream.name for stream in record.latency}):
        yield f"there are samples of {name}, which the record does not name"


def _percentiles(record: Record, _: Evidence) -> Iterator[str]:
    for stream in record.latency:
        given = {0.9: stream.p90_ns, 0.95: stream.p95_ns, 0.99: stream.p99_ns, 0.999: stream.p999_ns}
        for p, value in given.items():
            if value is not None and stream.n < MIN_SAMPLES[p]:
                yield f"{stream.name} has a p{100 * p:g} of {stream.n} samples"
        known = [value for value in (stream.median_ns, *given.values()) if value is not None]
        # a median of an even number of samples is a mean of two, and never above the p90
        if any(a > b + EQUAL for a, b in pairwise(known)):
            yield f"the percentiles of {stream.name} are {', '.join(f'{value:g}' for value in known)}"


def timed_walls(record: Record, stream: Latency) -> list[int]:
    """What the keeper's clock said of the phases in which a stream was timed, ns."""
    name = stream.name.removesuffix(".gpu") + ".single"
    return [phase.wall_ns for phase in record.phases if phase.name == name]


def _more_than_the_phase(record: Record, evidence: Evidence) -> Iterator[str]:
    for stream in record.latency:
        samples, wall = evidence.samples.get(stream.name, np.zeros(0, np.int64)), sum(timed_walls(record, stream))
        # of a composed sample, the loops of the preparation are not known
        timed = int(samples.sum()) * (1 if stream.composed else stream.loops)
        if timed > wall:
            yield f"the calls of {stream.name} took {timed / 1e6:.3f} ms within a phase of {wall / 1e6:.3f} ms"


def _unaccounted(record: Record, evidence: Evidence) -> Iterator[str]:
    for stream in record.latency:
        wall = sum(timed_walls(record, stream))
        samples = evidence.samples.get(stream.name, np.zeros(0, np.int64))
        if stream.composed or stream.name.endswith(".gpu") or not len(samples):
            continue
        told = int(samples.sum()) * stream.loops + (stream.cold_ns or 0) + stream.warm_up_calls * stream.median_ns
        if told < ACCOUNTED * wall - TICK_NS:
            yield f"the keeper saw {wall / 1e6:.1f} ms of {stream.name}, of which its calls say {told / 1e6:.1f} ms"


def _own_clock(record: Record, _: Evidence) -> Iterator[str]:
    for phase in record.phases:
        if phase.self_wall_ns is None:
            continue
        if phase.self_wall_ns > phase.wall_ns:
            yield f"the child says {phase.self_wall_ns} ns of {phase.name}, and the keeper saw {phase.wall_ns}"
        elif phase.self_wall_ns < 0.9 * phase.wall_ns - 5 * TICK_NS:
            yield (f"the child says {phase.self_wall_ns / 1e6:.1f} ms of {phase.name}, and the keeper saw "
                   f"{phase.wall_ns / 1e6:.1f} ms")  # fmt: skip


def _cores(evidence: Evidence) -> float | None:
    known = evidence.environment or {}
    cores = known.get("cores_logical")
    return float(cores) if isinstance(cores, int | float) and cores > 0 else None


def _more_cpu_than_cores(record: Record, evidence: Evidence) -> Iterator[str]:
    cores = _cores(evidence)
    if cores is None:
        return
    for phase in record.phases:
        if phase.cpu_ns is not None and phase.cpu_ns > phase.wall_ns * cores + TICK_NS * (1 + cores):
            yield f"{phase.name} took {phase.cpu_ns} ns of CPU in {phase.wall_ns} ns on {cores:g} cores"
    if record.cost.cpu_s > record.cost.wall_s * cores + TICK_NS / 1e9 * (1 + cores):
        yield f"it took {record.cost.cpu_s:g} s of CPU in {record.cost.wall_s:g} s on {cores:g} cores"


def _longer_than_it_ran(record: Record, _: Evidence) -> Iterator[str]:
    own = [phase for phase in record.phases if not phase.shared]
    started, ended = _moment(record.provenance.started), _moment(record.provenance.ended)
    if started is None or ended is None:
        return
    ran = (ended - started).total_seconds() + 0.01  # moments are kept to a millisecond
    inside = sum(phase.wall_ns for phase in own) / 1e9
    if inside > ran:
        yield f"its phases took {inside:.3f} s, and it ran for {ran:.3f} s"
    if inside > record.cost.wall_s + EQUAL and record.cost.wall_s:
        yield f"its phases took {inside:.3f} s, and all of it {record.cost.wall_s:.3f} s"
    if not record.provenance.shared_record and record.cost.wall_s > ran:
        yield f"it cost {record.cost.wall_s:.3f} s, and ran for {ran:.3f} s"


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return None


def _dates(record: Record, _: Evidence) -> Iterator[str]:
    started, ended = _moment(record.provenance.started), _moment(record.provenance.ended)
    if started is None or ended is None:
        yield f"started {record.provenance.started!r}, ended {record.provenance.ended!r} are no moments"
        return
    if ended < started:
        yield f"it ended at {record.provenance.ended}, before it started at {record.provenance.started}"
    if ended > datetime.now(UTC) + LATE:
        yield f"it ended at {record.provenance.ended}, which is yet to come"
    stamp = record.id[KEY_CHARS + 1 : KEY_CHARS + 16]
    try:
        named = datetime.strptime(stamp, "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        yield f"its identifier names no moment, {stamp!r}"
        return
    if abs(named - started) > LATE:
        yield f"its identifier names {stamp}, and it started at {record.provenance.started}"


# Memory, and all numbers ----------------------------------------------------------------------------------------------


def _memory(record: Record, _: Evidence) -> Iterator[str]:
    for phase in record.phases:
        if phase.peak_rss_bytes < phase.base_rss_bytes - PAGES:
            yield f"{phase.name} peaks at {phase.peak_rss_bytes} bytes, under its base of {phase.base_rss_bytes}"
        if phase.delta_rss_bytes != phase.peak_rss_bytes - phase.base_rss_bytes:
            yield f"{phase.name} needed {phase.delta_rss_bytes} bytes, which is not its peak less its base"
    highest = max((phase.peak_rss_bytes for phase in record.phases), default=0)
    if record.peak_rss_bytes is not None and record.peak_rss_bytes < highest:
        yield f"its peak is {record.peak_rss_bytes} bytes, and that of one of its phases {highest}"


def _negative(record: Record, _: Evidence) -> Iterator[str]:
    numbers: dict[str, float | None] = {
        "seed": record.seed, "repeat": record.repeat, "cost.wall_s": record.cost.wall_s,
        "cost.cpu_s": record.cost.cpu_s, "cost.harness_cpu_s": record.cost.harness_cpu_s,
        "memory_limit_bytes": record.memory_limit_bytes, "timeout_s": record.timeout_s,
        "peak_rss_bytes": record.peak_rss_bytes,
    }  # fmt: skip
    if record.canary:
        numbers.update({"canary.before_ns": record.canary.before_ns, "canary.after_ns": record.canary.after_ns})
    for part, kind in ((record.phases, "phase"), (record.latency, "latency")):
        for one in part:
            for name, value in one.model_dump(mode="python", exclude={"delta_rss_bytes"}).items():
                if isinstance(value, int | float) and not isinstance(value, bool):
                    numbers[f"{kind} {one.name}, {name}"] = value
    for name, number in numbers.items():
        if number is not None and (number < 0 or not math.isfinite(number)):
            yield f"{name} is {number!r}"
    if record.threads < 1:
        yield f"threads is {record.threads}"


COST_LAWS: tuple[Invariant, ...] = (
    Invariant("too-fast", f"a call of a Python function takes {CALL_NS} ns and more", _too_fast),
    Invariant("samples", "a summary is that of its samples", _other_samples),
    Invariant("percentiles", "percentiles rise, and are given from enough samples", _percentiles),
    Invariant("samples-exceed-phase", "calls cannot take longer than the phase they are made in", _more_than_the_phase),
    Invariant("unaccounted", "the time of a phase is that of its calls, by and large", _unaccounted),
    Invariant("own-clock", "the child's clock and the keeper's run alike, and the keeper sees more", _own_clock),
    Invariant("cpu", "no more CPU time passes than there are cores", _more_cpu_than_cores),
    Invariant("wall", "a part does not take longer than the whole", _longer_than_it_ran),
    Invariant("dates", "a run starts, ends, and is then told of", _dates),
    Invariant("memory", "a peak is no lower than what it is the peak of", _memory),
    Invariant("negative", "times, sizes and counts are not negative", _negative),
)
