"""Simulations behind the statistics of the board and of `harness verify`: what they promise, and whether it holds.

    python tests/benchmarks/bench_statistics.py [--boards 2000] [--curves 2000] [--submissions 20000] [--only NAME]

`boards`: how often rank sets separate rows that are equal, and find a gap of five points; also of few draws, and near
the ceiling, where scores come in few steps. `curves`: how often intervals
of breaking points, as the tasks compute them, cover the true one. `submissions`: how often an honest submission is
refused for its fresh draws, and one that is three points too good is caught. All with fixed seeds.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.stats import holm, rank_sets, t_interval, t_pvalue
from harness.submission.replication import Claim, draws_needed, power_of, replications
from harness.task import BreakingPoint, Case, Outcome

DOCUMENTS, QUERIES = 46, 1000
PAIRS = np.array(list(itertools.islice(itertools.combinations(range(DOCUMENTS), 2), QUERIES)))
Floats = NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--boards", type=int, default=2000)
    parser.add_argument("--curves", type=int, default=2000)
    parser.add_argument("--submissions", type=int, default=20000)
    parser.add_argument("--only", default="", choices=("", "boards", "curves", "submissions"))
    args = parser.parse_args()
    for name, run, n in (("boards", print_boards, args.boards), ("curves", print_curves, args.curves),
                         ("submissions", print_submissions, args.submissions)):  # fmt: skip
        if args.only in ("", name):
            start = time.process_time()
            run(n)
            print(f"({time.process_time() - start:.1f} s of CPU)\n", flush=True)


def logistic(x: Floats) -> Floats:
    out: Floats = 1 / (1 + np.exp(-x))
    return out


# Boards ---------------------------------------------------------------------------------------------------------------

BASES = (-0.6, -0.6, -0.6, 0.0, 0.0, 0.0, 0.0, 0.6, 0.6)
"""Logits of nine rows, in three groups of equals. A tenth lies five points above the middle group."""
GAP = 0.05


def bases_with_gap(sd: float) -> list[float]:
    """The nine and the tenth, whose mean over documents of that spread is five points above the middle's."""
    effects = np.random.default_rng(0).normal(0, sd, 200_000)
    wanted = float(logistic(effects).mean()) + GAP
    low, high = 0.0, 2.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if float(logistic(middle + effects).mean()) < wanted else (low, middle)
    return [*BASES, low]


def draw_means(rng: np.random.Generator, bases: Sequence[float], sd: float, draws: int, shared: float) -> Floats:
    """(rows, draws) recall of 1,000 queries, each of which wants two of 46 documents. How well a row finds a document
    differs by document, new ones in each draw; `shared` is the share of that variance that all rows have in common."""
    counts = np.bincount(PAIRS.ravel(), minlength=DOCUMENTS)
    common = rng.normal(0, sd * math.sqrt(shared), (1, draws, DOCUMENTS))
    own = rng.normal(0, sd * math.sqrt(1 - shared), (len(bases), draws, DOCUMENTS))
    chances = logistic(np.array(bases)[:, None, None] + common + own)
    means: Floats = rng.binomial(counts, chances).sum(axis=2) / (2 * QUERIES)
    return means


def by_query(rng: np.random.Generator, bases: Sequence[float], sd: float, shared: float) -> Floats:
    """(rows, queries) recall of one draw."""
    common = rng.normal(0, sd * math.sqrt(shared), (1, DOCUMENTS))
    own = rng.normal(0, sd * math.sqrt(1 - shared), (len(bases), DOCUMENTS))
    chances = logistic(np.array(bases)[:, None] + common + own)
    found = rng.random((len(bases), QUERIES, 2)) < chances[:, PAIRS]
    means: Floats = found.mean(axis=2)
    return means


@dataclass(frozen=True)
class Boards:
    separated: float
    """Share of boards in which any pair of equal rows is told apart."""
    found: float
    """Share in which the row that is five points better is told from each one of the middle group, on average."""
    per_query: float
    """What tests over the queries of one draw would separate of equal pairs."""


