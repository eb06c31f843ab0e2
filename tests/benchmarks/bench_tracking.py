"""What the rules of `harness track check` reach, simulated: false alarms, what is caught and when, at which churn.

    python tests/benchmarks/bench_tracking.py            # all of it: about a quarter of an hour on one core
    python tests/benchmarks/bench_tracking.py --nights 20 --trials 100

The machine: 3 % Gaussian noise on every measurement; in 8 % of the nights of a series its node is slow, by 15 to 40 %.
In the re-runs the node stays as it was ("persists"), or slowness comes and goes for every single measurement ("comes
and goes"), or in stretches of five measurements on average ("in stretches"). The fixed calculation that would show a
slow node is not used: rules that hold without it hold with it.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.track.rules import (
    MIN_EFFECT,
    MIN_SCORE_EFFECT,
    PAIRS,
    SCORE_RUNS,
    SUSPECT_P,
    PairTest,
    keep_going,
    log_ratios,
    paired_items,
    paired_ratio,
    regressed,
    suspicion,
)  # fmt: skip

NOISE, SLOW, SLOW_BY = 0.03, 0.08, (1.15, 1.40)
PAST = 30
MODES = ("persists", "in stretches", "comes and goes")


@dataclass
class Node:
    """The machine that one series meets in one night."""

    rng: np.random.Generator
    mode: str
    factor: float = field(init=False)
    slow: bool = field(init=False)

    def __post_init__(self) -> None:
        self.factor = float(self.rng.uniform(*SLOW_BY))
        self.slow = bool(self.rng.random() < SLOW)

    def measure(self, level: float) -> float:
        turns = {"persists": 0.0, "in stretches": 0.2, "comes and goes": 1.0}[self.mode]
        if self.rng.random() < turns:
            self.slow = bool(self.rng.random() < SLOW)
        return level * float(np.exp(NOISE * self.rng.standard_normal())) * (self.factor if self.slow else 1.0)


def tested(node: Node, good: float, head: float) -> tuple[PairTest | None, int]:
    """The re-runs of one suspicion: the test, or None where it was let go; and how many pairs it took."""
    pairs: list[tuple[float, float]] = []
    while keep_going(log_ratios(pairs) if pairs else [], MIN_EFFECT):
        if len(pairs) % 2:
            after, before = node.measure(head), node.measure(good)
        else:
            before, after = node.measure(good), node.measure(head)
        pairs.append((before, after))
    return (paired_ratio(pairs) if len(pairs) == PAIRS else None), len(pairs)


@dataclass
class Tally:
    """What happened over all nights."""

    nights: int = 0
    series_nights: int = 0
    suspicions: int = 0
    pairs: int = 0
    alarms: int = 0


def quiet(mode: str, n_series: int, nights: int, seed: int) -> Tally:
    """Nothing changes: every alarm is false."""
    rng, tally = np.random.default_rng(seed), Tally()
    past = [[Node(rng, mode).measure(1.0) for _ in range(PAST)] for _ in range(n_series)]
    for _ in range(nights):
        tests: dict[int, PairTest | None] = {}
        for series, values in enumerate(past):
            node = Node(rng, mode)
            values.append(node.measure(1.0))
            if suspicion(values):
                tests[series], pairs = tested(node, 1.0, 1.0)
                tally.pairs += pairs
            del values[0]
        alarms = len(regressed(tests, dict.fromkeys(tests, MIN_EFFECT)))
        tally.nights += 1
        tally.series_nights += n_series
        tally.suspicions += len(tests)
        tally.alarms += alarms
    return tally


def planted(mode: str, by: float, over: int, trials: int, seed: int, last: int = 20, company: int = 40) -> list[int]:
    """The night (1: the first) on which a rise to 1 + `by` within `over` nights is alarmed; 0 if never within `last`.

    `company` further suspicions, none of which stands, share the night's false-discovery rate."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(trials):
        values = [Node(rng, mode).measure(1.0) for _ in range(PAST)]
        caught = 0
        for night in range(1, last + 1):
            level = 1 + by * min(1.0, night / over)
            node = Node(rng, mode)
            values.append(node.measure(level))
            why = suspicion(values)
            if why is None:
                continue
            good = 1 + by * min(1.0, max(0, why.good - PAST + 1) / over)
            tests: dict[int, PairTest | None] = dict.fromkeys(range(1, company + 1))
            tests[0], _ = tested(node, good, level)
            if 0 in regressed(tests, dict.fromkeys(tests, MIN_EFFECT)):
                caught = night
                break
        found.append(caught)
    return found


