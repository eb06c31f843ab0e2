"""Exhaustive search that float64 agrees with, at about the price of float32."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.baselines.hnsw._filling import fill_up
from harness.task import Scalar
from harness.tasks.hnsw import Index, Metric

BLOCK = 4194304
"""Entries of the largest float64 array that is made: 32 MiB."""
ROUNDING = 2.0**-24
"""Unit roundoff of float32."""

Vectors = NDArray[np.float32]
Numbers = NDArray[np.float64]
Ids = NDArray[np.int64]


class Exact(Index):
    """More than k candidates by faiss's float32 products of centred vectors, ranked by direct float64 differences.

    Each answer is proven: what is no candidate is at least as far as the last one, less what float32 can have lost,
    which is bounded as for any order of summation (Higham 2002, section 3.1). Where that does not do, more
    candidates are taken, and at last all points. Cosine is taken as Euclidean distance of unit vectors.
    """

    slack: int = 8
    wider: int = 16
    cases = ("subspace",)
    requires = ("faiss",)

    def load(self) -> None:
        import faiss

        faiss.omp_set_num_threads(self.context.threads)

    def build(self, vectors: Vectors, metric: Metric) -> None:
        import faiss

        self.vectors, self.inner = vectors, metric == "ip"
        self.flat = (faiss.IndexFlatIP if self.inner else faiss.IndexFlatL2)(vectors.shape[1])
        self.centre = sum(block.sum(axis=0, dtype=np.float64) for block in self._blocks()) / len(vectors)
        self.longest = 0.0
        for block in self._blocks():
            centred = (block - self.centre).astype(np.float32)
            self.longest = max(self.longest, float(_lengths(centred).max()))
            self.flat.add(centred)
        self.n_distances = self.n_widened = self.n_scanned = 0

    def search(self, queries: Vectors, k: int) -> NDArray[Any]:
        n, best = len(self.vectors), min(k, len(self.vectors))
        shown = queries if self.inner else (queries - self.centre).astype(np.float32)
        ids = np.empty((len(queries), best), np.int64)
        left = np.arange(len(queries))
        for n_candidates in (best + self.slack, self.wider * (best + self.slack)):
            ids[left], proven = self._by_candidates(queries[left], shown[left], best, min(n_candidates, n))
            left = left[~proven]
            if not len(left):
                return fill_up(ids, k)
            self.n_widened += len(left)
        self.n_scanned += len(left)
        for place in left:
            ids[place] = self._by_scan(queries[place], best)
        return fill_up(ids, k)

    def _by_candidates(self, queries: Vectors, shown: Vectors, k: int, n_candidates: int) -> tuple[Ids, Any]:
        """The k nearest of so many candidates, (n, k), and whether no other point can be among them, (n,)."""
        n, d = self.vectors.shape
        self.n_distances += len(queries) * n
        float32s, candidates = self.flat.search(shown, n_candidates)
        far = np.empty(candidates.shape)
        step = max(1, BLOCK // (n_candidates * d))
        for i in range(0, len(queries), step):
            part = slice(i, i + step)
            far[part] = self._far(self.vectors[candidates[part]], queries[part, None])
        order = far.argsort(axis=1, kind="stable")[:, :k]
        lengths = _lengths(shown)
        scale = self.longest * lengths if self.inner else (self.longest + lengths) ** 2
        nearest_other = (-1 if self.inner else 1) * float32s[:, -1] - (d + 8) * ROUNDING * scale
        proven = np.take_along_axis(far, order[:, -1:], 1)[:, 0] <= nearest_other
        return np.take_along_axis(candidates, order, 1), proven | (n_candidates == n)

    def _by_scan(self, query: Vectors, k: int) -> Ids:
        self.n_distances += len(self.vectors)
        far = np.concatenate([self._far(block, query) for block in self._blocks()])
        ids = np.argpartition(far, k - 1)[:k]
        return ids[far[ids].argsort(kind="stable")]

    def _far(self, points: Vectors, queries: Vectors) -> Numbers:
        """Squared distances, or inner products with the sign changed, in float64; of centred points as in `build`."""
        differences = np.subtract(points, self.centre if self.inner else queries, dtype=np.float64)
        far: Numbers = np.einsum("...i,...i->...", differences, -queries if self.inner else differences)
        return far

    def _blocks(self) -> Iterator[Vectors]:
        step = max(1, BLOCK // self.vectors.shape[1])
        return (self.vectors[i : i + step] for i in range(0, len(self.vectors), step))

    def distances_computed(self) -> int:
        return self.n_distances

    def describe(self) -> Mapping[str, Scalar]:
        return {"searched_wider": self.n_widened, "searched_whole": self.n_scanned}

    def save(self, path: str) -> None:
        import faiss

        faiss.write_index(self.flat, path)


def _lengths(vectors: Vectors) -> Numbers:
    squares: Numbers = np.einsum("...i,...i->...", vectors, vectors, dtype=np.float64)
    return np.sqrt(squares)
