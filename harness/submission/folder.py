"""The submission folder: what it holds, and how one is opened without trusting a byte of it.

    SUBMISSION/submission.json                       the manifest: what is there, with digests
    SUBMISSION/baselines/<task>/<file>.py            the method, and the files beside it that it imports
    SUBMISSION/records/<task>/<row>/<id>.json .npz   what it came to, as in a results folder
    SUBMISSION/environments/<digest>.json            the machines it ran on
    SUBMISSION/requirements.lock                     packages with their digests, if it needs others than ours

Opening copies what was checked, and nothing else, into a temporary folder: what is used later is what was checked.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from harness.errors import UsageError
from harness.record import Record
from harness.redact import redact
from harness.store import Store
from harness.submission.declared import declared_rows
from harness.submission.fits import group_of, refuse_unfit
from harness.submission.requirements import parse_lock
from harness.submission.strict import (
    Refused,
    checked_name,
    in_file,
    inflated_bytes,
    read_arrays,
    read_json,
    shown,
    validated,
)
from harness.submission.unpack import MAX_BYTES, MAX_FILES, is_archive, unpack
from harness.task import Scale

if TYPE_CHECKING:
    from harness.registry import BaselineSpec

MANIFEST, LOCK = "submission.json", "requirements.lock"
_SIZES = {MANIFEST: 8 << 20, LOCK: 1 << 20, ".py": 1 << 20, ".json": 4 << 20, ".npz": 16 << 20}
"""Bytes that a file of this name or kind may have."""
MAX_NUMBERS = 1 << 30
"""Bytes of all arrays together, inflated."""
_HEX = re.compile(r"[0-9a-f]{64}")
_IDENTITY = re.compile(r"[0-9a-f]{16}-\d{8}T\d{6}-[0-9a-f]{8}")
_LAYOUT = re.compile(
    r"requirements\.lock|environments/[0-9a-f]{16}\.json|baselines/(?:[\w.-]+/)+\w+\.py"
    r"|records/[\w.-]+/[\w.-]+/[0-9a-fT-]+\.(?:json|npz)",
    re.ASCII,
)
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Word = Annotated[str, Field(min_length=1, max_length=200)]


class SubmissionError(UsageError):
    """The submission cannot be used; the message names the file and says why."""


class Manifest(BaseModel):
    """What a submission says that it holds."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    schema_version: Literal[1] = 1
    harness_version: Word
    made: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")]
    """UTC, ISO 8601."""
    tasks: Annotated[dict[Word, int], Field(min_length=1)]
    """Versions of the tasks, by name."""
    baselines: Annotated[list[Word], Field(min_length=1)]
    """Relative paths of the files that hold a method; others under `baselines/` are what these import."""
    rows: Annotated[list[Word], Field(min_length=1)]
    """Names of the rows that the records are of."""
    files: dict[str, Digest]
    """SHA-256 of every file but this one, by relative path."""
    requirements: Literal["", "requirements.lock"] = ""
    scale: Scale = "standard"
    """All cells of this scale are there, of every row that the files declare."""


@dataclass(frozen=True)
class Submission:
    """A submission that was opened: the copy of it that was checked. Gone when its context ends."""

    root: Path
    manifest: Manifest
    store: Store
    baselines: list[Path]

    @property
    def requirements(self) -> Path | None:
        """The lock file, if there is one."""
        return self.root / LOCK if self.manifest.requirements else None

    def rows(self) -> list[BaselineSpec]:
        """The rows that its files declare."""
        from harness.registry import load_registry, read_baseline_file

        return [row for path in self.baselines for row in read_baseline_file(path, load_registry().tasks)]


