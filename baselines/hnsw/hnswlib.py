"""The reference implementation of HNSW."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.baselines.hnsw._filling import all_or_fewer
from harness.tasks.hnsw import GRAPH_DEFAULT, GRAPH_EFFORTS, Index, Metric


class Hnswlib(Index):
    """HNSW (Malkov & Yashunin 2018, arXiv:1603.09320) by hnswlib; cosine as Euclidean distance of unit vectors."""

    m: int = 16
    ef_construction: int = 128
    seed: int = 100
    efforts = GRAPH_EFFORTS
    default_effort = GRAPH_DEFAULT
    requires = ("hnswlib",)
    extra = "hnswlib"
    cases = ("subspace", "intrinsic", "order", "million")
    variants = {
        "hnswlib": {},
        "hnswlib-m8-efc64": {"m": 8, "ef_construction": 64, "scale": "full"},
        "hnswlib-m8-efc128": {"m": 8, "ef_construction": 128, "scale": "full"},
        "hnswlib-m8-efc256": {"m": 8, "ef_construction": 256, "scale": "full"},
        "hnswlib-m8-efc512": {"m": 8, "ef_construction": 512, "scale": "full"},
        "hnswlib-m16-efc64": {"m": 16, "ef_construction": 64, "scale": "full"},
        "hnswlib-m16-efc256": {"m": 16, "ef_construction": 256, "scale": "full"},
        "hnswlib-m16-efc512": {"m": 16, "ef_construction": 512, "scale": "full"},
        "hnswlib-m32-efc64": {"m": 32, "ef_construction": 64, "scale": "full"},
        "hnswlib-m32-efc128": {"m": 32, "ef_construction": 128, "scale": "full"},
        "hnswlib-m32-efc256": {"m": 32, "ef_construction": 256, "scale": "full"},
        "hnswlib-m32-efc512": {"m": 32, "ef_construction": 512, "scale": "full"},
        "hnswlib-m64-efc64": {"m": 64, "ef_construction": 64, "scale": "full"},
        "hnswlib-m64-efc128": {"m": 64, "ef_construction": 128, "scale": "full"},
        "hnswlib-m64-efc256": {"m": 64, "ef_construction": 256, "scale": "full"},
        "hnswlib-m64-efc512": {"m": 64, "ef_construction": 512, "scale": "full"},
    }

    def build(self, vectors: NDArray[np.float32], metric: Metric) -> None:
        import hnswlib

        self.graph = hnswlib.Index("ip" if metric == "ip" else "l2", vectors.shape[1])
        self.graph.init_index(len(vectors), self.m, self.ef_construction, self.seed)
        self.graph.add_items(vectors, num_threads=1)  # with one thread rows are added in their order

    def set_effort(self, effort: int) -> None:
        self.graph.set_ef(effort)  # a search for k > ef raises it to k

    def search(self, queries: NDArray[np.float32], k: int) -> NDArray[Any]:
        return all_or_fewer(self._nearest, queries, k)

    def _nearest(self, queries: NDArray[np.float32], k: int) -> NDArray[Any]:
        ids: NDArray[np.uint64] = self.graph.knn_query(queries, k, num_threads=1)[0]
        return ids

    def save(self, path: str) -> None:
        self.graph.save_index(path)
