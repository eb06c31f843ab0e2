"""Sinusoidal position codes (Vaswani et al. 2017, "Attention Is All You Need", section 3.5):
p[2i] = sin(position / 10000^(2i / width)), p[2i + 1] = cos(the same), added to the embedding."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.tasks.length.interface import Positions, PositionScheme, Setting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


class Sinusoidal(PositionScheme):
    """Absolute positions as waves of fixed lengths."""

    width = 0

    def parameters(self, setting: Setting) -> Mapping[str, Tensor]:
        self.width = setting.width
        return {}

    def embed(self, positions: Positions) -> Tensor:
        import torch

        even = torch.arange(0, self.width, 2, device=positions.new.device)
        angles = positions.new[..., None] * 10000.0 ** (-even / self.width)
        return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)[..., : self.width]
