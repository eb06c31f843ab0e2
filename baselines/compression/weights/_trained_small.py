"""Small networks trained from scratch, as few bytes: one block of packed integers, laid out by the architecture."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np
from numpy.typing import NDArray

from harness.baselines.compression.weights._bits import from_bits, pack_bits, packed_size, round_to_bits, unpack_bits
from harness.tasks.compression import nets
from harness.tasks.compression.weights import Parts, Predictor, Problem, named, spelled

Float32 = NDArray[np.float32]


def trained(architecture: str, problem: Problem, steps: int, lr: float, seed: int) -> dict[str, Float32]:
    """Weights of a network trained on the train part, from its start by `seed`, for so many batches."""
    epochs = steps * nets.BATCH / len(problem.inputs)
    start = nets.init(architecture, seed)
    return nets.train(architecture, start, problem.inputs, problem.labels, epochs=epochs, lr=lr, seed=seed)


def packed(architecture: str, weights: Mapping[str, Float32], bits: int) -> Parts:
    """Parts `a`, the architecture, and `q`: of each weight in order the float16 scales of its rows (one for a vector),
    then its codes."""
    block = []
    for name in nets.shapes(architecture):
        codes, scales = round_to_bits(_rows(weights[name]), bits)
        block += [scales.view(np.uint8).ravel(), pack_bits(codes, bits)]
    return {"a": spelled(architecture), "q": np.concatenate(block)}


def unpacked(parts: Parts, bits: int) -> tuple[str, dict[str, Float32]]:
    """The architecture and its weights."""
    architecture, block = named(parts["a"]), np.asarray(parts["q"], np.uint8)
    weights = {}
    for name, shape in nets.shapes(architecture).items():
        n_rows = shape[0] if len(shape) > 1 else 1
        size = packed_size(prod(shape), bits)
        scales, codes, block = np.split(block, [2 * n_rows, 2 * n_rows + size])
        whole = unpack_bits(codes, bits, prod(shape)).reshape(n_rows, -1)
        weights[name] = from_bits(whole, scales.copy().view(np.float16), bits).reshape(shape)
    return architecture, weights


def predictor(parts: Parts, bits: int) -> Predictor:
    """The network as a predictor."""
    architecture, weights = unpacked(parts, bits)
    live = nets.tensors(weights)
    return lambda inputs: nets.logits(architecture, live, inputs)


def _rows(weight: Float32) -> Float32:
    return weight.reshape(len(weight) if weight.ndim > 1 else 1, -1)
