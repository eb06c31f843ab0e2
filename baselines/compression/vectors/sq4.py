"""Half a byte a number, between each dimension's ends."""

from typing import Any

from harness.baselines.compression.vectors._faiss import FaissCodec
from harness.tasks.compression.vectors import Codec, Float32


class Sq4(FaissCodec, Codec):
    """16 steps between each dimension's smallest and largest value in the sample, by faiss's scalar quantiser."""

    scale = "full"
    requires = ("faiss",)

    def train(self, sample: Float32) -> Any:
        import faiss

        index = faiss.IndexScalarQuantizer(sample.shape[1], faiss.ScalarQuantizer.QT_4bit, self.measure())
        index.train(sample)
        return index
