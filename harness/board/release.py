"""Releases: a numbered, frozen copy of the ranking, with the digest of everything that it was made from.

    releases/<name>/manifest.json    what was there: records, sidecars, statements, tasks, baselines, by digest
                    ranking.json     ranks, scores and limits, rounded
                    table.csv        one line a row
                    table.parquet    the same

A release depends on the records and on nothing else (no clock, no machine, no path), so that two checkouts of one
commit make the same bytes. `verify_release` computes it again from the records that the manifest names.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from harness import __version__
from harness.board.board import Board
from harness.board.index import Folder, read_folder
from harness.board.read import pages_of, retracted_rows, what_is_said
from harness.board.statements import Statements
from harness.board.tables import comma_separated, frame_of, ranking_of
from harness.errors import MissingPackage, StoreError, UsageError
from harness.registry import TaskSpec
from harness.store import BrokenRecord, Store, file_digest, read_record, sidecar_of

RULES = 1
"""Bumped whenever the same records come to another ranking: a release is verified by the rules that it was made by."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class BaselineOf(_Part):
    """A row as its newest record has it."""

    file: str
    version: int
    source_digest: str


class TaskOf(_Part):
    """A task as it was installed."""

    version: int
    source_digest: str


class Manifest(_Part):
    """What a release was made from."""

    schema_version: Literal[1] = 1
    name: str
    rules: int
    """Version of the rules of ranking."""
    harness_version: str
    newest: str
    """When its newest record ended, UTC."""
    previous: str
    """SHA-256 of the manifest of the release before it, so that none can be taken out unseen; empty for the first."""
    tasks: dict[str, TaskOf]
    baselines: dict[str, dict[str, BaselineOf]]
    """By task and row."""
    records: dict[str, str]
    """SHA-256 of every record and sidecar, by path in the results folder."""
    statements: dict[str, str]
    """The same of statements: retractions and verifications."""
    files: dict[str, str]
    """SHA-256 of the release's own files; of the Parquet file, of its content."""


@dataclass(frozen=True)
class Release:
    """A release as it lies in its folder."""

    folder: Path
    manifest: Manifest
    ranking: Mapping[str, Any]


def releases_of(store: Store) -> list[Release]:
    """All releases of a results folder, oldest first. Raises StoreError for one that cannot be read."""
    root = store.root / "releases"
    folders = [p for p in root.iterdir() if p.is_dir() and _NAME.fullmatch(p.name)] if root.is_dir() else []
    return [read_release(store, folder.name) for folder in sorted(folders, key=lambda p: _order(p.name))]


def read_release(store: Store, name: str) -> Release:
    """One release. Raises UsageError if there is none of this name, StoreError if its files cannot be read."""
    folder = store.root / "releases" / _checked(name)
    if not folder.is_dir():
        known = ", ".join(p.name for p in sorted(folder.parent.glob("[0-9]*"))) or "none"
        raise UsageError(
            f"no release {name} under {folder.parent} (there: {known}); `harness board release {name}` makes it"
        )
    try:
        manifest = Manifest.model_validate_json((folder / "manifest.json").read_bytes())
        ranking = json.loads((folder / "ranking.json").read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise StoreError(f"{folder / 'manifest.json'} is no manifest: {where}: {first['msg']}") from None
    except (OSError, ValueError) as error:
        raise StoreError(f"{folder} is no whole release: {error}; get it again from where it came from") from None
    return Release(folder, manifest, ranking)


def make_release(store: Store, tasks: Mapping[str, TaskSpec], name: str) -> Release:
    """Freeze what is there under `name` (year.month, or year.month.number).

    Raises UsageError for a name that is taken or none, and StoreError for records that cannot stand in a release:
    invalid ones, statements about other records, rows of a sealed task that were not sealed.
    """
    folder = store.root / "releases" / _checked(name)
    if folder.exists():
        raise UsageError(
            f"release {name} is there already, and releases never change; take another name ({_next(name)})"
        )
    files, manifest = _made(store, tasks, name, *_all_of(store))
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".making-", dir=folder.parent))
    try:
        for file, content in files.items():
            (temporary / file).write_bytes(content)
        (temporary / "manifest.json").write_bytes(_json(manifest.model_dump(mode="json")))
        temporary.chmod(0o755)
        os.rename(temporary, folder)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise StoreError(f"{folder} cannot be written: {error.strerror}") from None
    return read_release(store, name)


def as_it_is(store: Store, tasks: Mapping[str, TaskSpec]) -> Release:
    """What a release would hold now, with whatever could not stand in one; nothing is written."""
    board, manifest = _described(store, tasks, "now", *_all_of(store))
    return Release(store.root, manifest, ranking_of(board))


