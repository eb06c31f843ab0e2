"""A decoder whose attention is linear in its keys (Katharopoulos et al. 2020, arXiv 2006.16236)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
import torch.nn.functional as f
from torch import Tensor

from harness.tasks.length.decoder import Block, Transformer
from harness.tasks.length.interface import PositionScheme, Setting
from harness.tasks.length.modules import Incremental

CHUNK = 128
"""Tokens that are weighed one against the other; what came before them is in the sums. So cost is linear in the length,
and short strings, where products of pairs are cheaper than running sums, are done in one."""
State = tuple[Tensor, Tensor]
"""Sum of phi(k) v', (rows, heads, d, d), and sum of phi(k), (rows, heads, d, 1), over all tokens so far."""


def attend(q: Tensor, k: Tensor, v: Tensor, state: State | None) -> tuple[Tensor, State]:
    """phi(q_i)' sum_(j<=i) phi(k_j) v_j' / phi(q_i)' sum_(j<=i) phi(k_j), phi(x) = elu(x) + 1 (equations 9 to 12). All
    (rows, heads, n, d); the sums go on from `state`."""
    q, k = f.elu(q) + 1, f.elu(k) + 1
    if state is None:
        state = q.new_zeros(*q.shape[:2], q.shape[3], v.shape[3]), q.new_zeros(*q.shape[:2], q.shape[3], 1)
    products, keys = state
    parts = []
    for start in range(0, q.shape[2], CHUNK):
        qs, ks, vs = (of[:, :, start : start + CHUNK] for of in (q, k, v))
        pairs = (qs @ ks.mT).tril()
        parts.append((pairs @ vs + qs @ products) / (pairs.sum(-1, keepdim=True) + qs @ keys))
        products, keys = products + ks.mT @ vs, keys + ks.sum(2)[..., None]
    return torch.cat(parts, 2), (products, keys)


class LinearDecoder(Transformer, Incremental):
    """The shared transformer, without a position code, and with its attention replaced."""

    causal = True

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting, PositionScheme())

    def hidden(self, tokens: Tensor, last: int = 0) -> Tensor:
        """(rows, n) tokens -> (rows, n or `last`, width)."""
        return self._through(tokens, None)[0][:, -last:]

    def extend(self, tokens: Tensor, state: list[State] | None) -> tuple[Tensor, list[State]]:
        """Logits after the last of the new tokens, (rows, 1, vocabulary), and each block's sums after them."""
        x, state = self._through(tokens, state)
        return self.head(x[:, -1:]), state

    def _through(self, tokens: Tensor, state: list[State] | None) -> tuple[Tensor, list[State]]:
        x, after = self.embedding(tokens), []
        for i, block in enumerate(cast(Iterable[Block], self.blocks)):
            qkv = block.qkv(block.norm_attention(x)).unflatten(-1, (3, self.heads, -1))
            with torch.autocast(x.device.type, enabled=False):  # long sums need all the digits
                q, k, v = qkv.float().permute(2, 0, 3, 1, 4)
                attended, kept = attend(q, k, v, state[i] if state else None)
            x = x + block.out(attended.transpose(1, 2).flatten(2))
            x = x + block.mlp(block.norm_mlp(x))
            after.append(kept)
        return self.norm(x), after
