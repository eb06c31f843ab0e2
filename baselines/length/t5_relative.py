"""T5's relative positions (Raffel et al. 2020, section 2.1): a learned bias for each head and bucket of distances. For
a decoder, half of the buckets hold one distance each (0 ... 15), the others widen by logarithm up to distance 128, and
the last one holds everything beyond. One table for all layers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from harness.tasks.length.interface import Positions, PositionScheme, Setting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


class T5Relative(PositionScheme):
    """Attention logits plus table[bucket(query - key), head]."""

    buckets: int = 32
    farthest: int = 128

    def parameters(self, setting: Setting) -> Mapping[str, Tensor]:
        import torch

        return {"table": setting.width**-0.5 * torch.randn(self.buckets, setting.heads)}

    def bias_or_rotate(self, q: Tensor, k: Tensor, positions: Positions) -> tuple[Tensor, Tensor, Tensor]:
        import torch

        exact = self.buckets // 2
        distance = positions.distance.clamp(min=0)
        share = (distance.clamp(min=1) / exact).log() / math.log(self.farthest / exact)
        far = exact + (share * (self.buckets - exact)).long().clamp(max=self.buckets - exact - 1)
        bucket = torch.where(distance < exact, distance, far)
        return q, k, self.learned["table"][bucket].movedim(-1, -3)
