"""Pruning stored as compressed sparse rows: the pitfall of indices that cost more than the zeros."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from harness.baselines.compression.weights._sparse import largest
from harness.tasks.compression.weights import Parts, Problem, TensorCodec


class PruneCsr(TensorCodec):
    """Half of the weights zero, the others as float32 with an int32 column each (SciPy's and torch's CSR): no smaller
    than dense float32 (pitfall, kept to be seen)."""

    share: float = 0.5
    small = "float32"
    variants = {"prune-csr-50": {"share": 0.5}, "prune-csr-90": {"share": 0.9}}

    def prepare(self, weights: Mapping[str, NDArray[np.float32]], problem: Problem) -> None:
        self.threshold = largest([w for w in weights.values() if w.ndim > 1], self.share)

    def shrink(self, matrix: NDArray[np.float32]) -> Parts:
        rows, columns = np.nonzero(np.abs(matrix) > self.threshold)
        starts = np.searchsorted(rows, np.arange(len(matrix) + 1))
        return {"r": starts.astype(np.int32), "c": columns.astype(np.int32), "x": matrix[rows, columns]}

    def restore(self, parts: Parts, shape: tuple[int, int]) -> NDArray[np.float32]:
        matrix = np.zeros(shape, np.float32)
        matrix[np.repeat(np.arange(shape[0]), np.diff(parts["r"])), parts["c"]] = parts["x"]
        return matrix
