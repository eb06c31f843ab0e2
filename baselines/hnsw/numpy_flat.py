"""Exhaustive search in a few lines of NumPy."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.baselines.hnsw._filling import fill_up
from harness.tasks.hnsw import Index, Metric


class FlatNumpy(Index):
    """One float32 matrix product a batch, then a partition; Euclidean distance (cosine too) by x.q - |x|^2 / 2."""

    batch: int = 100
    entries: int = 16777216
    variants = {"numpy-flat": {}}

    def build(self, vectors: NDArray[np.float32], metric: Metric) -> None:
        self.vectors = np.array(vectors)
        self.half_squares = np.float32(0) if metric == "ip" else np.einsum("ij,ij->i", vectors, vectors) / 2
        self.step = max(1, min(self.batch, self.entries // len(vectors)))  # fewer where n is large: bounded memory
        self.n_distances = 0

    def search(self, queries: NDArray[np.float32], k: int) -> NDArray[Any]:
        self.n_distances += len(queries) * len(self.vectors)
        best = min(k, len(self.vectors))
        found = [self._best(queries[i : i + self.step], best) for i in range(0, len(queries), self.step)]
        return fill_up(found[0] if len(found) == 1 else np.concatenate(found), k)

    def _best(self, queries: NDArray[np.float32], k: int) -> NDArray[Any]:
        far = queries @ self.vectors.T
        np.subtract(self.half_squares, far, out=far)
        ids = np.argpartition(far, k - 1, axis=1)[:, :k]
        order = np.take_along_axis(far, ids, 1).argsort(axis=1, kind="stable")
        return np.take_along_axis(ids, order, 1)

    def distances_computed(self) -> int:
        return self.n_distances

    def save(self, path: str) -> None:
        self.vectors.tofile(path)
