"""Rows of a results folder without reading every record again.

All records of one row of one task lie in one folder, and what the board shows of that row follows from them alone. So
it is kept, for each folder, with a digest of its files' names, sizes and times. What is kept is a cache, in the user's
cache folder; whoever doubts it deletes it. What it costs is said in README.md beside this file.
"""

from __future__ import annotations

import gc
import hashlib
import os
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter

from harness import __version__, findings, paths, record, stats, store, table, task
from harness.findings import findings_of
from harness.record import Record
from harness.registry import TaskSpec
from harness.store import BrokenRecord, Store, read_record, write_atomically
from harness.table import Measured, measured_rows
from harness.task import BreakingPoint

_RACY_NS = 2_000_000_000
"""A file that changed this shortly before it was read may change again within one tick of the file system's clock."""


@dataclass(frozen=True)
class Folder:
    """What the records of one row of one task come to."""

    rows: list[Measured] = field(default_factory=list)
    limits: list[tuple[str, BreakingPoint]] = field(default_factory=list)
    """Of the task's newest version: (row, limit)."""
    broken: list[tuple[str, str]] = field(default_factory=list)
    """Files that hold no valid record, relative to the results folder, and why."""
    task: str = ""
    newest: str = ""
    """When its newest record ended."""
    ids: list[str] = field(default_factory=list)
    """Of all valid records, retracted ones and preparations among them."""


def folders_of(store: Store, tasks: Mapping[str, TaskSpec], retracted: Iterable[str] = ()) -> dict[str, Folder]:
    """Every folder under `records/`, by its path below it. Records that are `retracted` do not count."""
    without: dict[str, set[str]] = {}
    for identity, place in find_records(store, retracted).items():
        without.setdefault(_name(place.parent), set()).add(identity)
    state = _state(tasks)
    return {
        _name(place): _known_folder(store, place, tasks, state, without.get(_name(place), ()))
        for place in _places(store.root / "records")
    }


def folder_of(
    store: Store, task: str, row: str, tasks: Mapping[str, TaskSpec], retracted: Collection[str] = ()
) -> Folder:
    """One row of one task, without looking at any other: a millisecond once it is kept. Empty if there is none."""
    place = store.folder(task, row)
    without = {i for i in retracted if (place / f"{i}.json").is_file()}
    return _known_folder(store, place, tasks, _state(tasks), without) if place.is_dir() else Folder()


def _known_folder(
    store: Store, place: Path, tasks: Mapping[str, TaskSpec], state: str, without: Collection[str]
) -> Folder:
    if without:
        return _folder(store, place, tasks, without)
    kept = _index_path(store.root, place)
    files, latest = _files(place)
    try:
        entry = _adapter().validate_json(kept.read_bytes())
        if (entry.files, entry.state) == (files, state):
            return entry.folder
    except (OSError, ValueError):
        pass  # it is made again
    read = time.time_ns()
    with _uncollected():
        folder = _folder(store, place, tasks, ())
    if read - latest > _RACY_NS and _files(place)[0] == files:
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(kept, _adapter().dump_json(_Entry(files, state, folder), exclude_defaults=True))
        except OSError:
            pass  # a cache that cannot be written costs time, and nothing else
    return folder


def _files(place: Path) -> tuple[str, int]:
    """A digest of the records' names, sizes and times, and the latest of these in ns."""
    names, sizes, times = [], [], []
    for entry in os.scandir(place):
        if entry.name.endswith(".json"):
            status = entry.stat(follow_symlinks=False)
            names.append(entry.name)
            sizes.append(status.st_size)
            times.append(status.st_mtime_ns)
    content = f"{names}{sizes}{times}"  # in the folder's own order, which changes with its files alone
    return hashlib.sha256(content.encode("utf-8", "replace")).hexdigest(), max(times, default=0)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the collector of cycles, which records do not have: walking them again and again costs a fifth."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _places(root: Path) -> Iterator[Path]:
    for of_task in sorted(p for p in root.iterdir() if p.is_dir()) if root.is_dir() else ():
        yield from sorted(p for p in of_task.iterdir() if p.is_dir())


def _name(place: Path) -> str:
    return f"{place.parent.name}/{place.name}"


