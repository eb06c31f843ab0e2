"""Product quantisation: one byte for each few dimensions."""

from collections.abc import Mapping
from typing import Any

from harness.baselines.compression.vectors._faiss import FaissCodec, product_quantiser
from harness.task import Scalar
from harness.tasks.compression.vectors import Codec, Float32


class Pq(FaissCodec, Codec):
    """Product quantisation (Jégou et al. 2011) by faiss, `times` as small as float32 or a little more.

    Every run of dimensions has its own 256 centroids, and a code names one of each. Queries stay float32.
    """

    times: int = 32
    seed: int = 0
    requires = ("faiss", "sklearn")
    variants = {"pq-16x": {"times": 16}, "pq-32x": {}, "pq-64x": {"times": 64, "scale": "full"}}

    def train(self, sample: Float32) -> Any:
        return product_quantiser(sample, self.times, self.measure(), self.seed)

    def describe(self) -> Mapping[str, Scalar]:
        """`sub_vectors`, where that is not d / (times / 4)."""
        return {"sub_vectors": self._empty().pq.M} if self.state else {}
