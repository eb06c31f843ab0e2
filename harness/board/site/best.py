"""Who is first: the lines of the overview. Ties are told as ties, and what is not resolved is told as that."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.board.board import CaseTable, Entry, Limit, TaskPage
from harness.board.site.words import CONTROLS, contends, interval, number, rank_text
from harness.findings import places
from harness.task import Ranking

MOST_NAMES = 3


@dataclass(frozen=True)
class Best:
    """One line: on `what`, `rows` are first with `value`; `says` is how sure that is."""

    what: str
    rows: Sequence[str]
    value: str
    interval: str = ""
    says: str = ""


def best_of(task: TaskPage, limits: int = 3, rankings: int = 3, cases: int = 2) -> list[Best]:
    """What is known best, by limits, by rankings of methods, and by the cases that most rows have answered."""
    by_limit = list(_by_limit(task))[:limits]
    by_ranking = list(_by_ranking(task))[: max(0, rankings - len(by_limit))]
    wide = sorted(task.cases, key=lambda c: -sum(map(contends, c.entries)))
    few = cases if by_limit or by_ranking else cases + limits
    return [*by_limit, *by_ranking, *(b for c in wide[:few] if (b := of_case(c)))]


def grouped_limits(task: TaskPage) -> dict[str, list[Limit]]:
    """Limits by what they are of, those that rank rows first; each group best first."""
    groups: dict[str, list[Limit]] = defaultdict(list)
    for limit in task.limits:
        groups[limit.point.limit or limit.point.name].append(limit)
    ranking = sorted(groups, key=lambda name: not any(x.point.limit for x in groups[name]))
    return {name: sorted(groups[name], key=lambda x: (x.baseline in CONTROLS, _worth(x))) for name in ranking}


def _worth(limit: Limit) -> tuple[int, float, str]:
    """Its rank, then its value: `> 100` is above all that was found, `< 3` and `not trained` below."""
    point = limit.point
    sign = -1.0 if point.higher_is_better else 1.0
    if point.value is not None:
        value = sign * point.value
    else:
        value = sign * float("inf") if point.text.lstrip().startswith((">", "\u2265")) else float("inf")
        value = value if not point.text.lstrip().startswith("<") else -sign * float("inf")
    return (limit.rank[0] if limit.rank else 10**9), value, limit.baseline


def _by_limit(task: TaskPage) -> Iterator[Best]:
    """Of limits that rank rows; of any, where none does."""
    ranks_any = any(x.point.limit for x in task.limits)
    for name, group in grouped_limits(task).items():
        members = [x for x in group if x.baseline not in CONTROLS]
        if not members or (ranks_any and not members[0].point.limit):
            continue
        first = [x for x in members if x.rank and x.rank[0] == 1]
        if first:
            ranks = rank_text(first[0].rank)
            says = f"{len(first)} tied, ranks {ranks}" if len(first) > 1 else f"rank {ranks}"
            ends = interval(first[0].point.interval)
            yield Best(name, [x.baseline for x in first], first[0].point.text, ends, says)
        else:
            top, ends = members[0], interval(members[0].point.interval)
            same = [x.baseline for x in members if x.point.text == top.point.text]
            says = "" if len(members) == 1 else f"of {len(members)}; not resolved"
            yield Best(name, same, top.point.text, ends, says)


def _by_ranking(task: TaskPage) -> Iterator[Best]:
    """The first of each ranking; of the case that most rows have answered before others."""
    size = {c.name: sum(map(contends, c.entries)) for c in task.cases}
    for ranking in sorted(task.rankings, key=lambda r: -size.get(r.case, 0)):
        if ranking.values != "listed" and (best := _first_of(ranking)):
            yield best


def _first_of(ranking: Ranking) -> Best | None:
    found = [p for p in places(ranking) if p.value is not None]
    if not found:
        return None
    first = [p for p in found if p.ranks and p.ranks[0] == 1] or found[:1]
    says = f"{len(first)} tied" if len(first) > 1 else ("" if first[0].ranks else "not resolved")
    value = f"{number(found[0].value)} {ranking.unit}".strip()
    return Best(f"{ranking.case}: {ranking.name}", [p.method for p in first], value, says=says)


def of_case(case: CaseTable) -> Best | None:
    """The rows of a case that nothing was found to be better than."""
    rows = [e for e in case.entries if contends(e) and e.row.baseline not in CONTROLS]
    if not rows:
        return None
    first: list[Entry] = [e for e in rows if e.row.rank and e.row.rank[0] == 1]
    if first:
        ranks = rank_text(first[0].row.rank)
        says = f"{len(first)} tied, ranks {ranks}" if len(first) > 1 else f"rank {ranks}"
    else:
        same = [e for e in rows if e.row.score == rows[0].row.score]
        first, says = same, "" if len(rows) == 1 else f"of {len(rows)}; not resolved"
    top = first[0].row
    name = f"{case.name}: {top.main_score}"
    return Best(name, [e.row.baseline for e in first], number(top.score), interval(top.interval), says)
