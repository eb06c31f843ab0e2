"""The free-embedding task: what counts as solved, how the search goes, and what the judge refuses."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from harness.registry import load_registry
from harness.task import Case, InvalidAnswer, Scored, Unsupported
from harness.tasks.limit.free import TIE, FreeEmbedder, Vectors, all_pairs, interface, smallest_margin
from harness.tasks.limit.free.published import (
    CRITICAL_N,
    fitted_critical_n,
    least_dimension,
    moment_curve,
    published_critical_n,
)
from harness.tasks.limit.free.task import HIGH, Free

D4 = Case("d4", {"d": 4})
Parts = dict[str, NDArray[Any]]


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """As in a cell; on a busy machine a second thread slows products of this size down many times over."""
    with threadpool_limits(1):
        yield


@dataclass
class PlainMeter:
    """A meter that runs what it is given and remembers the phases' names."""

    repeat: int = 0
    phases: list[str] = field(default_factory=list)

    @contextmanager
    def phase(self, name: str, items: int = 1) -> Iterator[None]:
        self.phases.append(name)
        yield

    def each(self, name: str, items: Sequence[Any], call: Callable[[Any], object]) -> None:
        self.phases.append(name)
        for item in items:
            call(item)


def random_vectors(n: int, d: int, seed: int = 0) -> Vectors:
    rng = np.random.default_rng(seed)
    parts = rng.standard_normal((n * (n - 1) // 2, d)), rng.standard_normal((n, d))
    return Vectors(*(part / np.linalg.norm(part, axis=1, keepdims=True) for part in parts))


@dataclass
class SolvesSome(FreeEmbedder):
    """Answers with the moment curve where `solves(n)`, else with random vectors; has no answer beyond `gives_up`."""

    solves: Callable[[int], bool]
    gives_up: int = HIGH + 1

    def fit(self, n: int, d: int) -> Vectors:
        if n >= self.gives_up:
            raise Unsupported(f"no answer for n = {n}")
        return moment_curve(n) if self.solves(n) else random_vectors(n, d)


def drive(method: FreeEmbedder) -> Parts:
    task = Free()
    return dict(task.drive(method, task.draw(D4, 0).question, PlainMeter(), None))


def judge(answer: Parts) -> Scored:
    return Free().score(D4, Free().draw(D4, 0), answer)


@settings(deadline=None)
@given(st.integers(2, 40))
def test_pairs_come_in_the_order_of_combinations(n: int) -> None:
    first, second = all_pairs(n)
    assert list(zip(first.tolist(), second.tolist(), strict=True)) == list(itertools.combinations(range(n), 2))


@settings(deadline=None)
@given(n=st.integers(3, 7), d=st.integers(1, 6), seed=st.integers(0, 2**32))
def test_solved_means_that_every_query_returns_its_pair(n: int, d: int, seed: int) -> None:
    queries, documents = random_vectors(n, d, seed)
    # Queries near the sum of their documents are solved often enough for both outcomes to occur.
    queries = queries / 4 + np.array([documents[a] + documents[b] for a, b in itertools.combinations(range(n), 2)])
    returned = [set(np.argsort(-(documents @ query))[:2].tolist()) for query in queries]
    right = returned == [set(pair) for pair in itertools.combinations(range(n), 2)]
    assert (smallest_margin(queries, documents) > TIE) == right


def test_a_tie_is_a_miss() -> None:
    documents = np.eye(3)[[0, 1, 1]]  # the second and third cannot be told apart
    queries = np.array([[1, 1, 0], [1, 1, 0], [0, 1, 0]]) / np.sqrt([[2], [2], [1]])
    assert smallest_margin(queries, documents) == pytest.approx(0, abs=1e-15)
    assert not smallest_margin(queries, documents) > TIE


def test_nan_is_never_solved() -> None:
    queries, documents = moment_curve(6)
    queries[3, 0] = np.nan
    assert not smallest_margin(queries, documents) > TIE


@pytest.mark.parametrize("block", [1, 7, 40, 1 << 20])
def test_the_margin_does_not_depend_on_the_block(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = smallest_margin(*moment_curve(30))
    monkeypatch.setattr(interface, "BLOCK_ITEMS", block)
    assert smallest_margin(*moment_curve(30)) == pytest.approx(whole, rel=1e-9)


def test_the_moment_curve_answers_all_pairs_of_any_n_in_four_dimensions() -> None:
    for n in [*range(3, 80), 150, 301]:
        queries, documents = moment_curve(n)
        np.testing.assert_allclose(np.linalg.norm(queries, axis=1), 1)
        np.testing.assert_allclose(np.linalg.norm(documents, axis=1), 1)
        assert smallest_margin(queries, documents) > TIE, n


@settings(deadline=None)
@given(st.integers(3, 120))
def test_the_margin_bound_permits_what_the_moment_curve_does(n: int) -> None:
    gamma = smallest_margin(*moment_curve(n)) / 2
    assert least_dimension(n, 2, gamma) <= 4


def test_the_margin_bound_agrees_with_the_published_table_at_gamma_one_tenth() -> None:
    least = [int(np.ceil(least_dimension(10**power, 2, 0.1))) for power in range(2, 12)]
    assert least == [4, 6, 8, 10, 12, 14, 16, 17, 19, 21]


def test_the_margin_bound_refuses_what_is_no_margin() -> None:
    with pytest.raises(ValueError, match="gamma"):
        least_dimension(10, 2, 0.0)


def test_the_published_cubic_fits_the_published_table() -> None:
    d, n = np.array(list(CRITICAL_N)), np.array(list(CRITICAL_N.values()))
    residual = n - np.array([fitted_critical_n(float(x)) for x in d])
    assert 1 - np.sum(residual**2) / np.sum((n - n.mean()) ** 2) > 0.998
    assert (np.diff(n) > 0).all()
    assert [published_critical_n(x) for x in (3, 4, 12, 45, 46)] == [None, 10, 47, 626, None]


def test_the_declarations_are_read_without_importing_the_task() -> None:
    spec = load_registry().tasks["limit/free"]
    assert [case.name for case in spec.cases if case.light in ("smoke", "standard")] == ["d4", "d6", "d8"]
    assert [case.name for case in spec.cases if case.light == "full"] == ["d10", "d12", "d16", "d20"]
    assert spec.main_score.name == "critical_n" and not spec.main_score.bounded and spec.main_score.higher_is_better
    assert spec.seeds["standard"]["light"] == 5


def test_the_question_is_plain_and_holds_no_chance() -> None:
    for case in Free.cases:
        question = Free().draw(case, 0).question
        assert json.loads(json.dumps(question)) == question == Free().draw(case, 1).question


@pytest.mark.parametrize("limit", [3, 4, 8, 9, 20, 33])
def test_the_search_finds_the_largest_n_that_is_solved(limit: int) -> None:
    scored = judge(drive(SolvesSome(lambda n: n <= limit)))
    assert scored.values["critical_n"] == limit
    assert scored.values["capped"] == 0
    assert scored.values["margin"] == pytest.approx(smallest_margin(*moment_curve(limit)))


def test_a_solved_n_beyond_a_gap_is_found_by_the_sweep() -> None:
    scored = judge(drive(SolvesSome(lambda n: n <= 20 or n == 24)))
    assert scored.values["critical_n"] == 24


def test_a_search_that_solves_nothing_ends_at_two_documents() -> None:
    scored = judge(drive(SolvesSome(lambda n: False)))
    assert scored.values["critical_n"] == 2
    assert scored.values["margin"] == 0


def test_an_answer_refused_on_the_way_ends_the_search_and_is_noted() -> None:
    answer = drive(SolvesSome(lambda n: True, gives_up=15))
    scored = judge(answer)
    assert scored.values["critical_n"] == 11  # tried: 8, 9, 11, then 15
    assert any("no answer for n = 15" in note for note in scored.notes)


def test_a_method_that_refuses_at_once_is_unsupported() -> None:
    with pytest.raises(Unsupported, match="no answer for n = 8"):
        drive(SolvesSome(lambda n: True, gives_up=3))


def test_every_attempt_reaches_the_judge_within_one_phase() -> None:
    meter, task = PlainMeter(), Free()
    answer = task.drive(SolvesSome(lambda n: n <= 12), task.draw(D4, 0).question, meter, None)
    tried = answer["attempts"][:, 0].tolist()
    parts = {f"n{n:04d}.{part}" for n in tried for part in ("queries", "documents")}
    assert set(answer) == parts | {"attempts", "refused"}
    assert meter.phases == ["search"]
    assert judge(dict(answer)).values["probes"] == len(tried)


def test_a_method_may_use_its_buffers_again() -> None:
    class OneBuffer(FreeEmbedder):
        buffer = np.empty((HIGH * (HIGH - 1) // 2, 4))

        def fit(self, n: int, d: int) -> Vectors:
            queries, documents = moment_curve(n) if n <= 12 else random_vectors(n, d)
            self.buffer[: len(queries)] = queries
            return Vectors(self.buffer[: len(queries)], documents)

    assert judge(drive(OneBuffer())).values["critical_n"] == 12


def test_a_method_that_returns_a_wrong_shape_is_told_which() -> None:
    class Transposed(FreeEmbedder):
        def fit(self, n: int, d: int) -> Vectors:
            queries, documents = moment_curve(n)
            return Vectors(queries.T, documents)

    with pytest.raises(InvalidAnswer, match=r"n = 8: queries have shape \(4, 28\), not \(28, 4\)"):
        drive(Transposed())


def claim_a_failure_as_solved(answer: Parts) -> None:
    row = np.flatnonzero(answer["attempts"][:, 1] == 0)[0]
    answer["attempts"][row, 1] = 1


def claim_a_solution_as_failed(answer: Parts) -> None:
    answer["attempts"][0, 1] = 0


def claim_a_larger_n(answer: Parts) -> None:
    answer["attempts"] = np.append(answer["attempts"], [[500, 1]], axis=0)


def claim_nothing(answer: Parts) -> None:
    del answer["attempts"]


def claim_in_words(answer: Parts) -> None:
    answer["attempts"] = ["8", "solved"]  # type: ignore[assignment]


def hand_in_a_table_of_text(answer: Parts) -> None:
    answer["n0008.queries"] = np.full((28, 4), "0.5")


def claim_one_n_twice(answer: Parts) -> None:
    answer["attempts"] = np.append(answer["attempts"], answer["attempts"][:1], axis=0)


def claim_two_documents(answer: Parts) -> None:
    answer["attempts"][0, 0] = 2


def swap_two_queries(answer: Parts) -> None:
    answer["n0008.queries"] = answer["n0008.queries"][::-1]


def put_nan_in_queries(answer: Parts) -> None:
    answer["n0008.queries"][3, 1] = np.nan


def put_infinity_in_documents(answer: Parts) -> None:
    answer["n0008.documents"][3, 1] = np.inf


def leave_out_a_query(answer: Parts) -> None:
    answer["n0008.queries"] = answer["n0008.queries"][:-1]


def add_a_dimension(answer: Parts) -> None:
    answer["n0008.documents"] = np.pad(answer["n0008.documents"], ((0, 0), (0, 1)))


def answer_in_integers(answer: Parts) -> None:
    answer["n0008.documents"] = answer["n0008.documents"].astype(np.int64)


def double_a_document(answer: Parts) -> None:
    answer["n0008.documents"][2] *= 2


@pytest.mark.parametrize(
    ("tamper", "reason"),
    [
        (claim_a_failure_as_solved, "claimed solved"),
        (claim_a_solution_as_failed, "claimed not solved"),
        (claim_a_larger_n, "'n0500.queries' is missing"),
        (claim_nothing, "'attempts' is missing"),
        (claim_in_words, "'attempts' is a list"),
        (hand_in_a_table_of_text, "floating-point"),
        (claim_one_n_twice, "each once"),
        (claim_two_documents, "from 3 to"),
        (swap_two_queries, "n = 8 is claimed solved"),
        (put_nan_in_queries, "row 3 has length nan"),
        (put_infinity_in_documents, "row 3 has length inf"),
        (leave_out_a_query, "shape"),
        (add_a_dimension, "shape"),
        (answer_in_integers, "floating-point"),
        (double_a_document, "row 2 has length 2"),
    ],
)
def test_the_judge_refuses_an_answer_that_does_not_hold(tamper: Callable[[Parts], None], reason: str) -> None:
    answer = {name: part.copy() for name, part in drive(SolvesSome(lambda n: n <= 12)).items()}
    assert judge(answer).values["critical_n"] == 12
    tamper(answer)
    with pytest.raises(InvalidAnswer, match=reason):
        judge(answer)


@pytest.mark.parametrize("d", [4, 6])
def test_the_oracle_reaches_the_bound_of_the_search(d: int) -> None:
    task, case = Free(), Case(f"d{d}", {"d": d})
    draw = task.draw(case, 0)
    scored = task.score(case, draw, task.oracle(case, draw))
    assert scored.values["critical_n"] == draw.question["high"]
    assert scored.values["capped"] == 1
