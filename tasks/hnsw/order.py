"""Orders of insertion: what an index sees first decides what its graph looks like (Elliott & Clark 2024)."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError
from harness.tasks.hnsw.exact import save_arrays
from harness.tasks.hnsw.generate import Float32, Float64, digest
from harness.tasks.hnsw.geometry import NEIGHBOURS, pointwise_lid

ORDERS = ("given", "random", "asc", "desc", "category")
MOST_FOR_LID = 20_000
"""Points up to which an order by LID is made: its cost grows with their square."""


def insertion_order(
    name: str, vectors: Float32, categories: NDArray[np.int64] | None, seed: int, cache: Path | None = None
) -> NDArray[np.int64]:
    """(n,) permutation: the positions of the points that are inserted first, second, and so on.

    `given`: as they are. `random`: shuffled by `seed`. `asc`, `desc`: by pointwise LID (maximum likelihood over 100
    neighbours), points without an estimate last. `category`: one category after the other, in the order of their
    numbers. Ties, and points within a category, are in random order by `seed`, lest the given order show through.
    Raises DataError for an unknown name, for `category` without categories, and for more than MOST_FOR_LID points
    in an order by LID. Estimates are kept in the folder `cache`, if one is given.
    """
    n = len(vectors)
    shuffled = np.random.default_rng([seed, *b"order"]).permutation(n)
    match name:
        case "given":
            return np.arange(n)
        case "random":
            return shuffled
        case "asc" | "desc":
            if n > MOST_FOR_LID:
                raise DataError(f"an order by LID needs the neighbours of each of {n:,} points; the most "
                                f"for it are {MOST_FOR_LID:,}: take fewer points, or the order `random`")  # fmt: skip
            lid = _pointwise_lid(vectors, cache)
            key = np.where(np.isfinite(lid), lid if name == "asc" else -lid, np.inf)
        case "category":
            if categories is None:
                raise DataError("these data have no categories to insert by: take another order, one of "
                                f"{', '.join(ORDERS[:-1])}")  # fmt: skip
            key = categories
        case _:
            raise DataError(f"unknown order of insertion {name!r}: one of {', '.join(ORDERS)}")
    return shuffled[np.argsort(key[shuffled], kind="stable")]


def _pointwise_lid(vectors: Float32, cache: Path | None) -> Float64:
    if cache is None:
        return pointwise_lid(vectors, NEIGHBOURS)
    path = cache / f"lid-{digest(vectors, label=f'1 {NEIGHBOURS}')}.npz"
    try:
        with np.load(path, allow_pickle=False) as kept:
            lid: Float64 = kept["lid"]
            if lid.shape == (len(vectors),):
                return lid
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        pass
    lid = pointwise_lid(vectors, NEIGHBOURS)
    save_arrays(path, lid=lid)
    return lid
