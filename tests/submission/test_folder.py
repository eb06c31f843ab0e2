"""What a submission may hold, tried with what it may not."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import re
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.measure.environment import environment_digest
from harness.record import BaselineRef, CaseRef, Cost, Latency, Provenance, Record, ScoreValue, TaskRef
from harness.registry import load_registry, read_baseline_file
from harness.store import Store
from harness.submission import declared, strict, unpack
from harness.submission import folder as opening
from harness.submission.folder import MANIFEST, Manifest, SubmissionError, open_submission

TASK = "limit/retrieval"
METHOD = '''
from harness.tasks.limit.retrieval import Hits, Retriever
from shared_words import split


class Mine(Retriever):
    """Words in common."""

    weight: float = 1.5
    variants = {"mine": {}, "mine-heavy": {"weight": 2.5}}
'''
ENVIRONMENT = {"cpu_model": "some", "cores_usable": 2.0, "packages": {"numpy": "2"}}
Spoil = Callable[[Path], None]


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=True, **arrays)
    return buffer.getvalue()


SIDECAR = npz(**{"item/recall@2": np.array([1.0, 0.0]), "latency/query": np.array([5, 6, 7])})


def record_of(path: Path, row: str = "mine", seed: int = 0, sidecar: bytes = SIDECAR) -> Record:
    spec = next(r for r in read_baseline_file(path, load_registry().tasks) if r.name == row)
    key = hashlib.sha256(f"{row} {seed}".encode()).hexdigest()
    return Record(
        id=f"{key[:16]}-20260101T000000-{seed:08x}", key=key, kind="cell", status="ok", reason="",
        task=TaskRef(name=TASK, version=1, source_digest="a" * 64),
        case=CaseRef(name="46-dense", params={"kind": "generated", "documents": 46, "pattern": "dense"}),
        baseline=BaselineRef(name=row, file=path.name, version=1, params=dict(spec.params),
                             source_digest=spec.source_digest, requires=[], deterministic=True, pinned=None),
        seed=seed, repeat=0, device="cpu", threads=1,
        scores=[ScoreValue(name="recall@2", value=0.5, interval=(0.1, 0.9), unit="", higher_is_better=True, best=1.0,
                           main=True, n=2)],
        phases=[],
        latency=[Latency(name="query", cold_ns=9, n=3, median_ns=6.0, iqr_ns=1.0, p90_ns=None, p95_ns=None, p99_ns=None,
                         p999_ns=None, loops=1, warm_up_calls=2, stable=False)],
        peak_rss_bytes=1, delta_rss_bytes=1, memory_limit_bytes=1, memory_watch="polled", timeout_s=900.0, canary=None,
        notes=[], output_tail="", sidecar=hashlib.sha256(sidecar).hexdigest() if sidecar else "",
        cost=Cost(wall_s=1.0, cpu_s=1.0, harness_cpu_s=0.1),
        provenance=Provenance(run="r", command="harness run", harness_version="0.1.0",
                              environment=environment_digest(ENVIRONMENT), fingerprint="b" * 64, libraries={},
                              threads_used={}, started="2026-01-01T00:00:00Z", ended="2026-01-01T00:00:01Z"),
    )  # fmt: skip


def sign(folder: Path, version: int = 1) -> None:
    """Write the manifest of what is there, as who forges a submission does."""
    files = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink() and path.name != MANIFEST
    }  # fmt: skip
    manifest = Manifest(
        harness_version="0.1.0", made="2026-01-01T00:00:00Z", tasks={TASK: version},
        baselines=[f"baselines/{TASK}/mine.py"], rows=["mine", "mine-heavy"], files=files,
        scale="smoke",
    )  # fmt: skip
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=1))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A good submission: two rows, a neighbour, an environment."""
    root = tmp_path / "outer" / "sent"
    place = root / "baselines" / TASK
    place.mkdir(parents=True)
    (place / "mine.py").write_text(METHOD)
    (place / "shared_words.py").write_text("def split(text):\n    return text.split()\n")
    store = Store(root)
    for row in ("mine", "mine-heavy"):
        store.add(record_of(place / "mine.py", row), SIDECAR)
    store.add_environment(environment_digest(ENVIRONMENT), ENVIRONMENT)
    sign(root)
    return root


