"""Random directions."""

import numpy as np

from harness.tasks.compression.vectors import Float32, Reducer, State


class RandomProjection(Reducer):
    """Products with Gaussian vectors of variance 1 / size, which keep lengths in the mean (Johnson and Lindenstrauss).

    Only the seed is stored: the directions are drawn again from PCG64 wherever they are needed.
    """

    keep: float = 0.5
    variants = {"random-projection-50": {}, "random-projection-25": {"keep": 0.25, "scale": "full"}}

    def fit(self, sample: Float32) -> State:
        seed = np.array(self.context.seed % 2**64, np.uint64)
        return {"seed": seed, "dimension": np.array(sample.shape[1], np.uint32)}

    def directions(self) -> Float32:
        d = int(self.state["dimension"])
        size = max(1, round(self.keep * d))
        generator = np.random.Generator(np.random.PCG64(int(self.state["seed"])))
        return generator.standard_normal((size, d), np.float32) / np.float32(np.sqrt(size))

    def reduce(self, vectors: Float32) -> Float32:
        return vectors @ self.directions().T

    def expand(self, vectors: Float32) -> Float32:
        directions = self.directions()
        expanded: Float32 = vectors @ np.linalg.solve(directions @ directions.T, directions)
        return expanded
