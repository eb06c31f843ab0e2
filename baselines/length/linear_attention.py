"""Linear attention (Katharopoulos, Vyas, Pappas and Fleuret 2020, "Transformers are RNNs", arXiv 2006.16236)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.tasks.length.interface import Network, Setting

if TYPE_CHECKING:
    from torch import nn


class LinearAttention(Network):
    """Linear attention: y_i = phi(q_i)' S_i / phi(q_i)' z_i, S_i = S_(i-1) + phi(k_i) v_i', z_i = z_(i-1) + phi(k_i).

    phi(x) = elu(x) + 1 in place of the softmax, so that the past is a sum of fixed size. No position code.
    """

    cost = "heavy"
    scale = "full"

    def build(self, setting: Setting) -> nn.Module:
        from harness.baselines.length._linear import LinearDecoder

        return LinearDecoder(setting)
