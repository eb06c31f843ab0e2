"""Intrinsic dimension (Li et al. 2018, arXiv:1804.08838; Aghajanyan et al. 2020, arXiv:2012.13255): theta0 stays as it
is drawn, and only z in theta0 + P z is trained. How small may z be?

One cell is one training. Labels of validation and test images stay in the judge; what comes back are classes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from copy import deepcopy
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.task import (
    Answer,
    BreakingPoint,
    Case,
    Draw,
    InvalidAnswer,
    Meter,
    Outcome,
    Question,
    Score,
    Scored,
    Task,
)
from harness.tasks.compression import nets
from harness.tasks.compression.images import images
from harness.tasks.compression.subspace import analysis, training
from harness.tasks.compression.subspace.interface import Objective, SubspaceMethod

SEED_BYTES = 8
"""What theta0 and P cost: their seed."""
HALF = 5
"""Digits under it are pre-trained on, the others fine-tuned on."""
PARTS = ("train", "validation", "test")


class Subspace(Task[SubspaceMethod]):
    """How many numbers must be trained until a network reaches 90 % of its accuracy? (Li et al. 2018)"""

    version: ClassVar[int] = 1
    summary: ClassVar[str] = "how many numbers must be trained to reach 90 %? (intrinsic dimension)"
    scores: ClassVar[tuple[Score, ...]] = (
        Score("accuracy", best=1.0, main=True),
        Score("validation_accuracy", best=1.0),
        Score("train_accuracy", best=1.0),
        Score("bytes", higher_is_better=False, unit="bytes of seed and z, float32", bounded=False),
    )
    # fmt: off
    cases: ClassVar[tuple[Case, ...]] = (
        Case("digits-fc50-d100", {"data": "digits", "net": "fc:64-50-10", "d": 100}, light="smoke"),
        Case("digits-fc50-d0", {"data": "digits", "net": "fc:64-50-10", "d": 0}),
        Case("digits-fc50-d50", {"data": "digits", "net": "fc:64-50-10", "d": 50}),
        Case("digits-fc50-d200", {"data": "digits", "net": "fc:64-50-10", "d": 200}),
        Case("digits-fc200-d0", {"data": "digits", "net": "fc:64-200-200-10", "d": 0}),
        Case("digits-fc200-d50", {"data": "digits", "net": "fc:64-200-200-10", "d": 50}),
        Case("digits-fc200-d100", {"data": "digits", "net": "fc:64-200-200-10", "d": 100}),
        Case("digits-fc200-d200", {"data": "digits", "net": "fc:64-200-200-10", "d": 200}),
        Case("digits-fc400-d0", {"data": "digits", "net": "fc:64-400-400-10", "d": 0}),
        Case("digits-fc400-d50", {"data": "digits", "net": "fc:64-400-400-10", "d": 50}),
        Case("digits-fc400-d100", {"data": "digits", "net": "fc:64-400-400-10", "d": 100}),
        Case("digits-fc400-d200", {"data": "digits", "net": "fc:64-400-400-10", "d": 200}),
        Case("mnist-fc200-d0", {"data": "mnist-5k", "net": "fc:784-200-200-10", "d": 0}),
        Case("mnist-fc200-d200", {"data": "mnist-5k", "net": "fc:784-200-200-10", "d": 200}),
        Case("mnist-fc200-d500", {"data": "mnist-5k", "net": "fc:784-200-200-10", "d": 500}),
        Case("mnist-fc200-d1000", {"data": "mnist-5k", "net": "fc:784-200-200-10", "d": 1000}),
        Case("mnist-lenet-d0", {"data": "mnist-5k", "net": "lenet", "d": 0}),
        Case("mnist-lenet-d100", {"data": "mnist-5k", "net": "lenet", "d": 100}),
        Case("mnist-lenet-d200", {"data": "mnist-5k", "net": "lenet", "d": 200}),
        Case("mnist-lenet-d400", {"data": "mnist-5k", "net": "lenet", "d": 400}),
        Case("mnist-lenet-pixels-d0", {"data": "mnist-5k", "net": "lenet", "pixels": "shuffled", "d": 0}),
        Case("mnist-lenet-pixels-d500", {"data": "mnist-5k", "net": "lenet", "pixels": "shuffled", "d": 500}),
        Case("mnist-lenet-pixels-d1000", {"data": "mnist-5k", "net": "lenet", "pixels": "shuffled", "d": 1000}),
        Case("mnist-fc200-pixels-d0", {"data": "mnist-5k", "net": "fc:784-200-200-10", "pixels": "shuffled", "d": 0},
             light="full", heavy="full"),
        Case("mnist-fc200-pixels-d500",
             {"data": "mnist-5k", "net": "fc:784-200-200-10", "pixels": "shuffled", "d": 500},
             light="full", heavy="full"),
        Case("mnist-fc200-pixels-d1000",
             {"data": "mnist-5k", "net": "fc:784-200-200-10", "pixels": "shuffled", "d": 1000},
             light="full", heavy="full"),
        Case("mnist59-lenet-random-d0", {"data": "mnist-5k", "net": "lenet", "classes": "5-9", "d": 0},
             light="full", heavy="full"),
        Case("mnist59-lenet-random-d50", {"data": "mnist-5k", "net": "lenet", "classes": "5-9", "d": 50},
             light="full", heavy="full"),
        Case("mnist59-lenet-random-d200", {"data": "mnist-5k", "net": "lenet", "classes": "5-9", "d": 200},
             light="full", heavy="full"),
        Case("mnist59-lenet-pretrained-d0",
             {"data": "mnist-5k", "net": "lenet", "classes": "5-9", "init": "pretrained", "d": 0},
             light="full", heavy="full"),
        Case("mnist59-lenet-pretrained-d50",
             {"data": "mnist-5k", "net": "lenet", "classes": "5-9", "init": "pretrained", "d": 50},
             light="full", heavy="full"),
        Case("mnist59-lenet-pretrained-d200",
             {"data": "mnist-5k", "net": "lenet", "classes": "5-9", "init": "pretrained", "d": 200},
             light="full", heavy="full"),
        Case("digits-fc200-labels-d0", {"data": "digits", "net": "fc:64-200-200-10", "labels": "shuffled", "d": 0},
             light="full", heavy="full"),
        Case("digits-fc200-labels-d1000",
             {"data": "digits", "net": "fc:64-200-200-10", "labels": "shuffled", "d": 1000},
             light="full", heavy="full"),
        Case("digits-fc200-labels-d4000",
             {"data": "digits", "net": "fc:64-200-200-10", "labels": "shuffled", "d": 4000},
             light="full", heavy="full"),
    )
    # fmt: on
    seeds: ClassVar = {
        "smoke": {"light": 1, "heavy": 1},
        "standard": {"light": 2, "heavy": 1},
        "full": {"light": 5, "heavy": 3},
    }
    preload: ClassVar[tuple[str, ...]] = ("numpy", "torch", "torch._dynamo")  # the last: torch.optim needs it

    def draw(self, case: Case, seed: int) -> Draw:
        """Images of the split by `seed`. Pixels and labels are shuffled by it too; theta0 and P are drawn by another
        one, made from it, so that what a method is told does not give the split away."""
        params = case.params
        parts = images(_data(case), seed, params.get("pixels") == "shuffled", params.get("labels") == "shuffled")
        shown: dict[str, Any] = {part: getattr(parts, part) for part in PARTS}
        labels = {"train": parts.train_labels, "validation": parts.validation_labels, "test": parts.test_labels}
        if params.get("classes") == "5-9":
            early = parts.train_labels < HALF
            if params.get("init") == "pretrained":
                shown |= {"before": parts.train[early], "before_labels": parts.train_labels[early]}
            kept = {part: of_part >= HALF for part, of_part in labels.items()}
            shown |= {part: shown[part][rows] for part, rows in kept.items()}
            labels = {part: of_part[kept[part]] for part, of_part in labels.items()}
        net, d = str(params["net"]), analysis.d_of(case)
        question = {**shown, "train_labels": labels["train"], "net": net, "d": d, "seed": _derived(seed),
                    "longer": training.MEMORISING if params.get("labels") == "shuffled" else 1}  # fmt: skip
        about = {"parameters": nets.n_parameters(net), **{part: len(labels[part]) for part in PARTS}}
        return Draw(question, {"labels": labels, "parameters": about["parameters"]}, parts.digest, about)

    def drive(self, method: SubspaceMethod, question: Question, meter: Meter, prepared: Answer | None) -> Answer:
        """Phases: `pretrain` (if any), `train`. Answer: `train`, `validation`, `test`: the class of each image; and
        `z`, (d,) float32 (of no numbers at d = 0)."""
        import torch

        net, d, seed = str(question["net"]), int(question["d"]), int(question["seed"])
        inputs, labels = np.array(question["train"]), np.array(question["train_labels"])
        start = training.start(net, seed)
        if "before" in question:
            before = Objective(net, start, np.array(question["before"]), np.array(question["before_labels"]))
            with meter.phase("pretrain", items=len(before.inputs)):
                start = training.new_head(net, training.train_full(before, seed), start)
        objective = Objective(net, start, inputs, labels, int(question["longer"]))
        z = np.empty(0, np.float32)
        with meter.phase("train", items=len(inputs)):
            if d == 0:
                theta = training.train_full(objective, seed)
            else:
                untouched = deepcopy(method)
                z = _z(method.train(objective, method.project(len(start), d, method.context.seed), d, seed), d)
                # P made anew: what training has left in the other one is no part of the answer
                again = untouched.project(len(start), d, method.context.seed)
                theta = start + again.expand(torch.from_numpy(z)).numpy()
        answer = {part: training.predict(net, theta, np.array(question[part])) for part in PARTS}
        return {**answer, "z": z}

    def score(self, case: Case, draw: Draw, answer: Answer) -> Scored:
        """Share of right classes in each part. Raises InvalidAnswer for classes or a z of another shape or kind."""
        d = analysis.d_of(case)
        z = _z(_array(answer, "z"), d)
        labels = draw.truth["labels"]
        right = {part: _classes(answer, part, len(of_part)) == of_part for part, of_part in labels.items()}
        values = {
            "accuracy": float(right["test"].mean()),
            "validation_accuracy": float(right["validation"].mean()),
            "train_accuracy": float(right["train"].mean()),
            "bytes": float(SEED_BYTES + z.nbytes if d else 4 * draw.truth["parameters"]),
        }
        return Scored(values, {"accuracy": right["test"].astype(np.float64)})

    def refine(self, outcomes: Sequence[Outcome]) -> Iterable[Case]:
        """The next d of each objective's searches for its d90, until known within 10 %."""
        return analysis.next_cases(outcomes, self.cases)

    def breaking_points(self, outcomes: Sequence[Outcome]) -> Iterable[BreakingPoint]:
        """d90 of each objective, relative to its own base and absolute."""
        return analysis.breaking_points(outcomes)


def _data(case: Case) -> Any:
    return case.params["data"]


def _derived(seed: int) -> int:
    return int(hashlib.sha256(f"compression/subspace {seed}".encode()).hexdigest()[:8], 16)


def _z(z: Any, d: int) -> NDArray[np.float32]:
    if not isinstance(z, np.ndarray) or z.shape != (d,) or z.dtype != np.float32 or not np.isfinite(z).all():
        what = f"{z.dtype} of shape {z.shape}" if isinstance(z, np.ndarray) else type(z).__name__
        raise InvalidAnswer(f"z must be {d} finite float32 numbers, not {what}; return z from `train` as trained")
    return z


def _array(answer: Answer, name: str) -> NDArray[Any]:
    value: object = answer.get(name)
    if not isinstance(value, np.ndarray):
        raise InvalidAnswer(f"the array {name!r} is missing; the answer needs {', '.join(PARTS)} and z")
    return value


def _classes(answer: Answer, part: str, n: int) -> NDArray[Any]:
    found = _array(answer, part)
    if found.shape != (n,) or found.dtype.kind not in "iu":
        raise InvalidAnswer(f"{part!r} must be {n} class numbers, not {found.dtype} of shape {found.shape}")
    return found
