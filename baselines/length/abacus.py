"""Abacus embeddings (McLeish et al. 2024, "Transformers Can Do Arithmetic with the Right Embeddings", section 3): a
digit's place within its own number, counted from 1, picks the row of a learned table that is added to its
embedding, so that digits of equal significance share it. In training the same random offset, 0 ... `offset`, is
added to all, so that more rows than the trained length are learned. Beside it, no position code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.task import Unsupported
from harness.tasks.length.interface import Positions, PositionScheme, Setting
from harness.tasks.length.problems.base import FIRST

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from torch import Tensor


class Abacus(PositionScheme):
    """A table of `places` places in a number; Unsupported for a number with more. Row 0 is that of other tokens."""

    takes = ("addition-*",)
    cases = ("addition",)
    places: int = 1024
    offset: int = 15
    digits = 0

    def parameters(self, setting: Setting) -> Mapping[str, Tensor]:
        import torch

        self.digits = setting.vocabulary - 2 - FIRST  # before them END, START, SEP; after them PLUS, MARK
        return {"table": 0.02 * torch.randn(self.places + 1, setting.width)}

    def place(self, tokens: Tensor, generator: torch.Generator | None = None) -> Tensor:
        import torch

        digit = (tokens >= FIRST) & (tokens < FIRST + self.digits)
        index = torch.arange(tokens.shape[1], device=tokens.device)
        number = torch.where(digit, -1, index).cummax(dim=1).values  # where the last token stands that is no digit
        offset = 0 if generator is None else int(torch.randint(self.offset + 1, (), generator=generator))
        return torch.where(digit, index - number + offset, 0)

    def embed(self, positions: Positions) -> Tensor:
        if positions.all.shape[-1] + self.offset > self.places and (most := int(positions.new.max())) > self.places:
            raise Unsupported(
                f"place {most} of a number, its offset included, and a learned table of {self.places} places: choose "
                "shorter lengths, or a larger `places`"
            )
        return self.learned["table"][positions.new]
