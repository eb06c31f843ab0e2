"""`harness board`: the page, releases, differences and retractions from the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.cli import main
from harness.record import Record
from harness.store import Store

Make = Callable[..., Record]


@pytest.fixture
def results(tmp_path: Path, made_record: Make) -> Path:
    store = Store(tmp_path / "results")
    for seed in range(7):
        store.add(made_record("good", 0.9 + seed / 1000, seed))
        store.add(made_record("bad", 0.5 + seed / 900, seed))
    return store.root


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["board", *words])
    out, err = capsys.readouterr()
    return code, out, err


def test_a_release_is_made_verified_and_told_apart_from_what_came_after(
    results: Path, made_record: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ("--results", str(results))
    code, out, _ = said(capsys, "release", "2026.11", *where)
    assert code == 0 and "14 records of 2 rows, tasks: limit/retrieval" in out and "next: git add" in out
    assert said(capsys, "verify", "2026.11", *where)[:2] == (
        0,
        "release 2026.11 holds: its ranking follows from its records\n",
    )
    assert said(capsys, "diff", "2026.11", *where)[1] == "nothing moved\n"
    record = next(iter(Store(results).folder("limit/retrieval", "bad").glob("*.json")))
    code, out, _ = said(capsys, "retract", record.stem, "--reason", "a wrong stemmer", *where)
    assert code == 0 and record.stem in out
    assert "some of its records were retracted (a wrong stemmer)" in said(capsys, "diff", "2026.11", *where)[1]
    assert said(capsys, "release", "2026.12", *where)[0] == 0
    assert "a wrong stemmer" in said(capsys, "diff", "2026.11", "2026.12", *where)[1]
    record.write_text(record.read_text().replace('"seed"', '"seeds"'))
    code, _, err = said(capsys, "verify", "2026.11", *where)
    assert code == 1 and "not what it was" in err


@pytest.mark.parametrize(
    "words",
    [
        ("release", "november"), ("verify", "2026.11"), ("diff", "2026.11"), ("retract", "ffff", "--reason", "x"),
        ("publish", "--to", "hf:nobody"), ("build", "--results", "nowhere"),
    ],
)  # fmt: skip
def test_bad_input_is_a_sentence(
    words: tuple[str, ...], results: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(results.parent)
    code, out, err = said(capsys, *words)
    assert code == 2 and out == "" and err.startswith("harness: ") and "Traceback" not in err
