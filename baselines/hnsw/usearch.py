"""Unum's HNSW, in plain float32."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.baselines.hnsw._filling import fill_up
from harness.tasks.hnsw import GRAPH_DEFAULT, GRAPH_EFFORTS, Index, Metric


class Usearch(Index):
    """HNSW by usearch; cosine as Euclidean distance of unit vectors. Its own default is to store bfloat16."""

    m: int = 16
    ef_construction: int = 128
    dtype: str = "f32"
    efforts = GRAPH_EFFORTS
    default_effort = GRAPH_DEFAULT
    requires = ("usearch",)
    cases = ("intrinsic", "order", "million")
    variants = {
        "usearch": {},
        "usearch-m8-efc64": {"m": 8, "ef_construction": 64, "scale": "full"},
        "usearch-m8-efc128": {"m": 8, "ef_construction": 128, "scale": "full"},
        "usearch-m8-efc256": {"m": 8, "ef_construction": 256, "scale": "full"},
        "usearch-m8-efc512": {"m": 8, "ef_construction": 512, "scale": "full"},
        "usearch-m16-efc64": {"m": 16, "ef_construction": 64, "scale": "full"},
        "usearch-m16-efc256": {"m": 16, "ef_construction": 256, "scale": "full"},
        "usearch-m16-efc512": {"m": 16, "ef_construction": 512, "scale": "full"},
        "usearch-m32-efc64": {"m": 32, "ef_construction": 64, "scale": "full"},
        "usearch-m32-efc128": {"m": 32, "ef_construction": 128, "scale": "full"},
        "usearch-m32-efc256": {"m": 32, "ef_construction": 256, "scale": "full"},
        "usearch-m32-efc512": {"m": 32, "ef_construction": 512, "scale": "full"},
        "usearch-m64-efc64": {"m": 64, "ef_construction": 64, "scale": "full"},
        "usearch-m64-efc128": {"m": 64, "ef_construction": 128, "scale": "full"},
        "usearch-m64-efc256": {"m": 64, "ef_construction": 256, "scale": "full"},
        "usearch-m64-efc512": {"m": 64, "ef_construction": 512, "scale": "full"},
    }

    def build(self, vectors: NDArray[np.float32], metric: Metric) -> None:
        from usearch.index import Index as Graph

        self.graph = Graph(
            ndim=vectors.shape[1], metric="ip" if metric == "ip" else "l2sq", dtype=self.dtype,
            connectivity=self.m, expansion_add=self.ef_construction, enable_key_lookups=False,
        )  # fmt: skip
        self.graph.add(np.arange(len(vectors), dtype=np.uint64), vectors, threads=1)
        self.n_distances = 0

    def set_effort(self, effort: int) -> None:
        self.graph.expansion_search = effort  # a search for k > ef raises it to k

    def search(self, queries: NDArray[np.float32], k: int) -> NDArray[Any]:
        found = self.graph.search(queries, k, threads=1)
        self.n_distances += found.computed_distances
        ids: NDArray[Any] = found.keys.view(np.int64)
        if len(queries) == 1:  # comes back as one row of those found
            return fill_up(ids[None], k)
        return fill_up(np.where(np.arange(ids.shape[1]) < found.counts[:, None], ids, -1), k)  # unused ones are 0

    def distances_computed(self) -> int:
        return self.n_distances

    def save(self, path: str) -> None:
        self.graph.save(path)
