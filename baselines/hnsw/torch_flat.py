"""Exhaustive search by torch, on a CPU or a GPU."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.baselines.hnsw._filling import fill_up
from harness.task import Scalar
from harness.tasks.hnsw import Index, Metric

PEAK_SIDE, PEAK_SIDE_CUDA = 1024, 8192
"""Rows and columns of the matrices whose product is taken as the device's peak."""


class FlatTorch(Index):
    """One float32 `addmm` a batch and `topk`; Euclidean distance (cosine too) by x.q - |x|^2 / 2. TF32 is off.

    On a GPU the vectors move there once, in `build`; queries and positions travel within `search`. The description says
    which share of the rate of a large float32 matrix product, measured in the same process, a batch reaches.
    """

    batch: int = 100
    batch_cuda: int = 2048
    entries: int = 16777216
    entries_cuda: int = 536870912
    variants = {"torch-flat": {}}
    requires = ("torch",)
    extra = "limit"
    devices = ("cpu", "cuda")

    def load(self) -> None:
        import torch

        torch.set_num_threads(self.context.threads)
        torch.set_float32_matmul_precision("highest")

    def build(self, vectors: NDArray[np.float32], metric: Metric) -> None:
        import torch

        cuda = self.context.device.startswith("cuda")
        self.vectors = torch.tensor(vectors, device=self.context.device)
        squares = torch.linalg.vecdot(self.vectors, self.vectors)
        self.shift = torch.zeros_like(squares) if metric == "ip" else squares / -2
        room = (self.entries_cuda if cuda else self.entries) // len(vectors)  # bounded memory where n is large
        self.step = max(1, min(self.batch_cuda if cuda else self.batch, room))
        self.n_distances = 0

    def search(self, queries: NDArray[np.float32], k: int) -> NDArray[Any]:
        import torch

        self.n_distances += len(queries) * len(self.vectors)
        if len(queries) > 1:
            self.last = queries, k
        best = min(k, len(self.vectors))
        with torch.inference_mode():
            there = torch.tensor(queries, device=self.context.device)
            parts = [there[i : i + self.step] for i in range(0, len(there), self.step)]
            near = [torch.addmm(self.shift, part, self.vectors.T).topk(best)[1] for part in parts]
            ids: NDArray[np.int64] = torch.cat(near).cpu().numpy()
        return fill_up(ids, k)

    def distances_computed(self) -> int:
        return self.n_distances

    def save(self, path: str) -> None:
        self.vectors.cpu().numpy().tofile(path)

    def describe(self) -> Mapping[str, Scalar]:
        """`matrix_peak_gflops` of the device, and the `share_of_peak` that a batch of queries reaches."""
        import torch

        cuda = self.context.device.startswith("cuda")
        side = PEAK_SIDE_CUDA if cuda else PEAK_SIDE
        square = torch.ones((side, side), device=self.context.device)
        peak = 2 * side**3 / self._fastest(lambda: square @ square)
        queries, k = self.last
        rate = 2 * self.vectors.numel() * len(queries) / self._fastest(lambda: self.search(queries, k))
        return {"matrix_peak_gflops": round(peak / 1e9, 1), "share_of_peak": round(rate / peak, 3)}

    def _fastest(self, call: Callable[[], object]) -> float:
        """Seconds of the fastest of five calls: between CUDA events on a GPU, by the clock elsewhere."""
        taken = []
        if self.context.device.startswith("cuda"):
            from harness.measure.gpu import EventTimer

            timer = EventTimer()
            for _ in range(5):
                timer.start()
                call()
                timer.stop()
            taken = [ns / 1e9 for ns in timer.finish()]
        else:
            for _ in range(5):
                begun = time.perf_counter()
                call()
                taken.append(time.perf_counter() - begun)
        return min(taken)
