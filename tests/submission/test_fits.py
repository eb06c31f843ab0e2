"""Claims about which cases a row's records may be of: those of the task, and those that its search asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.record import Record
from harness.registry import load_registry
from harness.store import Store
from harness.submission.fits import known_cases, missing_cells, other_case, other_scores

PUBLISHED = Path(__file__).parents[2] / "results"
pytestmark = pytest.mark.skipif(not (PUBLISHED / "records").is_dir(), reason="the published records are not here")
SEARCHED = [("limit/retrieval", "minilm"), ("hnsw", "hnswlib"), ("length", "lstm")]


def published(task: str, row: str) -> list[Record]:
    return [r for r in Store(PUBLISHED).load(task)[0] if r.baseline.name == row]


@pytest.mark.parametrize(("task", "row"), SEARCHED)
def test_published_searches_and_scores_are_those_of_their_tasks(task: str, row: str) -> None:
    spec, records = load_registry().tasks[task], published(task, row)
    known = known_cases(records, spec)
    assert {r.case.name for r in records} - {case.name for case in spec.cases}  # it did search
    assert [why for r in records if (why := other_case(r, spec, known))] == []
    assert [why for r in records if (why := other_scores(r, spec, known[r.case.name]))] == []


def test_a_probe_that_the_search_did_not_come_to_is_no_case() -> None:
    spec, records = load_registry().tasks["limit/retrieval"], published("limit/retrieval", "minilm")
    probe = next(r for r in records if r.case.name.startswith("critical-") and r.case.name != "critical-4")
    easy = probe.case.model_copy(update={"name": "critical-7777", "params": {**probe.case.params, "n": 7777}})
    added = probe.model_copy(update={"case": easy})
    assert "neither declares nor asks for" in other_case(added, spec, known_cases([*records, added], spec))
    renamed = probe.model_copy(update={"case": probe.case.model_copy(update={"params": {**easy.params, "n": 1}})})
    assert "other parameters" in other_case(renamed, spec, known_cases(records, spec))


def test_a_cell_that_is_left_out_is_missing_and_a_process_of_a_failed_one_is_not() -> None:
    registry = load_registry()
    spec = registry.tasks["limit/retrieval"]
    records = published("limit/retrieval", "bm25")
    rows = [row for row in registry.rows(spec) if row.name == "bm25"]
    assert missing_cells(records, spec, rows, "standard") == []
    worst = next(r for r in records if r.kind == "cell" and r.case.name == "46-dense" and r.seed == 2)
    (cell,) = missing_cells([r for r in records if r.id != worst.id], spec, rows, "standard")
    assert (cell.case.name, cell.seed) == ("46-dense", 2)
    repeated = {(r.case.name, r.seed) for r in records if r.repeat}
    case, seed = min(repeated)
    first = [r for r in records if (r.case.name, r.seed) == (case, seed) and not r.repeat]
    rest = [r for r in records if (r.case.name, r.seed) != (case, seed)]
    assert missing_cells([*rest, *first], spec, rows, "standard")
    failed = [r.model_copy(update={"status": "failed"}) for r in first]
    assert missing_cells([*rest, *failed], spec, rows, "standard") == []
