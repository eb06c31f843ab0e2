"""Inverted lists of whole vectors."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.baselines.hnsw._ivf import DEFAULT_PROBES, PROBES, n_lists
from harness.tasks.hnsw import Index, Metric


class FaissIvfFlat(Index):
    """Inverted file by faiss, effort nprobe; cosine as Euclidean distance of unit vectors.

    k-means is trained on the data themselves. The distances to the lists' centroids count.
    """

    seed: int = 1234
    efforts = PROBES
    default_effort = DEFAULT_PROBES
    requires = ("faiss",)

    def load(self) -> None:
        import faiss

        faiss.omp_set_num_threads(self.context.threads)
        self.stats = faiss.cvar.indexIVF_stats

    def build(self, vectors: NDArray[np.float32], metric: Metric) -> None:
        import faiss

        measure = faiss.METRIC_INNER_PRODUCT if metric == "ip" else faiss.METRIC_L2
        self.lists = faiss.index_factory(vectors.shape[1], f"IVF{n_lists(len(vectors))},Flat", measure)
        self.lists.cp.seed = self.seed
        self.lists.train(vectors)
        self.lists.add(vectors)

    def set_effort(self, effort: int) -> None:
        self.lists.nprobe = min(effort, self.lists.nlist)

    def search(self, queries: NDArray[np.float32], k: int) -> NDArray[Any]:
        ids: NDArray[np.int64] = self.lists.search(queries, k)[1]
        return ids

    def distances_computed(self) -> int:
        return int(self.stats.ndis + self.stats.nq * self.lists.nlist)

    def save(self, path: str) -> None:
        import faiss

        faiss.write_index(self.lists, path)
