"""The networks that are to be made small: trained by the judge, once for each seed and version of torch."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError
from harness.task import Scalar
from harness.tasks.compression import nets
from harness.tasks.compression.images import images
from harness.tasks.compression.text_corpus import endings, reference_text, windows
from harness.tasks.compression.weights.interface import Float32, Problem

_RECIPES: Mapping[str, Mapping[str, float]] = {
    "digits": {"epochs": 30, "lr": 1e-2},
    "mnist-5k": {"epochs": 15, "lr": 3e-3},
    "text": {"epochs": 6, "lr": 2e-3},
}
"""Epochs and highest learning rate by data, chosen on the validation parts of seeds 0 and 1."""
_BATCH = 256


@dataclass(frozen=True, eq=False)
class Reference:
    """A trained network, what it was trained for, and the held-out inputs, validation first."""

    problem: Problem
    weights: Mapping[str, Float32]
    inputs: NDArray[Any]
    labels: NDArray[np.int64]
    is_test: NDArray[np.bool_]
    logits: Float32
    """Its own, of `inputs`."""
    digest: str
    """SHA-256 (hex) of the data."""


def reference(data: Scalar, architecture: str, seed: int, cache: Path) -> Reference:
    """The network `architecture` trained on `data` (`digits`, `mnist-5k`, `text`), both by `seed`; weights come from
    `cache` where they lie. Raises DataError for unknown data, MissingPackage where they are not installed."""
    problem, held_out, digest = _problem(data, architecture, seed)
    weights = _trained(problem, str(data), seed, digest, cache)
    inputs = np.concatenate([inputs for inputs, _ in held_out])
    labels = np.concatenate([labels for _, labels in held_out])
    live = nets.tensors(weights)
    with nets.one_thread():
        logits = np.concatenate(
            [nets.logits(architecture, live, inputs[i : i + _BATCH]) for i in range(0, len(inputs), _BATCH)]
        )
    is_test = np.arange(len(labels)) >= len(held_out[0][1])
    return Reference(problem, weights, inputs, labels, is_test, logits, digest)


Part = tuple[NDArray[Any], NDArray[np.int64]]


def _problem(data: Scalar, architecture: str, seed: int) -> tuple[Problem, tuple[Part, Part], str]:
    match data:
        case "digits" | "mnist-5k":
            of = images(data, seed)
            shown = (of.validation, of.validation_labels), (of.test, of.test_labels)
            return Problem(architecture, of.train, of.train_labels), shown, of.digest
        case "text":
            text = reference_text(seed)
            ends = endings(text.validation, nets.CONTEXT), endings(text.test, nets.CONTEXT)
            return Problem(architecture, *windows(text.train, nets.CONTEXT)), ends, text.digest
    raise DataError(f"no data {data!r} for networks: digits, mnist-5k and text are known")


def _trained(problem: Problem, data: str, seed: int, digest: str, cache: Path) -> dict[str, Float32]:
    import torch

    recipe = _RECIPES[data]
    key = json.dumps([problem.architecture, digest, seed, dict(recipe), torch.__version__, nets.VERSION])
    path = cache / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz"
    expected = nets.shapes(problem.architecture)
    if path.is_file():
        try:
            with np.load(path, allow_pickle=False) as arrays:
                found = {name: np.asarray(arrays[name], np.float32) for name in expected}
            if all(found[name].shape == shape for name, shape in expected.items()):
                return found
        except (OSError, ValueError, KeyError, EOFError, BadZipFile):
            pass  # a broken file is made again
    start = nets.init(problem.architecture, seed)
    weights = nets.train(problem.architecture, start, problem.inputs, problem.labels, seed=seed, **recipe)
    cache.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=cache, suffix=".npz", delete=False) as file:
        np.savez(file, **weights)  # type: ignore[arg-type]
    os.replace(file.name, path)
    return weights
