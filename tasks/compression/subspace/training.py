"""Training in a subspace, and of all parameters: the same for every projection, so that these alone are compared.

Adam, batches of 128, a learning rate that falls to 0 along a cosine (`nets.fit`). The constants below were chosen on
validation images alone (seeds 100 and 101, apart from those of a run), by accuracy in full training, and near the d90.
There, half the learning rate of z costs at most 0.017. LeNet on shuffled pixels needs less of it at a larger d: at
d = 1000, 0.83 from 0.1 and 0.71 from 0.4; at d = 4000, 0.86 from 0.05 and chance from 0.2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.tasks.compression import nets
from harness.tasks.compression.subspace.interface import Float32, Objective, Projection

if TYPE_CHECKING:
    from torch import Tensor


class Recipe(NamedTuple):
    """Epochs and learning rates of one kind of network on one kind of image."""

    full_epochs: int
    full_lr: float
    epochs: int
    lr: float
    """Of z. Much larger than for weights: a step of 1 along a unit column moves each weight by about D^(-1/2)."""
    at: int
    """The d that `lr` was chosen at. Adam moves every number of z by about lr, and thus theta by lr * sqrt(d): above
    this d, `lr` falls so that theta moves no faster."""

    def lr_at(self, d: int) -> float:
        """The learning rate of z, (d,)."""
        return self.lr * min(1.0, math.sqrt(self.at / d))


RECIPES: Mapping[str, Recipe] = {
    "fc:64-50-": Recipe(30, 1e-2, 30, 0.8, 125),
    "fc:64-": Recipe(30, 3e-3, 30, 0.8, 125),
    "fc:784-": Recipe(20, 3e-3, 15, 0.4, 500),
    "lenet": Recipe(10, 3e-3, 10, 0.2, 250),
}
OTHER = Recipe(20, 3e-3, 15, 0.4, 250)
MEMORISING = 5
"""Times as many epochs where labels are shuffled: there is no other way to learn them than one by one."""


def recipe(net: str) -> Recipe:
    """The constants of a network; those of the first entry that its name begins with."""
    return next((found for prefix, found in RECIPES.items() if net.startswith(prefix)), OTHER)


def start(net: str, seed: int) -> Float32:
    """theta0, (D,): weights gaussian of variance 2 / inputs (He et al. 2015), biases 0, as in the authors' code.

    Where training starts is part of an objective. From torch's own start, whose weights are 2.4 times smaller, d90 is
    lower: less of what theta0 does has to be undone.
    """
    rng = np.random.default_rng([seed, *b"start"])
    parts = []
    for shape in nets.shapes(net).values():
        n = int(np.prod(shape))
        scale = np.sqrt(2 * shape[0] / n) if len(shape) > 1 else 0.0
        parts.append((scale * rng.standard_normal(n)).astype(np.float32))
    return np.concatenate(parts)


def flat(weights: Mapping[str, Float32]) -> Float32:
    """All weights, (D,), in the network's own order."""
    return np.concatenate([weight.ravel() for weight in weights.values()])


def shaped(net: str, theta: Tensor) -> dict[str, Tensor]:
    """The weights by name, as views of theta, (D,)."""
    shapes = nets.shapes(net)
    ends = np.cumsum([np.prod(shape) for shape in shapes.values()]).tolist()
    starts = [0, *ends[:-1]]
    return {name: theta[a:b].view(shape) for (name, shape), a, b in zip(shapes.items(), starts, ends, strict=True)}


def train_full(objective: Objective, seed: int) -> Float32:
    """theta, (D,), with all parameters trained."""
    how = recipe(objective.net)
    weights = {name: part.numpy() for name, part in shaped(objective.net, _tensor(objective.start)).items()}
    trained = nets.train(
        objective.net, weights, objective.inputs, objective.labels,
        epochs=how.full_epochs * objective.longer, lr=how.full_lr, seed=seed,
    )  # fmt: skip
    return flat(trained)


def new_head(net: str, trained: Float32, fresh: Float32) -> Float32:
    """theta, (D,), of a trained network with the last layer, weights and biases, of another: its classes are new."""
    shapes = list(nets.shapes(net).values())
    head = sum(int(np.prod(shape)) for shape in shapes[-2:])
    return np.concatenate([trained[:-head], fresh[-head:]])


def train_subspace(
    objective: Objective, projection: Projection, d: int, seed: int, epochs: float = 0.0, lr: float = 0.0
) -> Float32:
    """z, (d,), of theta0 + P z, from zeros; for other epochs, or at another learning rate, than the recipe's."""
    import torch

    how = recipe(objective.net)
    theta0 = _tensor(objective.start)
    z = torch.zeros(d, requires_grad=True)

    def model(batch: Tensor) -> Tensor:
        return nets.forward(objective.net, shaped(objective.net, theta0 + through(projection, z)), batch)

    nets.fit(
        model, [z], objective.inputs, objective.labels,
        epochs=(epochs or how.epochs) * objective.longer, lr=lr or how.lr_at(d), seed=seed,
    )  # fmt: skip
    trained: Float32 = z.detach().numpy()
    return trained


def through(projection: Projection, z: Tensor) -> Tensor:
    """P z, differentiable in z by the projection's own transpose."""
    import torch

    class Through(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, z: Tensor) -> Tensor:
            return projection.expand(z)

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Tensor:
            return projection.reduce(gradient)

    moved: Tensor = Through.apply(z)  # type: ignore[no-untyped-call]
    return moved


def predict(net: str, theta: Float32, inputs: Float32) -> NDArray[np.int64]:
    """The class of each input, (n,), by the network with these parameters."""
    classes: NDArray[np.int64] = nets.logits(net, shaped(net, _tensor(theta)), inputs).argmax(1)
    return classes


def _tensor(values: Float32) -> Tensor:
    import torch

    return torch.from_numpy(np.array(values, np.float32))
