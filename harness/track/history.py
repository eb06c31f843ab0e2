"""The history: one file a night, and the per-item scores that nights are paired by.

    <history>/<machine>/nights/<id>.json     what one `harness track run` measured (`Night`)
    <history>/<machine>/checks/<id>.json     what `harness track check` found about it (`harness.track.findings`)
    <history>/items/<digest>.npy             item scores by content: a row whose answers stay the same adds nothing

Append-only and strict JSON, as records are; `machine` is the fingerprint of `harness.measure.environment`. What affects
performance (`Night.context`, `Cell.libraries`) is kept apart from mere information (`Night.info`): a series is compared
only with its past in the same context.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from harness.errors import StoreError
from harness.record import Count, Finite, Scalar, Status
from harness.store import write_atomically

ModelT = TypeVar("ModelT", bound=BaseModel)
DEFAULT_HISTORY = Path("results/history")
_NIGHT = re.compile(r"[0-9]{8}T[0-9]{6}-[0-9a-f]{8}")
_MACHINE = re.compile(r"[0-9a-f]{16}")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Value(_Part):
    """One number of one cell, over all its processes (see `harness.track.values`)."""

    value: Finite
    unit: str
    """`ns`, `bytes`, or the score's own."""
    higher_is_better: bool = False
    processes: Count = 1
    """Fresh processes behind it."""
    items: str = ""
    """Digest of the item scores behind it, where there are any."""


class Cell(_Part):
    """What came of one row on one case in one night."""

    task: str
    version: int
    case: str
    row: str
    seed: int
    device: str
    threads: int
    scale: str
    """A scale at which the row takes part in the case: what `harness run` needs to run it again."""
    status: Status
    reason: str = ""
    source: str
    """Digest of the task's and the row's sources: a night with the same one measured the same code, but for the
    harness itself."""
    draw: str = ""
    """Digest of the question: items are paired only within it."""
    libraries: dict[str, str] = {}
    """What the row requires, to the minor version: part of the context."""
    canary_ns: Finite | None = None
    """Mean time of the fixed calculation before and after its quickest process: how fast the machine was."""
    wall_s: Finite = 0.0
    """What it took, all processes together."""
    values: dict[str, Value] = {}
    """By metric: `score/NAME`, `latency/STREAM`, `time/PHASE`, `memory/peak`, `memory/delta`, `memory/gpu`."""

    @property
    def work(self) -> Work:
        return Work(self.task, self.version, self.case, self.row, self.seed, self.device, self.threads)


class Archived(_Part):
    """A row that is no longer run on a case, because nothing came of it for too long."""

    task: str
    case: str
    row: str
    nights: int
    since: str
    """The first of these nights."""
    reason: str
    """The last one's."""


class Night(_Part):
    """What one `harness track run` measured."""

    schema_version: Literal[1] = 1
    id: str
    commit: str
    committed: str
    """The commit's own date, ISO 8601."""
    subject: str
    """The first line of its message."""
    dirty: bool = False
    """Whether tracked files differed from it."""
    started: str
    ended: str
    machine: str
    context: dict[str, Scalar]
    """What affects the performance of every cell: Python, libc, kernel, governor, variables, processes, canary."""
    info: dict[str, Scalar] = {}
    canary_ns: tuple[Finite, Finite] | None = None
    """Median time of the fixed calculation at the start and at the end."""
    budget_s: Finite = 0.0
    cells: list[Cell]
    left: list[str] = []
    """What there was no time for: `TASK CASE ROW`, to be taken first the next time."""
    archived: list[Archived] = []

    @property
    def measured(self) -> list[Cell]:
        return [cell for cell in self.cells if cell.status == "ok"]


@dataclass(frozen=True, order=True)
class Work:
    """One row on one draw of one case: what can be run again."""

    task: str
    version: int
    case: str
    row: str
    seed: int
    device: str
    threads: int

    def __str__(self) -> str:
        return f"{self.task} {self.case} {self.row}"


@dataclass(frozen=True, order=True)
class SeriesKey:
    """One number over nights."""

    work: Work
    metric: str

    def __str__(self) -> str:
        return f"{self.work} {self.metric}"


