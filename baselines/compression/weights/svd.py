"""Low rank by singular values, with one rank for all matrices or ranks by their spectra."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from harness.tasks.compression.weights import Matrix, Parts, Problem, TensorCodec

Float32 = NDArray[np.float32]


class Svd(TensorCodec):
    """Truncated SVD: W as U @ V, which are also applied one by one. A matrix that would not get smaller stays.

    `spectral` spends as many numbers as the uniform `rank` would on the singular values that are largest beside the
    first one of their matrix: large ranks where a spectrum's tail is heavy (Jaiswal et al. 2024, WeLore).
    """

    rank: int = 32
    spectral: bool = False
    dtype: str = "float32"
    variants = {
        "svd-64": {"rank": 64},
        "svd-32": {"rank": 32},
        "svd-16": {"rank": 16},
        "svd-8": {"rank": 8},
        "svd-16-half": {"rank": 16, "dtype": "float16"},
        "svd-spectral-32": {"rank": 32, "spectral": True},
        "svd-spectral-16": {"rank": 16, "spectral": True},
    }

    def prepare(self, weights: Mapping[str, Float32], problem: Problem) -> None:
        matrices = [w.reshape(len(w), -1) for w in weights.values() if w.ndim > 1]
        self.ranks = iter(spectral_ranks(matrices, self.rank) if self.spectral else [self.rank] * len(matrices))

    def shrink(self, matrix: Float32) -> Parts:
        rank = next(self.ranks)
        if rank * sum(matrix.shape) >= matrix.size:
            return {"": matrix.astype(self.dtype)}
        u, v = truncated(matrix, rank)
        return {"u": u.astype(self.dtype), "v": v.astype(self.dtype)}

    def restore(self, parts: Parts, shape: tuple[int, int]) -> Matrix:
        return parts[""] if "" in parts else (parts["u"], parts["v"])


def truncated(matrix: Float32, rank: int) -> tuple[Float32, Float32]:
    """The best factors U, (rows, rank), and V, (rank, columns), with the singular values in equal parts on both."""
    u, s, v = np.linalg.svd(matrix, full_matrices=False)
    root = np.sqrt(s[:rank])
    return u[:, :rank] * root, v[:rank] * root[:, None]


def spectral_ranks(matrices: list[Float32], rank: int) -> list[int]:
    """Ranks that together cost at most as many numbers as `rank` for all, at least 1 each."""
    budget = sum(min(rank * sum(m.shape), m.size) for m in matrices)
    spectra = [np.linalg.svd(m, compute_uv=False) for m in matrices]
    order = sorted(((float(value / (of[0] or 1)), i) for i, of in enumerate(spectra) for value in of), reverse=True)
    ranks = [1] * len(matrices)
    spent = sum(_price(m, 1) for m in matrices)
    seen = [0] * len(matrices)
    for _, i in order:
        seen[i] += 1
        if seen[i] > 1:  # the first one is paid for
            more = _price(matrices[i], ranks[i] + 1) - _price(matrices[i], ranks[i])
            if spent + more <= budget:
                ranks[i] += 1
                spent += more
    return ranks


def _price(matrix: Float32, rank: int) -> int:
    return min(rank * sum(matrix.shape), matrix.size)
