"""A network as a seed and d numbers of 6 bits: theta = theta0 + P z, theta0 and P being regenerated from the seed.

Li et al. 2018 (arXiv:1804.08838) propose such codes as an upper bound of a network's description length. Nothing is
saved in memory: decoding makes all D parameters again.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from harness.baselines.compression.weights._bits import from_bits, pack_bits, round_to_bits, unpack_bits
from harness.tasks.compression import nets
from harness.tasks.compression.subspace.interface import Objective
from harness.tasks.compression.subspace.projections import SparseProjection
from harness.tasks.compression.subspace.training import flat, shaped, train_subspace
from harness.tasks.compression.weights import Compressor, Parts, Predictor, Problem

SEED_BYTES, SCALE_BYTES = 8, 2


class RandomSubspace(Compressor):
    """LeNet trained from scratch in d random directions; seed, scale and z of 6 bits are stored. The large network's
    weights are not used."""

    requires = ("torch", "safetensors")
    takes = ("mnist-*",)
    net: str = "lenet"
    d: int = 800
    bits: int = 6
    epochs: float = 15.0
    lr: float = 0.2
    variants = {
        "random-subspace-400": {"d": 400},
        "random-subspace-800": {"d": 800},
    }

    def encode(self, weights: Mapping[str, NDArray[np.float32]], problem: Problem) -> Parts:
        seed = self.context.seed
        theta0, projection = regenerated(self.net, self.d, seed)
        objective = Objective(self.net, theta0, problem.inputs, problem.labels)
        z = train_subspace(objective, projection, self.d, seed, epochs=self.epochs, lr=self.lr)
        codes, scale = round_to_bits(z[None], self.bits)
        header = np.array([seed], np.uint64).view(np.uint8), scale.view(np.uint8).ravel()
        return {"z": np.concatenate([*header, pack_bits(codes, self.bits)])}

    def decode(self, parts: Parts) -> Predictor:
        import torch

        seed, scale, codes = np.split(np.asarray(parts["z"], np.uint8), [SEED_BYTES, SEED_BYTES + SCALE_BYTES])
        theta0, projection = regenerated(self.net, self.d, int(seed.copy().view(np.uint64)[0]))
        z = from_bits(unpack_bits(codes, self.bits, self.d)[None], scale.copy().view(np.float16), self.bits)
        live = shaped(self.net, torch.from_numpy(theta0) + projection.expand(torch.from_numpy(z[0])))
        return lambda inputs: nets.logits(self.net, live, inputs)


def regenerated(net: str, d: int, seed: int) -> tuple[NDArray[np.float32], SparseProjection]:
    """theta0, (D,), and P, (D, d): the same bits from the same seed."""
    theta0 = flat(nets.init(net, seed))
    return theta0, SparseProjection(len(theta0), d, seed)
