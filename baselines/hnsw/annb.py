"""Any algorithm of ann-benchmarks, unmodified: `--baseline 'annb:PATH:CLASS("@metric", {...})[10, 64]'`."""

import atexit
import os
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.baselines.hnsw._annb_load import import_class, parse
from harness.baselines.hnsw._filling import fill_up
from harness.errors import Unsupported
from harness.task import Scalar
from harness.tasks.hnsw import GRAPH_DEFAULT, GRAPH_EFFORTS, Index, Metric

METRICS = {"l2": "euclidean", "cosine": "angular", "ip": "ip"}
"""Our names of metrics -> theirs."""


class Annb(Index):
    """An ann-benchmarks module in its own words: its constructor, `fit`, `set_query_arguments`, `query`.

    One query at a time, as ann-benchmarks runs it by default, in our batches as well: several `batch_query` answer
    otherwise than their `query` (faiss's divides angular queries by the length of all of them together).

    In the constructor's arguments "@metric" stands for angular, euclidean or ip, "@dimension" and "@count" for numbers.
    The brackets hold the query arguments to sweep: numbers, or tuples where there are several (one tuple alone needs a
    comma after it). A plugin that builds with every core it finds still does so, but all its threads share one core.
    """

    model: str = ""
    cases = ("subspace", "intrinsic", "order", "million")
    prefix = "annb"
    deterministic = False

    def load(self) -> None:
        from threadpoolctl import threadpool_limits

        self.plugin = parse(self.model)
        self.kind = import_class(self.plugin)
        threadpool_limits(self.context.threads)
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: self.context.threads])
        self.settings: dict[int, tuple[Any, ...]] = {}
        if hasattr(self.kind, "set_query_arguments"):
            given = self.plugin.queries or tuple((ef,) for ef in GRAPH_EFFORTS)
            numbers = [setting[0] for setting in given]
            plain = all(isinstance(v, int) for v in numbers) and len(set(numbers)) == len(numbers)
            self.settings = dict(zip(numbers if plain else range(1, len(given) + 1), given, strict=True))
        efforts = tuple(self.settings)
        middle = efforts[len(efforts) // 2] if efforts else 0
        vars(self).update(efforts=efforts, default_effort=GRAPH_DEFAULT if GRAPH_DEFAULT in efforts else middle)

    def build(self, vectors: NDArray[np.float32], metric: Metric) -> None:
        theirs = METRICS[metric]
        positional, named = self.plugin.filled(metric=theirs, dimension=vectors.shape[1], count=len(vectors))
        try:
            self.algorithm = self.kind(*positional, **named)
        except (KeyError, NotImplementedError) as error:
            if isinstance(error, KeyError) and error.args != (theirs,):
                raise
            raise Unsupported(
                f"{self.plugin.class_name} takes no metric {theirs!r}; run it with another --metric"
            ) from None
        atexit.register(getattr(self.algorithm, "done", int))
        self.algorithm.fit(np.array(vectors))  # copies, here and below: plugins normalise in place

    def set_effort(self, effort: int) -> None:
        self.algorithm.set_query_arguments(*self.settings[effort])

    def search(self, queries: NDArray[np.float32], k: int) -> NDArray[Any]:
        if len(queries) == 1:  # nothing of ours in what is timed
            return fill_up(np.asarray(self.algorithm.query(queries[0].copy(), k))[None, :k], k)
        ids = np.full((len(queries), k), -1)
        for row, query in zip(ids, queries.copy(), strict=True):
            found = self.algorithm.query(query, k)[:k]
            row[: len(found)] = found
        return ids

    def distances_computed(self) -> int | None:
        counted = self.algorithm.get_additional() if hasattr(self.algorithm, "get_additional") else {}
        return int(counted["dist_comps"]) if "dist_comps" in counted else None

    def describe(self) -> Mapping[str, Scalar]:
        digest = sha256(self.plugin.path.read_bytes()).hexdigest()
        swept = {str(effort): repr(setting) for effort, setting in self.settings.items() if setting != (effort,)}
        return {"module_digest": digest, "algorithm": str(self.algorithm), **swept}
