"""The board as a data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from harness.board.publish import publish
from harness.errors import UsageError
from harness.registry import TaskSpec
from harness.store import Store

datasets = pytest.importorskip("datasets", reason="the data set is read back with `datasets`")


def test_what_is_published_is_loaded_back(
    filled: Callable[..., Store], tasks: Mapping[str, TaskSpec], tmp_path: Path
) -> None:
    store = filled({"good": [0.9] * 7, "bad": [0.1] * 7, "broken": [None]})
    said = publish(store, tasks, str(tmp_path / "set"))
    assert "load_dataset" in said
    rows, records = (
        datasets.load_dataset(str(tmp_path / "set"), name, cache_dir=str(tmp_path / "cache"))["train"].to_pandas()
        for name in ("rows", "records")
    )
    good = rows.set_index("baseline").loc["good"]
    assert (good["score"], good["rank_low"], good["rank_high"], good["trust"]) == (0.9, 1, 1, "self-reported")
    assert rows.set_index("baseline").loc["broken", "status"] == "failed" and len(records) == 15


def test_a_folder_that_is_there_is_not_touched(
    filled: Callable[..., Store], tasks: Mapping[str, TaskSpec], tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("dear")
    with pytest.raises(UsageError, match="there already"):
        publish(filled({"good": [0.9]}), tasks, str(tmp_path / "mine"))
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["file"]
    with pytest.raises(UsageError, match="ORG/NAME"):
        publish(filled({"other": [0.9]}), tasks, "hf:nobody")
