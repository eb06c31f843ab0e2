"""Costs at equal recall, recall at equal cost, and what is never mixed to get them."""

from __future__ import annotations

import math

import pytest

from harness.findings import places
from harness.task import Case, Outcome, Ranking, Standing
from harness.tasks.hnsw.costs import Point, at_cost, at_recall, rankings

CASE = Case("clusters", {"data": "clusters", "timed": True})
Curve = dict[int, tuple[float, float]]
"""recall and p95 in ns by effort; 64 is the default."""


def _timed(row: str, curve: Curve, repeat: int = 0, seed: int = 0) -> Outcome:
    values = {"recall@10": curve[64][0], "effort": 64.0, **{f"recall@10[{e}]": r for e, (r, _) in curve.items()}}
    values |= {f"distances[{e}]": ns / 1e3 for e, (_, ns) in curve.items()} | {"distances": curve[64][1] / 1e3}
    costs = {("query" if e == 64 else f"query[{e}]") + ".p95_ns": ns for e, (_, ns) in curve.items()}
    return Outcome(CASE, seed, "ok", values if repeat == 0 else {}, {}, row, "file.py", repeat, costs)


def _latency(found: list[Ranking], target: str) -> dict[str, Standing]:
    ranking = next(r for r in found if r.name == f"p95 latency at recall@10 of {target}")
    return {s.method: s for s in ranking.standings}


def test_costs_are_compared_at_one_recall_by_interpolation_of_their_logarithm() -> None:
    found = _latency(list(rankings([_timed("a", {16: (0.8, 1e6), 64: (1.0, 4e6)})])), "0.90")
    assert found["a"].values == [pytest.approx(2.0)]  # half way from 1 ms to 4 ms, in logarithms
    assert found["a"].setting == "a at 16 to 64"


def test_nothing_is_extrapolated() -> None:
    outcomes = [_timed("a", {16: (0.8, 1e6), 64: (0.93, 4e6)}), _timed("b", {16: (0.97, 2e6), 64: (0.99, 3e6)})]
    found = _latency(list(rankings(outcomes)), "0.95")
    assert found["a"].values == [] and found["a"].why == "reaches 0.930 at most"
    assert found["b"].values == [pytest.approx(2.0)]  # its cheapest point reaches more already, and says so
    assert found["b"].setting == "b at 16 (recall 0.970)"


def test_a_method_is_taken_at_the_best_of_its_build_settings() -> None:
    cheap = _timed("a-m8-efc64", {16: (0.85, 1e6), 64: (0.91, 2e6)})
    dear = _timed("a-m32-efc64", {16: (0.95, 4e6), 64: (0.999, 6e6)})
    found = list(rankings([cheap, dear]))
    assert _latency(found, "0.90")["a"].setting == "a-m8-efc64 at 16 to 64"
    assert _latency(found, "0.99")["a"].setting == "a-m32-efc64 at 16 to 64"


def test_points_of_different_builds_are_never_joined() -> None:
    # between 0.85 of the one and 0.95 of the other no index answers
    one = _timed("a-m8-efc64", {16: (0.8, 1e6), 64: (0.85, 2e6)})
    other = _timed("a-m32-efc64", {16: (0.95, 4e6), 64: (0.999, 6e6)})
    found = _latency(list(rankings([one, other])), "0.90")
    assert found["a"].values == [pytest.approx(4.0)] and found["a"].setting == "a-m32-efc64 at 16 (recall 0.950)"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("faiss-hnsw", "faiss-hnsw-bulk"),
        ("faiss-hnsw@faiss-cpu==1.11.0", "faiss-hnsw@faiss-cpu==1.15.1"),
        ("annb:a.py:A", "annb:b.py:B"),
    ],
)
def test_versions_modules_and_the_bulk_trap_are_methods_of_their_own(one: str, other: str) -> None:
    curve = {16: (0.8, 1e6), 64: (1.0, 4e6)}
    assert set(_latency(list(rankings([_timed(one, curve), _timed(other, curve)])), "0.90")) == {one, other}


def test_the_setting_is_chosen_once_and_every_process_gives_its_value() -> None:
    fast = [_timed("a", {16: (0.8, (1 + i) * 1e6), 64: (1.0, 4 * (1 + i) * 1e6)}, i) for i in range(5)]
    lucky = [_timed("a-m8-efc64", {16: (0.8, 9e6), 64: (1.0, 1e5 if i == 4 else 9e7)}, i) for i in range(5)]
    found = _latency(list(rankings([*fast, *lucky])), "0.90")
    assert found["a"].values == [pytest.approx(2.0 * (1 + i)) for i in range(5)]


