"""`harness results merge` copies records of other folders: into its own, and nothing but records."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from harness.cli import main
from harness.store import Store

OUTSIDE = "0123456789abcdef"


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder of one run."""
    folder = tmp_path_factory.mktemp("ran") / "other"
    words = ["run", "--task", "limit/free", "--baseline", "moment-curve", "--scale", "smoke", "--alone"]
    assert main([*words, "--results", str(folder)]) == 0
    return folder


@pytest.fixture
def other(ran: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "deep" / "down" / "below" / "other"
    shutil.copytree(ran, folder)
    return folder


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "down" / "below" / "own"


def merged(other: Path, own: Path) -> list[str]:
    """Files of the target after a merge that went well."""
    assert main(["results", "merge", str(other), "--results", str(own)]) == 0
    return sorted(path.relative_to(own).as_posix() for path in own.rglob("*") if not path.is_dir())


def a_record(folder: Path) -> Path:
    return min(Store(folder).paths())


def test_records_sidecars_and_environments_are_copied_once(other: Path, own: Path) -> None:
    (own / "records").mkdir(parents=True)
    found = merged(other, own)
    assert found == sorted(p.relative_to(other).as_posix() for p in other.rglob("*") if p.is_file())
    assert merged(other, own) == found


@pytest.mark.parametrize("identity", ["../../../../escaped", "escaped", "0123456789abcdef-20260101T000000-00000000"])
def test_a_record_whose_identifier_is_not_its_files_name_is_left_out(
    other: Path, own: Path, identity: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = a_record(other)
    value = json.loads(path.read_text())
    path.write_text(json.dumps({**value, "id": identity, "sidecar": ""}))
    assert not [name for name in merged(other, own) if name.startswith("records/")]
    assert "it holds the record of another place" in capsys.readouterr().out
    assert not list(tmp_path.rglob("*escaped*"))


@pytest.mark.parametrize(("part", "name"), [("task", ".."), ("task", "hnsw"), ("baseline", "bm25")])
def test_a_record_in_the_folder_of_another_task_or_row_is_left_out(
    other: Path, own: Path, part: str, name: str
) -> None:
    path = a_record(other)
    value = json.loads(path.read_text())
    value[part]["name"] = name
    path.write_text(json.dumps(value))
    assert not [found for found in merged(other, own) if not found.startswith("environments/")]


def test_what_is_a_link_is_left_out_and_named(
    other: Path, own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("{}")
    (other / "environments" / f"{OUTSIDE}.json").symlink_to(secret)
    (other / "environments" / "hosts.json").write_text("{}")
    record = a_record(other)
    moved = shutil.move(record, tmp_path / record.name)
    record.symlink_to(moved)
    found = merged(other, own)
    assert len(found) == len(list((other / "environments").iterdir())) - 2
    said = capsys.readouterr().out
    assert said.count("it is a link") == 2 and "named by its digest" in said


def test_a_folder_that_is_a_link_is_not_walked(other: Path, own: Path, tmp_path: Path) -> None:
    (row,) = (other / "records").glob("*/*")
    moved = shutil.move(row, tmp_path / "row")
    row.symlink_to(moved)
    assert not [name for name in merged(other, own) if name.startswith("records/")]


def test_a_submission_is_opened_as_one_and_refused_where_it_is_none(
    other: Path, own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (other / "submission.json").write_text("{}")
    assert main(["results", "merge", str(other), "--results", str(own)]) == 2
    assert "submission.json" in capsys.readouterr().err
    assert not list(own.rglob("*.json"))