def drops(
    drop: float, churn: float, trials: int, seed: int, n: int = 1000, past: int = 7, n_series: int = 200,
    lasting: bool = False,
) -> float:  # fmt: skip
    """Share of first nights on which a score of `n` items that lost `drop` of its points is alarmed.

    A share `churn` of the items is answered otherwise, besides: by every single run; or, `lasting`, by tonight's code,
    each time, as many of them for the better as for the worse. `n_series` scores changed in that night."""
    rng, caught = np.random.default_rng(seed), 0

    def run(right: NDArray[np.bool_]) -> NDArray[np.float64]:
        return np.where(rng.random(n) < (0 if lasting else churn), ~right, right).astype(float)

    for _ in range(trials):
        good = rng.random(n) < 0.8
        head = good.copy()
        head[rng.choice(np.flatnonzero(good), round(drop * n), replace=False)] = False
        for right in (True, False) if lasting else ():
            flipped = rng.choice(np.flatnonzero(head == right), rng.binomial(n, churn / 2), replace=False)
            head[flipped] = not right
        before = np.mean([run(good) for _ in range(past)], axis=0)
        test = paired_items(before, run(head))
        if test.p > SUSPECT_P or test.worse_by < MIN_SCORE_EFFECT:
            continue
        again = paired_items(*(np.array([run(side) for _ in range(SCORE_RUNS)]) for side in (good, head)))
        caught += 0 in regressed({0: again}, {0: MIN_SCORE_EFFECT}, n_series)
    return caught / trials


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--series", type=int, default=500)
    parser.add_argument("--nights", type=int, default=200)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print("nothing changed: false alarms")
    for mode in MODES:
        t = quiet(mode, options.series, options.nights, options.seed)
        print(
            f"  slow node {mode:15} {t.series_nights} series-nights: {t.alarms} alarms, "
            f"{30 * t.alarms / t.nights:.2f} in 30 nights of {options.series} series; "
            f"{t.suspicions / t.nights:.1f} suspicions and {t.pairs / t.nights:.0f} pairs of re-runs a night",
            flush=True,
        )
    print("planted rises: alarmed by night")
    for mode in MODES:
        for by, over, last in ((0.2, 1, 3), (0.1, 1, 10), (0.1, 10, 20)):
            nights = np.array(planted(mode, by, over, options.trials, options.seed, last))
            shares = {k: np.mean((nights > 0) & (nights <= k)) for k in (1, 2, 3, 5, 10, 15, 20) if k <= last}
            print(f"  slow node {mode:15} +{by:.0%} over {over:2} night(s): "
                  + ", ".join(f"{k}: {share:.1%}" for k, share in shares.items()), flush=True)  # fmt: skip
    print("a score of 1,000 items, past of 7 nights: alarmed on the first night")
    for lasting, n_series in ((False, 200), (True, 1), (True, 20), (True, 200)):
        which = "by the code, once" if lasting else "by every run"
        print(f"  churn {which}; scores that changed in that night: {n_series}")
        for churn in (0.0, 0.005, 0.01, 0.03, 0.05):
            shares = {
                drop: drops(drop, churn, options.trials, options.seed, n_series=n_series, lasting=lasting)
                for drop in (0.0, 0.01, 0.015, 0.02, 0.03)
            }
            told = ", ".join(f"-{drop:.1%}: {share:.1%}" for drop, share in shares.items())
            print(f"    churn {churn:.1%}: {told}", flush=True)


if __name__ == "__main__":
    main()
