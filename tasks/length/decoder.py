"""The transformer that all position schemes share: GPT-2's block (Radford et al. 2019), and a cache of keys and values.

What differs between schemes is asked of the `PositionScheme`; everything else is one argument or the same for all.
Weights map one to one on GPT-2's: layer norms with bias before attention, before the MLP and at the end, one projection
for queries, keys and values, exact GELU, an MLP four times as wide. The head is not tied to the embeddings and has no
bias.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from harness.errors import UsageError
from harness.tasks.length.interface import Positions, PositionScheme, Setting
from harness.tasks.length.modules import Headed, Incremental


class Block(nn.Module):
    """x + attention(norm(x)), then x + MLP(norm(x))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))


class Cache:
    """Keys and values of all tokens so far, in room that doubles when it is full."""

    def __init__(self, layers: int, rows: int, heads: int, size: int, like: Tensor) -> None:
        self.length, self.capacity = 0, 64
        self.tokens = torch.empty(rows, self.capacity, dtype=torch.int64, device=like.device)
        self.keys = [like.new_empty(rows, heads, self.capacity, size) for _ in range(layers)]
        self.values = [torch.empty_like(keys) for keys in self.keys]

    def append(self, tokens: Tensor) -> None:
        """Make room for these tokens, (rows, s)."""
        start, self.length = self.length, self.length + tokens.shape[1]
        while self.length > self.capacity:
            self.capacity *= 2
        self.tokens = self._grown(self.tokens, 1, start)
        self.keys = [self._grown(keys, 2, start) for keys in self.keys]
        self.values = [self._grown(values, 2, start) for values in self.values]
        self.tokens[:, start : self.length] = tokens

    def store(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Put down keys and values of the newest tokens, (rows, heads, s, size), and return those of all."""
        start = self.length - k.shape[2]
        keys, values = self.keys[layer], self.values[layer]
        keys[:, :, start : self.length] = k
        values[:, :, start : self.length] = v
        return keys[:, :, : self.length], values[:, :, : self.length]

    def _grown(self, old: Tensor, dim: int, used: int) -> Tensor:
        if old.shape[dim] >= self.capacity:
            return old
        shape = list(old.shape)
        shape[dim] = self.capacity
        new = old.new_empty(shape)
        new.narrow(dim, 0, used).copy_(old.narrow(dim, 0, used))
        return new


class Transformer(Headed):
    """Tokens, (rows, n) int64, to logits, (rows, n, vocabulary). Raises UsageError for a width that the heads cannot
    share, and whatever the scheme raises for a length that it has no place for (`Unsupported`)."""

    causal: bool

    def __init__(self, setting: Setting, scheme: PositionScheme) -> None:
        super().__init__()
        if setting.width % setting.heads:
            raise UsageError(f"a width of {setting.width} cannot be shared by {setting.heads} heads: choose a multiple")
        self.heads = setting.heads
        self.embedding = nn.Embedding(setting.vocabulary, setting.width)
        self.blocks = nn.ModuleList(Block(setting.width) for _ in range(setting.layers))
        self.norm = nn.LayerNorm(setting.width)
        self.head = nn.Linear(setting.width, setting.vocabulary, bias=False)
        self.apply(_start)
        # A copy: several modules may be made of one scheme (a learning rate each), and each has its own parameters.
        self.scheme = copy.copy(scheme)
        self.learned = nn.ParameterDict(
            {name: nn.Parameter(tensor) for name, tensor in self.scheme.parameters(setting).items()}
        )
        self.scheme.learned = self.learned  # type: ignore[assignment]

    def hidden(self, tokens: Tensor, last: int = 0) -> Tensor:
        """What `head` is applied to, (rows, n or `last`, width). Logits at place i are of token i + 1 where `causal`,
        else of place i."""
        place = self.scheme.place(tokens, torch.default_generator if self.training else None)
        return self._run(tokens, Positions(place, place), None, last)

    def _run(self, tokens: Tensor, positions: Positions, cache: Cache | None, last: int = 0) -> Tensor:
        x = self.embedding(tokens)
        added = self.scheme.embed(positions)
        if added is not None:
            x = x + added
        causal = self.causal and tokens.shape[1] > 1  # one token sees all that is there
        for layer, block in enumerate(cast(Iterable[Block], self.blocks)):
            wanted = last if layer == len(self.blocks) - 1 else 0  # what nobody asks for is not computed
            seen = self._attend(block.qkv(block.norm_attention(x)), positions, causal, cache, layer, wanted)
            x = x[:, -wanted:] + block.out(seen)  # all of it, if that is 0
            x = x + block.mlp(block.norm_mlp(x))
        return cast(Tensor, self.norm(x))

    def _attend(
        self, qkv: Tensor, positions: Positions, causal: bool, cache: Cache | None, layer: int, wanted: int
    ) -> Tensor:
        rows, n, width = qkv.shape
        q, k, v = qkv.view(rows, n, 3, self.heads, width // (3 * self.heads)).permute(2, 0, 3, 1, 4)
        with torch.autocast(q.device.type, enabled=False):  # positions need all the digits
            q, k, bias = self.scheme.bias_or_rotate(q.float(), k.float(), positions)
        q, k = q.to(v.dtype), k.to(v.dtype)
        if cache is not None:
            k, v = cache.store(layer, k, v)
        if wanted:
            q, bias = q[:, :, -wanted:], bias if bias is None else bias[..., -wanted:, :]
        return attention(q, k, v, bias, causal).transpose(1, 2).flatten(2)


class Decoder(Transformer, Incremental):
    """Causal: nothing at a place depends on what comes after it."""

    causal = True

    def extend(self, tokens: Tensor, state: Cache | None) -> tuple[Tensor, Cache]:
        """Logits after the last of these further tokens, (rows, s) -> (rows, 1, vocabulary), and the new state, which
        takes the old one's place. `state` is None at the start of a string."""
        if state is None:
            rows, width = tokens.shape[0], self.embedding.embedding_dim
            state = Cache(len(self.blocks), rows, self.heads, width // self.heads, self.embedding.weight)
        state.append(tokens)
        every = self.scheme.place(state.tokens[:, : state.length])
        positions = Positions(every[..., state.length - tokens.shape[1] :], every)
        return self.head(self._run(tokens, positions, state)[:, -1:]), state


class Encoder(Transformer):
    """Every place sees the whole string."""

    causal = False


def attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, causal: bool) -> Tensor:
    """softmax(q k' / sqrt(size) + bias) v, (rows, heads, s, size). With `causal`, the last query is that of the last
    key, and each sees the keys up to its own."""
    s, t = q.shape[2], k.shape[2]
    if bias is not None and bias.ndim == 3:
        bias = bias[None]  # of another rank the kernel takes a way that is three times as long
    if s == 1 and q.device.type == "cpu" and q.dtype == torch.float32 and not torch.is_grad_enabled():
        return _attention_of_one(q, k, v, bias)
    if bias is None:
        if not causal or s == t:
            return scaled_dot_product_attention(q, k, v, is_causal=causal)
        return scaled_dot_product_attention(q, k, v, torch.ones(s, t, dtype=torch.bool, device=q.device).tril(t - s))
    if causal:
        bias = bias.masked_fill(torch.ones(s, t, dtype=torch.bool, device=q.device).triu(t - s + 1), float("-inf"))
    if q.dtype == torch.float32:
        return scaled_dot_product_attention(q, k, v, bias)
    # Distances of 300 and 301 are one number in bfloat16: with a bias, half precision is left meanwhile.
    with torch.autocast(q.device.type, enabled=False):
        return scaled_dot_product_attention(q.float(), k.float(), v.float(), bias.float()).to(q.dtype)


def _attention_of_one(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    """The same for one query on a CPU, where all there is to do is to read the cache: NumPy's products of a row and a
    matrix come nearest to the memory's speed, then torch's, then the fused kernel, which is made for many queries."""
    logits = torch.from_numpy(np.matmul((q * q.shape[-1] ** -0.5).numpy(), k.numpy().swapaxes(-1, -2)))
    if bias is not None:
        logits += bias
    return torch.from_numpy(np.matmul(logits.softmax(-1).numpy(), v.numpy()))


def _start(module: nn.Module) -> None:
    """Narrow models learn several times slower from GPT-2's deviation of 0.02 (validation loss, sort-unique)."""
    if isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=0.5)
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=module.in_features**-0.5)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
