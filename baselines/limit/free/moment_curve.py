"""The solution that needs no search, and what rounding leaves of it.

Four dimensions answer all pairs of any number of documents (`published.moment_curve` has the construction), with a gap
that shrinks like n to the power -4. The rows differ only in the numbers that store the vectors: a dot product is taken
in float64 by the judge, so where a row breaks is where its storage runs out of digits, and not out of dimensions.
"""

import numpy as np
from numpy.typing import NDArray

from harness.errors import Unsupported
from harness.tasks.limit.free import FreeEmbedder, Vectors
from harness.tasks.limit.free.published import moment_curve


class MomentCurve(FreeEmbedder):
    """The trigonometric moment curve in d = 4 (cyclic polytope), not optimised but written down; by precision."""

    dtype: str = "float64"
    variants = {
        "moment-curve": {},
        "moment-curve-f32": {"dtype": "float32"},
        "moment-curve-f16": {"dtype": "float16"},
        "moment-curve-bf16": {"dtype": "bfloat16"},
    }
    takes = ("d4",)

    def fit(self, n: int, d: int) -> Vectors:
        if d != 4:
            raise Unsupported(
                f"the construction lives in d = 4 (zeros could fill up d = {d}, and would show nothing new)"
            )
        queries, documents = moment_curve(n)
        return Vectors(_stored(queries, self.dtype), _stored(documents, self.dtype))


def _stored(vectors: NDArray[np.float64], dtype: str) -> NDArray[np.floating]:
    if dtype != "bfloat16":
        return vectors.astype(dtype)
    # NumPy has no bfloat16: float32 with the lower 16 bits rounded away, half to even.
    bits = vectors.astype(np.float32).view(np.uint32)
    bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return bits.view(np.float32)
