"""What a re-run may say of a claim, and how sure it is."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.submission.replication import Claim, draws_needed, power_of, replications, tolerance


def load_simulations() -> ModuleType:
    path = Path(__file__).parents[1] / "benchmarks" / "bench_statistics.py"
    spec = importlib.util.spec_from_file_location("bench_statistics", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["bench_statistics"] = module
    spec.loader.exec_module(module)
    return module


SIMULATIONS = load_simulations()


def test_a_claim_that_fresh_draws_bear_out_stands() -> None:
    (one,) = replications([Claim("row", [0.80, 0.81, 0.79], [0.80, 0.795, 0.805], 1000)])
    assert not one.refused and one.interval is not None and one.interval[0] < one.difference < one.interval[1]


def test_a_memorised_draw_is_too_good() -> None:
    (one,) = replications([Claim("row", [1.0, 1.0, 1.0], [0.05, 0.04, 0.06], 1000)])
    assert one.refused and "too good" in one.sentence()


def test_a_claim_that_is_too_modest_is_said_and_not_refused() -> None:
    (one,) = replications([Claim("row", [0.5, 0.51, 0.49], [0.8, 0.81, 0.79], 1000)])
    assert not one.refused and "too modest" in one.sentence()


def test_lower_scores_that_are_better_flatter_downwards() -> None:
    claims = [Claim("row", [10.0, 10.1, 9.9], [20.0, 20.1, 19.9], 0, higher_is_better=False, bounded=False)]
    assert replications(claims)[0].refused


def test_one_claimed_draw_is_judged_by_the_spread_of_the_fresh_ones() -> None:
    assert replications([Claim("row", [0.9], [0.5, 0.505, 0.495, 0.5, 0.51, 0.49], 1000)])[0].refused
    assert not replications([Claim("row", [0.52], [0.5, 0.505, 0.495, 0.5, 0.51, 0.49], 1000)])[0].refused


def test_one_draw_against_one_is_judged_by_its_items_and_their_sharing() -> None:
    apart, near = replications([Claim("a", [0.99], [0.2], 1000)])[0], replications([Claim("b", [0.55], [0.5], 1000)])[0]
    assert apart.refused and not near.refused and near.power == 0


def test_scores_at_their_ceiling_differ_by_less_than_the_margin_and_stand() -> None:
    assert not replications([Claim("row", [1.0] * 5, [0.999, 0.998, 1.0, 0.999], 1000)])[0].refused


def test_many_cells_share_the_level() -> None:
    doubtful = Claim("row", [0.84, 0.85, 0.86], [0.80, 0.795, 0.805, 0.81], 1000)
    alone = replications([doubtful])[0]
    among = replications([doubtful, *(Claim(str(i), [0.5, 0.6, 0.4], [0.5, 0.6, 0.4], 1000) for i in range(9))])[0]
    assert alone.p < among.p


def test_a_claim_without_fresh_draws_cannot_be_tested() -> None:
    with pytest.raises(ValueError, match="at least one draw"):
        replications([Claim("row", [0.5], [])])


@given(st.floats(0.001, 0.02), st.integers(3, 20), st.integers(2, 20))
def test_more_fresh_draws_never_lessen_the_power(spread: float, claimed: int, fresh: int) -> None:
    assert power_of(spread, claimed, fresh + 1) >= power_of(spread, claimed, fresh) - 1e-3


@pytest.mark.parametrize(
    ("spread", "claimed", "fresh", "expected"),
    [(0.01, 3, 5, 0.3175388093745592), (0.004, 1, 8, 0.9331326742381664), (0.02, 20, 19, 0.9008083349059516)],
)
def test_the_power_is_that_of_the_non_central_t(spread: float, claimed: int, fresh: int, expected: float) -> None:
    assert power_of(spread, claimed, fresh) == pytest.approx(expected, abs=1e-6)  # scipy.stats.nct of SciPy 1.17


def test_where_no_number_of_draws_is_enough_it_says_so() -> None:
    assert draws_needed(0.05, 3) is None
    needed = draws_needed(0.004, 3)
    assert needed is not None and power_of(0.004, 3, needed) >= 0.92 > power_of(0.004, 3, needed - 1)


def test_a_deterministic_row_reproduces_to_the_last_bit_on_its_own_class_of_machine() -> None:
    assert tolerance(0.5, 1000, 1.0, deterministic=True, same_machine=True) == 0
    assert 0 < tolerance(0.5, 1000, 1.0, deterministic=True, same_machine=False) <= 0.005
    assert tolerance(0.5, 1000, 1.0, deterministic=False, same_machine=True) > 0.05


# The simulations, small -----------------------------------------------------------------------------------------------


def test_equal_rows_are_separated_in_few_boards_and_five_points_are_found() -> None:
    of = SIMULATIONS.boards(80, 0.5, queries=8)
    assert of.separated <= 0.09 and of.found >= 0.95
    assert of.per_query > 0.2  # what a test over queries would do


def test_honest_submissions_pass_and_three_points_are_caught() -> None:
    of = SIMULATIONS.submissions(250, claimed=3, fresh=5, cells=3, sd=0.004)
    assert of.refused <= 0.008 and of.caught >= 0.9


@pytest.mark.parametrize("simulate", [lambda n: SIMULATIONS.d90(n, 5), lambda n: SIMULATIONS.length(n, 5, 10, 0.2)])
def test_intervals_of_breaking_points_cover(simulate: object) -> None:
    assert callable(simulate)
    assert 0.88 <= simulate(100).covered <= 1
