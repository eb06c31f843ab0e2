"""What a baseline of the `hnsw` task implements: an index over vectors, built once and searched at several efforts."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from harness.task import Baseline

Metric = Literal["l2", "cosine", "ip"]
"""`l2`: Euclidean distance. `cosine`: vectors come with length 1, and an index may use any of the equivalent distances.
`ip`: the largest inner product."""

GRAPH_EFFORTS = (10, 16, 32, 64, 128, 200, 400, 800)
"""Values of ef (efSearch, expansion) that graph indexes are searched at, the same ones for all of them."""
GRAPH_DEFAULT = 64


class Index(Baseline):
    """A nearest-neighbour index.

    One cell is one build: the query-time parameter (`effort`: ef of a graph, nprobe of an inverted file) is swept
    inside it, over `efforts`. Equal-parameter tables show `default_effort`.
    """

    metrics: ClassVar[tuple[Metric, ...]] = ("l2", "cosine", "ip")
    efforts: ClassVar[tuple[int, ...]] = ()
    """Empty: the index has no query-time parameter and is searched once."""
    default_effort: ClassVar[int] = 0
    max_threads = 1

    def build(self, vectors: NDArray[np.float32], metric: Metric) -> None:
        """Index `vectors`, (n, d), C-contiguous, in this order of insertion; positions are the ids."""
        raise NotImplementedError

    def set_effort(self, effort: int) -> None:
        """Set the query-time parameter for the searches that follow."""

    def search(self, queries: NDArray[np.float32], k: int) -> NDArray[Any]:
        """(n_queries, k) positions of the nearest, best first; -1 fills up a row. One query comes as (1, d)."""
        raise NotImplementedError

    def distances_computed(self) -> int | None:
        """Distances computed since the process began, where the library counts them; a cost free of noise."""
        return None

    def save(self, path: str) -> None:
        """Write the index to one file, as the library does it. Raises Unsupported if it cannot."""
        from harness.errors import Unsupported

        raise Unsupported("this index cannot be saved")
