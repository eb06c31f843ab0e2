"""The `hnsw` task itself: what is driven, what is counted, what is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from harness.task import Case, Draw, InvalidAnswer, Unsupported
from harness.tasks.hnsw import GRAPH_EFFORTS, Index
from harness.tasks.hnsw.generate import Vectors
from harness.tasks.hnsw.task import Hnsw, sampled

N, Q, DIM = 300, 40, 8
CASE = Case("made", {"data": "made", "timed": True})


class FakeMeter:
    """Takes note of what is measured."""

    def __init__(self, repeat: int = 0) -> None:
        self.repeat = repeat
        self.phases: list[str] = []
        self.streams: list[tuple[str, int]] = []

    @contextmanager
    def phase(self, name: str, items: int = 1) -> Iterator[None]:
        self.phases.append(name)
        yield

    def each(self, name: str, items: Sequence[Any], call: Callable[[Any], object]) -> None:
        assert call(items[0]) is not None
        self.streams.append((name, len(items)))


class Sloppy(Index):
    """Exact, but for the `10 - effort` nearest, which it overlooks."""

    efforts = (5, 8, 10, 100)
    default_effort = 8

    def build(self, vectors, metric) -> None:  # type: ignore[no-untyped-def]
        self.vectors, self.counted = vectors.astype(np.float64), 0

    def set_effort(self, effort: int) -> None:
        self.skip = max(0, 10 - effort)

    def search(self, queries, k):  # type: ignore[no-untyped-def]
        self.counted += len(queries) * 7
        distances = np.linalg.norm(self.vectors[None] - queries[:, None], axis=2)
        return np.argsort(distances, axis=1, kind="stable")[:, self.skip : self.skip + k]

    def distances_computed(self) -> int:
        return self.counted

    def save(self, path: str) -> None:
        with open(path, "wb") as file:
            file.write(b"12345")


@pytest.fixture
def draw(monkeypatch: pytest.MonkeyPatch, tmp_path) -> Draw:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((N, DIM)).astype(np.float32)
    queries = rng.standard_normal((Q, DIM)).astype(np.float32)
    relevant = [np.array([int(i)]) for i in rng.integers(N, size=Q)]
    data = Vectors(vectors, queries, "l2", relevant=relevant)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("harness.tasks.hnsw.task.collect", lambda case, seed, cache: (data, {"n": N}))
    return Hnsw().draw(CASE, 0)


def _answer(draw: Draw, index: Index, meter: FakeMeter | None = None) -> dict[str, Any]:
    return dict(Hnsw().drive(index, draw.question, meter or FakeMeter(), None))


def test_one_build_serves_all_efforts(draw: Draw) -> None:
    meter = FakeMeter()
    _answer(draw, Sloppy(), meter)
    assert meter.phases == ["build", "search[5]", "search", "search[10]", "search[100]"]
    assert meter.streams == [("query[5]", 133), ("query", 133), ("query[10]", 133), ("query[100]", 133)]


def test_where_no_latency_is_ranked_only_the_default_effort_is_timed(draw: Draw) -> None:
    meter = FakeMeter()
    Hnsw().drive(Sloppy(), {**draw.question, "timed": False}, meter, None)
    assert meter.streams == [("query", 133)]


def test_a_further_process_measures_and_answers_nothing(draw: Draw) -> None:
    meter = FakeMeter(repeat=2)
    assert _answer(draw, Sloppy(), meter) == {}
    assert "search[100]" in meter.phases


def test_recall_is_counted_at_every_effort(draw: Draw) -> None:
    scored = Hnsw().score(CASE, draw, _answer(draw, Sloppy()))
    values = scored.values
    assert values["recall@10[5]"] == pytest.approx(0.5)
    assert values["recall@10"] == values["recall@10[8]"] == pytest.approx(0.8)
    assert values["recall@10[10]"] == values["recall@10[100]"] == 1.0
    assert values["recall@1[8]"] == 0.0 and values["recall@1[10]"] == 1.0
    assert values["effort"] == 8 and values["distances"] == 7 and values["index_bytes"] == 5
    assert values["recall@100[100]"] == 1.0 and values["recall@100[8]"] == pytest.approx(0.98)
    assert len(scored.items["recall@10"]) == Q
    assert any("SHA-256" in note for note in scored.notes)


def test_the_oracle_is_perfect_and_its_ndcg_is_that_of_exact_search(draw: Draw) -> None:
    task = Hnsw()
    values = task.score(CASE, draw, task.oracle(CASE, draw)).values
    assert values["recall@10"] == values["recall@1"] == 1.0
    assert values["ndcg@10"] == values["exact_ndcg@10"]


def test_a_point_as_near_as_the_tenth_is_right_whichever_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    vectors = np.repeat(np.eye(4, dtype=np.float32), 20, axis=0)  # twenty copies of each of four points
    data = Vectors(vectors, np.eye(4, dtype=np.float32))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("harness.tasks.hnsw.task.collect", lambda case, seed, cache: (data, {}))
    draw = Hnsw().draw(CASE, 0)
    answer = dict(Hnsw().oracle(CASE, draw))
    answer["ids"] = answer["ids"] + 10  # the other ten copies
    assert Hnsw().score(CASE, draw, answer).values["recall@10"] == 1.0


def test_missing_neighbours_are_a_legitimate_answer(draw: Draw) -> None:
    answer = _answer(draw, Sloppy())
    answer["ids"] = answer["ids"].copy()
    answer["ids"][:, :, 5:] = -1
    assert Hnsw().score(CASE, draw, answer).values["recall@10[10]"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a: a.update(ids=a["ids"].astype(float)), "integers"),
        (lambda a: a.update(ids=a["ids"][:, :-1]), "shape"),
        (lambda a: a.update(ids=a["ids"] + N), f"0 to {N - 1}"),
        (lambda a: a.update(ids=a["ids"] - N), "-1 for none"),
        (lambda a: a.update(ids=np.zeros_like(a["ids"])), "twice"),
        (lambda a: a.pop("ids"), "ids"),
        (lambda a: a.pop("efforts"), "efforts"),
        (lambda a: a.update(efforts=np.array([5, 5, 8, 10])), "differ"),
        (lambda a: a.update(default=np.array(7)), "default"),
    ],
)  # fmt: skip
def test_a_wrong_answer_is_refused_with_what_is_wrong(draw: Draw, change: Callable[[Any], object], said: str) -> None:
    answer = _answer(draw, Sloppy())
    change(answer)
    with pytest.raises(InvalidAnswer, match=said):
        Hnsw().score(CASE, draw, answer)


def test_an_index_is_not_made_to_compare_by_a_metric_it_does_not_know(draw: Draw) -> None:
    class OnlyInner(Sloppy):
        metrics = ("ip",)

    with pytest.raises(Unsupported, match="ip, not l2"):
        _answer(draw, OnlyInner())


def test_an_index_without_a_parameter_is_searched_once(draw: Draw) -> None:
    class Plain(Sloppy):
        efforts = ()

        def build(self, vectors, metric) -> None:  # type: ignore[no-untyped-def]
            super().build(vectors, metric)
            self.skip = 0

    meter = FakeMeter()
    values = Hnsw().score(CASE, draw, _answer(draw, Plain(), meter)).values
    assert meter.phases == ["build", "search"]
    assert values["recall@10"] == 1.0 and not any("[" in name for name in values if "100" not in name)


def test_the_sample_of_single_queries_is_spread_and_of_one_size() -> None:
    assert len(sampled(1000)) == len(sampled(5)) == 133
    assert max(sampled(1000)) > 900 and set(sampled(5)) == set(range(5))


def test_a_graph_is_not_asked_for_more_than_its_effort() -> None:
    class Graph(Sloppy):
        efforts = GRAPH_EFFORTS
        default_effort = 64

    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((N, DIM)).astype(np.float32)
    question = {"vectors": vectors, "queries": vectors[:5] + 1, "metric": "l2", "timed": True}
    answer = Hnsw().drive(Graph(), question, FakeMeter(), None)
    deep = {name for name in answer if name.startswith("ids100")}
    assert deep == {f"ids100[{effort}]" for effort in GRAPH_EFFORTS if effort >= 100}
