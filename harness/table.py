"""From records to the rows of a table: one row for each task, case and baseline, over all its draws and processes."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.stats import interval_over_draws, latency_interval, quantile_gate, rank_sets
from harness.task import Case, Outcome

if TYPE_CHECKING:
    from harness.record import Record
    from harness.registry import TaskSpec

_LATENCY_STREAMS = ("query", "predict")
_THROUGHPUT = ("search", "predict")


@dataclass(frozen=True)
class Row:
    """What is known of one baseline on one case. Times in ns, sizes in bytes."""

    task: str
    task_version: int
    case: str
    baseline: str
    status: str
    """`ok` if any draw was answered; otherwise what happened to the last one."""
    reason: str
    main_score: str
    score: float | None
    """Mean over draws of the main score."""
    interval: tuple[float, float] | None
    draws: int
    rank: tuple[int, int] | None
    """The ranks that cannot be excluded; None: not resolved, or not ranked."""
    higher_is_better: bool = True
    published: bool = False
    """From the published records, shown beside one's own (see `harness.beside`)."""
    scores: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float] | None] = field(default_factory=dict)
    best: float | None = None
    latency_ns: float | None = None
    """Median over processes of the single-stream median."""
    latency_interval_ns: tuple[float, float] | None = None
    """Only from five processes or more."""
    latency_p99_ns: float | None = None
    """Over the samples of all processes together; only from 662 or more."""
    processes: int = 0
    build_s: float | None = None
    """Median wall time of everything before the first query (all phases but the search)."""
    throughput_per_s: float | None = None
    peak_rss_bytes: int | None = None
    delta_rss_bytes: int | None = None
    gpu_peak_bytes: int | None = None
    cost_s: float | None = None
    device: str = ""
    machine: str = ""
    """Fingerprint of the machine class that its costs were measured on: they compare only within one."""
    method: str = ""
    """The file that the row is a setting of."""
    failures: int = 0
    unranked: str = ""
    """Why the row has no rank though it has a score: the gate that it missed."""
    canary_moved: bool = False
    params: dict[str, Any] = field(default_factory=dict)
    case_params: dict[str, Any] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)
    """What the task says of the newest draw's data."""
    costs: dict[str, float] = field(default_factory=dict)
    """Medians over processes of what `Outcome.costs` holds: every stream, every phase."""
    kind: str = "cell"
    notes: tuple[str, ...] = ()
    records: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


SamplesOf = Callable[["Record"], Mapping[str, Sequence[int]]]
"""Raw latency samples of a record, by stream."""


def _no_samples(_record: Record) -> Mapping[str, Sequence[int]]:
    return {}


class Measured(NamedTuple):
    """A row before it is ranked."""

    row: Row
    units: dict[int, float]
    """Its main score in each draw or training seed that can tell it from others."""
    resolution: float = 0.0
    """The step in which that comes: one item of a draw."""


def rows_of(records: Iterable[Record], samples_of: SamplesOf = _no_samples) -> list[Row]:
    """Rows sorted by task, case, and score. Only the newest version of a task counts, and of a row its newest source;
    of several records of one draw the newest counts for the score, while all processes of one machine and number of
    threads count for latency."""
    return ranked(measured_rows(records, samples_of))


def measured_rows(records: Iterable[Record], samples_of: SamplesOf = _no_samples, costs: bool = True) -> list[Measured]:
    """One for each task version, case, baseline and device. `costs`: with `Row.costs`, of every stream and phase."""
    groups: dict[tuple[str, int, str, str, str], list[Record]] = {}
    for record in records:
        if record.kind != "prepare" and not record.case.within:
            name = record.task.name, record.task.version, record.case.name, record.baseline.name, record.device
            groups.setdefault(name, []).append(record)
    return [_measured(_of_one_source(group), samples_of, costs) for group in groups.values()]


def _of_one_source(group: Sequence[Record]) -> Sequence[Record]:
    """Records of the newest text of the method: what another one did is not this row's. Controls are the judge's."""
    last = max(group, key=lambda r: (r.provenance.started, r.id))
    source = last.baseline.version, last.baseline.source_digest
    return [r for r in group if r.kind == "control" or (r.baseline.version, r.baseline.source_digest) == source]


