"""LIMIT retrieval: documents that list what people like, queries that ask who likes one thing, exact relevance.

Two kinds of case. In the first, one collection is indexed and searched, and recall is taken per query: our own draws by
size and pattern, the published LIMIT and LIMIT-small, the user's own data. In the second, `critical-n`, many small
collections hold one query for *every pair* of their n documents; the largest n that a method still answers (recall@2
of 0.9 or more, on average over the draws) is its breaking point, found by galloping and bisection.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError
from harness.search import Bracket, bracket, next_probe
from harness.task import (
    Answer,
    BreakingPoint,
    Case,
    Draw,
    InvalidAnswer,
    Meter,
    Outcome,
    Question,
    Score,
    Scored,
    Task,
    Unsupported,
)
from harness.tasks.limit.retrieval.adapters import EncodingRetriever, Method, Side, as_retriever
from harness.tasks.limit.retrieval.corpus import Corpus, read_folder, read_hub
from harness.tasks.limit.retrieval.generate import all_pairs, generate
from harness.tasks.limit.retrieval.interface import Hits, Retriever
from harness.tasks.limit.retrieval.scoring import Relevance, checked_hits, query_scores

DEPTH = 100
"""Hits asked for of each query (all documents, where there are fewer)."""
SAMPLE = 133
"""Single-stream queries of one process: five processes make 665, enough for a p99 (662)."""
CRITICAL_RECALL = 0.9
CRITICAL_START = 4
CRITICAL_LOW = 3
"""Under three documents every pair is everything."""
CRITICAL_HIGH = 32
"""Where the search ends: 496 queries a draw. The generator could go to 61, an encoder on a CPU could not."""


class Retrieval(Task[Method]):
    """Which top-k sets can a retriever return? (Weller et al. 2025, arXiv:2508.21038)"""

    version: ClassVar[int] = 1
    summary: ClassVar[str] = "which top-k sets of documents can a retriever return?"
    scores: ClassVar[tuple[Score, ...]] = (
        Score("recall@2", best=1.0, main=True),
        Score("recall@10", best=1.0),
        Score("recall@20", best=1.0),
        Score("recall@100", best=1.0),
        Score("ndcg@10", best=1.0),
    )
    preload: ClassVar[tuple[str, ...]] = ("numpy", "torch")
    cases: ClassVar[tuple[Case, ...]] = (
        Case(
            "46-dense",
            params={"kind": "generated", "documents": 46, "pattern": "dense"},
            light="smoke",
            heavy="smoke",
        ),
        Case(
            "1000-dense",
            params={"kind": "generated", "documents": 1000, "pattern": "dense"},
            light="standard",
            heavy="standard",
            processes=5,
        ),
        Case(
            "50000-dense",
            params={"kind": "generated", "documents": 50000, "pattern": "dense"},
            light="standard",
            heavy="full",
        ),
        Case(
            "critical-4",
            params={"kind": "critical", "n": 4, "draws": 20},
            light="full",
            heavy="standard",
            only="critical",
        ),
        Case(
            "50000-random",
            params={"kind": "generated", "documents": 50000, "pattern": "random"},
            light="full",
            heavy="full",
        ),
        Case(
            "50000-cycle",
            params={"kind": "generated", "documents": 50000, "pattern": "cycle"},
            light="full",
            heavy="full",
        ),
        Case(
            "50000-disjoint",
            params={"kind": "generated", "documents": 50000, "pattern": "disjoint"},
            light="full",
            heavy="full",
        ),
        Case(
            "limit-small",
            params={
                "kind": "hub",
                "name": "orionweller/LIMIT-small",
                "revision": "ff4a8f2476ae77476c1912f1f3cb5bb5f2d766d4",
            },
            light="full",
            heavy="full",
            download="data set orionweller/LIMIT-small (CC-BY-4.0), through the package datasets",
            download_bytes=221179,
        ),
        Case(
            "limit",
            params={
                "kind": "hub",
                "name": "orionweller/LIMIT",
                "revision": "48142cc741b04d0b4af370ade7e8b42430382670",
            },
            light="full",
            heavy="full",
            download="data set orionweller/LIMIT (CC-BY-4.0), through the package datasets",
            download_bytes=33000000,
        ),
    )

    def draw(self, case: Case, seed: int) -> Draw:
        """One collection, or the independent collections of a critical n end to end. Raises DataError for data that
        are not there, or no longer what they were."""
        if case.params.get("kind") == "critical":
            n, draws = int(_param(case, "n")), int(_param(case, "draws"))
            return _draw_critical([all_pairs(n, _subseed(seed, i)) for i in range(draws)])
        corpus = _collection(case, seed)
        truth = {**_judgments(corpus), "dropped_queries": corpus.dropped_queries}
        return Draw({"documents": corpus.documents, "queries": corpus.queries}, truth, corpus.digest())

    def prepare(self, method: Method, question: Question, meter: Meter) -> Answer:
        """Encode documents and queries, once for all rows that differ only in what follows (float32 arrays)."""
        retriever = as_retriever(method)
        if not isinstance(retriever, EncodingRetriever):
            raise Unsupported("only an Encoder or a TokenEncoder can share its encoding (see `Baseline.shared`)")
        documents, queries = question["documents"], question["queries"]
        answer: dict[str, NDArray[Any]] = {}
        if meter.repeat == 0:
            with meter.phase("encode_documents", items=len(documents)):
                answer.update(retriever.encode_documents(documents).arrays("documents"))
            with meter.phase("encode_queries", items=len(queries)):
                answer.update(retriever.encode_queries(queries).arrays("queries"))
        if "document_offsets" not in question:
            texts = [queries[i] for i in sampled(len(queries))]
            meter.each("query", texts, lambda text: retriever.encode_queries([text]))
        return answer

    def drive(self, method: Method, question: Question, meter: Meter, prepared: Answer | None) -> Answer:
        """Index, search all queries in one batch (that pass is scored), then a sample of them one at a time.

        With `prepared` vectors the stages start after encoding, and the single queries are the same ones in the same
        order as those of `prepare`, so that the two latencies add up.
        """
        retriever = as_retriever(method, prepared)
        if "document_offsets" in question:
            return _drive_critical(retriever, question, meter) if meter.repeat == 0 else {}
        documents, queries = question["documents"], question["queries"]
        k = min(DEPTH, len(documents))
        with meter.phase("index", items=len(documents)):
            retriever.index(documents)
        encoded = retriever.prepared_queries if isinstance(retriever, EncodingRetriever) else None
        answer: Answer = {}
        if meter.repeat == 0:
            with meter.phase("search", items=len(queries)):
                answer = _answer(_search(retriever, queries, encoded, k))
        sample = sampled(len(queries))
        if encoded is not None and isinstance(retriever, EncodingRetriever):
            sides = [encoded.part(i, i + 1) for i in sample]
            search = retriever.search_side
            meter.each("query", sides, lambda side: search(side, k))
        else:
            meter.each("query", [queries[i] for i in sample], lambda text: retriever.search([text], k))
        return answer

    def score(self, case: Case, draw: Draw, answer: Answer) -> Scored:
        """Recall and nDCG per query; for a critical n, recall@2 per draw. Raises InvalidAnswer."""
        relevance = _relevance(draw)
        depth = min(DEPTH, relevance.n_documents)
        groups = draw.truth.get("document_offsets")
        if groups is not None:
            return _score_critical(draw, relevance, answer)
        items = query_scores(checked_hits(answer, relevance.n_queries, relevance.n_documents, depth), relevance)
        dropped = draw.truth.get("dropped_queries", 0)
        notes = [f"{dropped} queries without a relevant document were left out"] if dropped else []
        return Scored({name: float(values.mean()) for name, values in items.items()}, items, notes)

    def oracle(self, case: Case, draw: Draw) -> Answer:
        """Every relevant document (the best 100 of them), higher grades first, and nothing else."""
        relevance = _relevance(draw)
        rows, grades = relevance.rows(), relevance.grades
        order = np.lexsort((-relevance.ids, -grades, rows))
        ranks = np.arange(len(rows)) - relevance.indptr[rows]
        width = min(DEPTH, relevance.n_documents, int(np.diff(relevance.indptr).max()))
        ids, scores = np.full((relevance.n_queries, width), -1, np.int64), np.zeros((relevance.n_queries, width))
        kept = ranks < width
        ids[rows[kept], ranks[kept]] = relevance.ids[order][kept]
        scores[rows[kept], ranks[kept]] = grades[order][kept]
        return {"ids": ids, "scores": scores}

    def refine(self, outcomes: Sequence[Outcome]) -> Iterable[Case]:
        """The next n of a row's search for its critical n; nothing once it is bracketed, or a probe did not finish."""
        probes = [o for o in outcomes if o.case.params.get("kind") == "critical"]
        if not probes or any(o.status != "ok" for o in probes):
            return
        n = next_probe(_held(probes), CRITICAL_START, CRITICAL_LOW, CRITICAL_HIGH)
        if isinstance(n, int):
            start = probes[0].case
            params = {**start.params, "n": n}
            yield Case(f"critical-{n}", params, light=start.light, heavy=start.heavy, only=start.only)

    def breaking_points(self, outcomes: Sequence[Outcome]) -> Iterable[BreakingPoint]:
        """The critical n of a model: documents of which it still returns nine of ten pairs."""
        probes = [o for o in outcomes if o.case.params.get("kind") == "critical" and o.status == "ok"]
        if probes:
            found = critical_n(probes)
            value = float(found.largest_true or 0) if found.closed else None
            draws = int(_param(probes[0].case, "draws"))
            name = f"critical n, recall@2 of {CRITICAL_RECALL} over {draws} draws"
            yield BreakingPoint(name, found.text(), value, _critical_interval(probes), limit=name)

    def data_cases(self, path: str, **options: str) -> Iterable[Case]:
        """One case over a folder in LIMIT's layout, pinned by its digest and named after the folder."""
        for name in options:
            raise Unsupported(f"a folder of texts takes no --{name}; leave it out")
        folder = Path(path).resolve()
        params = {"kind": "folder", "path": str(folder), "digest": read_folder(folder).digest()}
        yield Case(folder.name or "data", params, light="smoke", heavy="smoke")


