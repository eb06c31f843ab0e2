"""HNSW over vectors of one byte a dimension."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.tasks.hnsw import GRAPH_DEFAULT, GRAPH_EFFORTS, Index, Metric


class FaissHnswSq(Index):
    """HNSW by faiss over 8-bit scalar codes: each dimension's range, taken from the data, in 256 steps."""

    m: int = 16
    ef_construction: int = 128
    seed: int = 12345
    efforts = GRAPH_EFFORTS
    default_effort = GRAPH_DEFAULT
    requires = ("faiss",)

    def load(self) -> None:
        import faiss

        faiss.omp_set_num_threads(self.context.threads)
        self.stats = faiss.cvar.hnsw_stats

    def build(self, vectors: NDArray[np.float32], metric: Metric) -> None:
        import faiss

        measure = faiss.METRIC_INNER_PRODUCT if metric == "ip" else faiss.METRIC_L2
        self.graph = faiss.IndexHNSWSQ(vectors.shape[1], faiss.ScalarQuantizer.QT_8bit, self.m, measure)
        self.graph.hnsw.efConstruction = self.ef_construction
        self.graph.hnsw.rng = faiss.RandomGenerator(self.seed)
        self.graph.train(vectors)
        for first in range(len(vectors)):  # one at a time: an `add` of many points shuffles them
            self.graph.add(vectors[first : first + 1])

    def set_effort(self, effort: int) -> None:
        self.graph.hnsw.efSearch = effort

    def search(self, queries: NDArray[np.float32], k: int) -> NDArray[Any]:
        ids: NDArray[np.int64] = self.graph.search(queries, k)[1]
        return ids

    def distances_computed(self) -> int:
        return int(self.stats.ndis)

    def save(self, path: str) -> None:
        import faiss

        faiss.write_index(self.graph, path)
