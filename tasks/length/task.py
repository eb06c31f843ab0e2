"""How far beyond the lengths that it was trained on a sequence model holds: one training a cell, then answers to longer
and longer questions until they are wrong.

Training sees strings up to the trained length. The answers of the test stay in the judge: models generate theirs,
token by token, in a process that gets the weights and the questions.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.errors import UsageError
from harness.task import (
    Answer,
    BreakingPoint,
    Case,
    Chart,
    Draw,
    InvalidAnswer,
    Meter,
    Outcome,
    Question,
    Ranking,
    Scalar,
    Score,
    Scored,
    Task,
)
from harness.tasks.length import analysis
from harness.tasks.length.interface import Network, SequenceModel, Setting
from harness.tasks.length.problems import make
from harness.tasks.length.problems.base import PAD, Problem
from harness.tasks.length.training import Examples, weights_digest

TIMED_STEPS = 32
TIMED_ANSWERS = 64
AT_ONCE = 1 << 15
"""Rows times width of the model that are answered at once, at most: caches of longer strings grow with them."""
OF_SETTING = ("problem", "longest", "furthest", "rows", "steps", "batch", "width", "layers", "heads", "rates",
              "seconds", "lengths", "grid")  # fmt: skip
"""Parameters of a case that are not the problem's own."""


