"""FIRE (Li et al. 2024, "Functional Interpolation for Relative Positions Improves Long Context Transformers",
equation in section 3): key j adds f(psi(i - j) / psi(max(i, L))) to the logits of query i, with psi(x) = log(c x +
1), f an MLP with 32 hidden units and an output for each head, and c and L learned. One function for all layers,
which is the paper's FIRE-S."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from harness.tasks.length.interface import Positions, PositionScheme, Setting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


class Fire(PositionScheme):
    """A learned function of a distance relative to how far the query stands."""

    cost = "heavy"
    hidden: int = 32
    slope: float = 0.1
    """c at its start."""
    threshold: float = 512.0
    """L at its start; a factor of it is learned."""

    def parameters(self, setting: Setting) -> Mapping[str, Tensor]:
        import torch

        def uniform(*shape: int, fan_in: int) -> Tensor:
            return torch.empty(shape).uniform_(-1, 1) / math.sqrt(fan_in)

        return {
            "c": torch.tensor(self.slope),
            "factor": torch.tensor(1.0),
            "into": uniform(self.hidden, fan_in=1),
            "into_bias": uniform(self.hidden, fan_in=1),
            "out": uniform(self.hidden, setting.heads, fan_in=self.hidden),
            "out_bias": uniform(setting.heads, fan_in=self.hidden),
        }

    def bias_or_rotate(self, q: Tensor, k: Tensor, positions: Positions) -> tuple[Tensor, Tensor, Tensor]:
        import torch

        own = self.learned

        def psi(x: Tensor) -> Tensor:
            return (own["c"] * x).abs().add(1).log()

        reach = torch.maximum(positions.new, (own["factor"] * self.threshold).abs())
        share = psi(positions.distance.clamp(min=0)) / (psi(reach) + 1e-6).unsqueeze(-1)
        hidden = (share.unsqueeze(-1) * own["into"] + own["into_bias"]).relu()
        return q, k, (hidden @ own["out"] + own["out_bias"]).movedim(-1, -3)