def boards(n: int, sd: float, draws: int = 20, shared: float = 0.0, queries: int = 200) -> Boards:
    rng = np.random.default_rng([n, int(100 * sd), draws, int(100 * shared)])
    bases = bases_with_gap(sd)
    separated, found = 0, 0.0
    groups = [(0, 1, 2), (3, 4, 5, 6), (7, 8)]
    for _ in range(n):
        means = draw_means(rng, bases, sd, draws, shared)
        apart = pairs_apart(means)
        separated += any(apart[i, j] for group in groups for i, j in itertools.combinations(group, 2))
        found += statistics.fmean(apart[i, 9] for i in groups[1])
    wrong = 0
    for _ in range(queries):
        items = by_query(rng, bases, sd, shared)
        tested = list(itertools.combinations(range(len(bases)), 2))
        p = []
        for i, j in tested:
            differences = items[i] - items[j]
            t = float(differences.mean() / (differences.std(ddof=1) / math.sqrt(QUERIES)))
            p.append(math.erfc(abs(t) / math.sqrt(2)))
        low = {pair for pair, value in zip(tested, holm(p), strict=True) if value < 0.05}
        wrong += any((i, j) in low for group in groups for i, j in itertools.combinations(group, 2))
    return Boards(separated / n, found / n, wrong / max(1, queries))


def pairs_apart(means: Floats) -> NDArray[np.bool_]:
    """Which rows a board tells apart. Rank sets count pairs; of two rows alone they are the pair itself, so that the
    pairs are tested here by the same p values, and the counts compared with those of `rank_sets`."""
    rows = len(means)
    tested = list(itertools.combinations(range(rows), 2))
    first, second = np.array(tested).T
    differences = means[first] - means[second]
    n = differences.shape[1]
    error = np.sqrt(differences.var(axis=1, ddof=1) / n)
    p = [t_pvalue(float(m / e), n - 1) for m, e in zip(differences.mean(axis=1), error, strict=True)]
    apart = np.zeros((rows, rows), bool)
    for (i, j), value in zip(tested, holm(p), strict=True):
        apart[i, j] = apart[j, i] = value < 0.05
    sets = rank_sets({str(i): dict(enumerate(row.tolist())) for i, row in enumerate(means)})
    widths = [(s.high - s.low + 1 if s else 0) for s in sets.values()]
    if widths != [rows - int(row.sum()) for row in apart]:
        raise AssertionError("rank_sets counts other pairs than Holm's procedure over paired t tests")
    return apart


@dataclass(frozen=True)
class Steps:
    """A board of equal rows whose scores are counts of items."""

    rows: int
    draws: int
    items: int
    p: float


STEPS = (
    Steps(60, 6, 100, 0.99),
    Steps(60, 6, 1000, 0.999),
    Steps(200, 6, 100, 0.99),
    Steps(60, 6, 200, 0.9),
    Steps(60, 6, 50, 0.5),
    Steps(60, 12, 100, 0.99),
    Steps(60, 20, 100, 0.99),
)


def boards_in_steps(n: int, of: Steps) -> tuple[float, float]:
    """Share of boards on which any of the equal rows is told from another; and, with one more row five points below
    them, the share of them that it is told from."""
    rng = np.random.default_rng([n, of.rows, of.draws, of.items])
    separated, found = 0, 0.0
    for _ in range(n):
        counts = rng.binomial(of.items, of.p, (of.rows, of.draws))
        worse = rng.binomial(of.items, of.p - GAP, (1, of.draws))
        separated += any(ranks != (1, of.rows) for ranks in ranked(counts / of.items, of.items))
        found += (ranked(np.vstack([counts, worse]) / of.items, of.items)[-1][0] - 1) / of.rows
    return separated / n, found / n


def ranked(means: Floats, items: int) -> list[tuple[int, int]]:
    sets = rank_sets({str(i): dict(enumerate(row.tolist())) for i, row in enumerate(means)}, resolution=1 / items)
    return [(s.low, s.high) for s in sets.values() if s is not None]


