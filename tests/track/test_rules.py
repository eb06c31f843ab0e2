"""The rules are right as statistics, and reach what they are for in the simulation of bench_tracking.py, in small."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.track import rules

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "bench_tracking.py"


def simulation() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_tracking", BENCHMARK)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@given(st.lists(st.floats(-3, 3).filter(lambda x: abs(x) > 1e-6), min_size=1, max_size=12, unique_by=abs))
def test_the_signed_rank_test_is_scipys_where_that_is_exact(differences: list[float]) -> None:
    expected = stats.wilcoxon(differences, alternative="greater", method="exact").pvalue
    assert rules.signed_rank_p(differences) == pytest.approx(expected)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=9).filter(any))
def test_with_ties_and_zeros_it_is_the_count_over_all_signs(differences: list[int]) -> None:
    sizes = np.abs(differences)
    ranks = stats.rankdata(sizes)
    nonzero = np.flatnonzero(sizes)
    reached = sum(ranks[i] for i in nonzero if differences[i] > 0)
    sums = [
        sum(ranks[i] for bit, i in enumerate(nonzero) if signs >> bit & 1) for signs in range(1 << len(nonzero))
    ]  # fmt: skip
    assert rules.signed_rank_p(differences) == pytest.approx(np.mean([s >= reached - 1e-9 for s in sums]))


def test_the_interval_of_a_ratio_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(1000):
        noise = np.exp(0.03 * rng.standard_normal((10, 2)))
        test = rules.paired_ratio([(100 * a, 115 * b) for a, b in noise])
        held += test.low <= 1.15 <= test.high
    assert 0.93 <= held / 1000 <= 0.975


def test_the_interval_and_the_test_agree() -> None:
    rng = np.random.default_rng(1)
    for n in (6, 9, 16):
        for _ in range(100):
            test = rules.paired_ratio([(1.0, math.exp(x)) for x in rng.normal(0.01, 0.02, n)])
            assert (test.low > 1) == (test.p <= 0.025)


def test_five_pairs_have_no_interval() -> None:
    test = rules.paired_ratio([(1.0, 1.2)] * 5)
    assert test.effect == pytest.approx(1.2)
    assert (test.low, test.high) == (0.0, math.inf)


def test_sixteen_equal_pairs_reach_two_to_the_minus_sixteen() -> None:
    assert rules.paired_ratio([(1.0, 1.2)] * 16).p == pytest.approx(2**-16)


def test_a_change_that_is_none_lets_nothing_through() -> None:
    assert rules.paired_ratio([(1.0, 1.0)] * 16).p == 1.0


@pytest.mark.parametrize("bad", [[], [(0.0, 1.0)], [(1.0, -1.0)]])
def test_a_ratio_needs_values_above_zero(bad: list[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match="above 0"):
        rules.paired_ratio(bad)


def test_answered_items_are_counted_as_mcnemar_does() -> None:
    before = np.array([1.0] * 80 + [0.0] * 20)
    after = before.copy()
    after[:9], after[80:82] = 0.0, 1.0
    test = rules.paired_items(before, after)
    assert test.p == pytest.approx(stats.binomtest(9, 11, alternative="greater").pvalue)
    assert test.effect == pytest.approx(-0.07)
    assert test.worse_by == pytest.approx(0.07)


def test_fewer_errors_are_no_regression_of_a_score_where_less_is_better() -> None:
    before, after = np.linspace(0.1, 0.9, 50), np.linspace(0.1, 0.9, 50) * 0.9
    assert rules.paired_items(before, after, higher_is_better=False).p > 0.99
    assert rules.paired_items(before, after, higher_is_better=True).p < 1e-6


def test_what_one_run_of_five_answers_otherwise_does_not_count() -> None:
    runs = np.ones((5, 100))
    odd = runs.copy()
    odd[2, :30] = 0.0
    test = rules.paired_items(runs, odd)
    assert (test.effect, test.p) == (0.0, 1.0)


def test_items_of_two_lengths_are_not_paired() -> None:
    with pytest.raises(ValueError, match="cannot be paired"):
        rules.paired_items(np.ones(3), np.ones(4))


@given(st.dictionaries(st.integers(), st.floats(0, 1), min_size=1, max_size=30))
def test_discoveries_are_scipys(p_values: dict[int, float]) -> None:
    adjusted = stats.false_discovery_control(list(p_values.values()))
    expected = {key for key, p in zip(p_values, adjusted, strict=True) if p <= 0.2}
    found = rules.discoveries(p_values, 0.2)
    borderline = {key for key, p in zip(p_values, adjusted, strict=True) if abs(p - 0.2) < 1e-12}
    assert found - borderline == expected - borderline


def test_what_was_never_suspected_can_be_counted_in() -> None:
    assert rules.discoveries({"a": 0.004}) == {"a"}
    assert rules.discoveries({"a": 0.004}, n=10) == set()


def test_a_small_change_does_not_stand_however_sure_it_is() -> None:
    sure = rules.paired_ratio([(1.0, 1.02 + i / 1e4) for i in range(16)])
    assert sure.p < 1e-4
    assert rules.regressed({"a": sure}, {"a": 0.05}) == set()
    assert rules.regressed({"a": sure}, {"a": 0.01}) == {"a"}


def test_the_limit_is_a_minimum_effect_where_nothing_varies() -> None:
    assert rules.limit_of([100.0] * 10) == pytest.approx(105.0)
    assert rules.limit_of([0.8] * 10, higher_is_better=True) == pytest.approx(0.76)


def test_the_limit_is_three_deviations_where_much_varies() -> None:
    past = list(np.exp(0.1 * np.random.default_rng(0).standard_normal(30)))
    limit = rules.limit_of(past)
    assert limit is not None
    assert 1.15 < limit < 1.6


def test_too_short_a_past_has_no_limit() -> None:
    assert rules.limit_of([1.0] * (rules.MIN_PAST - 1)) is None
    assert rules.suspicion([1.0] * (rules.MIN_PAST - 1) + [9.0]) is None


def test_slow_nights_in_the_past_do_not_widen_the_limit() -> None:
    past = [100.0] * 27 + [140.0, 135.0, 120.0]
    assert rules.limit_of(past) == pytest.approx(105.0)


def test_a_suspicion_names_the_last_night_that_was_as_before() -> None:
    found = rules.suspicion([100.0] * 10 + [130.0, 101.0, 131.0, 132.0])
    assert found is not None
    assert (found.layer, found.good, found.bad) == ("night", 11, 13)


def test_a_drift_is_found_where_no_night_passes_its_limit() -> None:
    rng = np.random.default_rng(3)
    values = list(np.exp(0.02 * rng.standard_normal(30)))
    layers = set()
    for night in range(14):
        values.append((1 + 0.01 * min(night + 1, 10)) * math.exp(0.02 * rng.standard_normal()))
        found = rules.suspicion(values)
        if found and found.layer == "drift":
            layers.add(found.layer)
            assert found.before == pytest.approx(1.0, abs=0.03)
            assert 20 <= found.good < found.bad <= 40
    assert layers == {"drift"}


def test_a_single_slow_night_is_no_step() -> None:
    values = [100.0 + (i % 3) for i in range(30)] + [140.0, 101.0, 100.0, 102.0]
    assert rules.step_in(values) is None


def test_a_slow_machine_is_not_held_against_the_code() -> None:
    values, canary = [100.0] * 10 + [150.0], [1e7] * 10 + [1.5e7]
    assert rules.suspicion(values)
    assert rules.suspicion(rules.at_speed(values, canary)) is None


def test_a_fast_machine_does_not_hide_a_regression() -> None:
    values, canary = [100.0] * 10 + [90.0], [1e7] * 10 + [0.6e7]
    assert rules.suspicion(values) is None
    assert rules.suspicion(rules.at_speed(values, canary))


def test_small_wobbles_of_the_canary_are_not_put_onto_the_values() -> None:
    assert rules.at_speed([100.0, 100.0], [1e7, 1.05e7]) == [100.0, 100.0]
    assert rules.at_speed([100.0, 100.0], [None, None]) == [100.0, 100.0]


def test_what_shows_nothing_is_let_go_after_two_pairs() -> None:
    assert rules.keep_going([], 0.05)
    assert rules.keep_going([0.0], 0.05)
    assert not rules.keep_going([0.0, 0.01], 0.05)
    assert rules.keep_going([0.2] * (rules.PAIRS - 1), 0.05)
    assert not rules.keep_going([0.2] * rules.PAIRS, 0.05)


def test_a_score_without_items_is_tested_by_differences_also_at_zero() -> None:
    lost = rules.paired_differences([(0.9, 0.0)] * 16, higher_is_better=True)
    assert (lost.effect, lost.worse_by, lost.p) == (-0.9, 0.9, 2**-16)
    grown = rules.paired_differences([(0.0, 3.0)] * 16, higher_is_better=False)
    assert (grown.effect, grown.worse_by, grown.p) == (3.0, 3.0, 2**-16)
    assert rules.paired_differences([(0.5, 0.5)] * 16, higher_is_better=True).p == 1.0


def test_three_items_that_all_fell_are_no_certainty() -> None:
    test = rules.paired_items(np.array([0.50, 0.60, 0.70]), np.array([0.45, 0.54, 0.66]))
    assert test.p == pytest.approx(1 / 8)


def test_many_lost_items_have_a_small_chance_and_none_of_zero() -> None:
    rng = np.random.default_rng(0)
    before = rng.random(1000)
    after = before - np.where(np.arange(1000) < 200, rng.random(1000) * 0.5, 0.0)
    assert 0 < rules.paired_items(before, after).p < 1e-20


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["persists", "in stretches", "comes and goes"])
def test_a_quiet_machine_raises_no_alarm_and_a_planted_rise_does(mode: str) -> None:
    made = simulation()
    quiet = made.quiet(mode, n_series=200, nights=15, seed=1)
    assert quiet.alarms <= 1
    assert quiet.suspicions > 0.02 * quiet.series_nights, "a simulation without suspicions shows nothing"
    nights = made.planted(mode, 0.2, 1, trials=60, seed=1, last=3)
    assert sum(n == 1 for n in nights) >= 0.7 * 60
    assert sum(n > 0 for n in nights) >= 0.85 * 60


@pytest.mark.slow
def test_a_score_that_lost_two_points_is_alarmed_and_one_that_churns_is_not() -> None:
    made = simulation()
    assert made.drops(0.02, 0.005, trials=60, seed=1) >= 0.9
    assert made.drops(0.0, 0.05, trials=60, seed=1) == 0.0