class NotHere(UsageError):
    """A release that this installation cannot compute again, though nothing is known to be wrong with it."""


def verify_release(store: Store, tasks: Mapping[str, TaskSpec], name: str) -> list[str]:
    """What is wrong with a release, a sentence each: files that are not what they were, or a ranking that the records
    do not come to. Empty: it holds. Raises NotHere where other rules or tasks are installed than it was made with."""
    release = read_release(store, name)
    manifest = release.manifest
    if manifest.name != name:
        return [f"the manifest in {release.folder} calls itself {manifest.name}"]
    own = {"manifest.json", *manifest.files}
    wrong = [f"{p.name} does not belong to it" for p in sorted(release.folder.iterdir()) if p.name not in own]
    for path, digest in {**manifest.records, **manifest.statements}.items():
        found = _digest_inside(store.root, path)
        if found != digest:
            wrong.append(f"{path} is {'not there' if not found else 'not what it was when the release was made'}")
    if manifest.previous != _before(store, name):
        wrong.append("the release before it is not the one that it was made after")
    if wrong:
        return wrong
    _assert_same_rules(manifest, tasks)
    records = [path for path in manifest.records if path.endswith(".json")]
    try:
        files, again = _made(store, tasks, name, records, list(manifest.statements))
    except StoreError as error:
        return [str(error)]
    for file, content in files.items():
        there = release.folder / file
        if not there.is_file():
            wrong.append(f"{file} is not there")
        elif _content_digest(file, there.read_bytes()) != _content_digest(file, content):
            wrong.append(f"{file} does not follow from the records")
    if again.files != manifest.files:
        wrong.append("the manifest names other digests for the release's own files")
    told = {"harness_version": manifest.harness_version, "files": manifest.files, "tasks": manifest.tasks}
    if again.model_copy(update=told) != manifest:
        wrong.append("the manifest does not follow from the records")
    changed = [t for t, of in manifest.tasks.items() if of.source_digest != tasks[t].source_digest]
    if wrong and changed:
        raise NotHere(
            f"{name} cannot be told here: the text of {', '.join(changed)} changed since without a new version; verify "
            f"it with harness {manifest.harness_version} as it was then ({'; '.join(wrong)})"
        )
    return wrong


def _assert_same_rules(manifest: Manifest, tasks: Mapping[str, TaskSpec]) -> None:
    if manifest.rules != RULES:
        raise NotHere(
            f"{manifest.name} was ranked by rules {manifest.rules} of harness {manifest.harness_version}, and this one "
            f"has rules {RULES}; verify it with that version"
        )
    others = [f"{task} {of.version}" for task, of in manifest.tasks.items()
              if task not in tasks or tasks[task].version != of.version]  # fmt: skip
    if others:
        raise NotHere(f"{manifest.name} was made with {', '.join(others)}, which are not the versions installed here")


def _before(store: Store, name: str) -> str:
    """Digest of the manifest of the newest release that is older than `name`; empty if there is none."""
    folders = [
        p for p in (store.root / "releases").glob("*") if _NAME.fullmatch(p.name) and _order(p.name) < _order(name)
    ]
    return file_digest(max(folders, key=lambda p: _order(p.name)) / "manifest.json") if folders else ""


# --- what a release holds -------------------------------------------------------------------------------------------


def board_of(
    store: Store, tasks: Mapping[str, TaskSpec], records: Sequence[str], statements: Sequence[str]
) -> tuple[Board, dict[str, dict[str, BaselineOf]], dict[str, str]]:
    """The board of these records (paths in the results folder) and statements alone, read anew; with the newest source
    of each row, and the digests of records and sidecars."""
    said, doubtful = what_is_said(store, {Path(path).stem for path in statements})
    places: dict[Path, list[str]] = {}
    for path in records:
        places.setdefault((store.root / path).parent, []).append(Path(path).name)
    folders: list[Folder] = []
    baselines: dict[str, dict[str, BaselineOf]] = {}
    digests: dict[str, str] = {}
    for place, names in sorted(places.items()):
        folders.append(read_folder(store, place, sorted(names), tasks, said.retractions))
        newest = ""
        for name in names:
            file = place / name
            record = read_record(file)
            if isinstance(record, BrokenRecord):
                continue
            digests[str(file.relative_to(store.root))] = file_digest(file)
            if record.sidecar:
                digests[str(sidecar_of(file).relative_to(store.root))] = record.sidecar
            if record.kind != "prepare" and record.provenance.started + record.id > newest:
                newest = record.provenance.started + record.id
                of = record.baseline
                row = BaselineOf(file=of.file, version=of.version, source_digest=of.source_digest)
                baselines.setdefault(record.task.name, {})[of.name] = row
    broken = [*(b for f in folders for b in f.broken), *doubtful]
    pages = pages_of(folders, tasks, said, retracted_rows(store, tasks, said.retractions))
    board = Board(pages, max((f.newest for f in folders), default=""), broken=broken)
    return (
        board,
        {t: dict(sorted(rows.items())) for t, rows in sorted(baselines.items())},
        dict(sorted(digests.items())),
    )


