"""One bit a number, on both sides."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.tasks.compression.vectors import Codec, Float32, State


class Binary(Codec):
    """Signs as bits (1 above zero), of queries too, searched by faiss for the fewest that differ."""

    requires = ("faiss",)

    def load(self) -> None:
        import faiss

        faiss.omp_set_num_threads(self.context.threads)

    def fit(self, sample: Float32) -> State:
        return {"dimension": np.array(sample.shape[1], np.uint32)}

    def code(self, vectors: Float32) -> NDArray[np.uint8]:
        return np.packbits(vectors > 0, axis=1)

    def decode(self, codes: NDArray[np.uint8]) -> Float32:
        bits = np.unpackbits(codes, axis=1, count=int(self.state["dimension"]))
        return bits.astype(np.float32) * 2 - 1

    def open(self, codes: NDArray[np.uint8]) -> None:
        import faiss

        self.index = faiss.IndexBinaryFlat(8 * codes.shape[1])
        self.index.add(np.ascontiguousarray(codes))

    def search(self, queries: Float32, k: int) -> NDArray[Any]:
        ids: NDArray[np.int64] = self.index.search(self.code(queries), min(k, self.index.ntotal))[1]
        return ids
