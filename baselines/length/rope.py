"""Rotary positions (Su et al. 2021, "RoFormer", equation 34): each pair of coordinates of queries and keys is turned by
position * 10000^(-2i / size), so that their products depend on distances alone. Angles are computed in single precision
for the positions at hand; pairs are coordinates i and i + size / 2, which is RoFormer's order up to a permutation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.errors import UsageError
from harness.tasks.length.interface import Positions, PositionScheme

if TYPE_CHECKING:
    from torch import Tensor


class RoPE(PositionScheme):
    """Positions turn queries and keys. Raises UsageError where a head's width is odd."""

    base: float = 10000.0

    def bias_or_rotate(self, q: Tensor, k: Tensor, positions: Positions) -> tuple[Tensor, Tensor, None]:
        import torch

        if q.shape[-1] % 2:
            raise UsageError(f"heads of width {q.shape[-1]} cannot be turned in pairs: choose another number of heads")
        half = q.shape[-1] // 2
        rates = self.base ** (-torch.arange(half, device=q.device) / half)
        angles = (positions.new[..., None] * rates).unsqueeze(-3)
        cosine, sine = angles.cos(), angles.sin()

        def turned(x: Tensor) -> Tensor:
            a, b = x.float().chunk(2, dim=-1)
            return torch.cat([a * cosine - b * sine, b * cosine + a * sine], dim=-1).to(x.dtype)

        return turned(q), turned(k), None
