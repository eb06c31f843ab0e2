"""Control: positions drawn at random."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.baselines.hnsw._filling import fill_up
from harness.tasks.hnsw import Index, Metric


class Random(Index):
    """Random distinct positions (control), without a look at the vectors."""

    cases = ("subspace", "order", "million")

    def build(self, vectors: NDArray[np.float32], metric: Metric) -> None:
        self.n = len(vectors)
        self.generator = np.random.default_rng(self.context.seed)

    def search(self, queries: NDArray[np.float32], k: int) -> NDArray[Any]:
        best = min(k, self.n)
        rows = [self.generator.choice(self.n, best, replace=False, shuffle=False) for _ in queries]
        return fill_up(np.stack(rows), k)

    def distances_computed(self) -> int:
        return 0
