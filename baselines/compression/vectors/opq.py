"""Product quantisation behind a learned rotation."""

from typing import Any

import numpy as np

from harness.baselines.compression.vectors._faiss import FaissCodec, enough, product_quantiser, sub_vectors
from harness.tasks.compression.vectors import Codec, Float32, State


class Opq(FaissCodec, Codec):
    """Product quantisation of vectors rotated so that it loses least (Ge et al. 2013), by faiss. Slow to fit.

    The rotation, d x d float32 numbers, is part of the artifact.
    """

    times: int = 32
    rounds: int = 10
    seed: int = 0
    scale = "full"
    requires = ("faiss", "sklearn")
    variants = {"opq-32x": {}, "opq-64x": {"times": 64}}
    _learned: Float32 | None = None

    def fit(self, sample: Float32) -> State:
        import faiss

        self._learned = None
        learner = faiss.OPQMatrix(sample.shape[1], sub_vectors(sample.shape[1], self.times))
        learner.niter, learner.niter_pq_0, learner.niter_pq = self.rounds, self.rounds, 1
        quantiser = faiss.ProductQuantizer(sample.shape[1], learner.M, 8)
        quantiser.cp.min_points_per_centroid, learner.pq = 1, quantiser
        learner.train(enough(self.turned(sample)))
        self._learned = faiss.vector_to_array(learner.A).reshape(sample.shape[1], -1)
        return {**super().fit(sample), "rotation": self._learned}

    def rotation(self, d: int) -> Float32 | None:
        return np.asarray(self.state["rotation"]) if "rotation" in self.state else self._learned

    def train(self, sample: Float32) -> Any:
        return product_quantiser(sample, self.times, self.measure(), self.seed)
