"""What others have published about these problems, to be read beside our own results and never in one column with
them: their models are larger, are trained for longer, and on other draws.

The curves are Kazemnejad et al. 2023: decoders of 12 layers and 107 million parameters, one for each position scheme,
trained for 40,000 steps of 64 strings. Means of exact match over three seeds, recomputed from the per-seed result files
that the authors released. `agreement` compares our order of the schemes with theirs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import Literal

PAPER = "Kazemnejad et al. 2023, arXiv:2305.19466"
SOURCE = f"{PAPER}; McGill-NLP/length-generalization @ 40f8a44, results/sanity_check.jsonl and results/classic.jsonl"
SCHEMES = ("nope", "t5-relative", "alibi", "rope", "sinusoidal")
"""Our rows' names of the schemes that were run: none, T5's relative bias, ALiBi, rotary, absolute sinusoidal."""
DECIMALS = 2
"""To which the curves are known; means that are equal to so many decimals count as tied, ours as well."""


@dataclass(frozen=True)
class Split:
    """One published data split, and what came out."""

    name: str
    """As the authors call it."""
    problem: str
    """The one of ours that it matches; empty: none."""
    trained: int | None
    """Longest length in training; None: not traced."""
    lengths: tuple[int, ...]
    """Of the values below. Empty: these are means over all longer lengths, one for each of three seeds."""
    exact_match: Mapping[str, tuple[float, ...]]
    """By our row's name."""
    remark: str

    def beyond(self, scheme: str) -> float:
        """Mean exact match over the published lengths beyond the trained one (over seeds, where these are given)."""
        values = self.exact_match[scheme]
        if self.lengths and self.trained is not None:
            values = tuple(v for v, length in zip(values, self.lengths, strict=True) if length > self.trained)
        return math.fsum(values) / len(values)


def _curves(*values: tuple[float, ...]) -> dict[str, tuple[float, ...]]:
    return dict(zip(SCHEMES, values, strict=True))


SPLITS = (
    Split("copy rsc", "repeat-token", 20, (25, 30, 40), _curves(
        (1.00, 0.99, 0.96), (1.00, 0.94, 0.21), (0.92, 0.00, 0.00), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0),
    ), "one token, repeated; the answer is the same"),
    Split("copy rdc", "", 20, (25, 30, 40), _curves(
        (0.99, 0.97, 0.92), (0.94, 0.92, 0.91), (0.05, 0.00, 0.00), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0),
    ), "one token, repeated; the answer repeats another one: none of our problems does that"),
    Split("copy cmc", "copy", 20, (22, 26, 30, 35), _curves(
        (0.74, 0.69, 0.17, 0.00), (0.76, 0.72, 0.56, 0.05), (0.77, 0.71, 0.23, 0.00), (0.0, 0.0, 0.0, 0.0),
        (0.01, 0.00, 0.00, 0.00),
    ), "random words of 100; something other than the scheme holds all of them near .75 just beyond 20"),
    Split("copy cmc2x", "", 20, (22, 28, 32), _curves(
        (0.94, 0.77, 0.11), (0.97, 0.88, 0.41), (0.99, 0.91, 0.54), (0.01, 0.00, 0.00), (0.0, 0.0, 0.0),
    ), "the answer is the question twice: none of our problems does that"),
    Split("reverse mc", "reverse", 20, (22, 25, 28), _curves(
        (0.98, 0.54, 0.02), (0.99, 0.61, 0.02), (0.99, 0.04, 0.00), (0.33, 0.00, 0.00), (0.0, 0.0, 0.0),
    ), "random words of 100; rotary at 22 is one seed of three"),
    Split("reverse mc2x", "", 20, (22, 28, 32), _curves(
        (0.98, 0.80, 0.25), (0.98, 0.70, 0.20), (0.98, 0.00, 0.00), (0.13, 0.00, 0.00), (0.0, 0.0, 0.0),
    ), "reversed twice: none of our problems does that"),
    Split("SCAN mdlen_tr25_ts48", "scan", 25, (), _curves(
        (0.77, 0.83, 0.79), (0.84, 0.79, 0.77), (0.46, 0.46, 0.39), (0.21, 0.31, 0.33), (0.07, 0.05, 0.05),
    ), "answers of 26 to 48 actions; a start token stands first, as in our strings"),
    Split("SCAN len_tr25_ts48", "scan", 25, (), _curves(
        (0.81, 0.78, 0.00), (0.00, 0.80, 0.00), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), (0.00, 0.05, 0.08),
    ), "answers of 26 to 48 actions, without a start token: seeds differ by all or nothing"),
    Split("PCFG md_productivity", "", None, (), _curves(
        (0.42, 0.44, 0.44), (0.41, 0.46, 0.45), (0.44, 0.43, 0.42), (0.44, 0.46, 0.42), (0.35, 0.37, 0.38),
    ), "lengths 9 to 40; all but sinusoidal within the noise of seeds; none of our problems is PCFG SET"),
)  # fmt: skip
"""Where two match one problem, the one of the nearer form stands first."""