@pytest.fixture(autouse=True)
def nothing_else_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Temporary folders are made in one place of the test's own, and are gone at its end; nothing lies beside it."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    monkeypatch.chdir(scratch)
    yield
    assert not list(scratch.iterdir())
    assert not [name for name in os.listdir(tmp_path) if name.startswith("evil")]


def refusal(path: Path) -> str:
    """The sentence with which a submission is refused."""
    with pytest.raises(SubmissionError) as caught, open_submission(path):
        pass
    sentence = str(caught.value)
    assert sentence.startswith(str(path)) and "Traceback" not in sentence and len(sentence) < 700
    assert sentence.removeprefix(str(path)).isascii() and sentence.isprintable()
    return sentence


def a_record(folder: Path) -> Path:
    return min(folder.glob("records/*/mine/*.json"))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def zipped(folder: Path, path: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, prefix + file.relative_to(folder).as_posix())
    return path


def tarred(folder: Path, path: Path, prefix: str = "") -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        archive.add(folder, prefix or ".")
    return path


def test_a_good_folder_opens_and_its_copy_is_gone_afterwards(folder: Path) -> None:
    with open_submission(folder) as submission:
        assert submission.manifest.rows == ["mine", "mine-heavy"]
        assert [path.name for path in submission.baselines] == ["mine.py"]
        records, broken = submission.store.load(TASK)
        assert sorted(r.baseline.name for r in records) == ["mine", "mine-heavy"] and not broken
        assert not submission.root.is_relative_to(folder) and submission.requirements is None
    assert not submission.root.exists()


@pytest.mark.parametrize("name", ["sent.zip", "sent.tar", "sent.tar.gz"])
@pytest.mark.parametrize("prefix", ["", "my-method/", "submissions/my-method/"])
def test_a_good_archive_opens_with_or_without_a_folder_of_its_own(folder: Path, name: str, prefix: str) -> None:
    make = zipped if name.endswith(".zip") else tarred
    with open_submission(make(folder, folder.parent / name, prefix)) as submission:
        assert len(submission.store.load()[0]) == 2


def _swap_sidecars(folder: Path) -> None:
    a_record(folder).with_suffix(".npz").write_bytes(npz(**{"item/recall@2": np.array([1.0, 1.0])}))


def _duplicate(folder: Path) -> None:
    store, path = Store(folder), folder / "baselines" / TASK / "mine.py"
    again = record_of(path)
    store.add(again.model_copy(update={"id": again.id[:-1] + "f"}), SIDECAR)


def _replace_sidecar(content: bytes) -> Spoil:
    """A sidecar with every digest made to fit."""

    def spoil(folder: Path) -> None:
        path = a_record(folder)
        edit(path, hashlib.sha256(SIDECAR).hexdigest(), hashlib.sha256(content).hexdigest())
        path.with_suffix(".npz").write_bytes(content)

    return spoil


def _edit_record(old: str, new: str) -> Spoil:
    return lambda folder: edit(a_record(folder), old, new)


def _write(name: str, content: bytes = b"x") -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)

    return spoil


