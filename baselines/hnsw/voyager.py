"""Spotify's HNSW, a descendant of hnswlib."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.baselines.hnsw._filling import all_or_fewer
from harness.tasks.hnsw import GRAPH_DEFAULT, GRAPH_EFFORTS, Index, Metric


class Voyager(Index):
    """HNSW by voyager, float32 storage; cosine as Euclidean distance of unit vectors.

    Its inner product lengthens vectors by the longest one seen so far: where lengths vary, the order of insertion
    decides how well it searches.
    """

    m: int = 16
    ef_construction: int = 128
    seed: int = 1
    efforts = GRAPH_EFFORTS
    default_effort = GRAPH_DEFAULT
    requires = ("voyager",)
    cases = ("intrinsic", "order")
    variants = {
        "voyager": {},
        "voyager-m8-efc64": {"m": 8, "ef_construction": 64, "scale": "full"},
        "voyager-m8-efc128": {"m": 8, "ef_construction": 128, "scale": "full"},
        "voyager-m8-efc256": {"m": 8, "ef_construction": 256, "scale": "full"},
        "voyager-m8-efc512": {"m": 8, "ef_construction": 512, "scale": "full"},
        "voyager-m16-efc64": {"m": 16, "ef_construction": 64, "scale": "full"},
        "voyager-m16-efc256": {"m": 16, "ef_construction": 256, "scale": "full"},
        "voyager-m16-efc512": {"m": 16, "ef_construction": 512, "scale": "full"},
        "voyager-m32-efc64": {"m": 32, "ef_construction": 64, "scale": "full"},
        "voyager-m32-efc128": {"m": 32, "ef_construction": 128, "scale": "full"},
        "voyager-m32-efc256": {"m": 32, "ef_construction": 256, "scale": "full"},
        "voyager-m32-efc512": {"m": 32, "ef_construction": 512, "scale": "full"},
        "voyager-m64-efc64": {"m": 64, "ef_construction": 64, "scale": "full"},
        "voyager-m64-efc128": {"m": 64, "ef_construction": 128, "scale": "full"},
        "voyager-m64-efc256": {"m": 64, "ef_construction": 256, "scale": "full"},
        "voyager-m64-efc512": {"m": 64, "ef_construction": 512, "scale": "full"},
    }

    def build(self, vectors: NDArray[np.float32], metric: Metric) -> None:
        from voyager import Index as Graph
        from voyager import RecallError, Space, StorageDataType

        space = Space.InnerProduct if metric == "ip" else Space.Euclidean
        self.graph = Graph(
            space, vectors.shape[1], M=self.m, ef_construction=self.ef_construction, random_seed=self.seed,
            max_elements=len(vectors), storage_data_type=StorageDataType.Float32,
        )  # fmt: skip
        self.graph.add_items(_writable(vectors), num_threads=1)  # with one thread rows are added in their order
        self.ef, self.too_few = GRAPH_DEFAULT, RecallError

    def set_effort(self, effort: int) -> None:
        self.ef = effort

    def search(self, queries: NDArray[np.float32], k: int) -> NDArray[Any]:
        return all_or_fewer(self._nearest, queries, k, self.too_few)

    def _nearest(self, queries: NDArray[np.float32], k: int) -> NDArray[Any]:
        ids: NDArray[np.uint64]
        ids, _ = self.graph.query(_writable(queries), k, num_threads=1, query_ef=max(self.ef, k))  # it refuses ef < k
        return ids

    def save(self, path: str) -> None:
        self.graph.save(path)


def _writable(array: NDArray[np.float32]) -> NDArray[np.float32]:
    """Voyager refuses arrays that it could not write to, as mapped files are, though it only reads them."""
    return array if array.flags.writeable else array.copy()
