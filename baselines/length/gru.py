"""Gated recurrent unit (Cho et al. 2014, arXiv 1406.1078)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.tasks.length.interface import Network, Setting

if TYPE_CHECKING:
    from torch import nn


class Gru(Network):
    """GRU: h_t = z_t h_(t-1) + (1 - z_t) tanh(W x_t + r_t U h_(t-1)), gates sigmoids of (x_t, h_(t-1))."""

    takes = ("recall-*", "parity-*", "mode-*", "even-pairs-*", "cycle-*", "modular-sum-*", "permutations-*")
    hidden: int = 128
    layers: int = 1

    def build(self, setting: Setting) -> nn.Module:
        from torch import nn

        from harness.baselines.length._recurrent import Recurrent

        return Recurrent(nn.GRU, setting.vocabulary, self.hidden, self.layers)
