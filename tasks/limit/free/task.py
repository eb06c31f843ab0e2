"""The free-embedding experiment (Weller et al. 2025, section 4): how many documents can d dimensions serve?

One cell is one whole search for one dimension, as in the authors' code: gallop, bisect, then try every n around the
place. Each attempt's vectors go to the judge, which looks at nothing but them.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.search import Bracket, next_probe
from harness.stats import median_interval, t_interval
from harness.task import (
    Answer,
    BreakingPoint,
    Case,
    Chart,
    Draw,
    InvalidAnswer,
    Meter,
    Outcome,
    Point,
    Question,
    Score,
    Scored,
    Task,
    Unsupported,
)
from harness.tasks.limit.free.interface import TIE, FreeEmbedder, Vectors, smallest_margin
from harness.tasks.limit.free.published import fitted_critical_n, moment_curve, published_critical_n

LOW = 3
"""The search's lowest n. Two documents are answered by any vectors: there is nothing else to return."""
HIGH = 1000
"""The search's highest n (499,500 queries, judged in half a second): well beyond what optimisers reach here."""
SWEEP = 4
"""After the bisection, every n from 4 below the largest solved one to 5 above it is tried as well, as in the authors'
code, since success is not monotone in n: it depends on the start. Unlike theirs, the sweep moves on with a larger n."""
UNIT = 0.01
"""How far a vector's length may lie from 1: enough for 8-bit mantissas, too little to be of use."""


