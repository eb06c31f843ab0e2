"""Low rank plus a few single weights."""

import numpy as np
from numpy.typing import NDArray

from harness.baselines.compression.weights._sparse import by_mask, from_mask
from harness.baselines.compression.weights.svd import truncated
from harness.tasks.compression.weights import Parts, TensorCodec


class LowRankSparse(TensorCodec):
    """A truncated SVD, and the largest weights of what it leaves (bit mask and float16 values).

    The form that LOST trains from the start (arXiv:2508.02668); here made afterwards.
    """

    rank: int = 8
    share: float = 0.1
    scale = "standard"
    variants = {
        "low-rank-sparse": {"rank": 8, "share": 0.1},
        "low-rank-sparse-25": {"rank": 8, "share": 0.25},
    }

    def shrink(self, matrix: NDArray[np.float32]) -> Parts:
        if self.rank * sum(matrix.shape) >= matrix.size:
            return {"": matrix.astype(np.float16)}
        u, v = (factor.astype(np.float16) for factor in truncated(matrix, self.rank))
        left = matrix - u.astype(np.float32) @ v.astype(np.float32)
        threshold = np.quantile(np.abs(left), 1 - self.share)
        return {"u": u, "v": v, **by_mask(left, np.abs(left) > threshold)}

    def restore(self, parts: Parts, shape: tuple[int, int]) -> NDArray[np.float32]:
        if "" in parts:
            return parts[""].astype(np.float32)
        low: NDArray[np.float32] = parts["u"].astype(np.float32) @ parts["v"].astype(np.float32)
        return low + from_mask(parts, shape)
