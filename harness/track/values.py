"""From the records of one night to its cells: one for each row on each case, with the numbers that are followed.

All processes of a row on a draw are one cell. Noise only adds to a time, and that of a shared machine comes and goes
within milliseconds: what is followed is the quickest of the processes, call by call for a latency, of which the median
over calls counts. (Of 133 searches of 0.2 ms, the median over eight processes varied by 16 % from session to session,
and this by 1 %; the records keep all samples.) Sizes are medians. What several rows share (the preparation) is a cell
of its own, so that a slow-down of it is said once, not for every row.
"""

from __future__ import annotations

import hashlib
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from harness.findings import ItemsOf
from harness.known import items_in, samples_in
from harness.record import BaselineRef, Phase, Record, Scalar
from harness.registry import BaselineSpec, Registry, load_registry
from harness.store import Store
from harness.table import SamplesOf
from harness.track.history import Cell, Value, Work, digest_of

Items = dict[str, NDArray[np.float64]]
SHARED_PART = " (shared part)"
_MINOR = re.compile(r"\d+(?:\.\d+)?")


def cells_of(store: Store, records: Iterable[Record], scale: str) -> tuple[list[Cell], Items]:
    """The cells of a night's records, in order of work, and the item scores that their values name, by digest.

    `records` are of one run, in order of time; their sidecars lie in `store`. `scale` is the one they were run at.
    Records of kind `control` are no rows and are left out.
    """
    found = [record for record in records if record.kind != "control"]
    read, samples = items_in(store), samples_in(store)
    wall = {record.id: record.cost.wall_s for record in found}
    groups: dict[Work, list[Record]] = {}
    for record in found:
        groups.setdefault(work_of(record), []).append(record)
    cells, items = [], {}
    for work, group in sorted(groups.items()):
        own, arrays = _cell(work, group, scale, read, samples, wall)
        cells.append(own)
        items.update(arrays)
    return cells, items


def work_of(record: Record) -> Work:
    """What can be run again to make a record like this one."""
    name = shared_part(record.baseline.file, record.baseline.params) if record.kind == "prepare" else None
    return Work(
        record.task.name, record.task.version, record.case.name, name or record.baseline.name, record.seed,
        record.device, record.threads,
    )  # fmt: skip


def shared_part(file: str, params: Mapping[str, Scalar]) -> str:
    """The row name of a preparation: the file's stem, and those parameters that are not left to its rows."""
    said = ",".join(f"{name}={value}" for name, value in sorted(params.items()))
    return PurePath(file).stem + (f"[{said}]" if said else "") + SHARED_PART


def row_to_run(work: Work, registry: Registry | None = None) -> str:
    """What to name with `--baseline` to measure `work` again: a preparation is run by any row that needs it.

    With `--force` and an empty results folder the runner makes the preparation anew, whatever is cached; its record is
    then of kind `prepare`, and `cells_of` gives it the same `Work`. The row's own cell comes with it, to be ignored.
    Returns the file's name where no installed row needs it by these parameters any more.
    """
    if not work.row.endswith(SHARED_PART):
        return work.row
    known = registry or load_registry()
    task = known.tasks.get(work.task)
    for row in known.rows(task) if task else ():
        if row.path and prepared_by(row) == work.row:
            return row.name
    return work.row.removesuffix(SHARED_PART).partition("[")[0].replace("_", "-")


def prepared_by(row: BaselineSpec) -> str:
    """The name of the preparation that a row needs, if it needs one."""
    params: dict[str, Scalar] = {name: value for name, value in row.params.items() if name not in row.shared}
    params.update({part.part: part.name for part in row.parts})
    params.update({f"{part.name}.{name}": value for part in row.parts for name, value in part.params.items()})
    return shared_part(row.path.name if row.path else "", params)


def _cell(
    work: Work, group: Sequence[Record], scale: str, read: ItemsOf, samples: SamplesOf, wall: Mapping[str, float]
) -> tuple[Cell, Items]:
    scored = [record for record in group if record.repeat == 0] or list(group)
    judged = next((record for record in scored if record.status != "ok"), scored[-1])
    fine = [record for record in group if record.status == "ok"] if judged.status == "ok" else []
    later = next((record for record in group if record.status != "ok"), None)
    reason = judged.reason
    if fine and later is not None:
        bad = sum(record.status != "ok" for record in group)
        reason = f"{bad} of {len(group)} processes: {later.status}: {later.reason}"
    arrays = read(judged) if fine and judged.kind == "cell" else {}
    values, items = _scores(judged if fine else None, arrays)
    values.update(_costs(fine, samples))
    speeds = [(r.canary.before_ns + r.canary.after_ns) / 2 for r in group if r.canary]
    cell = Cell(
        task=work.task, version=work.version, case=work.case, row=work.row, seed=work.seed, device=work.device,
        threads=work.threads, scale=scale, status=judged.status, reason=reason,
        source=source_of(judged.task.source_digest, judged.baseline), draw=judged.case.draw_digest,
        libraries=libraries_of(judged),
        canary_ns=min(speeds, default=None), wall_s=sum(_own_wall_s(r, wall) for r in group),
        values=dict(sorted(values.items())),
    )  # fmt: skip
    return cell, items


