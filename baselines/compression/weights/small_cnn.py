"""A tiny convolutional network from scratch in 6 to 8 bits: the rung that is hardest to beat on images."""

from collections.abc import Mapping
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from harness.baselines.compression.weights._trained_small import packed, predictor, trained
from harness.tasks.compression.weights import Compressor, Parts, Predictor, Problem


class SmallCnn(Compressor):
    """Two convolutions and a linear layer, trained on the train images alone, rounded to 6 or 8 bits. The large
    network's weights are not used."""

    channels: str = "5-8"
    bits: int = 6
    steps: int = 400
    lr: float = 0.01
    scale = "standard"
    variants = {
        "small-cnn-558": {"channels": "4-4", "bits": 8},
        "small-cnn-1148": {"channels": "5-8"},
        "small-cnn-1928": {"channels": "7-12"},
    }
    takes = ("digits-*", "mnist-*")

    def encode(self, weights: Mapping[str, NDArray[np.float32]], problem: Problem) -> Parts:
        small = f"cnn:{isqrt(problem.inputs.shape[1])}:{self.channels}"
        own = trained(small, problem, self.steps, self.lr, self.context.seed)
        return packed(small, own, self.bits)

    def decode(self, parts: Parts) -> Predictor:
        return predictor(parts, self.bits)
