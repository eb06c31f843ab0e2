"""Signs of randomly rotated vectors, with what makes products of them unbiased."""

from typing import Any

import numpy as np

from harness.baselines.compression.vectors._faiss import FaissCodec
from harness.tasks.compression.vectors import Codec, Float32


class RaBitQ(FaissCodec, Codec):
    """RaBitQ (Gao and Long 2024, arXiv 2405.12497) by faiss: a bit a dimension and 8 bytes a vector.

    The random rotation is not stored: both sides make it from `seed`, a setting of the row.
    """

    seed: int = 0
    requires = ("faiss",)
    _turn: Float32 | None = None

    def rotation(self, d: int) -> Float32:
        if self._turn is None:
            drawn = np.random.Generator(np.random.PCG64(self.seed)).standard_normal((d, d))
            self._turn = np.linalg.qr(drawn)[0].astype(np.float32)
        return self._turn

    def train(self, sample: Float32) -> Any:
        import faiss

        index = faiss.IndexRaBitQ(sample.shape[1], self.measure())
        index.train(sample)
        return index
