"""What a baseline of `compression/vectors` implements: a codec of vectors, or a reducer of their dimension."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from harness.task import Baseline

Metric = Literal["l2", "cosine", "ip"]
Float32 = NDArray[np.float32]
State = Mapping[str, NDArray[Any]]
"""What is learned once and kept beside the codes: scales, codebooks, rotations. It counts."""

FIT_ROWS = 20_000
"""Rows that codecs and reducers are fitted on, at most."""
BLOCK_ROWS = 8192
"""Rows that are encoded or decoded at a time."""


class Codec(Baseline):
    """A codec of vectors: every vector becomes a code of the same number of bytes.

    In one process `load`, `fit` and `code` make the artifact; in another one, which sees nothing but the artifact and
    the queries, `load`, `open` and `search` use it. Attributes set by `fit` do not get there: only `state` does.
    """

    shared = ("symmetric",)
    symmetric: bool = False
    """Queries go through the codec as well, instead of staying float32. (Ignored by codecs with a `search` of their own
    that says so.)"""
    max_threads = 1

    state: State = {}
    """What `fit` returned; set by the task before `code`, and in the decoding process before `open`."""
    metric: Metric = "l2"
    """How vectors compare; set by the task before `fit` and before `open`."""

    reducer: ClassVar[Reducer | None] = None
    """What the vectors and queries went through before; set by the harness for a row such as `pca-50+int8`."""

    def fit(self, sample: Float32) -> State:
        """Learn from `sample`, at most FIT_ROWS of the vectors; return named arrays for the artifact."""
        return {}

    def code(self, vectors: Float32) -> NDArray[np.uint8]:
        """Codes, (n, bytes), of vectors, (n, d): each row decodes by itself, given the state."""
        raise NotImplementedError

    def decode(self, codes: NDArray[np.uint8]) -> Float32:
        """Vectors, (n, d), of codes, (n, bytes)."""
        raise NotImplementedError

    def open(self, codes: NDArray[np.uint8]) -> None:
        """Get ready to search `codes`, (n, bytes). What is kept here is what the codec needs in memory."""
        self.codes = np.array(codes)

    def search(self, queries: Float32, k: int) -> NDArray[Any]:
        """(n_queries, k) positions of the nearest, best first. By default over blocks of decoded vectors, exactly;
        under cosine these are brought to length 1 again, as every cosine does."""
        from harness.tasks.compression.vectors.search import search_decoded

        return search_decoded(self, queries, k)


class Reducer(Baseline):
    """A reducer of the dimension, which stands before a codec: `pca-50+int8`. By itself it is followed by float32."""

    part: ClassVar[str] = "reducer"
    max_threads = 1
    state: State = {}
    metric: Metric = "l2"

    def fit(self, sample: Float32) -> State:
        """Learn from `sample`, at most FIT_ROWS of the vectors; return named arrays for the artifact."""
        raise NotImplementedError

    def reduce(self, vectors: Float32) -> Float32:
        """Vectors, (n, smaller), of vectors, (n, d). Queries go through it too."""
        raise NotImplementedError

    def expand(self, vectors: Float32) -> Float32:
        """Vectors, (n, d), back from reduced ones, for the error of reconstruction; zeros where nothing is known."""
        raise NotImplementedError
