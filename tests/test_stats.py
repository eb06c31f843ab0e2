"""Claims about intervals, gated percentiles and rank sets."""

from __future__ import annotations

import math
import random
import statistics
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from harness import stats
from harness.stats import Interval, RankSet

proportions = st.floats(0, 1, allow_nan=False)
reals = st.floats(-1e6, 1e6, allow_nan=False)
latencies = st.floats(1, 1e9, allow_nan=False)


# --- distributions


@pytest.mark.parametrize(
    ("level", "df", "table"),
    [(0.95, 1, 12.706), (0.95, 2, 4.303), (0.95, 4, 2.776), (0.95, 5, 2.571), (0.99, 10, 3.169), (0.95, 120, 1.980)],
)
def test_t_quantiles_equal_the_printed_tables(level: float, df: int, table: float) -> None:
    assert stats.t_quantile(level, df) == pytest.approx(table, abs=5e-4)


@given(st.floats(-40, 40), st.integers(1, 300))
def test_the_closed_form_of_students_t_equals_scipys(t: float, df: int) -> None:
    reference = pytest.importorskip("scipy.stats")
    assert stats.t_pvalue(t, df) == pytest.approx(2 * reference.t.sf(abs(t), df), abs=1e-13)


def test_degrees_of_freedom_below_one_are_refused() -> None:
    with pytest.raises(ValueError, match="degrees of freedom"):
        stats.t_pvalue(1.0, 0)


# --- scores


def test_wilson_equals_a_value_worked_out_by_hand() -> None:
    # 8 of 10 at 95 %: (0.490, 0.943)
    interval = stats.wilson(0.8, 10)
    assert interval.low == pytest.approx(0.4902, abs=1e-4)
    assert interval.high == pytest.approx(0.9433, abs=1e-4)


@given(proportions, st.integers(1, 10**6))
def test_wilson_contains_the_mean_stays_in_the_unit_interval_and_has_a_width(mean: float, n: int) -> None:
    low, high, *_ = stats.wilson(mean, n)
    assert 0 <= low <= mean <= high <= 1
    assert high > low


@given(proportions, st.integers(1, 10**5))
def test_wilson_narrows_with_more_items(mean: float, n: int) -> None:
    few, many = stats.wilson(mean, n), stats.wilson(mean, 4 * n)
    assert many.high - many.low < few.high - few.low


@pytest.mark.parametrize(("mean", "n"), [(1.1, 5), (-0.1, 5), (math.nan, 5), (0.5, 0)])
def test_wilson_refuses_what_is_no_proportion(mean: float, n: int) -> None:
    with pytest.raises(ValueError):
        stats.wilson(mean, n)


def test_student_interval_of_a_worked_example() -> None:
    # mean 3, standard error sqrt(0.5), t(0.975, 4) = 2.7764
    interval = stats.t_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert interval is not None
    assert interval.low == pytest.approx(3 - 2.776445 * math.sqrt(0.5), abs=1e-5)
    assert interval.high == pytest.approx(3 + 2.776445 * math.sqrt(0.5), abs=1e-5)


@pytest.mark.parametrize("values", [[], [1.0], [0.1 + 0.2, 0.3, 0.3]])
def test_no_student_interval_without_spread(values: list[float]) -> None:
    assert stats.t_interval(values) is None


def test_a_value_that_is_not_finite_is_named() -> None:
    with pytest.raises(ValueError, match="value 1 of 3"):
        stats.t_interval([1.0, math.nan, 2.0])


@given(st.lists(proportions, min_size=1, max_size=8), st.integers(1, 5000))
def test_a_bounded_score_always_has_an_interval_around_its_mean(means: list[float], items: int) -> None:
    interval = stats.interval_over_draws(means, items * len(means), bounded=True)
    assert interval is not None
    assert 0 <= interval.low < interval.high <= 1
    assert interval.low <= statistics.fmean(means) + 1e-12
    assert interval.high >= statistics.fmean(means) - 1e-12


def test_one_draw_gets_wilsons_interval() -> None:
    assert stats.interval_over_draws([0.25], 1000, bounded=True) == stats.wilson(0.25, 1000)


