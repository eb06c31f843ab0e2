"""Attention with linear biases (Press, Smith and Lewis 2022, "Train Short, Test Long", section 3): head i adds
-slope[i] * (query - key) to its logits. Slopes of n heads, n a power of two, are 2^(-8/n), 2^(-16/n), ... 2^-8; other
numbers of heads take those of the next lower power of two, then every second one of the next higher."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.tasks.length.interface import Positions, PositionScheme

if TYPE_CHECKING:
    from torch import Tensor


def slopes(heads: int) -> list[float]:
    """Of each head."""
    lower = 1 << heads.bit_length() - 1
    even = [2.0 ** (-8 * i / lower) for i in range(1, lower + 1)]
    return even + [2.0 ** (-4 * i / lower) for i in range(1, 2 * lower, 2)][: heads - lower]


class ALiBi(PositionScheme):
    """The farther, the less; nothing to learn."""

    def bias_or_rotate(self, q: Tensor, k: Tensor, positions: Positions) -> tuple[Tensor, Tensor, Tensor]:
        import torch

        slope = torch.tensor(slopes(q.shape[1]), device=q.device)[:, None, None]
        return q, k, -slope * positions.distance.abs().unsqueeze(-3)