def critical_n(outcomes: Iterable[Outcome]) -> Bracket:
    """The largest n of a row whose mean recall@2 is 0.9 or more, as far as its finished probes say."""
    return bracket(_held(outcomes))


def _critical_interval(probes: Sequence[Outcome]) -> tuple[float | None, float | None]:
    """From the largest probed n whose whole interval lies at 0.9 or above to the largest whose interval reaches it.

    None at an end that no probe shows. Intervals are over the 20 draws of a probe, of the first seed.
    """
    known: dict[int, tuple[float, float]] = {}
    for outcome in sorted(probes, key=lambda o: o.seed, reverse=True):
        interval = outcome.intervals.get("recall@2")
        if interval is not None:
            known[int(_param(outcome.case, "n"))] = interval
    surely = [n for n, (low, _) in known.items() if low >= CRITICAL_RECALL]
    perhaps = [n for n, (_, high) in known.items() if high >= CRITICAL_RECALL]
    bounded = any(n > max(perhaps, default=0) for n in known)
    return max(surely, default=None), max(perhaps, default=None) if bounded else None


def sampled(n_queries: int) -> list[int]:
    """Positions of 133 evenly spaced queries: the same ones for every method (repeated, if there are fewer)."""
    return [i * n_queries // SAMPLE for i in range(SAMPLE)]


# The pieces of a draw -------------------------------------------------------------------------------------------------


def _param(case: Case, name: str) -> str | int | float:
    value = case.params.get(name)
    if value is None:
        raise DataError(f"case {case.name!r} of limit/retrieval has no parameter {name!r}")
    return value


def _collection(case: Case, seed: int) -> Corpus:
    kind = _param(case, "kind")
    if kind == "generated":
        return generate(int(_param(case, "documents")), str(_param(case, "pattern")), seed)
    if kind == "hub":
        return read_hub(str(_param(case, "name")), str(_param(case, "revision")))
    if kind == "folder":
        corpus = read_folder(str(_param(case, "path")))
        if corpus.digest() != case.params.get("digest"):
            raise DataError(f"{case.params['path']} has changed since this case was made; run `--data` on it again")
        return corpus
    raise DataError(f"case {case.name!r} of limit/retrieval has the unknown kind {kind!r}")


def _judgments(corpus: Corpus) -> dict[str, Any]:
    return {
        "document_ids": corpus.document_ids,
        "query_ids": corpus.query_ids,
        "indptr": corpus.relevant_indptr,
        "ids": corpus.relevant_ids,
        "grades": corpus.relevance,
    }


def _relevance(draw: Draw) -> Relevance:
    truth = draw.truth
    return Relevance(truth["indptr"], truth["ids"], truth["grades"], len(truth["document_ids"]))


def _answer(hits: Hits) -> Answer:
    try:
        ids, scores = hits
    except (TypeError, ValueError):
        raise InvalidAnswer(f"search must return Hits(ids, scores); it returned {type(hits).__name__}") from None
    return {"ids": np.asarray(ids), "scores": np.asarray(scores)}


def _search(retriever: Retriever | EncodingRetriever, queries: Sequence[str], encoded: Side | None, k: int) -> Hits:
    if encoded is not None and isinstance(retriever, EncodingRetriever):
        return retriever.search_side(encoded, k)
    return retriever.search(queries, k)


# The critical n -------------------------------------------------------------------------------------------------------


def _subseed(seed: int, draw: int) -> int:
    """The seed of one of the independent collections of a draw."""
    return int.from_bytes(sha256(f"limit/critical {seed} {draw}".encode()).digest()[:16], "little")


def _draw_critical(corpora: Sequence[Corpus]) -> Draw:
    """Independent collections end to end, with offsets that say where each begins."""
    documents = np.cumsum([0, *(len(c.documents) for c in corpora)])
    queries = np.cumsum([0, *(len(c.queries) for c in corpora)])
    judgments = np.cumsum([0, *(len(c.relevant_ids) for c in corpora)])
    offsets = {"document_offsets": documents, "query_offsets": queries}
    question = {
        "documents": [text for c in corpora for text in c.documents],
        "queries": [text for c in corpora for text in c.queries],
        **offsets,
    }
    truth = {
        "document_ids": [name for c in corpora for name in c.document_ids],
        "query_ids": [name for c in corpora for name in c.query_ids],
        "indptr": np.concatenate(
            [[0], *(c.relevant_indptr[1:] + base for c, base in zip(corpora, judgments, strict=False))]
        ),
        "ids": np.concatenate([c.relevant_ids + base for c, base in zip(corpora, documents, strict=False)]),
        "grades": np.concatenate([c.relevance for c in corpora]),
        **offsets,
    }
    return Draw(question, truth, sha256("".join(c.digest() for c in corpora).encode()).hexdigest())


def _drive_critical(retriever: Retriever | EncodingRetriever, question: Question, meter: Meter) -> Answer:
    """Index and search each draw by itself. An encoder encodes the texts of all draws at once, as a batch."""
    documents, queries = question["documents"], question["queries"]
    of_documents, of_queries = question["document_offsets"].tolist(), question["query_offsets"].tolist()
    spans = list(zip(of_documents, of_documents[1:], of_queries, of_queries[1:], strict=False))
    answers = []
    with meter.phase("draws", items=len(spans)):
        if isinstance(retriever, EncodingRetriever):
            sides = retriever.prepared_documents or retriever.encode_documents(documents)
            asked = retriever.prepared_queries or retriever.encode_queries(queries)
        for first, last, start, stop in spans:
            k = min(DEPTH, last - first)
            if isinstance(retriever, EncodingRetriever):
                retriever.index_side(sides.part(first, last))
                answer = _answer(retriever.search_side(asked.part(start, stop), k))
            else:
                retriever.index(documents[first:last])
                answer = _answer(retriever.search(queries[start:stop], k))
            ids = answer["ids"]
            answers.append((np.where(ids >= 0, ids + first, ids), answer["scores"]))
    width = max(ids.shape[1] for ids, _ in answers)
    return {
        "ids": np.concatenate([_widened(ids, width, -1) for ids, _ in answers]),
        "scores": np.concatenate([_widened(scores, width, 0) for _, scores in answers]),
    }


def _widened(rows: NDArray[Any], width: int, filler: int) -> NDArray[Any]:
    return np.pad(rows, ((0, 0), (0, width - rows.shape[1])), constant_values=filler)


def _score_critical(draw: Draw, relevance: Relevance, answer: Answer) -> Scored:
    """Mean recall@2 of each draw: draws are independent, queries of one draw are not."""
    of_documents, of_queries = draw.truth["document_offsets"], draw.truth["query_offsets"]
    depth = min(DEPTH, int(np.diff(of_documents).max()))
    hits = checked_hits(answer, relevance.n_queries, relevance.n_documents, depth)
    group = np.repeat(np.arange(len(of_queries) - 1), np.diff(of_queries))[:, None]
    strange = (hits.ids >= 0) & ((hits.ids < of_documents[group]) | (hits.ids >= of_documents[group + 1]))
    if strange.any():
        query = int(np.argwhere(strange)[0][0])
        raise InvalidAnswer(f"query {query} names a document of another draw than its own")
    recall = query_scores(hits, relevance)["recall@2"]
    per_draw = np.add.reduceat(recall, of_queries[:-1]) / np.diff(of_queries)
    return Scored({"recall@2": float(per_draw.mean())}, {"recall@2": per_draw}, independent=True)


def _held(outcomes: Iterable[Outcome]) -> dict[int, bool]:
    """n -> whether the mean recall@2 over all finished draws of all seeds reached 0.9."""
    recalls: dict[int, list[float]] = defaultdict(list)
    for outcome in outcomes:
        if outcome.case.params.get("kind") == "critical" and outcome.status == "ok":
            recalls[int(_param(outcome.case, "n"))].append(outcome.values["recall@2"])
    return {n: sum(values) / len(values) >= CRITICAL_RECALL - 1e-9 for n, values in recalls.items()}
