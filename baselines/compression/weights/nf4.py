"""NormalFloat of 4 bits (Dettmers et al. 2023, QLoRA, arXiv:2305.14314)."""

import numpy as np
from numpy.typing import NDArray

from harness.baselines.compression.weights._bits import grouped, pack_bits, ungrouped, unpack_bits
from harness.tasks.compression.weights import Parts, TensorCodec

# fmt: off
LEVELS = np.array([
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
], np.float32)
# fmt: on
"""Quantiles of a normal distribution, zero among them (QLoRA, appendix E)."""


class Nf4(TensorCodec):
    """The nearest of 16 quantiles of a normal distribution, in blocks of 64 scaled by their largest magnitude (float16;
    QLoRA's second quantisation, of these scales, is left out)."""

    block: int = 64

    def shrink(self, matrix: NDArray[np.float32]) -> Parts:
        groups = grouped(matrix, self.block)
        scales = np.abs(groups).max(axis=1, keepdims=True).astype(np.float16)
        steps = np.where(scales > 0, scales, 1).astype(np.float32)
        codes = np.searchsorted((LEVELS[1:] + LEVELS[:-1]) / 2, groups / steps)
        return {"q": pack_bits(codes, 4), "s": scales.ravel()}

    def restore(self, parts: Parts, shape: tuple[int, int]) -> NDArray[np.float32]:
        n = len(parts["s"])
        values = LEVELS[unpack_bits(parts["q"], 4, n * self.block)].reshape(n, -1)
        return ungrouped(values * parts["s"].astype(np.float32)[:, None], shape)
