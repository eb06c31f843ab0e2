"""Published rows beside one's own: who brings a method sees the known ones in the same table, without running them.

Only what is comparable is shown: the same version of the task, the same case with the same parameters and draws, the
same scale. Scores compare across machines, costs do not, and are left out unless the machine is the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import paths
from harness.plan import Request
from harness.registry import ORACLE, BaselineSpec
from harness.store import BrokenRecord, Store
from harness.table import Row, SamplesOf, rows_of

if TYPE_CHECKING:
    from harness.record import Record

SENTENCE = (
    "(published): committed records of the same task version, case, parameters and scale, not run here; their costs\n"
    "are shown only if measured on a machine like this one. --alone leaves these rows out."
)
_MARK = "\x00published"
"""Behind a name while rows are made, so that a file of one's own may be called like a known row."""
_NO_COSTS: dict[str, Any] = {
    "latency_ns": None, "latency_interval_ns": None, "latency_p99_ns": None, "processes": 0, "build_s": None,
    "throughput_per_s": None, "peak_rss_bytes": None, "delta_rss_bytes": None, "gpu_peak_bytes": None, "cost_s": None,
    "canary_moved": False, "costs": {},
}  # fmt: skip


def published_store(request: Request, results: str | Path) -> Store | None:
    """Where published records lie, if a method of the user's own takes part; None: nothing is to be shown.

    A results folder that is itself the published one holds both, and does not tell which are whose.
    """
    store = Store(paths.PUBLISHED_RESULTS)
    if not (store.root / "records").is_dir() or store.root.resolve() == Path(results).resolve():
        return None
    return store if any(is_own(row) for rows in request.rows.values() for row in rows) else None


def is_own(row: BaselineSpec) -> bool:
    """Whether a row is, or is made of, a file that the user named by its path."""
    if row.more_sources and row.name != ORACLE:
        return True  # PREFIX:PATH.py
    return any(part.path is not None and not part.module for part in (row, *row.parts))


def comparable(own: Sequence[Record], store: Store, scale: str) -> tuple[list[Record], list[BrokenRecord]]:
    """The published records of the cases that `own` answers, but for rows that `own` has answered itself; and the
    files that hold none."""
    cases = {(r.task.name, r.task.version, r.case.name): r.case.params for r in own}
    draws = {(r.task.name, r.case.name, r.seed): r.case.draw_digest for r in own if r.case.draw_digest}
    answered = {_method(r) for r in own if r.status == "ok"}
    ids, devices = {r.id for r in own}, {r.device for r in own}
    found, broken = [], []
    for task in sorted({r.task.name for r in own}):
        records, bad = store.load(task)
        broken += bad
        for r in records:
            digest = draws.get((r.task.name, r.case.name, r.seed), r.case.draw_digest)
            if (
                r.kind != "prepare"
                and r.id not in ids
                and _same_case(r, cases.get((r.task.name, r.task.version, r.case.within or r.case.name)))
                and r.case.draw_digest in ("", digest)
                and r.device in devices
                and _scale(r) in ("", scale)
                and _method(r) not in answered
            ):
                found.append(r)
    return found, broken


def _same_case(record: Record, params: Mapping[str, Any] | None) -> bool:
    """Whether a record is of a case with these parameters, or of a search within it, which has more."""
    if params is None:
        return False
    has = record.case.params
    return {name: has.get(name) for name in params} == params if record.case.within else has == params


def rows_beside(own: Sequence[Record], published: Iterable[Record], samples_of: SamplesOf) -> list[Row]:
    """Rows of both, ranked together where they share draws enough."""
    known = {r.id: r for r in published}
    renamed = [
        r.model_copy(update={"baseline": r.baseline.model_copy(update={"name": r.baseline.name + _MARK})})
        for r in known.values()
    ]
    machines = {r.provenance.fingerprint for r in own}
    return [
        _as_published(row, known, machines) if row.baseline.endswith(_MARK) else row
        for row in rows_of([*own, *renamed], samples_of)
    ]


def _as_published(row: Row, known: dict[str, Record], machines: set[str]) -> Row:
    newest = max((known[identity] for identity in row.records), key=lambda r: (r.provenance.started, r.id))
    elsewhere = newest.provenance.fingerprint not in machines  # a row's costs are those of its newest machine
    name = row.baseline.removesuffix(_MARK)
    return replace(row, baseline=name, published=True, **(_NO_COSTS if elsewhere else {}))


def _method(record: Record) -> tuple[str, str, str, str]:
    """A method on a case; a changed file is another one."""
    return record.task.name, record.case.name, record.baseline.name, record.baseline.source_digest


def _scale(record: Record) -> str:
    """The scale that a record's command names; empty if it names none."""
    said = re.search(r"(?:^|\s)--scale[ =](\w+)", record.provenance.command)
    return said[1] if said else ""
