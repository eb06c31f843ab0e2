"""Sentences that a table of rows supports: the smallest dimension that suffices, and what stands out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from harness.table import Row

GOAL = 0.9


def advice_for(rows: Sequence[Row]) -> list[str]:
    """For each method that has rows at several dimensions of one case: which dimension reaches the goal, or what the
    largest reaches; and rows below chance."""
    families: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in rows:
        dimension = row.params.get("dimension")
        if row.status == "ok" and row.score is not None and isinstance(dimension, int):
            others = {k: v for k, v in row.params.items() if k != "dimension"}
            families[row.task, row.case, repr((_stem(row.baseline), sorted(others.items())))].append(row)
    sentences = []
    for (_, case, _), members in families.items():
        if len(members) < 2 or members[0].best != 1.0:
            continue
        members.sort(key=lambda r: r.params["dimension"])
        sentences.append(f"{case}: {_sentence(members)}")
    sentences += _below_random(rows)
    return sentences


def _sentence(members: Sequence[Row]) -> str:
    name, score = _stem(members[-1].baseline), members[-1].main_score
    sure = next((r for r in members if r.interval and r.interval[0] >= GOAL), None)
    if sure is not None:
        return (f"{name} reaches {score} of {GOAL} from dimension {sure.params['dimension']} on "
                f"(lower bound {sure.interval[0]:.3f}); take that one.")  # type: ignore[index]  # fmt: skip
    top = max(members, key=lambda r: r.score or 0.0)
    enough = next(r for r in members if _overlaps(r, top))
    reached = (
        f"no dimension of {name} reaches {score} of {GOAL} for sure: {top.params['dimension']} has {top.score:.3f}"
    )
    if enough is top:
        return f"{reached}; every smaller one is worse, so take it, or a method of another kind."
    return f"{reached}; {enough.params['dimension']} ({enough.score:.3f}) cannot be told from it here and is smaller."


def _overlaps(row: Row, top: Row) -> bool:
    return bool(row.interval and top.interval and row.interval[1] >= top.interval[0])


def _stem(name: str) -> str:
    head, _, tail = name.rpartition("-d")
    return head if head and tail.isdigit() else name


def _below_random(rows: Sequence[Row]) -> list[str]:
    chance = {(r.task, r.case): r for r in rows if r.baseline == "random" and r.interval}
    found = []
    for row in rows:
        control = chance.get((row.task, row.case))
        if control and control.interval and row.interval and row.interval[1] < control.interval[0]:
            found.append(f"warning: {row.baseline} is below random on {row.case}; something is wrong with it.")
    return found
