"""Learned absolute positions (Gehring et al. 2017; Radford et al. 2018, GPT): row i of a table is added to the
embedding of token i. Rows past the trained length stay as they were drawn: the floor of the comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.task import Unsupported
from harness.tasks.length.interface import Positions, PositionScheme, Setting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


class Learned(PositionScheme):
    """A table of `places` positions; Unsupported for a string that is longer."""

    places: int = 1024

    def parameters(self, setting: Setting) -> Mapping[str, Tensor]:
        import torch

        return {"table": 0.02 * torch.randn(self.places, setting.width)}

    def embed(self, positions: Positions) -> Tensor:
        n = positions.all.shape[-1]
        if n > self.places:
            raise Unsupported(
                f"a string of {n} tokens, question and answer, and a learned table of {self.places} positions: "
                "choose shorter lengths, or a larger `places`"
            )
        return self.learned["table"][positions.new]
