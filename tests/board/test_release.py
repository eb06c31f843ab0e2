"""Releases: the same bytes everywhere, held against their records, and what moved between two of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
import pytest

from harness.board.diff import changes
from harness.board.release import NotHere, as_it_is, make_release, read_release, releases_of, verify_release
from harness.board.statements import Statements, make_statement
from harness.errors import StoreError, UsageError
from harness.record import Record
from harness.registry import TaskSpec
from harness.store import Store

Tasks = Mapping[str, TaskSpec]
Fill = Callable[..., Store]
Make = Callable[..., Record]
SCORES = [0.8, 0.81, 0.79, 0.805, 0.795, 0.802, 0.801]


def some(filled: Fill) -> Store:
    return filled({"good": SCORES, "bad": [s - 0.5 for s in SCORES], "broken": [None]})


def test_two_checkouts_make_the_same_bytes(filled: Fill, tasks: Tasks, tmp_path: Path) -> None:
    store = some(filled)
    shutil.copytree(store.root, tmp_path / "elsewhere")
    first, second = (make_release(s, tasks, "2026.11").folder for s in (store, Store(tmp_path / "elsewhere")))
    names = sorted(p.name for p in first.iterdir())
    assert names == ["manifest.json", "ranking.json", "table.csv", "table.parquet"]
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_a_release_holds_and_later_records_do_not_change_it(filled: Fill, tasks: Tasks, made_record: Make) -> None:
    store = some(filled)
    make_release(store, tasks, "2026.11")
    store.add(made_record("better", 0.99))
    Statements(store.root).add(
        make_statement("retracted", store, [next(store.paths("limit/retrieval")).stem], "found out later")
    )
    assert verify_release(store, tasks, "2026.11") == []


def test_a_release_is_never_made_twice(filled: Fill, tasks: Tasks) -> None:
    store = some(filled)
    make_release(store, tasks, "2026.11")
    with pytest.raises(UsageError, match=r"2026\.11\.1"):
        make_release(store, tasks, "2026.11")


@pytest.mark.parametrize("name", ["", "1.0", "2026.13", "../2026.11", "2026.11/x", "2026.11\n"])
def test_a_release_is_named_by_year_and_month(filled: Fill, tasks: Tasks, name: str) -> None:
    with pytest.raises(UsageError, match="year and month"):
        make_release(some(filled), tasks, name)


def edited(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def test_whatever_is_edited_is_found(filled: Fill, tasks: Tasks) -> None:
    store = some(filled)
    folder = make_release(store, tasks, "2026.11").folder
    record = next(store.paths("limit/retrieval"))

    def after(path: Path, old: str, new: str) -> str:
        content = path.read_bytes()
        edited(path, old, new)
        found = "; ".join(verify_release(store, tasks, "2026.11"))
        path.write_bytes(content)
        return found

    assert "not what it was" in after(record, '"seed": 0', '"seed": 9')
    assert "ranking.json does not follow" in after(folder / "ranking.json", '"rank_low": 1', '"rank_low": 2')
    assert "table.csv does not follow" in after(folder / "table.csv", "good", "best")
    assert "calls itself" in after(folder / "manifest.json", '"name": "2026.11"', '"name": "2026.12"')
    assert "does not follow" in after(folder / "manifest.json", '"newest": "', '"newest": "1')
    with pytest.raises(NotHere, match="rules 7"):
        after(folder / "manifest.json", '"rules": 1', '"rules": 7')
    edited(folder / "manifest.json", '"rules": 7', '"rules": 1')
    (folder / "more.html").write_text("")
    assert verify_release(store, tasks, "2026.11") == ["more.html does not belong to it"]
    (folder / "more.html").unlink()
    assert verify_release(store, tasks, "2026.11") == []
    pd.DataFrame({"score": [1.0]}).to_parquet(folder / "table.parquet")
    assert "table.parquet does not follow" in "; ".join(verify_release(store, tasks, "2026.11"))
    record.unlink()
    assert "is not there" in "; ".join(verify_release(store, tasks, "2026.11"))


def test_a_manifest_names_nothing_outside_of_the_results_folder(filled: Fill, tasks: Tasks, tmp_path: Path) -> None:
    store = some(filled)
    folder = make_release(store, tasks, "2026.11").folder
    (tmp_path / "secret.json").write_text("{}")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["records"]["../secret.json"] = "0" * 64
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert verify_release(store, tasks, "2026.11") == ["../secret.json is not there"]


def test_what_cannot_stand_in_a_release_is_refused_and_nothing_is_written(
    filled: Fill, tasks: Tasks, made_record: Make
) -> None:
    store = filled({"good": [0.9]})
    store.add(made_record("open", 0.9, notes=["not sealed against files: this kernel has no Landlock"]))
    with pytest.raises(StoreError, match="open on limit/retrieval 46-dense cannot stand"):
        make_release(store, tasks, "2026.11")
    assert releases_of(store) == [] and not list((store.root / "releases").glob("*"))
    (store.folder("limit/retrieval", "good") / "bad.json").write_text("{")
    with pytest.raises(StoreError, match=r"bad\.json cannot stand in a release"):
        make_release(store, tasks, "2026.11")


def test_a_sidecar_that_is_not_the_records_own_is_refused(filled: Fill, tasks: Tasks, made_record: Make) -> None:
    import hashlib

    store = filled({"good": [0.9]})
    path = store.add(made_record("row", 0.9, sidecar=hashlib.sha256(b"samples").hexdigest()), b"samples")
    path.with_suffix(".npz").write_bytes(b"others")
    with pytest.raises(StoreError, match="not the sidecar"):
        make_release(store, tasks, "2026.11")


def test_an_unknown_release_is_told_with_those_there_are(filled: Fill, tasks: Tasks) -> None:
    store = some(filled)
    make_release(store, tasks, "2026.11")
    with pytest.raises(UsageError, match=r"no release 2026\.12 .*there: 2026\.11"):
        read_release(store, "2026.12")


def test_the_difference_says_what_moved_and_why(filled: Fill, tasks: Tasks, made_record: Make) -> None:
    store = some(filled)
    old = make_release(store, tasks, "2026.11")
    assert changes(old, as_it_is(store, tasks)) == []
    for seed, score in enumerate(SCORES):
        store.add(made_record("newcomer", score + 0.1, seed))
    for seed, score in enumerate(SCORES):
        store.add(made_record("bad", score - 0.4, seed, baseline__version=2))
    gone = [p.stem for p in store.folder("limit/retrieval", "broken").glob("*.json")]
    Statements(store.root).add(make_statement("retracted", store, gone, "the disk was full"))
    new = make_release(store, tasks, "2026.12")
    said = changes(old, new)
    assert [r.manifest.name for r in releases_of(store)] == ["2026.11", "2026.12"]
    text = "\n".join(said)
    assert "newcomer on cpu entered, because the baseline is new" in text
    assert "the baseline went from version 1 to 2 and it has 7 new records" in text
    assert "broken on cpu was retracted, because its records were retracted (the disk was full)" in text
    assert "good on cpu has rank 2 instead of 1, because other rows changed (bad, broken, newcomer)" in text


def test_a_release_cannot_be_taken_out_unseen(filled: Fill, tasks: Tasks) -> None:
    store = some(filled)
    first = make_release(store, tasks, "2026.11").folder
    make_release(store, tasks, "2026.12")
    assert verify_release(store, tasks, "2026.12") == []
    shutil.rmtree(first)
    assert "not the one that it was made after" in verify_release(store, tasks, "2026.12")[0]


def test_rows_of_an_older_task_version_do_not_hide_what_moved(filled: Fill, tasks: Tasks, made_record: Make) -> None:
    store = some(filled)
    store.add(made_record("bad", 0.1, task__version=0))
    old = make_release(store, tasks, "2026.11")
    store.add(made_record("bad", 0.9, 9))
    assert any("bad on cpu scores" in said for said in changes(old, make_release(store, tasks, "2026.12")))


@pytest.mark.parametrize("ranking", ["{}", "[]", '{"tasks": {"limit/retrieval": {}}, "limits": []}'])
def test_a_ranking_that_is_none_is_a_sentence(filled: Fill, tasks: Tasks, ranking: str) -> None:
    store = some(filled)
    folder = make_release(store, tasks, "2026.11").folder
    (folder / "ranking.json").write_text(ranking)
    with pytest.raises(StoreError, match="is no ranking"):
        changes(read_release(store, "2026.11"), as_it_is(store, tasks))


def test_a_task_bump_is_one_sentence(filled: Fill, tasks: Tasks, made_record: Make) -> None:
    store = some(filled)
    old = make_release(store, tasks, "2026.11")
    manifest = old.ranking["tasks"]["limit/retrieval"]
    bumped = {**old.ranking, "tasks": {"limit/retrieval": {**manifest, "version": 2}}}
    new = type(old)(old.folder, old.manifest, bumped)
    assert changes(old, new) == [
        "limit/retrieval: the task went from version 1 to 2; its rows were measured anew, or are no longer compared."
    ]


def test_the_csv_holds_no_formula(filled: Fill, tasks: Tasks) -> None:
    store = filled({'=HYPERLINK("x")': [0.9], "@SUM(A1)": [0.8]})
    text = (make_release(store, tasks, "2026.11").folder / "table.csv").read_text("utf-8")
    assert "\"'=HYPERLINK" in text and ",'@SUM" in text
