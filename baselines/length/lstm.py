"""Long short-term memory (Hochreiter and Schmidhuber 1997, Neural Computation 9(8); forget gate: Gers et al. 2000)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.tasks.length.interface import Network, Setting

if TYPE_CHECKING:
    from torch import nn


class Lstm(Network):
    """LSTM: c_t = f_t c_(t-1) + i_t tanh(W x_t + U h_(t-1)), h_t = o_t tanh(c_t), gates sigmoids of (x_t, h_(t-1)).

    Order comes with the recurrence, so that no position is ever unseen; all of the string must fit into c and h.
    """

    hidden: int = 128
    layers: int = 1

    def build(self, setting: Setting) -> nn.Module:
        from torch import nn

        from harness.baselines.length._recurrent import Recurrent

        return Recurrent(nn.LSTM, setting.vocabulary, self.hidden, self.layers)
