"""Collections from a folder or a data set: read as mteb reads them, and refused with a sentence that helps."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import DataError, MissingPackage
from harness.tasks.limit.retrieval.corpus import FILES, PINNED, from_splits, read_folder, read_hub

DOCUMENTS = [
    {"_id": "b", "title": "", "text": " Bea likes Tea. "},
    {"_id": "a", "title": "Title", "text": "Ann likes Tea and Rugs."},
    {"_id": "é", "text": "Éva likes Rugs."},
    {"_id": "B", "title": None, "text": "Ben likes nothing."},
]
QUERIES = [{"_id": "q2", "text": "Who likes Rugs?"}, {"_id": "q1", "text": "Who likes Tea?"}]
QRELS = [
    {"query-id": "q1", "corpus-id": "b", "score": 1},
    {"query-id": "q1", "corpus-id": "a", "score": 2},
    {"query-id": "q2", "corpus-id": "é", "score": 1},
    {"query-id": "q2", "corpus-id": "B", "score": 0},
]
Rows = list[dict[str, Any]]


def write(folder: Path, corpus: Rows = DOCUMENTS, queries: Rows = QUERIES, qrels: Rows = QRELS) -> Path:
    for name, rows in zip(FILES, (corpus, queries, qrels), strict=True):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def test_documents_are_sorted_by_id_and_judgments_follow(tmp_path: Path) -> None:
    corpus = read_folder(write(tmp_path))
    assert corpus.document_ids == ["B", "a", "b", "é"]
    assert corpus.query_ids == ["q2", "q1"]
    assert corpus.queries == ["Who likes Rugs?", "Who likes Tea?"]
    assert [corpus.relevant(i).tolist() for i in range(2)] == [[3], [1, 2]]
    assert corpus.relevant_indptr.tolist() == [0, 1, 3]
    assert corpus.relevance.tolist() == [1.0, 2.0, 1.0]
    assert corpus.dropped_queries == 0


def test_a_title_stands_before_the_text_and_space_around_is_removed(tmp_path: Path) -> None:
    corpus = read_folder(write(tmp_path, [*DOCUMENTS, {"_id": "t", "title": "Only a title", "text": ""}]))
    assert dict(zip(corpus.document_ids, corpus.documents, strict=True)) == {
        "a": "Title Ann likes Tea and Rugs.",
        "b": "Bea likes Tea.",
        "é": "Éva likes Rugs.",
        "B": "Ben likes nothing.",
        "t": "Only a title",
    }


def test_queries_without_a_relevant_document_are_dropped_and_counted(tmp_path: Path) -> None:
    queries = [*QUERIES, {"_id": "q3", "text": "never judged"}, {"_id": "q4", "text": "judged irrelevant"}]
    corpus = read_folder(write(tmp_path, queries=queries, qrels=[*QRELS, {**QRELS[3], "query-id": "q4"}]))
    assert corpus.query_ids == ["q2", "q1"]
    assert corpus.dropped_queries == 2


def test_the_digest_depends_on_content_and_not_on_the_order_of_documents_or_judgments(tmp_path: Path) -> None:
    digest = read_folder(write(tmp_path)).digest()
    assert read_folder(write(tmp_path, DOCUMENTS[::-1], QUERIES, QRELS[::-1])).digest() == digest
    changed = [
        read_folder(write(tmp_path, [{**DOCUMENTS[0], "text": "Bea likes tea."}, *DOCUMENTS[1:]])).digest(),
        read_folder(write(tmp_path, queries=QUERIES[::-1])).digest(),
        read_folder(write(tmp_path, qrels=QRELS[1:])).digest(),
        read_folder(write(tmp_path, qrels=[{**QRELS[0], "score": 3}, *QRELS[1:]])).digest(),
    ]
    assert len({digest, *changed}) == 5


def test_the_digest_is_the_same_on_every_platform(tmp_path: Path) -> None:
    expected = "3e800d643984a21b15785a7ec96c8b66c4ee364add66fb72332af309354018d6"
    assert read_folder(write(tmp_path)).digest() == expected


def test_blank_lines_windows_line_ends_and_a_byte_order_mark_do_no_harm(tmp_path: Path) -> None:
    digest = read_folder(write(tmp_path)).digest()
    for name in FILES:
        text = (tmp_path / name).read_text(encoding="utf-8")
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n\r\n").encode())
    assert read_folder(tmp_path).digest() == digest


def bad(**rows: Rows) -> Callable[[Path], object]:
    return lambda folder: write(folder, **rows)


def raw(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


A = DOCUMENTS[0]
GOOD = json.dumps(A).encode() + b"\n"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "qrels.jsonl").unlink(), r"holds no qrels\.jsonl: put corpus\.jsonl"),
        (raw("corpus.jsonl", b""), r"no documents.*at least one row"),
        (raw("queries.jsonl", b"\n\n"), r"no queries.*at least one row"),
        (raw("qrels.jsonl", b""), r"no judgments.*at least one row"),
        (raw("corpus.jsonl", GOOD + b'{"_id": "x", "text": \n'), r"corpus\.jsonl, line 2: not JSON.*one JSON object"),
        (raw("corpus.jsonl", GOOD + b"[1]\n"), r"corpus\.jsonl, line 2: holds a JSON list"),
        (raw("corpus.jsonl", GOOD + "Café".encode("latin-1")), r"corpus\.jsonl, line 2: byte 4 is not UTF-8.*iconv"),
        (raw("corpus.jsonl", GOOD.decode().encode("utf-16")), r"corpus\.jsonl, line 1: byte 1 is not UTF-8"),
        (raw("corpus.jsonl", b"[" * 100_000), r"corpus\.jsonl, line 1: not usable JSON"),
        (raw("qrels.jsonl", b'{"query-id": "q1", "corpus-id": "a", "score": NaN}'), r"'score' must be a finite number"),
        (bad(corpus=[{"_id": "x"}]), r"corpus\.jsonl, line 1: the field 'text' is missing \(present: '_id'\): add it"),
        (bad(corpus=[{"text": "x"}]), r"line 1: the field '_id' is missing"),
        (bad(corpus=[A, {"_id": 7, "text": "x"}]), r"line 2: '_id' must be text, got int 7: put it in double quotes"),
        (bad(corpus=[A, {"_id": "x", "text": None}]), r"line 2: 'text' must be text, got NoneType"),
        (bad(corpus=[A, {"_id": "x", "title": ["y"], "text": "z"}]), r"line 2: 'title' must be text, got list"),
        (bad(corpus=[A, {"_id": "x", "text": "  "}]), r"line 2: 'text' is empty: fill it in or remove the row"),
        (bad(corpus=[A, {"_id": "", "text": "x"}]), r"line 2: '_id' is empty"),
        (bad(corpus=[*DOCUMENTS, A]), r"line 5: the id 'b' is already at .*corpus\.jsonl, line 1: give each row"),
        (bad(corpus=[A, {"_id": "x", "text": "\ud800"}]), r"line 2: 'text' holds half of a surrogate pair"),
        (bad(queries=[{"_id": "q1", "text": ""}]), r"queries\.jsonl, line 1: 'text' is empty"),
        (bad(queries=[QUERIES[0], QUERIES[0]]), r"queries\.jsonl, line 2: the id 'q2' is already at"),
        (bad(qrels=[{**QRELS[0], "corpus-id": "zz"}]), r"qrels\.jsonl, line 1: names an unknown document 'zz': add"),
        (bad(qrels=[{**QRELS[0], "query-id": "zz"}]), r"qrels\.jsonl, line 1: names an unknown query 'zz'"),
        (bad(qrels=[QRELS[0], QRELS[0]]), r"line 2: judges document 'b' for query 'q1' a second time: keep one"),
        (bad(qrels=[{**QRELS[0], "score": "1"}]), r"'score' must be a finite number, got '1'"),
        (bad(qrels=[{**QRELS[0], "score": True}]), r"'score' must be a finite number, got True"),
        (bad(qrels=[{"query-id": "q1", "corpus-id": "a"}]), r"'score' must be a finite number, got None"),
        (bad(qrels=[QRELS[3]]), r"no query has a relevant document"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_place_and_remedy(
    tmp_path: Path, spoil: Callable[[Path], object], message: str
) -> None:
    write(tmp_path)
    spoil(tmp_path)
    with pytest.raises(DataError, match=message):
        read_folder(tmp_path)


def test_a_path_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere does not exist: name a folder that holds corpus\.jsonl"):
        read_folder(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file is not a folder"):
        read_folder(str(tmp_path / "file"))


def test_a_folder_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    (write(tmp_path) / "corpus.jsonl").unlink()
    (tmp_path / "corpus.jsonl").mkdir()
    with pytest.raises(DataError, match=r"corpus\.jsonl cannot be read: Is a directory"):
        read_folder(tmp_path)


def test_a_data_set_in_the_published_layout_reads_like_the_folder(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    repository = tmp_path / "set"
    repository.mkdir()
    write(repository, [{"title": "", **row, "text": row["text"]} for row in DOCUMENTS])
    layout = (("corpus", "corpus"), ("queries", "queries"), ("default", "test"))
    configs = "".join(
        f"- config_name: {config}\n  data_files:\n  - split: {split}\n    path: {name}\n"
        for (config, split), name in zip(layout, FILES, strict=True)
    )
    (repository / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    script = (
        "import sys; from harness.tasks.limit.retrieval.corpus import read_hub\n"
        "print(read_hub(sys.argv[1], 'main').digest())"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, str(repository)], capture_output=True, text=True, check=False,
        env={**offline(tmp_path)},
    )  # fmt: skip
    assert run.stdout.strip() == read_folder(repository).digest(), run.stderr


def test_splits_are_converted_like_files_and_errors_name_the_row(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    queries, qrels = ({"test": datasets.Dataset.from_list(rows)} for rows in (QUERIES, QRELS))
    corpus = {"corpus": datasets.Dataset.from_list([{"title": "", **row} for row in DOCUMENTS])}
    assert from_splits(corpus, queries, qrels, "me/set").digest() == read_folder(write(tmp_path)).digest()
    broken = {"train": qrels["test"], "test": datasets.Dataset.from_list([{**QRELS[0], "corpus-id": "?"}])}
    with pytest.raises(DataError, match=r"me/set, default/test, row 1: names an unknown document '\?'"):
        from_splits(corpus, queries, broken, "me/set")
    with pytest.raises(DataError, match=r"me/set, queries: has the splits one, two, but 'test' is needed"):
        from_splits(corpus, {"one": [], "two": []}, qrels, "me/set")


def test_offline_says_how_to_get_the_files_by_hand(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    script = (
        "from harness.tasks.limit.retrieval.corpus import PINNED, read_hub\n"
        "from harness.errors import MissingPackage\n"
        "try: read_hub('orionweller/LIMIT', PINNED['orionweller/LIMIT'])\n"
        "except MissingPackage as error: print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False,
                         env=offline(tmp_path))  # fmt: skip
    assert "cannot fetch orionweller/LIMIT at 48142cc741b0" in run.stdout, run.stderr
    assert "put corpus.jsonl, queries.jsonl, qrels.jsonl from data/limit of google-deepmind/limit" in run.stdout
    assert "`--data DIR`" in run.stdout


def offline(home: Path) -> dict[str, str]:
    """An environment without network for the hub's client, and an empty cache."""
    return {"HF_HUB_OFFLINE": "1", "HF_HOME": str(home / "hf"), "HOME": str(home), "PATH": "/usr/bin:/bin"}


def test_a_missing_package_is_named_with_its_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingPackage, match=r"pip install 'limits-harness\[limit\]'; or put .* data/limit-small of"):
        read_hub("orionweller/LIMIT-small", PINNED["orionweller/LIMIT-small"])
