"""One byte a number, between each dimension's ends."""

import numpy as np
from numpy.typing import NDArray

from harness.baselines.compression.vectors._products import Products
from harness.tasks.compression.vectors import Codec, Float32, State


class Int8(Products, Codec):
    """256 steps between each dimension's smallest and largest value in the sample; beyond them it clips.

    Scored on what the codes stand for: each step's size and zero point go into the query (compare int8-paper).
    """

    symmetric: bool = False
    after = ("pca-75", "pca-50", "pca-25")
    variants = {"int8": {}, "int8-symmetric": {"symmetric": True, "scale": "full"}}

    def fit(self, sample: Float32) -> State:
        lowest, highest = sample.min(axis=0).astype(np.float64), sample.max(axis=0).astype(np.float64)
        step = ((highest - lowest) / 255).astype(np.float32)
        step[step == 0] = 1
        return {"step": step, "low": (lowest + 128.0 * step).astype(np.float32)}  # of the number 0: they are signed

    def code(self, vectors: Float32) -> NDArray[np.uint8]:
        steps = np.rint((vectors - self.state["low"]) / self.state["step"])
        return np.clip(steps, -128, 127).astype(np.int8).view(np.uint8)

    def numbers(self, codes: NDArray[np.uint8]) -> Float32:
        return codes.view(np.int8).astype(np.float32)
