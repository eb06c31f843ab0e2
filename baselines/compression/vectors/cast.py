"""Floats of two bytes, and of one byte with more exponent than mantissa."""

from harness.baselines.compression.vectors._floats import Cast
from harness.tasks.compression.vectors import Codec


class SmallFloat(Cast, Codec):
    """Plain cast by ml_dtypes, rounding to nearest; float16 saturates at 65,504 and e5m2 at 57,344."""

    kind: str = "float16"
    symmetric: bool = False
    requires = ("ml_dtypes",)
    variants = {
        "float16": {},
        "bfloat16": {"kind": "bfloat16"},
        "float8-e5m2": {"kind": "float8_e5m2"},
        "float8-e5m2-symmetric": {"kind": "float8_e5m2", "symmetric": True, "scale": "full"},
    }