def source_of(task_digest: str, row: BaselineRef | BaselineSpec) -> str:
    """Digest of the code of a task and a row, as `Cell.source` has it."""
    return hashlib.sha256(f"{task_digest} {row.source_digest}".encode()).hexdigest()[:32]


def libraries_of(record: Record) -> dict[str, str]:
    """NumPy and what the row says it requires, to the minor version. What else its process had imported is as much the
    other rows' of the same run, for which a server imports in advance, and is on the record."""
    wanted = {"numpy", *(module.partition(".")[0] for module in record.baseline.requires)}
    return {name: minor(v) for name, v in sorted(record.provenance.libraries.items()) if name in wanted}


def minor(version: str) -> str:
    """`2.13.0+cpu` -> `2.13`: patch releases and local labels do not start a history anew."""
    match = _MINOR.match(version)
    return match[0] if match else version


def _own_wall_s(record: Record, wall: Mapping[str, float]) -> float:
    """What a process took without the preparation that was charged to it."""
    shared = wall.get(record.provenance.shared_record or "", 0.0)
    return max(0.0, record.cost.wall_s - shared)


def _scores(record: Record | None, arrays: Mapping[str, NDArray[np.float64]]) -> tuple[dict[str, Value], Items]:
    values: dict[str, Value] = {}
    items: Items = {}
    if record is None or record.kind == "prepare":
        return values, items
    task = load_registry().tasks.get(record.task.name)
    declared = {score.name for score in task.scores} if task else {score.name for score in record.scores}
    for score in record.scores:
        if "[" in score.name or score.name not in declared:
            continue  # a part of another one, or one of which nobody said which way is better
        if not (score.main or score.n or (score.unit.startswith("bytes") and not score.higher_is_better)):
            continue  # something that explains a score, and is none
        digest = ""
        if (found := arrays.get(score.name)) is not None and len(found):
            own = np.ascontiguousarray(found, np.float64)
            digest = digest_of(own)
            items[digest] = own
        values[f"score/{score.name}"] = Value(
            value=score.value, unit=score.unit, higher_is_better=score.higher_is_better, items=digest
        )
    return values, items


def _costs(records: Sequence[Record], samples: SamplesOf) -> dict[str, Value]:
    """What the row itself spent: times by the quickest process, sizes by the median one.

    However small: what is not judged (`amounts.too_small`) is kept nevertheless, so that it is seen to grow.
    """
    streams: dict[str, list[Sequence[int]]] = {}
    times: dict[str, list[float]] = {}
    sizes: dict[str, list[float]] = {}
    for record in records:
        own = [phase for phase in record.phases if not phase.shared]
        taken = samples(record) if record.latency and record.kind == "cell" else {}  # a preparation's is in its rows'
        for latency in record.latency if record.kind == "cell" else ():
            streams.setdefault(f"latency/{latency.name}", []).append(
                taken.get(latency.name) or [int(latency.median_ns)]
            )
        spent: dict[str, float] = {}
        for phase in own:
            if not phase.name.endswith(".single"):  # one call at a time: what latency says, and with more noise
                spent[phase.name] = spent.get(phase.name, 0) + phase.wall_ns
        for name, wall_ns in spent.items():
            times.setdefault(f"time/{name}", []).append(wall_ns)
        for name, size in _memory(record, own).items():
            sizes.setdefault(f"memory/{name}", []).append(size)
    values = {
        name: Value(value=quickest(found), unit="ns", processes=len(found)) for name, found in streams.items()
    }  # fmt: skip
    for name, found in times.items():
        values[name] = Value(value=max(1.0, min(found)), unit="ns", processes=len(found))
    for name, found in sizes.items():  # nothing at all is one byte, as above one ns: costs are compared by their ratio
        values[name] = Value(value=max(1.0, statistics.median(found)), unit="bytes", processes=len(found))
    return values


def quickest(processes: Sequence[Sequence[int]]) -> float:
    """Of each call the quickest process, and of these the median call, in ns; where processes made different numbers of
    calls, the median of the quickest one."""
    if len({len(calls) for calls in processes}) == 1:
        return float(np.median(np.min(np.asarray(processes, np.float64), axis=0)))
    return min(float(np.median(calls)) for calls in processes)


def _memory(record: Record, own: Sequence[Phase]) -> dict[str, float]:
    """Peak and need of a process; where a preparation's are charged to the record as well, those of its own phases."""
    peak, delta = record.peak_rss_bytes, record.delta_rss_bytes
    if own and len(own) < len(record.phases):
        peak = max(phase.peak_rss_bytes for phase in own)
        delta = peak - own[0].base_rss_bytes
    gpu = [p.gpu.allocated_peak_bytes for p in own if p.gpu and p.gpu.allocated_peak_bytes is not None]
    found = {"peak": peak, "delta": delta, "gpu": max(gpu, default=None)}
    return {name: float(size) for name, size in found.items() if size is not None}
