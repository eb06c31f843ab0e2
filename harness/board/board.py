"""What the board shows: every row of every task, with what may be said of it, as plain values.

Pages, releases and the data set are made from these values alone, so that they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.findings import Tested
from harness.record import Trust
from harness.table import Row
from harness.task import BreakingPoint, Chart, Ranking, Scalar, Score


@dataclass(frozen=True)
class Retraction:
    """A record that no longer counts, and why. The record stays, and stays visible."""

    record: str
    reason: str
    at: str
    """UTC, ISO 8601."""


@dataclass(frozen=True)
class Entry:
    """One row of a case: a method's results, and what may be said of them."""

    row: Row
    trust: Trust
    """That of the weakest record behind its score."""
    front: bool = False
    """On the Pareto front of score, latency and memory, among rows of the same case, device and machine class."""
    marks: tuple[str, ...] = ()
    """What a reader must know: a moved canary, a missing seal, another version of the task."""
    retracted: tuple[Retraction, ...] = ()
    """Of its records; a row of which all are retracted is shown as it was, without a rank."""


@dataclass(frozen=True)
class CaseTable:
    """One case: its entries, best first, controls and failures among them."""

    name: str
    params: Mapping[str, Scalar]
    about: Mapping[str, Scalar]
    entries: Sequence[Entry]
    resolved: bool
    """Whether any two rows share draws enough to be ranked."""


@dataclass(frozen=True)
class Limit:
    """A breaking point of one row, and its place among those of the other rows."""

    baseline: str
    point: BreakingPoint
    rank: tuple[int, int] | None = None
    """The ranks that cannot be excluded; None: not resolved, or no limit that rows are ranked by."""


@dataclass(frozen=True)
class TaskPage:
    """One task: what it asks, its cases, and what its records show over more than one cell."""

    name: str
    version: int
    summary: str
    scores: Sequence[Score]
    cases: Sequence[CaseTable]
    limits: Sequence[Limit] = ()
    charts: Sequence[Chart] = ()
    rankings: Sequence[Ranking] = ()
    tested: Sequence[Tested] = ()
    advice: Sequence[str] = ()

    @property
    def family(self) -> str:
        return self.name.partition("/")[0]


@dataclass(frozen=True)
class Board:
    """Everything that the pages show."""

    tasks: Sequence[TaskPage]
    newest: str
    """When its newest record ended, UTC, ISO 8601; empty without records."""
    records: Mapping[str, Path] = field(default_factory=dict)
    """Where the record of an identifier lies; its sidecar lies beside it."""
    retractions: Sequence[Retraction] = ()
    broken: Sequence[tuple[str, str]] = ()
    """Files under `records/` that hold no valid record, and why."""
