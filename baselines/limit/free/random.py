"""Control: unit vectors drawn at random, without a look at the task."""

import math

import numpy as np

from harness.tasks.limit.free import FreeEmbedder, Vectors


class Random(FreeEmbedder):
    """Random unit vectors (control)."""

    def fit(self, n: int, d: int) -> Vectors:
        rng = np.random.default_rng([self.context.seed, n, d])
        vectors = rng.standard_normal((math.comb(n, 2) + n, d), dtype=np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return Vectors(vectors[:-n], vectors[-n:])
