"""Exact search over vectors, in blocks: the k best documents of each query by dot product, cosine or MaxSim.

Ties are exact, at the cut-off too: by score, then by the higher position. Documents are visited from the last to the
first, so that one must *exceed* the k-th best so far to enter: ties never flood the pool, and almost nothing of a
block survives one comparison. In single precision the survivors are kept as 64-bit integers, score bits above position,
which sort in exactly this order.

Memory beyond the inputs: a tile of at most 1,024 queries x max(4,096, 4 M / queries) scores (16 MiB), its documents
normalised (cosine) or padded, and a pool of 1,024 x (k + block) 8-byte keys. The products are torch's where torch is
installed: padded to whole tiles of its kernel, a score then depends on neither the position of a document nor the
batch of its query (a single query excepted: it is a matrix-vector product). NumPy's BLAS gives no such promise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from harness.tasks.limit.retrieval.interface import Hits

__all__ = ["Similarity", "max_sim", "normalise", "top_k"]

Similarity = Literal["cosine", "dot"]
Floats: TypeAlias = NDArray[np.floating[Any]]
Tile: TypeAlias = tuple[int, Floats]
"""First position, and (n_queries, n_documents) scores from there on."""

QUERIES = 1024
"""Queries of one block; for MaxSim, query tokens by and large."""
TILE = 4 << 20
"""Scores of one tile."""
TOKENS = 2048
"""Document tokens of one MaxSim tile (more where one document has more)."""
KERNEL = 16
"""Rows that matrix products are padded to."""
POSITION_BITS = np.uint64(32)


def top_k(queries: NDArray[Any], documents: NDArray[Any], k: int, similarity: Similarity = "dot") -> Hits:
    """The k best of (n, d) `documents` for each of (q, d) `queries`: ids (q, min(k, n)), best first.

    Single and half precision are scored in float32, double in float64. Scores that are not a number never hit.
    `cosine` divides by max(norm, 1e-12), as torch and mteb do. Raises ValueError for shapes that do not fit.
    """
    queries, documents = _floats(queries), _floats(documents)
    if queries.ndim != 2 or documents.ndim != 2 or queries.shape[1] != documents.shape[1]:
        raise ValueError(f"queries {queries.shape} and documents {documents.shape} must be (rows, same dimension)")
    if queries.dtype != documents.dtype:
        queries, documents = queries.astype(np.float64), documents.astype(np.float64)
    if similarity == "cosine":
        queries = normalise(queries)
    depth = min(k, len(documents))
    blocks = [
        _select(len(part), depth, _tiles(part, documents, similarity), documents.dtype)
        for part in _parts(queries, QUERIES)
    ]
    return _stack(blocks, depth)


def max_sim(
    queries: NDArray[Any],
    query_offsets: NDArray[np.int64],
    documents: NDArray[Any],
    document_offsets: NDArray[np.int64],
    k: int,
) -> Hits:
    """The k best documents by late interaction: sum over query tokens of the best dot product with a document token.

    Tokens are concatenated, (n_tokens, d); text i has the rows offsets[i]:offsets[i + 1]. Normalise them first for
    cosines (Khattab & Zaharia 2020, eq. 3). A text without tokens is a ValueError: its score would mean nothing.
    """
    for name, offsets, tokens in (("query", query_offsets, queries), ("document", document_offsets, documents)):
        if len(offsets) < 1 or offsets[0] != 0 or offsets[-1] != len(tokens) or (np.diff(offsets) < 1).any():
            raise ValueError(f"{name} offsets must rise from 0 to {len(tokens)}, with at least one token a text")
    queries, documents = _floats(queries), _floats(documents)
    depth = min(k, len(document_offsets) - 1)
    blocks = []
    for first, last in _runs(query_offsets, QUERIES * 4):
        tokens = queries[query_offsets[first] : query_offsets[last]]
        starts = query_offsets[first:last] - query_offsets[first]
        blocks.append(
            _select(last - first, depth, _max_sim_tiles(tokens, starts, documents, document_offsets), documents.dtype)
        )
    return _stack(blocks, depth)


def normalise(vectors: NDArray[Any], out: Floats | None = None) -> Floats:
    """Rows of length one, into `out` if given: (n, d) to (n, d). Zero rows stay zero."""
    vectors = _floats(vectors)
    out = np.empty_like(vectors) if out is None else out
    torch = _torch()
    if torch is None:
        norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
        np.divide(vectors, np.maximum(norms, vectors.dtype.type(1e-12)), out=out)
        return out
    rows = torch.from_numpy(vectors)
    norms = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    torch.div(rows, norms.clamp_min_(1e-12), out=torch.from_numpy(out))
    return out


# Tiles of scores ------------------------------------------------------------------------------------------------------


def _tiles(queries: Floats, documents: Floats, similarity: Similarity) -> Iterator[Tile]:
    """Scores of all documents in blocks, from the last block to the first. A tile is overwritten by the next."""
    block = max(4096, TILE // max(1, len(queries)) // 1024 * 1024)  # whole kernel tiles: nothing to pad
    product = _Product(queries)
    unit = np.empty((min(block, len(documents)) if similarity == "cosine" else 0, documents.shape[1]), documents.dtype)
    for stop in range(len(documents), 0, -block):  # cut from the end: the first block sets the floor and must be whole
        start = max(0, stop - block)
        part = documents[start:stop]
        yield start, product(normalise(part, out=unit[: len(part)]) if similarity == "cosine" else part)


def _max_sim_tiles(
    tokens: Floats, starts: NDArray[np.int64], documents: Floats, offsets: NDArray[np.int64]
) -> Iterator[Tile]:
    """Late-interaction scores, from the last documents to the first."""
    product = _Product(tokens)
    for first, last in reversed(_runs(offsets, TOKENS)):
        base = offsets[first]
        cosines = product(documents[base : offsets[last]])
        # along the contiguous axis reduceat costs a fraction of the product; along the other, many times as much
        best = np.maximum.reduceat(cosines, offsets[first:last] - base, axis=1)
        yield first, np.add.reduceat(best, starts, axis=0)


class _Product:
    """Dot products of fixed rows with block after block, into one buffer that is used again."""

    def __init__(self, rows: Floats) -> None:
        self.count, self.torch = len(rows), _torch()
        self.rows = rows if self.torch is None or len(rows) == 1 else _padded(rows)
        self.buffer: Floats = np.empty(0, rows.dtype)

    def __call__(self, block: Floats) -> Floats:
        """(rows, block): a view of the buffer, contiguous along the block."""
        count = len(block)
        kernel = KERNEL if self.torch is not None and len(self.rows) > 1 else 1
        whole, width = count - count % kernel, count + -count % kernel
        size = len(self.rows) * width
        if self.buffer.size < size:
            self.buffer = np.empty(size, self.rows.dtype)
        out = self.buffer[:size].reshape(len(self.rows), width)
        self._multiply(block[:whole], out[:, :whole])
        if whole < count:  # only the rest is copied to be padded, not the block
            self._multiply(_padded(block[whole:]), out[:, whole:])
        return out[: self.count, :count]

    def _multiply(self, block: Floats, out: Floats) -> None:
        if self.torch is None:
            np.matmul(self.rows, block.T, out=out)
        else:
            tensors = [self.torch.from_numpy(a) for a in (self.rows, block, out)]
            self.torch.mm(tensors[0], tensors[1].T, out=tensors[2])


def _padded(rows: Floats) -> Floats:
    missing = -len(rows) % KERNEL
    return np.concatenate([rows, np.zeros((missing, rows.shape[1]), rows.dtype)]) if missing else rows


# Selection ------------------------------------------------------------------------------------------------------------


def _select(count: int, k: int, tiles: Iterable[Tile], dtype: np.dtype[Any]) -> Hits:
    """The k best of each of `count` queries over tiles that come from the last positions to the first."""
    pool: _Pool = _PackedPool(count, k) if dtype == np.float32 else _WidePool(count, k)
    for start, scores in tiles:
        pool.offer(start, scores)
    return pool.hits()


class _Pool:
    """Candidates of each query. `floor` is the k-th best score so far: only higher ones may still enter."""

    def __init__(self, count: int, k: int) -> None:
        self.k = k
        self.filled = np.zeros(count, np.int64)
        self.floor: Floats | None = None

    def offer(self, start: int, scores: Floats) -> None:
        """Take in what may belong to the k best. `start` must be below all positions offered before."""
        if self.floor is None:
            self.floor = np.full(len(scores), -np.inf, scores.dtype)
            if scores.shape[1] > self.k:  # the first block sets its own floor, and ties with it belong
                kth = np.partition(scores, scores.shape[1] - self.k, axis=1)[:, scores.shape[1] - self.k]
                self.floor = np.where(np.isnan(scores.max(axis=1)), self.floor, kth)  # NaN would sort above all
            passed = scores >= self.floor[:, None]
        else:
            # A floor of -inf means fewer than k so far, and then a score of -inf is a hit like any other.
            passed = scores > self.floor[:, None]
            open_rows = np.flatnonzero(self.filled < self.k)
            if len(open_rows):
                passed[open_rows] = ~np.isnan(scores[open_rows])
        flat = np.flatnonzero(passed)
        if not len(flat):
            return
        rows = flat // scores.shape[1]
        columns = flat - rows * scores.shape[1]
        counts = np.bincount(rows, minlength=len(scores))
        if (self.filled + counts).max() > self.room(scores.shape[1]):
            self.prune()
        slots = np.arange(len(flat)) + (self.filled - (np.cumsum(counts) - counts))[rows]
        self.put(rows, slots, scores[rows, columns], columns + start)
        self.filled += counts

    def room(self, width: int) -> int:
        """Slots of each query, at least k + width."""
        raise NotImplementedError

    def put(self, rows: NDArray[np.int64], slots: NDArray[np.int64], scores: Floats, ids: NDArray[np.int64]) -> None:
        raise NotImplementedError

    def prune(self) -> None:
        """Keep the k best, and raise the floor to the k-th."""
        raise NotImplementedError

    def hits(self) -> Hits:
        raise NotImplementedError


class _PackedPool(_Pool):
    """Single precision: one integer a candidate, the score's bits in their sorting order above the position."""

    def __init__(self, count: int, k: int) -> None:
        super().__init__(count, k)
        self.keys = np.zeros((count, 0), np.uint64)

    def room(self, width: int) -> int:
        need = self.k + width
        if self.keys.shape[1] < need:
            grown = np.zeros((len(self.keys), need), np.uint64)
            grown[:, : self.keys.shape[1]] = self.keys
            self.keys = grown
        return self.keys.shape[1]

    def put(self, rows: NDArray[np.int64], slots: NDArray[np.int64], scores: Floats, ids: NDArray[np.int64]) -> None:
        bits = (scores + np.float32(0)).view(np.uint32)  # -0.0 + 0.0 is 0.0: the two zeros must tie
        flip = np.where(bits >> np.uint32(31), np.uint32(0xFFFFFFFF), np.uint32(0x80000000))
        self.keys[rows, slots] = ((bits ^ flip).astype(np.uint64) << POSITION_BITS) | ids.astype(np.uint64)

    def prune(self) -> None:
        used = int(self.filled.max())
        if used <= self.k:
            return
        best = np.partition(self.keys[:, :used], used - self.k, axis=1)[:, used - self.k :]
        self.keys[:, : self.k] = best
        self.keys[:, self.k :] = 0
        np.minimum(self.filled, self.k, out=self.filled)
        # A row that is not full has empty keys (0) among its best, and its floor stays open.
        self.floor = np.where(best[:, 0] > 0, _unpack(best[:, 0]), np.float32(-np.inf))

    def hits(self) -> Hits:
        self.prune()
        best = np.zeros((len(self.keys), self.k), np.uint64)
        best[:, : min(self.k, self.keys.shape[1])] = self.keys[:, : self.k]
        best = np.sort(best, axis=1)[:, ::-1]
        empty = best == 0
        ids = np.where(empty, -1, (best & np.uint64(0xFFFFFFFF)).astype(np.int64))
        return Hits(ids, np.where(empty, 0.0, _unpack(best).astype(np.float64)))


