"""Encoders in other company: whether the vector of a text depends on the texts that are encoded with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.submission.strangers import PREFIX, is_texts, some
from harness.task import Question

ALONE = 12
"""Texts of each kind that are encoded by themselves and in other company."""


def company(method: Any, question: Question, prepared: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """1 - cosine of the vectors of some texts, encoded alone, shuffled and in smaller batches, from those that the
    whole batch has, or a larger one. Only of methods that encode texts."""
    found: dict[str, NDArray[Any]] = {}
    for part, texts in question.items():
        encode = _encoder(method, part)
        if encode is None or not is_texts(texts):
            continue
        chosen = some(len(texts), ALONE)
        others = [i for i in some(len(texts), 5 * ALONE) if i not in chosen]
        whole = prepared.get(part)
        if isinstance(whole, np.ndarray) and f"{part}_offsets" not in prepared and len(whole) == len(texts):
            reference = [np.asarray(whole[i : i + 1], np.float64) for i in chosen]
        else:
            reference = _encoded(encode, [texts[i] for i in [*chosen, *others]])[: len(chosen)]
        mixed = some(len(chosen) + len(others), len(chosen) + len(others))
        every = [*chosen, *others]
        vectors = _encoded(encode, [texts[every[i]] for i in mixed])
        shuffled = {every[i]: vector for i, vector in zip(mixed, vectors, strict=True)}
        half = len(chosen) // 2
        smaller = [vector for group in (chosen[:half], chosen[half:])
                   for vector in _encoded(encode, [texts[i] for i in group])]  # fmt: skip
        apart = [
            max(far(reference[j], _encoded(encode, [texts[i]])[0]), far(reference[j], shuffled[i]),
                far(reference[j], smaller[j]))
            for j, i in enumerate(chosen)
        ]  # fmt: skip
        found[f"{PREFIX}off[{part}]"] = np.array(apart)
    return found


def _encoder(method: Any, part: str) -> Callable[[list[str]], Any] | None:
    """How a method turns the texts of a part into vectors."""
    names = ("encode_queries", "encode_query_tokens") if part == "queries" else ("encode", "encode_tokens")
    return next((getattr(method, name) for name in names if callable(getattr(method, name, None))), None)


def _encoded(encode: Callable[[list[str]], Any], texts: list[str]) -> list[NDArray[np.float64]]:
    """One (tokens, d) array for each text; (1, d) where a text has one vector."""
    if not texts:
        return []
    made = encode(texts)
    return [np.atleast_2d(np.asarray(vector, np.float64)) for vector in made]


def far(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """The largest 1 - cosine of two sets of vectors, row by row; 2 where they are not as many."""
    return float(off(a, b).max()) if a.shape == b.shape and len(a) else 2.0


def off(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    """1 - cosine of rows, (n,); two vectors of zeros are the same."""
    wide, other = np.asarray(a, np.float64), np.asarray(b, np.float64)
    lengths = np.linalg.norm(wide, axis=1) * np.linalg.norm(other, axis=1)
    cosines = np.einsum("ij,ij->i", wide, other) / np.maximum(lengths, 1e-300)
    far: NDArray[np.float64] = np.where(lengths > 0, 1 - cosines, np.where((wide == other).all(axis=1), 0.0, 1.0))
    return far