class Length(Task[SequenceModel]):
    """How far beyond the trained length does a sequence model hold? (Kazemnejad et al. 2023, Deletang et al. 2023)"""

    version: ClassVar[int] = 1
    summary: ClassVar[str] = "how far beyond the trained length does a sequence model hold?"
    scores: ClassVar[tuple[Score, ...]] = (
        Score("exact_match", best=1.0, main=True),
        Score("in_distribution", best=1.0, gate=0.95, below="not trained"),
        Score("precise_match", best=1.0),
        Score("flexible_match", best=1.0),
    )
    # fmt: off
    cases: ClassVar[tuple[Case, ...]] = (
        Case("recall-one-l4", {"problem": "recall-one", "longest": 4, "furthest": 20, "symbols": 4, "rows": 128,
             "steps": 150, "batch": 32, "width": 32, "layers": 1, "heads": 2, "rates": "1e-2"},
             light="smoke", heavy="full"),
        Case("parity-l20", {"problem": "parity", "longest": 20, "furthest": 500, "rows": 512,
             "steps": 700, "batch": 32, "width": 64, "layers": 2, "heads": 4, "rates": "2e-3 6e-3"},
             light="standard", heavy="full"),
        Case("repeat-token-l10", {"problem": "repeat-token", "longest": 10, "furthest": 100, "symbols": 64, "rows": 512,
             "steps": 600, "batch": 32, "width": 64, "layers": 2, "heads": 4, "rates": "2e-3 6e-3"},
             light="standard", heavy="full"),
        Case("copy-l10", {"problem": "copy", "longest": 10, "furthest": 100, "symbols": 10, "rows": 512,
             "steps": 1500, "batch": 32, "width": 64, "layers": 2, "heads": 4, "rates": "2e-3 6e-3"},
             light="standard", heavy="full"),
        Case("sort-unique-l10", {"problem": "sort-unique", "longest": 10, "furthest": 28, "symbols": 112, "rows": 512,
             "steps": 2400, "batch": 32, "width": 64, "layers": 2, "heads": 4, "rates": "2e-3 6e-3"},
             light="standard", heavy="standard"),
        Case("addition-binary-l8", {"problem": "addition", "longest": 8, "furthest": 40, "base": 2,
             "carries": "balanced",
             "rows": 512, "steps": 2000, "batch": 32, "width": 64, "layers": 2, "heads": 4, "rates": "2e-3 6e-3"},
             light="standard", heavy="full", only="addition"),
        Case("sort-floats-l10", {"problem": "sort-floats", "longest": 10, "furthest": 40, "rows": 512,
             "steps": 1500, "batch": 32, "width": 64, "layers": 2, "heads": 4, "rates": "2e-3 6e-3"},
             light="standard", heavy="full", only="pointing"),
        # at full scale: the other problems, longer; then what was published
        Case("mode-l20", {"problem": "mode", "longest": 20, "furthest": 200, "symbols": 5, "rows": 512,
             "steps": 20000, "batch": 32, "width": 64, "layers": 2, "heads": 4, "rates": "2e-3 6e-3"},
             light="full", heavy="full"),
        Case("even-pairs-l20", {"problem": "even-pairs", "longest": 20, "furthest": 500, "rows": 512,
             "steps": 20000, "batch": 32, "width": 64, "layers": 2, "heads": 4, "rates": "2e-3 6e-3"},
             light="full", heavy="full"),
        Case("cycle-l20", {"problem": "cycle", "longest": 20, "furthest": 500, "rows": 512,
             "steps": 20000, "batch": 32, "width": 64, "layers": 2, "heads": 4, "rates": "2e-3 6e-3"},
             light="full", heavy="full"),
        Case("modular-sum-l20", {"problem": "modular-sum", "longest": 20, "furthest": 500, "rows": 512,
             "steps": 20000, "batch": 32, "width": 64, "layers": 2, "heads": 4, "rates": "2e-3 6e-3"},
             light="full", heavy="full"),
        Case("permutations-l20", {"problem": "permutations", "longest": 20, "furthest": 500, "degree": 5, "rows": 512,
             "steps": 20000, "batch": 32, "width": 64, "layers": 2, "heads": 4, "rates": "2e-3 6e-3"},
             light="full", heavy="full"),
        Case("recall-list-l10", {"problem": "recall-list", "longest": 10, "furthest": 64, "keys": 256, "rows": 512,
             "steps": 20000, "batch": 32, "width": 64, "layers": 2, "heads": 4, "rates": "2e-3 6e-3"},
             light="full", heavy="full"),
        Case("reverse-l10", {"problem": "reverse", "longest": 10, "furthest": 100, "symbols": 10, "rows": 512,
             "steps": 20000, "batch": 32, "width": 64, "layers": 2, "heads": 4, "rates": "2e-3 6e-3"},
             light="full", heavy="full"),
        Case("copy-unique-l10", {"problem": "copy-unique", "longest": 10, "furthest": 64, "symbols": 256, "rows": 512,
             "steps": 20000, "batch": 32, "width": 64, "layers": 2, "heads": 4, "rates": "2e-3 6e-3"},
             light="full", heavy="full"),
        Case("sort-l10", {"problem": "sort", "longest": 10, "furthest": 64, "symbols": 256, "rows": 512,
             "steps": 20000, "batch": 32, "width": 64, "layers": 2, "heads": 4, "rates": "2e-3 6e-3"},
             light="full", heavy="full"),
        Case("polynomial-l8", {"problem": "polynomial", "longest": 8, "furthest": 80, "rows": 512,
             "steps": 20000, "batch": 32, "width": 64, "layers": 2, "heads": 4, "rates": "2e-3 6e-3"},
             light="full", heavy="full"),
        Case("lego-l8", {"problem": "lego", "longest": 8, "furthest": 64, "variables": 256, "rows": 512,
             "steps": 20000, "batch": 32, "width": 64, "layers": 2, "heads": 4, "rates": "2e-3 6e-3"},
             light="full", heavy="full"),
        Case("target-length-l30", {"problem": "target-length", "longest": 30, "furthest": 300, "symbols": 10,
             "rows": 512, "steps": 20000, "batch": 32, "width": 64, "layers": 2, "heads": 4, "rates": "2e-3 6e-3"},
             light="full", heavy="full"),
        Case("addition-decimal-l8", {"problem": "addition", "longest": 8, "furthest": 40, "base": 10,
             "carries": "balanced",
             "rows": 512, "steps": 20000, "batch": 32, "width": 64, "layers": 2, "heads": 4, "rates": "2e-3 6e-3"},
             light="full", heavy="full", only="addition"),
        Case("copy-l20-published", {"problem": "copy", "longest": 20, "furthest": 40, "symbols": 100, "rows": 512,
             "steps": 40000, "batch": 64, "width": 768, "layers": 12, "heads": 12, "rates": "3e-5"},
             light="full", heavy="full", gate=0.99),
        Case("repeat-token-l20-published", {"problem": "repeat-token", "longest": 20, "furthest": 40, "symbols": 100,
             "rows": 512, "steps": 40000, "batch": 64, "width": 768, "layers": 12, "heads": 12, "rates": "3e-5"},
             light="full", heavy="full", gate=0.99),
        Case("reverse-l20-published", {"problem": "reverse", "longest": 20, "furthest": 40, "symbols": 100, "rows": 512,
             "steps": 40000, "batch": 64, "width": 768, "layers": 12, "heads": 12, "rates": "3e-5"},
             light="full", heavy="full", gate=0.99),
        Case("sort-l20-published", {"problem": "sort", "longest": 20, "furthest": 40, "symbols": 50, "rows": 512,
             "steps": 40000, "batch": 64, "width": 768, "layers": 12, "heads": 12, "rates": "3e-5"},
             light="full", heavy="full", gate=0.99),
        Case("parity-l20-published", {"problem": "parity", "longest": 20, "furthest": 40, "rows": 512,
             "steps": 40000, "batch": 64, "width": 768, "layers": 12, "heads": 12, "rates": "3e-5"},
             light="full", heavy="full", gate=0.99),
        Case("scan-l22-published", {"problem": "scan", "longest": 22, "furthest": 48,
             "grid": "22 24 25 26 27 28 30 32 33 36 40 48",
             "rows": 512, "steps": 40000, "batch": 64, "width": 768, "layers": 12, "heads": 12, "rates": "3e-5"},
             light="full", heavy="full", gate=0.99),
        Case("parity-l40-published", {"problem": "parity", "longest": 40, "furthest": 500, "rows": 512,
             "steps": 1000000, "batch": 128, "width": 64, "layers": 5, "heads": 8, "rates": "1e-4 3e-4 5e-4"},
             light="full", heavy="full", gate=0.99),
        Case("even-pairs-l40-published", {"problem": "even-pairs", "longest": 40, "furthest": 500, "rows": 512,
             "steps": 1000000, "batch": 128, "width": 64, "layers": 5, "heads": 8, "rates": "1e-4 3e-4 5e-4"},
             light="full", heavy="full", gate=0.99),
        Case("cycle-l40-published", {"problem": "cycle", "longest": 40, "furthest": 500, "rows": 512,
             "steps": 1000000, "batch": 128, "width": 64, "layers": 5, "heads": 8, "rates": "1e-4 3e-4 5e-4"},
             light="full", heavy="full", gate=0.99),
    )
    # fmt: on
    seeds: ClassVar = {
        "smoke": {"light": 1, "heavy": 1},
        "standard": {"light": 3, "heavy": 3},
        "full": {"light": 5, "heavy": 5},
    }
    preload: ClassVar[tuple[str, ...]] = ("numpy", "torch", "torch._dynamo")  # the last: torch.optim needs it
    swept: ClassVar[tuple[str, ...]] = ("lengths",)
    optional: ClassVar = {"lengths": "", "seconds": 0.0}
    parallel: ClassVar[bool] = True

    def check(self, case: Case) -> None:
        """Raises UsageError for a case that cannot be: lengths under 1, no steps, a vocabulary that is too small."""
        _setting(case)
        problem = _problem(case.params)
        for length in {*analysis.lengths_of(case), analysis.furthest_of(case)}:
            problem.sample("check", length, 0, 1)

    def draw(self, case: Case, seed: int) -> Draw:
        """The key of the training strings; test strings of every length, under another key. Both are digests of the
        seed: of a small public one either can be looked up, of a secret one (`--seeds fresh`) not."""
        self.check(case)
        problem, setting = _problem(case.params), _setting(case)
        made = {"problem": case.params["problem"], "options": _options(case.params), "setting": asdict(setting)}
        key = _key(self.version, seed, "train")
        question = {**made, "key": key}
        rows = int(case.params["rows"] or 0)
        strings = {n: problem.sample(_key(self.version, seed, "test"), n, 0, rows) for n in analysis.lengths_of(case)}
        asked: dict[str, Any] = {f"x-{n}": of.x for n, of in strings.items()}
        shown = {**made, "lengths": list(strings), "most": [problem.most(n) for n in strings], **asked}
        digest = hashlib.sha256()
        for of in strings.values():
            digest.update(np.ascontiguousarray(of.x).tobytes() + of.y.tobytes())
        about: dict[str, Scalar] = {"vocabulary": problem.vocabulary, "steps": setting.steps,
                                    "chance at L": problem.chance(setting.longest)}  # fmt: skip
        if not case.params.get("lengths"):
            seen = _seen(Examples(problem, key, setting.longest, setting.batch), setting, strings[setting.longest].x)
            about["of the test at L seen in training"] = seen
        return Draw(question, {"problem": problem, "x": {n: of.x for n, of in strings.items()}},
                    digest.hexdigest(), about, shown)  # fmt: skip

    def prepare(self, method: SequenceModel, question: Question, meter: Meter) -> Answer:
        """Phases: `train` (throughput in strings), and `train_step`, single steps. Hands on the weights by name."""
        problem, setting = _made(method, question)
        said = {"hint": method.hint, "scratchpad": method.scratchpad} if isinstance(method, Network) else {}
        examples = Examples(problem, str(question["key"]), setting.longest, setting.batch, **said)
        with meter.phase("train", items=setting.steps * setting.batch, alone=False):
            weights: object = method.fit(problem, examples, setting)
        if not isinstance(weights, Mapping) or not all(isinstance(array, np.ndarray) for array in weights.values()):
            raise InvalidAnswer(f"fit returned {type(weights).__name__}; it must return NumPy arrays by name")
        method.digest = weights_digest(weights)
        step = method.timed_step(problem, examples, setting)
        if step is not None:
            meter.each("train_step", range(TIMED_STEPS), step)
        return {name: np.asarray(array) for name, array in weights.items()} or {"nothing": np.empty(0)}

    def drive(self, method: SequenceModel, question: Question, meter: Meter, prepared: Answer | None) -> Answer:
        """Phases `predict[n]` for every length n, in batches; `predict`: single questions of the trained length.
        Answer: `y-n`, (rows, width) tokens, END and what follows it included."""
        problem, setting = _made(method, question)
        assert prepared is not None
        method.restore({name: array for name, array in prepared.items() if name != "nothing"}, setting)
        answers = {}
        method.predict(_trimmed(np.array(question[f"x-{question['lengths'][0]}"])[:1]), 1)  # what is loaded with it
        for length, most in zip(question["lengths"], question["most"], strict=True):
            x = np.array(question[f"x-{length}"])
            with meter.phase(f"predict[{length}]", items=len(x)):
                answers[f"y-{length}"] = _answer(method, x, most, max(1, AT_ONCE // setting.width), problem.ragged)
        if setting.longest in question["lengths"]:
            most = question["most"][list(question["lengths"]).index(setting.longest)]
            single = [_trimmed(row[None]) for row in np.array(question[f"x-{setting.longest}"])[:TIMED_ANSWERS]]
            meter.each("predict", single, lambda row: method.predict(row, most))
        return answers

    def score(self, case: Case, draw: Draw, answer: Answer) -> Scored:
        """Exact match at each length, END included, over the distinct questions; `in_distribution` that at the trained
        length; and, without lengths of its own, the mean over (L, 2L]. Raises InvalidAnswer for answers that are no
        rows of whole numbers."""
        problem, asked = draw.truth["problem"], draw.truth["x"]
        longest = analysis.longest_of(case)
        values: dict[str, float] = {}
        items: dict[str, NDArray[np.float64]] = {}
        curves: dict[str, dict[int, float]] = {name: {} for name in problem.judged}
        for length, x in asked.items():
            judged = problem.judge(x, _tokens(answer, length, len(x)))
            distinct = np.sort(np.unique(x, axis=0, return_index=True)[1])  # of some problems there are few
            for name, of_all in judged.items():
                right = of_all[distinct]
                values[f"{name}[{length}]"] = curves[name][length] = float(right.mean())
                items[f"{name}[{length}]"] = right.astype(np.float64)
        if longest in asked:
            values["in_distribution"] = curves["exact_match"][longest]
            items["in_distribution"] = items[f"exact_match[{longest}]"]
            beyond = [n for n in asked if longest < n and (case.params.get("grid") or n <= 2 * longest)]
            for name, curve in curves.items() if beyond else ():
                values[name] = analysis.mean_beyond(curve, case)
                items[name] = np.concatenate([items[f"{name}[{n}]"] for n in beyond])
        return Scored(values, items)

    def oracle(self, case: Case, draw: Draw) -> Answer:
        """What the reference solver says."""
        return {f"y-{n}": draw.truth["problem"].solve(x) for n, x in draw.truth["x"].items()}

    def refine(self, outcomes: Sequence[Outcome]) -> Iterable[Case]:
        """More seeds where they disagree, longer lengths while a row holds, and lengths in between where it broke."""
        return analysis.next_cases(outcomes)

    def breaking_points(self, outcomes: Sequence[Outcome]) -> Iterable[BreakingPoint]:
        """The longest length held, as a multiple of the trained one; how the cost of an answer grows."""
        return analysis.breaking_points(outcomes)

    def rankings(self, outcomes: Sequence[Outcome]) -> Iterable[Ranking]:
        """Rows by the longest length held, mean over seeds."""
        return analysis.rankings(outcomes)

    def charts(self, outcomes: Sequence[Outcome]) -> Iterable[Chart]:
        """Exact match over length."""
        return analysis.charts(outcomes)

    def advice(self, outcomes: Sequence[Outcome]) -> Iterable[str]:
        """How the order of position schemes agrees with the published one."""
        return analysis.agreements(outcomes)


def _made(method: SequenceModel, question: Question) -> tuple[Problem, Setting]:
    problem = make(str(question["problem"]), **question["options"])
    said = dict(question["setting"])
    method.problem = problem
    return problem, Setting(**{**said, "rates": tuple(said["rates"])})


def _problem(params: Mapping[str, Scalar]) -> Problem:
    return make(str(params["problem"]), **_options(params))


def _options(params: Mapping[str, Scalar]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if name not in OF_SETTING}


def _setting(case: Case) -> Setting:
    """Raises UsageError for numbers that make no training."""
    params = case.params
    whole = {name: int(params[name] or 0) for name in ("longest", "steps", "batch", "width", "layers", "heads")}
    for name, value in {**whole, "rows": int(params["rows"] or 0), "furthest": analysis.furthest_of(case)}.items():
        if value < 1:
            raise UsageError(f"case {case.name}: {name} is {value}; give 1 or more, for example --set {name}=10")
    if analysis.furthest_of(case) < 2 * whole["longest"]:
        least = 2 * whole["longest"]
        raise UsageError(f"case {case.name}: furthest is {params['furthest']}; give at least --set furthest={least}, "
                         "twice the trained length")  # fmt: skip
    if whole["width"] % whole["heads"]:
        raise UsageError(f"case {case.name}: a width of {whole['width']} is no multiple of {whole['heads']} heads")
    try:
        shortest = min(analysis.lengths_of(case))
    except ValueError:
        raise UsageError(f"case {case.name}: lengths are {params['lengths']!r}; give whole numbers: --set "
                         "lengths='10 20'") from None  # fmt: skip
    if shortest < 1:
        raise UsageError(f"case {case.name}: a test length of {shortest}; lengths are 1 or more: --set lengths='10 20'")
    try:
        rates = tuple(float(rate) for rate in str(params["rates"]).split())
    except ValueError:
        rates = ()
    if not rates or min(rates) <= 0 or not all(map(math.isfinite, rates)):
        raise UsageError(
            f"case {case.name}: rates are {params['rates']!r}; give learning rates: --set rates='1e-3 2e-3'"
        )
    vocabulary = _problem(params).vocabulary
    return Setting(**whole, vocabulary=vocabulary, rates=rates, seconds=float(params.get("seconds") or 0))


def _key(version: int, seed: int, part: str) -> str:
    return hashlib.blake2b(f"length {version} {seed} {part}".encode(), digest_size=16).hexdigest()


def _seen(examples: Examples, setting: Setting, asked: NDArray[Any]) -> float:
    """Share of these test questions that training draws as well: of short ones there are few."""
    wanted = [_trimmed(row[None]).tobytes() for row in asked]
    rows = set(wanted)
    found: set[bytes] = set()
    for step in range(setting.steps):
        if examples.length(step) == setting.longest:
            found.update(row.tobytes() for row in examples.batch(step).x if row.tobytes() in rows)
    return sum(row in found for row in wanted) / len(wanted)


def _answer(method: SequenceModel, x: NDArray[Any], most: int, rows: int, ragged: bool) -> NDArray[np.int64]:
    """Answers to (n, width) questions, `rows` at a time; padded questions grouped by their width."""
    out = np.full((len(x), most), PAD, np.int64)
    widths = (x != PAD).sum(axis=1) if ragged else np.full(len(x), x.shape[1])
    for width in np.unique(widths):
        of_it = np.flatnonzero(widths == width)
        for start in range(0, len(of_it), rows):
            part = of_it[start : start + rows]
            said = np.asarray(method.predict(x[part, :width], most))
            if said.ndim != 2 or len(said) != len(part) or said.shape[1] > most or said.dtype.kind not in "iu":
                raise InvalidAnswer(f"predict returned {said.dtype} of shape {said.shape} for {len(part)} questions; "
                                    f"it must return whole numbers of shape ({len(part)}, at most {most})")  # fmt: skip
            out[part, : said.shape[1]] = said
    return out


def _trimmed(row: NDArray[Any]) -> NDArray[Any]:
    return row[:, : int((row != PAD).sum())] if row.dtype.kind == "i" else row


def _tokens(answer: Answer, length: int, rows: int) -> NDArray[np.int64]:
    found: object = answer.get(f"y-{length}")
    if not isinstance(found, np.ndarray) or found.ndim != 2 or len(found) != rows or found.dtype.kind not in "iu":
        what = f"{found.dtype} of shape {found.shape}" if isinstance(found, np.ndarray) else "missing"
        raise InvalidAnswer(f"the answer y-{length} is {what}; it must be whole numbers of shape ({rows}, width)")
    return np.asarray(found, np.int64)
