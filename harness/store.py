"""The results folder: append-only records, their sidecars, and environments by digest.

    records/<task>/<baseline>/<key>-<time>-<random>.json     one record, beside its .npz sidecar
    environments/<digest>.json                               one machine state, referred to by records

A file is written under a temporary name, fsynced, renamed, and its folder fsynced: a reader, or a run that is killed at
any moment, sees a whole record or none. Two runs may write at once; no name is ever used again.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import StoreError

if TYPE_CHECKING:
    from harness.record import Record

KEY_CHARS = 16
_ID = re.compile(r"[0-9a-f]{16}-[0-9]{8}T[0-9]{6}-[0-9a-f]{8}")
"""It becomes a file's name."""


@dataclass(frozen=True)
class BrokenRecord:
    """A file that holds no valid record."""

    path: Path
    reason: str


class Store:
    """One results folder."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def prepare_to_write(self) -> None:
        """Create the folder and try a write. Raises StoreError that says what to do."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            probe = self.root / f".probe-{secrets.token_hex(4)}"
            probe.write_bytes(b"x")
            probe.unlink()
        except OSError as error:
            raise _explain(error, self.root) from None

    def new_id(self, key: str) -> str:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        return f"{key[:KEY_CHARS]}-{stamp}-{secrets.token_hex(4)}"

    def add(self, record: Record, sidecar: bytes = b"") -> Path:
        """Write a record, its sidecar first. The record's `sidecar` digest must match."""
        if not _ID.fullmatch(record.id):
            raise StoreError(f"{record.id[:80]!r} is no identifier of a record; `Store.new_id` makes one")
        if record.sidecar != (hashlib.sha256(sidecar).hexdigest() if sidecar else ""):
            raise ValueError("the record does not name this sidecar's digest")
        place = self.folder(record.task.name, record.baseline.name)
        try:
            place.mkdir(parents=True, exist_ok=True)
            if sidecar:
                write_atomically(place / f"{record.id}.npz", sidecar)
            path = place / f"{record.id}.json"
            write_atomically(path, record.to_json().encode())
        except OSError as error:
            raise _explain(error, self.root) from None
        return path

    def folder(self, task: str, row: str) -> Path:
        """Where all records of one row of a task lie."""
        return self.root / "records" / task.replace("/", ".") / _safe(row)

    def add_environment(self, digest: str, environment: Mapping[str, Any]) -> None:
        path = self.root / "environments" / f"{digest}.json"
        if path.exists():
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, (json.dumps(environment, indent=1, allow_nan=False) + "\n").encode())
        except OSError as error:
            raise _explain(error, self.root) from None

    def paths(self, task: str = "", key: str = "") -> Iterator[Path]:
        """Record files, in order of name; only those of `task`, or whose name starts with `key`."""
        records = self.root / "records"
        pattern = f"{task.replace('/', '.') or '*'}/*/{key[:KEY_CHARS]}*.json"
        yield from sorted(records.glob(pattern)) if records.is_dir() else ()

    def load(self, task: str = "", key: str = "") -> tuple[list[Record], list[BrokenRecord]]:
        """All valid records in order of time, and the files that hold none."""
        records, broken = [], []
        for path in self.paths(task, key):
            record = read_record(path)
            if isinstance(record, BrokenRecord):
                broken.append(record)
            else:
                records.append(record)
        return sorted(records, key=lambda r: (r.provenance.started, r.id)), broken

    def find(self, name: str) -> Path:
        """A record file by path, identifier, or the beginning of one. Raises StoreError if not exactly one matches."""
        if name.endswith(".json") and Path(name).is_file():
            return Path(name)
        found = [p for p in self.paths() if p.stem.startswith(Path(name).stem)]
        if len(found) != 1:
            kind = "no record" if not found else f"{len(found)} records"
            raise StoreError(
                f"{kind} under {self.root} begin with {name!r}; `harness show --format json` lists their ids"
            )
        return found[0]


def read_record(path: Path) -> Record | BrokenRecord:
    """The record in a file, or why there is none."""
    from pydantic import ValidationError

    from harness.record import Record

    try:
        return Record.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return BrokenRecord(path, f"{where}: {first['msg']}" if where else str(first["msg"]))
    except OSError as error:
        return BrokenRecord(path, str(error))


def sidecar_of(path: Path) -> Path:
    return path.with_suffix(".npz")


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that is whole or not there, and stays after a power cut. Raises OSError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _safe(name: str) -> str:
    """A folder name for a row; a digest keeps two names apart that look alike when cleaned."""
    clean = re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip(".") or "_"
    return clean if clean == name else f"{clean}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _explain(error: OSError, root: Path) -> StoreError:
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return StoreError(f"{root} is a file, or lies under one; name a folder with --results DIR")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StoreError(
            f"{root} cannot be written ({error.strerror}); make it writable or name another --results DIR"
        )
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(
            f"no space left for {root}; free some (`harness results clean`, `harness results path` shows sizes) and "
            "run the same command again: what is finished is kept"
        )
    return StoreError(f"{root}: {error.strerror or error}")