@dataclass(frozen=True)
class Anchor:
    """A single published figure about a problem of ours."""

    problem: str
    method: str
    says: str
    source: str
    seen: Literal["paper", "repository", "secondary"]
    """Where we read it: the paper, its authors' repository, or others who quote it."""


ANCHORS = (
    Anchor("sort", "decoder without position code", "trained to 20, at 100: under .01; with the successor hint .926",
           "Awasthi and Gupta 2023, arXiv:2310.00726", "paper"),
    Anchor("sort-floats", "pointer network, 0 / 1 glimpse", "trained and tested at one length: .81 / .90 at 5, "
           ".08 / .28 at 10, .00 / .04 at 15", "Vinyals et al. 2015, arXiv:1511.06391, Table 1", "paper"),
    Anchor("sort-floats", "read-process-write, 10 steps, 0 / 1 glimpse", "trained and tested at one length: .90 / .94 "
           "at 5, .19 / .50 at 10, .00 / .10 at 15", "Vinyals et al. 2015, arXiv:1511.06391, Table 1", "paper"),
    Anchor("even-pairs", "encoder of 5 layers, best of seeds and rates", "trained to 40, at 41 to 500: "
           "at least .9 of the tokens; of the other regular languages none", "Deletang et al. 2023, arXiv:2207.02098",
           "paper"),
    Anchor("parity", "LSTM of 256, best of seeds and rates", "trained to 40, at 41 to 500: at least .9 of the tokens, "
           "as on all regular languages", "Deletang et al. 2023, arXiv:2207.02098", "paper"),
    Anchor("addition", "FIRE, index hints, least digit first", "trained to 40 digits, at 100: over .98, best of ten",
           "Zhou et al. 2024, arXiv:2402.09371", "secondary"),
    Anchor("addition", "position coupling, 1 layer of 1024", "trained to 30 digits, at 200: over .95",
           "HanseulJo/position-coupling @ b9cad94", "secondary"),
    Anchor("target-length", "Ruler on Mistral 7B v0.3", "precise match .5075, flexible match .6415, over nine lengths",
           "Geaming2002/Ruler @ d29358a", "repository"),
)  # fmt: skip
"""Of other set-ups each: none of them is a target for the small scales."""


def anchors_of(problem: str) -> list[str]:
    """What else is published about a problem, a sentence each."""
    return [f"{a.problem}, {a.method}: {a.says} ({a.source}; another set-up)" for a in ANCHORS if a.problem == problem]


def splits_of(problem: str) -> list[Split]:
    """The published splits that match a problem of ours, the nearest first; empty: there is none."""
    return [split for split in SPLITS if problem and split.problem == problem]


@dataclass(frozen=True)
class Agreement:
    """Our order of position schemes on one problem beside the published one. Pairs are (higher by ours, lower)."""

    problem: str
    split: Split
    published: Mapping[str, float]
    ours: Mapping[str, float]
    """Of the schemes in common, in both to `DECIMALS`."""
    spearman: float | None
    kendall: float | None
    """tau-b. None, as Spearman's: all schemes are tied on one side, so that there is no order to compare."""
    p: float | None
    """Share of all orders of our values whose Spearman correlation is at least as far from zero (exact)."""
    same: tuple[tuple[str, str], ...]
    opposite: tuple[tuple[str, str], ...]
    tied: tuple[tuple[str, str], ...]
    """Tied on one side at least: these neither agree nor disagree."""

    @property
    def sentence(self) -> str:
        """What agrees and what does not, in words."""
        head = f"{self.problem}, beside {self.split.name} ({PAPER}, 107 M parameters, trained to {self.split.trained})"
        if self.spearman is None or self.kendall is None or self.p is None:
            side = "the published ones" if len(set(self.published.values())) == 1 else "ours"
            return f"{head}: {side} are all tied, so there is no order of {_and(self.ours)} to compare"
        total = len(self.same) + len(self.opposite) + len(self.tied)
        parts = [f"{head}: Spearman {self.spearman:+.2f}, Kendall {self.kendall:+.2f} over {len(self.ours)} schemes "
                 f"(exact p {self.p:.2g})", f"ours {_chain(self.ours)}; published {_chain(self.published)}",
                 f"{len(self.same)} of {total} pairs stand the same way"]  # fmt: skip
        if self.opposite:
            swapped = (f"{a} above {b} ({self.ours[a]:.2f} and {self.ours[b]:.2f}; published {self.published[a]:.2f} "
                       f"and {self.published[b]:.2f})" for a, b in self.opposite)  # fmt: skip
            parts.append(f"{len(self.opposite)} the other way round: ours has {_and(swapped)}")
        else:
            parts.append("none the other way round")
        if self.tied:
            parts.append(f"{len(self.tied)} tied on one side or both")
        return "; ".join(parts)


