"""LIMIT-style collections, made from a seed (Weller et al. 2025, "On the Theoretical Limitations of
Embedding-Based Retrieval", section 5.2 and the published construction).

People like things. A document is one person and 45 attributes; a query asks who likes one attribute; exactly k
people do. Only the *pattern* of who shares what makes it hard. No filler is ever a query's attribute, so the truth is
exact. Differences from the published generator: word lists of our own, a random generator that is the same
everywhere, and documents that end up sorted by name, so that position tells nothing about relevance.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, islice
from math import comb

import numpy as np
from numpy.typing import NDArray

from harness.tasks.limit.retrieval import words
from harness.tasks.limit.retrieval.corpus import Corpus
from harness.tasks.limit.retrieval.stream import Stream

Assignment = NDArray[np.int64]
"""(n_queries, k) people who like each query's attribute, numbered before they have names."""


def generate(
    documents: int, pattern: str, seed: int, *, queries: int = 1000, k: int = 2, attributes: int = 45
) -> Corpus:
    """A collection of `documents` people and `queries` queries with `k` relevant documents each.

    `pattern` is one of `PATTERNS`. `attributes` is how many a document lists; one that is relevant to more queries
    than that (possible only in `random` and `cycle` over few documents) lists them all. `seed` may be any integer.
    Collections of one seed share their names, query attributes and fillers' order over patterns, so that patterns
    can be compared in pairs. Raises ValueError for sizes that do not fit together.
    """
    if pattern not in PATTERNS:
        raise ValueError(f"unknown pattern {pattern!r}: one of {', '.join(PATTERNS)}")
    if min(documents, queries, k, attributes) < 1:
        raise ValueError("documents, queries, k and attributes must be at least 1")
    if k > documents:
        raise ValueError(f"{k} relevant documents per query do not fit into {documents} documents")
    return _build(PATTERNS[pattern](documents, queries, k, seed), documents, seed, attributes)


def all_pairs(n: int, seed: int, *, k: int = 2, attributes: int = 45) -> Corpus:
    """`n` documents and one query for each of their C(n, k) subsets: the case of the critical n.

    A document lists `attributes`, or its C(n - 1, k - 1) queries where these are more. Raises ValueError when the
    attributes do not suffice (with k = 2, beyond n = 61).
    """
    if not 1 <= k <= n or attributes < 1:
        raise ValueError(f"need 1 <= k <= n and attributes >= 1, got k={k}, n={n}, attributes={attributes}")
    available = len(words.attributes())
    if comb(n, k) > available:
        largest = k
        while comb(largest + 1, k) <= available and largest < n:
            largest += 1
        raise ValueError(f"all {k}-subsets of {n} documents are {comb(n, k)} queries, but there are {available} "
                         f"attributes: n can be at most {largest}")  # fmt: skip
    return generate(n, "dense", seed, queries=comb(n, k), k=k, attributes=attributes)


def dense(documents: int, queries: int, k: int, seed: int) -> Assignment:
    """The first `queries` k-subsets, in lexicographic order, of the fewest people that have that many."""
    people = k
    while comb(people, k) < queries:
        people += 1
    _need(people, documents, "dense", queries, k)
    return np.array(list(islice(combinations(range(people), k), queries)), dtype=np.int64)


def random(documents: int, queries: int, k: int, seed: int) -> Assignment:
    """k people drawn afresh for each query."""
    return Stream("limit/relevant", seed).subsets(queries, k, documents)


def cycle(documents: int, queries: int, k: int, seed: int) -> Assignment:
    """Query i belongs to person i and the k - 1 after, starting over at the end."""
    return (np.arange(queries, dtype=np.int64)[:, None] + np.arange(k)) % documents


def disjoint(documents: int, queries: int, k: int, seed: int) -> Assignment:
    """No two queries share a person."""
    _need(queries * k, documents, "disjoint", queries, k)
    return np.arange(queries * k, dtype=np.int64).reshape(queries, k)


