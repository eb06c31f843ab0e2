"""S4-PTD: perturb, then diagonalise (Yu, Nigmetov, Morozov, Mahoney and Erichson, ICLR 2024, arXiv 2310.01698)."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from harness.errors import UsageError
from harness.tasks.length.interface import Network, Setting

if TYPE_CHECKING:
    from torch import Tensor, nn

ROUNDS, RATE = 100, 0.05


class S4Ptd(Network):
    """S4D that starts at the eigenvalues of A + E, A that of HiPPO-LegS and E small, with V^-1 B and C V.

    A cannot be diagonalised as it is: the condition of its eigenvectors V grows exponentially. That of A + E need not,
    and its transfer function is within O(|E|) of A's at every frequency, where that of S4D has spikes. As in the paper,
    E is found by descent on the condition; here at a fixed spectral norm, under 1/2, which keeps all modes stable.
    """

    takes = ("recall-*", "parity-*", "mode-*", "even-pairs-*", "cycle-*", "modular-sum-*", "permutations-*")
    perturbation: float = 0.1
    """Spectral norm of E."""
    modes: int = 32
    """Size of A."""

    def build(self, setting: Setting) -> nn.Module:
        import torch

        from harness.baselines.length._diagonal import Start, StateSpace, hippo_legs

        _, eigenvalues, vectors = perturbed(self.modes, self.perturbation)
        into = torch.linalg.solve(vectors, hippo_legs(self.modes)[1].to(vectors.dtype))
        outs = [torch.randn(setting.width, self.modes).to(vectors.dtype) @ vectors for _ in range(setting.layers)]
        return StateSpace(setting.vocabulary, [Start(eigenvalues, into, out) for out in outs])


@cache
def perturbed(n: int, norm: float) -> tuple[Tensor, Tensor, Tensor]:
    """E, (n, n), of spectral norm `norm`, eigenvalues, (n,), and eigenvectors, (n, n), of A + E, all complex128: the
    same whatever the seed. Raises UsageError for a norm of 0 or less, or of 1/2 or more, with which modes may grow."""
    import torch

    from harness.baselines.length._diagonal import hippo_legs

    if not 0 < norm < 1 / 2:  # A + A' = -(b b' + 1), so that Re lambda <= -1/2 + |E|
        raise UsageError(f"a perturbation of {norm:g}: its norm must lie between 0 and 0.5, for example 0.1")
    a = hippo_legs(n)[0].to(torch.complex128)
    free = torch.randn(n, n, dtype=a.dtype, generator=torch.Generator().manual_seed(0)).requires_grad_()
    optimiser = torch.optim.Adam([free], RATE)
    with torch.enable_grad():
        for _ in range(ROUNDS):
            vectors = torch.linalg.eig(a + norm * free / torch.linalg.matrix_norm(free, 2))[1]
            condition = torch.linalg.matrix_norm(vectors) * torch.linalg.matrix_norm(torch.linalg.inv(vectors))
            optimiser.zero_grad()
            condition.log().backward()
            optimiser.step()
    e = norm * free.detach() / torch.linalg.matrix_norm(free.detach(), 2)
    return e, *torch.linalg.eig(a + e)
