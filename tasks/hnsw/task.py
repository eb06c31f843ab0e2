"""What an approximate index loses against exact search: by intrinsic dimension, by insertion order, by parameters.

A cell builds one index and sweeps its query-time parameter. Recall is counted by the judge, on float64 distances of the
returned points; a point as near as the k-th (within 1e-6, relative) is right, whichever it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import file_digest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from harness import paths
from harness.task import (
    Answer,
    BreakingPoint,
    Case,
    Chart,
    Draw,
    InvalidAnswer,
    Meter,
    Outcome,
    Question,
    Ranking,
    Score,
    Scored,
    Task,
    Unsupported,
)
from harness.tasks.hnsw import analysis, costs
from harness.tasks.hnsw.collection import DEEP, collect, own_cases
from harness.tasks.hnsw.exact import cached_nearest, direct_distances, recall
from harness.tasks.hnsw.interface import GRAPH_EFFORTS, Index

K = 10
"""Neighbours asked for in the sweep. A larger k would raise every smaller ef to itself."""
SAMPLE = 133
"""Single queries of one process and effort: enough for a p95 (130), and in five processes for a p99 (662)."""


class Hnsw(Task[Index]):
    """What does an approximate index lose, and why? (Elliott & Clark 2024, arXiv:2405.17813)"""

    version: ClassVar[int] = 1
    summary: ClassVar[str] = "what does an approximate index lose, by intrinsic dimension, order and parameters?"
    scores: ClassVar[tuple[Score, ...]] = (
        Score("recall@10", best=1.0, main=True),
        Score("effort", bounded=False),
        Score("ndcg@10", best=1.0),
        Score("exact_ndcg@10", best=1.0),
        Score("distances", higher_is_better=False, unit="distance computations a query", bounded=False),
        Score("index_bytes", higher_is_better=False, unit="bytes, as the library saves it", bounded=False),
        Score("recall@1", best=1.0),
        Score("recall@100", best=1.0),
    )
    # fmt: off
    cases: ClassVar[tuple[Case, ...]] = (
        Case("subspace-2", {"data": "subspace", "k": 2, "dim": 1024, "n": 10000},
             only="subspace", seeds=1),
        Case("subspace-8", {"data": "subspace", "k": 8, "dim": 1024, "n": 10000},
             only="subspace", seeds=1),
        Case("subspace-64", {"data": "subspace", "k": 64, "dim": 1024, "n": 10000},
             only="subspace", seeds=1),
        Case("subspace-256", {"data": "subspace", "k": 256, "dim": 1024, "n": 10000},
             only="subspace", seeds=1),
        Case("subspace-1024", {"data": "subspace", "k": 1024, "dim": 1024, "n": 10000},
             only="subspace", seeds=1),
        Case("intrinsic-8", {"data": "subspace", "k": 8, "dim": 128, "n": 10000},
             only="intrinsic", seeds=1),
        Case("intrinsic-32", {"data": "subspace", "k": 32, "dim": 128, "n": 10000},
             only="intrinsic", seeds=1),
        Case("intrinsic-128", {"data": "subspace", "k": 128, "dim": 128, "n": 10000},
             only="intrinsic", seeds=1),
        Case("intrinsic-32-n2000", {"data": "subspace", "k": 32, "dim": 128, "n": 2000},
             light="full", heavy="full", only="intrinsic", seeds=1),
        Case("intrinsic-32-n50000", {"data": "subspace", "k": 32, "dim": 128, "n": 50000},
             light="full", heavy="full", only="intrinsic", seeds=1),
        Case("nested-unit-asc", {"data": "nested", "norm": "unit", "order": "asc"},
             only="order", seeds=3),
        Case("nested-unit-random", {"data": "nested", "norm": "unit", "order": "random"},
             only="order", seeds=3),
        Case("nested-unit-desc", {"data": "nested", "norm": "unit", "order": "desc"},
             only="order", seeds=3),
        Case("nested-unit-category", {"data": "nested", "norm": "unit", "order": "category"},
             light="full", heavy="full", only="order", seeds=3),
        Case("nested-raw-asc", {"data": "nested", "norm": "raw", "order": "asc"},
             light="full", heavy="full", only="order", seeds=3),
        Case("nested-raw-random", {"data": "nested", "norm": "raw", "order": "random"},
             light="full", heavy="full", only="order", seeds=3),
        Case("nested-raw-desc", {"data": "nested", "norm": "raw", "order": "desc"},
             light="full", heavy="full", only="order", seeds=3),
        Case("digits-given", {"data": "digits", "order": "given"},
             only="order", seeds=3),
        Case("digits-asc", {"data": "digits", "order": "asc"},
             only="order", seeds=3),
        Case("digits-random", {"data": "digits", "order": "random"},
             light="smoke", seeds=3),
        Case("digits-desc", {"data": "digits", "order": "desc"},
             only="order", seeds=3),
        Case("digits-category", {"data": "digits", "order": "category"},
             only="order", seeds=3),
        Case("clusters", {"data": "clusters", "n": 10000, "timed": True}, seeds=1, processes=5),
        Case("text-minilm-asc", {"data": "text", "model": "minilm", "order": "asc"},
             light="full", heavy="full", only="order", seeds=3),
        Case("text-minilm-random", {"data": "text", "model": "minilm", "order": "random"},
             light="full", heavy="full", only="order", seeds=3),
        Case("text-minilm-desc", {"data": "text", "model": "minilm", "order": "desc"},
             light="full", heavy="full", only="order", seeds=3),
        Case("text-minilm-d256", {"data": "text", "model": "minilm-d256", "order": "random"},
             light="full", heavy="full", only="order", seeds=1),
        Case("text-minilm-d128", {"data": "text", "model": "minilm-d128", "order": "random"},
             light="full", heavy="full", only="order", seeds=1),
        Case("text-minilm-d64", {"data": "text", "model": "minilm-d64", "order": "random"},
             light="full", heavy="full", only="order", seeds=1),
        Case("text-lsa", {"data": "text", "model": "lsa", "order": "random"},
             light="full", heavy="full", only="order", seeds=1),
        Case("text-hashed", {"data": "text", "model": "hashed", "order": "random"},
             light="full", heavy="full", only="order", seeds=1),
        Case("glove-100-angular", {"data": "public", "name": "glove-100-angular", "timed": True},
             light="full", heavy="full", seeds=1,
             download="glove-100-angular.hdf5 of ann-benchmarks", download_bytes=485413888),
        Case("sift-128-euclidean", {"data": "public", "name": "sift-128-euclidean", "timed": True},
             light="full", heavy="full", seeds=1,
             download="sift-128-euclidean.hdf5 of ann-benchmarks", download_bytes=525128288),
        Case("fashion-mnist-784-euclidean", {"data": "public", "name": "fashion-mnist-784-euclidean", "timed": True},
             light="full", heavy="full", seeds=1,
             download="fashion-mnist-784-euclidean.hdf5 of ann-benchmarks", download_bytes=227528288),
        Case("yandex-200-cosine", {"data": "public", "name": "yandex-200-cosine", "timed": True},
             light="full", heavy="full", seeds=1, download="yandex-200-cosine.hdf5 of VIBE (other queries)"),
        Case("llama-128-ip", {"data": "public", "name": "llama-128-ip", "timed": True},
             light="full", heavy="full", seeds=1, download="llama-128-ip.hdf5 of VIBE (other queries)"),
        Case("yi-128-ip", {"data": "public", "name": "yi-128-ip", "timed": True},
             light="full", heavy="full", seeds=1, download="yi-128-ip.hdf5 of VIBE (other queries)"),
        Case("million", {"data": "clusters", "n": 1000000, "dim": 96, "timed": True},
             light="full", heavy="full", only="million", seeds=1),
    )
    # fmt: on

    def draw(self, case: Case, seed: int) -> Draw:
        """Vectors in their order of insertion, queries disjoint from them, and their exact neighbours."""
        data, about = collect(case, seed, paths.cache_root())
        k = min(DEEP, len(data.vectors))
        ids, distances = cached_nearest(data.vectors, data.queries, k, data.metric, paths.cache_root() / "truth")
        question = {"vectors": data.vectors, "queries": data.queries, "metric": data.metric,
                    "timed": bool(case.params.get("timed"))}  # fmt: skip
        truth = {"data": data, "ids": ids, "distances": distances}
        return Draw(question, truth, data.digest(), about)

    def drive(self, method: Index, question: Question, meter: Meter, prepared: Answer | None) -> Answer:
        """Build, then for each effort: all queries in one batch (the pass that is scored), and a sample of them one
        at a time (every effort where the case is timed, else the default one)."""
        # plain arrays: some libraries know no memory-mapped ones
        vectors, queries = np.asarray(question["vectors"]), np.asarray(question["queries"])
        metric = question["metric"]
        if metric not in method.metrics:
            raise Unsupported(f"this index knows {', '.join(method.metrics)}, not {metric}")
        with meter.phase("build", items=len(vectors)):
            method.build(vectors, metric)
        efforts = list(method.efforts) or [0]
        default = method.default_effort if method.efforts else 0
        if default not in efforts:
            raise InvalidAnswer(f"default_effort {default} is not among the efforts {efforts}")
        singles = [queries[i : i + 1] for i in sampled(len(queries))]
        k = min(K, len(vectors))
        found: list[Any] = []
        counted: list[float] = []
        for effort in efforts:
            if method.efforts:
                method.set_effort(effort)
            before = method.distances_computed()
            with meter.phase(_at("search", effort, default), items=len(queries)):
                found.append(_ids(method.search(queries, k), effort))
            after = method.distances_computed()
            counted.append(-1.0 if before is None or after is None else (after - before) / len(queries))
            if effort == default or question["timed"]:
                meter.each(_at("query", effort, default), singles, lambda query: method.search(query, k))
        if meter.repeat:
            return {}
        answer = {"efforts": np.array(efforts), "default": np.array(default), "ids": np.stack(found),
                  "distances": np.array(counted)}  # fmt: skip
        if question["timed"]:
            answer.update(_deep(method, queries, efforts, len(vectors)))
        answer.update(_saved(method))
        return answer

    def score(self, case: Case, draw: Draw, answer: Answer) -> Scored:
        """Recall at every effort; at the default one without brackets. Raises InvalidAnswer."""
        data, truth = draw.truth["data"], draw.truth["distances"]
        efforts, default = _efforts(answer)
        n, k = len(data.vectors), min(K, len(data.vectors))
        ids = _checked(answer, "ids", (len(efforts), len(data.queries), k), n)
        values: dict[str, float] = {}
        items: dict[str, NDArray[np.float64]] = {}
        rest: dict[str, float] = {}
        for effort, found in zip(efforts, ids, strict=True):
            distances = direct_distances(data.vectors, data.queries, found, data.metric)
            here = {f"recall@{K}": recall(found, distances, truth, k), "recall@1": recall(found, distances, truth, 1)}
            if data.relevant is not None:
                here["ndcg@10"] = _ndcg(found, data.relevant)
            for name, per_query in here.items():
                rest[f"{name}[{effort}]"] = float(per_query.mean())
                if effort == default:
                    values[name] = float(per_query.mean())
                    items[name] = per_query
            counted = float(np.asarray(answer["distances"], np.float64)[efforts.index(effort)])
            if counted >= 0:
                rest[f"distances[{effort}]"] = counted
                if effort == default:
                    values["distances"] = counted
            if effort == default and len(efforts) > 1:
                values["effort"] = float(effort)
        if data.relevant is not None:
            values["exact_ndcg@10"] = float(_ndcg(draw.truth["ids"][:, :k], data.relevant).mean())
        notes = []
        if "index_bytes" in answer:
            values["index_bytes"] = float(np.asarray(answer["index_bytes"]))
            notes.append(f"saved index: SHA-256 {bytes(np.asarray(answer['index_sha256'], np.uint8)).hex()}")
        for effort in (e for e in efforts if f"ids100[{e}]" in answer):
            found = _checked(answer, f"ids100[{effort}]", (len(data.queries), truth.shape[1]), n)
            distances = direct_distances(data.vectors, data.queries, found, data.metric)
            rest["recall@100" + (f"[{effort}]" if len(efforts) > 1 else "")] = float(
                recall(found, distances, truth, truth.shape[1]).mean()
            )
        if len(efforts) == 1:  # one setting, and so nothing to tell apart
            rest = {name: value for name, value in rest.items() if "[" not in name}
        # The queries are independent draws, given the stored points and the graph: the interval holds for these.
        return Scored({**values, **rest}, items, notes, independent=True)

    def oracle(self, case: Case, draw: Draw) -> Answer:
        """The exact neighbours."""
        ids = draw.truth["ids"]
        return {"efforts": np.array([0]), "default": np.array(0), "ids": ids[None, :, :K],
                "distances": np.array([-1.0]), "ids100[0]": ids}  # fmt: skip

    def refine(self, outcomes: Sequence[Outcome]) -> Iterable[Case]:
        """The next intrinsic dimension of a row's search for the one where its recall breaks."""
        return analysis.next_dimensions(outcomes)

    def breaking_points(self, outcomes: Sequence[Outcome]) -> Iterable[BreakingPoint]:
        """Where recall@10 falls under 0.95, what the order of insertion costs, and which models change places."""
        return analysis.breaking_points(outcomes)

    def charts(self, outcomes: Sequence[Outcome]) -> Iterable[Chart]:
        """recall@10 over the intrinsic dimension."""
        return analysis.charts(outcomes)

    def rankings(self, outcomes: Sequence[Outcome]) -> Iterable[Ranking]:
        """Cost at equal recall, of each library at the best of its build settings."""
        return costs.rankings(outcomes)

    def data_cases(self, path: str, **options: str) -> Iterable[Case]:
        """Cases over the user's own vectors: one timed, in the given order, and three orders of insertion."""
        return own_cases(path, **options)