@contextmanager
def open_submission(path: str | Path) -> Iterator[Submission]:
    """Check a folder, .zip, .tar or .tar.gz, and give what is in it, copied, until the context ends.

    Raises SubmissionError, naming the file, for anything that is not as it should be.
    """
    given = Path(path)
    scratch = Path(tempfile.mkdtemp(prefix="harness-submission-"))
    try:
        scratch.chmod(0o755)  # what is in it is public; it is run as another user
        try:
            submission = _opened(given, scratch)
        except Refused as error:
            raise SubmissionError(f"{given}: {error}") from None
        yield submission
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def digest_of(content: bytes) -> str:
    """SHA-256, as manifests hold it."""
    return hashlib.sha256(content).hexdigest()


def _opened(given: Path, scratch: Path) -> Submission:
    folder = _as_folder(given, scratch)
    there = _walk(folder)
    if MANIFEST not in there:
        raise Refused(f"holds no {MANIFEST}; name the folder that `harness submit` wrote")
    manifest = _manifest(_content(folder, MANIFEST))
    _same_names(manifest, there)
    root = scratch / "submission"
    root.mkdir()
    inflated = 0
    for name in sorted(there):
        content = _content(folder, name)
        if name != MANIFEST and digest_of(content) != manifest.files[name]:
            raise Refused(f"{name} is not the file that {MANIFEST} names: its digest is another")
        if name.endswith(".npz"):
            inflated += inflated_bytes(in_file(name, read_arrays, content))
            if inflated > MAX_NUMBERS:
                raise Refused(f"holds arrays of more than {MAX_NUMBERS >> 20} MiB, with {name}")
        if name == LOCK:
            _lock(content)
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    shutil.rmtree(scratch / "unpacked", ignore_errors=True)
    submission = Submission(root, manifest, Store(root), [root / name for name in manifest.baselines])
    named = dict(zip(manifest.baselines, submission.baselines, strict=True))
    _records(submission, declared_rows(root, named, manifest.tasks), there)
    return submission


def _lock(content: bytes) -> None:
    try:
        parse_lock(content, Path(LOCK))
    except UsageError as error:
        raise Refused(str(error)) from None


def _as_folder(given: Path, scratch: Path) -> Path:
    """The folder itself, or an archive's one, unpacked. In an archive it may lie below a few others, alone."""
    try:
        mode = given.lstat().st_mode
    except OSError as error:
        raise Refused(f"cannot be read: {error.strerror}; name a submission's folder, .zip or .tar.gz") from None
    if stat.S_ISLNK(mode):
        raise Refused("is a symbolic link; name the folder or archive itself")
    if stat.S_ISDIR(mode):
        return given
    if not stat.S_ISREG(mode) or not is_archive(given):
        raise Refused("is neither a folder nor a .zip, .tar or .tar.gz file")
    unpacked = scratch / "unpacked"
    unpack(given, unpacked)
    for _ in range(4):
        inside = list(unpacked.iterdir())
        if len(inside) != 1 or not inside[0].is_dir():
            break
        unpacked = inside[0]
    return unpacked


def _walk(folder: Path) -> set[str]:
    """Relative paths of all files. Only plain files and folders are let pass."""
    found: set[str] = set()
    seen, total, todo = 0, 0, [(folder, "")]
    while todo:
        place, above = todo.pop()
        try:
            with os.scandir(place) as entries:
                for entry in entries:
                    name = checked_name(above + entry.name)
                    status = entry.stat(follow_symlinks=False)
                    seen += 1
                    if seen > MAX_FILES:
                        raise Refused(f"holds more than {MAX_FILES} files")
                    if stat.S_ISDIR(status.st_mode):
                        todo.append((Path(entry.path), name + "/"))
                        continue
                    _plain(name, status)
                    total += status.st_size
                    if total > MAX_BYTES:
                        raise Refused(f"holds more than {MAX_BYTES >> 20} MiB")
                    found.add(name)
        except OSError as error:
            raise Refused(f"{shown(above)} cannot be read: {error.strerror}") from None
    return found


def _plain(name: str, status: os.stat_result) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise Refused(f"{name} is a symbolic link; only files are read")
    if not stat.S_ISREG(status.st_mode):
        raise Refused(f"{name} is a device, pipe or socket; only files are read")
    if status.st_nlink > 1:
        raise Refused(f"{name} is a hard link to another file; copy the folder, so that it has files of its own")


