"""Scoring an answer: recall@k and nDCG@10 of each query, as trec_eval computes them, after checking the answer.

The judge sorts every row again, by score and then by document id, both descending. trec_eval does the same, and so
does mteb through it, so that a method cannot gain from the order in which it lists documents of equal score.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.task import Answer, InvalidAnswer
from harness.tasks.limit.retrieval.interface import Hits

__all__ = ["RECALL_DEPTHS", "Relevance", "checked_hits", "query_scores"]

RECALL_DEPTHS = (2, 10, 20, 100)
NDCG_DEPTH = 10


@dataclass(frozen=True)
class Relevance:
    """Which documents are relevant: query i has ids[indptr[i]:indptr[i + 1]], with as many grades (1 in LIMIT)."""

    indptr: NDArray[np.int64]
    ids: NDArray[np.int64]
    grades: NDArray[np.float64]
    n_documents: int

    @property
    def n_queries(self) -> int:
        return len(self.indptr) - 1

    def rows(self) -> NDArray[np.int64]:
        """The query of each judgement."""
        return np.repeat(np.arange(self.n_queries), np.diff(self.indptr))

    def of(self, ids: NDArray[np.int64]) -> NDArray[np.float64]:
        """The grade of each of (n_queries, k) documents; 0 where none is given, below zero, or the position is -1."""
        keys = self.rows() * self.n_documents + self.ids
        order = np.argsort(keys)
        keys, grades = keys[order], np.maximum(self.grades[order], 0.0)
        wanted = np.arange(self.n_queries)[:, None] * self.n_documents + ids
        if not len(keys):
            return np.zeros(ids.shape)
        places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        found: NDArray[np.float64] = np.where((keys[places] == wanted) & (ids >= 0), grades[places], 0.0)
        return found

    def ideal(self, depth: int) -> NDArray[np.float64]:
        """(n_queries, depth) grades of a perfect answer, 0 where a query has fewer relevant documents."""
        rows, grades = self.rows(), np.maximum(self.grades, 0.0)
        order = np.lexsort((-grades, rows))
        ranks = np.arange(len(rows)) - self.indptr[rows]
        kept = ranks < depth
        best = np.zeros((self.n_queries, depth))
        best[rows[kept], ranks[kept]] = grades[order][kept]
        return best

    def counts(self) -> NDArray[np.int64]:
        """Relevant documents of each query."""
        return np.bincount(self.rows()[self.grades > 0], minlength=self.n_queries)


def checked_hits(answer: Answer, n_queries: int, n_documents: int, depth: int) -> Hits:
    """The answer's hits, sorted by (score, id) descending. Fewer than `depth` hits are legitimate, none are not.

    Raises InvalidAnswer that names the first offending query: for a missing array, a wrong shape or dtype, an id out
    of range or listed twice, a score that is not finite, a query without any hit.
    """
    missing = [name for name in ("ids", "scores") if name not in answer]
    if missing:
        raise InvalidAnswer(f"the answer has no {' and no '.join(missing)}; it has {sorted(answer)}")
    ids, scores = np.asarray(answer["ids"]), np.asarray(answer["scores"])
    if ids.ndim != 2 or len(ids) != n_queries or not 1 <= ids.shape[1] <= depth:
        raise InvalidAnswer(f"ids must have the shape ({n_queries}, 1 to {depth}), not {ids.shape}")
    if scores.shape != ids.shape:
        raise InvalidAnswer(f"scores must have the shape of ids, {ids.shape}, not {scores.shape}")
    if ids.dtype.kind not in "iu":
        raise InvalidAnswer(f"ids must be integers (positions in the list of documents), not {ids.dtype}")
    if scores.dtype.kind != "f":
        raise InvalidAnswer(f"scores must be floats, not {scores.dtype}")
    outside = (ids >= n_documents) if ids.dtype.kind == "u" else (ids < -1) | (ids >= n_documents)
    _refuse(outside, lambda q, c: f"names document {ids[q, c]}, but positions go from 0 to {n_documents - 1}")
    ids = ids.astype(np.int64)
    scores = scores.astype(np.float64)
    real = ids >= 0
    _refuse(real.max(axis=1, keepdims=True) == 0, lambda q, _: "has no hit at all")
    _refuse(real & ~np.isfinite(scores), lambda q, c: f"gives document {ids[q, c]} the score {scores[q, c]}")
    by_id = np.sort(ids, axis=1)
    twice = (by_id[:, 1:] == by_id[:, :-1]) & (by_id[:, 1:] >= 0)
    _refuse(twice, lambda q, c: f"lists document {by_id[q, c]} twice")
    scores = np.where(real, scores, -np.inf)
    falls = (scores[:, :-1] > scores[:, 1:]) | ((scores[:, :-1] == scores[:, 1:]) & (ids[:, :-1] >= ids[:, 1:]))
    if falls.all():  # in order already, as our own search leaves it: sorting a deep answer costs more than the rest
        return Hits(ids, scores)
    order = np.lexsort((ids, scores), axis=1)[:, ::-1]
    return Hits(np.take_along_axis(ids, order, 1), np.take_along_axis(scores, order, 1))


def query_scores(hits: Hits, relevance: Relevance) -> dict[str, NDArray[np.float64]]:
    """Per-query `recall@2`, `@10`, `@20`, `@100` and `ndcg@10` of sorted hits; 0 for a query with nothing relevant.

    Recall divides by all relevant documents. nDCG takes the grade as gain and log2(rank + 1) as discount, as
    trec_eval's ndcg_cut does (Järvelin & Kekäläinen 2002, with the discount from the first rank on).
    """
    grades = relevance.of(hits.ids[:, : max(RECALL_DEPTHS)])
    relevant = np.maximum(relevance.counts(), 1)
    found = np.cumsum(grades > 0, axis=1)
    scores = {f"recall@{k}": found[:, min(k, found.shape[1]) - 1] / relevant for k in RECALL_DEPTHS}
    discounts = 1.0 / np.log2(np.arange(2, NDCG_DEPTH + 2))
    top = grades[:, :NDCG_DEPTH]
    gained = (top * discounts[: top.shape[1]]).sum(axis=1)
    possible = (relevance.ideal(NDCG_DEPTH) * discounts).sum(axis=1)
    scores[f"ndcg@{NDCG_DEPTH}"] = np.divide(gained, possible, out=np.zeros_like(gained), where=possible > 0)
    return scores


def _refuse(wrong: NDArray[np.bool_], why: Callable[[int, int], str]) -> None:
    """Raise for the first place of (n_queries, k) `wrong` that holds; `why(query, column)` says what is wrong there."""
    if wrong.any():
        query, column = np.argwhere(wrong)[0].tolist()
        more = int(np.count_nonzero(wrong.any(axis=1))) - 1
        others = f" (and {more} other quer{'y does' if more == 1 else 'ies do'} the like)" if more else ""
        raise InvalidAnswer(f"query {query} {why(query, column)}{others}")
