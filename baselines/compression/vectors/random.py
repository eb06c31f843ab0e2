"""Control: positions drawn at random."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.tasks.compression.vectors import Codec, Float32, State


class Random(Codec):
    """One empty byte a vector, and random distinct positions (control)."""

    def fit(self, sample: Float32) -> State:
        return {"dimension": np.array(sample.shape[1], np.uint32)}

    def code(self, vectors: Float32) -> NDArray[np.uint8]:
        return np.zeros((len(vectors), 1), np.uint8)

    def decode(self, codes: NDArray[np.uint8]) -> Float32:
        return np.zeros((len(codes), int(self.state["dimension"])), np.float32)

    def search(self, queries: Float32, k: int) -> NDArray[Any]:
        generator, n = np.random.default_rng(self.context.seed), len(self.codes)
        return np.stack([generator.choice(n, min(k, n), replace=False, shuffle=False) for _ in queries])
