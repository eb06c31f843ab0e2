"""The exported JSON Schema is the models', and records are strict JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

import harness
from harness import record as rec


def _record() -> rec.Record:
    return rec.Record(
        id="k-t-r", key="k" * 64, kind="cell", status="ok", reason="",
        task=rec.TaskRef(name="limit/retrieval", version=1, source_digest="d"),
        case=rec.CaseRef(name="c", params={"n": 4}),
        baseline=rec.BaselineRef(name="b", file="b.py", version=1, params={}, source_digest="d"),
        seed=1 << 100, repeat=0, device="cpu", threads=1, phases=[], latency=[], peak_rss_bytes=None,
        delta_rss_bytes=None, memory_limit_bytes=1,
        memory_watch="w", timeout_s=1.0, canary=None, notes=[], output_tail="", sidecar="",
        scores=[
            rec.ScoreValue(
                name="recall@2", value=0.5, interval=(0.4, 0.6), unit="", higher_is_better=True, best=1.0,
                main=True, n=9,
            )
        ],
        cost=rec.Cost(wall_s=1.0, cpu_s=1.0, harness_cpu_s=0.1),
        provenance=rec.Provenance(
            run="r", command="harness run", harness_version="0", environment="e", fingerprint="f", libraries={},
            threads_used={}, started="2026-01-01T00:00:00Z", ended="2026-01-01T00:00:01Z",
        ),
    )  # fmt: skip


def test_the_committed_schema_is_the_models() -> None:
    committed = Path(harness.__file__).with_name("record.schema.json").read_text("utf-8")
    assert committed == rec.json_schema(), "run `python -m harness.record` and commit what it writes"


def test_every_field_that_is_no_plain_name_says_what_it_is() -> None:
    described = json.loads(rec.json_schema())["$defs"]["Phase"]["properties"]["wall_ns"]
    assert "outside" in described["description"]


def test_a_record_survives_the_round_trip() -> None:
    record = _record()
    assert rec.Record.model_validate_json(record.to_json()) == record


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_json_cannot_hold_is_refused(value: float) -> None:
    with pytest.raises(ValidationError):
        rec.ScoreValue(name="x", value=value, interval=None, unit="", higher_is_better=True, best=None, main=True, n=1)


def test_an_unknown_field_is_refused() -> None:
    fields = json.loads(_record().to_json()) | {"extra": 1}
    with pytest.raises(ValidationError):
        rec.Record.model_validate(fields)
