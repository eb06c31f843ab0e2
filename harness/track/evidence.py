"""Re-runs of what is suspected: the last good commit and tonight's, in turns on this machine, and what they show."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from harness.errors import UsageError
from harness.track import rules
from harness.track.amounts import is_cost
from harness.track.history import SeriesKey, Work
from harness.track.pairs import Once, Pair, interleave, processes_for
from harness.track.rules import PairTest
from harness.track.suspects import Suspect
from harness.track.trees import Tree, tree_of

SPARE_PAIRS = 8
"""Made beyond `rules.PAIRS` where the machine's speed moved within some."""
STATUS_PAIRS = 2


class Rerun(Protocol):
    """Makes pairs of one cell, one by one; begins nothing after the deadline (by `time.monotonic`). Raises UsageError
    where a commit cannot be had."""

    def __call__(
        self, work: Work, scale: str, good: str, head: str, processes: int, deadline: float
    ) -> Iterator[Pair]: ...


@dataclass
class Evidence:
    """What the re-runs of one suspicion came to."""

    suspect: Suspect
    pairs: list[tuple[float, float]] = field(default_factory=list)
    """(good, head) of the pairs that count."""
    items: tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]] = field(default_factory=lambda: ([], []))
    answered: list[tuple[bool, bool]] = field(default_factory=list)
    dropped: int = 0
    why_none: str = ""
    """Why there can be no verdict."""
    yields: bool = False
    """Whether there never will be one."""
    not_run: bool = False
    """No time was left."""

    @property
    def wants_more(self) -> bool:
        if self.why_none or len(self.answered) >= rules.PAIRS + SPARE_PAIRS:
            return False
        if self.suspect.layer == "status":
            return len(self.answered) < STATUS_PAIRS
        if self.suspect.by_items:
            return len(self.items[0]) < rules.SCORE_RUNS
        return rules.keep_going(self._worse(), self._least)

    @property
    def complete(self) -> bool:
        """Whether all pairs that decide were made; else it was let go, or could not be measured."""
        if self.suspect.by_items:
            return len(self.items[0]) >= rules.SCORE_RUNS
        return len(self.pairs) >= rules.PAIRS

    @property
    def let_go(self) -> bool:
        return bool(self.pairs) and not self.complete and not rules.keep_going(self._worse(), self._least)

    @property
    def no_longer_answers(self) -> bool:
        """Whether the good commit answers, and tonight's does not, each time."""
        tried = self.suspect.layer == "status" and len(self.answered) >= STATUS_PAIRS
        return tried and all(good and not head for good, head in self.answered)

    def add(self, pair: Pair) -> None:
        """Take what a pair says of this number."""
        self.answered.append((pair.base.ok, pair.head.ok))
        suspect = self.suspect
        if suspect.layer == "status":
            return
        for side, once in (("good", pair.base), ("tonight's", pair.head)):
            if not once.ok:
                self.why_none = f"the {side} commit did not answer again: {once.cell.status}: {once.cell.reason}"[:500]
                return
        if suspect.by_items:
            self._add_items(pair.base, pair.head)
        else:
            self._add_ratio(pair)

    def test(self) -> PairTest | None:
        """None: it was let go, or there are too few pairs."""
        if not self.complete:
            return None
        if self.suspect.by_items:
            good, head = (np.array(side) for side in self.items)
            return rules.paired_items(good, head, self.suspect.higher_is_better)
        if is_cost(self.suspect.key.metric):
            return rules.paired_ratio(self.pairs)
        return rules.paired_differences(self.pairs, self.suspect.higher_is_better)

    @property
    def _least(self) -> float:
        return self.suspect.min_effect

    def _worse(self) -> list[float]:
        """By how much tonight's commit is worse, a pair each."""
        if is_cost(self.suspect.key.metric):
            return rules.log_ratios(self.pairs) if self.pairs else []
        return [(good - head) if self.suspect.higher_is_better else (head - good) for good, head in self.pairs]

    def _add_items(self, base: Once, head: Once) -> None:
        metric = self.suspect.key.metric
        good, tonight = base.items.get(metric), head.items.get(metric)
        if good is None or tonight is None or good.shape != tonight.shape:
            self.why_none = "the two commits do not score the same items"
            return
        self.items[0].append(good)
        self.items[1].append(tonight)

    def _add_ratio(self, pair: Pair) -> None:
        suspect = self.suspect
        good, tonight = (once.cell.values.get(suspect.key.metric) for once in (pair.base, pair.head))
        if good is None or tonight is None:
            self.why_none = f"{suspect.key.metric} is not measured at one of the two commits"
        elif is_cost(suspect.key.metric) and (good.value <= 0 or tonight.value <= 0):
            self.why_none = f"{suspect.key.metric} is not above 0 at both commits, so that there is no ratio"
        elif pair.moved and suspect.unit == "ns":
            self.dropped += 1
        else:
            self.pairs.append((good.value, tonight.value))


