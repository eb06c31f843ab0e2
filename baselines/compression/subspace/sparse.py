"""Sparse random projection: sqrt(D) entries a column (Li et al. 2018, section S7)."""

from harness.tasks.compression.subspace import Projection, SubspaceMethod
from harness.tasks.compression.subspace.projections import SparseProjection


class Sparse(SubspaceMethod):
    """theta0 + P z, P with one entry of +-1 / D^(1/4) in each of sqrt(D) strips of rows, for every column."""

    def project(self, n_parameters: int, d: int, seed: int) -> Projection:
        return SparseProjection(n_parameters, d, seed)
