"""What `harness track check` found about a night: kept beside it, and read by the report."""

from __future__ import annotations

from typing import Literal

from harness.record import Count, Finite
from harness.track.history import SeriesKey, Work, _Part

Verdict = Literal["regressed", "cleared", "inconclusive", "not re-run"]
Layer = Literal["night", "drift", "items", "status"]
"""What raised the suspicion: tonight's value against its past; a step in the whole history; item by item against the
mean of nights before; a cell that no longer answers."""
NoteKind = Literal[
    "improved", "recovered", "changed answers", "new context", "not measured", "archived", "short past", "machine moved"
]
State = Literal["fine", "regressed", "inconclusive", "environment broke", "measured nothing"]
EXIT_CODES: dict[State, int] = {
    "fine": 0, "regressed": 1, "measured nothing": 3, "environment broke": 5, "inconclusive": 6,
}  # fmt: skip


class Finding(_Part):
    """One number that looked worse than its past, and what running it again said."""

    task: str
    version: int
    case: str
    row: str
    seed: int
    device: str
    threads: int
    metric: str
    """As in `Cell.values`; `status` for a cell that no longer answers."""
    unit: str = ""
    higher_is_better: bool = False
    layer: Layer
    verdict: Verdict
    why: str
    """A sentence: what was seen, and what decided."""
    value: Finite | None = None
    """Tonight's; a time as on the machine at its usual speed."""
    before: Finite | None = None
    """Median of its past, or of the level before the step."""
    limit: Finite | None = None
    """What it had to pass to be suspected; None where items, or a status, were compared."""
    across: bool = False
    """Whether its past is of another context: there is too little of tonight's yet."""
    yields: bool = False
    """Whether a few such nights in a row make this the level that the next ones are held against: the re-runs show no
    difference, or there never will be any that could."""
    effect: Finite | None = None
    """What the re-runs say: head / good for costs, head - good for scores."""
    low: Finite | None = None
    high: Finite | None = None
    """95 % interval of `effect`."""
    p: Finite | None = None
    """One-sided, of no change or a better one, from the re-runs alone."""
    pairs: Count = 0
    """Pairs of re-runs that counted."""
    dropped: Count = 0
    """Pairs in which the machine's speed moved."""
    good: str = ""
    """The last commit at which it was as before."""
    bad: str = ""
    """The first at which it was seen to be worse."""
    command: str = ""
    """Makes the comparison again."""

    @property
    def key(self) -> SeriesKey:
        return SeriesKey(
            Work(self.task, self.version, self.case, self.row, self.seed, self.device, self.threads), self.metric
        )


class Note(_Part):
    """Something to know that is no alarm."""

    kind: NoteKind
    text: str


class Check(_Part):
    """The verdict on one night."""

    schema_version: Literal[1] = 1
    night: str
    machine: str
    commit: str
    state: State
    why: str
    checked: str
    """UTC, ISO 8601."""
    series: Count
    """How many were judged."""
    short: Count = 0
    """How many have too short a past to be judged."""
    findings: list[Finding] = []
    notes: list[Note] = []
    reruns: Count = 0
    """Pairs of re-runs made, over all cells."""
    wall_s: Finite = 0.0
    commits: list[str] = []
    """`HASH SUBJECT` of what lies between the night before and this one, newest first."""