def _unpack(keys: NDArray[np.uint64]) -> NDArray[np.float32]:
    """The scores of packed keys."""
    bits = (keys >> POSITION_BITS).astype(np.uint32)
    flip = np.where(bits >> np.uint32(31), np.uint32(0x80000000), np.uint32(0xFFFFFFFF))
    return np.ascontiguousarray(bits ^ flip).view(np.float32)


class _WidePool(_Pool):
    """Double precision: scores and positions side by side, ordered by two keys. Slower, for the few that need it."""

    def __init__(self, count: int, k: int) -> None:
        super().__init__(count, k)
        self.scores = np.zeros((count, 0), np.float64)
        self.ids = np.full((count, 0), -1, np.int64)

    def room(self, width: int) -> int:
        missing = self.k + width - self.ids.shape[1]
        if missing > 0:
            self.scores = np.pad(self.scores, ((0, 0), (0, missing)), constant_values=-np.inf)
            self.ids = np.pad(self.ids, ((0, 0), (0, missing)), constant_values=-1)
        return self.ids.shape[1]

    def put(self, rows: NDArray[np.int64], slots: NDArray[np.int64], scores: Floats, ids: NDArray[np.int64]) -> None:
        self.scores[rows, slots] = scores
        self.ids[rows, slots] = ids

    def prune(self) -> None:
        order = np.lexsort((self.ids, self.scores), axis=1)[:, ::-1]  # empty slots are -inf with -1: last of all
        self.scores, self.ids = np.take_along_axis(self.scores, order, 1), np.take_along_axis(self.ids, order, 1)
        self.scores[:, self.k :], self.ids[:, self.k :] = -np.inf, -1
        np.minimum(self.filled, self.k, out=self.filled)
        if self.ids.shape[1] >= self.k > 0:
            self.floor = self.scores[:, self.k - 1].copy()

    def hits(self) -> Hits:
        self.room(0)
        self.prune()
        ids = self.ids[:, : self.k]
        return Hits(ids, np.where(ids < 0, 0.0, self.scores[:, : self.k]))


