"""The first dimensions."""

import numpy as np

from harness.tasks.compression.vectors import Float32, Reducer, State


class Truncate(Reducer):
    """Keeps the first dimensions, for which Matryoshka embeddings are trained (Kusupati et al. 2022) and others not."""

    keep: float = 0.5
    variants = {
        "truncate-50": {},
        "truncate-25": {"keep": 0.25, "scale": "full"},
        "truncate-12": {"keep": 0.125, "scale": "full"},
    }

    def fit(self, sample: Float32) -> State:
        return {"dimension": np.array(sample.shape[1], np.uint32)}

    def reduce(self, vectors: Float32) -> Float32:
        return np.ascontiguousarray(vectors[:, : max(1, round(self.keep * vectors.shape[1]))])

    def expand(self, vectors: Float32) -> Float32:
        return np.pad(vectors, ((0, 0), (0, int(self.state["dimension"]) - vectors.shape[1])))
