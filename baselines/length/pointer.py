"""Pointer network (Vinyals, Fortunato and Jaitly 2015, arXiv 1506.03134)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from harness.tasks.length.interface import Network, Setting
from harness.tasks.length.problems.base import Ints, Strings

if TYPE_CHECKING:
    from torch import Tensor, nn


class Pointer(Network):
    """LSTM reader e_1 ... e_n, LSTM writer d_i, and p(y_i = j) = softmax_j(v' tanh(W_1 e_j + W_2 d_i)) (equation 3).

    The writer is fed what was pointed at last. Places already taken are ruled out. With a glimpse (Vinyals, Bengio and
    Kudlur 2016, arXiv 1511.06391, section 4), d_i is first replaced by what attention with it reads from all e_j.
    """

    hidden: int = 64
    glimpses: int = 0
    variants = {"pointer": {}, "pointer-glimpse": {"glimpses": 1, "scale": "full"}}
    takes = ("sort-floats-*",)
    cases = ("pointing",)

    def build(self, setting: Setting) -> nn.Module:
        from harness.baselines.length._pointer import PointerNetwork

        return PointerNetwork(self.hidden, self.glimpses)

    def loss(self, module: nn.Module, strings: Strings) -> Tensor:
        """Cross entropy of the places, each given those before it."""
        import torch
        import torch.nn.functional as f

        x, y = (torch.from_numpy(array).to(self.context.device) for array in (strings.x, strings.y))
        return f.cross_entropy(module(x, y).flatten(0, 1), y.flatten())

    def predict(self, x: NDArray[Any], most: int) -> Ints:
        import torch

        with torch.inference_mode():
            places: Ints = self.module.write(torch.from_numpy(x).to(self.context.device), most).cpu().numpy()  # type: ignore[operator]
        return places
