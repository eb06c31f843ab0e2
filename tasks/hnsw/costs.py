"""Who is cheapest at equal recall, and who finds most within equal time. Pure functions of outcomes.

A *method* is a library with all of its build settings that were run (rows named `METHOD-m8-efc64`). Each row has a
curve: recall@10 by effort, counted once, and its costs by effort, in every process. Between two measured points of one
row the logarithm of the cost is interpolated; beyond them nothing is, and points of different builds are never joined.
The row that stands for its method is chosen once, by its median over processes.
"""

from __future__ import annotations

import math
import re
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from harness.task import Outcome, Ranking, Standing

TARGETS = (0.90, 0.95, 0.99)
BUDGETS = 4
"""Latencies at which recall is compared, spread over the range of the case's front."""
_SETTING = re.compile(r"-m\d+-efc\d+")
Cost = Callable[[Outcome, int, bool], float | None]
"""The cost of an outcome at an effort; the last argument says whether that is the default one."""


@dataclass(frozen=True)
class Point:
    """One effort of one row in one process."""

    recall: float
    cost: float
    effort: int

    def label(self, row: str) -> str:
        return f"{row} at {self.effort}" if self.effort else row


@dataclass
class Row:
    """What is known of one row on one case: recall by effort, and its processes."""

    name: str
    recalls: Mapping[int, float]
    default: int
    processes: list[Outcome] = field(default_factory=list)

    @property
    def method(self) -> str:
        return _SETTING.sub("", self.name)

    def curve(self, process: Outcome, cost: Cost) -> list[Point]:
        """Points of one process; none for what was not measured in it."""
        found = []
        for effort, recall in self.recalls.items():
            spent = cost(process, effort, effort == self.default)
            if spent is not None and spent > 0:
                found.append(Point(recall, spent, effort))
        return found


def rankings(outcomes: Sequence[Outcome]) -> Iterator[Ranking]:
    """Of each timed case: p95 latency, time a query in a batch, and distances computed at recall@10 of .90, .95, .99;
    recall@10 within a p95 latency; and the Pareto front of the two."""
    cases: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        if outcome.case.params.get("timed") and outcome.status == "ok" and outcome.method:
            cases[outcome.case.name].append(outcome)
    for case, group in sorted(cases.items()):
        rows = rows_of(group)
        for title, unit, cost in _COSTS:
            for target in TARGETS:
                standings = [
                    _cheapest(method, members, cost, target) for method, members in _methods(rows)
                ]  # fmt: skip
                found = [s for s in standings if s is not None]
                if any(s.values for s in found):
                    name = f"{title} at recall@10 of {target:.2f}"
                    yield Ranking(case, name, unit, found, values="exact" if cost is _distances else "measured")
        line = _whole_front(rows)
        for budget in _budgets([p.cost for _, p, _ in line]):
            within = [_most_found(method, members, budget) for method, members in _methods(rows)]
            name = f"recall@10 within a p95 latency of {budget:g} ms"
            yield Ranking(case, name, "recall", within, higher_is_better=True, best=1.0)
        yield Ranking(
            case, "Pareto front of p95 latency and recall@10", "ms",
            [Standing(point.label(row.name), f"recall {point.recall:.3f}", values) for row, point, values in line],
            values="listed",
        )  # fmt: skip


def rows_of(outcomes: Iterable[Outcome]) -> list[Row]:
    """Rows with their processes: of several records of one process the last counts; of several draws the one with
    the most processes, since costs are compared within one draw."""
    last: dict[tuple[str, int], dict[int, Outcome]] = defaultdict(dict)
    for outcome in outcomes:
        last[outcome.row, outcome.seed][outcome.repeat] = outcome
    best: dict[str, dict[int, Outcome]] = {}
    for (row, _), repeats in sorted(last.items()):
        if "recall@10" in (repeats[0].values if 0 in repeats else {}) and len(repeats) > len(best.get(row, ())):
            best[row] = repeats
    found = []
    for name, repeats in best.items():
        first = repeats[0].values
        found.append(Row(name, curve_of(first), int(first.get("effort", 0)), [repeats[r] for r in sorted(repeats)]))
    return found


def curve_of(values: Mapping[str, float]) -> dict[int, float]:
    """recall@10 by effort; under 0, where there is no such parameter."""
    found = {int(n[len("recall@10[") : -1]): v for n, v in values.items() if n.startswith("recall@10[")}
    return found or ({0: values["recall@10"]} if "recall@10" in values else {})