def test_equal_draws_at_the_ceiling_do_not_get_width_zero() -> None:
    interval = stats.interval_over_draws([1.0, 1.0, 1.0], 3000, bounded=True)
    assert interval is not None
    assert interval.low < 1.0
    assert interval.high == 1.0


def test_draws_that_disagree_widen_the_interval_beyond_the_pooled_one() -> None:
    interval, pooled = stats.interval_over_draws([0.2, 0.5, 0.8], 3000, bounded=True), stats.wilson(0.5, 3000)
    assert interval is not None
    assert interval.high - interval.low > 5 * (pooled.high - pooled.low)


@pytest.mark.parametrize("means", [[28.0], [28.0, 28.0, 28.0], []])
def test_an_unbounded_score_without_spread_has_no_interval(means: list[float]) -> None:
    assert stats.interval_over_draws(means, len(means), bounded=False) is None


# --- percentiles and latency


@pytest.mark.parametrize(("p", "n"), stats.MIN_SAMPLES.items())
def test_the_gates_are_the_fewest_samples_with_two_beyond_the_percentile(p: float, n: int) -> None:
    def fewer_than_two_beyond(count: int) -> float:
        return p**count + count * (1 - p) * p ** (count - 1)

    assert fewer_than_two_beyond(n) <= 0.01 < fewer_than_two_beyond(n - 1)
    assert stats.quantile_gate([1.0] * (n - 1), p) is None
    assert stats.quantile_gate([1.0] * n, p) == 1.0


def test_a_percentile_is_the_sample_at_int_n_p() -> None:
    samples = list(range(1000))
    random.Random(0).shuffle(samples)
    assert stats.quantile_gate(samples, 0.99) == 990
    assert stats.quantile_gate(samples, 0.9) == 900


@given(st.integers(1, 10**6), st.sampled_from([0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999]))
def test_the_index_of_a_percentile_is_exact_for_every_n(n: int, p: float) -> None:
    assert stats.quantile(range(n), p) == n * round(p * 1000) // 1000


def test_an_unknown_percentile_is_refused() -> None:
    with pytest.raises(ValueError, match=r"0\.95"):
        stats.quantile_gate([1.0] * 100, 0.5)


@pytest.mark.parametrize(("n", "drop"), [(6, 0), (8, 0), (9, 1), (20, 5), (100, 39)])
def test_the_interval_of_the_median_leaves_out_as_many_as_the_binomial_table_says(n: int, drop: int) -> None:
    interval = stats.median_interval([float(i) for i in range(n)])
    assert interval is not None
    assert (interval.low, interval.high) == (drop, n - 1 - drop)


@pytest.mark.parametrize("n", range(6))
def test_fewer_than_six_values_give_no_interval_of_the_median(n: int) -> None:
    assert stats.median_interval([float(i) for i in range(n)]) is None


def test_the_interval_of_the_median_of_very_many_values_does_not_overflow() -> None:
    interval = stats.median_interval([float(i) for i in range(3000)])
    assert interval is not None
    assert interval.high - interval.low == pytest.approx(1.96 * math.sqrt(3000), abs=3)


@given(st.lists(latencies, max_size=4))
def test_fewer_than_five_processes_give_no_latency_interval(medians: list[float]) -> None:
    assert stats.latency_interval(medians) is None


@given(st.lists(latencies, min_size=5, max_size=30))
def test_a_latency_interval_contains_the_median_of_the_processes(medians: list[float]) -> None:
    interval = stats.latency_interval(medians)
    assume(interval is not None)
    assert interval is not None
    middle = statistics.median(medians)
    assert interval.low <= middle * (1 + 1e-9)
    assert interval.high >= middle * (1 - 1e-9)


@given(st.lists(latencies, min_size=5, max_size=12), st.floats(0.01, 100))
def test_a_latency_interval_scales_with_its_unit(medians: list[float], factor: float) -> None:
    before, after = stats.latency_interval(medians), stats.latency_interval([m * factor for m in medians])
    assume(before is not None and after is not None)
    assert before is not None
    assert after is not None
    assert after.low == pytest.approx(before.low * factor, rel=1e-6)
    assert after.high == pytest.approx(before.high * factor, rel=1e-6)


