"""Exhaustive search as faiss does it, flaw included."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.tasks.hnsw import Index, Metric


class FlatFaiss(Index):
    """faiss IndexFlat; cosine as Euclidean distance of unit vectors. Exact only as far as float32 goes.

    In a batch it takes squared distances for |x|^2 - 2 x.q + |q|^2 in float32. Where neighbours lie much nearer to each
    other than to the origin, the terms cancel and ranks are lost: recall 0.99 at intrinsic dimension 2 in 1,024.
    """

    variants = {"faiss-flat": {}}
    requires = ("faiss",)
    cases = ("subspace",)

    def load(self) -> None:
        import faiss

        faiss.omp_set_num_threads(self.context.threads)

    def build(self, vectors: NDArray[np.float32], metric: Metric) -> None:
        import faiss

        self.flat = (faiss.IndexFlatIP if metric == "ip" else faiss.IndexFlatL2)(vectors.shape[1])
        self.flat.add(vectors)
        self.n_distances = 0

    def search(self, queries: NDArray[np.float32], k: int) -> NDArray[Any]:
        self.n_distances += len(queries) * self.flat.ntotal
        ids: NDArray[np.int64] = self.flat.search(queries, k)[1]
        return ids

    def distances_computed(self) -> int:
        return self.n_distances

    def save(self, path: str) -> None:
        import faiss

        faiss.write_index(self.flat, path)
