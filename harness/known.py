"""What is known already: earlier records of this machine, and preparations that several rows share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness import paths
from harness import record as rec
from harness.assemble import Samples
from harness.findings import ItemsOf
from harness.plan import Cell
from harness.store import KEY_CHARS, BrokenRecord, Store, read_record, sidecar_of
from harness.table import SamplesOf

if TYPE_CHECKING:
    from harness.record import Record


class Known:
    """Records by key, and preparations by key and process."""

    def __init__(
        self, store: Store, fingerprint: str, timeout_s: float, memory_limit_bytes: int, force: bool,
        note: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._store, self._fingerprint, self._force, self._note = store, fingerprint, force, note
        self._timeout_s, self._memory_limit_bytes = timeout_s, memory_limit_bytes
        self._records: dict[str, list[tuple[Record, Path | None]]] = {}
        self._shared: dict[tuple[str, int], tuple[Record, Samples]] = {}

    def read(self, cells: Sequence[Cell]) -> None:
        """Read earlier records of these cells, and of what they need, on this machine."""
        wanted = {c.key for c in cells} | {c.needs.key for c in cells if c.needs}
        by_prefix: dict[str, list[Path]] = {}
        for task in sorted({c.task.name for c in cells}):
            for path in self._store.paths(task):
                by_prefix.setdefault(path.stem.partition("-")[0], []).append(path)
        for key in wanted - set(self._records):
            self._records[key] = []
            for path in by_prefix.get(key[:KEY_CHARS], ()):
                record = read_record(path)
                if isinstance(record, BrokenRecord):
                    self._note(f"{path} holds no valid record ({record.reason}); `harness results clean` moves it away")
                elif record.key == key and record.provenance.fingerprint == self._fingerprint:
                    self._records[key].append((record, path))

    def add(self, record: Record, samples: Samples) -> None:
        """A record that was just written."""
        self._records.setdefault(record.key, []).append((record, None))
        if record.kind == "prepare":
            self._shared[record.key, record.repeat] = (record, samples)

    def done(self, cell: Cell) -> Record | None:
        """The record that makes a cell count as done. One failure answers for all processes of a key."""
        if self._force:
            return None
        for record, _ in self._records[cell.key]:
            if self._is_final(record) and (record.status != "ok" or record.repeat == cell.repeat):
                return record
        return None

    def shared(self, needs: Cell) -> tuple[Record, Samples] | None:
        """A preparation at hand, or its failure: from this run, or an earlier one whose artifact is still cached."""
        first = self._shared.get((needs.key, 0))
        if first is not None and first[0].status != "ok":
            return first  # further processes would only fail again
        key = (needs.key, needs.repeat)
        if key not in self._shared and not self._force and artifact_of(needs).is_dir():
            for record, path in self._records.get(needs.key, ()):
                if path is not None and record.status == "ok" and record.repeat == needs.repeat:
                    self._shared[key] = (record, read_samples(sidecar_of(path)))
                    break
        return self._shared.get(key)

    def _is_final(self, record: Record) -> bool:
        if record.status == "timeout":
            return record.timeout_s >= self._timeout_s
        if record.status == "oom":
            return record.memory_limit_bytes >= self._memory_limit_bytes
        return record.status in rec.FINAL


def artifact_of(needs: Cell) -> Path:
    """Where the arrays of a preparation lie; the folder appears whole or not at all."""
    return paths.prepared_root() / needs.key


def checkpoint_of(cell: Cell) -> Path:
    """Where a cell's long work can leave off, and go on in another run."""
    return paths.checkpoints_root() / f"{cell.key}-{cell.repeat}"


def read_samples(path: Path) -> Samples:
    """The raw latency samples of a sidecar, by stream; empty if it cannot be read."""
    return _sidecar_arrays(path, "latency/")


def read_items(path: Path) -> dict[str, NDArray[np.float64]]:
    """The per-item scores of a sidecar, by name; empty if it cannot be read."""
    return _sidecar_arrays(path, "item/")


def _sidecar_arrays(path: Path, prefix: str) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {n.removeprefix(prefix): arrays[n] for n in arrays.files if n.startswith(prefix)}
    except (OSError, ValueError, EOFError, KeyError):
        return {}


def items_in(store: Store) -> ItemsOf:
    """Reads a record's per-item scores from beside it."""
    where = {path.stem: path for path in store.paths()}

    def read(record: Record) -> dict[str, NDArray[np.float64]]:
        path = where.get(record.id)
        return read_items(sidecar_of(path)) if path and record.sidecar else {}

    return read


def samples_in(store: Store) -> SamplesOf:
    """Reads a record's raw latency samples from beside it."""
    where = {path.stem: path for path in store.paths()}

    def read(record: Record) -> dict[str, list[int]]:
        path = where.get(record.id)
        return {k: v.tolist() for k, v in read_samples(sidecar_of(path)).items()} if path and record.sidecar else {}

    return read
