"""From what the keeper, the child and the judge left to one record."""

from __future__ import annotations

import hashlib
import io
import json
import shlex
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness import record as rec
from harness.pins import plain_name
from harness.plan import Cell
from harness.questions import Drawn
from harness.redact import redact
from harness.registry import ORACLE, BaselineSpec
from harness.stats import Interval, latency_summary, t_interval, wilson
from harness.task import Score

if TYPE_CHECKING:
    from harness.record import Record

Samples = dict[str, NDArray[np.int64]]
_TAIL_CHARS = 4000


@dataclass
class Finished:
    """What is known of one cell at its end."""

    cell: Cell
    status: rec.Status
    reason: str = ""
    outcome: Mapping[str, Any] = field(default_factory=dict)
    result: Mapping[str, Any] = field(default_factory=dict)
    samples: Samples = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    items: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Those that the task gave itself."""
    independent: bool = False
    """Items are independent units: their spread gives the interval."""
    drawn: Drawn | None = None
    shared: tuple[Record, Samples] | None = None
    """The preparation's record and samples, charged to this cell."""


@dataclass(frozen=True)
class Setting:
    """What all records of a run have in common."""

    run: str
    environment: str
    fingerprint: str
    harness_version: str
    timeout_s: float
    memory_limit_bytes: int
    scale: str
    data: str = ""
    data_options: Mapping[str, str] = field(default_factory=dict)
    changed: Mapping[str, str] = field(default_factory=dict)
    jobs: int = 1


def read_end(cell: Cell, folder: Path) -> Finished:
    """Decide the status from what the keeper saw, then from what the child said."""
    try:
        outcome = json.loads((folder / "outcome.json").read_text("utf-8"))
    except (OSError, ValueError):
        return Finished(cell, "killed", "the process that watched this cell was itself ended")
    result: dict[str, Any] = {}
    try:
        result = json.loads((folder / "result.json").read_text("utf-8"))
    except (OSError, ValueError):
        pass
    status, reason = _status(outcome, result)
    finished = Finished(cell, status, redact(reason), outcome, result)
    try:
        with np.load(folder / "samples.npz", allow_pickle=False) as samples:
            finished.samples = {name: np.asarray(samples[name], np.int64) for name in samples.files}
    except (OSError, ValueError, EOFError, KeyError):
        pass
    if outcome["left_behind"]:
        finished.notes.append(f"left {outcome['left_behind']} process(es) behind, which were ended")
    if outcome["output_bytes"] > 1 << 20:
        finished.notes.append(f"wrote {outcome['output_bytes']} bytes to its standard output; the last are kept")
    return finished


def _status(outcome: Mapping[str, Any], result: Mapping[str, Any]) -> tuple[rec.Status, str]:
    during = f" during {outcome['open_phase']!r}" if outcome["open_phase"] else ""
    if outcome["ended_by"] == "memory":
        return "oom", f"passed the memory limit{during}; raise it with --memory-limit"
    if outcome["ended_by"] == "timeout":
        return "timeout", f"passed the time limit{during}; raise it with --timeout"
    code = outcome["exit_code"]
    if code < 0:
        name = signal.Signals(-code).name if -code in iter(signal.Signals) else f"signal {-code}"
        if outcome.get("kernel_oom_kills"):
            return "oom", f"ended by {name}{during}: the kernel ran out of memory"
        return "killed", f"ended by {name}{during}"
    if not result or code != 0:
        return "failed", f"exited with code {code}{during} before it answered"
    return result["status"], result["reason"]


