"""Meta's HNSW, one point at a time, and the trap beside it: a bulk add."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.tasks.hnsw import GRAPH_DEFAULT, GRAPH_EFFORTS, Index, Metric


class FaissHnsw(Index):
    """HNSW by faiss; cosine as Euclidean distance of unit vectors. One `add` of many points shuffles them.

    Within one `add`, faiss sorts points by their level and permutes each level at random, so that the order in which
    the data come is lost; `faiss-hnsw-bulk` shows what that hides. A search for k > efSearch may return fewer than k.
    """

    m: int = 16
    ef_construction: int = 128
    seed: int = 12345
    bulk: bool = False
    efforts = GRAPH_EFFORTS
    default_effort = GRAPH_DEFAULT
    requires = ("faiss",)
    cases = ("subspace", "intrinsic", "order", "million")
    variants = {
        "faiss-hnsw": {},
        "faiss-hnsw-bulk": {"bulk": True, "cases": ("intrinsic", "order")},
        "faiss-hnsw-m8-efc64": {"m": 8, "ef_construction": 64, "scale": "full"},
        "faiss-hnsw-m8-efc128": {"m": 8, "ef_construction": 128, "scale": "full"},
        "faiss-hnsw-m8-efc256": {"m": 8, "ef_construction": 256, "scale": "full"},
        "faiss-hnsw-m8-efc512": {"m": 8, "ef_construction": 512, "scale": "full"},
        "faiss-hnsw-m16-efc64": {"m": 16, "ef_construction": 64, "scale": "full"},
        "faiss-hnsw-m16-efc256": {"m": 16, "ef_construction": 256, "scale": "full"},
        "faiss-hnsw-m16-efc512": {"m": 16, "ef_construction": 512, "scale": "full"},
        "faiss-hnsw-m32-efc64": {"m": 32, "ef_construction": 64, "scale": "full"},
        "faiss-hnsw-m32-efc128": {"m": 32, "ef_construction": 128, "scale": "full"},
        "faiss-hnsw-m32-efc256": {"m": 32, "ef_construction": 256, "scale": "full"},
        "faiss-hnsw-m32-efc512": {"m": 32, "ef_construction": 512, "scale": "full"},
        "faiss-hnsw-m64-efc64": {"m": 64, "ef_construction": 64, "scale": "full"},
        "faiss-hnsw-m64-efc128": {"m": 64, "ef_construction": 128, "scale": "full"},
        "faiss-hnsw-m64-efc256": {"m": 64, "ef_construction": 256, "scale": "full"},
        "faiss-hnsw-m64-efc512": {"m": 64, "ef_construction": 512, "scale": "full"},
    }

    def load(self) -> None:
        import faiss

        faiss.omp_set_num_threads(self.context.threads)
        self.stats = faiss.cvar.hnsw_stats

    def build(self, vectors: NDArray[np.float32], metric: Metric) -> None:
        import faiss

        measure = faiss.METRIC_INNER_PRODUCT if metric == "ip" else faiss.METRIC_L2
        self.graph = faiss.IndexHNSWFlat(vectors.shape[1], self.m, measure)
        self.graph.hnsw.efConstruction = self.ef_construction
        self.graph.hnsw.rng = faiss.RandomGenerator(self.seed)  # draws the levels
        step = len(vectors) if self.bulk else 1
        for first in range(0, len(vectors), step):
            self.graph.add(vectors[first : first + step])

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
