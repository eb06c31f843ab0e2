"""A recurrent network over tokens: embedding, cells, logits. What LSTM and GRU share."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from harness.tasks.length.modules import Headed, Incremental


class Recurrent(Headed, Incremental):
    """Layers of recurrent cells, `hidden` wide, with a state of the same size whatever the length."""

    def __init__(self, cells: type[nn.LSTM] | type[nn.GRU], vocabulary: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, hidden)
        self.cells = cells(hidden, hidden, layers, batch_first=True)
        self.head = nn.Linear(hidden, vocabulary)

    def hidden(self, tokens: Tensor, last: int = 0) -> Tensor:
        """(rows, n) tokens -> (rows, n or `last`, hidden)."""
        found: Tensor = self.cells(self.embedding(tokens))[0][:, -last:]
        return found

    def extend(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Logits after the last of the new tokens, (rows, 1, vocabulary), and the cells' state after them."""
        found, state = self.cells(self.embedding(tokens), state)
        return self.head(found[:, -1:]), state
