"""The module of the pointer network."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Attention(nn.Module):
    """Logits v' tanh(W_1 e_j + W_2 d_i) of queries d, (rows, m, hidden), at all e, (rows, n, hidden): (rows, m, n)."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.of_read, self.of_query = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden, bias=False)
        self.v = nn.Linear(hidden, 1, bias=False)

    def forward(self, read: Tensor, query: Tensor) -> Tensor:
        logits: Tensor = self.v(torch.tanh(self.of_read(read)[:, None] + self.of_query(query)[:, :, None]))
        return logits[..., 0]


class PointerNetwork(nn.Module):
    """Reads numbers and writes places."""

    def __init__(self, hidden: int, glimpses: int) -> None:
        super().__init__()
        self.embedding = nn.Linear(1, hidden)
        self.first = nn.Parameter(torch.randn(hidden) / hidden**0.5)
        """What the writer is fed before anything was pointed at."""
        self.reader, self.writer = (nn.LSTM(hidden, hidden, batch_first=True) for _ in range(2))
        self.glimpses = nn.ModuleList(Attention(hidden) for _ in range(glimpses))
        self.pointing = Attention(hidden)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Logits of the place that comes next after each beginning of y, (rows, m, n), from numbers x, (rows, n), and
        places y, (rows, m); minus infinity where a place was taken before."""
        numbers = self.embedding(x[..., None])
        read, state = self.reader(numbers)
        pointed_at = numbers.gather(1, y[:, :-1, None].expand(-1, -1, numbers.shape[2]))
        written, _ = self.writer(torch.cat([self.first.expand(len(x), 1, -1), pointed_at], 1), state)
        each = torch.nn.functional.one_hot(y, x.shape[1])
        return self._point(read, written, each.cumsum(1) > each)

    def write(self, x: Tensor, most: int) -> Tensor:
        """The likeliest place after the other: numbers (rows, n) -> places (rows, `most` or n, whichever is less)."""
        numbers = self.embedding(x[..., None])
        read, state = self.reader(numbers)
        fed, taken = self.first.expand(len(x), 1, -1), torch.zeros_like(x, dtype=torch.bool)[:, None]
        places = []
        for _ in range(min(most, x.shape[1])):
            written, state = self.writer(fed, state)
            place = self._point(read, written, taken).argmax(-1)
            taken = taken.scatter(2, place[..., None], True)
            fed = numbers.gather(1, place[..., None].expand(-1, -1, numbers.shape[2]))
            places.append(place)
        return torch.cat(places, 1)

    def _point(self, read: Tensor, query: Tensor, taken: Tensor) -> Tensor:
        for glimpse in self.glimpses:
            query = glimpse(read, query).masked_fill(taken, -torch.inf).softmax(-1) @ read
        logits: Tensor = self.pointing(read, query)
        return logits.masked_fill(taken, -torch.inf)
