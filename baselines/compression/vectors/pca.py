"""The directions in which vectors differ most."""

import numpy as np

from harness.tasks.compression.vectors import Float32, Reducer, State

ALL_BELOW = 2048
"""Dimensions up to which all directions are computed, from the covariance."""


class Pca(Reducer):
    """Principal components by scikit-learn, of the sample, in float32. The mean is taken out, as in Huerga-Perez et al.
    2025 (arXiv 2505.00105), of queries too; not so under the inner product, whose order that would change."""

    keep: float = 0.5
    requires = ("sklearn",)
    variants = {
        "pca-75": {"keep": 0.75, "scale": "full"},
        "pca-50": {},
        "pca-25": {"keep": 0.25},
        "pca-12": {"keep": 0.125, "scale": "full"},
    }

    def fit(self, sample: Float32) -> State:
        from sklearn.decomposition import PCA

        n, d = sample.shape
        size = min(max(1, round(self.keep * d)), n)
        if n < 2:
            return {"mean": sample[0], "components": np.eye(size, d, dtype=np.float32)}
        solver = "covariance_eigh" if d <= ALL_BELOW else "randomized"
        with np.errstate(divide="ignore", invalid="ignore"):  # the shares of no variance, which are not used
            found = PCA(size, svd_solver=solver, random_state=self.context.seed % 2**32).fit(sample.astype(np.float64))
        return {"mean": found.mean_.astype(np.float32), "components": found.components_.astype(np.float32)}

    def reduce(self, vectors: Float32) -> Float32:
        reduced: Float32 = vectors @ self.state["components"].T
        return reduced if self.metric == "ip" else reduced - self.state["mean"] @ self.state["components"].T

    def expand(self, vectors: Float32) -> Float32:
        if self.metric == "ip":
            vectors = vectors - self.state["mean"] @ self.state["components"].T
        expanded: Float32 = vectors @ self.state["components"]
        return expanded + self.state["mean"]