PATTERNS: dict[str, Callable[[int, int, int, int], Assignment]] = {
    "dense": dense, "random": random, "cycle": cycle, "disjoint": disjoint,
}  # fmt: skip
"""Who shares what, by name."""


def _need(people: int, documents: int, pattern: str, queries: int, k: int) -> None:
    if people > documents:
        raise ValueError(f"pattern {pattern!r} with {queries} queries and k={k} needs at least {people} documents, "
                         f"got {documents}")  # fmt: skip


def _build(relevant: Assignment, documents: int, seed: int, attributes: int) -> Corpus:
    n_queries = len(relevant)
    pool = words.attributes()
    if n_queries > len(pool):
        raise ValueError(f"{n_queries} queries need as many attributes; there are {len(pool)}")
    names = _names(documents, seed)
    order = Stream("limit/attributes", seed).permutation(len(pool))
    shuffled = np.array(pool, dtype=object)[order]
    listed = _listed(_liked(relevant, documents), n_queries, len(pool), seed, attributes)

    by_name = sorted(range(documents), key=names.__getitem__)
    position = np.empty(documents, dtype=np.int64)
    position[by_name] = np.arange(documents)
    texts = [_sentence(names[person], shuffled[listed[person]].tolist()) for person in by_name]
    return Corpus(
        document_ids=[names[person] for person in by_name],
        documents=texts,
        query_ids=[f"query_{i}" for i in range(n_queries)],
        queries=[f"Who likes {attribute}?" for attribute in shuffled[:n_queries]],
        relevant_indptr=np.arange(n_queries + 1, dtype=np.int64) * relevant.shape[1],
        relevant_ids=np.sort(position[relevant], axis=1).ravel(),
        relevance=np.ones(relevant.size, dtype=np.float64),
    )


def _liked(relevant: Assignment, documents: int) -> list[list[int]]:
    """The queries that each person answers."""
    liked: list[list[int]] = [[] for _ in range(documents)]
    for query, people in enumerate(relevant.tolist()):
        for person in people:
            liked[person].append(query)
    return liked


def _listed(liked: list[list[int]], n_queries: int, n_pool: int, seed: int, attributes: int) -> list[NDArray[np.int64]]:
    """What each document lists, in its order: positions in the shuffled pool, whose first `n_queries` are queries."""
    n_fillers = max(0, attributes - min(len(queries) for queries in liked))
    if n_fillers > n_pool - n_queries:
        raise ValueError(f"{n_queries} queries leave {n_pool - n_queries} of {n_pool} attributes to fill documents "
                         f"with, but {n_fillers} are needed: ask for fewer queries or attributes")  # fmt: skip
    fillers = n_queries + Stream("limit/fillers", seed).arrangements(len(liked), n_fillers, n_pool - n_queries)
    shuffle = Stream("limit/order", seed)
    listed = []
    for queries, filler in zip(liked, fillers, strict=True):
        if queries:
            mixed = np.array(queries + filler[: max(0, attributes - len(queries))].tolist(), dtype=np.int64)
            listed.append(mixed[shuffle.permutation(mixed.size)])
        else:
            listed.append(filler[:attributes])  # already in random order
    return listed


def _names(n: int, seed: int) -> list[str]:
    """`n` different names."""
    first, last = words.first_names(), words.last_names()
    if n > len(first) * len(last):
        raise ValueError(f"{n} documents need as many names; the lists make {len(first) * len(last)}")
    drawn = Stream("limit/names", seed).distinct(n, len(first) * len(last))
    return [f"{first[i // len(last)]} {last[i % len(last)]}" for i in drawn.tolist()]


def _sentence(name: str, liked: list[str]) -> str:
    if len(liked) == 1:
        return f"{name} likes {liked[0]}."
    return f"{name} likes {', '.join(liked[:-1])} and {liked[-1]}."
