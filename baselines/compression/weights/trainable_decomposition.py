"""Low rank that is trained: factors whose leading ranks do the most."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.baselines.compression.weights.svd import truncated
from harness.tasks.compression import nets
from harness.tasks.compression.weights import Matrix, Parts, Problem, TensorCodec

Float32 = NDArray[np.float32]


class TrainableDecomposition(TensorCodec):
    """Factors of all matrices, started from their SVD and trained on; in every step all are cut to the same share of
    their ranks, drawn anew, so that any cut of the result is a network (Horvath et al. 2024, Maestro, without its group
    lasso). Stored in float16 at `rank`.
    """

    rank: int = 16
    widest: int = 32
    epochs: float = 5.0
    lr: float = 0.001
    scale = "standard"
    variants = {
        "trainable-32": {"rank": 32},
        "trainable-16": {"rank": 16},
        "trainable-8": {"rank": 8},
    }

    def encode(self, weights: Mapping[str, Float32], problem: Problem) -> Parts:
        return super().encode(self._trained(weights, problem), problem)

    def shrink(self, matrix: Float32) -> Parts:
        if self.rank * sum(matrix.shape) >= matrix.size:
            return {"": matrix.astype(np.float16)}
        u, v = truncated(matrix, self.rank)
        return {"u": u.astype(np.float16), "v": v.astype(np.float16)}

    def restore(self, parts: Parts, shape: tuple[int, int]) -> Matrix:
        return parts[""] if "" in parts else (parts["u"], parts["v"])

    def _trained(self, weights: Mapping[str, Float32], problem: Problem) -> dict[str, Float32]:
        """The weights again, with each matrix the product of its trained factors, cut to `rank`."""
        import torch

        live: dict[str, Any] = {}
        for name, weight in weights.items():
            matrix = weight.reshape(len(weight), -1)
            factored = weight.ndim > 1 and self.rank * sum(matrix.shape) < matrix.size
            made = truncated(matrix, self.widest) if factored else (weight,)
            live[name] = tuple(torch.tensor(part).requires_grad_() for part in made)
        rng = np.random.default_rng([self.context.seed, *b"ranks"])

        def model(batch: Any) -> Any:
            rank = int(rng.choice([self.rank, self.rank, self.widest]))
            cut = {n: (t[0][:, :rank], t[1][:rank]) if len(t) > 1 else t[0] for n, t in live.items()}
            return nets.forward(problem.architecture, cut, batch)

        parameters = [part for parts in live.values() for part in parts]
        nets.fit(model, parameters, problem.inputs, problem.labels, epochs=self.epochs, lr=self.lr,
                 seed=self.context.seed)  # fmt: skip
        found: dict[str, Float32] = {}
        for name, parts in live.items():
            u, *v = (part.detach().numpy() for part in parts)
            whole = u[:, : self.rank] @ v[0][: self.rank] if v else u
            found[name] = whole.reshape(weights[name].shape)
        return found
