"""Randomised positions (Ruoss et al. 2023, "Randomized Positional Encodings Boost Length Generalization of
Transformers", section 3): in training, the n tokens of a batch stand at n distinct positions drawn from 0 ...
largest - 1, in order, so that large positions are no news at test. Here over rotary positions.

The paper's code draws at test as well, which an encoder can: it knows how long a string is. A decoder writes its
string as it goes and what stands cannot move, so that at test the positions are 0 ... n - 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.baselines.length.rope import RoPE
from harness.task import Unsupported
from harness.tasks.length.interface import Positions, PositionScheme

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Randomised(PositionScheme):
    """Rotary positions drawn anew in every step of training. Unsupported for a string of more than `largest` tokens."""

    cost = "heavy"
    largest: int = 128

    def place(self, tokens: Tensor, generator: torch.Generator | None = None) -> Tensor:
        import torch

        n = tokens.shape[1]
        if n > self.largest:
            raise Unsupported(
                f"a string of {n} tokens, question and answer, and {self.largest} positions to draw from: choose "
                "shorter lengths, or a larger `largest`"
            )
        if generator is None:
            return torch.arange(n, device=tokens.device)
        drawn = torch.randperm(self.largest, generator=generator)[:n]
        return drawn.sort().values.to(tokens.device)

    def bias_or_rotate(self, q: Tensor, k: Tensor, positions: Positions) -> tuple[Tensor, Tensor, None]:
        return RoPE().bias_or_rotate(q, k, positions)
