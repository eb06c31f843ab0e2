"""`harness board`: the leaderboard as a page, as numbered releases, and as a data set."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.store import Store
    from harness.track.report import Kept

NOT_HERE = 4
"""Exit code: a release that this installation cannot compute again."""
_VERBS = {
    "build": "write the web page",
    "serve": "write the web page and show it on this machine",
    "release": "freeze what is there as a numbered release",
    "verify": "compute a release, or every one, again from its records",
    "diff": "say what moved between two releases, and why",
    "retract": "say that records no longer count, and why",
    "publish": "write the board as a data set",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verbs below it."""
    below = parser.add_subparsers(dest="board_verb", metavar="VERB", required=True)
    made = {
        name: below.add_parser(name, help=text, description=text.capitalize() + ".") for name, text in _VERBS.items()
    }
    for verb in made.values():
        verb.add_argument("--results", default="results", metavar="DIR", help="default: results")
    for name in ("build", "serve"):
        made[name].add_argument("--to", default="site", metavar="DIR", help="default: site")
    made["serve"].add_argument("--port", type=int, default=8000)
    made["release"].add_argument("name", metavar="RELEASE", help="year and month, for example 2026.11")
    made["verify"].add_argument("name", metavar="RELEASE", nargs="?", default="", help="default: every one there is")
    made["diff"].add_argument("old", metavar="RELEASE")
    made["diff"].add_argument("new", metavar="RELEASE", nargs="?", default="", help="default: what is there now")
    made["retract"].add_argument("records", metavar="RECORD", nargs="+", help="identifier, or the beginning of one")
    made["retract"].add_argument("--reason", required=True, metavar="TEXT")
    made["publish"].add_argument("--to", required=True, metavar="DIR|hf:ORG/NAME")


def execute(options: argparse.Namespace) -> int:
    """Exit code 1: a release that does not hold; 4: one that cannot be verified here."""
    from harness.errors import StoreError
    from harness.store import Store

    store = Store(options.results)
    if not (store.root / "records").is_dir():
        raise StoreError(f"{store.root} holds no `records/`; name a results folder with --results DIR")
    code: int = globals()[f"_{options.board_verb}"](store, options)
    return code


def _build(store: Store, options: argparse.Namespace) -> int:
    from harness.board.diff import changes
    from harness.board.read import read_board
    from harness.board.release import releases_of
    from harness.board.site import ReleaseInfo, build
    from harness.registry import load_registry

    board = read_board(store, load_registry().tasks)
    for path, why in board.broken:
        print(f"harness: {path} left out: {why}", file=sys.stderr)
    releases: list[ReleaseInfo] = []
    before = None
    for release in releases_of(store):
        moved: list[str] = changes(before, release) if before else []
        table = str(release.folder / "table.csv")
        manifest = release.manifest.model_dump(mode="json")
        releases.append(ReleaseInfo(release.manifest.name, release.manifest.newest, table, manifest, moved))
        before = release
    print(build(board, store, Path(options.to), releases, _tracked(store)))
    return 0


def _tracked(store: Store) -> list[Kept]:
    """What nights showed, machine by machine; a history that cannot be read is named, and the page made without."""
    from harness.errors import StoreError
    from harness.track.report import machines_of, read_kept

    root, found = store.root / "history", []
    for machine in machines_of(root):
        try:
            found.append(read_kept(root, machine))
        except StoreError as error:
            print(f"harness: the nights of {machine} left out: {error}", file=sys.stderr)
    return found


def _serve(store: Store, options: argparse.Namespace) -> int:
    from harness.board.site import serve

    _build(store, options)
    serve(Path(options.to), options.port)
    return 0


def _release(store: Store, options: argparse.Namespace) -> int:
    from harness.board.diff import changes
    from harness.board.release import make_release, releases_of
    from harness.registry import load_registry

    earlier = releases_of(store)
    made = make_release(store, load_registry().tasks, options.name)
    manifest = made.manifest
    rows = sum(map(len, manifest.baselines.values()))
    records = sum(path.endswith(".json") for path in manifest.records)
    print(
        f"{made.folder}: {records} records of {rows} rows, tasks: {', '.join(manifest.tasks)}; up to {manifest.newest}"
    )
    if earlier:
        print(f"since {earlier[-1].manifest.name}:")
        _say(changes(earlier[-1], made))
    print(f"next: git add {made.folder} && git commit -m 'Release {options.name}'")
    return 0


def _verify(store: Store, options: argparse.Namespace) -> int:
    from harness.board.release import NotHere, verify_release
    from harness.errors import StoreError, UsageError
    from harness.registry import load_registry

    there = store.root / "releases"
    names = [options.name] if options.name else sorted(p.name for p in there.glob("[!.]*") if p.is_dir())
    if not names:
        print(f"no release under {there}; `harness board release YEAR.MONTH` makes one")
        return 0
    tasks, fallen, elsewhere = load_registry().tasks, 0, 0
    for name in names:
        try:
            wrong = verify_release(store, tasks, name)
        except NotHere as error:
            print(f"harness: {error}", file=sys.stderr)
            print(f"release {name} cannot be verified here")
            elsewhere += 1
            continue
        except (StoreError, UsageError) as error:
            if options.name:
                raise
            wrong = [str(error)]  # the others are verified all the same
        for sentence in wrong:
            print(f"harness: {sentence}", file=sys.stderr)
        print(f"release {name} " + ("does not hold" if wrong else "holds: its ranking follows from its records"))
        fallen += bool(wrong)
    return 1 if fallen else NOT_HERE if elsewhere else 0


def _diff(store: Store, options: argparse.Namespace) -> int:
    from harness.board.diff import changes
    from harness.board.release import as_it_is, read_release
    from harness.registry import load_registry

    old = read_release(store, options.old)
    new = read_release(store, options.new) if options.new else as_it_is(store, load_registry().tasks)
    _say(changes(old, new))
    return 0


def _say(sentences: list[str]) -> None:
    print("\n".join(sentences) if sentences else "nothing moved")


def _retract(store: Store, options: argparse.Namespace) -> int:
    from harness.board.statements import Statements, make_statement

    statement = make_statement("retracted", store, options.records, options.reason)
    print(Statements(store.root).add(statement))
    print("no longer counted, and shown as retracted: " + ", ".join(statement.records))
    return 0


def _publish(store: Store, options: argparse.Namespace) -> int:
    from harness.board.publish import publish
    from harness.registry import load_registry

    print(publish(store, load_registry().tasks, options.to))
    return 0
