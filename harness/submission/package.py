"""Making a submission folder: which records go in, what is said of it before, and the steps that write it."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from harness import __version__
from harness.errors import UsageError
from harness.plan import Cell, Request, cells_of
from harness.record import FINAL, Record
from harness.redact import redact
from harness.registry import BaselineSpec, TaskSpec, load_registry, read_baseline_file
from harness.store import BrokenRecord, Store, read_record, sidecar_of
from harness.submission.folder import LOCK, MANIFEST, Manifest, open_submission
from harness.submission.look import own_sources
from harness.submission.requirements import needs_lock, read_lock
from harness.submission.steps import Step, make_folder, write_file
from harness.task import Scale

_SHOWN = 300
"""Characters of a list that are shown."""


class Remark(NamedTuple):
    """Something personal-looking in what would be sent."""

    where: str
    text: str
    otherwise: str
    """What `harness.redact` would make of it."""


@dataclass(frozen=True)
class Package:
    """Everything that a submission will hold, by relative path, and what was left out."""

    task: TaskSpec
    rows: tuple[str, ...]
    files: Mapping[str, bytes]
    left_out: tuple[str, ...]
    n_records: int

    @property
    def manifest(self) -> bytes:
        """The manifest's text."""
        sources = [name for name in self.files if name.startswith("baselines/")]
        manifest = Manifest(
            harness_version=__version__,
            made=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            tasks={self.task.name: self.task.version},
            baselines=sources[:1],
            rows=sorted(self.rows),
            files={name: hashlib.sha256(content).hexdigest() for name, content in sorted(self.files.items())},
            requirements="requirements.lock" if LOCK in self.files else "",
        )
        return (json.dumps(manifest.model_dump(mode="json"), indent=1) + "\n").encode()


def packaged(path: Path, results: Path, scale: Scale, lock: Path | None = None) -> Package:
    """What would be sent of a file and its records. Raises UsageError, with what to do, where something is amiss."""
    registry = load_registry()
    rows = read_baseline_file(path, registry.tasks)
    task = registry.tasks[rows[0].task]
    taken = {r.name: r.path.name for r in registry.rows(task) if r.path and r.path != path.resolve()}
    if clash := [row.name for row in rows if row.name in taken]:
        raise UsageError(
            f"{task.name} has a row {clash[0]} already, of {taken[clash[0]]}; give yours another name (in `variants`, "
            "or the file's) and run it again"
        )  # fmt: skip
    store = Store(results)
    found, left_out = _chosen(store, path, task, rows, scale)
    files = {f"baselines/{task.name}/{name}": source.read_bytes() for name, source in _sources(path).items()}
    for place, record in found:
        files[place.relative_to(store.root).as_posix()] = place.read_bytes()
        if record.sidecar:
            files[sidecar_of(place).relative_to(store.root).as_posix()] = _read(sidecar_of(place))
    for digest in sorted({record.provenance.environment for _, record in found}):
        files[f"environments/{digest}.json"] = _read(store.root / "environments" / f"{digest}.json")
    if lock is not None:
        read_lock(lock)
        files[LOCK] = _read(lock)
    elif foreign := needs_lock(rows):
        raise UsageError(
            f"{path.name} requires {', '.join(foreign)}, which the harness does not install; add a lock file of wheels "
            f"with digests: harness submit {path} --requirements FILE (pip-compile --generate-hashes makes one of a "
            "file that names them)"
        )  # fmt: skip
    names = tuple(sorted({record.baseline.name for _, record in found}))
    return Package(task, names, files, tuple(left_out), len(found))


def remarks_on(files: Mapping[str, bytes]) -> Iterator[Remark]:
    """Homes, paths, names, addresses and secrets in what would be sent, found by the rules that records are written
    by. Those have been applied to records; a source file is sent as it is."""
    for name, content in files.items():
        if name.endswith(".npz"):
            continue
        text = content.decode("utf-8", errors="replace")
        if name.endswith(".json"):
            for where, value in _strings(json.loads(text)):
                if (other := redact(value)) != value:
                    yield Remark(f"{name}: {where}", value, other)
        else:
            for number, line in enumerate(text.splitlines(), start=1):
                if (other := redact(line)) != line:
                    yield Remark(f"{name}:{number}", line.strip(), other.strip())


def about_machines(files: Mapping[str, bytes]) -> Iterator[str]:
    """What is recorded of each machine, in lines."""
    for name in sorted(files):
        if name.startswith("environments/"):
            said = json.loads(files[name])
            plain = {key: value for key, value in said.items() if isinstance(value, str | int | float) and value != ""}
            yield f"{name}: " + ", ".join(f"{key} {value}" for key, value in plain.items())
            for key in sorted(said.keys() - plain.keys()):
                text = json.dumps(said[key])
                yield f"  {key}: {text if len(text) <= _SHOWN else text[:_SHOWN] + ' ...'}"


def steps_of(package: Package, out: Path) -> list[Step]:
    """How the folder is written: the folders, the files, the manifest, and a look at it as others will look."""
    if out.exists() or out.is_symlink():
        raise UsageError(f"{out} exists and is left as it is; remove it, or name another folder with --out")
    folders = {out, *(parent for name in package.files for parent in (out / name).parents if out in parent.parents)}
    folders |= {parent for parent in out.parents if not parent.exists()}
    steps = [make_folder(folder) for folder in sorted(folders, key=lambda f: len(f.parts))]
    steps += [write_file(out / name, content) for name, content in package.files.items()]
    steps.append(write_file(out / MANIFEST, package.manifest))
    return [*steps, Step(f"open {out} as its readers will", lambda: _opens(out))]


