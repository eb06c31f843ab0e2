"""What the codecs by faiss share: a trained, empty index is the state, and its own search runs on the codes."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import Unsupported
from harness.tasks.compression.vectors import Codec, Float32, State

CENTROIDS = 256
"""Of one byte."""
TRAINED_ON = 39 * CENTROIDS
"""Vectors that k-means is fitted on, at most: below 39 a centroid, faiss warns that they are too few."""


class FaissCodec(Codec):
    """Inner products for cosine too, of vectors brought to length 1 before they are coded: what a code stands for is
    then not brought to length 1 again, since its missing length is what coding has lost in every direction."""

    def load(self) -> None:
        import faiss

        faiss.omp_set_num_threads(self.context.threads)

    def train(self, sample: Float32) -> Any:
        """A trained faiss index with `sa_encode`, without vectors."""
        raise NotImplementedError

    def rotation(self, d: int) -> Float32 | None:
        """(d, d) orthonormal matrix R that vectors are multiplied with, R x, before they are coded."""
        return None

    def fit(self, sample: Float32) -> State:
        import faiss

        return {"index": faiss.serialize_index(self.train(self.turned(sample)))}

    def measure(self) -> int:
        """faiss's number of the metric."""
        import faiss

        return int(faiss.METRIC_L2 if self.metric == "l2" else faiss.METRIC_INNER_PRODUCT)

    def turned(self, vectors: Float32) -> Float32:
        """Vectors as they are coded: of length 1 under cosine, and rotated."""
        if self.metric == "cosine":
            lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
            vectors = (vectors / np.where(lengths > 0, lengths, 1)[:, None]).astype(np.float32)
        rotation = self.rotation(vectors.shape[1])
        return np.ascontiguousarray(vectors if rotation is None else vectors @ rotation.T)

    def code(self, vectors: Float32) -> NDArray[np.uint8]:
        codes: NDArray[np.uint8] = self._empty().sa_encode(self.turned(vectors))
        return codes

    def decode(self, codes: NDArray[np.uint8]) -> Float32:
        vectors: Float32 = self._empty().sa_decode(np.ascontiguousarray(codes))
        rotation = self.rotation(vectors.shape[1])
        return vectors if rotation is None else vectors @ rotation

    def open(self, codes: NDArray[np.uint8]) -> None:
        self.index = self._empty()
        self.index.add_sa_codes(np.ascontiguousarray(codes))

    def search(self, queries: Float32, k: int) -> NDArray[Any]:
        ids: NDArray[np.int64] = self.index.search(self.turned(queries), min(k, self.index.ntotal))[1]
        return ids

    def _empty(self) -> Any:
        import faiss

        return faiss.deserialize_index(np.array(self.state["index"]))


def enough(sample: Float32) -> Float32:
    """The first vectors of `sample`, as many as k-means needs. Raises Unsupported for fewer than centroids."""
    if len(sample) < CENTROIDS:
        raise Unsupported(
            f"{CENTROIDS} centroids need at least {CENTROIDS} vectors, and there are {len(sample)}; take int8 or int4"
        )
    return sample[:TRAINED_ON]


def product_quantiser(sample: Float32, times: int, measure: int, seed: int) -> Any:
    """A faiss.IndexPQ of one byte a sub-vector, 4 d / `times` of them, or as many as divide d below that.

    Its centroids are found by scikit-learn's k-means: faiss's own takes several times as long on sub-vectors this
    short. Raises Unsupported where a vector has fewer than `times` bytes, or the sample fewer vectors than centroids.
    """
    import faiss
    from sklearn.cluster import KMeans

    sample, d = enough(sample), sample.shape[1]
    parts = sub_vectors(d, times)
    index = faiss.IndexPQ(d, parts, 8, measure)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer distinct vectors than centroids: some are then the same
        means = KMeans(CENTROIDS, init="random", n_init=1, max_iter=25, random_state=seed)
        found = [means.fit(part).cluster_centers_ for part in np.split(sample, parts, axis=1)]
    faiss.copy_array_to_vector(np.ascontiguousarray(found, np.float32).ravel(), index.pq.centroids)
    index.is_trained = True
    return index


def sub_vectors(d: int, times: int) -> int:
    """The largest divisor of `d` that is at most 4 d / `times`. Raises Unsupported where that is less than one."""
    wanted = 4 * d // times
    if wanted < 1:
        raise Unsupported(f"{d} dimensions are {4 * d} bytes, and a code {times} times as small is less than one")
    return next(m for m in range(wanted, 0, -1) if d % m == 0)
