"""Pruning with its masks left in place: the pitfall of `torch.nn.utils.prune`."""

import numpy as np
from numpy.typing import NDArray

from harness.tasks.compression.weights import Parts, TensorCodec


class PruneMasks(TensorCodec):
    """Half of each matrix pruned by `torch.nn.utils.prune` and saved as it then is, `weight_orig` beside `weight_mask`:
    twice as large as before (pitfall, kept to be seen)."""

    share: float = 0.5
    small = "float32"

    def shrink(self, matrix: NDArray[np.float32]) -> Parts:
        import torch
        from torch.nn.utils import prune

        layer = torch.nn.Linear(matrix.shape[1], matrix.shape[0], bias=False)
        layer.weight.data = torch.tensor(matrix)
        prune.l1_unstructured(layer, "weight", self.share)  # type: ignore[no-untyped-call]
        state = layer.state_dict()
        return {"o": state["weight_orig"].numpy(), "m": state["weight_mask"].numpy()}

    def restore(self, parts: Parts, shape: tuple[int, int]) -> NDArray[np.float32]:
        pruned: NDArray[np.float32] = parts["o"] * parts["m"]
        return pruned
