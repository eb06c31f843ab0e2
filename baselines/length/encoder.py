"""An encoder with rotary positions (Su et al. 2021, arXiv 2104.09864), asked as by Delétang et al. 2023 (arXiv
2207.02098): the question, then a blank for every token of the answer, all of which are read off at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.baselines.length.rope import RoPE
from harness.tasks.length.interface import Positions, PositionScheme, Setting

if TYPE_CHECKING:
    from torch import Tensor, nn


class RotaryEncoder(PositionScheme):
    """An encoder: every token sees the whole string, and answers are not fed back. It is told how long they are."""

    takes = ("recall-*", "parity-*", "mode-*", "even-pairs-*", "cycle-*", "modular-sum-*", "permutations-*")
    base: float = 10000.0
    causal = False

    def bias_or_rotate(self, q: Tensor, k: Tensor, positions: Positions) -> tuple[Tensor, Tensor, None]:
        rope = RoPE()
        rope.base = self.base
        return rope.bias_or_rotate(q, k, positions)

    def build(self, setting: Setting) -> nn.Module:
        from harness.tasks.length.decoder import Encoder

        return Encoder(setting, self)