def test_a_summary_of_steady_calls_is_stable() -> None:
    summary = stats.latency_summary([1000.0 + i % 7 for i in range(700)])
    assert summary.stable
    assert summary.reasons == ()
    assert summary.median == 1003
    assert summary.p99 == 1006
    assert summary.p999 is None


def test_a_summary_says_why_it_is_not_stable() -> None:
    drifting = stats.latency_summary([1000.0] * 50 + [1500.0] * 50)
    assert not drifting.stable
    assert any("second half is 50% slower" in reason for reason in drifting.reasons)
    spread = stats.latency_summary([500.0, 1500.0] * 50)
    assert any("quartiles" in reason for reason in spread.reasons)
    few = stats.latency_summary([1000.0, 1000.0])
    assert any("too few" in reason for reason in few.reasons)
    assert few.iqr is None


def test_no_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="no samples"):
        stats.latency_summary([])


# --- ranks


@given(st.lists(st.floats(0, 1), max_size=20))
def test_holm_never_lowers_a_p_value_and_keeps_their_order(p_values: list[float]) -> None:
    adjusted = stats.holm(p_values)
    assert all(p <= a <= 1 for p, a in zip(p_values, adjusted, strict=True))
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    assert all(adjusted[a] <= adjusted[b] for a, b in pairwise(order))


def test_holm_on_a_worked_example() -> None:
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(st.lists(reals, min_size=6, max_size=12))
def test_the_paired_test_equals_scipys(differences: list[float]) -> None:
    reference = pytest.importorskip("scipy.stats")
    assume(statistics.stdev(differences) > 1e-6 * max(map(abs, differences)))
    expected = reference.ttest_1samp(differences, 0.0).pvalue
    assert stats.paired_t_pvalue(differences) == pytest.approx(expected, abs=1e-9)


def test_rows_that_are_clearly_apart_get_single_ranks() -> None:
    noise = random.Random(1)
    rows = {
        name: {seed: level + noise.gauss(0, 0.005) for seed in range(8)}
        for name, level in {"c": 0.3, "a": 0.9, "b": 0.6}.items()
    }
    assert stats.rank_sets(rows) == {"c": RankSet(3, 3), "a": RankSet(1, 1), "b": RankSet(2, 2)}
    assert stats.rank_sets(rows, higher_is_better=False)["c"] == RankSet(1, 1)


def test_rows_with_equal_values_share_their_ranks() -> None:
    row = {seed: 0.5 + seed / 100 for seed in range(6)}
    assert stats.rank_sets({"a": row, "b": dict(row)}) == {"a": RankSet(1, 2), "b": RankSet(1, 2)}


def test_five_shared_draws_resolve_nothing() -> None:
    rows = {"a": dict.fromkeys(range(5), 0.9), "b": dict.fromkeys(range(5), 0.1)}
    assert stats.rank_sets(rows) == {"a": None, "b": None}


def test_only_shared_draws_are_paired() -> None:
    rows = {"a": dict.fromkeys(range(6), 0.9), "b": dict.fromkeys(range(3, 9), 0.1)}
    assert stats.rank_sets(rows) == {"a": None, "b": None}


def test_a_row_with_too_few_draws_is_not_resolved_and_blurs_no_other() -> None:
    rows = {"a": dict.fromkeys(range(8), 0.9), "b": dict.fromkeys(range(8), 0.1), "new": {0: 0.5}}
    assert stats.rank_sets(rows) == {"a": RankSet(1, 1), "b": RankSet(2, 2), "new": None}


def test_near_a_ceiling_equal_rows_are_not_separated() -> None:
    import numpy as np

    rng, wrong = np.random.default_rng(1), 0
    for _ in range(40):
        rows = {str(i): dict(enumerate((rng.binomial(100, 0.99, 6) / 100).tolist())) for i in range(60)}
        wrong += any(r != RankSet(1, 60) for r in stats.rank_sets(rows, resolution=0.01).values())
    assert wrong <= 4  # without the resolution: a third of them