def build_record(
    finished: Finished, setting: Setting, identity: str, canary: rec.Canary | None, started: str, ended: str,
    harness_cpu_s: float,
) -> tuple[Record, bytes]:  # fmt: skip
    """The record and its sidecar's bytes."""
    cell, outcome, result = finished.cell, finished.outcome, finished.result
    samples = compose(finished)
    own_phases = _phases(outcome, result)
    phases = own_phases
    if finished.shared and finished.status == "ok":
        charged = [p.model_copy(update={"shared": True}) for p in finished.shared[0].phases]
        phases = charged + own_phases
    sidecar = _sidecar(samples, finished.items)
    shared_cost = finished.shared[0].cost if finished.shared and finished.status == "ok" else None
    record = rec.Record(
        id=identity,
        key=cell.key,
        kind="control" if cell.row.name == ORACLE else "prepare" if cell.stage == "prepare" else "cell",
        status=finished.status,
        reason=finished.reason,
        task=rec.TaskRef(name=cell.task.name, version=cell.task.version, source_digest=cell.task.source_digest),
        case=rec.CaseRef(
            name=cell.case.name,
            params=_redacted(cell.case.params),
            draw_digest=finished.drawn.digest if finished.drawn else "",
            about=_redacted(finished.drawn.about) if finished.drawn else {},
            within=cell.case.within,
        ),
        baseline=rec.BaselineRef(
            name=redact(cell.row.name),
            file=cell.row.path.name if cell.row.path else "",
            version=cell.row.version,
            params=_redacted(_params(cell.row)),
            source_digest=cell.row.source_digest,
            requires=list(cell.row.requires),
            deterministic=cell.row.deterministic,
            pinned=_pinned(cell),
            description=_description(finished),
        ),
        seed=cell.seed,
        repeat=cell.repeat,
        device=cell.device if cell.device != "auto" else "cpu",
        threads=cell.threads,
        scores=_scores(finished),
        phases=phases,
        latency=_latencies(finished, samples),
        peak_rss_bytes=max([p.peak_rss_bytes for p in phases] + [outcome["peak_rss_bytes"]]) if outcome else None,
        delta_rss_bytes=max(
            (_needed(group) for group in (own_phases, phases[: -len(own_phases) or None]) if group), default=None
        ),
        memory_limit_bytes=setting.memory_limit_bytes,
        memory_watch=outcome.get("memory_watch", "not run"),
        timeout_s=setting.timeout_s,
        canary=canary,
        notes=[redact(n) for n in [*finished.notes, *_notes_on_pins(finished), *_notes_on_seal(finished)]],
        output_tail="" if finished.status == "ok" else redact(outcome.get("output_tail", ""))[-_TAIL_CHARS:],
        sidecar=hashlib.sha256(sidecar).hexdigest() if sidecar else "",
        cost=rec.Cost(
            wall_s=outcome.get("wall_ns", 0) / 1e9 + (shared_cost.wall_s if shared_cost else 0),
            cpu_s=outcome.get("cpu_ns", 0) / 1e9 + (shared_cost.cpu_s if shared_cost else 0),
            harness_cpu_s=round(harness_cpu_s, 6),
        ),
        provenance=rec.Provenance(
            run=setting.run,
            jobs=setting.jobs,
            command=command_of(cell, setting),
            harness_version=setting.harness_version,
            environment=setting.environment,
            fingerprint=setting.fingerprint,
            libraries=result.get("libraries", {}),
            threads_used=result.get("threads_used", {}),
            sealed=list((result.get("seal") or {}).get("layers", ())),
            sources_mismatch=_mismatch(cell, result.get("loaded", [])),
            shared_record=finished.shared[0].id if finished.shared else None,
            started=started,
            ended=ended,
        ),
    )
    return record, sidecar


def compose(finished: Finished) -> Samples:
    """Latency samples as the user of the row meets them: with the shared part's added, query by query."""
    if not finished.shared:
        return finished.samples
    before = finished.shared[1]
    joined = {}
    for name, own in finished.samples.items():
        if name in before:
            n = min(len(own), len(before[name]))
            joined[name] = own[:n] + before[name][:n]
        else:
            joined[name] = own
    return joined


def command_of(cell: Cell, setting: Setting) -> str:
    """A command line that runs this one cell again."""
    row = cell.row
    pins = row.environment.requirements if row.environment else ()
    name = redact(str(row.path)) if row.path and not row.module else redact(plain_name(row.name, pins))
    case = (cell.case.within or cell.case.name).partition("[")[0]  # what a search asked for, it asks for again
    words = ["harness", "run", "--task", cell.task.name, "--baseline", name, "--case", case,
             "--scale", setting.scale, "--seeds", f"{cell.seed},", "--device", cell.device,
             "--threads", str(cell.threads), "--force"]  # fmt: skip
    if setting.changed:
        words += ["--set", *(f"{name}={value}" for name, value in sorted(setting.changed.items()))]
    if pins:
        words += ["--with", ",".join(pins)]
    if setting.data:
        words += ["--data", redact(setting.data)]
        for name, value in sorted(setting.data_options.items()):
            words += [f"--{name}", redact(value)]
    return shlex.join(words)


def _params(row: BaselineSpec) -> dict[str, rec.Scalar]:
    """The row's own parameters; those of a part that stands before it carry the part's name."""
    of_parts = {f"{part.name}.{name}": value for part in row.parts for name, value in part.params.items()}
    return {**row.params, **{part.part: part.name for part in row.parts}, **of_parts}


def _notes_on_seal(finished: Finished) -> list[str]:
    """What a sealed task's child could have seen, where this machine lacks a layer."""
    seal = finished.result.get("seal") or {}
    return [f"not sealed against {reason}" for reason in seal.get("missing", ())]


def _pinned(cell: Cell) -> rec.Pinned | None:
    own = cell.row.environment
    return rec.Pinned(requirements=list(own.requirements), lock=own.lock, packages=dict(own.packages)) if own else None


def _notes_on_pins(finished: Finished) -> list[str]:
    """What had to change for the pins, and pins that the child did not import from where it should have."""
    own = finished.cell.row.environment
    if own is None:
        return []
    notes = [own.note] if own.note else []
    imported, libraries = set(finished.result.get("pinned", [])), finished.result.get("libraries", {})
    for requirement in own.requirements if finished.status == "ok" else ():
        modules = own.modules.get(requirement.partition("==")[0], ())
        if not imported.intersection(modules):
            instead = [f"{name} {libraries[name]}" for name in modules if name in libraries]
            notes.append(f"{requirement} was not what was imported: " + (", ".join(instead) or "nothing of it was"))
    return notes


