"""What a night measures: the core in any case, then what has waited longest, as far as the time goes. Pure decisions.

A *piece* is one row on one case at seed 0. Pieces whose rows share a preparation on a case are measured together, so
that it is made once a night and not once a row. What nothing has come of in `ARCHIVE_AFTER` tries of the same source is
archived: it is left out until its source changes or somebody names it, but for one try every `RETRY_AFTER` nights, by
which it is seen to answer again where it was the environment that was wrong. Nights in which that is known to have been
broken do not count.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from harness.track.history import Archived, Cell, Night

ARCHIVE_AFTER = 14
"""Nights in which it was tried, one after the other."""
RETRY_AFTER = 14
"""Nights after which what is archived is tried once again."""
CHUNK_S = 900.0
"""About how much is started at once: in between, what is left of the night is looked at again."""
MARGIN = 1.25
"""What is started must fit with this much to spare: costs differ from night to night."""
RESERVED = 0.25
"""Share of the night that the rotation has where the core does not fit it and is rotated itself."""
ALONE_AFTER = 7
"""Nights that a group must have waited before the core makes room for it."""
UNKNOWN_OVERHEAD_S = 0.5
"""Of the harness around one process, before any night has told."""
STATE = "state"
"""Where `Night.info` says whether the night is worth anything (`harness.track.health`)."""
Place = tuple[str, str, str]
"""Task, case, row."""


@dataclass(frozen=True)
class Piece:
    """One row on one case, and what is known of it before it runs."""

    task: str
    case: str
    row: str
    source: str
    """As `Cell.source`."""
    processes: int = 1
    group: str = ""
    """The name of the preparation that it needs, if any: pieces of one case and group are measured together."""
    blocked: str = ""
    """Why it will be skipped without a process, where that is known."""

    @property
    def place(self) -> Place:
        return self.task, self.case, self.row

    @property
    def shared(self) -> Place:
        """Where the preparation's own cell is."""
        return self.task, self.case, self.group

    def __str__(self) -> str:
        return f"{self.task} {self.case} {self.row}"


@dataclass(frozen=True)
class Group:
    """Pieces that are measured together."""

    pieces: tuple[Piece, ...]
    cost_s: float | None
    """Wall time; None where nothing is known of some of it."""
    last: int
    """Number of the night that measured the one that has waited longest; -1: none has."""

    @property
    def name(self) -> str:
        return f"{self.pieces[0].task} {self.pieces[0].case} {self.pieces[0].group or self.pieces[0].row}"


@dataclass(frozen=True)
class Share:
    """How a night is divided between the core and the rotation."""

    whole: bool
    """Whether the core fits, with a margin; else it is rotated as well."""
    beside_s: float
    """What the rotation has."""
    alone: Group | None
    """What has waited longest, where that is too long to fit beside the core: it is first, and the core makes room."""
    never: list[Group]
    """What is too long for a whole night: it waits until there is more time."""


@dataclass
class Past:
    """What earlier nights say of each place, and what published records say it costs."""

    nights: Sequence[Night]
    published_s: Mapping[Place, float] = field(default_factory=dict)
    """Wall time of one process of a row, without what it shares, by records of any machine."""

    def __post_init__(self) -> None:
        self._seen: dict[Place, list[tuple[int, Cell]]] = {}
        for number, night in enumerate(self.nights):
            for cell in night.cells:
                if cell.seed == 0:
                    self._seen.setdefault((cell.task, cell.case, cell.row), []).append((number, cell))
        self.overhead_s = _overhead_s(self.nights)

    def last(self, place: Place) -> int:
        """Number of the last night that tried it; -1: none did."""
        seen = self._seen.get(place)
        return seen[-1][0] if seen else -1

    def latest(self, place: Place) -> Cell | None:
        seen = self._seen.get(place)
        return seen[-1][1] if seen else None

    def was_ok(self, place: Place) -> bool:
        cell = self.latest(place)
        return cell is not None and cell.status == "ok"

    def cost_s(self, place: Place, processes: int) -> float | None:
        """Wall time of that many processes: the median of the last three tries, else what published records say.

        None, as of what is not known, where it was last ended by the time limit: it may need any more than that.
        """
        latest = self.latest(place)
        if latest is not None and latest.status == "timeout":
            return None
        took = [_per_process_s(cell) for _, cell in self._seen.get(place, ())[-3:]]
        one = statistics.median(took) if took else self.published_s.get(place)
        if latest is not None and latest.status != "ok":
            processes = 1  # further processes of what does not answer are not tried
        return None if one is None else processes * (one + self.overhead_s)

    def archived(self, piece: Piece) -> Archived | None:
        """Whether nothing has come of it for too long, by its present source. `unsupported` is an answer.

        None also in the night in which it is tried once again.
        """
        tries: list[tuple[int, Cell]] = []
        for number, cell in reversed(self._seen.get(piece.place, ())):
            if cell.status in ("ok", "unsupported") or cell.source != piece.source:
                break
            if self.nights[number].info.get(STATE) != "environment broke":
                tries.append((number, cell))
        if len(tries) < ARCHIVE_AFTER or len(self.nights) - tries[0][0] >= RETRY_AFTER:
            return None
        latest = tries[0][1]
        if latest.status == "skipped" and latest.wall_s == 0 and not piece.blocked:
            return None  # what was missing then is there now: it has never really been tried
        return Archived(
            task=piece.task, case=piece.case, row=piece.row, nights=len(tries), since=self.nights[tries[-1][0]].id,
            reason=f"{latest.status}: {latest.reason}",
        )  # fmt: skip