def print_boards(n: int) -> None:
    print(f"{n} boards each, a fifth of 200 rows (target: equal pairs separated in at most 5 %; five points found in "
          "90 %, of 10 rows over 20 draws)")  # fmt: skip
    print("| board | any equal pair separated | five points found | per-query tests separate |")
    print("|---|---|---|---|")
    for sd in (0.5, 1.0):
        for shared in (0.0, 0.5):
            of = boards(n, sd, shared=shared)
            print(f"| 10 rows, 20 draws, logit sd {sd}, {shared:.0%} in common | {of.separated:.1%} | {of.found:.1%} "
                  f"| {of.per_query:.0%} |", flush=True)  # fmt: skip
    for board in STEPS:
        separated, found = boards_in_steps(n if board.rows < 100 else max(1, n // 5), board)
        print(f"| {board.rows} rows, {board.draws} draws of {board.items} items, {board.p} right | {separated:.1%} "
              f"| {found:.1%} | |", flush=True)  # fmt: skip


# Breaking points ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Coverage:
    """Of intervals that were given: how many hold the truth, lie above or below it; and how many were not given."""

    name: str
    covered: float
    above: float
    below: float
    none: float
    n: int


def coverage(name: str, points: Iterator[tuple[BreakingPoint | None, float]]) -> Coverage:
    inside = above = below = none = total = 0
    for point, truth in points:
        total += 1
        low, high = point.interval if point is not None else (None, None)
        if point is None or (low is None and high is None):
            none += 1
        elif low is not None and truth < low - 1e-9:
            above += 1
        elif high is not None and truth > high + 1e-9:
            below += 1
        else:
            inside += 1
    given = max(1, total - none)
    return Coverage(name, inside / given, above / given, below / given, none / total, total)


def free(n: int, seeds: int, spread: float) -> Coverage:
    """Critical n of free embeddings: whole numbers, normal before rounding; the truth is the median over seeds."""
    from harness.tasks.limit.free.task import Free

    rng, task, case = np.random.default_rng([n, seeds]), Free(), Case("d8", {"d": 8})

    def points() -> Iterator[tuple[BreakingPoint | None, float]]:
        for _ in range(n):
            centre = float(rng.uniform(10, 60))
            values = np.round(rng.normal(centre, spread, seeds))
            outcomes = [Outcome(case, s, "ok", {"critical_n": float(v), "capped": 0.0}) for s, v in enumerate(values)]
            found = next(iter(task.breaking_points(outcomes)), None)
            yield found, float(round(centre))

    return coverage(f"limit/free critical n, {seeds} seeds, sd {spread}", points())


def length(n: int, seeds: int, longest: int, spread: float, rows: int = 256) -> Coverage:
    """L90: each seed's exact match falls with length; the search is the task's own. The truth is the mean over seeds of
    the length at which the seed's curve passes 0.9, as a multiple of the trained one."""
    from harness.tasks.length import analysis

    rng = np.random.default_rng([n, seeds, longest])
    case = Case("x-l", {"longest": longest, "furthest": 25 * longest, "problem": "none"})
    mean_log = math.log(2.5)

    def points() -> Iterator[tuple[BreakingPoint | None, float]]:
        for _ in range(n):
            centre = float(rng.normal(mean_log, 0.3))
            breaks = longest * np.exp(rng.normal(centre, spread, seeds))
            known: dict[int, dict[int, float]] = {s: {} for s in range(seeds)}

            def answer(s: int, at: int, broken: float, known: dict[int, dict[int, float]] = known) -> None:
                chance = 1 / (1 + math.exp(-(math.log(9) + 12 * math.log(broken / at))))
                known[s][at] = rng.binomial(rows, chance) / rows

            for s, broken in enumerate(breaks.tolist()):
                todo = [m for m in analysis.near_lengths(longest) if m >= longest]
                while todo:
                    for at in todo:
                        answer(s, at, broken)
                    following = analysis.next_length(known[s], case)
                    todo = [following] if following else []
            outcomes = [
                Outcome(case, s, "ok", {"in_distribution": 1.0, **{f"exact_match[{k}]": v for k, v in curve.items()}})
                for s, curve in known.items()
            ]  # fmt: skip
            found = next((p for p in analysis.breaking_points(outcomes) if "longest length" in p.name), None)
            # of the population of seeds: the mean of a log-normal
            yield found, math.exp(centre + spread**2 / 2)

    return coverage(f"length L90, {seeds} seeds, L = {longest}, log sd {spread}", points())


def hnsw(n: int, queries: int = 500) -> Coverage:
    """The intrinsic dimension of recall 0.95: recall per query beta-distributed around a falling mean; the task's own
    search. The truth is where the mean passes 0.95."""
    from harness.tasks.hnsw import analysis

    rng = np.random.default_rng(n)

    def outcome(case: Case, centre: float) -> Outcome:
        k = float(case.params["k"] or 0)
        mean = 1 / (1 + math.exp(-(math.log(19) - 1.5 * math.log(k / centre))))
        items = rng.binomial(10, rng.beta(8 * mean, 8 * (1 - mean), queries)) / 10
        spread = t_interval(items.tolist())
        interval = (spread.low, min(1.0, spread.high)) if spread else (float(items.mean()),) * 2
        return Outcome(case, 0, "ok", {"recall@10": float(items.mean()), "effort": 100.0}, {"recall@10": interval})

    def points() -> Iterator[tuple[BreakingPoint | None, float]]:
        for _ in range(n):
            centre = float(np.exp(rng.uniform(math.log(12), math.log(90))))
            params: dict[str, Any] = {"data": "subspace", "dim": 128, "n": 10_000}
            todo = [Case(f"intrinsic-{k}", {**params, "k": k}) for k in (8, 32, 128)]
            outcomes: list[Outcome] = []
            while todo:
                outcomes += [outcome(case, centre) for case in todo]
                todo = [c for c in analysis.next_dimensions(outcomes) if c.params["k"] not in
                        {o.case.params["k"] for o in outcomes}]  # fmt: skip
            found = next((p for p in analysis.breaking_points(outcomes) if p.name.startswith("intrinsic")), None)
            yield found, centre

    return coverage(f"hnsw intrinsic dimension, {queries} queries", points())


def critical(n: int, draws: int = 20) -> Coverage:
    """Critical n of an encoder: recall@2 per draw around a mean that falls with n; the task's own search. The truth is
    the largest whole n whose mean is 0.9 or more."""
    from harness.tasks.limit.retrieval.task import Retrieval

    rng, task = np.random.default_rng(n), Retrieval()

    def outcome(case: Case, centre: float, tie: Floats) -> Outcome:
        size = int(case.params["n"] or 0)
        pairs = size * (size - 1) // 2
        mean = 1 / (1 + math.exp(-(math.log(9) - 1.2 * math.log(size / centre))))
        chances = logistic(math.log(mean / (1 - mean)) + tie * math.sqrt(3 / size))
        items = rng.binomial(2 * pairs, chances) / (2 * pairs)
        spread = t_interval(items.tolist())
        interval = (max(0.0, spread.low), min(1.0, spread.high)) if spread else (float(items.mean()),) * 2
        return Outcome(case, 0, "ok", {"recall@2": float(items.mean())}, {"recall@2": interval})

    def points() -> Iterator[tuple[BreakingPoint | None, float]]:
        for _ in range(n):
            centre = float(rng.uniform(5, 25))
            todo = [Case("critical-4", {"kind": "critical", "n": 4, "draws": draws})]
            outcomes: list[Outcome] = []
            while todo:
                outcomes += [outcome(case, centre, rng.normal(0, 0.3, draws)) for case in todo]
                todo = list(task.refine(outcomes))
            yield next(iter(task.breaking_points(outcomes)), None), float(math.floor(centre))

    return coverage(f"limit/retrieval critical n, {draws} draws", points())


def d90(n: int, seeds: int, spread: float = 0.1, noise: float = 0.004) -> Coverage:
    """d90 of a subspace: accuracy rises with log d; each seed has its own place. The truth is where the population's
    mean curve passes 0.9 of the base, which is that of the median seed but for the curve's bend."""
    from harness.tasks.compression.subspace import analysis

    rng = np.random.default_rng([n, seeds])

    def accuracy(d: float, place: float) -> float:
        return 0.97 / (1 + math.exp(-(math.log(9) + 2.5 * (math.log(d) - place))))

    def points() -> Iterator[tuple[BreakingPoint | None, float]]:
        for _ in range(n):
            centre = float(rng.uniform(math.log(150), math.log(900)))
            places = rng.normal(centre, spread, seeds)
            ds, outcomes = [50, 100, 250, 500, 1000, 2000], []
            for s in range(seeds):
                outcomes.append(
                    Outcome(Case("m-lenet-d0", {"d": 0}), s, "ok", {"accuracy": 0.97 + rng.normal(0, noise)})
                )
            while ds:
                for d, (s, place) in itertools.product(ds, enumerate(places.tolist())):
                    values = {"accuracy": accuracy(d, place) + rng.normal(0, noise)}
                    outcomes.append(Outcome(Case(f"m-lenet-d{d}", {"d": d}), s, "ok", values))
                (objective,) = analysis.objectives(outcomes)
                following = analysis.next_d(objective.mean, objective.threshold(True) or 0.0, 8000)
                ds = [following] if following and following not in objective.mean else []
            yield next((p for p in analysis.breaking_points(outcomes) if "relative" in p.name), None), math.exp(centre)

    return coverage(f"compression/subspace d90, {seeds} seeds", points())


CURVES: tuple[Callable[[int], Coverage], ...] = (
    lambda n: free(n, 3, 1.5),
    lambda n: free(n, 5, 1.5),
    lambda n: free(n, 5, 6.0),
    lambda n: free(n, 10, 6.0),
    lambda n: length(n, 3, 10, 0.2),
    lambda n: length(n, 5, 10, 0.2),
    lambda n: length(n, 5, 20, 0.2),
    lambda n: length(n, 5, 20, 0.05),
    hnsw,
    critical,
    lambda n: d90(n, 3),
    lambda n: d90(n, 5),
)


def print_curves(n: int) -> None:
    print(f"{n} curves each; intervals as the tasks give them (target: 93 to 97 % cover)")
    print("| breaking point | covered | interval too high | too low | no interval |")
    print("|---|---|---|---|---|")
    for simulate in CURVES:
        of = simulate(n)
        print(f"| {of.name} | {of.covered:.1%} | {of.above:.1%} | {of.below:.1%} | {of.none:.0%} |", flush=True)


# Submissions ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Submissions:
    refused: float
    """Share of honest ones."""
    caught: float
    """Share of those of which every claim is three points too good."""
    power: float
    """What `power_of` says of one cell."""


def submissions(n: int, claimed: int, fresh: int, cells: int, sd: float, inflation: float = 0.03) -> Submissions:
    """Claims over `claimed` draws, `fresh` fresh ones, `cells` cells, the deviation of one draw `sd`."""
    rng = np.random.default_rng([n, claimed, fresh, cells, int(1e4 * sd)])
    refused = caught = 0
    for _ in range(n):
        centres = rng.uniform(0.3, 0.9, cells)[:, None]
        public = np.clip(rng.normal(centres, sd, (cells, claimed)), 0, 1).round(4)
        secret = np.clip(rng.normal(centres, sd, (cells, 2 * fresh)), 0, 1).round(4)
        refused += is_refused(public, secret)
        caught += is_refused(public + inflation, secret)
    return Submissions(refused / n, caught / n, power_of(sd, claimed, fresh, inflation, 0.001 / cells))


def is_refused(public: Floats, secret: Floats) -> bool:
    """As `harness verify` does: half of the fresh draws first; the other half too where these refuse."""
    for taken in (secret.shape[1] // 2, secret.shape[1]):
        pairs = zip(public.tolist(), secret[:, :taken].tolist(), strict=True)
        if not any(one.refused for one in replications([Claim("", of, fresh, QUERIES) for of, fresh in pairs])):
            return False
    return True


def heavy_tailed(n: int, claimed: int, fresh: int) -> float:
    """Share of honest submissions refused whose draws fail now and then, as trained models do: 0.98, or 0.5 in one of
    five."""
    rng = np.random.default_rng([n, claimed, fresh])
    refused, k = 0, claimed + 2 * fresh
    for _ in range(n):
        values = (np.where(rng.random(k) < 0.2, 0.5, 0.98) + rng.normal(0, 0.005, k))[None]
        refused += is_refused(values[:, :claimed], values[:, claimed:])
    return refused / n


def print_submissions(n: int) -> None:
    print(f"{n} submissions (target: at most 0.1 % of honest ones refused, three points caught in 90 %)")
    print(
        "| draws claimed | cells | sd of a draw | draws needed | taken | honest refused | caught | foreseen, a cell |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for claimed, cells, sd in ((3, 1, 0.002), (3, 6, 0.002), (3, 1, 0.004), (3, 6, 0.004), (5, 1, 0.004), (5, 6, 0.004),
                               (5, 1, 0.01), (5, 6, 0.01), (20, 1, 0.02), (1, 1, 0.004)):  # fmt: skip
        needed = draws_needed(sd, claimed, cells)
        taken = needed or 12
        of = submissions(max(200, n // cells), claimed, taken, cells, sd)
        print(f"| {claimed} | {cells} | {sd} | {needed or 'no number is enough'} | {taken} | {of.refused:.3%} "
              f"| {of.caught:.1%} | {of.power:.1%} |", flush=True)  # fmt: skip
    for claimed, fresh in ((3, 3), (3, 6), (5, 6)):
        print(f"trained models, one of five of which fails, {claimed} draws claimed, {fresh} fresh: "
              f"{heavy_tailed(n, claimed, fresh):.3%} of honest ones refused")  # fmt: skip
    print("a claim that was raised after an honest run is caught by its own draw, drawn again: always, where the row\n"
          "is deterministic and the class of machine the same")  # fmt: skip


__all__ = ["Boards", "Coverage", "boards", "coverage", "submissions"]

if __name__ == "__main__":
    main()