def _description(finished: Finished) -> dict[str, rec.Scalar]:
    """What the method said of its model; rows with a shared preparation have it from there."""
    said = finished.result.get("description") or {}
    if finished.shared and not said:
        return dict(finished.shared[0].baseline.description)
    return _redacted(said)


def _redacted(values: Mapping[str, rec.Scalar]) -> dict[str, rec.Scalar]:
    return {k: redact(v) if isinstance(v, str) else v for k, v in values.items()}


def _needed(phases: list[rec.Phase]) -> int:
    """Peak of a process over all its phases, beyond what it had before the first."""
    return max(p.peak_rss_bytes for p in phases) - phases[0].base_rss_bytes


def _phases(outcome: Mapping[str, Any], result: Mapping[str, Any]) -> list[rec.Phase]:
    own = list(result.get("phases", []))
    phases = []
    for index, seen in enumerate(outcome.get("phases", [])):
        said = own[index] if index < len(own) and own[index]["name"] == seen["name"] else {}
        phases.append(
            rec.Phase(
                **seen,
                delta_rss_bytes=seen["peak_rss_bytes"] - seen["base_rss_bytes"],
                self_wall_ns=said.get("self_wall_ns"),
                gpu=rec.GpuMemory(**said["gpu"]) if said.get("gpu") else None,
            )
        )
    return phases


def _scores(finished: Finished) -> list[rec.ScoreValue]:
    declared: dict[str, Score] = {s.name: s for s in finished.cell.task.scores}
    values = []
    order = {name: place for place, name in enumerate(declared)}
    for name, value in sorted(finished.scores.items(), key=lambda s: order.get(s[0], len(order))):
        score = declared.get(name.partition("[")[0], Score(name, bounded=False))
        main = score.main and name == score.name
        items = finished.items.get(name)
        n = 0 if items is None else len(items)
        interval = finished.intervals.get(name) or _interval(finished, score, value, items)
        values.append(
            rec.ScoreValue(
                name=name,
                value=value,
                interval=(interval[0], interval[1]) if interval else None,
                unit=score.unit,
                higher_is_better=score.higher_is_better,
                best=score.best,
                main=main,
                n=n,
                gate=None if score.gate is None else finished.cell.case.gate or score.gate,
                below=score.below,
            )
        )
    return values


def _interval(finished: Finished, score: Score, value: float, items: NDArray[np.float64] | None) -> Interval | None:
    """Within one draw: Student's over independent items that differ, else Wilson's."""
    if items is None or not len(items):
        return None
    spread = t_interval(items.tolist()) if finished.independent else None
    if spread is not None and spread.low < spread.high:
        low, high = (max(0.0, spread.low), min(1.0, spread.high)) if score.bounded else (spread.low, spread.high)
        return spread._replace(low=low, high=high)
    return wilson(value, len(items)) if score.bounded and 0 <= value <= 1 else None


def _latencies(finished: Finished, samples: Samples) -> list[rec.Latency]:
    found = []
    for name, stream in finished.result.get("streams", {}).items():
        taken = samples.get(name)
        if taken is None or not len(taken):
            continue
        before = finished.shared[1] if finished.shared else {}
        composed = name in before
        cold = stream["cold_ns"]
        if composed and finished.shared and cold is not None:
            cold += next((s.cold_ns or 0 for s in finished.shared[0].latency if s.name == name), 0)
        summary = latency_summary(taken.tolist())
        found.append(
            rec.Latency(
                name=name,
                cold_ns=cold,
                n=summary.n,
                median_ns=summary.median,
                iqr_ns=summary.iqr,
                p90_ns=summary.p90,
                p95_ns=summary.p95,
                p99_ns=summary.p99,
                p999_ns=summary.p999,
                loops=stream["loops"],
                warm_up_calls=stream["warm_up_calls"],
                stable=summary.stable,
                why="; ".join(summary.reasons),
                composed=composed,
            )
        )
    return found


def _mismatch(cell: Cell, loaded: list[str]) -> list[str]:
    """First-party files in the child that neither the baseline's digest nor the task's covers."""
    covered = {str(p) for p in (*cell.row.sources, *cell.task.sources)}
    extra = [p for p in loaded if p not in covered]
    return sorted({Path(p).name for p in extra if Path(p).name != "__init__.py"})


def _sidecar(samples: Samples, items: Mapping[str, NDArray[np.float64]]) -> bytes:
    arrays: dict[str, NDArray[Any]] = {f"latency/{name}": s for name, s in samples.items() if len(s)}
    arrays.update((f"item/{name}", values) for name, values in items.items())
    if not arrays:
        return b""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()
