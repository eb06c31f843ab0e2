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
from harness.plan import Request, cells_of
from harness.record import Record
from harness.redact import redact
from harness.registry import BaselineSpec, TaskSpec, load_registry, read_baseline_file
from harness.store import BrokenRecord, Store, read_record, sidecar_of
from harness.submission.declared import taken
from harness.submission.fits import (
    Group,
    group_of,
    is_finished,
    known_cases,
    missing_cells,
    other_case,
    wanted_cells,
)
from harness.submission.folder import LOCK, MANIFEST, Manifest, open_submission
from harness.submission.look import own_sources
from harness.submission.requirements import needs_lock, read_lock
from harness.submission.steps import Step, make_folder, write_file
from harness.submission.strict import Refused
from harness.task import Case, Scale

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
    scale: Scale = "standard"

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
            scale=self.scale,
        )
        return (json.dumps(manifest.model_dump(mode="json"), indent=1) + "\n").encode()


def packaged(path: Path, results: Path, scale: Scale, lock: Path | None = None) -> Package:
    """What would be sent of a file and its records. Raises UsageError, with what to do, where something is amiss."""
    registry = load_registry()
    try:
        rows = read_baseline_file(path, registry.tasks)
    except RecursionError:
        raise UsageError(f"{path}: a declaration nests too deeply; write a plain literal") from None
    task = registry.tasks[rows[0].task]
    for row in rows:
        if why := taken(row, task, f"baselines/{task.name}/{path.name}"):
            raise UsageError(f"{path.name} declares the row {row.name}, {why}")
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
    return Package(task, names, files, tuple(left_out), len(found), scale)


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
        there: list[tuple[Path, Record]] = []
        for place in sorted(store.folder(task.name, row.name).glob("*.json")):
            record = read_record(place)
            if isinstance(record, BrokenRecord):
                raise UsageError(f"{place} holds no valid record: {record.reason}; delete it, and run: {again}")
            there.append((place, record))
        known = _known(task, row, [record for _, record in there])
        for place, record in there:
            reason = _left_out(record, task, row, known)
            if reason:
                reasons[reason] = reasons.get(reason, 0) + 1
            else:
                every.append((place, record))
    newest: dict[tuple[Group, int, int], tuple[Path, Record]] = {}
    for place, record in sorted(every, key=lambda pair: (pair[1].provenance.started, pair[1].id)):
        if record.kind == "cell":
            newest[group_of(record), record.seed, record.repeat] = place, record
    found = list(newest.values())
    kept = _chosen_draws(task, rows, scale, [record for _, record in found])
    if n := sum(record.id not in kept for _, record in found):
        reasons["not finished, or of draws that are not a range from 0 on: all of one are sent, none is chosen"] = n
    found = [(place, record) for place, record in found if record.id in kept]
    left_out = [f"{n} {'record' if n == 1 else 'records'}: {reason}" for reason, n in reasons.items()]
    _refuse_incomplete(task, rows, scale, [r for _, r in found], again, left_out)
    _refuse_unfit(task, [r for _, r in found], again)
    shared = {record.provenance.shared_record for _, record in found} - {None}
    prepared = [(place, record) for place, record in every if record.id in shared]
    if missing := shared - {record.id for _, record in prepared}:
        raise UsageError(f"the record {min(map(str, missing))} of a shared preparation is not under {store.root}; run: "
                         f"{again} --force")  # fmt: skip
    return [*prepared, *found], left_out


def _known(task: TaskSpec, row: BaselineSpec, records: Sequence[Record]) -> dict[str, Case]:
    """Cases that records of this text of a row may be of."""
    of_text = [r for r in records if r.baseline.source_digest == row.source_digest and r.task.version == task.version]
    try:
        return known_cases(of_text, task)
    except Refused as error:
        raise UsageError(f"the records {error}; delete those of {row.name}, and run it again") from None


def _left_out(record: Record, task: TaskSpec, row: BaselineSpec, known: Mapping[str, Case]) -> str:
    """Why a record of a row is not sent; empty if it may be."""
    if record.kind == "control":
        return "answered by the judge"
    if record.task.version != task.version:
        return f"of version {record.task.version} of {task.name}, which is at {task.version}"
    if record.baseline.source_digest != row.source_digest or record.baseline.version != row.version:
        return "of an earlier text of the file, or of what it imports; a changed method is another one"
    if record.baseline.pinned is not None:
        return "run with versions of --with; rows of the board run with what is installed"
    if why := other_case(record, task, known):
        changed = "[" in record.case.name  # as `--set` names them
        return "on cases with changed parameters" if changed else f"on data of your own, or of a case {why}"
    return ""


def _refuse_incomplete(
    task: TaskSpec, rows: Sequence[BaselineSpec], scale: Scale, records: Sequence[Record], again: str,
    left_out: Sequence[str],
) -> None:  # fmt: skip
    wanted = cells_of(Request([task], {task.name: rows}, scale))
    if missing := missing_cells(records, task, rows, scale):
        others = f" ({'; '.join(left_out)})" if left_out else ""
        raise UsageError(
            f"{len(missing)} of {len(wanted)} cells of scale {scale} have no finished record of this file{others}, for "
            f"example {missing[0].label}; run: {again} (what is finished is not run again)"
        )


def _chosen_draws(task: TaskSpec, rows: Sequence[BaselineSpec], scale: Scale, records: Sequence[Record]) -> set[str]:
    """Identifiers of the records of whole groups (a row, a case, a device, a number of threads): all draws that the
    scale asks for are there; of more, those that go on counting from there. Nobody chooses among draws."""
    needed: dict[tuple[str, str], int] = {}
    for cell in wanted_cells(task, rows, scale):
        at = cell.row.name, cell.case.name
        needed[at] = max(needed.get(at, 0), cell.seed + 1)
    seeds: dict[Group, set[int]] = {}
    for record in records:
        if is_finished(record) and not record.repeat:
            seeds.setdefault(group_of(record), set()).add(record.seed)
    counts = {group: next(n for n in range(len(of) + 1) if n not in of) for group, of in seeds.items()}
    # A group that is not whole may be the only one of its case: then what is missing is named, with all that is there.
    whole = {group for group, n in counts.items() if n >= needed.get(group[:2], 1)}
    beside = {group[:2] for group in whole}
    return {
        r.id for r in records
        if (group := group_of(r)) in counts and (group in whole or group[:2] not in beside) and r.seed < counts[group]
    }  # fmt: skip


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
