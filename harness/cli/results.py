"""`harness results merge|clean|path`: the results folder and the caches."""

from __future__ import annotations

import argparse
import os
import shutil
import time
from pathlib import Path

from harness import paths

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
    from harness.store import BrokenRecord, Store, read_record, sidecar_of

    target = Store(root)
    target.prepare_to_write()
    have = {p.stem for p in target.paths()}
    copied = skipped = 0
    for source in sources:
        if not (source / "records").is_dir():
            raise StoreError(f"{source} holds no records/ folder; name a results folder, for example results/local")
        for path in Store(source).paths():
            record = read_record(path)
            if isinstance(record, BrokenRecord):
                print(f"left out {path}: {record.reason}")
            elif record.id in have:
                skipped += 1
            else:
                sidecar = sidecar_of(path).read_bytes() if record.sidecar else b""
                try:
                    target.add(record, sidecar)
                except ValueError:
                    print(f"left out {path}: its sidecar does not match the digest on the record")
                    continue
                have.add(record.id)
                copied += 1
        for environment in sorted((source / "environments").glob("*.json")):
            place = root / "environments" / environment.name
            if not place.exists():
                place.parent.mkdir(exist_ok=True)
                shutil.copyfile(environment, place)
    print(f"{copied} records copied into {root}, {skipped} were there already")
    return 0


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
