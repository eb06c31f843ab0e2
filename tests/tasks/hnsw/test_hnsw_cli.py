"""The `hnsw` task as a user meets it: their own vectors, bad ones too, and the same build twice."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

INDEXES = ["faiss-hnsw", "usearch", "voyager", "exact", "random", "oracle"]


def _save(folder: Path, name: str, array: np.ndarray) -> str:
    np.save(folder / name, array)
    return name


@pytest.fixture
def vectors(tmp_path: Path) -> str:
    rng = np.random.default_rng(0)
    return _save(tmp_path, "vectors.npy", rng.standard_normal((700, 12)).astype(np.float16))


def test_own_vectors_give_a_table_rankings_and_what_an_order_costs(harness_cli, vectors: str, tmp_path: Path) -> None:
    ran = harness_cli("run", "--task", "hnsw", "--data", vectors, "--metric", "cosine", "--threads", "1", "--baseline",
                      *INDEXES)  # fmt: skip
    assert ran.code == 0, ran.err
    (name,) = {r.case.name for r in ran.records["exact"]}
    assert name.startswith("vectors.npy-")
    first = [r for r in ran.records["faiss-hnsw"] if r.case.name == name]
    assert len(first) == 5 and first[0].case.about["metric"] == "cosine" and first[0].case.about["n"] == 630
    assert {r.case.name for r in ran.records["usearch"]} == {name, *(f"{name}-{o}" for o in ("asc", "random", "desc"))}
    (exact,) = [r for r in ran.records["exact"] if r.repeat == 0]
    assert exact.score("recall@10").value == 1.0
    assert "p95 latency at recall@10 of 0.95" in ran.out and "time a query, in a batch" in ran.out
    assert f"descending - ascending LID, {name}, effort 10" in ran.out
    shown = harness_cli("show", "--task", "hnsw", "--format", "json", "--results", str(ran.results))
    row = next(r for r in json.loads(shown.out) if (r["baseline"], r["case"]) == ("faiss-hnsw", name))
    assert {"query[10].p95_ns", "search[800].items_per_s", "build.delta_bytes"} <= set(row["costs"])
    assert {"recall@10[10]", "distances[800]"} <= set(row["scores"]) and row["processes"] == 5
    assert str(tmp_path) not in json.dumps([r.model_dump(mode="json") for rs in ran.records.values() for r in rs])


def test_the_same_build_twice_is_the_same_index_and_the_same_record(harness_cli) -> None:
    words = ["run", "--task", "hnsw", "--scale", "smoke", "--seeds", "1", "--threads", "1", "--force", "--baseline",
             "faiss-hnsw", "usearch", "voyager", "faiss-ivf-flat"]  # fmt: skip
    assert harness_cli(*words).code == 0
    ran = harness_cli(*words)
    assert len(ran.records) == 4
    for first, again in ran.records.values():
        assert any("SHA-256" in note for note in first.notes) and first.notes == again.notes
        assert first.scores == again.scores and first.key == again.key


@pytest.mark.parametrize(
    ("array", "more", "said"),
    [
        (np.full((50, 4), np.nan, np.float32), [], "row 1 holds NaN or infinity"),
        (np.r_[np.ones((49, 4)), [[np.inf, 0, 0, 0]]], [], "row 50 holds NaN or infinity"),
        (np.r_[np.ones((29, 4)), np.zeros((1, 4)), np.ones((20, 4))], ["--metric", "cosine"], "row 30"),
        (np.ones((9, 4), np.float32), [], "10"),
        (np.ones((5, 4, 3)), [], "3 dimensions"),
        (np.ones((50, 4)), ["--metric", "manhattan"], "manhattan"),
    ],
)
def test_unusable_vectors_are_refused_before_anything_runs(harness_cli, tmp_path: Path, array, more, said) -> None:
    name = _save(tmp_path, "bad.npy", array)
    ran = harness_cli("run", "--task", "hnsw", "--data", name, *more)
    assert ran.code == 2 and said in ran.err and "Traceback" not in ran.err
    assert not list(tmp_path.rglob("records/**/*.json"))


def test_files_of_one_name_are_different_cases(harness_cli, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        path = _save(tmp_path / folder, "v.npy", rng.standard_normal((60, 4)).astype(np.float32))
        ran = harness_cli("run", "--task", "hnsw", "--data", f"{folder}/{path}", "--baseline", "random", "--case",
                          "v.npy-??????")  # fmt: skip
        assert ran.code == 0, ran.err
    assert len({r.case.name for r in ran.records["random"] if r.case.params.get("timed")}) == 2


def test_stored_queries_are_left_out_and_counted(harness_cli, vectors: str, tmp_path: Path) -> None:
    stored = np.load(tmp_path / vectors)
    some = _save(tmp_path, "some.npy", np.concatenate([stored[:30], stored[:20] + 1]))
    ran = harness_cli("run", "--task", "hnsw", "--data", vectors, "--queries", some, "--baseline", "random", "--case",
                      "vectors.npy-??????")  # fmt: skip
    about = ran.records["random"][0].case.about
    assert (about["queries"], about["queries_left_out_as_stored"]) == (20, 30)
    none = harness_cli("run", "--task", "hnsw", "--data", vectors, "--queries", vectors)
    assert none.code == 2 and "every query is also a stored point" in none.err


def test_numbers_whose_squares_exceed_float32_are_refused(harness_cli, tmp_path: Path) -> None:
    name = _save(tmp_path, "huge.npy", np.random.default_rng(0).standard_normal((60, 4)) * 1e20)
    ran = harness_cli("run", "--task", "hnsw", "--data", name)
    assert ran.code == 2 and "exceed float32" in ran.err


def test_queries_of_another_model_are_refused(harness_cli, vectors: str, tmp_path: Path) -> None:
    other = _save(tmp_path, "queries.npy", np.ones((20, 5), np.float32))
    ran = harness_cli("run", "--task", "hnsw", "--data", vectors, "--queries", other)
    assert ran.code == 2 and "has 5 dimensions" in ran.err and "12" in ran.err


def test_a_truncated_file_is_named(harness_cli, vectors: str, tmp_path: Path) -> None:
    whole = (tmp_path / vectors).read_bytes()
    (tmp_path / "half.npy").write_bytes(whole[: len(whole) // 2])
    ran = harness_cli("run", "--task", "hnsw", "--data", "half.npy")
    assert ran.code == 2 and "half.npy: not a whole .npy file" in ran.err


def test_an_option_of_the_data_without_data_is_refused(harness_cli) -> None:
    ran = harness_cli("run", "--task", "hnsw", "--metric", "cosine")
    assert ran.code == 2 and "--data" in ran.err


def test_a_folder_of_texts_takes_no_metric(harness_cli, tmp_path: Path) -> None:
    ran = harness_cli("run", "--task", "limit/retrieval", "--data", str(tmp_path), "--metric", "ip")
    assert ran.code == 2 and "takes no --metric" in ran.err
