"""What the board says of records: ranks, limits, fronts, trust, retractions."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from harness.board import index
from harness.board.board import Board, Entry
from harness.board.index import folder_of, folders_of
from harness.board.read import read_board
from harness.board.statements import Statements, make_statement
from harness.errors import StoreError
from harness.record import Record
from harness.registry import TaskSpec
from harness.store import Store, read_record

Tasks = Mapping[str, TaskSpec]
Fill = Callable[..., Store]
STEPS = [0.0, 0.01, -0.01, 0.005, -0.005, 0.002, 0.001]
WOBBLE = [0.001, -0.002, 0.003, -0.001, 0.002, 0.0, -0.003]


def entries(board: Board, case: str = "46-dense") -> dict[str, Entry]:
    found = next(c for t in board.tasks for c in t.cases if c.name == case)
    return {e.row.baseline: e for e in found.entries}


def ids(store: Store, row: str) -> list[str]:
    return [path.stem for path in store.folder("limit/retrieval", row).glob("*.json")]


def aged(store: Store) -> Store:
    """As if nothing had been written lately: what changed just now is not kept in the index."""
    past = time.time() - 60
    for path in (store.root / "records").glob("*/*/*"):
        os.utime(path, (past, past))
    return store


def test_rows_that_seven_draws_tell_apart_have_ranks_and_equal_ones_share_theirs(filled: Fill, tasks: Tasks) -> None:
    twins = {"one": [0.8 + s for s in STEPS], "two": [0.8 + s + w for s, w in zip(STEPS, WOBBLE, strict=True)]}
    board = read_board(filled({**twins, "last": [0.5 + s for s in STEPS]}), tasks, charts=False)
    ranks = {name: e.row.rank for name, e in entries(board).items()}
    assert ranks == {"one": (1, 2), "two": (1, 2), "last": (3, 3)}
    assert board.tasks[0].cases[0].resolved


def test_five_draws_resolve_nothing(filled: Fill, tasks: Tasks) -> None:
    board = read_board(filled({"good": [0.9] * 5, "bad": [0.1] * 5}), tasks, charts=False)
    assert {e.row.rank for e in entries(board).values()} == {None}
    assert not board.tasks[0].cases[0].resolved


def test_a_failure_is_a_row(filled: Fill, tasks: Tasks) -> None:
    shown = entries(read_board(filled({"good": [0.9], "broken": [None]}), tasks, charts=False))["broken"]
    assert (shown.row.status, shown.row.reason, shown.row.score) == ("failed", "it broke", None)


def test_seeds_that_show_a_deterministic_method_one_pinned_draw_are_one_observation(filled: Fill, tasks: Tasks) -> None:
    store = filled({"good": [0.9] * 8, "bad": [0.1] * 8}, case__draw_digest="the one data set")
    assert {e.row.rank for e in entries(read_board(store, tasks, charts=False)).values()} == {None}


def test_rows_of_an_older_task_version_are_shown_and_not_ranked(
    filled: Fill, tasks: Tasks, made_record: Callable[..., Record]
) -> None:
    store = filled({"new": [0.5] * 7})
    for seed in range(7):
        store.add(made_record("old", 0.9, seed, task__version=0))
    old = entries(read_board(store, tasks, charts=False))["old"]
    assert old.row.rank is None and "version 0 of the task" in old.row.unranked


def test_the_front_holds_what_nothing_beats_at_once(
    filled: Fill, tasks: Tasks, made_record: Callable[..., Record]
) -> None:
    store = filled({"good": [0.9], "poor": [0.2]})
    store.add(made_record("light", 0.1, delta_rss_bytes=10))
    store.add(made_record("elsewhere", 0.1, provenance__fingerprint="another machine"))
    front = {name for name, e in entries(read_board(store, tasks, charts=False)).items() if e.front}
    assert front == {"good", "light", "elsewhere"}, "costs compare within one machine class only"


def test_a_retracted_row_stays_with_its_reason_and_without_a_rank(filled: Fill, tasks: Tasks) -> None:
    store = filled({"good": [0.9] * 7, "wrong": [1.0] * 7, "bad": [0.1] * 7})
    Statements(store.root).add(make_statement("retracted", store, ids(store, "wrong"), "the index held the answers"))
    board = read_board(store, tasks, charts=False)
    shown = entries(board)
    assert shown["wrong"].row.rank is None and shown["wrong"].row.unranked == "retracted: the index held the answers"
    assert shown["good"].row.rank == (1, 1) and len(board.retractions) == 7


def test_a_row_keeps_what_was_not_retracted_of_it(filled: Fill, tasks: Tasks) -> None:
    store = filled({"row": [0.9, 0.1]})
    worst = next(p.stem for p in store.paths() if '"value": 0.1' in p.read_text())
    Statements(store.root).add(make_statement("retracted", store, [worst], "a broken disk"))
    shown = entries(read_board(store, tasks, charts=False))["row"]
    assert (shown.row.score, shown.row.draws, len(shown.retracted), shown.row.unranked) == (0.9, 1, 1, "")


def test_trust_is_that_of_the_weakest_record(filled: Fill, tasks: Tasks) -> None:
    store = filled({"row": [0.9, 0.8]})
    first, second = ids(store, "row")
    statements = Statements(store.root)
    statements.add(make_statement("replicated", store, [first, second], "fresh draws came to the same"))
    statements.add(make_statement("reproduced", store, [second], "the same draw came to the same"))
    assert entries(read_board(store, tasks, charts=False))["row"].trust == "replicated"
    store.add(read_record(store.find(first)).model_copy(update={"id": first[:-1] + "7", "seed": 3}))  # type: ignore[union-attr]
    assert entries(read_board(store, tasks, charts=False))["row"].trust == "self-reported"


def test_a_statement_about_a_record_that_changed_since_says_nothing(filled: Fill, tasks: Tasks) -> None:
    store = filled({"row": [0.9]})
    [only] = ids(store, "row")
    Statements(store.root).add(make_statement("replicated", store, [only], "it did"))
    path = store.find(only)
    path.write_text(path.read_text().replace("0.9", "0.99"))
    board = read_board(store, tasks, charts=False)
    assert entries(board)["row"].trust == "self-reported"
    assert "not what the statement was made about" in board.broken[0][1]


def test_a_statement_needs_a_reason_and_records(filled: Fill) -> None:
    store = filled({"row": [0.9]})
    with pytest.raises(StoreError, match="--reason"):
        make_statement("retracted", store, ids(store, "row"), "  ")
    with pytest.raises(StoreError, match="no record"):
        make_statement("retracted", store, ["ffff"], "because")


def test_the_index_gives_what_reading_gives(filled: Fill, tasks: Tasks) -> None:
    store = aged(filled({"one": [0.5, 0.6], "two": [0.7, None]}))
    read = folders_of(store, tasks)
    assert any(index._index_path(store.root, p).is_file() for p in (store.root / "records").glob("*/*"))
    assert folders_of(store, tasks) == read
    assert folder_of(store, "limit/retrieval", "two", tasks) == read["limit.retrieval/two"]


def test_the_index_is_not_read_for_a_folder_that_changed(
    filled: Fill, tasks: Tasks, made_record: Callable[..., Record]
) -> None:
    store = aged(filled({"row": [0.5]}))
    before = folder_of(store, "limit/retrieval", "row", tasks)
    store.add(made_record("row", 0.7, 1))
    after = folder_of(store, "limit/retrieval", "row", tasks)
    assert (before.rows[0].row.draws, after.rows[0].row.draws) == (1, 2)


@pytest.mark.parametrize("content", [b"", b"{", b'{"at": 1}', b"\xff\xfe"])
def test_an_index_that_cannot_be_read_is_made_again(filled: Fill, tasks: Tasks, content: bytes) -> None:
    store = aged(filled({"row": [0.5]}))
    whole = folders_of(store, tasks)
    kept = index._index_path(store.root, store.folder("limit/retrieval", "row"))
    kept.write_bytes(content)
    assert folders_of(store, tasks) == whole


def test_a_file_without_a_record_is_named_and_costs_no_other(filled: Fill, tasks: Tasks) -> None:
    store = filled({"row": [0.5]})
    bad = store.folder("limit/retrieval", "row") / "bad.json"
    bad.write_text("{}")
    board = read_board(store, tasks, charts=False)
    assert board.broken[0][0] == "records/limit.retrieval/row/bad.json" and entries(board)["row"].row.score == 0.5


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"higher_is_better": False}, "its direction, ceiling or rank differs"),
        ({"best": None}, "its direction, ceiling or rank differs"),
        ({"main": False}, "its direction, ceiling or rank differs"),
        ({"name": "recall@10", "main": True}, "its direction, ceiling or rank differs"),
    ],
)
def test_a_record_does_not_say_what_a_score_means(
    filled: Fill, tasks: Tasks, made_record: Callable[..., Record], said: dict[str, object], why: str
) -> None:
    store, odd = filled({"row": [0.5]}), made_record("odd", 0.5)
    store.add(odd.model_copy(update={"scores": [odd.scores[0].model_copy(update=said)]}))
    board = read_board(store, tasks, charts=False)
    assert set(entries(board)) == {"row"} and why in board.broken[0][1]


def test_a_record_of_a_version_to_come_unranks_nothing(
    filled: Fill, tasks: Tasks, made_record: Callable[..., Record]
) -> None:
    store = filled({"good": [0.9] * 7, "bad": [0.1] * 7})
    store.add(made_record("odd", 0.5, task__version=99))
    board = read_board(store, tasks, charts=False)
    assert entries(board)["good"].row.rank == (1, 1) and "99 of limit/retrieval" in board.broken[0][1]


def test_a_copy_of_a_record_counts_once(filled: Fill, tasks: Tasks) -> None:
    store = filled({"row": [0.5]})
    [path] = store.paths()
    shutil.copy(path, path.with_name("copy.json"))
    shutil.copytree(path.parent, path.parent.with_name("other"))
    board = read_board(store, tasks, charts=False)
    assert entries(board)["row"].row.processes == 1 and len(board.broken) == 3
    assert all("does not belong here" in why for _, why in board.broken)


@pytest.mark.parametrize("field", ["phases", "scores"])
def test_numbers_that_no_arithmetic_bears_cost_their_folder_only(
    filled: Fill, tasks: Tasks, made_record: Callable[..., Record], field: str
) -> None:
    store, odd = filled({"row": [0.5]}), made_record("odd", 0.5)
    many = [odd.model_copy(update={"id": f"{i:016x}-20260101T000000-0000000a", "seed": i}) for i in range(3)]
    for record in many:
        text = record.to_json().replace('"value": 0.5', '"value": 1.7e308') if field == "scores" else record.to_json()
        place = store.folder("limit/retrieval", "odd")
        place.mkdir(parents=True, exist_ok=True)
        huge = text.replace('"wall_ns": 1000000000', '"wall_ns": 1' + "0" * 400) if field == "phases" else text
        (place / f"{record.id}.json").write_text(huge)
    board = read_board(store, tasks, charts=False)
    assert entries(board)["row"].row.score == 0.5 and board.broken


def test_a_retracted_record_that_no_arithmetic_bears_costs_nothing_more(
    filled: Fill, tasks: Tasks, made_record: Callable[..., Record]
) -> None:
    store, odd = filled({"row": [0.5]}), made_record("odd", 0.5)
    huge = [odd.scores[0].model_copy(update={"value": 1.7e308})]
    for seed in range(3):
        identity = f"{seed:016x}-20260101T000000-0000000a"
        store.add(odd.model_copy(update={"id": identity, "seed": seed, "scores": huge}))
    Statements(store.root).add(make_statement("retracted", store, ids(store, "odd"), "no such score"))
    board = read_board(store, tasks, charts=False)
    assert set(entries(board)) == {"row"} and len(board.retractions) == 3


def test_a_file_that_was_changed_in_place_is_read_again(filled: Fill, tasks: Tasks) -> None:
    store = aged(filled({"row": [0.5]}))
    folders_of(store, tasks)
    [path] = store.paths()
    path.write_text(path.read_text().replace('"value": 0.5', '"value": 0.7'))
    assert folder_of(store, "limit/retrieval", "row", tasks).rows[0].row.score == 0.7


def test_a_row_is_of_its_newest_source(filled: Fill, tasks: Tasks, made_record: Callable[..., Record]) -> None:
    store = filled({"row": [0.1] * 4})
    for seed in range(3):
        store.add(made_record("row", 0.9, seed, baseline__version=2))
    row = entries(read_board(store, tasks, charts=False))["row"].row
    assert row.draws == 3 and row.score == pytest.approx(0.9)


def test_limits_are_ranked_by_the_limit_of_each_draw(
    tmp_path: Path, tasks: Tasks, made_record: Callable[..., Record]
) -> None:
    store = Store(tmp_path)
    for name, found in {"near": 9, "far": 20, "farther": 21, "oracle": 1000}.items():
        for seed in range(7):
            record = made_record(name, task__name="limit/free", case__name="d4", case__params={"d": 4}, seed=seed)
            wobble = (seed * 5 + found) % 3
            score = record.scores[0].model_copy(update={"name": "critical_n", "value": found + wobble, "best": None})
            store.add(record.model_copy(update={"scores": [score]}))
    limits = {limit.baseline: limit for t in read_board(store, tasks).tasks for limit in t.limits}
    assert {name: limit.rank for name, limit in limits.items()} == {
        "far": (1, 2), "farther": (1, 2), "near": (3, 3), "oracle": None,
    }  # fmt: skip
    assert limits["far"].point.limit == "critical n, d = 4" and limits["far"].point.per_draw[0] == 22


def test_records_that_a_task_cannot_make_sense_of_cost_its_limits_only(
    filled: Fill, tasks: Tasks, made_record: Callable[..., Record]
) -> None:
    store = filled({"row": [0.5]})
    odd = made_record("odd", 0.5, task__name="length", case__params={})
    [main] = odd.scores
    at_three = main.model_copy(update={"name": "exact_match[3]", "main": False})
    store.add(odd.model_copy(update={"scores": [main.model_copy(update={"name": "exact_match"}), at_three]}))
    board = read_board(store, tasks)
    assert {t.name for t in board.tasks} == {"limit/retrieval", "length"}
    assert any("no limits" in why for _, why in board.broken)


def test_an_empty_folder_is_an_empty_board(tmp_path: Path, tasks: Tasks) -> None:
    board = read_board(Store(tmp_path), tasks)
    assert (list(board.tasks), board.newest, dict(board.records)) == ([], "", {})
