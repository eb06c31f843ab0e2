"""What the finished cells of the `hnsw` task say: where recall breaks, what an order costs, who is cheapest.

Pure functions of outcomes. A *curve* is what one row has measured on one case: recall and costs by effort.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from harness.search import Bracket, bracket
from harness.stats import t_interval
from harness.task import BreakingPoint, Case, Outcome, Ranking, Standing

GOAL = 0.95
"""Recall@10 whose loss is the breaking point."""
LOW, SEARCHED = 2, 128
NARROW = 2
"""The search for a dimension ends when it is known to this many: recall of 500 queries cannot tell more apart."""
TARGETS = (0.90, 0.95, 0.99)
BUDGETS_MS = (0.05, 0.1, 0.2, 0.5)
"""p95 latencies at which recall is compared."""
KeyT = TypeVar("KeyT", bound=Any)
Cost = Callable[[Outcome, int], float | None]


# Where recall breaks --------------------------------------------------------------------------------------------------


def next_dimensions(outcomes: Sequence[Outcome]) -> Iterator[Case]:
    """For each n, the next intrinsic dimension to try: bisected, until the break is known to two dimensions.

    The search takes place in R^128 (SEARCHED). A subspace is an isometric picture of R^k: the ambient dimension
    changes what a distance costs, and no distance.
    """
    searched = [o for o in _probes(outcomes) if o.case.params["dim"] == SEARCHED]
    for probes in _by(searched, _set).values():
        if any(o.status != "ok" for o in probes):
            continue
        now = bracket({int(_number(o, "k")): o.values["recall@10"] >= GOAL for o in probes})
        low, high = now.largest_true or LOW, now.smallest_false
        if high is None or high - low <= NARROW:
            continue
        k = round(math.sqrt(low * high)) if high > 2 * low else (low + high) // 2
        params = {**probes[0].case.params, "k": k}
        tail = "" if params["n"] == 10_000 else f"-n{params['n']}"
        yield Case(f"intrinsic-{k}{tail}", params, only="intrinsic", seeds=1)


def breaking_points(outcomes: Sequence[Outcome]) -> Iterator[BreakingPoint]:
    """All limits of one row: the dimension where recall breaks; of an approximate index also the points that an order
    costs, and the models that change places."""
    done = [o for o in outcomes if o.status == "ok"]
    yield from _dimensions(done)
    swept = [o for o in done if "effort" in o.values]  # exact search and the controls have nothing to lose
    yield from _orders(swept)
    yield from _models(swept)


def _probes(outcomes: Iterable[Outcome]) -> list[Outcome]:
    return [o for o in outcomes if o.case.params.get("data") == "subspace"]


def _set(outcome: Outcome) -> tuple[float, float]:
    return _number(outcome, "n"), _number(outcome, "dim")


def _dimensions(done: Sequence[Outcome]) -> Iterator[BreakingPoint]:
    for (n, dim), probes in sorted(_by(_probes(done), _set).items()):
        if len(probes) < 2:
            continue
        known = {int(_number(o, "k")): o.values["recall@10"] for o in probes}
        found = bracket({k: v >= GOAL for k, v in known.items()})
        default = _default(probes[0])
        others = sorted({e for o in probes for e in _curve(o)} - {default, 0})
        beside = [f"{e}: {_at_effort(probes, e)}" for e in others]
        yield BreakingPoint(
            f"intrinsic dimension, recall@10 of {GOAL}, n = {n}, in R^{dim}{f', effort {default}' if default else ''}",
            _between(found, known), _crossing(found, known), _certain(probes),
            "by effort, off the curves: " + ", ".join(beside) if beside else "",
        )  # fmt: skip


def _at_effort(probes: Sequence[Outcome], effort: int) -> str:
    known = {int(_number(o, "k")): v for o in probes if (v := _recall(o, effort)) is not None}
    return _between(bracket({k: v >= GOAL for k, v in known.items()}), known)


def _certain(probes: Sequence[Outcome]) -> tuple[float | None, float | None]:
    """From the largest dimension surely above the goal to the smallest surely below it: intervals over queries."""
    known = {int(_number(o, "k")): o.intervals.get("recall@10") for o in probes}
    above = [k for k, i in known.items() if i and i[0] >= GOAL]
    below = [k for k, i in known.items() if i and i[1] < GOAL and k > max(above, default=0)]
    return max(above, default=None), min(below, default=None)


def _crossing(found: Bracket, known: Mapping[int, float]) -> float | None:
    """Where the straight line between the two sides meets the goal."""
    if found.largest_true is None or found.smallest_false is None:
        return None
    low, high = found.largest_true, found.smallest_false
    share = (known[low] - GOAL) / max(known[low] - known[high], 1e-12)
    return low + share * (high - low)


def _between(found: Bracket, known: Mapping[int, float]) -> str:
    crossing = _crossing(found, known)
    if crossing is None or found.largest_true is None or found.smallest_false is None:
        return found.text()
    if found.smallest_false - found.largest_true > 8:
        return f"{found.largest_true} to {found.smallest_false}"
    return f"{crossing:.0f}"


# What an order of insertion costs -------------------------------------------------------------------------------------


def _orders(done: Sequence[Outcome]) -> Iterator[BreakingPoint]:
    ordered = [o for o in done if o.case.params.get("order") and "recall@10" in o.values]
    for name, group in sorted(_by(ordered, lambda o: o.case.name.rpartition("-")[0]).items()):
        by_order = _by(group, lambda o: str(o.case.params["order"]))
        if not {"asc", "desc"} <= set(by_order):
            continue
        for effort in _smallest_and_default(group):
            points = {
                order: {o.seed: 100 * value for o in members if (value := _recall(o, effort)) is not None}
                for order, members in by_order.items()
            }
            at = f"{name}, effort {effort}" if effort is not None else name
            gaps = _paired(points["desc"], points["asc"])
            if not gaps:
                continue
            yield BreakingPoint(
                f"points of recall@10, descending - ascending LID, {at}", f"{statistics.fmean(gaps):+.1f}",
                statistics.fmean(gaps), _spread(gaps), f"{len(gaps)} draws",
            )  # fmt: skip
            means = {order: statistics.fmean(p.values()) for order, p in points.items() if p}
            best, worst = max(means, key=lambda o: means[o]), min(means, key=lambda o: means[o])
            lost = _paired(points[best], points[worst])
            if lost and best != worst:
                yield BreakingPoint(
                    f"points lost to the worst order, {at}", f"{means[best] - means[worst]:.1f}",
                    means[best] - means[worst], _spread(lost),
                    f"{worst} instead of {best}, chosen after the fact: biased upwards",
                )  # fmt: skip


def _smallest_and_default(group: Sequence[Outcome]) -> list[int | None]:
    efforts = {e for o in group for e in _curve(o)}
    return [min(efforts), _default(group[0])] if len(efforts) > 1 else [None]


def _paired(ups: Mapping[int, float], downs: Mapping[int, float]) -> list[float]:
    return [ups[seed] - downs[seed] for seed in sorted(set(ups) & set(downs))]


def _spread(values: Sequence[float]) -> tuple[float | None, float | None]:
    found = t_interval(values)
    return (found.low, found.high) if found else (None, None)


# Which models change places -------------------------------------------------------------------------------------------


def _models(done: Sequence[Outcome]) -> Iterator[BreakingPoint]:
    """Embedding models of one collection, ranked by nDCG@10 of exact search and of this index."""
    models = {str(o.case.params["model"]): o for o in done
              if o.case.params.get("data") == "text" and o.case.params.get("order") == "random"}  # fmt: skip
    if len(models) < 3:
        return
    exact = _places({m: o.values["exact_ndcg@10"] for m, o in models.items()})
    for effort in _smallest_and_default(list(models.values())):
        name = "ndcg@10" if effort is None else f"ndcg@10[{effort}]"
        if not all(name in o.values for o in models.values()):
            continue
        own = _places({m: o.values[name] for m, o in models.items()})
        moved = {m: abs(own[m] - exact[m]) for m in models if own[m] != exact[m]}
        loss = max(models, key=lambda m: models[m].values["exact_ndcg@10"] - models[m].values[name])
        lost = 100 * (models[loss].values["exact_ndcg@10"] - models[loss].values[name])
        yield BreakingPoint(
            "embedding models that change places" + (f", effort {effort}" if effort is not None else ""),
            f"{len(moved)} of {len(models)}, by at most {max(moved.values(), default=0)}", float(len(moved)),
            beside=f"nDCG@10 falls by at most {lost:.1f} points ({loss})",
        )  # fmt: skip


def _places(values: Mapping[str, float]) -> dict[str, int]:
    return {m: sum(v > value + 1e-12 for v in values.values()) for m, value in values.items()}


# Cost at equal recall -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Point:
    recall: float
    cost: float
    label: str


def rankings(outcomes: Sequence[Outcome]) -> Iterator[Ranking]:
    """p95 latency, time per query in a batch, and distances computed, each at recall@10 of .90, .95 and .99; and the
    recall within a p95 latency.

    A method is a library with all of its build settings that were run: of these, the cheapest on the front counts.
    Between two measured points the logarithm of the cost is interpolated; beyond them, nothing is.
    """
    timed = [o for o in outcomes if o.case.params.get("timed") and o.status == "ok"]
    for case, group in sorted(_by(timed, lambda o: o.case.name).items()):
        for title, unit, cost in (("p95 latency", "ms", _p95_ms), ("time a query, in a batch", "ms", _batch_ms),
                                  ("distances a query", "", _distances)):  # fmt: skip
            for target in TARGETS:
                standings = [
                    found for method, members in _methods(group)
                    if (found := _standing(method, members, cost, partial(at_recall, target=target), target))
                ]  # fmt: skip
                if any(s.values for s in standings):
                    yield Ranking(case, f"{title} at recall@10 of {target:.2f}", unit, standings)
        for budget in BUDGETS_MS:
            standings = [
                found for method, members in _methods(group)
                if (found := _standing(method, members, _p95_ms, partial(at_cost, budget=budget), math.inf))
            ]  # fmt: skip
            if any(s.values for s in standings):
                yield Ranking(
                    case, f"recall@10 within a p95 latency of {budget:g} ms", "recall", standings, True, best=1.0
                )


def _methods(group: Sequence[Outcome]) -> list[tuple[str, list[Outcome]]]:
    """Libraries with a file (the oracle has none), each with the outcomes of all of its settings."""
    return [(method, members) for method, members in sorted(_by(group, lambda o: o.method).items()) if method]


def _standing(
    method: str, members: Sequence[Outcome], cost: Cost, read: Callable[[list[_Point]], _Point | None], target: float
) -> Standing | None:
    """What `read` finds on the curves of each process: a cost where `target` is a recall, else a recall."""
    name = method.removesuffix(".py").replace("_", "-")
    recalls = {o.row: _curve(o) for o in members if o.repeat == 0 and "recall@10" in o.values}
    if not any(recalls.values()):
        return None
    values, labels = [], []
    processes = sorted(_by(members, lambda o: o.repeat).items())
    for _, process in processes:
        points = [
            _Point(recall, spent, o.row + (f" at {effort}" if effort else ""))
            for o in process for effort, recall in recalls.get(o.row, {}).items()
            if (spent := cost(o, effort)) is not None
        ]  # fmt: skip
        found = read(points)
        if found is not None:
            values.append(found.recall if math.isinf(target) else found.cost)
            labels.append(found.label)
    if values:
        some = f" (in {len(values)} of {len(processes)} processes)" if 1 < len(processes) != len(values) > 1 else ""
        return Standing(name, statistics.mode(labels) + some, values)
    if math.isinf(target):
        return Standing(name, "", [], "slower at every setting")
    highest = max(r for curve in recalls.values() for r in curve.values())
    return None if highest >= target else Standing(name, "", [], f"reaches {highest:.3f} at most")


def front(points: Iterable[_Point]) -> list[_Point]:
    """Those that no cheaper one equals in recall, by cost."""
    kept: list[_Point] = []
    for point in sorted(points, key=lambda p: (p.cost, -p.recall)):
        if not kept or point.recall > kept[-1].recall:
            kept.append(point)
    return kept


def at_recall(points: Iterable[_Point], target: float) -> _Point | None:
    """The cost of reaching `target`: interpolated between its two neighbours on the front, or the cheapest point if
    that reaches it already; None if no point does."""
    line = front(points)
    above = next((i for i, p in enumerate(line) if p.recall >= target), None)
    if above is None:
        return None
    high = line[above]
    if above == 0:
        return high
    low = line[above - 1]
    share = (target - low.recall) / (high.recall - low.recall)
    cost = math.exp(math.log(low.cost) + share * (math.log(high.cost) - math.log(low.cost)))
    return _Point(target, cost, f"{low.label} to {high.label}" if share < 1 else high.label)


def at_cost(points: Iterable[_Point], budget: float) -> _Point | None:
    """The recall that `budget` buys: interpolated between its two neighbours on the front, or the highest measured if
    that costs less; None if every point costs more."""
    line = front(points)
    within = [i for i, p in enumerate(line) if p.cost <= budget]
    if not within:
        return None
    low = line[within[-1]]
    if within[-1] == len(line) - 1:
        return low
    high = line[within[-1] + 1]
    share = math.log(budget / low.cost) / math.log(high.cost / low.cost)
    return _Point(low.recall + share * (high.recall - low.recall), budget, f"{low.label} to {high.label}")


def _p95_ms(outcome: Outcome, effort: int) -> float | None:
    found = _cost(outcome, "query", effort, "p95_ns")
    return found / 1e6 if found else None


def _batch_ms(outcome: Outcome, effort: int) -> float | None:
    found = _cost(outcome, "search", effort, "items_per_s")
    return 1e3 / found if found else None


def _cost(outcome: Outcome, stem: str, effort: int, figure: str) -> float | None:
    """The default effort goes without brackets."""
    return outcome.costs.get(f"{stem}[{effort}].{figure}", outcome.costs.get(f"{stem}.{figure}"))


def _distances(outcome: Outcome, effort: int) -> float | None:
    return outcome.values.get(f"distances[{effort}]", outcome.values.get("distances")) or None


# Curves ---------------------------------------------------------------------------------------------------------------


def _curve(outcome: Outcome) -> dict[int, float]:
    """recall@10 by effort; under 0, where there is no such parameter."""
    found = {
        int(name[len("recall@10[") : -1]): value
        for name, value in outcome.values.items() if name.startswith("recall@10[")
    }  # fmt: skip
    return found or ({0: outcome.values["recall@10"]} if "recall@10" in outcome.values else {})


def _recall(outcome: Outcome, effort: int | None) -> float | None:
    return outcome.values.get("recall@10" if effort is None else f"recall@10[{effort}]")


def _default(outcome: Outcome) -> int | None:
    effort = outcome.values.get("effort")
    return None if effort is None else int(effort)


def _number(outcome: Outcome, name: str) -> float:
    value = outcome.case.params[name]
    assert isinstance(value, int | float)
    return value


def _by(outcomes: Iterable[Outcome], key: Callable[[Outcome], KeyT]) -> dict[KeyT, list[Outcome]]:
    groups: dict[KeyT, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        groups[key(outcome)].append(outcome)
    return groups
