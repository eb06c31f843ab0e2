"""The user's own vectors: read in blocks where they are many, refused by name and place where they are wrong."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from harness.data import VectorFile
from harness.errors import DataError, Unsupported
from harness.tasks.compression.vectors import own
from harness.tasks.compression.vectors.own import own_cases, read_collection, read_qrels
from harness.tasks.compression.vectors.search import nearest_in_blocks
from harness.tasks.compression.vectors.task import ndcg
from harness.tasks.hnsw.exact import nearest

RNG = np.random.default_rng(0)
BASE = RNG.standard_normal((300, 6)).astype(np.float32)
QUERIES = RNG.standard_normal((15, 6)).astype(np.float32)


def saved(path: Path, array: np.ndarray) -> str:
    np.save(path, array)
    return str(path)


def parquet(path: Path, vectors: np.ndarray, rows: int = 64) -> str:
    pyarrow, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    column = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(vectors.ravel()), vectors.shape[1])
    pq.write_table(pyarrow.table({"v": column}), path, row_group_size=rows)
    return f"{path}:v"


def read(path: str, queries: str | None = None, qrels: str | None = None, metric: str = "l2", *, cache: Path):
    return read_collection(path, queries, qrels, metric, cache)


def test_a_tenth_is_held_out_and_never_stored(tmp_path: Path) -> None:
    data = read(saved(tmp_path / "a.npy", BASE), cache=tmp_path)
    assert len(data.queries) == 30 and len(data.vectors) == 270 and data.total == 270
    both = {row.tobytes() for row in data.vectors} & {row.tobytes() for row in data.queries}
    assert not both and data.about["queries_from"] == "held out"


def test_cosine_brings_vectors_and_queries_to_length_1(tmp_path: Path) -> None:
    data = read(saved(tmp_path / "a.npy", BASE), saved(tmp_path / "q.npy", QUERIES), metric="cosine", cache=tmp_path)
    assert np.allclose(np.linalg.norm(data.vectors, axis=1), 1) and np.allclose(np.linalg.norm(data.queries, axis=1), 1)


@pytest.mark.parametrize("form", ["0\t5\t2\n0\t7\t1\n3\t1\n", "query,vector,score\n0,5,2\n0,7,1\n3,1,1\n",
                                  "0 0 5 2\n0 0 7 1\n3 0 1 1\n3 0 2 0\n",
                                  '{"query": 0, "vector": 5, "score": 2}\n{"query-id": "0", "corpus-id": "7"}\n'
                                  '{"query": 3, "vector": 1}\n'])  # fmt: skip
def test_qrels_are_read_in_the_usual_forms(tmp_path: Path, form: str) -> None:
    (tmp_path / "qrels").write_text(form)
    relevant, answered = read_qrels(str(tmp_path / "qrels"), 15, 300)
    assert answered.tolist() == [0, 3]
    assert relevant[0][0].tolist() == [5, 7] and relevant[0][1].tolist() == [2, 1] and relevant[1][0].tolist() == [1]


def test_queries_that_nothing_answers_are_left_out_and_too_few_are_refused(tmp_path: Path) -> None:
    base, asked = saved(tmp_path / "a.npy", BASE), saved(tmp_path / "q.npy", QUERIES)
    (tmp_path / "qrels").write_text("".join(f"{q}\t{q}\n" for q in range(0, 15, 2)))
    data = read(base, asked, str(tmp_path / "qrels"), cache=tmp_path)
    assert (data.queries == QUERIES[::2]).all() and len(data.relevant or ()) == 8
    (tmp_path / "qrels").write_text("0\t5\n3\t1\n")
    with pytest.raises(DataError, match="answers 2 queries, at least 6 are needed"):
        read(base, asked, str(tmp_path / "qrels"), cache=tmp_path)
    with pytest.raises(DataError, match="has 5 queries, at least 6 are needed"):
        read(base, saved(tmp_path / "few.npy", QUERIES[:5]), cache=tmp_path)


def test_vectors_far_from_zero_are_told_apart_as_well_as_near_it(tmp_path: Path) -> None:
    near, asked = RNG.standard_normal((2000, 32)).astype(np.float32), RNG.standard_normal((50, 32)).astype(np.float32)
    truth = nearest(near + 1000, asked + 1000, 10, "l2")[0]
    found = nearest_in_blocks([(0, near + 1000)], asked + 1000, 10, "l2")
    assert np.mean([len(set(a) & set(b)) for a, b in zip(truth.tolist(), found.tolist(), strict=True)]) > 9.5


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("0\t300\n", "line 1: there is no vector 300: rows are numbered from 0 to 299"),
        ("0\t1\n15\t1\n", "line 2: there is no query 15"),
        ("0\t1\nzero\tone\n", "line 2: 'zero\\\\tone' is no judgment"),
        ("0\t1\tnan\n", "line 1: the score nan is no number"),
        ("0\t1\t0\n", "no vector answers any query"),
        ("", "no vector answers any query"),
    ],
)
def test_a_wrong_judgment_is_named_with_its_line(tmp_path: Path, form: str, said: str) -> None:
    (tmp_path / "qrels.tsv").write_text(form)
    with pytest.raises(DataError, match=said):
        read_qrels(str(tmp_path / "qrels.tsv"), 15, 300)


@pytest.mark.parametrize(
    ("vectors", "options", "said"),
    [
        (BASE[:1], {}, "has 1 vector, at least 10 must be stored and 6 held out"),
        (BASE[:15], {}, "has 15 vectors, at least 10"),
        (np.where(np.arange(1800).reshape(300, 6) == 9, np.nan, BASE), {}, "row 2 holds NaN"),
        (BASE * 1e30, {}, "squared distances between such vectors exceed float32"),
        (np.zeros((20, 3), np.float32), {"metric": "cosine"}, "zero"),
        (BASE, {"metric": "manhattan"}, "'manhattan' is unknown; choose one of l2, cosine, ip"),
        (BASE, {"qrels": "x"}, "name these as well, with --queries"),
    ],
)
def test_vectors_that_cannot_be_used_are_refused(tmp_path: Path, vectors, options: dict[str, str], said: str) -> None:
    with pytest.raises(DataError, match=said):
        list(own_cases(saved(tmp_path / "a.npy", vectors), tmp_path, **options))


def test_queries_of_another_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has 5 dimensions, the vectors .* have 6"):
        read(saved(tmp_path / "a.npy", BASE), saved(tmp_path / "q.npy", QUERIES[:, :5]), cache=tmp_path)
    with pytest.raises(Unsupported, match="not --colour"):
        list(own_cases(saved(tmp_path / "a.npy", BASE), tmp_path, colour="red"))


def test_duplicates_are_counted_and_constant_and_one_dimensional_vectors_pass(tmp_path: Path) -> None:
    doubled = read(saved(tmp_path / "a.npy", np.tile(BASE[:50], (3, 1))), cache=tmp_path)
    assert doubled.about["duplicates"] == len(doubled.vectors) - len({row.tobytes() for row in doubled.vectors}) > 0
    assert read(saved(tmp_path / "b.npy", np.ones((40, 3))), cache=tmp_path).about["duplicates"] == 33
    assert read(saved(tmp_path / "c.npy", np.arange(40.0)[:, None]), cache=tmp_path).vectors.shape == (34, 1)


def test_the_same_data_elsewhere_is_the_same_case_and_other_data_another(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    names = {
        next(iter(own_cases(saved(tmp_path / place / "a.npy", array), tmp_path))).name
        for place, array in (("", BASE), ("x", BASE), ("x", BASE + 1))
    }
    assert len(names) == 2


# Many vectors ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if 4,000 vectors were too many to hold."""
    monkeypatch.setattr(own, "WHOLE_BYTES", 500 * 1000 * 4)
    monkeypatch.setattr(own, "BACKGROUND", 300)