def ranked(measured: Iterable[Measured]) -> list[Row]:
    """Those of each task's newest version, with their ranks among the rows of their case."""
    every = list(measured)
    newest: dict[str, int] = {}
    for row, *_ in every:
        newest[row.task] = max(newest.get(row.task, 0), row.task_version)
    by_case: dict[tuple[str, str], list[Measured]] = {}
    for one in every:
        if one.row.task_version == newest[one.row.task]:
            by_case.setdefault((one.row.task, one.row.case), []).append(one)
    out: list[Row] = []
    for members in by_case.values():
        contend = [m for m in members if m.units and m.row.kind == "cell" and not m.row.unranked]
        contenders = {_name(m.row): m.units for m in contend}
        step = max((m.resolution for m in contend), default=0.0)
        up = members[0].row.higher_is_better
        ranks = rank_sets(contenders, up, resolution=step) if len(contenders) > 1 else {}
        for row, *_ in members:
            rank = ranks.get(_name(row))
            out.append(replace(row, rank=(rank.low, rank.high)) if rank else row)
    return sorted(out, key=_order)


def _name(row: Row) -> str:
    return f"{row.baseline}@{row.device}"


def outcome_of(record: Record, task: TaskSpec) -> Outcome:
    """A record as the task's searches see it."""
    name = (record.case.within or record.case.name).partition("[")[0]  # a search's, or with other parameters
    declared = next((c for c in task.cases if c.name == name), Case(name))
    case = replace(declared, name=record.case.name, params=record.case.params, within=record.case.within)
    return Outcome(
        case, record.seed, record.status,
        {s.name: s.value for s in record.scores}, {s.name: s.interval for s in record.scores},
        record.baseline.name, record.baseline.file, record.repeat, costs_of(record),
    )  # fmt: skip


def costs_of(record: Record) -> dict[str, float]:
    """What a record says of costs, by stream and phase (see `Outcome.costs`)."""
    costs: dict[str, float] = {}
    for stream in record.latency:
        costs[f"{stream.name}.p50_ns"] = stream.median_ns
        if stream.p95_ns is not None:
            costs[f"{stream.name}.p95_ns"] = stream.p95_ns
    for phase in record.phases:
        costs[f"{phase.name}.wall_s"] = phase.wall_ns / 1e9
        if phase.wall_ns:
            costs[f"{phase.name}.items_per_s"] = phase.items / (phase.wall_ns / 1e9)
        costs[f"{phase.name}.delta_bytes"] = phase.delta_rss_bytes
        costs[f"{phase.name}.resident_bytes"] = phase.end_anon_bytes - phase.base_anon_bytes
    return costs


