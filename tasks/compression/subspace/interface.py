"""What a baseline of `compression/subspace` implements: a projection of d numbers onto all parameters of a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from harness.task import Baseline

if TYPE_CHECKING:
    from torch import Tensor

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Objective:
    """What is trained, on what: a network at its start, and the examples."""

    net: str
    """Architecture, as `harness.tasks.compression.nets` names it."""
    start: Float32
    """theta0, (D,): where training starts, random or pre-trained."""
    inputs: Float32
    """(n, pixels), in [0, 1]."""
    labels: NDArray[Any]
    """(n,) class numbers."""
    longer: int = 1
    """Times as many epochs as usual: above 1 where labels are shuffled, and can only be learned one by one."""


class Projection(Protocol):
    """A linear map P, (D, d), that is never written out. Columns should have length 1: the learning rates assume it."""

    def expand(self, z: Tensor) -> Tensor:
        """P z, (D,) float32, of (d,) float32."""
        ...

    def reduce(self, gradient: Tensor) -> Tensor:
        """P^T g, (d,) float32, of (D,) float32."""
        ...


class SubspaceMethod(Baseline):
    """Trains z in theta = theta0 + P z, theta0 and P being fixed by the seed; z, (d,), is all that comes of it.

    The task calls `project`, then `train`, and forms theta from the z that comes back. At d = 0 all parameters are
    trained, by the task itself: the base of relative thresholds.
    """

    max_threads = 1
    requires = ("torch",)

    def project(self, n_parameters: int, d: int, seed: int) -> Projection:
        """P, (n_parameters, d). Nothing but the seed may decide it: it is not counted among the bytes."""
        raise NotImplementedError

    def train(self, objective: Objective, projection: Projection, d: int, seed: int) -> Float32:
        """z, (d,) float32. By default Adam with the constants of `harness.tasks.compression.subspace.training`; `seed`
        draws the order of the batches."""
        from harness.tasks.compression.subspace.training import train_subspace

        return train_subspace(objective, projection, d, seed)