@dataclass(frozen=True)
class Point:
    """One night of a series."""

    night: Night
    cell: Cell
    value: Value

    def comparable(self, other: Point) -> bool:
        """Whether both were measured in the same context: what affects performance is the same, as far as both name
        it. A method that imports a library more is another method, and no new context."""
        mine, theirs = self.cell.libraries, other.cell.libraries
        same = all(mine[name] == theirs[name] for name in mine.keys() & theirs.keys())
        return same and self.night.context == other.night.context


class History:
    """One history folder, as one machine sees it: nights of other machines are another history."""

    def __init__(self, root: str | Path, machine: str) -> None:
        if not _MACHINE.fullmatch(machine):
            raise StoreError(f"{machine[:80]!r} is no fingerprint of a machine; `harness doctor` shows this one's")
        self.root, self.machine = Path(root), machine

    @property
    def folder(self) -> Path:
        return self.root / self.machine

    def nights(self) -> list[Night]:
        """All nights in order of time. Raises StoreError for a file that holds none."""
        found = [read_model(Night, path) for path in sorted((self.folder / "nights").glob("*.json"))]
        return sorted(found, key=lambda night: (night.started, night.id))

    def add(self, night: Night, items: Mapping[str, NDArray[np.float64]]) -> Path:
        """Write a night, and the items that its values name by digest (`digest_of`), first."""
        if not _NIGHT.fullmatch(night.id) or night.machine != self.machine:
            raise StoreError(f"night {night.id[:80]!r} of {night.machine[:80]!r} is none of {self.machine}")
        for digest, values in items.items():
            self._add_items(digest, values)
        return self.add_file("nights", night.id, night)

    def add_file(self, kind: Literal["nights", "checks"], name: str, model: BaseModel) -> Path:
        path = self.folder / kind / f"{name}.json"
        text = json.dumps(model.model_dump(mode="json"), allow_nan=False, indent=1) + "\n"
        if path.exists():
            raise StoreError(f"{path} is there already, and nothing in a history is changed")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, text.encode())
        except OSError as error:
            raise StoreError(
                f"{path} cannot be written: {error.strerror}; name another folder with --history"
            ) from None
        return path

    def items(self, digest: str) -> NDArray[np.float64] | None:
        """Item scores by digest; None where they are not there any more."""
        path = self.root / "items" / f"{digest}.npy"
        if not digest or not path.is_file():
            return None
        try:
            return np.asarray(np.load(path, allow_pickle=False), np.float64)
        except (OSError, ValueError):
            raise StoreError(
                f"{path} holds no item scores; remove it, and nights that need it are not paired"
            ) from None

    def _add_items(self, digest: str, values: NDArray[np.float64]) -> None:
        if digest != digest_of(values):
            raise ValueError("items do not have the digest that they are named by")
        path = self.root / "items" / f"{digest}.npy"
        if path.exists():
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, _npy(values))
        except FileExistsError:
            pass  # another run was faster
        except OSError as error:
            raise StoreError(
                f"{path} cannot be written: {error.strerror}; name another folder with --history"
            ) from None


def new_night_id() -> str:
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S-") + secrets.token_hex(4)


def digest_of(items: NDArray[np.float64]) -> str:
    """SHA-256 of item scores as they are stored, shortened."""
    return hashlib.sha256(_npy(items)).hexdigest()[:32]


def contexts_of(points: Sequence[Point]) -> list[int]:
    """A number for each point of a series, which rises where one is not comparable with the one before it."""
    found: list[int] = []
    for index, point in enumerate(points):
        same = index > 0 and point.comparable(points[index - 1])
        found.append(found[-1] + (not same) if found else 0)
    return found


def series_of(nights: Iterable[Night]) -> dict[SeriesKey, list[Point]]:
    """Every number over the nights in which its cell was `ok`, in order of time."""
    found: dict[SeriesKey, list[Point]] = {}
    for night in nights:
        for cell in night.measured:
            for metric, value in cell.values.items():
                found.setdefault(SeriesKey(cell.work, metric), []).append(Point(night, cell, value))
    return found


def read_model(kind: type[ModelT], path: Path) -> ModelT:
    """A file of the history. Raises StoreError that says where it is wrong."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise StoreError(f"{path} holds no {kind.__name__.lower()}: {where}: {first['msg']}; move it away") from None
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from None


def _npy(values: NDArray[np.float64]) -> bytes:
    out = io.BytesIO()
    np.save(out, np.ascontiguousarray(values, np.float64), allow_pickle=False)
    return out.getvalue()
