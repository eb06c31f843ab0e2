"""Vector quantisation of short runs of weights, by k-means, with and without a projection."""

import numpy as np
from numpy.typing import NDArray

from harness.baselines.compression.weights._bits import pack_bits, unpack_bits
from harness.tasks.compression.weights import Parts, TensorCodec

Float32 = NDArray[np.float32]
PER_CENTROID = 4
"""Matrices with fewer runs a centroid than this stay float16: their codebook would outweigh them."""
FIT_RUNS = 16384
"""Runs that centroids are learned from, at most."""


class Vq(TensorCodec):
    """Runs of `length` weights of a row are replaced by the nearest of `centroids`, whose codebook is stored in float16
    for each matrix (as in Stock et al. 2020, arXiv:1907.05686, without their training).

    With `dims` the runs are first projected on their leading principal axes, and centroids lie there: a codebook of
    fewer numbers for longer runs (the idea of LR2VQ).
    """

    centroids: int = 256
    length: int = 4
    dims: int = 0
    variants = {
        "vq-256": {"centroids": 256},
        "vq-64": {"centroids": 64},
        "vq-low-rank": {"centroids": 256, "length": 8, "dims": 4},
    }
    requires = ("sklearn",)

    def shrink(self, matrix: Float32) -> Parts:
        runs = self._runs(matrix)
        if len(runs) < PER_CENTROID * self.centroids:
            return {"": matrix.astype(np.float16)}
        parts: dict[str, NDArray[np.generic]] = {}
        if self.dims:
            axes = np.linalg.svd(runs.T @ runs)[0][:, : self.dims].astype(np.float16)
            parts["p"] = axes
            runs = runs @ axes.astype(np.float32)
        book, codes = _clustered(runs, self.centroids)
        return {**parts, "c": book, "q": pack_bits(codes, self.bits)}

    def restore(self, parts: Parts, shape: tuple[int, int]) -> Float32:
        if "" in parts:
            return parts[""].astype(np.float32)
        book = parts["c"].astype(np.float32)
        if "p" in parts:
            book = book @ parts["p"].astype(np.float32).T
        per_row = -(-shape[1] // self.length)
        codes = unpack_bits(parts["q"], self.bits, shape[0] * per_row)
        whole: Float32 = book[codes].reshape(shape[0], -1)[:, : shape[1]]
        return whole

    @property
    def bits(self) -> int:
        return (self.centroids - 1).bit_length()

    def _runs(self, matrix: Float32) -> Float32:
        return np.pad(matrix, ((0, 0), (0, -matrix.shape[1] % self.length))).reshape(-1, self.length)


def _clustered(runs: Float32, centroids: int) -> tuple[NDArray[np.float16], NDArray[np.int32]]:
    """The codebook and each run's entry, nearest to the codebook as it is stored."""
    from sklearn.cluster import KMeans

    sample = runs
    if len(runs) > FIT_RUNS:
        sample = runs[np.random.default_rng(0).choice(len(runs), FIT_RUNS, replace=False)]
    means = KMeans(centroids, n_init=1, max_iter=30, random_state=0).fit(sample)
    book = means.cluster_centers_.astype(np.float16)
    means.cluster_centers_ = book.astype(runs.dtype)
    return book, means.predict(runs)
