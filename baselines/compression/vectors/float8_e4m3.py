"""Floats of one byte: sign, four bits of exponent, three of mantissa."""

from harness.baselines.compression.vectors._floats import Cast
from harness.tasks.compression.vectors import Codec


class Float8E4M3(Cast, Codec):
    """Plain cast to float8 e4m3 by ml_dtypes, without a scale, as in Huerga-Perez et al. 2025, arXiv 2505.00105.

    Unit vectors fit. Entries above 448 are saturated here (a plain cast makes them NaN), and below 0.001 become 0.
    The paper casts the queries as well: that is the symmetric row.
    """

    kind: str = "float8_e4m3fn"
    symmetric: bool = False
    requires = ("ml_dtypes",)
    after = ("pca-75", "pca-50", "pca-25")
    variants = {"float8-e4m3": {}, "float8-e4m3-symmetric": {"symmetric": True, "scale": "full"}}
