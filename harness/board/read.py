"""From a results folder to what the board shows: rows ranked within their case, limits ranked across rows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from harness.board.board import Board, CaseTable, Entry, Limit, TaskPage
from harness.board.index import Folder, find_records, folders_of, read_folder
from harness.board.statements import Said, Statements, said_by
from harness.findings import findings_of
from harness.known import items_in
from harness.record import TRUSTS, Record, Trust
from harness.registry import ORACLE, TaskSpec
from harness.stats import RankSet, rank_sets
from harness.store import Store, file_digest
from harness.table import Measured, Row, ranked
from harness.task import BreakingPoint


def read_board(store: Store, tasks: Mapping[str, TaskSpec], charts: bool = True) -> Board:
    """The board of a results folder. `charts`: with what needs all records of a task at once (charts, rankings by
    cost, claims, advice); what the rest costs is said in README.md beside this file."""
    said, doubtful = what_is_said(store)
    folders = folders_of(store, tasks, said.retractions)
    pages = pages_of(folders.values(), tasks, said, retracted_rows(store, tasks, said.retractions))
    broken = [*(b for f in folders.values() for b in f.broken), *doubtful]
    for i, page in enumerate(pages) if charts else ():
        try:
            pages[i] = _with_findings(page, store, tasks, said)
        except Exception as error:  # as in the index: the tables stand without it
            broken.append((f"records/{page.name}", f"no charts: {type(error).__name__}: {error}"))
    newest = max((f.newest for f in folders.values()), default="")
    retractions = sorted(said.retractions.values(), key=lambda r: (r.at, r.record))
    places = _Paths(store.root / "records", {i: name for name, folder in folders.items() for i in folder.ids})
    return Board(pages, newest, places, retractions, broken)


class _Paths(Mapping[str, Path]):
    """Where records lie: a path is made when it is asked for, of 100,000."""

    def __init__(self, root: Path, folders: Mapping[str, str]) -> None:
        self._root, self._folders = root, folders

    def __getitem__(self, identity: str) -> Path:
        return self._root / self._folders[identity] / f"{identity}.json"

    def __iter__(self) -> Iterator[str]:
        return iter(self._folders)

    def __len__(self) -> int:
        return len(self._folders)


def what_is_said(store: Store, only: Collection[str] | None = None) -> tuple[Said, list[tuple[str, str]]]:
    """What statements (`only` those of these identifiers) say of records, and (file, why) of those that are not heard:
    a statement about a record that is not there, or is another one by now, says nothing."""
    statements, broken = Statements(store.root).load()
    statements = [s for s in statements if only is None or s.id in only]
    doubtful = [(str(b.path.relative_to(store.root)), b.reason) for b in broken if only is None or b.path.stem in only]
    heard = []
    where = find_records(store, (i for s in statements for i in s.records))
    for statement in statements:
        wrong = [i for i, digest in statement.records.items() if i not in where or file_digest(where[i]) != digest]
        if wrong:
            why = f"{wrong[0]} is not there, or not what the statement was made about; none of it counts"
            doubtful.append((f"statements/{statement.id}.json", why))
        else:
            heard.append(statement)
    return said_by(heard), doubtful


def counted(store: Store, records: Iterable[Record]) -> tuple[list[Record], int]:
    """Those that were not retracted, and the number of those that were."""
    every = list(records)
    retracted = what_is_said(store)[0].retractions
    kept = [r for r in every if r.id not in retracted]
    return kept, len(every) - len(kept)


def retracted_rows(store: Store, tasks: Mapping[str, TaskSpec], retractions: Collection[str]) -> list[Measured]:
    """What retracted records said, by row; those that make no sense are left out, as among the others."""
    places: dict[Path, list[str]] = {}
    for path in find_records(store, retractions).values():
        places.setdefault(path.parent, []).append(path.name)
    return [
        m for place, names in sorted(places.items()) for m in read_folder(store, place, sorted(names), tasks, ()).rows
    ]


# --- rows -----------------------------------------------------------------------------------------------------------


def pages_of(
    folders: Iterable[Folder], tasks: Mapping[str, TaskSpec], said: Said, retracted: Sequence[Measured] = ()
) -> list[TaskPage]:
    """Tables and limits by task, in order of name. Tasks that are not installed are left out."""
    folders = list(folders)
    measured = [m for folder in folders for m in folder.rows]
    entries = [_entry(row, said) for row in ranked(measured)]
    entries += [_entry(replace(row, unranked=_OLD.format(row.task_version)), said) for row in _older(measured)]
    entries = _with_retracted(entries, retracted, said)
    by_task: dict[str, dict[str, list[Entry]]] = {}
    for entry in entries:
        by_task.setdefault(entry.row.task, {}).setdefault(entry.row.case, []).append(entry)
    points: dict[str, list[tuple[str, BreakingPoint]]] = {}
    for folder in folders:
        points.setdefault(folder.task, []).extend(folder.limits)
    return [
        TaskPage(
            name, tasks[name].version, tasks[name].summary, tasks[name].scores,
            [_case(case, members) for case, members in cases.items()], _limits(points.get(name, ())),
        )
        for name, cases in sorted(by_task.items()) if name in tasks
    ]  # fmt: skip


_OLD = "measured with version {} of the task, which is another one by now: not compared"


def _older(measured: Sequence[Measured]) -> Iterator[Row]:
    newest: dict[str, int] = {}
    for row, *_ in measured:
        newest[row.task] = max(newest.get(row.task, 0), row.task_version)
    yield from (row for row, *_ in measured if row.task_version < newest[row.task])


def _entry(row: Row, said: Said) -> Entry:
    trusts: list[Trust] = [said.trust.get(i, "self-reported") for i in row.records]
    trust = min(trusts, key=TRUSTS.index, default=TRUSTS[0])
    marks = [n for n in row.notes if n.startswith("not sealed against")]
    if row.canary_moved:
        marks.append("costs: the machine's speed moved")
    return Entry(row, trust, marks=tuple(marks))


def _with_retracted(entries: Sequence[Entry], retracted: Sequence[Measured], said: Said) -> list[Entry]:
    """Rows with what was retracted of them; those of which nothing else is left are shown as they were."""
    found = {_identity(e.row): e for e in entries}
    for row, *_ in retracted:
        reasons = tuple(r for i in row.records if (r := said.retractions.get(i)))
        gone = _entry(replace(row, unranked=f"retracted: {reasons[0].reason}"), said)
        found[_identity(row)] = replace(found.get(_identity(row), gone), retracted=reasons)
    return list(found.values())


def _identity(row: Row) -> tuple[str, int, str, str, str]:
    return row.task, row.task_version, row.case, row.baseline, row.device


def _case(name: str, members: Sequence[Entry]) -> CaseTable:
    of = next((e.row for e in members if e.row.case_params), members[0].row)
    front = {id(row) for row in _front([e.row for e in members])}
    entries = [replace(e, front=True) if id(e.row) in front else e for e in members]
    return CaseTable(name, of.case_params, of.about, entries, any(e.row.rank for e in members))


_COSTS = ("latency_ns", "delta_rss_bytes")


def _front(rows: Sequence[Row]) -> list[Row]:
    """Rows that no other row of the same device and machine class beats in score, latency and memory at once. A row
    that lacks a cost which others have is not on it."""
    contenders = [r for r in rows if r.kind == "cell" and r.score is not None and not r.unranked]
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in contenders:
        groups.setdefault((row.device, row.machine), []).append(row)
    front = []
    for group in groups.values():
        priced = [cost for cost in _COSTS if any(getattr(r, cost) is not None for r in group)]
        points = []
        for row in group:
            costs = [getattr(row, cost) for cost in priced]
            if None not in costs and row.score is not None:
                points.append((row, (-row.score if row.higher_is_better else row.score, *costs)))
        for row, point in points:
            beaten = any(all(a <= b for a, b in zip(p, point, strict=True)) and p != point for _, p in points)
            front += [] if beaten else [row]
    return front


# --- limits ---------------------------------------------------------------------------------------------------------


def _limits(points: Sequence[tuple[str, BreakingPoint]]) -> list[Limit]:
    """By what is ranked, best first; those that rank nothing last."""
    groups: dict[str, list[tuple[str, BreakingPoint]]] = {}
    for row, point in points:
        groups.setdefault(point.limit, []).append((row, point))
    found = []
    for limit in sorted(groups, key=lambda name: (not name, name)):
        members = groups[limit]
        up = members[0][1].higher_is_better
        drawn = {row: point.per_draw for row, point in members if limit and point.per_draw and row != ORACLE}
        step = max((point.step for _, point in members), default=0.0)
        ranks: dict[str, RankSet | None] = rank_sets(drawn, up, resolution=step) if len(drawn) > 1 else {}
        for row, point in sorted(members, key=lambda m: (_worth(m[1], up), m[1].name, m[0])):
            rank = ranks.get(row)
            found.append(Limit(row, point, (rank.low, rank.high) if rank else None))
    return found


def _worth(point: BreakingPoint, up: bool) -> float:
    """Best first; a limit that was not reached stands where its draws are."""
    drawn = list(point.per_draw.values())
    value = sum(drawn) / len(drawn) if drawn else point.value
    return float("inf") if value is None else -value if up else value


# --- what needs all records of a task -------------------------------------------------------------------------------


def _with_findings(page: TaskPage, store: Store, tasks: Mapping[str, TaskSpec], said: Said) -> TaskPage:
    records = [r for r in store.load(page.name)[0] if r.id not in said.retractions]
    for of_task in findings_of(records, tasks):
        return replace(
            page, charts=of_task.charts(), rankings=of_task.rankings(), tested=of_task.tested(items_in(store)),
            advice=of_task.advice(),
        )  # fmt: skip
    return page
