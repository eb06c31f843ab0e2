"""Residual quantisation with codebooks that torch learns."""

from collections.abc import Mapping

from harness.baselines.compression.vectors._faiss import CENTROIDS, enough, sub_vectors
from harness.baselines.compression.vectors._residual import Residual
from harness.task import Scalar
from harness.tasks.compression.vectors import Codec, Float32, State


class RvqTorch(Residual, Codec):
    """Residual vector quantisation by vector-quantize-pytorch: k-means at first, then moving averages.

    Only the codebooks are kept; coding is greedy and decoding a sum, both in NumPy.
    """

    times: int = 64
    epochs: int = 10
    batch: int = 1024
    extra = "compression-more"
    scale = "full"
    requires = ("vector_quantize_pytorch", "torch")
    variants = {"rvq-torch": {}}

    def load(self) -> None:
        import torch

        torch.set_num_threads(self.context.threads)

    def fit(self, sample: Float32) -> State:
        import torch
        from vector_quantize_pytorch import ResidualVQ  # type: ignore[import-untyped,unused-ignore]

        torch.manual_seed(self.context.seed % 2**63)
        sub_vectors(sample.shape[1], self.times)
        model = ResidualVQ(
            dim=sample.shape[1], num_quantizers=4 * sample.shape[1] // self.times, codebook_size=CENTROIDS,
            kmeans_init=True, kmeans_iters=8,
        )  # fmt: skip
        data = torch.tensor(enough(sample))
        with torch.no_grad():
            model(data)
            for _ in range(self.epochs):
                order = torch.randperm(len(data))
                for start in range(0, len(data), self.batch):
                    model(data[order[start : start + self.batch]])
        return {"codebooks": model.codebooks.detach().numpy().reshape(-1, CENTROIDS, sample.shape[1])}

    def describe(self) -> Mapping[str, Scalar]:
        from importlib.metadata import version

        return {"vector_quantize_pytorch": version("vector-quantize-pytorch")}
