"""Bad input gets a sentence that says what was wrong and what to type next, exit code 2, and no traceback."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

BAD_WORDS = [
    (["run", "--task", "limt"], "did you mean 'limit'"),
    (["run", "--task", ""], "harness list tasks"),
    (["run", "--task", "limit", "--baseline", "bm52"], "did you mean 'bm25'"),
    (["run", "--task", "limit", "--baseline", "mteb:"], "mteb:MODEL"),
    (["run", "--task", "limit", "--case", "46-dens"], "did you mean '46-dense'"),
    (["run", "--task", "limit", "--seeds", "0"], "--seeds"),
    (["run", "--task", "limit", "--seeds", "many"], "--seeds 5"),
    (["run", "--task", "limit", "--seeds", "-3,2"], "--seeds"),
    (["run", "--task", "limit", "--threads", "0"], "--threads 1"),
    (["run", "--task", "limit", "--jobs", "0"], "--jobs 1"),
    (["run", "--task", "limit", "--timeout", "-1"], "--timeout 900"),
    (["run", "--task", "limit", "--memory-limit", "much"], "--memory-limit 4G"),
    (["run", "--task", "limit", "--scale", "huge"], "standard"),
    (["run", "--task", "limit", "--baseline", "nowhere.py"], "no such baseline file"),
    (["run", "--task", "limit", "--data", "nowhere"], "nowhere"),
    (["show", "--task", "limt"], "did you mean 'limit'"),
    (["rerun", "feedbeef"], "no record"),
    (["frobnicate"], "frobnicate"),
]


@pytest.mark.parametrize(("words", "part"), BAD_WORDS, ids=lambda v: " ".join(v) if isinstance(v, list) else "")
def test_bad_words_are_answered_with_a_sentence(words: list[str], part: str, harness_cli) -> None:
    ran = harness_cli(*words)
    assert ran.code == 2, ran.out + ran.err
    assert part in ran.err
    assert "Traceback" not in ran.err
    assert not (ran.results / "records").exists()


FILES = {
    "syntax": ("class X(:\n", ":1: syntax error"),
    "empty": ("x = 1\n", "no baseline class found"),
    "two": (
        "from harness.tasks.limit.retrieval import Retriever\nclass A(Retriever): ...\nclass B(Retriever): ...\n",
        "one baseline class a file, found 2: A (line 2), B (line 3)",
    ),
    "variant": (
        "from harness.tasks.limit.retrieval import Retriever\nclass A(Retriever):\n    k: int = 1\n"
        "    variants = {'a': {'j': 2}}\n", "sets 'j', which is no parameter of A",
    ),
    "computed": (
        "from harness.tasks.limit.retrieval import Retriever\nclass A(Retriever):\n    k: int = len('abc')\n",
        "is not a literal",
    ),
    "not-a-tuple": (
        "from harness.tasks.limit.retrieval import Retriever\nclass A(Retriever):\n    requires = 'torch'\n",
        "must be a tuple",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_baseline_is_refused_with_its_line(name: str, harness_cli, tmp_path: Path) -> None:
    text, part = FILES[name]
    (tmp_path / f"{name}.py").write_text(text)
    ran = harness_cli("run", "--task", "limit", "--baseline", tmp_path / f"{name}.py")
    assert ran.code == 2
    assert part in ran.err
    assert f"{name}.py" in ran.err


def test_a_results_folder_that_is_a_file(harness_cli, smoke, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ran = harness_cli(*smoke, "--baseline", "oracle", "--results", tmp_path / "file")
    assert ran.code == 2
    assert "is a file" in ran.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_results_folder_that_is_read_only(harness_cli, smoke, tmp_path: Path) -> None:
    (tmp_path / "fixed").mkdir(mode=0o555)
    ran = harness_cli(*smoke, "--baseline", "oracle", "--results", tmp_path / "fixed")
    assert ran.code == 2
    assert "cannot be written" in ran.err


@pytest.mark.skipif(not Path("/dev/full").exists() or os.geteuid() != 0, reason="needs root to mount a tiny disk")
def test_a_full_disk_ends_the_run_with_a_sentence_and_keeps_what_is_there(method, harness_cli, smoke, tmp_path) -> None:
    import subprocess

    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48k", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("tmpfs cannot be mounted here")
    try:
        rows = [method(f"m{i}", "") for i in range(6)]
        ran = harness_cli(*smoke, "--baseline", *rows, "--results", disk)
        assert ran.code == 2
        assert "no space left" in ran.err
        assert "Traceback" not in ran.err
        kept = harness_cli("show", "--results", disk, "--format", "csv")
        assert kept.code == 0
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_nothing_matched_has_its_own_exit_code(method, harness_cli) -> None:
    path = method("plain", "")
    ran = harness_cli(
        "run", "--task", "limit/retrieval", "--baseline", path, "--case", "limit-small", "--scale", "smoke"
    )
    assert ran.code == 3
    assert "--scale full" in ran.err


CORPUS = '{"_id": "a", "title": "", "text": "A likes Tea."}\n{"_id": "b", "title": "", "text": "B likes Ham."}\n'
QUERIES = '{"_id": "q", "text": "Who likes Tea?"}\n'
QRELS = '{"query-id": "q", "corpus-id": "a", "score": 1}\n'
BAD_DATA = {
    "a field is missing": (CORPUS + '{"_id": "c"}\n', QUERIES, QRELS, "corpus.jsonl"),
    "an id is there twice": (CORPUS + CORPUS, QUERIES, QRELS, "corpus.jsonl"),
    "a text is empty": (CORPUS + '{"_id": "c", "text": ""}\n', QUERIES, QRELS, "corpus.jsonl"),
    "wrong encoding": (CORPUS.encode() + b'{"_id": "c", "text": "\xff"}\n', QUERIES, QRELS, "corpus.jsonl"),
    "no JSON": (CORPUS + "hello\n", QUERIES, QRELS, "corpus.jsonl"),
    "an unknown document": (CORPUS, QUERIES, QRELS.replace('"a"', '"z"'), "qrels.jsonl"),
}


@pytest.mark.parametrize("name", BAD_DATA)
def test_bad_data_is_refused_before_anything_runs(name: str, harness_cli, tmp_path: Path) -> None:
    *files, part = BAD_DATA[name]
    folder = tmp_path / "data"
    folder.mkdir()
    for file, content in zip(("corpus", "queries", "qrels"), files, strict=True):
        raw = content if isinstance(content, bytes) else content.encode()
        (folder / f"{file}.jsonl").write_bytes(raw)
    ran = harness_cli("run", "--task", "limit/retrieval", "--data", folder, "--baseline", "oracle")
    assert ran.code == 2, ran.out
    assert part in ran.err
    assert "Traceback" not in ran.err
