"""Each weight as a shorter float."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from harness.tasks.compression.weights import Parts, Problem, TensorCodec


class Floats(TensorCodec):
    """Each weight in another float format: 4, 2 or 1 bytes. `float32` is the reference as it is (control).

    bfloat16 and float8 by ml_dtypes; float8 (Micikevicius et al. 2022, arXiv:2209.05433) saturates. With `row_scale`
    each row is brought to the format's range, by a float16 a row.
    """

    format: str = "float32"
    row_scale: bool = False
    variants = {
        "float32": {"format": "float32"},
        "float16": {"format": "float16"},
        "bfloat16": {"format": "bfloat16"},
        "float8-e4m3": {"format": "float8_e4m3fn"},
        "float8-e4m3-row": {"format": "float8_e4m3fn", "row_scale": True},
        "float8-e5m2": {"format": "float8_e5m2"},
    }
    requires = ("ml_dtypes",)

    def load(self) -> None:
        import ml_dtypes

        self.dtype = np.dtype(getattr(ml_dtypes, self.format, self.format))
        self.largest = float(ml_dtypes.finfo(self.dtype).max)  # type: ignore[no-untyped-call]
        self.plain = self.format in ("float32", "float16")  # which an artifact holds as they are
        self.small = "float32" if self.format == "float32" else "float16"

    def prepare(self, weights: Mapping[str, NDArray[np.float32]], problem: Problem) -> None:
        self.load()

    def shrink(self, matrix: NDArray[np.float32]) -> Parts:
        if self.plain:
            return {"": matrix.astype(self.dtype)}
        scales = np.ones((len(matrix), 1), np.float16)
        if self.row_scale:
            scales = (np.abs(matrix).max(axis=1, keepdims=True) / self.largest).astype(np.float16)
            scales[scales == 0] = 1
        codes = np.clip(matrix / scales.astype(np.float32), -self.largest, self.largest).astype(self.dtype)
        parts = {"": codes.view(f"u{self.dtype.itemsize}")}
        return {**parts, "s": scales} if self.row_scale else parts

    def restore(self, parts: Parts, shape: tuple[int, int]) -> NDArray[np.float32]:
        whole = parts[""]
        if not self.plain:
            whole = whole.view(self.dtype)
        scales = parts.get("s", np.ones(1, np.float16)).astype(np.float32)
        return whole.astype(np.float32) * scales
