"""What finished cells say: searches, orders, models, and costs at equal recall."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from harness.table import places
from harness.task import Case, Outcome, Ranking, Standing
from harness.tasks.hnsw import analysis
from harness.tasks.hnsw.analysis import at_recall, breaking_points, next_dimensions, rankings
from harness.tasks.hnsw.task import Hnsw

CASES = {c.name: c for c in Hnsw.cases}


def _outcome(case: Case, values: dict[str, float], seed: int = 0, **more: object) -> Outcome:
    return Outcome(case, seed, "ok", values, **more)  # type: ignore[arg-type]


def _search(recall: Callable[[int], float]) -> list[int]:
    """Every dimension that a search tries, for a row whose recall is a function of the dimension."""
    declared = [CASES[f"intrinsic-{k}"] for k in (8, 32, 128)]
    outcomes = [_outcome(c, {"recall@10": recall(int(c.params["k"]))}) for c in declared]  # type: ignore[arg-type]
    tried = []
    while more := list(next_dimensions(outcomes)):
        assert len(more) == 1 and len(tried) < 30
        tried.append(int(more[0].params["k"]))  # type: ignore[arg-type]
        outcomes.append(_outcome(more[0], {"recall@10": recall(tried[-1])}))
    (point,) = breaking_points(outcomes)
    assert point.value is None or abs(recall(round(point.value)) - 0.95) < 0.02
    return tried


def test_the_dimension_where_recall_breaks_is_bisected_in_few_probes() -> None:
    tried = _search(lambda k: 1.0 if k < 8 else 1.02 - 0.002 * k)  # 0.95 at 35
    assert len(tried) <= 6
    assert len(set(tried)) == len(tried)


def test_a_row_that_never_breaks_asks_for_nothing_and_says_so() -> None:
    assert _search(lambda _: 1.0) == []
    outcomes = [_outcome(CASES[f"intrinsic-{k}"], {"recall@10": 1.0}) for k in (8, 128)]
    (point,) = breaking_points(outcomes)
    assert (point.text, point.value) == (">= 128", None)


def test_a_row_that_breaks_below_the_smallest_case_is_searched_downwards() -> None:
    tried = _search(lambda k: 0.96 if k <= 3 else 0.5)
    assert min(tried) in (3, 4, 5)


def test_a_probe_that_failed_ends_the_search() -> None:
    good = _outcome(CASES["intrinsic-8"], {"recall@10": 1.0})
    bad = Outcome(CASES["intrinsic-32"], 0, "oom", {})
    assert list(next_dimensions([good, bad])) == []


def test_probes_of_another_n_are_a_search_of_their_own() -> None:
    outcomes = [_outcome(CASES["intrinsic-8"], {"recall@10": 1.0}), _outcome(CASES["intrinsic-32"], {"recall@10": 0.8}),
                _outcome(CASES["intrinsic-32-n2000"], {"recall@10": 0.97})]  # fmt: skip
    assert [c.name for c in next_dimensions(outcomes)] == ["intrinsic-16"]


def test_the_interval_runs_from_surely_above_to_surely_below() -> None:
    outcomes = [
        Outcome(CASES["intrinsic-8"], 0, "ok", {"recall@10": 0.99}, {"recall@10": (0.98, 1.0)}),
        Outcome(CASES["intrinsic-32"], 0, "ok", {"recall@10": 0.949}, {"recall@10": (0.93, 0.96)}),
        Outcome(CASES["intrinsic-128"], 0, "ok", {"recall@10": 0.5}, {"recall@10": (0.45, 0.55)}),
    ]
    (point,) = breaking_points(outcomes)
    assert point.interval == (8, 128)


def _ordered(gaps: dict[str, list[float]]) -> list[Outcome]:
    return [
        _outcome(
            CASES[f"nested-unit-{order}"],
            {"recall@10": v, "effort": 64.0, "recall@10[10]": v, "recall@10[64]": v}, seed,
        )
        for order, values in gaps.items() for seed, v in enumerate(values)
    ]  # fmt: skip


def test_the_gap_between_orders_is_paired_by_draw() -> None:
    # Draws differ by 20 points, the orders within a draw always by 5: the interval is that of the gap.
    points = list(breaking_points(_ordered({"asc": [0.6, 0.7, 0.8], "random": [0.62, 0.72, 0.82],
                                            "desc": [0.649, 0.75, 0.851]})))  # fmt: skip
    gap = next(p for p in points if p.name.endswith("nested-unit, effort 10") and "descending" in p.name)
    assert gap.value == pytest.approx(5.0)
    assert gap.interval[0] == pytest.approx(4.75, abs=0.02) and gap.text == "+5.0"
    lost = next(p for p in points if "worst" in p.name)
    assert lost.value == pytest.approx(5.0) and "asc instead of desc" in lost.beside and "biased" in lost.beside


def test_a_gap_of_noise_is_shown_with_an_interval_across_zero() -> None:
    points = list(breaking_points(_ordered({"asc": [0.70, 0.71, 0.69], "desc": [0.71, 0.69, 0.70]})))
    gap = points[0]
    assert gap.interval[0] is not None and gap.interval[1] is not None and gap.interval[0] < 0 < gap.interval[1]


def test_models_that_change_places_are_counted() -> None:
    def model(name: str, exact: float, found: float) -> Outcome:
        case = Case(f"text-{name}", {"data": "text", "model": name, "order": "random"})
        return _outcome(case, {"recall@10": 0.9, "effort": 64, "exact_ndcg@10": exact, "ndcg@10": found})

    (point,) = breaking_points([model("a", 0.6, 0.4), model("b", 0.5, 0.5), model("c", 0.3, 0.3)])
    assert point.text == "2 of 3, by at most 1" and "20.0 points (a)" in point.beside
    (same,) = breaking_points([model("a", 0.6, 0.59), model("b", 0.5, 0.5), model("c", 0.3, 0.3)])
    assert same.text == "0 of 3, by at most 0"


# Cost at equal recall -------------------------------------------------------------------------------------------------


def _timed(row: str, method: str, repeat: int, curve: dict[int, tuple[float, float]]) -> Outcome:
    """recall and p95 in ns by effort; 64 is the default."""
    values = {"recall@10": curve[64][0], "effort": 64.0, **{f"recall@10[{e}]": r for e, (r, _) in curve.items()}}
    costs = {("query" if e == 64 else f"query[{e}]") + ".p95_ns": ns for e, (_, ns) in curve.items()}
    return Outcome(CASES["clusters"], 0, "ok", values if repeat == 0 else {}, {}, row, method, repeat, costs)


def _latency(found: list[Ranking], target: str) -> Ranking:
    return next(r for r in found if r.name == f"p95 latency at recall@10 of {target}")


def test_costs_are_compared_at_one_recall_by_interpolation_of_their_logarithm() -> None:
    curve = {16: (0.8, 1e6), 64: (1.0, 4e6)}
    (standing,) = _latency(list(rankings([_timed("a", "a.py", 0, curve)])), "0.90").standings
    assert standing.values == [pytest.approx(2.0)]  # half way from 1 ms to 4 ms, in logarithms
    assert standing.setting == "a at 16 to a at 64"


def test_nothing_is_extrapolated() -> None:
    curve = {16: (0.8, 1e6), 64: (0.93, 4e6)}
    found = list(rankings([_timed("a", "a.py", 0, curve), _timed("b", "b.py", 0, {16: (0.97, 2e6), 64: (0.99, 3e6)})]))
    by_method = {s.method: s for s in _latency(found, "0.95").standings}
    assert by_method["a"].values == [] and by_method["a"].why == "reaches 0.930 at most"
    assert by_method["b"].values == [pytest.approx(2.0)]  # its cheapest point reaches more already


def test_a_library_is_taken_at_the_best_of_its_build_settings() -> None:
    cheap = _timed("a-m8", "a.py", 0, {16: (0.85, 1e6), 64: (0.91, 2e6)})
    dear = _timed("a-m32", "a.py", 0, {16: (0.95, 4e6), 64: (0.999, 6e6)})
    found = list(rankings([cheap, dear]))
    assert _latency(found, "0.90").standings[0].setting == "a-m8 at 16 to a-m8 at 64"
    assert _latency(found, "0.99").standings[0].setting == "a-m32 at 16 to a-m32 at 64"


def test_every_process_gives_a_value_with_the_first_ones_recall() -> None:
    runs = [_timed("a", "a.py", i, {16: (0.8, (1 + i) * 1e6), 64: (1.0, 4 * (1 + i) * 1e6)}) for i in range(5)]
    (standing,) = _latency(list(rankings(runs)), "0.90").standings
    assert standing.values == [pytest.approx(2.0 * (1 + i)) for i in range(5)]


def test_a_point_that_costs_more_for_less_recall_is_left_out() -> None:
    points = [analysis._Point(0.8, 1.0, "a"), analysis._Point(0.7, 5.0, "b"), analysis._Point(1.0, 4.0, "c")]
    found = at_recall(points, 0.9)
    assert found is not None and found.cost == pytest.approx(math.exp((math.log(1) + math.log(4)) / 2))
    assert at_recall(points, 1.01) is None


def test_recall_is_compared_within_one_latency_too() -> None:
    curve = {16: (0.8, 1e5), 64: (1.0, 4e5)}
    found = list(rankings([_timed("a", "a.py", 0, curve), _timed("b", "b.py", 0, {16: (0.7, 3e6), 64: (0.9, 9e6)})]))
    ranking = next(r for r in found if r.name == "recall@10 within a p95 latency of 0.2 ms")
    assert ranking.higher_is_better
    by_method = {s.method: s for s in ranking.standings}
    assert by_method["a"].values == [pytest.approx(0.9)]  # half way, in logarithms, from 0.1 to 0.4 ms
    assert by_method["b"].values == [] and by_method["b"].why == "slower at every setting"
    assert [p.method for p in places(ranking)] == ["a", "b"]


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
