"""From a board to a folder of pages."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.board.board import Board, Entry
from harness.board.site.assets import write_assets
from harness.board.site.baseline_page import baseline_page, baselines_page, rows_by_name
from harness.board.site.escaping import file_names, script
from harness.board.site.index_page import index_page
from harness.board.site.plots import plots_of
from harness.board.site.record_page import Seen, machine_words, record_page
from harness.board.site.release_page import ReleaseInfo, release_page, releases_page
from harness.board.site.shell import GENERATOR, Frame
from harness.board.site.tables import Links, ordered, rows_json
from harness.board.site.task_page import task_page
from harness.errors import UsageError
from harness.store import BrokenRecord, Store, read_record, sidecar_of

if TYPE_CHECKING:
    from harness.track.report import Kept

_FOLDERS = ("assets", "baseline", "data", "record", "release", "task")
_PAGES = ("baselines.html", "index.html", "releases.html", "tracking.html")
_BESIDE = "asv"
"""A folder that another tool writes its pages into: it stays."""


def build(
    board: Board, store: Store, out: Path, releases: Sequence[ReleaseInfo] = (), tracked: Sequence[Kept] = ()
) -> Path:
    """Write the site into `out` and return its index.html. `tracked` are histories of machines, for the page about
    nights. What an earlier build left there is removed; raises UsageError if `out` holds anything else, but for asv's
    pages, and MissingPackage without the packages that pages are drawn by."""
    _clear(out)
    frame = Frame(board, _links(board, releases), any(kept.nights for kept in tracked))
    plots = {task.name: plots_of(task) for task in board.tasks}
    write_assets(out / "assets", bool(board.tasks))
    seen = _write_records(frame, store, out / "record")
    for task in board.tasks:
        name = frame.links.tasks[task.name]
        data = {**rows_json(task, frame.links), "plots": [p.as_json() for p in plots[task.name]]}
        _write(out / "data" / f"{name}.js", script("BOARD", data))
        _write(out / "task" / f"{name}.html", task_page(frame, task, plots[task.name]))
    _write_baselines(frame, seen, out)
    _write_releases(frame, releases, out)
    if frame.tracking:
        from harness.track.page import PAGE, tracking_page

        _write(out / PAGE, tracking_page(frame, tracked, (out / _BESIDE / "index.html").is_file()))
    machines = {e.row.machine: "" for t in board.tasks for _, e in ordered(t) if e.row.machine}
    for one in seen:
        if machines.get(one.fingerprint) == "":
            machines[one.fingerprint] = machine_words(_environment(store, one.environment))
    _write(out / "index.html", index_page(frame, machines))
    return out / "index.html"


def _clear(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; name a folder with --to DIR")
    there = sorted(p.name for p in out.iterdir() if p.name != _BESIDE) if out.is_dir() else []
    ours = f'<meta name="generator" content="{GENERATOR}">'
    index = out / "index.html"
    if there and not (index.is_file() and ours in index.read_text("utf-8", "replace")[:2000]):
        raise UsageError(f"{out} holds {there[0]}, and no page of ours; name an empty folder with --to DIR")
    for name in _FOLDERS:
        shutil.rmtree(out / name, ignore_errors=True)
    for name in _PAGES:
        (out / name).unlink(missing_ok=True)
    out.mkdir(parents=True, exist_ok=True)


def _links(board: Board, releases: Sequence[ReleaseInfo]) -> Links:
    rows = {e.row.baseline for t in board.tasks for _, e in ordered(t)}
    tasks = _shortened({t.name: t.name.replace("/", ".") for t in board.tasks})
    return Links(
        tasks, file_names(rows), _record_names(board.records),
        file_names(r.name for r in releases),
    )  # fmt: skip


def _record_names(records: Mapping[str, Path]) -> dict[str, str]:
    """`<8 of the key>-<random part>`: short, since thousands of links hold them, and found again by eye."""
    short = {}
    for identity in records:
        parts = re.fullmatch(r"([0-9a-f]{8})[0-9a-f]*-[0-9TZ]+-([0-9a-f]{8})", identity)
        short[identity] = f"{parts[1]}-{parts[2]}" if parts else identity
    return _shortened(short)


def _shortened(short: Mapping[str, str]) -> dict[str, str]:
    """File names of the short forms, which stand for their names where no two are the same."""
    counts = Counter(short.values())
    chosen = {name: form if counts[form] == 1 else name for name, form in short.items()}
    files = file_names(chosen.values())
    return {name: files[form] for name, form in chosen.items()}


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode("utf-8"))


def _write_records(frame: Frame, store: Store, folder: Path) -> list[Seen]:
    """A page for every record, one at a time: there may be a hundred thousand."""
    from harness.known import read_samples

    entries: dict[str, Entry] = {r: e for t in frame.board.tasks for _, e in ordered(t) for r in e.row.records}
    retracted = {r.record: r for r in frame.board.retractions}
    retracted |= {r.record: r for e in entries.values() for r in e.retracted}
    environments: dict[str, Mapping[str, Any]] = {}
    seen = []
    for identity, path in sorted(frame.board.records.items()):
        record = read_record(path)
        if isinstance(record, BrokenRecord):
            continue
        name, source = frame.links.records[identity], record.provenance
        environment = environments.setdefault(source.environment, _environment(store, source.environment))
        samples = {k: v.tolist() for k, v in read_samples(sidecar_of(path)).items()} if record.sidecar else {}
        entry = entries.get(identity)
        made = record_page(frame, record, entry, retracted.get(identity), environment, samples)
        _write(folder / f"{name}.html", made)
        seen.append(Seen(
            identity, name, record.task.name, record.task.version, record.case.name, record.baseline.name, record.kind,
            record.seed, record.status, source.fingerprint, source.environment,
        ))  # fmt: skip
    return seen


def _environment(store: Store, digest: str) -> Mapping[str, Any]:
    """A machine's state; empty if it was not kept."""
    if not re.fullmatch(r"[0-9a-f]+", digest):
        return {}
    try:
        found = json.loads((store.root / "environments" / f"{digest}.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write_baselines(frame: Frame, seen: Sequence[Seen], out: Path) -> None:
    inside = {r for t in frame.board.tasks for _, e in ordered(t) for r in e.row.records}
    others: dict[str, list[Seen]] = defaultdict(list)
    for one in seen:
        if one.id not in inside:
            others[one.baseline].append(one)
    rows = rows_by_name(frame.board)
    for name, file in sorted(frame.links.baselines.items()):
        _write(out / "baseline" / f"{file}.html", baseline_page(frame, name, rows[name], others[name]))
    _write(out / "baselines.html", baselines_page(frame, rows))


def _write_releases(frame: Frame, releases: Sequence[ReleaseInfo], out: Path) -> None:
    for release in releases:
        file = out / "release" / f"{frame.links.releases[release.name]}.html"
        _write(file, release_page(frame, release))
        if release.rows_csv_path:
            file.with_suffix(".csv").write_bytes(Path(release.rows_csv_path).read_bytes())
    if releases:
        _write(out / "releases.html", releases_page(frame, releases))