class Free(Task[FreeEmbedder]):
    """For how many documents n can vectors in d dimensions, free of any encoder, answer all pairs? (critical n)"""

    version = 1
    scores = (
        Score("critical_n", main=True, bounded=False, unit="documents"),
        Score("capped", best=0.0, higher_is_better=False),
        Score("margin", bounded=False),
        Score("probes", higher_is_better=False, bounded=False, unit="attempts"),
    )
    cases = (
        Case("d4", {"d": 4}, light="smoke"),
        Case("d6", {"d": 6}),
        Case("d8", {"d": 8}),
        Case("d10", {"d": 10}, light="full", heavy="full"),
        Case("d12", {"d": 12}, light="full", heavy="full"),
        Case("d16", {"d": 16}, light="full", heavy="full"),
        Case("d20", {"d": 20}, light="full", heavy="full"),
        Case("d24", {"d": 24}, light=None, heavy=None),
        Case("d32", {"d": 32}, light=None, heavy=None),
    )
    seeds: ClassVar = {
        "smoke": {"light": 1, "heavy": 1},
        "standard": {"light": 5, "heavy": 1},
        "full": {"light": 5, "heavy": 3},
    }

    def draw(self, case: Case, seed: int) -> Draw:
        """The problem has no random part: all chance is in the method's own start (`context.seed`)."""
        d = _dimension(case)
        return Draw(question={"d": d, "start": min(2 * d, HIGH), "low": LOW, "high": HIGH}, truth={"d": d})

    def drive(self, method: FreeEmbedder, question: Question, meter: Meter, prepared: Answer | None) -> Answer:
        """Search for the largest n that the method solves. Phase `search` holds the method's work and the checks.

        Answer: `attempts` (p, 2) int64, n and whether it was solved, in the order tried; `n0012.queries` and
        `n0012.documents` for each; `refused`, the n (if any) at which the method raised Unsupported.
        """
        d = int(question["d"])
        results: dict[int, bool] = {}
        answer: dict[str, NDArray[Any]] = {}
        refused: list[int] = []
        with meter.phase("search"):
            while not isinstance(step := _next(results, question), Bracket):
                try:
                    vectors = method.fit(step, d)
                except Unsupported:
                    if not results:
                        raise
                    refused = [step]
                    break
                # Copies, since a method may use its buffers again for the next attempt.
                queries, documents = (part.copy() for part in _checked(vectors, step, d))
                results[step] = smallest_margin(queries, documents) > TIE
                answer[_name(step, "queries")], answer[_name(step, "documents")] = queries, documents
        answer["attempts"] = np.array([[n, solved] for n, solved in results.items()], dtype=np.int64)
        answer["refused"] = np.array(refused, dtype=np.int64)
        return answer

    def score(self, case: Case, draw: Draw, answer: Answer) -> Scored:
        """Re-verify every attempt from its vectors.

        An n is solved if each query's two relevant documents score higher than all others by more than `TIE`; the dot
        products are taken in float64 from the vectors as stored, so a tie counts as a miss. `critical_n` is the
        largest n solved, `capped` 1 if that is the search's bound, so that the true value may be larger, `margin`
        the smallest gap at critical_n (0 where nothing was solved). Raises InvalidAnswer for arrays that are
        missing, of a wrong shape or type, not finite or not of unit length, and for an attempt that is claimed solved
        and is not, or the reverse.
        """
        d = int(draw.truth["d"])
        margins: dict[int, float] = {}
        for n, claimed in _attempts(answer):
            vectors = Vectors(_array(answer, _name(n, "queries")), _array(answer, _name(n, "documents")))
            margin = smallest_margin(*_checked(vectors, n, d))
            if (margin > TIE) != claimed:
                says = "solved" if claimed else "not solved"
                raise InvalidAnswer(
                    f"the attempt at n = {n} is claimed {says}, but its smallest margin is {margin:.3g}"
                )
            margins[n] = margin
        solved = sorted(n for n, margin in margins.items() if margin > TIE)
        critical = solved[-1] if solved else LOW - 1
        values = {
            "critical_n": float(critical),
            "capped": float(critical == HIGH),
            "margin": margins[critical] if solved else 0.0,
            "probes": float(len(margins)),
        }
        return Scored(values, notes=_notes(d, solved, sorted(set(margins) - set(solved)), answer))

    def breaking_points(self, outcomes: Sequence[Outcome]) -> Iterable[BreakingPoint]:
        """The critical n at each dimension: the median over seeds, beside the published one."""
        by_dimension: dict[int, list[Outcome]] = defaultdict(list)
        for outcome in outcomes:
            if outcome.status == "ok" and "critical_n" in outcome.values:
                by_dimension[_dimension(outcome.case)].append(outcome)
        for d, found in sorted(by_dimension.items()):
            point = _over_seeds(
                [o.values["critical_n"] for o in found], all(o.values.get("capped") == 1 for o in found)
            )
            published = published_critical_n(d)
            beside = f"published {published}, fit {fitted_critical_n(d):.1f} (Weller et al. 2025)" if published else ""
            yield replace(
                point, name=f"critical n, d = {d}, {len(found)} seeds", beside=beside, limit=f"critical n, d = {d}",
                per_draw={o.seed: o.values["critical_n"] for o in found}, step=1.0,
            )  # fmt: skip

    def charts(self, outcomes: Sequence[Outcome]) -> Iterable[Chart]:
        """Critical n over the dimension, beside the published ones and the cubic through them."""
        done = [o for o in outcomes if o.status == "ok" and not o.repeat and "critical_n" in o.values]
        dimensions = sorted({_dimension(o.case) for o in done})
        if len(dimensions) > 1:
            points = [Point(o.row, _dimension(o.case), o.values["critical_n"], group=o.row, seed=o.seed) for o in done]
            known = [(d, n) for d in dimensions if (n := published_critical_n(d)) is not None]
            points += [Point("published (Weller et al. 2025)", d, n, group="bound") for d, n in known]
            points += [Point("their cubic fit", d, fitted_critical_n(d), group="bound") for d in dimensions]
            yield Chart("free", "critical n over the dimension", "dimensions", "critical n", points, lines=True)

    def oracle(self, case: Case, draw: Draw) -> Answer:
        """The moment curve in its four dimensions, zero in all others: geometry permits every n that is searched.

        It needs no truth that a method does not have. As a ceiling it says that each critical n below it is a limit of
        the method that found it, not of the dimension. Judged at the highest n alone, which is what a search would
        end at.
        """
        spare = _dimension(case) - 4
        queries, documents = (np.pad(part, ((0, 0), (0, spare))) for part in moment_curve(HIGH))
        return {
            "attempts": np.array([[HIGH, 1]], dtype=np.int64), "refused": np.array([], dtype=np.int64),
            _name(HIGH, "queries"): queries, _name(HIGH, "documents"): documents,
        }  # fmt: skip


