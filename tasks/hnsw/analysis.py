"""What the finished cells of a row say: where recall breaks, what an order of insertion costs, which models change
places. Pure functions of outcomes.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from harness.search import Bracket, bracket
from harness.stats import t_interval
from harness.task import BreakingPoint, Case, Chart, Outcome, Point
from harness.tasks.hnsw.costs import curve_of

GOAL = 0.95
"""Recall@10 whose loss is the breaking point."""
LOW, SEARCHED = 2, 128
NARROW = 2
"""The search for a dimension ends when it is known to this many: recall of 500 queries cannot tell more apart."""
KeyT = TypeVar("KeyT", bound=Any)


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
        now = bracket({k: v >= GOAL for k, v in _means(probes).items()})
        low, high = now.largest_true or LOW, now.smallest_false
        if high is None:
            if low == SEARCHED:
                continue
            k = min(2 * low, SEARCHED)
        elif high - low <= NARROW:
            continue
        else:
            k = round(math.sqrt(low * high)) if high > 2 * low else (low + high) // 2
        params = {**probes[0].case.params, "k": k}
        tail = "" if params["n"] == 10_000 else f"-n{params['n']}"
        yield Case(f"intrinsic-{k}{tail}", params, only="intrinsic", seeds=1)


def breaking_points(outcomes: Sequence[Outcome]) -> Iterator[BreakingPoint]:
    """All limits of an approximate index: the dimension where its recall breaks, the points that an order costs, and
    the models that change places. Exact search and the controls, which have no effort to choose, have none."""
    done = [o for o in outcomes if o.status == "ok" and "effort" in o.values]
    yield from _dimensions(done)
    yield from _orders(done)
    yield from _models(done)


def _probes(outcomes: Iterable[Outcome]) -> list[Outcome]:
    return [o for o in outcomes if o.case.params.get("data") == "subspace"]


def _set(outcome: Outcome) -> tuple[float, float]:
    return _number(outcome, "n"), _number(outcome, "dim")


def _dimensions(done: Sequence[Outcome]) -> Iterator[BreakingPoint]:
    searched = [o for o in _probes(done) if o.case.params["dim"] == SEARCHED]
    for (n, dim), probes in sorted(_by(searched, _set).items()):
        known = _means(probes)
        found = bracket({k: v >= GOAL for k, v in known.items()})
        default = _default(probes[0])
        others = sorted({e for o in probes for e in curve_of(o.values)} - {default, 0})
        beside = [f"{e}: {_at_effort(probes, e)}" for e in others]
        limit = f"intrinsic dimension, recall@10 of {GOAL}, n = {n:g}, in R^{dim:g}"
        yield BreakingPoint(
            limit + (f", effort {default}" if default else ""),
            _between(found, known), _crossing(found, known), _certain(probes),
            "by effort, off the curves: " + ", ".join(beside) if beside else "", limit,
        )  # fmt: skip


def charts(outcomes: Sequence[Outcome]) -> Iterator[Chart]:
    """recall@10 over the intrinsic dimension, at the default effort, for every size of data that was searched."""
    done = [o for o in _probes(outcomes) if o.status == "ok" and not o.repeat and "recall@10" in o.values]
    for (n, dim), probes in sorted(_by([o for o in done if o.case.params["dim"] == SEARCHED], _set).items()):
        points = [Point(o.row, _number(o, "k"), o.values["recall@10"], group=o.row, seed=o.seed) for o in probes]
        dimensions = sorted({p.x for p in points})
        if len(dimensions) < 3:
            continue
        points += [Point(f"goal, {GOAL}", x, GOAL, group="bound") for x in (dimensions[0], dimensions[-1])]
        title = f"recall@10 over the intrinsic dimension, n = {n:g}, in R^{dim:g}"
        yield Chart("intrinsic", title, "intrinsic dimension", "recall@10", points, lines=True)


def _at_effort(probes: Sequence[Outcome], effort: int) -> str:
    known = _means(probes, effort)
    return _between(bracket({k: v >= GOAL for k, v in known.items()}), known)


def _means(probes: Iterable[Outcome], effort: int | None = None) -> dict[int, float]:
    """recall@10 by dimension, over all draws."""
    by_k = _by(probes, lambda o: int(_number(o, "k")))
    found = {k: [v for o in of_k if (v := _recall(o, effort)) is not None] for k, of_k in by_k.items()}
    return {k: statistics.fmean(values) for k, values in found.items() if values}


def _certain(probes: Sequence[Outcome]) -> tuple[float | None, float | None]:
    """From the largest dimension surely above the goal to the smallest surely below it, in every draw: by intervals
    over queries, which hold for one graph each."""
    known = _by(probes, lambda o: int(_number(o, "k")))
    ends = {k: [o.intervals.get("recall@10") for o in of_k] for k, of_k in known.items()}
    above = [k for k, of_k in ends.items() if all(i and i[0] >= GOAL for i in of_k)]
    below = [k for k, of_k in ends.items() if all(i and i[1] < GOAL for i in of_k) and k > max(above, default=0)]
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
    for name, group in sorted(_by(ordered, lambda o: o.case.name.removesuffix(f"-{o.case.params['order']}")).items()):
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
                title = f"points lost to the worst order, {at}"
                yield BreakingPoint(
                    title, f"{statistics.fmean(lost):.1f}", statistics.fmean(lost), _spread(lost),
                    f"{worst} instead of {best}, chosen after the fact: biased upwards", title, False,
                )  # fmt: skip


def _smallest_and_default(group: Sequence[Outcome]) -> list[int | None]:
    efforts = {e for o in group for e in curve_of(o.values)}
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


# Small things ---------------------------------------------------------------------------------------------------------


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
