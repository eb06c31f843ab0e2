"""Impossible results: what no honest run can have written, each with a name, a sentence and a function.

Most are about one record and the sidecar beside it; some compare the records of one draw, or of one row. None needs to
run anything. A record that breaks one is wrong, whatever the reason: edited, from a broken clock, or from a fault of
ours. All committed records pass. The laws are in `score_laws`, `cost_laws` and `agreement_laws`; here they are put to
records.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.store import file_digest, sidecar_of
from harness.submission.agreement_laws import AGREEMENT_LAWS
from harness.submission.cost_laws import COST_LAWS
from harness.submission.law import Evidence, Invariant
from harness.submission.score_laws import SCORE_LAWS

if TYPE_CHECKING:
    from harness.record import Record
    from harness.store import Store

INVARIANTS: tuple[Invariant, ...] = (*SCORE_LAWS, *COST_LAWS, *AGREEMENT_LAWS)


@dataclass(frozen=True)
class Broken:
    """One impossible result."""

    invariant: str
    says: str
    record: str
    row: str
    what: str
    """What the record holds that cannot be."""

    def sentence(self) -> str:
        return f"{self.record} ({self.row}): {self.what}: {self.says}"


def broken_invariants(
    records: Sequence[Record], evidence_of: Callable[[Record], Evidence], beside: Sequence[Record] = ()
) -> list[Broken]:
    """All invariants that `records` break. `beside` are records that others vouch for (published controls, say):
    compared with, and not themselves checked."""
    found = []
    of_these = {record.id for record in records}

    def note(law: Invariant, record: Record, what: str) -> None:
        if record.id in of_these:
            row = f"{record.task.name} {record.case.name} {record.baseline.name} seed {record.seed}"
            found.append(Broken(law.name, law.says, record.id, row, what))

    for record in records:
        evidence = evidence_of(record)
        for law in INVARIANTS:
            for what in law.one(record, evidence) if law.one else ():
                note(law, record, what)
    every = [*records, *(record for record in beside if record.id not in of_these)]
    for law in INVARIANTS:
        for record, what in law.many(every) if law.many else ():
            note(law, record, what)
    return found


def evidence_in(store: Store) -> Callable[[Record], Evidence]:
    """Reads what lies beside the records of a store."""
    import json

    where = {path.stem: path for path in store.paths()}
    environments: dict[str, Mapping[str, Any] | None] = {}

    def environment(digest: str) -> Mapping[str, Any] | None:
        if digest not in environments:
            path = store.root / "environments" / f"{Path(digest).name}.json"
            try:
                environments[digest] = json.loads(path.read_text("utf-8"))
            except (OSError, ValueError):
                environments[digest] = None
        return environments[digest]

    def read(record: Record) -> Evidence:
        arrays: dict[str, NDArray[Any]] = {}
        digest = ""
        path = sidecar_of(where[record.id]) if record.id in where else None
        if path is not None and path.is_file():
            digest = file_digest(path)
            try:
                with np.load(path, allow_pickle=False) as loaded:
                    arrays = {name: loaded[name] for name in loaded.files}
            except (OSError, ValueError, EOFError, KeyError):
                pass
        parts = {kind: {n.partition("/")[2]: a for n, a in arrays.items() if n.startswith(kind)}
                 for kind in ("item/", "latency/")}  # fmt: skip
        return Evidence(parts["item/"], parts["latency/"], digest, environment(record.provenance.environment))

    return read