def test_a_row_alone_is_first() -> None:
    assert stats.rank_sets({"only": {0: 1.0}}) == {"only": RankSet(1, 1)}


def test_one_item_more_on_every_draw_is_not_infinitely_significant() -> None:
    assert stats.paired_t_pvalue([0.001] * 6) == 0.0
    assert 1e-3 < stats.paired_t_pvalue([0.001] * 6, resolution=0.001) < 0.05


@given(
    st.dictionaries(
        st.sampled_from("abcdef"),
        st.dictionaries(st.integers(0, 8), proportions, min_size=1, max_size=9),
        min_size=1,
    )
)
def test_the_best_mean_is_never_excluded_from_the_first_rank(rows: dict[str, dict[int, float]]) -> None:
    complete = {name: values for name, values in rows.items() if len(values) == 9}
    assume(complete)
    sets = stats.rank_sets(complete)
    best = max(complete, key=lambda name: statistics.fmean(complete[name].values()))
    chosen = sets[best]
    assert chosen is not None
    assert chosen.low == 1
    assert all(s is not None and 1 <= s.low <= s.high <= len(complete) for s in sets.values())


@given(st.permutations(list("abcd")), st.integers(0, 10**6))
def test_rank_sets_do_not_depend_on_the_order_of_the_rows(order: list[str], seed: int) -> None:
    noise = random.Random(seed)
    rows = {name: {unit: noise.random() for unit in range(7)} for name in "abcd"}
    assert stats.rank_sets({name: rows[name] for name in order}) == stats.rank_sets(rows)


# --- coverage, by simulation


def covers(interval: Interval | None, truth: float) -> bool:
    return interval is not None and interval.low <= truth <= interval.high


@pytest.mark.slow
@pytest.mark.parametrize("p", [0.02, 0.3, 0.978])
def test_wilson_covers_in_about_95_percent(p: float) -> None:
    draw = random.Random(f"wilson {p}")
    hits = 0
    for _ in range(4000):
        hits += covers(stats.wilson(sum(draw.random() < p for _ in range(300)) / 300, 300), p)
    assert 0.93 <= hits / 4000 <= 0.975


@pytest.mark.slow
@pytest.mark.parametrize("between_draws", [0.0, 0.05])
def test_the_interval_over_draws_covers_whether_draws_differ_or_not(between_draws: float) -> None:
    noise = random.Random(f"draws {between_draws}")
    hits = 0
    for _ in range(2000):
        means = []
        for _ in range(5):
            p = min(1.0, max(0.0, noise.gauss(0.5, between_draws)))
            means.append(sum(noise.random() < p for _ in range(100)) / 100)
        hits += covers(stats.interval_over_draws(means, 500, bounded=True), 0.5)
    assert hits / 2000 >= 0.94


@pytest.mark.slow
@pytest.mark.parametrize("processes", [5, 6, 9, 15])
def test_the_latency_interval_covers_for_skewed_processes(processes: int) -> None:
    noise = random.Random(f"latency {processes}")
    hits = 0
    for _ in range(4000):
        medians = [math.exp(noise.gauss(10, 0.1)) for _ in range(processes)]
        hits += covers(stats.latency_interval(medians), math.exp(10))
    assert hits / 4000 >= 0.94


@pytest.mark.slow
def test_one_method_under_two_names_is_told_apart_in_at_most_5_percent() -> None:
    noise = random.Random("same method")
    separated = 0
    for _ in range(2000):
        first, second = (stats.latency_interval([noise.lognormvariate(0, 0.05) for _ in range(5)]) for _ in range(2))
        assert first is not None
        assert second is not None
        separated += first.high < second.low or second.high < first.low
    assert separated / 2000 <= 0.05


@pytest.mark.slow
def test_equal_rows_all_keep_every_rank_in_at_least_95_percent() -> None:
    noise = random.Random("ranks")
    kept = 0
    for _ in range(1000):
        rows = {name: {unit: noise.gauss(0.5, 0.1) for unit in range(6)} for name in "abcdefgh"}
        kept += all(s == RankSet(1, 8) for s in stats.rank_sets(rows).values())
    assert kept / 1000 >= 0.935
