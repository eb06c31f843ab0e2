"""Dense random projection: the definition itself (Li et al. 2018, section 2), for small networks only."""

import numpy as np
import torch
from torch import Tensor

from harness.task import Unsupported
from harness.tasks.compression.subspace import Projection, SubspaceMethod

MOST_BYTES = 1 << 29


class Dense(SubspaceMethod):
    """theta0 + P z, P gaussian with columns brought to length 1."""

    takes = ("digits-fc50-*",)
    scale = "full"

    def project(self, n_parameters: int, d: int, seed: int) -> Projection:
        if 4 * n_parameters * d > MOST_BYTES:
            raise Unsupported(f"a dense projection of {n_parameters:,} x {d:,} numbers takes more than 512 MiB")
        return DenseProjection(n_parameters, d, seed)


class DenseProjection:
    """P, written out."""

    def __init__(self, n_parameters: int, d: int, seed: int) -> None:
        drawn = np.random.default_rng(seed).standard_normal((n_parameters, d), dtype=np.float32)
        self.matrix = torch.from_numpy(drawn / np.linalg.norm(drawn, axis=0))

    def expand(self, z: Tensor) -> Tensor:
        return self.matrix @ z

    def reduce(self, gradient: Tensor) -> Tensor:
        return gradient @ self.matrix
