"""From a case and a seed to vectors in their order of insertion."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import DataError, Unsupported
from harness.task import Case, Scalar
from harness.tasks.hnsw.generate import NESTED_DIMS, Vectors, clusters, nested, subspace
from harness.tasks.hnsw.geometry import describe_geometry
from harness.tasks.hnsw.interface import Metric
from harness.tasks.hnsw.order import MOST_FOR_LID, insertion_order
from harness.tasks.hnsw.own import read_own
from harness.tasks.hnsw.public import load_public
from harness.tasks.hnsw.text import digits, embed

DEEP = 100
"""Neighbours that the truth holds, and that recall@100 asks for."""
TEXTS = 5000
"""Texts that are encoded, once."""
KEPT = 0.8
"""Share of a fixed collection that one draw stores."""
_METRICS: tuple[Metric, ...] = ("l2", "cosine", "ip")


def collect(case: Case, seed: int, cache: Path) -> tuple[Vectors, dict[str, Scalar]]:
    """The data of a case in their order of insertion, and what is worth knowing of them.

    Raises DataError, and MissingPackage where data would have to be downloaded and cannot be.
    """
    data = _data(case, seed, cache)
    order = str(case.params.get("order", "given"))
    if order != "given":
        data = _inserted(data, insertion_order(order, data.vectors, data.categories, seed, cache / "truth"))
    n, dim = data.vectors.shape
    about = {"n": n, "dim": dim, "queries": len(data.queries), "metric": data.metric, "order": order}
    return data, {**about, **describe_geometry(data.vectors, seed), **data.about}


def own_cases(path: str, **options: str) -> Iterable[Case]:
    """The user's vectors: timed in the given order, and in three orders of insertion where n allows it."""
    unknown = sorted(set(options) - {"queries", "metric"})
    if unknown:
        raise Unsupported(f"vectors take --queries and --metric, not --{unknown[0]}")
    if Path(path).is_dir():
        raise Unsupported("a folder is no file of vectors; name one, for example --data vectors.npy")
    said = {name: _absolute(value) if name == "queries" else value for name, value in options.items()}
    full = _absolute(path)
    data = read_own(full, said.get("queries"), _metric(said.get("metric")))
    params: dict[str, Scalar] = {"data": "own", "path": full, "digest": str(data.about["digest"]), **said}
    stem = Path(path.partition(":")[0] if not path.startswith("hf:") else path[3:]).name or "own"
    what = f"{data.about['digest']} {data.metric}"
    # other vectors or queries in files of one name, another metric: each is a case of its own, wherever the files lie
    name = f"{stem}-{sha256(what.encode()).hexdigest()[:6]}"
    yield Case(name, {**params, "timed": True}, light="smoke", heavy="smoke", processes=5, seeds=1)
    if len(data.vectors) <= MOST_FOR_LID:
        for order in ("asc", "random", "desc"):
            yield Case(
                f"{name}-{order}", {**params, "order": order}, light="smoke", heavy="smoke", only="order", seeds=3
            )


def _data(case: Case, seed: int, cache: Path) -> Vectors:
    of: Any = case.params
    match of.get("data"):
        case "subspace":
            return subspace(of["k"], of["dim"], of["n"], 500, seed)
        case "nested":
            return nested(NESTED_DIMS, 256, 10_000, 1000, seed, unit=of["norm"] == "unit")
        case "clusters":
            return clusters(20, 64, of.get("dim", 128), of["n"], 1000, seed)
        case "digits":
            return digits(500, seed)
        case "text":
            return thinned(embed(of["model"], TEXTS, 1000, cache / "embeddings"), int(KEPT * TEXTS), seed)
        case "public":
            return load_public(of["name"], cache / "vectors")
        case "own":
            data = read_own(of["path"], of.get("queries"), _metric(of.get("metric")), seed)
            if data.about["digest"] != of["digest"]:
                raise DataError(f"{of['path']} has changed since this case was made; run `--data` on it again")
            # draws of fixed queries differ in which points are stored
            fixed = data.about["queries_from"] != "held out" and of.get("order")
            return thinned(data, int(KEPT * len(data.vectors)), seed) if fixed else data
        case other:
            raise DataError(f"case {case.name!r} of hnsw has the unknown data {other!r}")


def thinned(data: Vectors, kept: int, seed: int) -> Vectors:
    """`kept` of the stored points, drawn by `seed` (the same positions for every model), in their order; and, where
    there are qrels, the queries that are still answered. Draws of one fixed collection differ in this."""
    chosen = np.sort(np.random.default_rng([seed, *b"thinned"]).permutation(len(data.vectors))[:kept])
    categories = None if data.categories is None else data.categories[chosen]
    stored = replace(data, vectors=np.ascontiguousarray(data.vectors[chosen]), categories=categories)
    if data.relevant is None:
        return stored
    place = np.full(len(data.vectors), -1)
    place[chosen] = np.arange(kept)
    relevant = [place[found][place[found] >= 0] for found in data.relevant]
    answered = [i for i, found in enumerate(relevant) if len(found)]
    queries = np.ascontiguousarray(data.queries[answered])
    return replace(stored, queries=queries, relevant=[relevant[i] for i in answered])


def _inserted(data: Vectors, order: np.ndarray[Any, np.dtype[np.int64]]) -> Vectors:
    """The same data, with the points at their places in `order`."""
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return replace(
        data,
        vectors=np.ascontiguousarray(data.vectors[order]),
        categories=None if data.categories is None else data.categories[order],
        relevant=None if data.relevant is None else [place[found] for found in data.relevant],
    )


def _absolute(spec: str) -> str:
    """Children run elsewhere: a relative path would name another file."""
    path, colon, key = spec.partition(":")
    return spec if spec.startswith("hf:") else f"{Path(path).resolve()}{colon}{key}"


def _metric(name: str | None) -> Metric | None:
    for metric in _METRICS:
        if name == metric:
            return metric
    if name:
        raise DataError(f"--metric {name!r} is unknown; choose one of {', '.join(_METRICS)}")
    return None