def sampled(n_queries: int) -> list[int]:
    """Positions of 133 evenly spaced queries (repeated, if there are fewer)."""
    return [i * n_queries // SAMPLE for i in range(SAMPLE)]


# The child's side -----------------------------------------------------------------------------------------------------


def _at(stem: str, effort: int, default: int) -> str:
    return stem if effort == default else f"{stem}[{effort}]"


def _ids(found: Any, effort: int) -> NDArray[np.int32]:
    ids = np.asarray(found)
    if ids.ndim != 2 or ids.dtype.kind not in "iu":
        raise InvalidAnswer(f"search at effort {effort} must return (n_queries, k) integers; it returned "
                            f"{ids.dtype}, shape {ids.shape}")  # fmt: skip
    # unsigned libraries mark what is missing by their largest number
    return np.where(ids.astype(np.int64) < 0, -1, np.minimum(ids, 2**31 - 1)).astype(np.int32)


def _deep(method: Index, queries: NDArray[np.float32], efforts: Sequence[int], n: int) -> Answer:
    """Searches for 100 neighbours, at the efforts that ask for so many."""
    k = min(DEEP, n)
    found: dict[str, NDArray[Any]] = {}
    for effort in efforts:
        if method.efforts != GRAPH_EFFORTS or effort >= DEEP:  # a graph would raise ef to k
            if method.efforts:
                method.set_effort(effort)
            found[f"ids100[{effort}]"] = _ids(method.search(queries, k), effort)
    return found


def _saved(method: Index) -> Answer:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "index"
        try:
            method.save(str(path))
        except Unsupported:
            return {}
        with path.open("rb") as file:
            digest = file_digest(file, "sha256").digest()
        return {"index_bytes": np.array(path.stat().st_size), "index_sha256": np.frombuffer(digest, np.uint8)}


# The judge's side -----------------------------------------------------------------------------------------------------


def _efforts(answer: Answer) -> tuple[list[int], int]:
    try:
        efforts = [int(e) for e in np.asarray(answer["efforts"]).ravel()]
        default = int(np.asarray(answer["default"]))
    except (KeyError, TypeError, ValueError):
        raise InvalidAnswer("the answer does not say which efforts were searched") from None
    if not efforts or len(set(efforts)) != len(efforts) or default not in efforts:
        raise InvalidAnswer(f"efforts {efforts} must differ and hold the default, {default}")
    return efforts, default


def _checked(answer: Answer, name: str, shape: tuple[int, ...], n: int) -> NDArray[np.int64]:
    found = np.asarray(answer.get(name, np.empty(0)))
    if found.shape != shape or found.dtype.kind not in "iu":
        raise InvalidAnswer(f"{name} must be integers of shape {shape}; got {found.dtype}, shape {found.shape}")
    ids = found.astype(np.int64)
    if ids.size and (ids.min() < -1 or ids.max() >= n):
        bad = int(ids.max() if ids.max() >= n else ids.min())
        raise InvalidAnswer(f"{name} holds the position {bad}; there are 0 to {n - 1}, and -1 for none")
    order = np.sort(ids, axis=-1)
    twice = (order[..., 1:] == order[..., :-1]) & (order[..., 1:] >= 0)
    if twice.any():
        raise InvalidAnswer(f"{name} holds the position {int(order[..., 1:][twice][0])} twice for one query")
    return ids


def _ndcg(ids: NDArray[Any], relevant: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
    """nDCG@10 with binary relevance, (n_queries,)."""
    gains = 1 / np.log2(np.arange(2, K + 2))
    out = np.zeros(len(ids))
    for row, (found, wanted) in enumerate(zip(ids, relevant, strict=True)):
        hits = np.isin(found[:K], wanted)
        out[row] = (gains[: len(hits)] * hits).sum() / gains[: min(K, max(len(wanted), 1))].sum()
    return out
