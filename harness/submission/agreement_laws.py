"""Laws about what a record must agree with: what it names (its key, its sidecar, its environment), the controls of its
draw, and other records of the same draw or row."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from harness.registry import ORACLE
from harness.store import KEY_CHARS
from harness.submission.law import EQUAL, Evidence, Invariant

if TYPE_CHECKING:
    from harness.record import Record, ScoreValue


# What it names --------------------------------------------------------------------------------------------------------


def _identity(record: Record, evidence: Evidence) -> Iterator[str]:
    if not record.id.startswith(record.key[:KEY_CHARS] + "-"):
        yield f"its identifier does not begin with its key, {record.key[:KEY_CHARS]}"
    if record.sidecar != evidence.digest:
        yield f"its sidecar has the digest {evidence.digest[:16] or 'of no file'}, and it names {record.sidecar[:16]!r}"
    if record.schema_version != 1 or record.trust != "self-reported":
        yield f"it says {record.trust!r} of itself"


def _environment(record: Record, evidence: Evidence) -> Iterator[str]:
    from harness.measure.environment import environment_digest, fingerprint

    if evidence.environment is None:
        yield f"there is no environment {record.provenance.environment}"
        return
    try:
        digest, machine = environment_digest(evidence.environment), fingerprint(evidence.environment)
    except (KeyError, TypeError, AttributeError, ValueError):
        yield f"the environment {record.provenance.environment} is none"
        return
    if digest != record.provenance.environment:
        yield f"the environment {record.provenance.environment} is another one, {digest}"
    if machine != record.provenance.fingerprint:
        yield f"its machine class is {record.provenance.fingerprint}, and that of its environment {machine}"


# Many records ---------------------------------------------------------------------------------------------------------


def _answered(records: Iterable[Record]) -> list[Record]:
    return [r for r in records if r.status == "ok" and not r.repeat and r.kind != "prepare" and r.scores]


def _draw_of(record: Record) -> tuple[object, ...]:
    params = tuple(sorted((name, repr(value)) for name, value in record.case.params.items()))
    return record.task.name, record.task.version, record.case.name, params, record.seed


def _ceilings(score: ScoreValue) -> bool:
    """Whether an oracle is a ceiling of this score: a share of what is right, or the one that ranks."""
    return score.main or (score.best == 1.0 and score.higher_is_better)


def _above_the_oracle(records: Sequence[Record]) -> Iterator[tuple[Record, str]]:
    answered = _answered(records)
    oracles = {_draw_of(r): r for r in answered if r.baseline.name == ORACLE and r.kind == "control"}
    for record in answered:
        oracle = oracles.get(_draw_of(record))
        if oracle is None or oracle is record or oracle.case.draw_digest != record.case.draw_digest:
            continue
        for score in filter(_ceilings, record.scores):
            best = oracle.score(score.name)
            if best is not None and _better(score, score.value, best.value):
                yield record, f"{score.name} is {score.value!r}, and the oracle's on this draw {best.value!r}"


def _better(score: ScoreValue, value: float, than: float) -> bool:
    return (value - than if score.higher_is_better else than - value) > EQUAL


def _controls(records: Sequence[Record]) -> Iterator[tuple[Record, str]]:
    answered = _answered(records)
    means: dict[tuple[object, ...], dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in answered:
        if record.baseline.name in (ORACLE, "random"):
            means[_draw_of(record)[:-1]][record.baseline.name].append(record)
    for of in means.values():
        if len(of) == 2:
            main = next((s for s in of[ORACLE][0].scores if s.main), None)
            if main is None:
                continue
            values = {name: [s.value for r in of_it if (s := r.score(main.name))] for name, of_it in of.items()}
            if all(values.values()):
                random, oracle = (statistics.fmean(values[name]) for name in ("random", ORACLE))
                if _better(main, random, oracle):
                    yield of["random"][-1], f"random has {main.name} {random!r}, and the oracle {oracle!r}"


def _not_deterministic(records: Sequence[Record]) -> Iterator[tuple[Record, str]]:
    first: dict[tuple[object, ...], Record] = {}
    for record in sorted(_answered(records), key=lambda r: (r.provenance.started, r.id)):
        if not record.baseline.deterministic or record.kind == "control":
            continue
        same = first.setdefault(
            (record.key, record.provenance.fingerprint, record.case.draw_digest, record.task.source_digest,
             tuple(sorted(record.provenance.libraries.items()))), record,
        )  # fmt: skip
        for score in record.scores:
            before = same.score(score.name)
            if before is not None and score.n and before.value != score.value:
                yield record, f"{score.name} is {score.value!r} here and {before.value!r} in {same.id}"
                break


def _other_draws(records: Sequence[Record]) -> Iterator[tuple[Record, str]]:
    """Draws are pure functions of task, case and seed: two records of one that name other digests cannot both be so.
    Where the digest is of floating-point numbers, only within one machine class."""
    digests: dict[tuple[object, ...], dict[str, Record]] = defaultdict(dict)
    for record in records:
        if record.case.draw_digest and record.kind != "prepare":
            of = (*_draw_of(record), record.task.source_digest, record.provenance.fingerprint)
            for other in digests[of].values():
                if other.case.draw_digest != record.case.draw_digest and _same_data(other, record):
                    yield record, f"its draw is {record.case.draw_digest[:16]}, and that of {other.id} another"
                    break
            digests[of].setdefault(record.case.draw_digest, record)


def _same_data(a: Record, b: Record) -> bool:
    return a.provenance.environment == b.provenance.environment


AGREEMENT_LAWS: tuple[Invariant, ...] = (
    Invariant("identity", "a record names its key and its sidecar, and does not vouch for itself", _identity),
    Invariant("environment", "a record names an environment that is there, and its machine class", _environment),
    Invariant("above-oracle", "no answer is better than one made from the truth", many=_above_the_oracle),
    Invariant("controls", "guessing is no better than knowing", many=_controls),
    Invariant("deterministic", "a deterministic row scores the same on the same draw", many=_not_deterministic),
    Invariant("draw", "a draw is the same for all rows", many=_other_draws),
)