def _over_seeds(values: Sequence[float], capped: bool) -> BreakingPoint:
    """Median over seeds, with a 95 % interval: from six seeds on between two of their values; of fewer, which cannot
    reach 95 % that way, the hull of all of them and Student's (3 seeds: 95.5 % in 2,000 simulations, without 88 %)."""
    median = statistics.median(values)
    if known := median_interval(values):
        low, high = known.low, known.high
    else:
        spread = t_interval(values) or (min(values), max(values))
        low, high = max(0.0, min(*values, spread[0])), max(*values, spread[1])
    return BreakingPoint("", f">= {median:g}" if capped else f"{median:g}", None if capped else median, (low, high))


def _next(results: dict[int, bool], question: Question) -> int | Bracket:
    start, low, high = (int(question[name]) for name in ("start", "low", "high"))
    if results.get(high):  # nothing beyond is asked for, and large attempts are dear to hand over
        return Bracket(high, None)
    return next_probe(results, start, low, high, SWEEP)


def _dimension(case: Case) -> int:
    d = case.params["d"]
    if not isinstance(d, int) or d < 4:
        raise ValueError(f"case {case.name!r}: d must be a whole number of at least 4, not {d!r}")
    return d


def _name(n: int, part: str) -> str:
    return f"n{n:04d}.{part}"


def _attempts(answer: Answer) -> list[tuple[int, bool]]:
    attempts = _array(answer, "attempts")
    if attempts.ndim != 2 or attempts.shape[1] != 2 or attempts.dtype.kind not in "iu":
        raise InvalidAnswer("the answer needs `attempts`, whole numbers of shape (p, 2): n and whether it was solved")
    pairs = [(int(n), bool(claimed)) for n, claimed in attempts]
    tried = [n for n, _ in pairs]
    if not tried or len(set(tried)) < len(tried) or min(tried) < LOW or max(tried) > HIGH:
        raise InvalidAnswer(f"`attempts` must name at least one n, each once, from {LOW} to {HIGH}, not {tried}")
    return pairs


def _array(answer: Answer, name: str) -> NDArray[Any]:
    value: object = answer.get(name)
    if not isinstance(value, np.ndarray):  # an answer is read from files, which may hold anything
        what = "is missing" if value is None else f"is a {type(value).__name__}"
        needed = "`attempts`, `refused` and, for each n, `nNNNN.queries` and `nNNNN.documents`"
        raise InvalidAnswer(f"the array {name!r} {what}; the answer needs {needed}")
    return value


def _checked(vectors: Vectors, n: int, d: int) -> tuple[NDArray[Any], NDArray[Any]]:
    queries, documents = (np.asarray(part) for part in vectors)
    for part, array, rows in (("queries", queries, math.comb(n, 2)), ("documents", documents, n)):
        if array.shape != (rows, d):
            raise InvalidAnswer(f"n = {n}: {part} have shape {array.shape}, not {(rows, d)}")
        if array.dtype.kind != "f":
            raise InvalidAnswer(f"n = {n}: {part} are of type {array.dtype}, not a floating-point type")
        lengths = np.sqrt(np.einsum("ij,ij->i", array, array, dtype=np.float64))
        wrong = np.flatnonzero(~(np.abs(lengths - 1) <= UNIT))  # NaN and infinity fall in here as well
        if len(wrong):
            raise InvalidAnswer(
                f"n = {n}: {part} must be unit vectors; row {wrong[0]} has length {lengths[wrong[0]]:g}"
            )
    return queries, documents


def _notes(d: int, solved: Sequence[int], missed: Sequence[int], answer: Answer) -> list[str]:
    listed = ", ".join(map(str, solved)) or "none", ", ".join(map(str, missed)) or "none"
    notes = [f"n solved: {listed[0]}; not solved: {listed[1]}"]
    if not solved:
        notes.append(f"critical n is {LOW - 1} because two documents leave nothing else to return")
    elif solved[-1] == HIGH:
        notes.append(f"solved at the search's bound: critical n is at least {HIGH}")
    refused = _array(answer, "refused").ravel().tolist()
    notes += [f"the method had no answer for n = {n}, which ended the search" for n in refused[:1]]
    if (published := published_critical_n(d)) is not None:
        notes.append(f"published critical n at d = {d}: {published} (free embeddings, one seed)")
    return notes
