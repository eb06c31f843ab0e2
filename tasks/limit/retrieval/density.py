"""How entangled a collection's queries are: the two figures of Weller et al. 2025, appendix F.

Both are taken on the graph of *queries*, joined where they share a relevant document. The paper's text speaks of a
graph of documents, but its printed density of LIMIT (0.085481) is that of the graph of queries.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.tasks.limit.retrieval.corpus import Corpus


class Density(NamedTuple):
    """Figures of one collection."""

    graph_density: float
    """Share of all pairs of queries that share a relevant document."""
    query_strength: float
    """Mean over queries of the sum of Jaccard similarities of its relevant documents to every other query's."""


def density(corpus: Corpus) -> Density:
    """Both figures, in time and memory proportional to the pairs of queries that share a document."""
    n_queries = len(corpus.queries)
    if n_queries < 2:
        return Density(0.0, 0.0)
    n_relevant = np.diff(corpus.relevant_indptr)
    pairs, shared = _sharing_pairs(corpus, n_relevant)
    left, right = pairs // n_queries, pairs % n_queries
    jaccard = shared / (n_relevant[left] + n_relevant[right] - shared)
    return Density(pairs.size / (n_queries * (n_queries - 1) / 2), float(2 * jaccard.sum() / n_queries))


def _sharing_pairs(corpus: Corpus, n_relevant: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs i < j coded as i * n_queries + j, and how many relevant documents each shares."""
    n_queries = len(n_relevant)
    query_of = np.repeat(np.arange(n_queries, dtype=np.int64), n_relevant)
    order = np.argsort(corpus.relevant_ids, kind="stable")
    groups = np.split(query_of[order], np.flatnonzero(np.diff(corpus.relevant_ids[order])) + 1)
    codes = [np.empty(0, dtype=np.int64)]
    for queries in groups:
        upper = np.triu_indices(queries.size, 1)
        codes.append(queries[upper[0]] * n_queries + queries[upper[1]])
    pairs, shared = np.unique(np.concatenate(codes), return_counts=True)
    return pairs, shared.astype(np.int64)