@dataclass
class _Group:
    """Suspicions of one cell against one commit, which the same pairs decide."""

    work: Work
    scale: str
    good: str
    members: list[Evidence]
    pairs: Iterator[Pair] | None = None
    made: int = 0

    @property
    def wants_more(self) -> bool:
        return any(evidence.wants_more for evidence in self.members)


def gather(
    suspects: Sequence[Suspect], head: str, rerun: Rerun, budget_s: float, told: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
) -> tuple[dict[SeriesKey, Evidence], int]:  # fmt: skip
    """Run every suspected cell again until the budget (0: none) is spent: a few pairs of each, the worst first, then
    more of those that still look bad, so that one long cell does not take the time of all. Returns the evidence and how
    many pairs were made. `told` hears what is run."""
    found = {s.key: Evidence(s) for s in suspects}
    begun, made = clock(), 0
    groups: dict[tuple[Work, str], _Group] = {}
    for evidence in sorted(found.values(), key=lambda e: (-e.suspect.severity, e.suspect.key)):
        suspect = evidence.suspect
        if suspect.good.commit == head:
            evidence.why_none = "an earlier night of the same commit was as before: the machine changed, not the code"
            evidence.yields = True
            continue
        work, good = suspect.key.work, suspect.good.commit
        groups.setdefault((work, good), _Group(work, suspect.scale, good, [])).members.append(evidence)

    deadline = begun + budget_s if budget_s else math.inf

    def spent() -> bool:
        return clock() >= deadline

    for upto in (*rules.LOOKS, rules.PAIRS, rules.PAIRS + SPARE_PAIRS):
        going = [group for group in groups.values() if group.wants_more]
        for number, group in enumerate(going, 1):
            if spent():
                break
            told(f"[{number}/{len(going)}] up to {upto} pairs: {group.work}: {group.good[:12]} against {head[:12]}")
            try:
                while group.wants_more and group.made < upto and not spent():
                    group.pairs = group.pairs or rerun(
                        group.work, group.scale, group.good, head, _processes(group.members), deadline
                    )
                    pair = next(group.pairs, None)
                    if pair is None:
                        break
                    group.made += 1
                    for evidence in group.members:
                        if evidence.wants_more:
                            evidence.add(pair)
            except UsageError as error:
                for evidence in group.members:
                    evidence.why_none, evidence.yields = str(error), True
    for group in groups.values():
        made += group.made
        for evidence in group.members:
            evidence.not_run = evidence.wants_more and spent()
    return found, made


def _processes(group: Sequence[Evidence]) -> int:
    """Of each side in a pair: several where their noise decides, one where the answers do."""
    if all(e.suspect.by_items or e.suspect.layer == "status" for e in group):
        return 1
    return processes_for(max(e.suspect.wall_s for e in group))


class Trees:
    """Re-runs by the code of a checkout; trees are unpacked once each, and removed at the end."""

    def __init__(self, repo: Path, timeout_s: float) -> None:
        self._repo, self._timeout_s = repo, timeout_s
        self._stack, self._trees = ExitStack(), dict[str, Tree]()

    def __enter__(self) -> Trees:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __call__(self, work: Work, scale: str, good: str, head: str, processes: int, deadline: float) -> Iterator[Pair]:
        base, tonight = (self._tree(commit) for commit in (good, head))
        return interleave(
            base,
            tonight,
            work,
            scale,
            timeout_s=self._timeout_s,
            pairs=rules.PAIRS + SPARE_PAIRS,
            processes=processes,
            deadline=deadline,
        )

    def _tree(self, commit: str) -> Tree:
        if commit not in self._trees:
            self._trees[commit] = self._stack.enter_context(tree_of(self._repo, commit))
        return self._trees[commit]


def standing(
    found: Mapping[SeriesKey, Evidence], changed_scores: int
) -> tuple[set[SeriesKey], dict[SeriesKey, PairTest]]:
    """Which suspicions stand, costs and scores each at their own rate, and the tests behind."""
    tests = {key: evidence.test() for key, evidence in found.items() if evidence.suspect.layer != "status"}
    effects = {key: evidence.suspect.min_effect for key, evidence in found.items()}
    stand: set[SeriesKey] = set()
    for by_items, n in ((False, 0), (True, changed_scores)):
        family = {key: test for key, test in tests.items() if found[key].suspect.by_items == by_items}
        if family:
            stand |= rules.regressed(family, effects, n)
    stand |= {key for key, evidence in found.items() if evidence.no_longer_answers}
    return stand, {key: test for key, test in tests.items() if test}
