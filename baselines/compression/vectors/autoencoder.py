"""A small network that writes vectors in fewer numbers, and another one that reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness.tasks.compression.vectors import Float32, Reducer, State

if TYPE_CHECKING:
    from torch.nn import Sequential


class Autoencoder(Reducer):
    """The autoencoder of Huerga-Perez et al. 2025 (arXiv 2505.00105): layers of 512 and 256 with ReLU, squared error,
    Adam at 0.001, 25 epochs of batches of 64. Both networks are in the artifact. Vectors are divided by their mean
    length first, which is 1 for embeddings."""

    keep: float = 0.5
    epochs: int = 25
    batch: int = 64
    cost = "heavy"
    scale = "full"
    requires = ("torch",)
    variants = {"autoencoder-50": {}, "autoencoder-25": {"keep": 0.25}}

    def load(self) -> None:
        import torch

        torch.set_num_threads(self.context.threads)

    def fit(self, sample: Float32) -> State:
        import torch

        torch.manual_seed(self.context.seed % 2**63)
        d = sample.shape[1]
        model = _networks(d, max(1, round(self.keep * d)))
        length = np.float32(np.sqrt(np.einsum("ij,ij->i", sample, sample, dtype=np.float64)).mean() or 1)
        data = torch.tensor(sample / length)
        adam = torch.optim.Adam(model.parameters(), lr=1e-3)
        for _ in range(self.epochs):
            order = torch.randperm(len(data))
            for start in range(0, len(data), self.batch):
                given = data[order[start : start + self.batch]]
                adam.zero_grad()
                torch.autograd.backward(torch.nn.functional.mse_loss(model(given), given))
                adam.step()
        weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
        return {**weights, "length": np.array(length)}

    def reduce(self, vectors: Float32) -> Float32:
        return self._through(0, vectors)

    def expand(self, vectors: Float32) -> Float32:
        return self._through(1, vectors)

    def _through(self, part: int, vectors: Float32) -> Float32:
        import torch

        length = np.float32(self.state["length"])
        model = _networks(self.state["0.0.weight"].shape[1], len(self.state["0.4.bias"]))
        model.load_state_dict({name: torch.tensor(a) for name, a in self.state.items() if name != "length"})
        with torch.inference_mode():
            found: Float32 = model[part](torch.tensor(vectors / length)).numpy()
        return found * length


def _networks(d: int, size: int) -> Sequential:
    """Encoder and decoder, one after the other."""
    from torch.nn import Linear, ReLU, Sequential

    encoder = Sequential(Linear(d, 512), ReLU(), Linear(512, 256), ReLU(), Linear(256, size))
    decoder = Sequential(Linear(size, 256), ReLU(), Linear(256, 512), ReLU(), Linear(512, d))
    return Sequential(encoder, decoder)
