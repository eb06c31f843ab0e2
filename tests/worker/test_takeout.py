"""Claims about what is taken out of a box: plain files of an answer, numbers that can be, and nothing else."""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.bundle import read_bundle, write_bundle
from harness.worker.box import Box
from harness.worker.takeout import take_out

SAID: dict[str, Any] = {
    "status": "ok", "reason": "", "loaded": [], "libraries": {"numpy": "2.0"}, "threads_used": {"openblas": 1},
    "streams": {"query": {"cold_ns": 5, "loops": 1, "warm_up_calls": 3}}, "pinned": [],
    "phases": [{"name": "search", "self_wall_ns": 7, "self_cpu_ns": 6}], "description": {"d": 3, "kind": "toy"},
}  # fmt: skip
LIMIT = 1 << 20


@pytest.fixture
def box(tmp_path: Path) -> Path:
    """What an honest child leaves."""
    folder = tmp_path / "box"
    folder.mkdir()
    (folder / "result.json").write_text(json.dumps(SAID))
    np.savez(folder / "samples.npz", query=np.arange(4))
    write_bundle(folder / "answer", {"ids": np.arange(6).reshape(2, 3), "texts": ["a", "b"], "n": 4})
    return folder


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "place"
    folder.mkdir()
    return folder


def test_what_an_honest_child_leaves_comes_out_as_it_is(box: Path, place: Path) -> None:
    said = take_out(box, place, LIMIT)
    assert said == SAID
    answer = read_bundle(place / "answer")
    assert answer["ids"].tolist() == [[0, 1, 2], [3, 4, 5]] and answer["texts"] == ["a", "b"] and answer["n"] == 4
    with np.load(place / "samples.npz", allow_pickle=False) as samples:
        assert samples["query"].tolist() == [0, 1, 2, 3]


