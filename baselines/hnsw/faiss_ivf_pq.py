"""Inverted lists of product-quantised vectors: the smallest index here."""

from collections.abc import Mapping
from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.baselines.hnsw._ivf import DEFAULT_PROBES, POINTS_PER_CENTROID, PROBES, n_lists
from harness.errors import Unsupported
from harness.task import Scalar
from harness.tasks.hnsw import Index, Metric

FEWEST_BITS = 4


class FaissIvfPq(Index):
    """Inverted file of product codes (Jégou et al. 2011, IVFADC) by faiss, effort nprobe; nothing is re-ranked.

    About a quarter as many sub-vectors as dimensions, 8 bits each, or as many as the points can train. Distances to
    centroids count, and each comparison with a code counts as one distance, though it is a sum of table entries.
    """

    bits: int = 8
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

        n, d = vectors.shape
        measure = faiss.METRIC_INNER_PRODUCT if metric == "ip" else faiss.METRIC_L2
        recipe = f"IVF{n_lists(n)},PQ{n_sub_vectors(d)}x{trained_bits(n, self.bits)}np"  # np: no polysemous codes
        self.lists = faiss.index_factory(d, recipe, measure)
        self.lists.cp.seed = self.lists.pq.cp.seed = self.seed
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

    def describe(self) -> Mapping[str, Scalar]:
        return {"nlist": self.lists.nlist, "sub_vectors": self.lists.pq.M, "bits": self.lists.pq.nbits}


def n_sub_vectors(d: int) -> int:
    """The divisor of d that is nearest to d / 4 by its ratio, the larger of two."""
    divisors = [m for m in range(d, 0, -1) if d % m == 0]
    return min(divisors, key=lambda m: round(abs(log(4 * m / d)), 9))


def trained_bits(n: int, wanted: int) -> int:
    """Bits of a code that n points can train, at most those wanted. Raises Unsupported below 4."""
    fitting = [bits for bits in range(wanted, FEWEST_BITS - 1, -1) if n >= POINTS_PER_CENTROID * 2**bits]
    if not fitting:
        needed = POINTS_PER_CENTROID * 2**FEWEST_BITS
        raise Unsupported(
            f"{n} points train no product quantiser: {2**FEWEST_BITS} centroids need {needed} "
            f"({POINTS_PER_CENTROID} each); take more points, or faiss-ivf-flat"
        )
    return fitting[0]
