"""Rows that stand before others: `pca-50+int8` is `int8` behind `pca-50`."""

from __future__ import annotations

import pytest

from harness.errors import UsageError
from harness.plan import Request, make_cell
from harness.registry import BaselineSpec, load_registry
from harness.task import Case

REGISTRY = load_registry()
TASKS = REGISTRY.select_tasks("compression/vectors")


def chosen(*names: str) -> dict[str, BaselineSpec]:
    return {row.name: row for row in REGISTRY.select_rows(TASKS, list(names))["compression/vectors"]}


def key(row: BaselineSpec) -> str:
    request = Request(TASKS, {"compression/vectors": [row]})
    return make_cell(TASKS[0], Case("c"), row, 0, request).key


def test_a_row_behind_a_part_needs_what_both_need_and_has_a_key_of_its_own() -> None:
    rows = chosen("pca-50+int8", "pca-25+int8", "int8")
    both = rows["pca-50+int8"]
    assert set(both.requires) == {"sklearn", *rows["int8"].requires}
    assert [part.params["keep"] for part in both.parts] == [0.5]
    assert {path.name for path in both.sources} >= {"pca.py", "int8.py"}
    assert len({key(row) for row in rows.values()}) == 3


def test_either_side_may_be_a_pattern() -> None:
    assert set(chosen("pca-*+int8")) == {"pca-75+int8", "pca-50+int8", "pca-25+int8", "pca-12+int8"}
    assert {"truncate-50+binary", "truncate-50+rabitq"} <= set(chosen("truncate-50+*"))
    assert not any(name.count("+") > 1 for name in chosen("*+*")), "one part before one row"
    assert not any("oracle" in name for name in chosen("*+*"))


def test_a_part_runs_by_itself_and_before_what_says_so() -> None:
    names = {row.name for row in REGISTRY.rows(TASKS[0])}
    assert {"pca-50", "int8", "pca-50+int8"} <= names
    assert "truncate-12+binary" not in names, "only when it is asked for"


def test_what_cannot_stand_before_another_row_is_refused() -> None:
    with pytest.raises(UsageError, match=r"int8 cannot stand before another row; these can: .*pca-50"):
        chosen("int8+float16")
    with pytest.raises(UsageError, match="pca-51"):
        chosen("pca-51+int8")


def test_the_dearer_of_two_decides_cost_and_scale() -> None:
    (row,) = chosen("autoencoder-50+int8").values()
    assert row.cost == "heavy" and row.scale == "full"


def test_what_a_task_imports_from_elsewhere_is_among_its_sources_and_no_code_of_the_method() -> None:
    names = {path.name for path in TASKS[0].sources}
    assert {"task.py", "kept.py", "artifact.py", "exact.py", "text.py"} <= names
    (row,) = chosen("int8").values()
    assert 500 < row.code_bytes < 5000, "int8.py and what it shares with other codecs, and nothing of the task"
