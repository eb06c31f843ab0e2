"""A network as a seed and d numbers of 6 bits."""

from __future__ import annotations

import numpy as np
import pytest

from harness.task import Context
from harness.tasks.compression.weights import Problem

pytest.importorskip("torch")
pytest.importorskip("safetensors")


def clusters(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(4, size=n)
    return (np.eye(8)[labels] + 0.2 * rng.standard_normal((n, 8))).astype(np.float32), labels


def made(seed: int = 3, d: int = 60):
    from harness.baselines.compression.weights.random_subspace import RandomSubspace

    method = RandomSubspace()
    method.net, method.d, method.lr = "fc:8-16-10", d, 0.5
    method.context = Context(seed=seed)
    return method


def test_the_artifact_is_a_seed_a_scale_and_six_bits_a_number_and_predicts_alone():
    from harness.tasks.compression.artifact import pack, unpack

    inputs, labels = clusters(400, 0)
    artifact = pack(made().encode({}, Problem("fc:8-200-10", inputs, labels)))
    held_out, right = clusters(300, 1)
    fresh = made(seed=99)  # what decodes knows the artifact's seed only
    scores = fresh.decode(unpack(artifact))(held_out)
    assert scores.shape == (300, 10) and (scores.argmax(1) == right).mean() > 0.9
    assert len(artifact) <= 8 + 2 + 60 * 6 // 8 + 80


def test_the_same_artifact_decodes_to_the_same_bits():
    inputs, labels = clusters(300, 0)
    parts = made().encode({}, Problem("fc:8-200-10", inputs, labels))
    first, again = (made(seed).decode(parts)(inputs).tobytes() for seed in (1, 2))
    assert first == again


def test_regenerating_from_a_seed_gives_equal_bits_and_from_another_one_others():
    from harness.baselines.compression.weights.random_subspace import regenerated

    (theta, p), (theta2, p2), (theta3, p3) = (regenerated("lenet", 50, seed) for seed in (7, 7, 8))
    assert theta.tobytes() == theta2.tobytes() != theta3.tobytes()
    assert p.rows.numpy().tobytes() == p2.rows.numpy().tobytes() != p3.rows.numpy().tobytes()


def test_the_rows_of_400_and_800_numbers_stay_under_a_kilobyte_header_included():
    from harness.baselines.compression.weights.random_subspace import RandomSubspace
    from harness.tasks.compression.artifact import pack

    inputs = np.random.default_rng(0).random((128, 784), dtype=np.float32)
    problem = Problem("lenet", inputs, np.arange(128) % 10)
    sizes = []
    for setting in RandomSubspace.variants.values():
        method = RandomSubspace()
        method.d, method.epochs, method.context = setting["d"], 1, Context(seed=2**48 - 1)
        sizes.append(len(pack(method.encode({}, problem))))
    assert sizes == [382, 682]
