"""What a torch module may offer beyond `forward`, so that training and generation do less. It is marked by a class,
since names such as `extend` mean other things elsewhere."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class Headed(nn.Module):
    """A module whose logits are `head(hidden(tokens))`: the loss then needs them at the answer's places alone."""

    head: nn.Module

    def hidden(self, tokens: Tensor, last: int = 0) -> Tensor:
        """What `head` is applied to, (rows, n, width); with `last` at the last so many places alone."""
        raise NotImplementedError

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits, (rows, n, vocabulary)."""
        logits: Tensor = self.head(self.hidden(tokens))
        return logits


class Incremental(nn.Module):
    """A module that computes each token of a growing string once."""

    def extend(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Logits after the last of these further tokens, (rows, s) -> (rows, any, vocabulary), and the state to give
        with the next ones; `state` is None at the start of a string."""
        raise NotImplementedError
