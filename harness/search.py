"""Searching for a breaking point: the next size to try, given the answers so far. Pure and stateless.

A predicate over integers is expected to hold for small n and to fail for large n. The search gallops from a start
(the step doubles), bisects between the largest n that held and the next that failed (Bentley & Yao 1976), and can then
sweep the neighbourhood of that boundary, as a noisy predicate asks for. Nothing is remembered between calls: what to
try next follows from the results alone, so that a search may be interrupted, resumed and re-read from its records.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Bracket", "bracket", "next_probe"]


@dataclass(frozen=True)
class Bracket:
    """Where the predicate stops holding: between two neighbouring integers, or beyond an end of the range."""

    largest_true: int | None
    smallest_false: int | None
    """The smallest n *above* `largest_true` that failed."""

    @property
    def closed(self) -> bool:
        """Both sides are known and adjacent: the boundary is one number."""
        both = self.largest_true is not None and self.smallest_false is not None
        return both and self.smallest_false == (self.largest_true or 0) + 1

    def text(self) -> str:
        """`8`, or `< 3` and `>= 64` where the range ended first, `5 to 8` where the search did."""
        match self.largest_true, self.smallest_false:
            case None, None:
                return "unknown"
            case None, int(false):
                return f"< {false}"
            case int(true), None:
                return f">= {true}"
            case int(true), int(false):
                return str(true) if false == true + 1 else f"{true} to {false - 1}"
        raise AssertionError("unreachable")


def bracket(results: Mapping[int, bool]) -> Bracket:
    """What `results` say so far. Where they are not monotone, the largest n that held counts."""
    true = max((n for n, held in results.items() if held), default=None)
    false = min((n for n, held in results.items() if not held and (true is None or n > true)), default=None)
    return Bracket(true, false)


def next_probe(results: Mapping[int, bool], start: int, low: int, high: int, sweep: int = 0) -> int | Bracket:
    """The next n in `low..high` to try, or the bracket when nothing is left to try.

    `sweep` asks for all n within that distance of the boundary, on both of its sides; if one of them moves the
    boundary, its new neighbourhood is swept too. For a monotone predicate with boundary b and no sweep, at most
    2 * log2(|b - start| + 1) + 3 probes are made. Results outside `low..high` are ignored.
    """
    if not low <= start <= high:
        raise ValueError(f"start must lie in {low}..{high}, not at {start}")
    known = {n: held for n, held in results.items() if low <= n <= high}
    now = bracket(known)
    true, false = now.largest_true, now.smallest_false
    if true is None and false is None:
        return start
    if true is None or false is None:
        beyond = _gallop(true, false, start, low, high)
        if beyond is not None:
            return beyond
    elif false - true > 1:
        return (true + false) // 2
    missing = _unswept(known, low - 1 if true is None else true, low, high, sweep)
    return now if missing is None else missing


def _gallop(true: int | None, false: int | None, start: int, low: int, high: int) -> int | None:
    """One step away from `start`, twice as long as the last; None at the end of the range."""
    if true is not None:
        return None if true >= high else min(high, max(start, 2 * true - start + 1))
    assert false is not None
    return None if false <= low else max(low, min(start, 2 * false - start - 1))


def _unswept(known: Mapping[int, bool], boundary: int, low: int, high: int, sweep: int) -> int | None:
    """The nearest n not tried yet within `sweep` of the boundary (between `boundary` and `boundary + 1`)."""
    for distance in range(1, sweep + 1):
        for n in (boundary + 1 + distance, boundary - distance):
            if low <= n <= high and n not in known:
                return n
    return None
