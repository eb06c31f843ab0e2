"""`harness.search`: galloping, bisection and sweep over a predicate."""

from __future__ import annotations

from collections.abc import Callable
from math import log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.search import Bracket, bracket, next_probe


def run(
    holds: Callable[[int], bool], start: int, low: int, high: int, sweep: int = 0
) -> tuple[Bracket, dict[int, bool]]:
    """Drive the search to its end; every probe must be new and inside the range."""
    results: dict[int, bool] = {}
    while True:
        step = next_probe(results, start, low, high, sweep)
        if isinstance(step, Bracket):
            return step, results
        assert low <= step <= high
        assert step not in results
        results[step] = holds(step)


@st.composite
def ranges(draw: st.DrawFn) -> tuple[int, int, int]:
    low = draw(st.integers(0, 50))
    high = low + draw(st.integers(0, 300))
    return draw(st.integers(low, high)), low, high


@given(ranges(), st.integers(-5, 400), st.integers(0, 6))
def test_a_monotone_boundary_is_found_exactly(where: tuple[int, int, int], boundary: int, sweep: int) -> None:
    start, low, high = where
    found, _ = run(lambda n: n <= boundary, start, low, high, sweep)
    assert found.largest_true == (min(boundary, high) if boundary >= low else None)
    assert found.smallest_false == (max(boundary + 1, low) if boundary < high else None)


@given(ranges(), st.integers(-5, 400))
def test_probes_grow_with_the_logarithm_of_the_distance(where: tuple[int, int, int], boundary: int) -> None:
    start, low, high = where
    _, results = run(lambda n: n <= boundary, start, low, high)
    assert len(results) <= 2 * log2(abs(boundary - start) + 1) + 3


@given(ranges(), st.sets(st.integers(0, 350)), st.integers(0, 6))
def test_a_predicate_that_is_not_monotone_still_ends(where: tuple[int, int, int], holds: set[int], sweep: int) -> None:
    start, low, high = where
    found, results = run(holds.__contains__, start, low, high, sweep)
    if found.largest_true is not None:
        assert results[found.largest_true]
        assert all(not held for n, held in results.items() if n > found.largest_true)
    if found.largest_true is not None and found.smallest_false is not None:
        assert found.closed
    if found.largest_true is None:
        assert not results[low]


@given(ranges(), st.sets(st.integers(0, 350)), st.integers(1, 6))
def test_a_sweep_leaves_nothing_untried_around_the_boundary(
    where: tuple[int, int, int], holds: set[int], sweep: int
) -> None:
    start, low, high = where
    found, results = run(holds.__contains__, start, low, high, sweep)
    last = low - 1 if found.largest_true is None else found.largest_true
    near = range(last - sweep + 1, last + sweep + 2)
    assert all(n in results for n in near if low <= n <= high)


def test_a_sweep_finds_what_bisection_steps_over() -> None:
    noisy = {3, 4, 5, 6, 7, 8, 10}.__contains__
    assert run(noisy, 4, 3, 64)[0] == Bracket(8, 9)
    assert run(noisy, 4, 3, 64, sweep=4)[0] == Bracket(10, 11)


def test_the_step_doubles_away_from_the_start() -> None:
    assert list(run(lambda n: True, 4, 3, 32)[1]) == [4, 5, 7, 11, 19, 32]
    assert list(run(lambda n: False, 20, 3, 32)[1]) == [20, 19, 17, 13, 5, 3]


def test_a_search_can_be_taken_up_from_any_results() -> None:
    assert next_probe({10: True, 20: False}, 4, 3, 64) == 15
    assert next_probe({10: True, 11: False, 99: True}, 4, 3, 64) == Bracket(10, 11)


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (Bracket(8, 9), "8"),
        (Bracket(None, 3), "< 3"),
        (Bracket(64, None), ">= 64"),
        (Bracket(5, 9), "5 to 8"),
        (Bracket(None, None), "unknown"),
    ],
)
def test_a_bracket_reads_as_a_number_only_when_it_is_one(found: Bracket, text: str) -> None:
    assert found.text() == text
    assert found.closed == text.isdigit()


def test_the_largest_n_that_held_counts() -> None:
    assert bracket({3: False, 4: True, 6: False}) == Bracket(4, 6)


def test_a_start_outside_the_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"3\.\.9, not at 12"):
        next_probe({}, 12, 3, 9)
