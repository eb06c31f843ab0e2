"""Impossible results are found, each by its own law; what honest runs have written is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.record import Record
from harness.store import Store
from harness.submission.invariants import INVARIANTS, broken_invariants, evidence_in
from harness.submission.law import Evidence

RESULTS = Path(__file__).parents[2] / "results"
pytestmark = pytest.mark.skipif(not (RESULTS / "records").is_dir(), reason="the published records are not here")
Changed = tuple[Record, Evidence]


@pytest.fixture(scope="module")
def published() -> tuple[list[Record], Callable[[Record], Evidence]]:
    store = Store(RESULTS)
    return store.load()[0], evidence_in(store)


@pytest.fixture(scope="module")
def plain(published: tuple[list[Record], Callable[[Record], Evidence]]) -> Changed:
    """One answer, with its evidence: 1,000 documents, all queries in one batch, and one at a time."""
    records, evidence = published
    record = next(r for r in records if r.baseline.name == "bm25" and r.case.name == "1000-dense" and not r.repeat)
    return record, evidence(record)


def test_all_published_records_are_possible(
    published: tuple[list[Record], Callable[[Record], Evidence]],
) -> None:
    records, evidence = published
    assert len(records) > 1000
    assert [one.sentence() for one in broken_invariants(records, evidence)] == []


def scores(**changes: Any) -> Callable[[Changed], Changed]:
    """Change the main score."""

    def change(given: Changed) -> Changed:
        record, evidence = given
        first = record.scores[0].model_copy(update=changes)
        return record.model_copy(update={"scores": [first, *record.scores[1:]]}), evidence

    return change


def stream(**changes: Any) -> Callable[[Changed], Changed]:
    def change(given: Changed) -> Changed:
        record, evidence = given
        return record.model_copy(update={"latency": [record.latency[0].model_copy(update=changes)]}), evidence

    return change


def phase(name: str, **changes: Any) -> Callable[[Changed], Changed]:
    def change(given: Changed) -> Changed:
        record, evidence = given
        phases = [p.model_copy(update=changes) if p.name == name else p for p in record.phases]
        return record.model_copy(update={"phases": phases}), evidence

    return change


def field(**changes: Any) -> Callable[[Changed], Changed]:
    return lambda given: (given[0].model_copy(update=changes), given[1])


def provenance(**changes: Any) -> Callable[[Changed], Changed]:
    def change(given: Changed) -> Changed:
        record, evidence = given
        return record.model_copy(update={"provenance": record.provenance.model_copy(update=changes)}), evidence

    return change


def evidence(**changes: Callable[[Any], Any]) -> Callable[[Changed], Changed]:
    def change(given: Changed) -> Changed:
        record, beside = given
        return record, replace(beside, **{name: how(getattr(beside, name)) for name, how in changes.items()})

    return change


def scaled(factor: float, latency: bool = True) -> Callable[[Changed], Changed]:
    """All samples of all streams, and what sums them up, as from a clock that runs otherwise."""

    def change(given: Changed) -> Changed:
        record, beside = given
        from harness.stats import latency_summary

        samples = {name: (array * factor).astype(np.int64) for name, array in beside.samples.items()}
        (one,) = record.latency
        said = latency_summary(samples[one.name].tolist())
        told = one.model_copy(update={"median_ns": said.median, "iqr_ns": said.iqr, "p90_ns": said.p90,
                                      "p95_ns": said.p95, "p99_ns": said.p99, "cold_ns": 1})  # fmt: skip
        return record.model_copy(update={"latency": [told]}), replace(beside, samples=samples)

    return change


BROKEN: dict[str, tuple[str, Callable[[Changed], Changed]]] = {
    "a recall above one": ("beyond-ceiling", scores(value=1.0 + 1e-6)),
    "a negative recall": ("below-zero", scores(value=-0.1)),
    "a score that was edited": ("not-its-mean", scores(value=0.999)),
    "other items than it says": ("item-count", scores(n=999)),
    "no items at all": ("no-evidence", lambda g: evidence(items=lambda _: {})(scores(n=0)(g))),
    "items of two": ("items-range", evidence(items=lambda i: {**i, "recall@2": i["recall@2"] + 1.5})),
    "an interval elsewhere": ("interval", scores(interval=(0.0, 0.001))),
    "recall@10 under recall@2": ("recall-order", scores(value=1.0)),
    "an item found at 2 and not at 10": (
        "recall-order", evidence(items=lambda i: {**i, "recall@10": np.where(np.arange(len(i["recall@10"])) == 0, -1.0,
                                                                             i["recall@10"])})),
    "scores of a further process": ("repeat-scored", field(repeat=1)),
    "an answer without scores": ("unscored", field(scores=[])),
    "a failure with scores": ("unscored", field(status="failed")),
    "a name twice": ("twice", lambda g: field(scores=[*g[0].scores, g[0].scores[0]])(g)),
    "a call of 5 ns": ("too-fast", stream(median_ns=5.0)),
    "a median of other samples": ("samples", stream(median_ns=12345.0)),
    "samples that are not there": ("samples", evidence(samples=lambda _: {})),
    "a p99 of 133 samples": ("percentiles", stream(p99_ns=1e12)),
    "a p95 under the median": ("percentiles", stream(p95_ns=1.0)),
    "calls longer than their phase": ("samples-exceed-phase", scaled(1000.0)),
    "calls that tell a hundredth of their phase": (
        "unaccounted", lambda g: scaled(0.01)(phase("query.single", wall_ns=10**9)(g))),
    "a child that saw more than the keeper": ("own-clock", phase("search", self_wall_ns=10**12)),
    "a clock that was slowed down": ("own-clock", phase("search", wall_ns=10**9, self_wall_ns=3 * 10**8)),
    "more CPU than cores": ("cpu", phase("search", cpu_ns=10**12)),
    "phases longer than the run": ("wall", phase("search", wall_ns=10**13, self_wall_ns=10**13)),
    "an end before the start": ("dates", provenance(ended="2020-01-01T00:00:00Z")),
    "a run in the future": ("dates", provenance(started="2999-01-01T00:00:00Z", ended="2999-01-01T00:00:01Z")),
    "no date": ("dates", provenance(started="yesterday")),
    "a peak under the base": ("memory", phase("search", peak_rss_bytes=1)),
    "a delta that is none": ("memory", phase("search", delta_rss_bytes=1)),
    "negative time": ("negative", phase("search", wall_ns=-1)),
    "a negative count": ("negative", stream(warm_up_calls=-5)),
    "the key of another": ("identity", field(key="0" * 64)),
    "a sidecar of another": ("identity", field(sidecar="0" * 64)),
    "trust in itself": ("identity", field(trust="replicated")),
    "an environment that is not there": ("environment", evidence(environment=lambda _: None)),
    "another machine's class": ("environment", provenance(fingerprint="0" * 16)),
    "another machine's environment": ("environment", evidence(environment=lambda e: {**e, "cpu_model": "faster"})),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_it_is_found(what: str, plain: Changed) -> None:
    name, change = BROKEN[what]
    record, beside = change(plain)
    found = broken_invariants([record], lambda _: beside)
    assert name in {one.invariant for one in found}
    assert all(one.sentence().isprintable() for one in found)


def test_a_kept_share_is_the_ratio_of_its_items(
    published: tuple[list[Record], Callable[[Record], Evidence]],
) -> None:
    records, evidence_of = published
    record = next(r for r in records if r.task.name == "compression/vectors" and r.scores)
    wrong = scores(value=0.5, interval=None)((record, evidence_of(record)))
    assert "not-its-ratio" in {one.invariant for one in broken_invariants([wrong[0]], lambda _: wrong[1])}


def test_a_score_above_the_oracles_of_the_same_draw_is_found(
    published: tuple[list[Record], Callable[[Record], Evidence]],
) -> None:
    records, evidence_of = published
    oracle = next(r for r in records if r.baseline.name == "oracle" and r.task.name == "limit/retrieval")
    row = next(r for r in records if r.baseline.name == "bm25" and r.case == oracle.case and r.seed == oracle.seed)
    low = [s.model_copy(update={"value": 0.01, "interval": None}) for s in oracle.scores]
    beside = oracle.model_copy(update={"scores": low})
    found = broken_invariants([row], evidence_of, [beside])
    assert {one.invariant for one in found} == {"above-oracle"}
    assert broken_invariants([row], evidence_of, [oracle]) == []


def test_guessing_above_the_oracle_is_found(published: tuple[list[Record], Callable[[Record], Evidence]]) -> None:
    records, _ = published
    law = next(law for law in INVARIANTS if law.name == "controls")
    assert law.many is not None
    oracle = next(r for r in records if r.baseline.name == "oracle" and r.task.name == "limit/retrieval")
    named = oracle.baseline.model_copy(update={"name": "random"})
    low = [s.model_copy(update={"value": 0.01}) for s in oracle.scores]
    assert list(law.many([oracle.model_copy(update={"scores": low}), oracle.model_copy(update={"baseline": named})]))


def test_a_deterministic_row_that_scores_otherwise_is_found(plain: Changed) -> None:
    record, beside = plain
    later = scores(value=record.scores[0].value - 0.001)(plain)[0].model_copy(update={"id": record.id[:-1] + "f"})
    found = broken_invariants([record, later], lambda _: beside)
    assert "deterministic" in {one.invariant for one in found}


def test_two_digests_of_one_draw_are_found(plain: Changed) -> None:
    record, beside = plain
    case = record.case.model_copy(update={"draw_digest": "0" * 64})
    other = record.model_copy(update={"case": case, "id": record.id[:-1] + "f"})
    assert "draw" in {one.invariant for one in broken_invariants([record, other], lambda _: beside)}


def test_every_law_has_been_broken_here() -> None:
    elsewhere = {"above-oracle", "controls", "deterministic", "draw", "not-its-ratio"}
    assert {law.name for law in INVARIANTS} == {name for name, _ in BROKEN.values()} | elsewhere