@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
@pytest.mark.usefixtures("little_room")
def test_of_many_vectors_the_part_kept_has_the_exact_neighbours_of_all(tmp_path: Path, metric: own.Metric) -> None:
    many = RNG.standard_normal((20_000, 64)).astype(np.float32)
    queries = RNG.standard_normal((40, 64)).astype(np.float32)
    spec, asked = parquet(tmp_path / "m.parquet", many, 1500), saved(tmp_path / "q.npy", queries)
    data = read(spec, asked, metric=metric, cache=tmp_path)
    assert data.total == data.about["n_in_all"] == 20_000 and 300 < len(data.vectors) < 7812
    if metric == "cosine":
        many, queries = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (many, queries))
    whole = nearest(many, queries, 10, metric)[1]
    part = nearest(data.vectors, data.queries, 10, metric)[1]
    assert np.allclose(whole, part, atol=1e-5), "as near in the part as among all"
    again = read(spec, asked, metric=metric, cache=tmp_path)
    assert again.about["digest"] == data.about["digest"]


@pytest.mark.usefixtures("little_room")
def test_queries_held_out_of_many_are_not_stored(tmp_path: Path) -> None:
    many = RNG.standard_normal((9_000, 64)).astype(np.float32)
    data = read(saved(tmp_path / "m.npy", many), cache=tmp_path)
    assert len(data.queries) == own.FEW_QUERIES
    assert not {row.tobytes() for row in data.vectors} & {row.tobytes() for row in data.queries}