def _content(folder: Path, name: str) -> bytes:
    """A file's bytes, if they are not too many for its kind."""
    most = _SIZES.get(name) or _SIZES.get(PurePosixPath(name).suffix, 0)
    try:
        handle = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(handle, "rb") as file:
            _plain(name, os.fstat(handle))
            content = file.read(most + 1)
    except OSError as error:
        raise Refused(f"{name} cannot be read: {error.strerror}") from None
    if len(content) > most:
        raise Refused(f"{name} is larger than the {most} bytes that a file of its kind may have")
    return content


def _manifest(content: bytes) -> Manifest:
    manifest = validated(MANIFEST, Manifest, content)
    for name in [*manifest.files, *manifest.baselines]:
        in_file(MANIFEST, checked_name, name)
    lower = {name.lower() for name in manifest.files}
    if len(lower) != len(manifest.files):
        raise Refused(f"{MANIFEST} names two files that differ in capital letters only")
    for kind, names in (("baselines", manifest.baselines), ("rows", manifest.rows)):
        if len(set(names)) != len(names):
            raise Refused(f"{MANIFEST} names one of its {kind} twice")
    for name in manifest.files:
        if not _LAYOUT.fullmatch(name):
            raise Refused(f"{name} has no place in a submission; its layout is in CONTRIBUTING.md")
    for name in manifest.baselines:
        if not name.startswith("baselines/") or name not in manifest.files:
            raise Refused(f"{MANIFEST} names the baseline {name}, which is not among its files")
    if bool(manifest.requirements) != (LOCK in manifest.files):
        raise Refused(f"{MANIFEST} and the files do not agree on whether there is a {LOCK}")
    return manifest


def _same_names(manifest: Manifest, there: set[str]) -> None:
    said = {*manifest.files, MANIFEST}
    if missing := sorted(said - there):
        raise Refused(f"{missing[0]} is missing, which {MANIFEST} names")
    if more := sorted(there - said):
        hint = "; delete __pycache__" if "__pycache__" in more[0] else ""
        raise Refused(f"{more[0]} is not named by {MANIFEST}{hint or '; delete it, or run `harness submit` again'}")


def _records(submission: Submission, rows: Mapping[tuple[str, str], BaselineSpec], there: set[str]) -> None:
    """Every record is valid and of these rows, and has its sidecar and its environment; nothing else is there."""
    manifest, root = submission.manifest, submission.root
    seen: dict[tuple[object, ...], str] = {}
    used: set[str] = set()
    identities: dict[str, Record] = {}
    for name in sorted(n for n in there if n.startswith("records/") and n.endswith(".json")):
        record = _record(name, (root / name).read_bytes())
        _fits(name, record, manifest, rows)
        place = (record.task.name, *group_of(record), record.repeat, record.seed)
        again = seen.setdefault(place, name) if record.kind == "cell" else name
        if again != name:  # a preparation may have been made anew for later rows
            raise Refused(f"{name} is of the same cell, seed and process as {again}; keep the newest one")
        if record.id in identities:
            raise Refused(f"{name} has the identifier of another record")
        identities[record.id] = record
        sidecar = name.removesuffix(".json") + ".npz"
        if (sidecar in there) != bool(record.sidecar):
            raise Refused(f"{sidecar} is {'not named by its record' if sidecar in there else 'missing'}")
        if record.sidecar and manifest.files[sidecar] != record.sidecar:
            raise Refused(f"{sidecar} is not the sidecar that {name} names: its digest is another")
        used |= {name, sidecar, f"environments/{record.provenance.environment}.json"}
        if f"environments/{record.provenance.environment}.json" not in there:
            raise Refused(f"{name} names an environment that is not there")
    if not identities:
        raise Refused("holds no record; run the method first, then `harness submit` again")
    for name, record in ((n, r) for r in identities.values() for n in [r.provenance.shared_record] if n):
        if name not in identities or identities[name].kind != "prepare":
            raise Refused(f"the record {record.id} shares a preparation whose record is not there")
    for name in sorted(n for n in there if n.startswith(("records/", "environments/")) and n not in used):
        raise Refused(f"{name} belongs to no record")
    for name in sorted(n for n in there if n.startswith("environments/")):
        _environment(name, (root / name).read_bytes())
    of_records = {r.baseline.name for r in identities.values()}
    if strange := sorted({*manifest.rows} ^ of_records):
        raise Refused(f"{MANIFEST} and the records do not name the same rows: {shown(strange[0])}")
    if strange := sorted({*manifest.tasks} ^ {r.task.name for r in identities.values()}):
        raise Refused(f"{MANIFEST} and the records do not name the same tasks: {shown(strange[0])}")
    _fit_tasks(submission, rows, identities)


