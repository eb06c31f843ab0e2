"""Diagonal state spaces (Gu, Gupta, Goel and Ré 2022, arXiv 2206.11893): what S4D and S4-PTD share.

A channel u is put through x' = Lambda x + B u, y = Re(C x) + D u, Lambda diagonal, sampled by a zero-order hold of step
Delta. With A' = exp(Delta Lambda) that is y = K * u + D u, K_l = Re sum_n C_n B_n (A'_n - 1) / Lambda_n A'_n^l (their
equations 3 and 4): a convolution in training, and a recurrence of fixed size in generation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as f
from torch import Tensor, nn

from harness.tasks.length.modules import Headed, Incremental

SHORTEST_STEP, LONGEST_STEP = 1e-3, 1e-1


@dataclass(frozen=True)
class Start:
    """Where the modes of every channel start: `eigenvalues`, (modes,), with negative real parts, `into`, (modes,), and
    `out`, (width, modes), all complex. Conjugates may be left out if `out` is doubled: only the real part counts."""

    eigenvalues: Tensor
    into: Tensor
    out: Tensor


class Diagonal(nn.Module):
    """`width` independent systems, each with eigenvalues, B, C, D and step of its own."""

    def __init__(self, start: Start) -> None:
        super().__init__()
        width = len(start.out)
        steps = torch.rand(width) * math.log(LONGEST_STEP / SHORTEST_STEP) + math.log(SHORTEST_STEP)
        self.log_step = nn.Parameter(steps)
        self.log_decay = nn.Parameter((-start.eigenvalues.real).log().float().repeat(width, 1))
        self.frequency = nn.Parameter(start.eigenvalues.imag.float().repeat(width, 1))
        self.into = nn.Parameter(torch.view_as_real(start.into.to(torch.complex64).repeat(width, 1)))
        self.out = nn.Parameter(torch.view_as_real(start.out.to(torch.complex64).contiguous()))
        self.skip = nn.Parameter(torch.randn(width))

    def discrete(self) -> tuple[Tensor, Tensor]:
        """Delta Lambda, and the weights that the powers of its exponential have in K, (width, modes) complex."""
        eigenvalues = torch.complex(-self.log_decay.exp(), self.frequency)
        exponents = eigenvalues * self.log_step.exp()[:, None]
        weights = torch.view_as_complex(self.out) * torch.view_as_complex(self.into)
        return exponents, weights * torch.expm1(exponents) / eigenvalues

    def kernel(self, length: int) -> Tensor:
        """K_0 ... K_(length - 1) of every channel, (width, length)."""
        exponents, weights = self.discrete()
        powers = (exponents[..., None] * torch.arange(length, device=exponents.device)).exp()
        found: Tensor = torch.einsum("cm,cml->cl", weights, powers).real
        return found

    def forward(self, u: Tensor) -> Tensor:
        """(rows, n, width) -> the same, by FFT; twice the length, so that the end does not come round to the start."""
        n = u.shape[1]
        product = torch.fft.rfft(u, 2 * n, dim=1) * torch.fft.rfft(self.kernel(n), 2 * n).T
        convolved: Tensor = torch.fft.irfft(product, 2 * n, dim=1)[:, :n]
        return convolved + self.skip * u

    def extend(self, u: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """The same for the next u, (rows, s, width), given the state, (rows, width, modes), before them; and the state
        after them. B and the hold are in the weights of the output, so that the state is a plain sum."""
        exponents, weights = self.discrete()
        if state is None:
            powers = (exponents[..., None] * torch.arange(u.shape[1] - 1, -1, -1, device=u.device)).exp()
            return self(u), torch.einsum("cml,rlc->rcm", powers, u.to(powers.dtype))
        once, outputs = exponents.exp(), []
        for now in u.unbind(1):
            state = once * state + now[..., None]
            outputs.append((weights * state).real.sum(-1))
        return torch.stack(outputs, 1) + self.skip * u, state


class Block(nn.Module):
    """x + GLU(W GELU(system(LayerNorm(x)))): the gate mixes channels."""

    def __init__(self, width: int, start: Start) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.system = Diagonal(start)
        self.mix = nn.Linear(width, 2 * width)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):  # there is no FFT in bfloat16
            y = self.system(self.norm(x.float()))
        return x + f.glu(self.mix(f.gelu(y)))

    def extend(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        y, state = self.system.extend(self.norm(x), state)
        return x + f.glu(self.mix(f.gelu(y))), state


class StateSpace(Headed, Incremental):
    """Embedding, one block for each of `starts`, logits."""

    def __init__(self, vocabulary: int, starts: list[Start]) -> None:
        super().__init__()
        width = len(starts[0].out)
        self.embedding = nn.Embedding(vocabulary, width)
        self.blocks = nn.ModuleList(Block(width, start) for start in starts)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary)

    def hidden(self, tokens: Tensor, last: int = 0) -> Tensor:
        """(rows, n) tokens -> (rows, n or `last`, width)."""
        x: Tensor = self.embedding(tokens)
        for block in self.blocks:
            x = block(x)
        found: Tensor = self.norm(x[:, -last:])
        return found

    def extend(self, tokens: Tensor, state: list[Tensor] | None) -> tuple[Tensor, list[Tensor]]:
        """Logits after the last of the new tokens, (rows, 1, vocabulary), and each block's state after them."""
        x, after = self.embedding(tokens), []
        for i, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            x, kept = block.extend(x, state[i] if state else None)
            after.append(kept)
        return self.head(self.norm(x[:, -1:])), after


def hippo_legs(n: int) -> tuple[Tensor, Tensor]:
    """A, (n, n), and B, (n,), of HiPPO-LegS in float64: the state holds the coefficients of the past in Legendre
    polynomials (Gu et al. 2020, arXiv 2008.07669). -A_ij = b_i b_j below the diagonal and i + 1 on it; B is b,
    b_i = sqrt(2i + 1)."""
    b = (2 * torch.arange(n, dtype=torch.float64) + 1).sqrt()
    return -(b[:, None] * b).tril(-1) - torch.diag(torch.arange(1, n + 1, dtype=torch.float64)), b
