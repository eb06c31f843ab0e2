"""What is kept for sure, and the fewest bytes that keep it."""

from __future__ import annotations

from dataclasses import replace
from math import log2

import numpy as np
import pytest

from harness.paired import paired_ratio
from harness.task import Case, Outcome
from harness.tasks.compression.kept import area, byte_charts, byte_rankings, fewest, front, settings_of
from harness.tasks.compression.vectors.advice import advice

RNG = np.random.default_rng(0)


def test_an_item_keeps_its_two_scores_together() -> None:
    reference = RNG.random(500)
    same_loss = reference - 0.01 * reference
    found = paired_ratio(same_loss, reference)
    assert found.value == pytest.approx(0.99) and found.high - found.low < 1e-12, "the loss does not vary"
    apart = paired_ratio(RNG.permutation(same_loss), reference)
    assert apart.high - apart.low > 0.05, "the same numbers, unpaired, are not sure of anything"


def test_the_one_sided_bound_lies_between_the_interval_s_end_and_the_value() -> None:
    reference = RNG.random(300)
    found = paired_ratio(reference * (RNG.random(300) > 0.1), reference)
    assert found.low < found.lower < found.value < found.high


def test_the_interval_covers_the_true_ratio_as_often_as_it_says() -> None:
    hits = 0
    for draw in range(200):
        rng = np.random.default_rng(draw)
        reference = rng.random(80)
        found = paired_ratio(reference * (rng.random(80) < 0.9), reference)
        hits += found.low <= 0.9 <= found.high
    assert 0.88 <= hits / 200 <= 0.99


def test_equal_scores_have_no_spread_and_a_reference_of_zeros_keeps_nothing() -> None:
    assert paired_ratio(np.ones(9), np.ones(9))[:3] == (1, 1, 1)
    assert paired_ratio(np.zeros(9), np.zeros(9)) == (0, 0, 0, 0)


def test_few_items_are_sure_of_little_even_where_none_of_them_loses() -> None:
    sure = [paired_ratio(np.ones(n), np.ones(n)).lower for n in (3, 30, 300, 3000)]
    assert sure == pytest.approx([0.9, 0.99, 0.999, 0.9999])
    once = np.ones(60)
    once[0] = 0
    assert paired_ratio(once, np.ones(60)).lower == pytest.approx(1 - 4.74 / 60), (
        "the Poisson limit, not the bootstrap's"
    )


def test_the_lower_bound_is_too_high_in_about_one_case_of_twenty() -> None:
    missed = 0
    for draw in range(300):
        rng = np.random.default_rng(draw)
        reference = rng.random(200) + 0.5
        items = np.where(rng.random(200) < 0.03, 0.6 * reference, reference)  # keeps 98.8 %
        missed += paired_ratio(items, reference).lower > 0.988
    assert missed / 300 < 0.08


def outcome(row: str, size: float, kept: float, sure: float, method: str = "", case: str = "c", repeat: int = 0,
            ns: float = 1000.0) -> Outcome:  # fmt: skip
    values = {"bytes": size, "kept": kept, "kept_low": sure, "val_kept_low": sure, "bytes_per_vector": size / 100,
              "smaller": 400 * 100 / size}  # fmt: skip
    return Outcome(Case(case), 0, "ok", {} if repeat else values, {}, row, method or f"{row}.py", repeat,
                   {"query.p50_ns": ns})  # fmt: skip


ROWS = [
    outcome("float32", 40_000, 1.0, 1.0),
    outcome("int8", 10_000, 0.999, 0.995),
    outcome("int4", 5_000, 0.98, 0.96, "int4.py"),
    outcome("pca-50+int8", 5_100, 0.97, 0.94, "int8.py"),
    outcome("binary", 1_250, 0.85, 0.80),
]


def test_the_fewest_bytes_are_those_of_what_keeps_the_level_for_sure() -> None:
    (settings,) = settings_of(ROWS, "query").values()
    assert [(s.row if (s := fewest(settings, level)) else None) for level in (0.999, 0.99, 0.95, 0.90)] == [
        "float32", "int8", "int4", "int4",
    ]  # fmt: skip
    assert fewest(settings[1:], 0.999) is None


def test_the_front_leaves_out_what_is_larger_and_keeps_less() -> None:
    (settings,) = settings_of(ROWS, "query").values()
    assert [s.row for s in front(settings)] == ["binary", "int4", "int8", "float32"]


def test_what_failed_on_a_draw_is_not_told_by_the_others_and_the_worst_draw_counts() -> None:
    two = [replace(o, seed=seed) for seed in (0, 1) for o in ROWS[:2]]
    two[3] = replace(two[3], values={**two[3].values, "val_kept_low": 0.97})
    (settings,) = settings_of([*two, ROWS[2]], "query").values()
    assert [s.row for s in settings] == ["float32", "int8"], "int4 has one draw of two"
    assert settings[1].val_kept_low == 0.97


def test_controls_and_failures_have_no_place() -> None:
    failed = Outcome(Case("c"), 0, "failed", {}, row="pq")
    assert [s.row for s in settings_of([*ROWS[:1], failed, outcome("random", 1, 0, 0)], "query")["c"]] == ["float32"]


def test_rankings_tell_the_setting_and_why_a_method_has_none() -> None:
    rankings = {r.name: r for r in byte_rankings(ROWS, "query", "query")}
    at_99 = rankings["fewest bytes that keep 99 % of the reference's score"]
    assert {s.method: list(s.values) for s in at_99.standings} == {
        "float32": [40_000], "int8": [10_000], "int4": [], "binary": [],
    }  # fmt: skip
    assert next(s.why for s in at_99.standings if s.method == "binary") == "at most 80.0% for sure"
    timed = next(r for n, r in rankings.items() if n.startswith("time of one query"))
    assert {s.method for s in timed.standings} == {"float32", "int8", "int4"}


def test_latency_is_taken_from_every_process_and_scores_from_the_first() -> None:
    more = [outcome("int8", 1, 0, 0, repeat=r, ns=1000.0 + r) for r in range(1, 5)]
    (settings,) = settings_of([ROWS[1], *more], "query").values()
    assert settings[0].query_ns == (1000, 1001, 1002, 1003, 1004) and settings[0].bytes == 10_000


def test_the_area_is_the_mean_of_what_is_kept_over_log_bytes() -> None:
    (settings,) = settings_of([outcome("a", 1024, 0.5, 0.5), outcome("b", 4096, 1.0, 1.0)], "query").values()
    assert area(settings, log2(1024), log2(4096 * 4)) == pytest.approx((2 * 0.5 + 2 * 1.0) / 4)


def test_the_chart_marks_the_front_and_carries_the_bounds() -> None:
    (chart,) = byte_charts(ROWS, "query")
    assert {p.row for p in chart.points if p.best} == {"binary", "int4", "int8", "float32"}
    assert next(p for p in chart.points if p.row == "int8").low == 0.995


def test_advice_says_how_many_vectors_fit_and_what_nothing_reaches() -> None:
    sentences = list(advice(ROWS))
    assert len(sentences) == 3
    assert "within 1.0% loss: int8, 100 bytes a vector: 400 million vectors fit within 40 GB" in sentences[1]
    assert "4.0x smaller" in sentences[1] and "99.50% or more for sure" in sentences[1]
    (few, *_) = list(advice([outcome("float32", 40_000, 1.0, 0.998), *ROWS[1:]]))
    assert "its queries are too few to be sure of 0.1% loss; some 900 would do" in few
    (nothing, *_) = list(advice(ROWS[1:]))
    assert "none of 4 settings stays within 0.1% loss for sure; int8 comes nearest" in nothing