def _fit_tasks(
    submission: Submission, rows: Mapping[tuple[str, str], BaselineSpec], records: Mapping[str, Record]
) -> None:  # fmt: skip
    """The records are what running these rows leaves: cases, scores, and all cells."""
    from harness.registry import load_registry

    for task in submission.manifest.tasks:
        of = {Store("").folder(task, r.baseline.name).joinpath(f"{identity}.json").as_posix(): r
              for identity, r in records.items() if r.task.name == task}  # fmt: skip
        own = [row for (name, _), row in rows.items() if name == task]
        refuse_unfit(of, load_registry().tasks[task], own, submission.manifest.scale)


def _record(name: str, content: bytes) -> Record:
    record = validated(name, Record, content)
    if record.id != PurePosixPath(name).stem or not _IDENTITY.fullmatch(record.id):
        raise Refused(f"{name} holds a record of another name, {shown(record.id)}")
    digests = [record.key, record.task.source_digest, record.baseline.source_digest]
    if not all(_HEX.fullmatch(digest) for digest in [*digests, *filter(None, [record.sidecar])]):
        raise Refused(f"{name} holds a digest that is none")
    if not record.id.startswith(record.key[:16]):
        raise Refused(f"{name} holds the key of another record")
    return record


def _fits(name: str, record: Record, manifest: Manifest, rows: Mapping[tuple[str, str], BaselineSpec]) -> None:
    """Whether a record is of a row of these files, and lies where such a record lies."""
    task, said = record.task.name, record.baseline
    row = rows.get((task, said.name))
    if record.kind == "control" or row is None:
        raise Refused(f"{name} is a record of {shown(said.name)} on {shown(task)}, which no file here declares")
    if manifest.tasks[task] != record.task.version:
        raise Refused(f"{name} is of version {record.task.version} of {task}, and {MANIFEST} names another")
    if PurePosixPath(name).parent != PurePosixPath(Store("").folder(task, said.name)):
        raise Refused(f"{name} lies in the folder of another task or row")
    if record.trust != "self-reported":
        raise Refused(f"{name} says of itself that it is {record.trust}; that is for others to find out")
    if said.pinned is not None:
        raise Refused(f"{name} was run in an environment of `--with`; rows of the board run with what is installed")
    if row.path is None or said.file != row.path.name or said.version != row.version:
        raise Refused(f"{name} is of another file, or version of it, than is here")
    if said.source_digest != row.source_digest:
        raise Refused(f"{name} was made by another text of {said.file}, or of a file that it imports; run it again")
    meant = {n: redact(v) if isinstance(v, str) else v for n, v in row.params.items()}
    if record.kind == "prepare":
        meant = {n: v for n, v in meant.items() if n not in row.shared}
    if said.params != meant:
        raise Refused(f"{name} names other parameters of {shown(said.name)} than its file declares")


def _environment(name: str, content: bytes) -> None:
    from harness.measure.environment import environment_digest

    value = in_file(name, read_json, content)
    if not isinstance(value, dict) or environment_digest(value) != PurePosixPath(name).stem:
        raise Refused(f"{name} does not hold the environment that it is named by")
