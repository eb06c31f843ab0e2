"""Laws about the scores of one record: against their bounds, their items, their intervals and each other."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from harness.findings import REFERENCE
from harness.submission.law import EQUAL, Evidence, Invariant

if TYPE_CHECKING:
    from harness.record import Record, ScoreValue

NEIGHBOURS = frozenset({"hnsw", "compression/vectors"})
"""Tasks whose recall@k is the share of the k nearest that was found: another truth for each k, so that no order holds
between them. Elsewhere the relevant documents are the same for every k."""


def _beyond_its_ceiling(record: Record, _: Evidence) -> Iterator[str]:
    for score in record.scores:
        if score.best is not None:
            beyond = score.value - score.best if score.higher_is_better else score.best - score.value
            if beyond > EQUAL:
                yield f"{score.name} is {score.value!r}, and the best there is {score.best!r}"


def _below_zero(record: Record, _: Evidence) -> Iterator[str]:
    for score in record.scores:
        if score.best is not None and score.best > 0 and score.higher_is_better and score.value < -EQUAL:
            yield f"{score.name} is {score.value!r}"


def _not_the_mean(record: Record, evidence: Evidence) -> Iterator[str]:
    parts = _parts(record, evidence)
    for score in record.scores:
        items = evidence.items.get(score.name)
        if items is None or not len(items):
            continue
        mean = float(np.mean(items))
        if abs(mean - score.value) <= EQUAL * max(1.0, abs(mean)):
            continue
        of = parts.get(score.name)
        if of is None:
            yield f"{score.name} is {score.value!r}, and its {len(items)} items have the mean {mean!r}"
        elif not min(of) - EQUAL <= score.value <= max(of) + EQUAL:
            # a weighted mean over parts whose items these are (a curve's)
            yield f"{score.name} is {score.value!r}, and its parts lie between {min(of)!r} and {max(of)!r}"


def _not_the_ratio(record: Record, evidence: Evidence) -> Iterator[str]:
    """A main score without items of its own, beside those of a reference: what is kept of it."""
    main = next((score for score in record.scores if score.main), None)
    reference = evidence.items.get(REFERENCE)
    if main is None or main.n or reference is None or not reference.any():
        return
    for name, items in evidence.items.items():
        if name != REFERENCE and len(items) == len(reference):
            ratio = float(items.mean() / reference.mean())
            if abs(ratio - main.value) > EQUAL * max(1.0, ratio):
                yield f"{main.name} is {main.value!r}, and {name} over the reference {ratio!r}"


def _parts(record: Record, evidence: Evidence) -> dict[str, list[float]]:
    """Of scores that sum up others (`exact_match` over `exact_match[20]`, ...): the values of those that have items."""
    found: dict[str, list[float]] = defaultdict(list)
    for score in record.scores:
        stem, bracket, _ = score.name.partition("[")
        if bracket and score.name in evidence.items:
            found[stem].append(score.value)
    return found


def _other_count(record: Record, evidence: Evidence) -> Iterator[str]:
    for score in record.scores:
        there = len(evidence.items.get(score.name, ()))
        if score.n != there:
            yield f"{score.name} says {score.n} items, and the sidecar holds {there}"


def _no_items(record: Record, evidence: Evidence) -> Iterator[str]:
    for score in record.scores:
        share = score.main and score.best == 1.0 and score.higher_is_better
        # ratios of two means come with both means' items instead
        if share and not score.n and not any(len(items) for items in evidence.items.values()):
            yield f"{score.name} has no items"


def _items_out_of_range(record: Record, evidence: Evidence) -> Iterator[str]:
    for score in record.scores:
        items = evidence.items.get(score.name)
        if items is None or not len(items):
            continue
        if not np.isfinite(items).all():
            yield f"{score.name} has items that are no numbers"
        elif score.best == 1.0 and (items.min() < -EQUAL or items.max() > 1 + EQUAL):
            yield f"{score.name} has items from {items.min()!r} to {items.max()!r}"


def _outside_its_interval(record: Record, _: Evidence) -> Iterator[str]:
    for score in record.scores:
        if score.interval is not None:
            low, high = score.interval
            if not low - EQUAL <= score.value <= high + EQUAL:
                yield f"{score.name} is {score.value!r}, and its interval {low!r} to {high!r}"


_AT = re.compile(r"recall@(\d+)(\[.*\])?")


def _fewer_found_deeper(record: Record, evidence: Evidence) -> Iterator[str]:
    if record.task.name.removesuffix(".audit") in NEIGHBOURS:
        return
    depths: dict[str, list[tuple[int, ScoreValue]]] = defaultdict(list)
    for score in record.scores:
        if match := _AT.fullmatch(score.name):
            depths[match[2] or ""].append((int(match[1]), score))
    for of in depths.values():
        of.sort(key=lambda pair: pair[0])
        for (_, less), (_, more) in pairwise(of):
            a, b = evidence.items.get(less.name), evidence.items.get(more.name)
            if more.value < less.value - EQUAL:
                yield f"{more.name} is {more.value!r}, under {less.name}, {less.value!r}"
            elif a is not None and b is not None and len(a) == len(b) and (b < a - EQUAL).any():
                yield f"item {int(np.argmax(b < a - EQUAL))} has less {more.name} than {less.name}"


def _scored_twice(record: Record, _: Evidence) -> Iterator[str]:
    if record.repeat and record.scores:
        yield f"process {record.repeat} has scores"


def _unscored(record: Record, _: Evidence) -> Iterator[str]:
    if record.status == "ok" and record.kind != "prepare" and not record.repeat and not record.scores:
        yield "it is ok and has no score"
    if record.status != "ok" and record.scores:
        yield f"it is {record.status} and has scores"


def _names_twice(record: Record, _: Evidence) -> Iterator[str]:
    for kind, names in (("score", [s.name for s in record.scores]), ("stream", [s.name for s in record.latency])):
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield f"the {kind} {name} is there twice"
    if sum(score.main for score in record.scores) > 1:
        yield "it has two main scores"


SCORE_LAWS: tuple[Invariant, ...] = (
    Invariant("beyond-ceiling", "a score cannot be better than the best there is", _beyond_its_ceiling),
    Invariant("below-zero", "a share cannot be negative", _below_zero),
    Invariant("not-its-mean", "a score is the mean of its items, or lies between those of its parts", _not_the_mean),
    Invariant("not-its-ratio", "what is kept is the ratio of two means over the same items", _not_the_ratio),
    Invariant("item-count", "a score has as many items as it says", _other_count),
    Invariant("no-evidence", "a score needs the items that it is the mean of", _no_items),
    Invariant("items-range", "the share of one item lies between 0 and 1", _items_out_of_range),
    Invariant("interval", "an interval holds its value", _outside_its_interval),
    Invariant("recall-order", "more hits cannot hold fewer of the same documents", _fewer_found_deeper),
    Invariant("repeat-scored", "only the first process is scored", _scored_twice),
    Invariant("unscored", "what is ok is scored, and nothing else", _unscored),
    Invariant("twice", "a name stands for one thing", _names_twice),
)
