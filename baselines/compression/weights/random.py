"""Random class scores: the control."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.tasks.compression.weights import Compressor, Parts, Predictor, Problem


class Random(Compressor):
    """A random score for each class, most likely the highest for the class that is most frequent (control)."""

    def encode(self, weights: Mapping[str, NDArray[np.float32]], problem: Problem) -> Parts:
        n_classes = len(list(weights.values())[-1])  # the last layer has a row, or a bias, for each
        counts = np.bincount(problem.labels.ravel().astype(np.int64), minlength=n_classes) + 1
        return {"p": np.log(counts / counts.sum()).astype(np.float16)}

    def decode(self, parts: Parts) -> Predictor:
        prior = parts["p"].astype(np.float32)
        rng = np.random.default_rng(self.context.seed)

        def predict(inputs: NDArray[Any]) -> NDArray[np.float32]:
            drawn: NDArray[np.float32] = (prior + rng.gumbel(size=(len(inputs), len(prior)))).astype(np.float32)
            return drawn

        return predict