def find_records(store: Store, ids: Iterable[str]) -> dict[str, Path]:
    """Where the records of these identifiers lie; those that are not there are left out."""
    wanted = set(ids)
    found: dict[str, Path] = {}
    for place in _places(store.root / "records") if wanted else ():
        names = {entry.name.removesuffix(".json") for entry in os.scandir(place) if entry.name.endswith(".json")}
        found.update((identity, place / f"{identity}.json") for identity in names & wanted)
    return found


def _folder(store: Store, place: Path, tasks: Mapping[str, TaskSpec], without: Collection[str]) -> Folder:
    names = sorted(name for name in os.listdir(place) if name.endswith(".json") and name[0] != ".")
    return read_folder(store, place, names, tasks, without)


def read_folder(
    store: Store, place: Path, names: Iterable[str], tasks: Mapping[str, TaskSpec], without: Collection[str]
) -> Folder:
    """What these files of a folder come to, read anew. Records in `without` do not count."""
    records, broken, ids = [], [], []
    for name in names:
        one = read_record(place / name)
        why = one.reason if isinstance(one, BrokenRecord) else _misplaced(one, store, place / name)
        if isinstance(one, BrokenRecord) or why or (why := unfit(one, tasks)):
            broken.append((str((place / name).relative_to(store.root)), why))
            continue
        ids.append(one.id)
        if one.id not in without:
            records.append(one)
    rows: list[Measured] = []
    limits: list[tuple[str, BreakingPoint]] = []
    try:
        rows = measured_rows(records, costs=False)  # the board shows none of these
        limits = [pair for of_task in findings_of(records, tasks) for pair in of_task.breaking_points()]
    except Exception as error:  # records that fit the schema, and make no sense to a task, or to arithmetic
        what = "no limits" if rows else "no rows"
        broken.append((str(place.relative_to(store.root)), f"{what}: {type(error).__name__}: {error}"))
    newest = max((r.provenance.ended for r in records), default="")
    return Folder(rows, limits, broken, records[0].task.name if records else "", newest, ids)


def _misplaced(record: Record, store: Store, path: Path) -> str:
    """A copy of a record under another name would be counted twice."""
    if record.id != path.stem or path.parent != store.folder(record.task.name, record.baseline.name):
        return f"it is record {record.id} of {record.baseline.name} on {record.task.name}, and does not belong here"
    return ""


def unfit(record: Record, tasks: Mapping[str, TaskSpec]) -> str:
    """Why a record does not fit its task as it is installed here: what is a case, what a score means and which way is
    up is the task's to say, not the record's. Empty for one that does, and for one of another task or version."""
    spec = tasks.get(record.task.name)
    if spec is None or record.task.version < spec.version:
        return ""
    if record.task.version > spec.version:
        return f"it is of version {record.task.version} of {spec.name}, and {spec.version} is installed; update harness"
    case = next((c for c in spec.cases if c.name == record.case.name), None)
    has = record.case.params
    if case is not None and not case.download and any(has.get(name, v) != v for name, v in case.params.items()):
        return f"{case.name} has other parameters than {spec.name} gives it"
    declared = {score.name: score for score in spec.scores}
    for score in record.scores:
        known = declared.get(score.name)
        if known is None and not score.main:
            continue
        said = score.higher_is_better, score.main, score.best
        if known is None or said != (known.higher_is_better, known.main, known.best):
            return f"{score.name} is not the score that {spec.name} declares: its direction, ceiling or rank differs"
    if record.scores and sum(score.main for score in record.scores) > 1:
        return "it has two main scores"
    if len({score.name for score in record.scores}) < len(record.scores):
        return "it has one score twice"
    return ""


# --- the file -------------------------------------------------------------------------------------------------------


def _state(tasks: Mapping[str, TaskSpec]) -> str:
    """What the entries depend on besides the records."""
    digest = hashlib.sha256(__version__.encode())
    for module in (record, stats, table, findings, task, store):
        digest.update(Path(str(module.__file__)).read_bytes())
    digest.update(Path(__file__).read_bytes())
    for name, spec in sorted(tasks.items()):
        digest.update(f"{name} {spec.version} {spec.source_digest}".encode())
    return digest.hexdigest()


def _index_path(root: Path, place: Path) -> Path:
    of = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]
    return paths.cache_root() / "index" / of / f"{_name(place)}.json"


@dataclass(frozen=True)
class _Entry:
    files: str
    """Digest of the folder's files."""
    state: str
    folder: Folder


@cache
def _adapter() -> TypeAdapter[_Entry]:
    return TypeAdapter(_Entry)
