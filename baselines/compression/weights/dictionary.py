"""A sparse dictionary: each column of a matrix as a few atoms."""

import warnings

import numpy as np
from numpy.typing import NDArray

from harness.baselines.compression.weights._sparse import by_mask, from_mask
from harness.tasks.compression.weights import Parts, TensorCodec

Float32 = NDArray[np.float32]
ROUNDS = 3
RIDGE = 1e-6
"""Of the largest entry: keeps the least squares solvable where an atom is hardly used."""


class Dictionary(TensorCodec):
    """W = D @ S with few non-zeros in each column of S: atoms and codes in turns, from the leading singular vectors and
    random columns on (method of optimal directions, Engan et al. 1999), codes by scikit-learn's orthogonal matching
    pursuit, at last against the atoms as stored (float16; the support as a bit mask).

    The form of CoSpaDi (arXiv:2509.22075), without its calibration data.
    """

    atoms: int = 64
    nonzeros: int = 16
    variants = {"dictionary": {"atoms": 64, "nonzeros": 16}, "dictionary-8": {"atoms": 64, "nonzeros": 8}}
    requires = ("sklearn",)
    scale = "standard"

    def shrink(self, matrix: Float32) -> Parts:
        rows, columns = matrix.shape
        if rows <= self.atoms or columns <= self.atoms or not matrix.any():
            return {"": matrix.astype(np.float16)}
        drawn = np.random.default_rng(0).choice(columns, self.atoms // 2, replace=False)
        leading = np.linalg.svd(matrix, full_matrices=False)[0][:, : self.atoms - len(drawn)]
        atoms = _unit(np.hstack([leading, matrix[:, drawn]]).astype(np.float64))
        for _ in range(ROUNDS):
            codes = self._codes(matrix, atoms)
            gram = codes @ codes.T
            solved = np.linalg.solve(gram + RIDGE * gram.max() * np.eye(self.atoms), codes @ matrix.T)
            atoms = _unit(solved.T)
        stored = atoms.astype(np.float16)
        codes = self._codes(matrix, stored.astype(np.float64))
        return {"d": stored, **by_mask(codes.T, codes.T != 0)}

    def restore(self, parts: Parts, shape: tuple[int, int]) -> Float32:
        if "" in parts:
            return parts[""].astype(np.float32)
        codes = from_mask(parts, (shape[1], self.atoms))
        whole: Float32 = parts["d"].astype(np.float32) @ codes.T
        return whole

    def _codes(self, matrix: Float32, atoms: NDArray[np.float64]) -> NDArray[np.float64]:
        """(atoms, columns), at most `nonzeros` in each column."""
        from sklearn.linear_model import orthogonal_mp_gram

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of columns that fewer atoms already give
            codes: NDArray[np.float64] = orthogonal_mp_gram(
                atoms.T @ atoms, atoms.T @ matrix.astype(np.float64), n_nonzero_coefs=self.nonzeros
            )
        return codes


def _unit(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = np.linalg.norm(columns, axis=0)
    return columns / np.where(lengths > 0, lengths, 1)