def _costs(records: Sequence[Record]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for record in records:
        for name, value in costs_of(record).items():
            found.setdefault(name, []).append(value)
    return {name: statistics.median(values) for name, values in found.items()}


def _is_use(phase: str) -> bool:
    """`search`, `search[64]` of one setting of many, single queries, and decoding: what comes after the build."""
    return (
        phase == "decode" or phase.partition("[")[0] in (*_THROUGHPUT, *_LATENCY_STREAMS) or phase.endswith(".single")
    )


def _order(row: Row) -> tuple[str, tuple[float, str], bool, float, str]:
    sizes = [row.case_params.get(name) for name in ("documents", "n", "d")]
    size = next((s for s in sizes if s and isinstance(s, int | float)), 0)
    worth = row.score if row.score is not None else float("-inf")
    return row.task, (size, row.case), row.score is None or bool(row.unranked), -worth, row.baseline


def _unranked(answered: Sequence[Record], scores: Mapping[str, float]) -> str:
    """The gates that the means over draws miss."""
    gates = {s.name: s for r in answered for s in r.scores if s.gate is not None}
    return "; ".join(
        f"{s.below or 'not ranked'}: {name} {scores[name]:.2f}, {s.gate:g} needed"
        for name, s in gates.items()
        if s.gate is not None and scores[name] < s.gate
    )


def _measured(group: Sequence[Record], samples_of: SamplesOf, costs: bool) -> Measured:
    last = max(group, key=lambda r: (r.provenance.started, r.id))
    scored = {}
    for record in sorted(group, key=lambda r: (r.provenance.started, r.id)):
        if record.status == "ok" and record.repeat == 0 and record.scores:
            scored[record.seed] = record
    answered = list(scored.values())
    names = list(dict.fromkeys(s.name for r in answered for s in r.scores))
    main = next((s for r in answered for s in r.scores if s.main), None)
    scores: dict[str, float] = {}
    intervals: dict[str, tuple[float, float] | None] = {}
    for name in names:
        found = [s for r in answered if (s := r.score(name)) is not None]
        scores[name] = statistics.fmean(s.value for s in found)
        if len(found) == 1:
            intervals[name] = found[0].interval
            continue
        bounded = all(s.interval is not None and s.n for s in found)  # without items the interval is the task's own
        over = interval_over_draws([s.value for s in found], sum(s.n for s in found), bounded)
        intervals[name] = (over.low, over.high) if over else None
    # latency: processes of one fingerprint only, the newest machine's
    timed = [r for r in group if r.status == "ok" and r.threads == last.threads
             and r.provenance.fingerprint == last.provenance.fingerprint]  # fmt: skip
    streams = [s for r in timed for s in r.latency if s.name in _LATENCY_STREAMS]
    medians = [s.median_ns for s in streams]
    pooled = [ns for r in timed for name in _LATENCY_STREAMS for ns in samples_of(r).get(name, ())]
    over_processes = latency_interval(medians)
    searches = [p.items / (p.wall_ns / 1e9) for r in timed for p in r.phases if p.name in _THROUGHPUT and p.wall_ns]
    builds = [
        sum(p.wall_ns for p in r.phases if not _is_use(p.name)) / 1e9
        for r in timed if r.repeat == 0 and r.phases
    ]  # fmt: skip
    gpu = [p.gpu.allocated_peak_bytes for r in timed for p in r.phases if p.gpu and p.gpu.allocated_peak_bytes]
    ok = bool(answered) or (bool(timed) and not names)
    row = Row(
        task=last.task.name,
        task_version=last.task.version,
        case=last.case.name,
        baseline=last.baseline.name,
        status="ok" if ok else last.status,
        reason="" if ok else last.reason,
        main_score=main.name if main else "",
        score=scores.get(main.name) if main else None,
        interval=intervals.get(main.name) if main else None,
        draws=len(answered),
        rank=None,
        higher_is_better=main.higher_is_better if main else True,
        scores=scores,
        intervals=intervals,
        best=main.best if main else None,
        latency_ns=statistics.median(medians) if medians else None,
        latency_interval_ns=(over_processes.low, over_processes.high) if over_processes else None,
        latency_p99_ns=quantile_gate(pooled, 0.99) if pooled else None,
        processes=len(medians),
        build_s=statistics.median(builds) if builds else None,
        throughput_per_s=statistics.median(searches) if searches else None,
        peak_rss_bytes=max((r.peak_rss_bytes for r in timed if r.peak_rss_bytes), default=None),
        delta_rss_bytes=max((r.delta_rss_bytes for r in timed if r.delta_rss_bytes is not None), default=None),
        gpu_peak_bytes=max(gpu, default=None),
        cost_s=statistics.median(r.cost.wall_s for r in group if r.repeat == 0)
        if any(r.repeat == 0 for r in group)
        else None,
        device=last.device,
        machine=last.provenance.fingerprint,
        method=last.baseline.file,
        failures=sum(r.status != "ok" for r in group),
        unranked=_unranked(answered, scores),
        canary_moved=any(r.canary.moved for r in timed if r.canary),
        params=dict(last.baseline.params),
        case_params=dict(last.case.params),
        about=dict(last.case.about),
        costs=_costs(timed) if costs else {},
        kind=last.kind,
        notes=tuple(dict.fromkeys(n for r in group for n in r.notes)),
        records=tuple(r.id for r in group),
    )
    return Measured(row, _units(scored, main.name) if main else {}, 1 / main.n if main and main.n else 0.0)


def _units(scored: Mapping[int, Record], score: str) -> dict[int, float]:
    """The score by seed. Seeds that show a deterministic method the same pinned data repeat one observation."""
    seen: set[str] = set()
    units = {}
    for seed, record in sorted(scored.items()):
        value, digest = record.score(score), record.case.draw_digest
        if value is not None and not (record.baseline.deterministic and digest in seen):
            units[seed] = value.value
        seen |= {digest} - {""}
    return units