def _renamed_array(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        array = io.BytesIO()
        np.save(array, np.zeros(2))
        archive.writestr(name, array.getvalue())
    return buffer.getvalue()


def _encrypted(content: bytes) -> bytes:
    """With the flag set that says so, in the list at its end."""
    place = content.index(b"PK\x01\x02") + 8
    return content[:place] + bytes([content[place] | 1]) + content[place + 1 :]


def _bomb(megabytes: int, lie: bool = False) -> bytes:
    """Zeros that pack well, in an array whose header fits; or that says it holds two numbers."""
    array = io.BytesIO()
    np.save(array, np.zeros(2 if lie else megabytes << 17))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("item/recall@2.npy", array.getvalue() + bytes(megabytes << 20 if lie else 0))
    content = buffer.getvalue()
    if not lie:
        return content
    real = (len(array.getvalue()) + (megabytes << 20)).to_bytes(4, "little")
    return content.replace(real, len(array.getvalue()).to_bytes(4, "little"))


def _of_case(folder: Path, name: str, params: dict[str, Any]) -> None:
    record = Record.model_validate_json(a_record(folder).read_bytes())
    key = hashlib.sha256(name.encode()).hexdigest()
    case = record.case.model_copy(update={"name": name, "params": params})
    Store(folder).add(
        record.model_copy(update={"id": f"{key[:16]}{record.id[16:]}", "key": key, "case": case}), SIDECAR
    )


def _with_seed(folder: Path, seed: int) -> None:
    Store(folder).add(record_of(folder / "baselines" / TASK / "mine.py", seed=seed), SIDECAR)


def _other_version(folder: Path) -> None:
    for path in folder.glob("records/*/*/*.json"):
        edit(path, '"version": 1', '"version": 2')
    sign(folder, version=2)


def _rename(folder: Path, row: str) -> None:
    edit(folder / "baselines" / TASK / "mine.py", '"mine": {}', f'"{row}": {{}}')


def _header(text: bytes) -> bytes:
    """A sidecar with an array whose header is this text, which numpy reads as a literal."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        text = text.ljust(117) + b"\n"
        archive.writestr("item/recall@2.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)
    return buffer.getvalue()


SPOILED: dict[str, tuple[Spoil, str]] = {
    "the score is edited": (_edit_record('"value": 0.5', '"value": 0.9'), "its digest is another"),
    "the source is edited": (_write(f"baselines/{TASK}/shared_words.py"), "its digest is another"),
    "the sidecar is another": (_swap_sidecars, "its digest is another"),
    "the manifest is no JSON": (_write(MANIFEST, b"{"), "no JSON"),
    "the manifest is missing": (lambda folder: (folder / MANIFEST).unlink(), "holds no submission.json"),
    "the manifest has a key twice": (lambda f: edit(f / MANIFEST, '"rows"', '"rows": [], "rows"'), "twice"),
    "the manifest has a key too many": (lambda f: edit(f / MANIFEST, '"rows"', '"more": [], "rows"'), "more"),
    "the manifest names a path that leaves": (
        lambda f: edit(f / MANIFEST, f'"baselines/{TASK}/mine.py":', '"../../evil.py":'), "leaves"),
    "the manifest names an absolute path": (
        lambda f: edit(f / MANIFEST, f'"baselines/{TASK}/mine.py":', '"/etc/evil.py":'), "absolute"),
    "a file is missing": (lambda folder: (folder / f"baselines/{TASK}/shared_words.py").unlink(), "is missing"),
    "a file is too many": (_write("records/more.json"), "is not named"),
    "compiled code lies beside": (_write(f"baselines/{TASK}/__pycache__/mine.cpython-311.pyc"), "delete __pycache__"),
    "a name starts with a dot": (_write(".git/config"), "no name that is read"),
    "a name is not ASCII": (_write("records/\u202eevil.json"), "no name that is read"),
    "a name is not UTF-8": (lambda f: (f / os.fsdecode(b"\xff.json")).touch(), "no name that is read"),
    "a file is a symbolic link": (lambda f: (f / "x.json").symlink_to("/etc/passwd"), "symbolic link"),
    "a folder is a symbolic link": (lambda f: (f / "more").symlink_to("/etc"), "symbolic link"),
    "a file is a hard link": (lambda f: os.link(f / MANIFEST, f / "x.json"), "hard link"),
    "a file is a pipe": (lambda f: os.mkfifo(f / "x.json"), "device, pipe"),
    "a file is very large": (_write(f"baselines/{TASK}/mine.py", bytes(2 << 20)), "larger than"),
}  # fmt: skip
FORGED: dict[str, tuple[Spoil, str]] = {
    "a record is no JSON": (_edit_record("{", ""), "no JSON"),
    "a record holds a key twice": (_edit_record('"seed": 0', '"seed": 0, "seed": 0'), "twice"),
    "a record holds a key twice below": (_edit_record('"main": true', '"main": true, "main": true'), "twice"),
    "a record holds NaN": (_edit_record('"value": 0.5', '"value": NaN'), "NaN"),
    "a record holds infinity": (_edit_record('"value": 0.5', '"value": 1e999'), "too large"),
    "a number is a text": (_edit_record('"seed": 0', '"seed": "0"'), "seed"),
    "a truth value is a number": (_edit_record('"main": true', '"main": 1'), "main"),
    "a number has a thousand digits": (_edit_record('"seed": 0', '"seed": ' + "9" * 5000), "too large"),
    "values are nested": (_edit_record('"notes": []', '"notes": ' + "[" * 100_000 + "]" * 100_000), "nested"),
    "half of a surrogate pair": (_edit_record('"reason": ""', '"reason": "\\ud800"'), "surrogate"),
    "a record is of another row": (_edit_record('"name": "mine"', '"name": "bm25"'), "no file here declares"),
    "a record is of another task": (_edit_record(f'"name": "{TASK}"', '"name": "hnsw"'), "no file here declares"),
    "a record is of another version": (_edit_record('"version": 1', '"version": 2'), "names another"),
    "a record is of another file": (_edit_record('"file": "mine.py"', '"file": "bm25.py"'), "another file"),
    "a record's score is better when lower": (
        _edit_record('"higher_is_better": true', '"higher_is_better": false'), "another higher_is_better"),
    "a record's score has another best": (_edit_record('"best": 1.0', '"best": 0.5'), "another best"),
    "a record's score ranks no more": (_edit_record('"main": true', '"main": false'), "another main"),
    "a record's score has a gate": (_edit_record('"gate": null', '"gate": 0.25'), "another gate"),
    "a record's score has another unit": (_edit_record('"unit": ""', '"unit": "%"'), "another unit"),
    "a record's score has a name for the rest": (_edit_record('"below": ""', '"below": "bad"'), "another below"),
    "a record's score is a free one that ranks": (
        _edit_record('"name": "recall@2"', '"name": "recall@3"'), "another best"),
    "a record's case has other parameters": (_edit_record('"documents": 46', '"documents": 3'), "other parameters"),
    "a record's case is nobody's": (_edit_record('"name": "46-dense"', '"name": "46-easy"'), "neither declares"),
    "a record's case was not asked for": (
        lambda f: _of_case(f, "critical-5", {"kind": "critical", "n": 5, "draws": 20}), "neither declares"),
    "a record's case is of own data": (
        lambda f: _of_case(f, "mine", {"kind": "folder", "path": "/data/mine"}), "data on one machine"),
    "a record's case is within another": (_edit_record('"within": ""', '"within": "50k-dense"'), "within"),
    "a draw is left out": (lambda f: _with_seed(f, 2), "are not 0, 1, 2"),
    "the first draw is another": (_edit_record('"seed": 0', '"seed": 1'), "are not 0, 1, 2"),
    "a cell was killed": (_edit_record('"status": "ok"', '"status": "killed"'), "no finished record"),
    "a variant has no records": (
        lambda f: edit(f / "baselines" / TASK / "mine.py", '"mine": {}', '"mine": {}, "third": {}'), "run it again"),
    "the task is of another version": (_other_version, "which is at 1 here"),
    "a row is ours": (lambda f: _rename(f, "bm25"), "which bm25.py has here"),
    "a row is ours in capitals": (lambda f: _rename(f, "BM25"), "which bm25.py has here"),
    "a row is the control": (lambda f: _rename(f, "random"), "is a control"),
    "a row is the ceiling": (lambda f: _rename(f, "Oracle"), "is a control"),
    "a row's name is not shown": (lambda f: _rename(f, "bm25 "), "no name that is shown"),
    "a record has other parameters": (_edit_record('"weight": 1.5', '"weight": 9.5'), "other parameters"),
    "a record has another name": (_edit_record('-00000000"', '-00000001"'), "another name"),
    "a record is there twice": (_duplicate, "same cell"),
    "the source was changed afterwards": (
        lambda f: edit(f / "baselines" / TASK / "mine.py", "Words", "More words"), "run it again"),
    "a neighbour was changed afterwards": (
        lambda f: edit(f / "baselines" / TASK / "shared_words.py", "split()", "split(' ')"), "run it again"),
    "the source is no Python": (_write(f"baselines/{TASK}/mine.py", b"def ("), "syntax error"),
    "the source nests without end": (
        _write(f"baselines/{TASK}/mine.py", b"x = " + b"-" * 200_000 + b"1"), "mine.py"),
    "the source imports what lies above everything": (
        _write(f"baselines/{TASK}/mine.py", METHOD.encode() + b"from " + b"." * 60 + b"x import y\n"), "mine.py"),
    "the environment is another": (
        lambda f: edit(next(f.glob("environments/*")), "some", "other"), "does not hold the environment"),
    "the environment is missing": (lambda f: next(f.glob("environments/*")).unlink(), "environment that is not there"),
    "an environment is nobody's": (_write(f"environments/{'c' * 16}.json", b"{}"), "belongs to no record"),
    "a sidecar is missing": (lambda f: a_record(f).with_suffix(".npz").unlink(), "is missing"),
    "a sidecar is nobody's": (_write("records/limit.retrieval/mine/0-T-0.npz", SIDECAR), "belongs to no record"),
    "a file has no place": (_write("notes/readme.md"), "has no place"),
    "a sidecar is a pickle": (
        _replace_sidecar(npz(**{"item/recall@2": np.array([{"x": 1}], dtype=object)})), "no pickle"),
    "a sidecar is a bare pickle": (_replace_sidecar(b"\x80\x04N."), "does not end as a zip file"),
    "a sidecar's array leaves": (_replace_sidecar(_renamed_array("../evil.npy")), "only item/NAME.npy"),
    "a sidecar's array leaves from below": (_replace_sidecar(_renamed_array("item/../../evil.npy")), "only item"),
    "a sidecar's array is absolute": (_replace_sidecar(_renamed_array("/item/evil.npy")), "only item/NAME.npy"),
    "a sidecar is a bomb": (_replace_sidecar(_bomb(80)), "64 MiB"),
    "a sidecar is a bomb that lies": (_replace_sidecar(_bomb(4, lie=True)), ".npz"),
    "a sidecar is encrypted": (_replace_sidecar(_encrypted(SIDECAR)), "encrypted"),
    "a sidecar's header does not close": (_replace_sidecar(_header(b"{(")), "no literal"),
    "a sidecar's header is indented": (_replace_sidecar(_header(b"  {\n 1\n   2")), ".npz"),
    "a sidecar's header nests": (_replace_sidecar(_header(b"(" * 110)), ".npz"),
    "a stream has too many samples": (
        _replace_sidecar(npz(**{"latency/query": np.zeros(1_000_001, np.int64)})), "1000000 are read"),
    "a sidecar's array has two dimensions": (
        _replace_sidecar(npz(**{"item/recall@2": np.zeros((2, 1))})), "shape"),
}  # fmt: skip


@pytest.mark.parametrize("what", SPOILED)
def test_a_spoiled_folder_is_refused(folder: Path, what: str) -> None:
    spoil, words = SPOILED[what]
    spoil(folder)
    assert words in refusal(folder)


@pytest.mark.parametrize("what", FORGED)
def test_a_forged_folder_whose_digests_fit_is_refused(folder: Path, what: str) -> None:
    spoil, words = FORGED[what]
    spoil(folder)
    sign(folder, version=2 if "task is of another" in what else 1)
    assert words in refusal(folder)


def test_arrays_that_are_too_large_together_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "MAX_NUMBERS", 8 * 9)  # two sidecars of five numbers, which are one too many
    assert "holds arrays of more than" in refusal(folder)
    monkeypatch.setattr(opening, "MAX_NUMBERS", 8 * 10)
    with open_submission(folder) as submission:
        assert len(submission.store.load()[0]) == 2


def test_all_cells_of_the_scale_must_be_there(folder: Path) -> None:
    edit(folder / MANIFEST, '"smoke"', '"standard"')
    assert "cells of limit/retrieval at scale standard have no finished record" in refusal(folder)


def test_more_draws_than_the_scale_asks_for_are_taken_as_a_range(folder: Path) -> None:
    for seed in (1, 2):
        _with_seed(folder, seed)
    sign(folder)
    with open_submission(folder) as submission:
        assert len(submission.store.load()[0]) == 4


def test_an_installed_file_is_taken_as_it_is_and_in_another_text_with_a_higher_version() -> None:
    task = load_registry().tasks[TASK]
    own = next(row for row in load_registry().rows(task) if row.name == "bm25")
    assert own.path is not None
    place = f"baselines/{TASK}/{own.path.name}"
    assert declared.taken(own, task, place) == ""
    assert "another name" in declared.taken(own, task, f"baselines/{TASK}/other.py")
    changed = replace(own, more_sources=(Path(__file__),))
    assert f"say version = {own.version + 1}" in declared.taken(changed, task, place)
    assert declared.taken(replace(changed, version=own.version + 1), task, place) == ""


def test_a_device_is_refused(folder: Path) -> None:
    try:
        os.mknod(folder / "x.json", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("making a device needs root")
    assert "device" in refusal(folder)


def test_a_link_to_a_submission_is_refused(folder: Path) -> None:
    link = folder.parent / "link"
    link.symlink_to(folder)
    assert "symbolic link" in refusal(link)


def test_what_is_no_submission_is_refused(folder: Path) -> None:
    assert "No such file" in refusal(folder / "absent")
    assert "neither a folder" in refusal(folder / MANIFEST)
    shutil.rmtree(folder)
    folder.mkdir()
    assert "holds no submission.json" in refusal(folder)


def _zip_with(folder: Path, **members: bytes) -> Path:
    path = zipped(folder, folder.parent / "sent.zip")
    with zipfile.ZipFile(path, "a") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize(
    "name",
    ["../evil.txt", "/evil.txt", "a/../../evil.txt", "..\\evil.txt", "\\evil.txt", "C:\\evil.txt", "a//evil.txt",
     "./../evil.txt", "evil\n.txt", "\x1b[31mevil"],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_an_archive_whose_member_leaves_is_refused_and_writes_nothing(folder: Path, name: str, kind: str) -> None:
    if kind == "zip":
        path = _zip_with(folder, **{name: b"evil"})
    else:
        path = tarred(folder, folder.parent / "sent.tar")
        with tarfile.open(path, "a") as archive:
            member = tarfile.TarInfo(name)
            member.size = 4
            archive.addfile(member, io.BytesIO(b"evil"))
    refusal(path)
    assert not [p for p in folder.parent.rglob("*evil*")]


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE],
)
def test_a_tar_file_with_a_link_or_a_device_is_refused(folder: Path, kind: bytes) -> None:
    path = tarred(folder, folder.parent / "sent.tar")
    with tarfile.open(path, "a") as archive:
        member = tarfile.TarInfo("more.json")
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    assert "only files are read" in refusal(path) or kind == tarfile.GNUTYPE_SPARSE


def test_a_zip_file_with_a_link_is_refused(folder: Path) -> None:
    path = zipped(folder, folder.parent / "sent.zip")
    with zipfile.ZipFile(path, "a") as archive:
        member = zipfile.ZipInfo("more.json")
        member.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(member, "/etc/passwd")
    assert "a link or a device" in refusal(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_zip_file_with_a_member_twice_or_in_other_capitals_is_refused(folder: Path) -> None:
    assert "twice" in refusal(_zip_with(folder, **{MANIFEST: b"{}"}))
    assert "twice" in refusal(_zip_with(folder, **{MANIFEST.upper(): b"{}"}))


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_an_archive_that_is_a_bomb_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(unpack, "MAX_BYTES", 4 << 20)  # the same gate, with less to pack
    _write("more.json", bytes(8 << 20))(folder)
    make = zipped if kind == "zip" else tarred
    path = make(folder, folder.parent / f"sent.{kind}")
    assert path.stat().st_size < 100_000
    assert "unpacks to more than 4 MiB" in refusal(path)


def test_a_zip_file_that_lies_about_sizes_is_refused(folder: Path) -> None:
    path = _zip_with(folder, **{"more.json": bytes(3_333_333)})
    content = path.read_bytes()
    path.write_bytes(content.replace((3_333_333).to_bytes(4, "little"), (33).to_bytes(4, "little")))
    assert "archive" in refusal(path) or "larger than it says" in refusal(path)


def test_too_many_files_are_refused_before_they_are_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "MAX_FILES", 5)
    assert "more than 5 files" in refusal(zipped(folder, folder.parent / "sent.zip"))
    assert "more than 5 files" in refusal(tarred(folder, folder.parent / "sent.tar"))


def test_a_truncated_archive_is_refused_wherever_it_ends(folder: Path) -> None:
    for name in ("sent.zip", "sent.tar.gz"):
        path = (zipped if name.endswith("zip") else tarred)(folder, folder.parent / name)
        whole = path.read_bytes()
        for end in range(0, len(whole) * 9 // 10, len(whole) // 20):  # a tar file ends in zeros
            path.write_bytes(whole[:end])
            refusal(path)


WRONG = (None, True, -1, 10**400, 1.5, "x", "", [], {}, [1, 2], {"a": 1}, -0.0, 1e308, "9" * 100, "\x00", "\ud800")


def _mutate(rng: random.Random, text: bytes) -> bytes:
    """One of: bytes flipped, deleted, inserted, repeated; a JSON value of another kind; a key renamed; nesting; NaN."""
    kind = rng.randrange(8)
    if kind < 4:
        place, width = rng.randrange(len(text)), rng.choice((1, 1, 2, 20))
        piece = {0: rng.randbytes(width), 1: b"", 2: text[place : place + width] + rng.randbytes(width),
                 3: text[place : place + 200] * 2}[kind]  # fmt: skip
        return text[:place] + piece + text[place + (200 if kind == 3 else width) :]
    if kind == 4:
        values = [m.span() for m in re.finditer(rb'(?<=: )(?:-?\d[\d.e+-]*|"[^"]*"|true|false|null)', text)]
        a, b = rng.choice(values)
        odd = (b"NaN", b"-Infinity", b"1e999", b"[" * 5_000, b"9" * 5_000, b'"\\ud800"', b"\xff", b"0x1", b"01")
        return text[:a] + rng.choice(odd) + text[b:]
    value = json.loads(text)
    at, keys = value, [*value]
    while True:
        key = rng.choice(keys)
        below = at[key]
        if not isinstance(below, dict | list) or not below or rng.random() < 0.3:
            break
        at, keys = below, [*below] if isinstance(below, dict) else list(range(len(below)))
    if kind == 5 and isinstance(at, dict):
        at[key + rng.choice(("x", "\u202e", "__"))] = at.pop(key)
    elif kind == 6 and isinstance(at, dict):
        del at[key]
    else:
        at[key] = rng.choice(WRONG)
    try:
        return json.dumps(value, indent=1).encode()
    except ValueError:
        return text[:-3]


def test_ten_thousand_mutated_records_are_each_refused_with_a_sentence_or_mean_the_same(folder: Path) -> None:
    """With digests made to fit; what is let pass is a valid record, and all that a reader sees of the row's identity is
    unchanged. Without, the digest alone refuses every one."""
    path = a_record(folder)
    name, text = path.relative_to(folder).as_posix(), path.read_bytes()
    with open_submission(folder) as submission:
        manifest = submission.manifest
        named = dict(zip(manifest.baselines, submission.baselines, strict=True))
        rows = declared.declared_rows(submission.root, named, manifest.tasks)
        assert all(row.source_digest for row in rows.values())  # read while the files are there
    rng, refused = random.Random(6), 0
    for _ in range(10_000):
        mutated = _mutate(rng, text)
        if mutated == text:
            continue
        assert opening.digest_of(mutated) != manifest.files[name]
        try:
            record = opening._record(name, mutated)
            opening._fits(name, record, manifest, rows)
        except strict.Refused as error:
            refused += 1
            assert str(error).isprintable() and str(error).isascii() and 10 < len(str(error)) < 400
        else:
            assert Record.model_validate_json(record.to_json()) == record
            assert (record.id, record.baseline.name, record.task.name) == (path.stem, "mine", TASK)
    assert refused > 7_000
    path.write_bytes(mutated)
    assert "its digest is another" in refusal(folder)


def test_two_thousand_mutated_sidecars_are_refused_or_hold_numbers(folder: Path) -> None:
    rng, refused = random.Random(7), 0
    for _ in range(2_000):
        mutated = bytearray(SIDECAR)
        for _ in range(rng.choice((1, 2, 8))):
            mutated[rng.randrange(len(mutated))] = rng.randrange(256)
        try:
            arrays = strict.read_arrays(bytes(mutated[: rng.choice((None, None, rng.randrange(len(mutated))))]))
        except strict.Refused as error:
            refused += 1
            assert str(error).isprintable() and str(error).isascii()
        else:
            assert all(np.dtype(dtype).kind in "iuf" for _, dtype in arrays.values())
    assert refused > 1_000
