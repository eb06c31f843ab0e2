"""No position code: causal attention alone tells an order (Kazemnejad et al. 2023, "The Impact of Positional Encoding
on Length Generalization in Transformers")."""

from __future__ import annotations

from harness.tasks.length.interface import PositionScheme


class NoPE(PositionScheme):
    """A decoder that is told nothing of where its tokens stand."""

    cases = ("addition",)
