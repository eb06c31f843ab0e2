"""What finished cells say: searches, orders, models, and costs at equal recall."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.task import Case, Outcome
from harness.tasks.hnsw.analysis import breaking_points, next_dimensions
from harness.tasks.hnsw.task import Hnsw

CASES = {c.name: c for c in Hnsw.cases}


def _outcome(case: Case, values: dict[str, float], seed: int = 0, **more: object) -> Outcome:
    return Outcome(case, seed, "ok", values, **more)  # type: ignore[arg-type]


def _search(recall: Callable[[int], float]) -> list[int]:
    """Every dimension that a search tries, for a row whose recall is a function of the dimension."""
    declared = [CASES[f"intrinsic-{k}"] for k in (8, 32, 128)]
    outcomes = [_outcome(c, {"recall@10": recall(int(c.params["k"])), "effort": 64}) for c in declared]  # type: ignore[arg-type]
    tried = []
    while more := list(next_dimensions(outcomes)):
        assert len(more) == 1 and len(tried) < 30
        tried.append(int(more[0].params["k"]))  # type: ignore[arg-type]
        outcomes.append(_outcome(more[0], {"recall@10": recall(tried[-1]), "effort": 64}))
    (point,) = breaking_points(outcomes)
    assert point.value is None or abs(recall(round(point.value)) - 0.95) < 0.02
    return tried


def test_the_dimension_where_recall_breaks_is_bisected_in_few_probes() -> None:
    tried = _search(lambda k: 1.0 if k < 8 else 1.02 - 0.002 * k)  # 0.95 at 35
    assert len(tried) <= 6
    assert len(set(tried)) == len(tried)


def test_a_row_that_never_breaks_asks_for_nothing_and_says_so() -> None:
    assert _search(lambda _: 1.0) == []
    outcomes = [_outcome(CASES[f"intrinsic-{k}"], {"recall@10": 1.0, "effort": 64}) for k in (8, 128)]
    (point,) = breaking_points(outcomes)
    assert (point.text, point.value) == (">= 128", None)


def test_exact_search_has_no_breaking_point_to_show() -> None:
    assert list(breaking_points([_outcome(CASES[f"intrinsic-{k}"], {"recall@10": 1.0}) for k in (8, 128)])) == []


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
    assert [c.name for c in next_dimensions(outcomes)] == ["intrinsic-16", "intrinsic-64-n2000"]


def test_draws_of_one_dimension_count_by_their_mean() -> None:
    draws = [
        _outcome(CASES["intrinsic-32"], {"recall@10": v, "effort": 64}, i) for i, v in enumerate((0.96, 0.96, 0.94))
    ]
    outcomes = [*draws, _outcome(CASES["intrinsic-128"], {"recall@10": 0.5, "effort": 64})]
    (point,) = breaking_points(outcomes)
    assert point.text == "32 to 128"


def test_the_interval_runs_from_surely_above_to_surely_below() -> None:
    outcomes = [
        Outcome(CASES["intrinsic-8"], 0, "ok", {"recall@10": 0.99, "effort": 64}, {"recall@10": (0.98, 1.0)}),
        Outcome(CASES["intrinsic-32"], 0, "ok", {"recall@10": 0.949, "effort": 64}, {"recall@10": (0.93, 0.96)}),
        Outcome(CASES["intrinsic-128"], 0, "ok", {"recall@10": 0.5, "effort": 64}, {"recall@10": (0.45, 0.55)}),
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


def test_other_models_of_the_same_texts_do_not_mix_into_an_order() -> None:
    def text(name: str, order: str, value: float) -> Outcome:
        case = Case(name, {"data": "text", "model": "m", "order": order})
        return _outcome(case, {"recall@10": value, "effort": 64})

    outcomes = [text("text-m-asc", "asc", 0.9), text("text-m-desc", "desc", 0.94), text("text-m-d64", "random", 0.1)]
    points = list(breaking_points(outcomes))
    assert points and all(p.value == pytest.approx(4.0) for p in points)


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
