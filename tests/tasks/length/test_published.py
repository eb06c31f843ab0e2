"""The published curves, and how our order of position schemes is compared with theirs."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.tasks.length import problems
from harness.tasks.length.published import (
    ANCHORS,
    SCHEMES,
    SPLITS,
    agreement,
    curve_of,
    kendall,
    permutation_p,
    spearman,
    splits_of,
)

VALUES = st.lists(st.integers(0, 4).map(float), min_size=2, max_size=6)


def test_every_split_has_a_value_of_each_scheme_at_each_length() -> None:
    for split in SPLITS:
        assert tuple(split.exact_match) == SCHEMES, split.name
        for values in split.exact_match.values():
            assert len(values) == (len(split.lengths) or 3) and all(0 <= v <= 1 for v in values), split.name
            assert all(length > (split.trained or 0) for length in split.lengths)


def test_the_means_are_those_of_the_facts() -> None:
    (copy,) = splits_of("copy")
    means = {scheme: round(copy.beyond(scheme), 4) for scheme in SCHEMES}
    assert means == {"nope": 0.4, "t5-relative": 0.5225, "alibi": 0.4275, "rope": 0.0, "sinusoidal": 0.0025}
    assert splits_of("repeat-token")[0].beyond("t5-relative") == pytest.approx((1.00 + 0.94 + 0.21) / 3)


def test_a_problem_is_matched_by_the_split_that_asks_the_same() -> None:
    assert [s.name for s in splits_of("repeat-token")] == ["copy rsc"]
    assert [s.name for s in splits_of("reverse")] == ["reverse mc"]
    assert [s.name for s in splits_of("scan")] == ["SCAN mdlen_tr25_ts48", "SCAN len_tr25_ts48"]
    assert [s.name for s in SPLITS if not s.problem] == [
        "copy rdc", "copy cmc2x", "reverse mc2x", "PCFG md_productivity",
    ]  # fmt: skip


@pytest.mark.parametrize("problem", ["sort", "parity", "lego", "mode", "even-pairs", ""])
def test_a_problem_without_a_curve_is_compared_with_nothing(problem: str) -> None:
    assert agreement(problem, dict.fromkeys(SCHEMES, 0.5)) is None


def test_the_published_order_agrees_with_itself_in_full() -> None:
    (split,) = splits_of("copy")
    found = agreement("copy", {scheme: split.beyond(scheme) for scheme in SCHEMES})
    assert found is not None and found.opposite == ()
    assert found.spearman == pytest.approx(1) and found.kendall == pytest.approx(1)
    assert len(found.same) == 9 and found.tied == (("rope", "sinusoidal"),), "equal to two decimals"
    assert "9 of 10 pairs stand the same way" in found.sentence and "none the other way round" in found.sentence


def test_the_sentence_names_what_stands_the_other_way_round() -> None:
    ours = {"alibi": 0.61, "nope": 0.05, "rope": 0.0, "sinusoidal": 0.001, "fire": 0.4}
    found = agreement("repeat-token", ours)
    assert found is not None and tuple(found.ours) == ("nope", "alibi", "rope", "sinusoidal"), "fire was not published"
    assert found.opposite == (("alibi", "nope"),)
    assert "4 of 6 pairs stand the same way" in found.sentence
    assert "1 the other way round: ours has alibi above nope (0.61 and 0.05; published 0.31 and 0.98)" in found.sentence
    assert "1 tied on one side or both" in found.sentence
    assert "over 4 schemes" in found.sentence and "copy rsc" in found.sentence and "trained to 20" in found.sentence


def test_a_reversed_order_is_as_unlikely_as_the_same_one() -> None:
    (split,) = splits_of("reverse")
    published = {s: split.beyond(s) for s in ("nope", "alibi", "rope")}
    same, reverse = (agreement("reverse", {s: sign * v for s, v in published.items()}) for sign in (1, -1))
    assert same is not None and reverse is not None
    assert (same.spearman, reverse.spearman) == (pytest.approx(1), pytest.approx(-1))
    assert same.p == reverse.p == pytest.approx(2 / 6)
    assert len(reverse.opposite) == 3 and not reverse.same


def test_another_split_of_the_problem_can_be_named() -> None:
    ours = {"nope": 0.9, "t5-relative": 0.3, "alibi": 0.1}
    plain = agreement("scan", ours, "SCAN len_tr25_ts48")
    assert plain is not None and plain.published == {"nope": 0.53, "t5-relative": 0.27, "alibi": 0.0}
    assert agreement("scan", ours, "no such split") is None


def test_where_all_are_tied_there_is_no_order_to_compare() -> None:
    ours = agreement("copy", {"nope": 0.0, "alibi": 0.001, "rope": 0.004})
    assert ours is not None and (ours.spearman, ours.kendall, ours.p) == (None, None, None)
    assert "ours are all tied" in ours.sentence and len(ours.tied) == 3
    theirs = agreement("copy", {"rope": 0.0, "sinusoidal": 1.0})
    assert theirs is not None and "the published ones are all tied" in theirs.sentence


def test_too_few_schemes_or_a_value_that_is_none() -> None:
    assert agreement("copy", {"nope": 1.0, "fire": 0.5}) is None
    with pytest.raises(ValueError, match="copy, rope: nan"):
        agreement("copy", {"nope": 1.0, "rope": math.nan})


@given(VALUES.flatmap(lambda a: st.tuples(st.just(a), st.lists(st.integers(0, 4).map(float), min_size=len(a),
       max_size=len(a)))))  # fmt: skip
def test_the_correlations_are_those_of_scipy(pair: tuple[list[float], list[float]]) -> None:
    stats = pytest.importorskip("scipy.stats")
    a, b = pair
    rho, tau = spearman(a, b), kendall(a, b)
    if len(set(a)) == 1 or len(set(b)) == 1:
        assert rho is tau is permutation_p(a, b) is None
        return
    assert rho == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-9)
    assert tau == pytest.approx(stats.kendalltau(a, b).statistic, abs=1e-9)
    p = permutation_p(a, b)
    assert p is not None and 1 / math.factorial(len(a)) <= p <= 1


def test_the_exact_p_of_five_in_full_agreement_is_two_orders_of_120() -> None:
    assert permutation_p([1, 2, 3, 4, 5], [1, 2, 3, 4, 5]) == pytest.approx(2 / 120)
    assert permutation_p([1, 2, 3], [1, 3, 2]) == pytest.approx(1.0)


def test_all_problems_that_are_named_are_ours() -> None:
    named = {*(s.problem for s in SPLITS if s.problem), *(a.problem for a in ANCHORS)}
    assert named <= set(problems.PROBLEMS), named - set(problems.PROBLEMS)


def test_a_curve_is_told_by_length_and_where_only_seeds_are_known_by_those() -> None:
    assert "22: 0.74, 26: 0.69, 30: 0.17, 35: 0" in curve_of("copy", "nope")
    assert "seeds 0.77, 0.83, 0.79" in curve_of("scan", "nope")
    assert curve_of("copy", "lstm") == curve_of("parity", "nope") == ""


def test_every_anchor_says_where_it_was_read() -> None:
    assert all(a.source and a.says and a.problem for a in ANCHORS)