def test_a_child_that_said_nothing_leaves_nothing(tmp_path: Path, place: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert take_out(tmp_path / "empty", place, LIMIT) == {}
    assert list(place.iterdir()) == []


def _link_the_answer(box: Path) -> None:
    (box / "answer").rename(box / "elsewhere")
    (box / "answer").symlink_to("/etc")


def _link_a_member(box: Path) -> None:
    (box / "answer" / "0000.npy").unlink()
    (box / "answer" / "0000.npy").symlink_to("/etc/passwd")


def _pipe(box: Path) -> None:
    (box / "answer" / "0000.npy").unlink()
    os.mkfifo(box / "answer" / "0000.npy")


def _folder(box: Path) -> None:
    (box / "answer" / "0007.npy").mkdir()


def _other_name(box: Path) -> None:
    (box / "answer" / "sitecustomize.py").write_text("1")


def _sparse(box: Path) -> None:
    with (box / "answer" / "0000.npy").open("r+b") as stream:
        stream.truncate(1 << 40)


def _many_small(box: Path) -> None:
    for number in range(20):
        (box / "answer" / f"{1000 + number}.npy").write_bytes(bytes(LIMIT // 10))


@pytest.mark.parametrize(
    "change", [_link_the_answer, _link_a_member, _pipe, _folder, _other_name, _sparse, _many_small]
)
def test_an_answer_of_anything_but_plain_files_is_refused(box: Path, place: Path, change: Any) -> None:
    change(box)
    said = take_out(box, place, LIMIT)
    assert said["status"] == "failed" and said["reason"].startswith("wrong answer: ")
    assert sum(path.stat().st_size for path in place.rglob("*")) < 2 * LIMIT


@pytest.mark.parametrize(
    "changed",
    [
        {"status": "retracted"},
        {"status": "killed"},
        {"reason": 5},
        {"reason": "x" * 100_000},
        {"streams": {"query": {"cold_ns": -1, "loops": 1, "warm_up_calls": 0}}},
        {"streams": {"query": {"cold_ns": 1, "loops": 0, "warm_up_calls": 0}}},
        {"streams": []},
        {"phases": [{"name": "search"}]},
        {"phases": [{"name": "x" * 1000, "self_wall_ns": 1, "self_cpu_ns": 1}]},
        {"phases": [{"name": "a", "self_wall_ns": 10**30, "self_cpu_ns": 1}]},
        {"description": {"a": {"b": 1}}},
        {"description": {"a": float("nan")}},
        {"description": {"a": float("inf")}},
        {"libraries": {"numpy": None}},
        {"threads_used": {"a": "many"}},
    ],
)
def test_a_result_that_no_child_writes_is_refused_with_the_field(box: Path, place: Path, changed: Any) -> None:
    (box / "result.json").write_text(json.dumps({**SAID, **changed}))
    said = take_out(box, place, LIMIT)
    assert said["status"] == "failed"
    assert "result.json is not what a child writes: " in said["reason"]


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"a":' * 100_000, '{"status": "\\ud800"}', "\x00\xff"])
def test_a_result_that_is_no_json_is_refused(box: Path, place: Path, text: str) -> None:
    (box / "result.json").write_bytes(text.encode("latin-1"))
    assert take_out(box, place, LIMIT)["status"] == "failed"


def test_a_result_that_is_a_link_or_endless_is_refused(box: Path, place: Path) -> None:
    (box / "result.json").unlink()
    (box / "result.json").symlink_to("/dev/zero")
    assert "no plain file" in take_out(box, place, LIMIT)["reason"]
    (box / "result.json").unlink()
    with (box / "result.json").open("wb") as stream:
        stream.truncate(1 << 40)
    assert "larger than" in take_out(box, place, LIMIT)["reason"]


def _npy(array: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("member", "compression"),
    [
        (_npy(np.array([{"a": 1}], object), allow_pickle=True), zipfile.ZIP_STORED),
        (_npy(np.zeros(1000, np.int64)), zipfile.ZIP_DEFLATED),
        (_npy(np.zeros(3)), zipfile.ZIP_STORED),
        (_npy(np.zeros((3, 3), np.int64)), zipfile.ZIP_STORED),
        (_npy(np.array([-5])), zipfile.ZIP_STORED),
        (_npy(np.arange(3))[:-8], zipfile.ZIP_STORED),
        (b"not an array", zipfile.ZIP_STORED),
        (b"", zipfile.ZIP_STORED),
    ],
)
def test_samples_that_are_no_plain_times_are_refused(box: Path, place: Path, member: bytes, compression: int) -> None:
    with zipfile.ZipFile(box / "samples.npz", "w", compression) as archive:
        archive.writestr("query.npy", member)
    said = take_out(box, place, LIMIT)
    assert said["status"] == "failed" and "samples.npz" in said["reason"]
    assert not (place / "samples.npz").exists()


def test_samples_of_a_stream_that_nobody_named_are_left(box: Path, place: Path) -> None:
    np.savez(box / "samples.npz", query=np.arange(2), other=np.arange(3))
    take_out(box, place, LIMIT)
    with np.load(place / "samples.npz", allow_pickle=False) as samples:
        assert samples.files == ["query"]


@pytest.mark.parametrize("text", [b"{(", b"  {\n 1\n   2", b"(" * 110, b"{'descr': '<i8', 'shape': (1e400,)}", b"\xff"])
def test_samples_whose_header_is_no_literal_make_a_failure(box: Path, place: Path, text: bytes) -> None:
    text = text.ljust(117) + b"\n"
    with zipfile.ZipFile(box / "samples.npz", "w") as archive:
        archive.writestr("query.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)
    said = take_out(box, place, LIMIT)
    assert said["status"] == "failed" and "samples.npz" in said["reason"]


def test_whatever_taking_out_runs_into_is_a_failure_of_the_cell(
    box: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def give_up(*_: object) -> None:
        raise AssertionError("what nobody thought of")

    monkeypatch.setattr("harness.worker.takeout._samples", give_up)
    outcome = {"exit_code": 0, "memory_watch": "", "cpu_ns": 0, "ended_by": None, "output_tail": ""}
    made = Box.__new__(Box)
    made.problem, made.pid, made._cpu_ns, made._oom_kills, made._out, made.sealed = "", 1, 0, 0, box, {}
    made.finish(place, outcome)
    said = json.loads((place / "result.json").read_text())
    assert said["status"] == "failed" and "AssertionError" in said["reason"]