def _all_of(store: Store) -> tuple[list[str], list[str]]:
    """Paths of all records and of all statements."""
    records = sorted(str(path.relative_to(store.root)) for path in store.paths())
    if not records:
        raise UsageError(f"no records under {store.root}; `harness run --task limit` makes some")
    return records, sorted(str(p.relative_to(store.root)) for p in Statements(store.root).folder.glob("*.json"))


def _made(
    store: Store, tasks: Mapping[str, TaskSpec], name: str, records: Sequence[str], statements: Sequence[str]
) -> tuple[dict[str, bytes], Manifest]:
    board, manifest = _described(store, tasks, name, records, statements)
    _refuse_unfit(board, store, manifest.records)
    frame = frame_of(board)
    parquet = io.BytesIO()
    try:
        frame.to_parquet(parquet, index=False)
    except ImportError:
        raise MissingPackage("a release needs pyarrow; pip install 'limits-harness[board]'") from None
    files = {
        "ranking.json": _json(ranking_of(board)),
        "table.csv": comma_separated(frame).encode(),
        "table.parquet": parquet.getvalue(),
    }
    digests = {file: _content_digest(file, content) for file, content in files.items()}
    return files, manifest.model_copy(update={"files": digests})


def _described(
    store: Store, tasks: Mapping[str, TaskSpec], name: str, records: Sequence[str], statements: Sequence[str]
) -> tuple[Board, Manifest]:
    """The board, and a manifest that names no files yet."""
    board, baselines, digests = board_of(store, tasks, records, statements)
    return board, Manifest(
        name=name, rules=RULES, harness_version=__version__, newest=board.newest,
        previous=_before(store, name),
        tasks={p.name: TaskOf(version=p.version, source_digest=tasks[p.name].source_digest) for p in board.tasks},
        baselines=baselines, records=digests,
        statements={path: file_digest(store.root / path) for path in sorted(statements)}, files={},
    )  # fmt: skip


def _refuse_unfit(board: Board, store: Store, digests: Mapping[str, str]) -> None:
    if board.broken:
        path, why = board.broken[0]
        more = f" (and {len(board.broken) - 1} more)" if len(board.broken) > 1 else ""
        raise StoreError(
            f"{path} cannot stand in a release: {why}{more}; bring the file back as it was, or take it away "
            "(`harness results clean` does, of records)"
        )
    for path, digest in digests.items():
        if path.endswith(".npz") and _digest_inside(store.root, path) != digest:
            raise StoreError(f"{path} is not the sidecar that its record names; get it again, or retract the record")
    for task in board.tasks:
        for case in task.cases:
            for entry in case.entries:
                unsealed = [mark for mark in entry.marks if mark.startswith("not sealed")]
                if unsealed and not entry.retracted and not entry.row.unranked:
                    raise StoreError(
                        f"{entry.row.baseline} on {task.name} {case.name} cannot stand in a release: {unsealed[0]}; "
                        "run it again where that holds, or `harness board retract` its records"
                    )


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode()


def _digest_inside(root: Path, path: str) -> str:
    """Empty for a file that is not there, or not below `root`."""
    place = root / path
    if ".." in Path(path).parts or Path(path).is_absolute() or place.is_symlink() or not place.is_file():
        return ""
    return file_digest(place)


def _content_digest(file: str, content: bytes) -> str:
    """Of a Parquet file its table counts: the same content can be laid out in many ways."""
    if file.endswith(".parquet"):
        import pandas as pd

        try:
            content = pd.read_parquet(io.BytesIO(content)).to_json(orient="split", double_precision=15).encode()
        except Exception as error:  # whatever a spoiled file makes the reader stumble over
            return f"unreadable: {error}"
    return hashlib.sha256(content).hexdigest()


_NAME = re.compile(r"[0-9]{4}\.(0[1-9]|1[0-2])(\.[0-9]+)?")


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no release; name it by year and month, for example 2026.11, or 2026.11.1")
    return name


def _order(name: str) -> tuple[int, ...]:
    return tuple(int(part) for part in name.split(".") if part.isdigit())


def _next(name: str) -> str:
    year, month, *more = name.split(".")
    return f"{year}.{month}.{int(more[0]) + 1 if more else 1}"
