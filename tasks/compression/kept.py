"""How much of a reference's score is kept, for sure, and by how few bytes: what all tasks of the family report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import log2

import numpy as np
from numpy.typing import NDArray

from harness.paired import paired_ratio
from harness.task import Chart, Outcome, Point, Ranking, Standing

LEVELS = (0.999, 0.99, 0.95, 0.90)
"""Shares of the reference's score at which the fewest bytes are asked for."""
Float64 = NDArray[np.float64]


def kept(items: Float64, reference: Float64) -> tuple[float, float]:
    """The ratio of two means over the same items, and its one-sided 95 % lower bound."""
    found = paired_ratio(items, reference)
    return found.value, found.lower


@dataclass(frozen=True)
class Setting:
    """One row on one case, over its draws: the worst of them where something is to be kept for sure."""

    method: str
    row: str
    bytes: float
    kept: float
    kept_low: float
    val_kept_low: float
    query_ns: tuple[float, ...]
    bytes_per_vector: float
    """Of its code; 0 where there are no vectors."""


def settings_of(outcomes: Iterable[Outcome], latency: str) -> dict[str, list[Setting]]:
    """Answered rows by case. `latency` names the stream of single uses."""
    groups: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.status == "ok" and outcome.row not in CONTROLS:
            groups.setdefault((outcome.case.name, outcome.row), []).append(outcome)
    draws: dict[str, int] = {}
    for (case, _), group in groups.items():
        draws[case] = max(draws.get(case, 0), len({o.seed for o in group if not o.repeat and "bytes" in o.values}), 1)
    found: dict[str, list[Setting]] = {}
    for (case, row), group in groups.items():
        scored = {o.seed: o.values for o in group if not o.repeat and "bytes" in o.values}
        timed = {(o.seed, o.repeat): o.costs[f"{latency}.p50_ns"] for o in group if f"{latency}.p50_ns" in o.costs}
        times = tuple(timed.values())
        if len(scored) == draws[case]:  # a row that failed on some draw is not told by the others
            of = list(scored.values())
            mean = {name: float(np.mean([v[name] for v in of])) for name in ("bytes", "kept")}
            found.setdefault(case, []).append(Setting(
                group[0].method.removesuffix(".py"), row, mean["bytes"], mean["kept"], _bound(of, "kept_low"),
                _bound(of, "val_kept_low"), times, of[0].get("bytes_per_vector", 0.0),
            ))  # fmt: skip
    return found


CONTROLS = ("oracle", "random")


def _bound(values: Sequence[Mapping[str, float]], name: str) -> float:
    return min(v[name] for v in values)


def fewest(settings: Sequence[Setting], level: float) -> Setting | None:
    """The smallest one that keeps `level` for sure on the validation part."""
    enough = [s for s in settings if s.val_kept_low >= level]
    return min(enough, key=lambda s: (s.bytes, -s.val_kept_low), default=None)


def front(settings: Sequence[Setting]) -> list[Setting]:
    """Those that no other one beats in both bytes and what is kept, smallest first."""
    found: list[Setting] = []
    for setting in sorted(settings, key=lambda s: (s.bytes, -s.kept)):
        if not found or setting.kept > found[-1].kept:
            found.append(setting)
    return found


def byte_rankings(outcomes: Sequence[Outcome], latency: str, what: str) -> Iterable[Ranking]:
    """For each case: fewest bytes at each level, by method; area under what is kept over log bytes; the Pareto front;
    and the time of one use. `what` is what is used, one at a time (`query`, `input`)."""
    for case, settings in settings_of(outcomes, latency).items():
        methods: dict[str, list[Setting]] = {}
        for setting in settings:
            methods.setdefault(setting.method, []).append(setting)
        for level in LEVELS:
            standings = []
            for method, own in methods.items():
                best = fewest(own, level)
                if best is None:
                    most = max(own, key=lambda s: s.val_kept_low)
                    standings.append(Standing(method, "", (), f"at most {most.val_kept_low:.1%} for sure"))
                else:
                    said = f"{best.row} (test: {best.kept:.2%}, {best.kept_low:.2%} or more for sure)"
                    standings.append(Standing(method, said, (best.bytes,)))
            name = f"fewest bytes that keep {100 * level:.4g} % of the reference's score"
            yield Ranking(case, name, "bytes", standings, values="exact")
        ends = log2(min(s.bytes for s in settings)), log2(max(s.bytes for s in settings))
        if ends[0] < ends[1]:
            areas = [Standing(m, f"{len(own)} settings", (area(own, *ends),)) for m, own in methods.items()]
            yield Ranking(case, "area under what is kept over log bytes, of the smallest to the largest setting here",
                          "share", areas, higher_is_better=True, best=1.0, values="exact")  # fmt: skip
        yield Ranking(
            case, "Pareto front: smaller only by keeping less", "bytes",
            [Standing(s.row, f"keeps {s.kept:.2%}", (s.bytes,)) for s in front(settings)], values="listed",
        )  # fmt: skip
        timed = [s for s in settings if s.query_ns and s.val_kept_low >= 0.95]
        if timed:
            yield Ranking(
                case, f"time of one {what}, of what keeps 95 %: smaller is not faster", "us",
                [Standing(s.row, f"{s.bytes:,.0f} bytes", tuple(ns / 1e3 for ns in s.query_ns)) for s in timed],
            )  # fmt: skip


def area(settings: Sequence[Setting], low: float, high: float) -> float:
    """Mean over log2 bytes, from `low` to `high`, of the most that is kept within so many bytes, at most 1."""
    steps = [(log2(s.bytes), min(1.0, s.kept)) for s in front(settings)]
    total = 0.0
    for (start, value), end in zip(steps, [*(s[0] for s in steps[1:]), high], strict=True):
        total += value * (end - start)
    return total / (high - low)


def byte_charts(outcomes: Sequence[Outcome], latency: str) -> Iterable[Chart]:
    """What is kept over bytes, for each case."""
    for case, settings in settings_of(outcomes, latency).items():
        best = {id(s) for s in front(settings)}
        yield Chart(
            case, f"{case}: what is kept, by size", "bytes of the artifact", "share of the reference's score",
            [Point(s.row, s.bytes, s.kept, s.kept_low, id(s) in best, s.method) for s in settings],
        )  # fmt: skip
