"""Pruning by magnitude over all matrices."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from harness.baselines.compression.weights._sparse import by_mask, from_mask, largest
from harness.tasks.compression.weights import Parts, Problem, TensorCodec


class Prune(TensorCodec):
    """The smallest weights of all matrices together become zero; the others are float16, and a mask says which they
    are. No training afterwards."""

    share: float = 0.5
    variants = {"prune-50": {"share": 0.5}, "prune-90": {"share": 0.9}, "prune-95": {"share": 0.95}}

    def prepare(self, weights: Mapping[str, NDArray[np.float32]], problem: Problem) -> None:
        self.threshold = largest([w for w in weights.values() if w.ndim > 1], self.share)

    def shrink(self, matrix: NDArray[np.float32]) -> Parts:
        return by_mask(matrix, np.abs(matrix) > self.threshold)

    def restore(self, parts: Parts, shape: tuple[int, int]) -> NDArray[np.float32]:
        return from_mask(parts, shape)
