"""The compressors of networks: what they cost in bytes, and that the bytes alone suffice."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.baselines.compression.weights._bits import (
    from_bits,
    grouped,
    pack_bits,
    packed_size,
    round_to_bits,
    ungrouped,
    unpack_bits,
)
from harness.baselines.compression.weights.svd import spectral_ranks, truncated
from harness.registry import BaselineSpec, load_registry
from harness.task import Context
from harness.tasks.compression import nets
from harness.tasks.compression.artifact import pack, unpack
from harness.tasks.compression.images import images
from harness.tasks.compression.weights import Compressor, Problem

pytest.importorskip("torch")
pytest.importorskip("sklearn")
pytest.importorskip("ml_dtypes")
NET = "fc:64-200-200-10"
N = nets.n_parameters(NET)
ROWS = {
    row.name: row
    for row in load_registry().baselines
    if row.task == "compression/weights" and "torchao" not in row.requires and "subspace" not in row.name
}
OTHERS = ("random", "small-int4-0", "small-int4-16", "small-int4-32", "small-cnn-558", "small-cnn-1148",
          "small-cnn-1928")  # fmt: skip
"""Rows that use nothing of the weights."""


def instance(row: BaselineSpec) -> Compressor:
    method: Compressor = getattr(importlib.import_module(row.module), row.class_name)()
    for name, value in row.params.items():
        setattr(method, name, value)
    for name, shorter in (("steps", 60), ("epochs", 1.0)):
        if hasattr(method, name):
            setattr(method, name, shorter)
    method.context = Context(seed=5)
    method.load()
    return method


@pytest.fixture(scope="module")
def problem() -> Problem:
    split = images("digits", 0)
    return Problem(NET, split.train[:512], split.train_labels[:512])


@pytest.fixture(scope="module")
def weights(problem: Problem) -> Mapping[str, Any]:
    return nets.train(NET, nets.init(NET, 0), problem.inputs, problem.labels, epochs=20, lr=0.01)


@pytest.fixture(scope="module")
def artifacts(weights: Mapping[str, Any], problem: Problem) -> dict[str, Any]:
    class Lazy(dict[str, Any]):
        def __missing__(self, name: str) -> Any:
            self[name] = pack(instance(ROWS[name]).encode(weights, problem))
            return self[name]

    return Lazy()


@pytest.mark.parametrize("name", sorted(ROWS))
def test_a_fresh_instance_predicts_from_the_artifact_alone(
    name: str, artifacts: dict[str, Any], weights: Mapping[str, Any], problem: Problem
) -> None:
    predict = instance(ROWS[name]).decode(unpack(artifacts[name]))
    scores = predict(problem.inputs)
    assert scores.shape == (512, 10) and np.isfinite(scores).all()
    single = predict(problem.inputs[:1])
    assert single.shape == (1, 10)
    if name not in OTHERS:
        reference = nets.logits(NET, nets.tensors(weights), problem.inputs).argmax(1)
        least = {"prune-95": 0.2, "prune-90": 0.5, "prune-csr-90": 0.5, "vq-low-rank": 0.7}.get(name, 0.9)
        assert (scores.argmax(1) == reference).mean() > least


@pytest.mark.parametrize(
    ("name", "bits"),
    [
        ("float32", 32), ("float16", 16), ("bfloat16", 16), ("float8-e4m3", 8), ("float8-e5m2", 8),
        ("float8-e4m3-row", 8.1), ("int8", 8.1), ("int8-dynamic", 8.1), ("int6", 6.1), ("int4", 4.1),
        ("int4-g32", 4.5), ("int3-g32", 3.5), ("int2-g32", 2.5), ("nf4", 4.25), ("prune-50", 9), ("prune-90", 2.6),
    ],
)  # fmt: skip
def test_bytes_are_the_bits_that_the_name_says_with_scales_and_little_else(
    name: str, bits: float, artifacts: dict[str, Any]
) -> None:
    vectors = 2 * (200 + 200 + 10)  # biases, float16
    header = 500
    assert abs(len(artifacts[name]) - (N * bits / 8 + vectors)) < header + vectors


def test_fake_int4_saves_nothing(artifacts: dict[str, Any]) -> None:
    assert len(artifacts["fake-int4"]) == len(artifacts["float32"])
    matrix = unpack(artifacts["fake-int4"])["w2"]
    assert len(np.unique(matrix[0])) <= 15


def test_masks_left_in_place_make_it_twice_as_large(artifacts: dict[str, Any]) -> None:
    assert len(artifacts["prune-masks"]) > 1.95 * len(artifacts["float32"])


def test_rows_of_indices_at_half_the_weights_cost_what_dense_costs(artifacts: dict[str, Any]) -> None:
    assert 0.99 < len(artifacts["prune-csr-50"]) / len(artifacts["float32"]) < 1.04
    assert len(artifacts["prune-50"]) < 0.3 * len(artifacts["float32"])


def test_pruning_zeroes_the_share_that_it_says(artifacts: dict[str, Any]) -> None:
    parts = unpack(artifacts["prune-90"])
    n_kept = sum(len(part) for name, part in parts.items() if name.endswith("x"))
    matrices = 64 * 200 + 200 * 200 + 200 * 10
    assert n_kept == round(0.1 * matrices)


def test_spectral_ranks_cost_no_more_than_uniform_ones(weights: Mapping[str, Any]) -> None:
    matrices = [w for w in weights.values() if w.ndim > 1]
    for rank in (2, 8, 32):
        ranks = spectral_ranks(matrices, rank)
        cost = sum(min(r * sum(m.shape), m.size) for r, m in zip(ranks, matrices, strict=True))
        assert cost <= sum(min(rank * sum(m.shape), m.size) for m in matrices)
        assert min(ranks) >= 1


def test_a_spectrum_of_one_value_gets_one_rank() -> None:
    rng = np.random.default_rng(0)
    one = np.outer(rng.standard_normal(40), rng.standard_normal(40)).astype(np.float32)
    many = rng.standard_normal((40, 40)).astype(np.float32)
    assert spectral_ranks([one, many], 8) == [1, 15]


def test_all_ranks_give_the_matrix_back() -> None:
    matrix = np.random.default_rng(0).standard_normal((7, 12)).astype(np.float32)
    u, v = truncated(matrix, 7)
    assert np.allclose(u @ v, matrix, atol=1e-5)


@given(st.integers(1, 8), st.integers(1, 70), st.integers(0, 2**32))
def test_packed_numbers_come_back_and_take_the_bits_they_should(bits: int, n: int, seed: int) -> None:
    codes = np.random.default_rng(seed).integers(0, 2**bits, n)
    packed = pack_bits(codes, bits)
    assert packed.nbytes == packed_size(n, bits) == -(-n * bits // 8)
    assert np.array_equal(unpack_bits(packed, bits, n), codes)


@settings(max_examples=50)
@given(st.integers(2, 8), st.sampled_from([0, 4, 32]), st.integers(1, 9), st.integers(1, 40), st.integers(0, 2**32))
def test_rounding_is_off_by_at_most_half_a_step(bits: int, group: int, rows: int, columns: int, seed: int) -> None:
    matrix = np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32)
    codes, scales = round_to_bits(grouped(matrix, group), bits)
    back = ungrouped(from_bits(codes, scales, bits), matrix.shape)
    steps = np.broadcast_to(scales.astype(np.float32), codes.shape)
    off = np.abs(back - matrix)
    # float16 scales may round down, by which the largest numbers are clipped
    assert (off <= 0.5 * ungrouped(steps, matrix.shape) * 1.01 + 0.001 * np.abs(matrix)).all()


@pytest.mark.parametrize("name", [n for n in sorted(ROWS) if n not in OTHERS and "trainable" not in n])
def test_weights_of_zero_are_no_trouble(name: str, problem: Problem) -> None:
    zeros = {n: np.zeros(shape, np.float32) for n, shape in nets.shapes(NET).items()}
    parts = unpack(pack(instance(ROWS[name]).encode(zeros, problem)))
    scores = instance(ROWS[name]).decode(parts)(problem.inputs)
    assert np.array_equal(scores, np.zeros((512, 10), np.float32))


@pytest.mark.parametrize(
    ("name", "net"),
    [("int4-g32", "lenet"), ("svd-8", "lenet"), ("vq-64", "lenet"), ("nf4", "charlm"), ("int8", "charlm")],
)
def test_convolutions_and_transformers_go_through_the_same_codecs(name: str, net: str) -> None:
    rng = np.random.default_rng(0)
    if net == "lenet":
        shown, wanted = rng.random((4, 784), np.float32), np.arange(4)
    else:
        shown = rng.integers(0, 96, (4, 64)).astype(np.uint8)
        wanted = shown
    parts = unpack(pack(instance(ROWS[name]).encode(nets.init(net, 0), Problem(net, shown, wanted))))
    assert instance(ROWS[name]).decode(parts)(shown).shape == (4, 10 if net == "lenet" else 96)


def test_a_small_network_costs_what_its_bits_cost(artifacts: dict[str, Any]) -> None:
    payload = 650 // 2 + 2 * 11  # 64 x 10 weights and 10 biases at 4 bits, a scale for each row and one for the biases
    assert payload < len(artifacts["small-int4-0"]) < payload + 180