@pytest.mark.usefixtures("little_room")
def test_many_vectors_take_no_qrels(tmp_path: Path) -> None:
    many = saved(tmp_path / "m.npy", RNG.standard_normal((9_000, 64)).astype(np.float32))
    (tmp_path / "qrels").write_text("0\t1\n")
    with pytest.raises(DataError, match="holds 9,000 vectors, of which only a part"):
        read(many, saved(tmp_path / "q.npy", many_queries()), str(tmp_path / "qrels"), cache=tmp_path)


def many_queries() -> np.ndarray:
    return RNG.standard_normal((7, 64)).astype(np.float32)


def test_a_parquet_file_is_read_in_blocks_and_its_memory_is_bounded(tmp_path: Path) -> None:
    many = RNG.standard_normal((40_000, 64)).astype(np.float32)  # 10 MB
    file = VectorFile(parquet(tmp_path / "m.parquet", many, 2000))
    assert (file.n, file.dim) == (40_000, 64)
    tracemalloc.start()
    total = sum(float(block.sum()) for _, block in file.blocks(1000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == pytest.approx(float(many.sum()), rel=1e-3) and peak < many.nbytes / 4
    assert (file.rows(np.array([0, 5, 39_999])) == many[[0, 5, 39_999]]).all()


def test_a_bad_row_of_a_parquet_file_is_named_by_its_place_in_the_file(tmp_path: Path) -> None:
    many = RNG.standard_normal((5_000, 8)).astype(np.float32)
    many[4321, 3] = np.inf
    file = VectorFile(parquet(tmp_path / "m.parquet", many, 1000))
    with pytest.raises(DataError, match="row 4322 holds NaN or infinity"):
        list(file.blocks(700))


# nDCG -----------------------------------------------------------------------------------------------------------------


def test_ndcg_agrees_with_pytrec_eval() -> None:
    pytrec_eval = pytest.importorskip("pytrec_eval")
    rng = np.random.default_rng(1)
    relevant, ids = [], np.array([rng.permutation(50)[:10] for _ in range(20)])
    for _ in range(20):
        some = np.sort(rng.choice(50, rng.integers(1, 15), replace=False))
        relevant.append((some, rng.integers(1, 4, len(some)).astype(float)))
    qrels = {str(q): {str(d): int(g) for d, g in zip(*relevant[q], strict=True)} for q in range(20)}
    run = {str(q): {str(d): float(10 - rank) for rank, d in enumerate(ids[q])} for q in range(20)}
    judged = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10"}).evaluate(run)
    assert np.allclose(ndcg(ids, relevant), [judged[str(q)]["ndcg_cut_10"] for q in range(20)])