def front(points: Iterable[Point]) -> list[Point]:
    """Those that no cheaper one equals in recall, by cost."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda p: (p.cost, -p.recall)):
        if not kept or point.recall > kept[-1].recall:
            kept.append(point)
    return kept


def at_recall(points: Iterable[Point], target: float) -> tuple[float, Point, Point] | None:
    """The cost of reaching `target` and the two points it lies between (twice the same where the cheapest point reaches
    more already); None if no point does."""
    line = front(points)
    above = next((i for i, p in enumerate(line) if p.recall >= target), None)
    if above is None:
        return None
    high, low = line[above], line[max(above - 1, 0)]
    if above == 0:
        return high.cost, high, high
    share = (target - low.recall) / (high.recall - low.recall)
    return math.exp((1 - share) * math.log(low.cost) + share * math.log(high.cost)), low, high


def at_cost(points: Iterable[Point], budget: float) -> float | None:
    """The recall that `budget` buys: between its two neighbours on the front, or the highest measured if that costs
    less; None if every point costs more."""
    line = front(points)
    within = [i for i, p in enumerate(line) if p.cost <= budget]
    if not within:
        return None
    low = line[within[-1]]
    if within[-1] == len(line) - 1:
        return low.recall
    high = line[within[-1] + 1]
    return low.recall + math.log(budget / low.cost) / math.log(high.cost / low.cost) * (high.recall - low.recall)


def _methods(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.method].append(row)
    return sorted(groups.items())


def _cheapest(method: str, rows: Sequence[Row], cost: Cost, target: float) -> Standing | None:
    """The row of a method that reaches a recall at least cost, with its cost in every process."""
    found = []
    for row in rows:
        reached = [r for p in row.processes if (r := at_recall(row.curve(p, cost), target)) is not None]
        if reached:
            _, low, high = reached[0]
            between = f"{low.label(row.name)} to {high.effort}"
            label = between if low is not high else f"{high.label(row.name)} (recall {high.recall:.3f})"
            found.append((statistics.median(r[0] for r in reached), label, [r[0] for r in reached]))
    if found:
        _, label, values = min(found)
        return Standing(method, label, values)
    highest = max((r for row in rows for r in row.recalls.values()), default=0.0)
    # reached, but the library does not say what it costs: no line
    return None if highest >= target else Standing(method, "", [], f"reaches {highest:.3f} at most")


def _most_found(method: str, rows: Sequence[Row], budget: float) -> Standing:
    """The row of a method that finds most within a p95 latency, with its recall in each process that is fast enough."""
    found = []
    for row in rows:
        values = [r for p in row.processes if (r := at_cost(row.curve(p, _p95_ms), budget)) is not None]
        if 2 * len(values) > len(row.processes):
            some = "" if len(values) == len(row.processes) else f", in {len(values)} of {len(row.processes)} processes"
            found.append((statistics.median(values), row.name + some, values))
    if not found:
        return Standing(method, "", [], "slower at every setting")
    _, label, values = max(found)
    return Standing(method, label, values)


def _whole_front(rows: Sequence[Row]) -> list[tuple[Row, Point, list[float]]]:
    """The Pareto front over all rows and efforts, by the median p95 over processes."""
    every: dict[Point, tuple[Row, list[float]]] = {}
    for row in rows:
        by_effort: dict[int, list[float]] = defaultdict(list)
        for process in row.processes:
            for point in row.curve(process, _p95_ms):
                by_effort[point.effort].append(point.cost)
        for effort, costs in by_effort.items():
            every[Point(row.recalls[effort], statistics.median(costs), effort)] = (row, costs)
    return [(every[p][0], p, every[p][1]) for p in front(every)]


def _budgets(costs: Sequence[float]) -> list[float]:
    """Latencies inside a range, evenly in logarithms, of two digits."""
    if not costs or max(costs) <= min(costs):
        return []
    low, high = math.log(min(costs)), math.log(max(costs))
    inside = [math.exp(low + (high - low) * (i + 1) / (BUDGETS + 1)) for i in range(BUDGETS)]
    return list(dict.fromkeys(float(f"{value:.1e}") for value in inside))


def _p95_ms(outcome: Outcome, effort: int, default: bool) -> float | None:
    found = outcome.costs.get("query.p95_ns" if default else f"query[{effort}].p95_ns")
    return found / 1e6 if found else None


def _batch_ms(outcome: Outcome, effort: int, default: bool) -> float | None:
    found = outcome.costs.get("search.items_per_s" if default else f"search[{effort}].items_per_s")
    return 1e3 / found if found else None


def _distances(outcome: Outcome, effort: int, default: bool) -> float | None:
    return outcome.values.get("distances" if default else f"distances[{effort}]")


_COSTS: tuple[tuple[str, str, Cost], ...] = (
    ("p95 latency", "ms", _p95_ms),
    ("time a query, in a batch", "ms", _batch_ms),
    ("distances a query", "", _distances),
)
