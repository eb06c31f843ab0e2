"""Where a curve breaks, what the search asks for next, and what is said of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.findings import places
from harness.task import Case, Outcome
from harness.tasks.length import analysis

CASE = Case("sort-l10", {"problem": "sort-unique", "longest": 10, "furthest": 50})


def outcomes(curve, seed=0, case=CASE, row="nope", status="ok", **values):
    found = {f"exact_match[{n}]": value for n, value in curve.items()}
    if 10 in curve:
        found["in_distribution"] = curve[10]
    costs = {f"predict[{n}].{key}": value for n in curve for key, value in (("wall_s", 1.0), ("items_per_s", 100 / n))}
    return Outcome(case, seed, status, {**found, **values}, {}, row, row, 0, costs)


def search(truth, seeds=1):
    """Run the whole search of a row whose exact match at length n is truth(n); the outcomes it ends with."""
    done = [outcomes({n: truth(n, s) for n in analysis.near_lengths(10)}, s) for s in range(seeds)]
    for _ in range(20):
        asked = list(analysis.next_cases(done))
        if not asked:
            return done
        for case in asked:
            for seed in range(case.seeds or seeds):
                done.append(outcomes({n: truth(n, seed) for n in analysis.lengths_of(case)}, seed, case))
    raise AssertionError("the search does not end")


@given(st.integers(10, 49))
def test_the_search_brackets_the_length_at_which_a_row_breaks(breaks):
    done = search(lambda n, _: float(n <= breaks))
    curve = {n: v for o in done for n, v in analysis.measured([o])["sort-l10"].curves[0].items()}
    holds, fails = analysis.held(curve, 10)
    assert holds is not None and fails is not None and holds <= breaks < fails
    assert fails <= max(holds + 1, analysis.NARROW * holds) or fails in analysis.near_lengths(10)


def test_a_row_that_always_holds_is_tried_at_the_furthest_length_and_said_to_hold():
    done = search(lambda n, _: 1.0)
    [l90] = [p for p in analysis.breaking_points(done) if p.name.startswith("longest")]
    assert l90.value is None and l90.text == ">= 5 x 10"
    assert 50 in analysis.measured(done)["sort-l10"].curves[0]


def test_a_row_that_did_not_learn_is_neither_searched_nor_ranked():
    done = [outcomes({n: 0.68 for n in analysis.near_lengths(10)})]
    assert not list(analysis.next_cases(done))
    [l90] = list(analysis.breaking_points(done))
    assert l90.text == "not trained" and "0.68 at length 10, 0.95 needed" in l90.beside
    [ranking] = analysis.rankings(done)
    [place] = places(ranking)
    assert place.value is None and place.why == "not trained"


def test_the_gate_of_a_case_replaces_the_usual_one():
    done = [outcomes({n: 0.97 for n in analysis.near_lengths(10)}, case=replace(CASE, gate=0.99))]
    assert next(iter(analysis.breaking_points(done))).text == "not trained"
    assert analysis.measured([outcomes({10: 0.97, 11: 0.9})])["sort-l10"].trained


def test_seeds_that_disagree_are_joined_by_more():
    done = [outcomes({n: float(n < 12 + 9 * seed) for n in analysis.near_lengths(10)}, seed) for seed in range(3)]
    [more] = [case for case in analysis.next_cases(done) if not case.within]
    assert more.seeds == 5 and more.name == "sort-l10"
    agreed = [outcomes({n: float(n < 12) for n in analysis.near_lengths(10)}, seed) for seed in range(3)]
    assert not [case for case in analysis.next_cases(agreed) if not case.within]


def test_what_a_search_asks_for_shares_the_training_of_its_case():
    [case] = analysis.next_cases([outcomes({n: 1.0 for n in analysis.near_lengths(10)})])
    assert case.within == "sort-l10" and analysis.lengths_of(case) == [30]
    assert {k: v for k, v in case.params.items() if k != "lengths"} == dict(CASE.params)


def test_a_length_that_is_not_answered_is_told_and_is_where_the_row_breaks():
    done = [outcomes({n: 1.0 for n in analysis.near_lengths(10)})]
    for _ in range(9):
        for case in analysis.next_cases(done):
            [n] = analysis.lengths_of(case)
            done.append(
                outcomes({n: 1.0}, case=case) if n < 23 else Outcome(case, 0, "unsupported", {}, {}, "nope", "nope")
            )
    assert not list(analysis.next_cases(done))
    l90 = next(iter(analysis.breaking_points(done)))
    assert l90.text == "2.2 x 10" and "no answer at 24, 30" in l90.beside


def test_one_seed_without_an_answer_does_not_end_the_search_of_the_others():
    near = {n: 1.0 for n in analysis.near_lengths(10)}
    [case] = analysis.next_cases([outcomes(near, 0), outcomes(near, 1)])
    done = [outcomes(near, 0), outcomes(near, 1), outcomes({30: 1.0}, 0, case),
            Outcome(case, 1, "timeout", {}, {}, "nope", "nope")]  # fmt: skip
    assert [analysis.lengths_of(c) for c in analysis.next_cases(done)] == [[24], [50]]


def test_the_mean_beyond_the_trained_length_weighs_lengths_and_not_how_many_were_tried():
    assert analysis.mean_beyond({11: 0.9, 20: 0.0}, CASE) == pytest.approx(0.45)
    assert analysis.mean_beyond({11: 0.9, 12: 0.8, 15: 0.5, 20: 0.0}, CASE) == pytest.approx(0.45)
    assert analysis.mean_beyond({5: 1.0, 10: 1.0, 11: 1.0, 20: 1.0, 30: 0.0}, CASE) == pytest.approx(1.0)


def test_a_row_that_is_right_at_the_trained_length_alone_has_nothing_beyond_it():
    assert analysis.mean_beyond({5: 1.0, 10: 1.0, **dict.fromkeys((11, 12, 15, 20), 0.0)}, CASE) == 0.0


def test_the_time_of_an_answer_that_grows_with_the_square_has_exponent_two():
    assert analysis.growth({n: [1e-6 * n**2] for n in (10, 20, 40, 80)}) == pytest.approx(2)
    assert analysis.growth({10: [1.0], 20: [2.0]}) is None


def test_a_chart_has_a_line_a_row_and_a_dot_a_seed():
    from harness.charts import means

    done = [outcomes({10: 1.0, 20: float(seed)}, seed) for seed in range(2)]
    [chart] = analysis.charts(done)
    assert chart.lines and len(chart.points) == 4
    assert means(chart) == {"nope": {10: 1.0, 20: 0.5}}