def _opens(out: Path) -> None:
    with open_submission(out):
        pass


def _sources(path: Path) -> dict[str, Path]:
    """The file and its neighbours by name relative to its folder, the file first."""
    folder, found = path.resolve().parent, {path.name: path.resolve()}
    for source in own_sources(path):
        if not source.is_relative_to(folder):
            raise UsageError(
                f"{path.name} imports {source.name} from outside of its folder; put it beside {path.name}, import it "
                "by its name, and run it again"
            )  # fmt: skip
        found.setdefault(source.relative_to(folder).as_posix(), source)
    return found


def _chosen(
    store: Store, path: Path, task: TaskSpec, rows: Sequence[BaselineSpec], scale: Scale
) -> tuple[list[tuple[Path, Record]], list[str]]:
    """The newest record of every cell of the file as it is now, all cells of the scale among them; and what of these
    rows is left out, and why."""
    again = shlex.join(["harness", "run", "--task", task.name, "--baseline", str(path), "--scale", scale,
                        "--results", str(store.root)])  # fmt: skip
    every: list[tuple[Path, Record]] = []
    reasons: dict[str, int] = {}
    for row in rows:
        for place in sorted(store.folder(task.name, row.name).glob("*.json")):
            record = read_record(place)
            if isinstance(record, BrokenRecord):
                raise UsageError(f"{place} holds no valid record: {record.reason}; delete it, and run: {again}")
            reason = _left_out(record, task, row)
            if reason:
                reasons[reason] = reasons.get(reason, 0) + 1
            else:
                every.append((place, record))
    newest: dict[tuple[str, int], tuple[Path, Record]] = {}
    for place, record in sorted(every, key=lambda pair: (pair[1].provenance.started, pair[1].id)):
        if record.kind == "cell":
            newest[record.key, record.repeat] = place, record
    found = list(newest.values())
    left_out = [f"{n} {'record' if n == 1 else 'records'}: {reason}" for reason, n in reasons.items()]
    _refuse_incomplete(task, rows, scale, [r for _, r in found], again, left_out)
    _refuse_unfit(task, [r for _, r in found], again)
    shared = {record.provenance.shared_record for _, record in found} - {None}
    prepared = [(place, record) for place, record in every if record.id in shared]
    if missing := shared - {record.id for _, record in prepared}:
        raise UsageError(f"the record {min(map(str, missing))} of a shared preparation is not under {store.root}; run: "
                         f"{again} --force")  # fmt: skip
    return [*prepared, *found], left_out


def _left_out(record: Record, task: TaskSpec, row: BaselineSpec) -> str:
    """Why a record of a row is not sent; empty if it may be."""
    if record.kind == "control":
        return "answered by the judge"
    if record.task.version != task.version:
        return f"of version {record.task.version} of {task.name}, which is at {task.version}"
    if record.baseline.source_digest != row.source_digest or record.baseline.version != row.version:
        return "of an earlier text of the file, or of what it imports; a changed method is another one"
    if record.baseline.pinned is not None:
        return "run with versions of --with; rows of the board run with what is installed"
    words = shlex.split(record.provenance.command)
    if "--data" in words:
        return "on data of your own"
    if "--set" in words:
        return "on cases with changed parameters"
    return ""


def _refuse_incomplete(
    task: TaskSpec, rows: Sequence[BaselineSpec], scale: Scale, records: Sequence[Record], again: str,
    left_out: Sequence[str],
) -> None:  # fmt: skip
    done = {_place_of(r): r for r in records if r.status in FINAL or r.status in ("timeout", "oom")}
    answered = {place[:3] for place, r in done.items() if r.repeat == 0 and r.status == "ok"}
    wanted = [c for c in cells_of(Request([task], {task.name: rows}, scale))]
    missing = [
        cell for cell in wanted
        if _cell_place(cell) not in done and not (cell.repeat and _cell_place(cell)[:3] not in answered)
    ]  # fmt: skip
    if missing:
        others = f" ({'; '.join(left_out)})" if left_out else ""
        raise UsageError(
            f"{len(missing)} of {len(wanted)} cells of scale {scale} have no finished record of this file{others}, for "
            f"example {missing[0].label}; run: {again} (what is finished is not run again)"
        )


def _place_of(record: Record) -> tuple[str, str, int, int]:
    return record.baseline.name, record.case.name, record.seed, record.repeat


def _cell_place(cell: Cell) -> tuple[str, str, int, int]:
    return cell.row.name, cell.case.name, cell.seed, cell.repeat


def _refuse_unfit(task: TaskSpec, records: Sequence[Record], again: str) -> None:
    """Records that could not stand on the board whatever else holds."""
    loaded = sorted({name for r in records for name in r.provenance.sources_mismatch})
    if loaded:
        raise UsageError(
            f"the method loaded {', '.join(loaded)}, which its source does not show that it imports, so that a change "
            f"there would not count as one of the method; import by name (`import helper`) and run: {again}"
        )
    if task.sealed:
        open_ = [n for r in records if r.status == "ok" for n in r.notes if n.startswith("not sealed against")]
        if open_:
            raise UsageError(
                f"{task.name} runs sealed, and this machine could not: {open_[0]}; run on a machine where "
                f"`harness doctor` says that it can: {again} --force"
            )


def _strings(value: object, where: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, dict):
        for key, below in value.items():
            yield from _strings(below, f"{where}.{key}".strip("."))
    elif isinstance(value, list):
        for index, below in enumerate(value):
            yield from _strings(below, f"{where}.{index}")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; a record refers to it, so run that cell again") from None