def test_more_draws_do_not_mix_recall_of_one_with_costs_of_another() -> None:
    runs = [_timed("a", {16: (0.8, 1e6), 64: (1.0, 4e6)}, i) for i in range(5)]
    more = [_timed("a", {16: (0.9, 9e6), 64: (1.0, 9e7)}, 0, seed) for seed in (1, 2)]
    assert _latency(list(rankings([*runs, *more])), "0.90")["a"].values == [pytest.approx(2.0)] * 5


def test_the_last_record_of_a_process_counts() -> None:
    old, new = (_timed("a", {16: (0.8, ns), 64: (1.0, 4 * ns)}) for ns in (9e6, 1e6))
    assert _latency(list(rankings([old, new])), "0.90")["a"].values == [pytest.approx(2.0)]


def test_a_point_that_costs_more_for_less_recall_is_left_out() -> None:
    points = [Point(0.8, 1.0, 1), Point(0.7, 5.0, 2), Point(1.0, 4.0, 3)]
    found = at_recall(points, 0.9)
    assert found is not None and found[0] == pytest.approx(math.exp((math.log(1) + math.log(4)) / 2))
    assert at_recall(points, 1.01) is None


def test_recall_within_a_budget_is_interpolated_and_ends_with_what_was_measured() -> None:
    points = [Point(0.8, 1.0, 1), Point(1.0, 4.0, 3)]
    assert at_cost(points, 0.5) is None
    assert at_cost(points, 2.0) == pytest.approx(0.9)
    assert at_cost(points, 100.0) == 1.0


def test_budgets_lie_within_what_was_measured_whatever_its_scale() -> None:
    found = [r for r in rankings([_timed("a", {16: (0.8, 1e9), 64: (1.0, 4e9)})]) if "within a p95" in r.name]
    budgets = [float(r.name.split()[-2]) for r in found]
    assert len(budgets) == 4 and all(1000 < b < 4000 for b in budgets) and all(r.higher_is_better for r in found)


def test_the_front_leaves_out_what_is_slower_and_finds_less() -> None:
    outcomes = [_timed("a", {16: (0.8, 1e6), 64: (1.0, 4e6)}), _timed("b", {16: (0.7, 2e6), 64: (0.9, 3e6)})]
    (line,) = [r for r in rankings(outcomes) if r.name.startswith("Pareto")]
    assert [(s.method, s.setting) for s in line.standings] == [
        ("a at 16", "recall 0.800"), ("b at 64", "recall 0.900"), ("a at 64", "recall 1.000"),
    ]  # fmt: skip
    assert all(p.ranks is None for p in places(line))


def test_counted_distances_rank_without_an_interval() -> None:
    outcomes = [_timed("a", {16: (0.8, 1e6), 64: (1.0, 4e6)}), _timed("b", {16: (0.8, 2e6), 64: (1.0, 8e6)})]
    ranking = next(r for r in rankings(outcomes) if r.name == "distances a query at recall@10 of 0.90")
    assert [(p.method, p.ranks) for p in places(ranking)] == [("a", (1, 1)), ("b", (2, 2))]


def test_ranks_of_overlapping_intervals_are_shared() -> None:
    near = [1.0, 1.1, 0.9, 1.05, 0.95]
    ranking = Ranking("c", "latency", "ms", [
        Standing("slow", "", [v * 10 for v in near]), Standing("a", "", near),
        Standing("b", "", [v * 1.01 for v in near]),
        Standing("once", "", [1.0]), Standing("never", "", [], "reaches 0.5 at most"),
    ])  # fmt: skip
    found = {p.method: p.ranks for p in places(ranking)}
    assert found == {"a": (1, 2), "b": (1, 2), "slow": (3, 3), "once": None, "never": None}
    assert [p.method for p in places(ranking)][-1] == "never"


def test_an_interval_ends_at_the_ceiling() -> None:
    values = [0.5, 0.99, 0.98, 0.97, 0.999]
    (place,) = places(Ranking("c", "recall", "recall", [Standing("a", "", values)], True, best=1.0))
    assert place.interval is not None and place.interval[1] == 1.0