def agreement(problem: str, ours: Mapping[str, float], split: str = "") -> Agreement | None:
    """How our order of the schemes on a problem agrees with the published one, by mean exact match beyond the trained
    length; None where no split matches, or fewer than two schemes are in common.

    Args: `ours` by row name, others than `SCHEMES` are passed over (leave out rows that did not train); `split` names
    one of `splits_of(problem)`, by default the nearest. Raises ValueError for a value that is no number.
    """
    chosen = next((s for s in splits_of(problem) if split in ("", s.name)), None)
    names = [scheme for scheme in SCHEMES if scheme in ours]
    if chosen is None or len(names) < 2:
        return None
    if wrong := [name for name in names if not math.isfinite(ours[name])]:
        raise ValueError(f"{problem}, {wrong[0]}: {ours[wrong[0]]} is no exact match; leave out rows without a score")
    own = {name: round(ours[name], DECIMALS) for name in names}
    theirs = {name: round(chosen.beyond(name), DECIMALS) for name in names}
    a, b = list(own.values()), list(theirs.values())
    pairs: dict[int, list[tuple[str, str]]] = {1: [], -1: [], 0: []}
    for first, second in combinations(names, 2):
        high, low = (second, first) if own[second] > own[first] else (first, second)
        pairs[_sign(own[high] - own[low]) * _sign(theirs[high] - theirs[low])].append((high, low))
    return Agreement(
        problem, chosen, theirs, own, spearman(a, b), kendall(a, b), permutation_p(a, b),
        tuple(pairs[1]), tuple(pairs[-1]), tuple(pairs[0]),
    )  # fmt: skip


def curve_of(problem: str, row: str) -> str:
    """The published curve of a scheme on a problem, in words; empty where there is none."""
    split = next((s for s in splits_of(problem) if row in s.exact_match), None)
    if split is None:
        return ""
    values = split.exact_match[row]
    shown = ", ".join(f"{n}: {value:g}" for n, value in zip(split.lengths, values, strict=False))
    shown = shown or f"seeds {', '.join(f'{value:g}' for value in values)}"
    return f"published ({PAPER}, {split.name}, trained to {split.trained}) {shown}"


def spearman(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Spearman's rank correlation, ties at their mean rank; None if one side is all tied."""
    x, y = _ranks(a), _ranks(b)
    middle = (len(x) - 1) / 2
    x, y = [rank - middle for rank in x], [rank - middle for rank in y]
    spread = math.sqrt(math.fsum(i * i for i in x) * math.fsum(j * j for j in y))
    return math.fsum(i * j for i, j in zip(x, y, strict=True)) / spread if spread else None


def kendall(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Kendall's tau-b, which allows for ties; None if one side is all tied."""
    signs = [(_sign(a[i] - a[j]), _sign(b[i] - b[j])) for i, j in combinations(range(len(a)), 2)]
    untied = math.sqrt(sum(x != 0 for x, _ in signs) * sum(y != 0 for _, y in signs))
    return sum(x * y for x, y in signs) / untied if untied else None


def permutation_p(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Two-sided exact p of Spearman's correlation: all n! orders of `a` are tried, which five schemes allow."""
    observed = spearman(a, b)
    if observed is None:
        return None
    found = [abs(spearman(order, b) or 0.0) >= abs(observed) - 1e-12 for order in permutations(a)]
    return sum(found) / len(found)


def _ranks(values: Sequence[float]) -> list[float]:
    """From 0; equal values share their mean rank."""
    return [sum(other < v for other in values) + (sum(other == v for other in values) - 1) / 2 for v in values]


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)


def _chain(values: Mapping[str, float]) -> str:
    """`a .98 > b = c .00`."""
    levels: dict[float, list[str]] = {}
    for name, value in sorted(values.items(), key=lambda item: -item[1]):
        levels.setdefault(value, []).append(name)
    return " > ".join(f"{' = '.join(names)} {value:.2f}" for value, names in levels.items())


def _and(parts: Iterable[str]) -> str:
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last
