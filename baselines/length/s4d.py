"""S4D, a diagonal state space (Gu, Gupta, Goel and Ré 2022, arXiv 2206.11893)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from harness.tasks.length.interface import Network, Setting

if TYPE_CHECKING:
    from torch import Tensor, nn


class S4d(Network):
    """S4D: y = K * u + D u, K_l = 2 Re sum_n C_n B'_n exp(l Delta lambda_n), a sum of decaying oscillations.

    They start at lambda_n = -1/2 + i pi n (`lin`), at -1/2 + i N/pi (N/(2n + 1) - 1) (`inv`; their equations 9 and 8),
    or at what HiPPO-LegS has without its low-rank part (`legs`, section 4.1).
    """

    takes = ("recall-*", "parity-*", "mode-*", "even-pairs-*", "cycle-*", "modular-sum-*", "permutations-*")
    start: str = "lin"
    modes: int = 32
    """Conjugate pairs; N = 2 `modes`."""
    variants = {"s4d": {}, "s4d-inv": {"start": "inv", "scale": "full"}, "s4d-legs": {"start": "legs", "scale": "full"}}

    def build(self, setting: Setting) -> nn.Module:
        import torch

        from harness.baselines.length._diagonal import Start, StateSpace

        eigenvalues, into = start(self.start, self.modes)
        outs = [torch.randn(setting.width, self.modes, dtype=torch.complex64) for _ in range(setting.layers)]
        return StateSpace(setting.vocabulary, [Start(eigenvalues, into, 2 * out) for out in outs])


def start(name: str, modes: int) -> tuple[Tensor, Tensor]:
    """Eigenvalues with positive imaginary part, (modes,), and B of each. Raises UsageError for an unknown name."""
    import torch

    from harness.baselines.length._diagonal import hippo_legs
    from harness.errors import did_you_mean

    n = torch.arange(modes, dtype=torch.float64)
    ones = torch.ones(modes, dtype=torch.complex128)
    if name == "lin":
        return torch.complex(torch.full_like(n, -0.5), math.pi * n), ones
    if name == "inv":
        return torch.complex(torch.full_like(n, -0.5), 2 * modes / math.pi * (2 * modes / (2 * n + 1) - 1)), ones
    if name == "legs":
        a, b = hippo_legs(2 * modes)
        skew = a + b[:, None] * b / 2 + torch.eye(2 * modes) / 2  # A = skew - (b b' + 1) / 2; eigenvectors are unitary
        frequencies, vectors = torch.linalg.eigh(-1j * skew)
        return -0.5 + 1j * frequencies[modes:], vectors.mH[modes:] @ (b / 2).to(vectors.dtype)
    raise did_you_mean("start of S4D", name, ["lin", "inv", "legs"])
