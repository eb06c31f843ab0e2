"""What the inverted files share: how many lists the points allow."""

from __future__ import annotations

from math import isqrt

from harness.errors import Unsupported

POINTS_PER_CENTROID = 39
"""Below so many training points a centroid, faiss warns that k-means has too few."""
PROBES = (1, 2, 4, 8, 16, 32, 64, 128)
DEFAULT_PROBES = 8


def n_lists(n: int) -> int:
    """4 sqrt(n), as faiss's guidelines have it, or as many as the points can train. Raises Unsupported below two."""
    found = min(4 * isqrt(n), n // POINTS_PER_CENTROID)
    if found < 2:
        needed = 2 * POINTS_PER_CENTROID
        raise Unsupported(
            f"{n} points train no inverted file: two lists need {needed} ({POINTS_PER_CENTROID} a centroid); "
            "take more points, or a graph or flat index"
        )
    return found