def split_archived(
    pieces: Iterable[Piece], past: Past, named: frozenset[str] | None = None
) -> tuple[list[Piece], list[Archived]]:
    """What is to run and what is archived; rows in `named` run whatever became of them."""
    run, archived = [], []
    for piece in pieces:
        gone = None if named and piece.row in named else past.archived(piece)
        if gone is None:
            run.append(piece)
        else:
            archived.append(gone)
    return run, archived


def groups_of(pieces: Iterable[Piece], past: Past) -> list[Group]:
    """Groups in the order in which their turn comes: what has waited longest first, and of these the cheapest.

    What has never been measured has waited longest of all. What nothing is known of comes after what is known to be
    cheap, as it may take until the time limit.
    """
    together: dict[tuple[str, ...], list[Piece]] = {}
    for piece in pieces:
        together.setdefault(piece.shared if piece.group else (*piece.place, ""), []).append(piece)
    groups = [
        Group(tuple(members), _cost_s(members, past), min(past.last(piece.place) for piece in members))
        for members in together.values()
    ]
    return sorted(groups, key=lambda g: (g.last, g.cost_s is None, g.cost_s or 0.0, g.name))


def next_chunk(groups: Sequence[Group], left_s: float) -> list[Group]:
    """The groups to start now, given what is left of the night; [] when nothing more fits.

    A group of unknown cost goes alone. One that does not fit lets smaller ones by: the next night it is the first.
    """
    chunk: list[Group] = []
    spent = 0.0
    for group in groups:
        if group.cost_s is None:
            if not chunk and left_s > 0:
                return [group]
            continue
        if (spent + group.cost_s) * MARGIN > left_s:
            continue
        chunk.append(group)
        spent += group.cost_s
        if spent >= CHUNK_S:
            break
    return chunk


def share_of(core: Sequence[Group], rotation: Sequence[Group], budget_s: float, nights: int) -> Share:
    """How the next night, after so many `nights`, is divided; groups in the order in which their turn comes.

    No group of the rotation waits for ever because it does not fit beside the core: when it has waited longest, and for
    `ALONE_AFTER` nights, it is measured first, and the core in what is left.
    """
    core_s = sum(group.cost_s or 0.0 for group in core)
    whole = core_s * MARGIN <= budget_s
    beside_s = budget_s - core_s if whole else RESERVED * budget_s if rotation else 0.0
    first = next((group for group in rotation if _fits(group, budget_s)), None)
    waited = first is not None and (first.last < 0 or nights - first.last >= ALONE_AFTER)
    return Share(
        whole, beside_s, first if waited and first and not _fits(first, beside_s) else None,
        [group for group in (*core, *rotation) if not _fits(group, budget_s)],
    )  # fmt: skip


def total_s(pieces: Iterable[Piece], past: Past) -> tuple[float, int]:
    """What the known ones of these cost together, and how many of their groups are unknown."""
    groups = groups_of(pieces, past)
    return sum(g.cost_s for g in groups if g.cost_s is not None), sum(g.cost_s is None for g in groups)


def _fits(group: Group, time_s: float) -> bool:
    """Whether it can be started with so much time left; of what is unknown nobody knows."""
    return group.cost_s is None or group.cost_s * MARGIN <= time_s


def _cost_s(members: Sequence[Piece], past: Past) -> float | None:
    costs = [0.0 if piece.blocked else past.cost_s(piece.place, piece.processes) for piece in members]
    if members[0].group:
        shared = past.cost_s(members[0].shared, max(piece.processes for piece in members))
        if shared is None and past.last(members[0].place) < 0:
            costs.append(None)
        costs.append(shared or 0.0)
    known = [cost for cost in costs if cost is not None]
    return sum(known) if len(known) == len(costs) else None


def _per_process_s(cell: Cell) -> float:
    """Of a cell that failed only one process is known to have run: its further ones are not tried."""
    return cell.wall_s / max((value.processes for value in cell.values.values()), default=1)


def _overhead_s(nights: Sequence[Night]) -> float:
    """What a process costs besides itself (drawing, scoring, canaries): the median of the last five nights."""
    found = []
    for night in nights[-5:]:
        processes = sum(max((v.processes for v in c.values.values()), default=1) for c in night.cells if c.wall_s)
        if processes:
            whole = (datetime.fromisoformat(night.ended) - datetime.fromisoformat(night.started)).total_seconds()
            found.append(max(0.0, whole - sum(cell.wall_s for cell in night.cells)) / processes)
    return statistics.median(found) if found else UNKNOWN_OVERHEAD_S
