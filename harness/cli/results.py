"""`harness results merge|clean|path`: the results folder and the caches."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from harness import paths

if TYPE_CHECKING:
    from harness.store import Store

_ID = re.compile(r"[0-9a-f]{16}-[0-9]{8}T[0-9]{6}-[0-9a-f]{8}")
_ENVIRONMENT = re.compile(r"[0-9a-f]{16}")
_STALE_S = 24 * 3600


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the three actions."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    merge = actions.add_parser("merge", help="copy the records of other folders into one")
    merge.add_argument("source", nargs="+")
    clean = actions.add_parser("clean", help="move broken records away, remove leftovers; --caches: caches as well")
    clean.add_argument("--caches", action="store_true", help="also remove shared preparations and the environments "
                       "of --with (they are made again)")  # fmt: skip
    where = actions.add_parser("path", help="where results and caches lie, and how large they are")
    for action in (merge, clean, where):
        action.add_argument("--results", default=str(paths.DEFAULT_RESULTS), metavar="DIR")


def execute(options: argparse.Namespace) -> int:
    """Dispatch the action."""
    root = Path(options.results)
    if options.action == "merge":
        return _merge([Path(s) for s in options.source], root)
    if options.action == "clean":
        return _clean(root, options.caches)
    for name, folder in (("results", root), ("shared preparations", paths.prepared_root()),
                         ("pinned environments", paths.overlays_root()), ("checkpoints", paths.checkpoints_root()),
                         ("scratch of runs", paths.runs_root()), ("all caches", paths.cache_root())):  # fmt: skip
        print(f"{name:<20} {paths.size_of(folder) / 1e6:>10.1f} MB  {folder}")
    return 0


def _merge(sources: list[Path], root: Path) -> int:
    from harness.errors import StoreError
    from harness.store import Store
    from harness.submission.folder import MANIFEST, open_submission
    from harness.submission.unpack import is_archive

    target = Store(root)
    target.prepare_to_write()
    have = {p.stem for p in target.paths()}
    before, skipped = len(have), 0
    for source in sources:
        if os.path.lexists(source / MANIFEST) or (source.is_file() and is_archive(source)):
            with open_submission(source) as submission:  # a copy of what was checked; nothing else is read
                skipped += _merge_one(submission.root, target, have)
        elif (source / "records").is_dir():
            skipped += _merge_one(source, target, have)
        else:
            raise StoreError(f"{source} holds no records/ folder; name a results folder, for example results/local")
    print(f"{len(have) - before} records copied into {root}, {skipped} were there already")
    return 0


def _merge_one(source: Path, target: Store, have: set[str]) -> int:
    """Copy what is not in `have`, which grows; returns how many were there. Files that are links, or whose name is not
    what is in them, are left out and named."""
    from harness.store import BrokenRecord, Store, read_record, sidecar_of

    skipped = 0
    for path in Store(source).paths():
        sidecar_path = sidecar_of(path)
        if why := _misplaced(path, source) or (_misplaced(sidecar_path, source) if sidecar_path.exists() else ""):
            print(f"left out {path}: {why}")
            continue
        record = read_record(path)
        if isinstance(record, BrokenRecord):
            print(f"left out {path}: {record.reason}")
        elif (
            record.id != path.stem
            or not _ID.fullmatch(record.id)
            or path.parent != Store(source).folder(record.task.name, record.baseline.name)
        ):
            print(f"left out {path}: it holds the record of another place, {record.id[:80]!a}")
        elif record.id in have:
            skipped += 1
        else:
            try:
                target.add(record, sidecar_path.read_bytes() if record.sidecar else b"")
            except (ValueError, OSError):
                print(f"left out {path}: its sidecar does not match the digest on the record")
                continue
            have.add(record.id)
    for environment in sorted((source / "environments").glob("*.json")):
        place = target.root / "environments" / environment.name
        why = _misplaced(environment, source)
        if not why and not _ENVIRONMENT.fullmatch(environment.stem):
            why = "an environment is named by its digest, 16 hexadecimal digits"
        if why:
            print(f"left out {environment}: {why}")
        elif not place.exists():
            place.parent.mkdir(exist_ok=True)
            shutil.copyfile(environment, place, follow_symlinks=False)
    return skipped


def _misplaced(path: Path, source: Path) -> str:
    """Why a file below `source` is not read: it, or a folder on the way to it, is a link, or it is no plain file."""
    if path.resolve() != source.resolve() / path.relative_to(source):
        return "it is a link, or lies behind one; only files are copied"
    return "" if path.is_file() else "it is no plain file"


def _clean(root: Path, caches: bool) -> int:
    from harness.store import BrokenRecord, Store, read_record

    moved = removed = 0
    for path in list(Store(root).paths()):
        record = read_record(path)
        if isinstance(record, BrokenRecord):
            place = root / "broken" / path.relative_to(root)
            place.parent.mkdir(parents=True, exist_ok=True)
            os.rename(path, place)
            print(f"moved {path} to {place}: {record.reason}")
            moved += 1
    for pattern in (".*.tmp", "*.npz"):
        for path in (root / "records").rglob(pattern):
            # a run that is going on writes the sidecar a moment before its record
            old = time.time() - path.stat().st_mtime > 60
            if old and (pattern == ".*.tmp" or not path.with_suffix(".json").exists()):
                path.unlink()
                removed += 1
    freed = 0
    for folder in paths.runs_root().glob("*"):
        if time.time() - folder.stat().st_mtime > _STALE_S:
            freed += paths.size_of(folder)
            shutil.rmtree(folder, ignore_errors=True)
    killed = [*paths.overlays_root().glob(".making-*"), *paths.checkpoints_root().glob("*")]
    for folder in killed:  # installations, and what was left off a day ago
        if time.time() - folder.stat().st_mtime > _STALE_S:
            freed += paths.size_of(folder)
            shutil.rmtree(folder, ignore_errors=True)
    for folder in (paths.prepared_root(), paths.overlays_root()) if caches else ():
        freed += paths.size_of(folder)
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{moved} broken records moved to {root / 'broken'}, {removed} leftovers removed, {freed / 1e6:.1f} MB freed")
    return 0