# Small things ---------------------------------------------------------------------------------------------------------


def _torch() -> Any:
    """The torch module, or None where it is not installed."""
    try:
        import torch
    except ImportError:
        return None
    return torch


def _floats(vectors: NDArray[Any]) -> Floats:
    """Contiguous float32, or float64 for double precision and integers."""
    array = np.asarray(vectors)
    single = array.dtype.kind == "f" and array.dtype.itemsize <= 4
    return np.ascontiguousarray(array, np.float32 if single else np.float64)


def _parts(rows: Floats, size: int) -> Iterator[Floats]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _runs(offsets: NDArray[np.int64], size: int) -> list[tuple[int, int]]:
    """Consecutive texts, cut where their tokens would exceed `size` (a longer text stands alone)."""
    runs, first, count = [], 0, len(offsets) - 1
    while first < count:
        last = max(first + 1, int(np.searchsorted(offsets, offsets[first] + size, side="right")) - 1)
        runs.append((first, min(last, count)))
        first = runs[-1][1]
    return runs


def _stack(blocks: list[Hits], depth: int) -> Hits:
    if not blocks:
        return Hits(np.empty((0, depth), np.int64), np.empty((0, depth), np.float64))
    return Hits(np.concatenate([b.ids for b in blocks]), np.concatenate([b.scores for b in blocks]))
