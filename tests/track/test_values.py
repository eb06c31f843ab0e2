"""From records to the cells of a night."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.record import GpuMemory, Record
from harness.registry import BaselineSpec, load_registry
from harness.store import Store
from harness.track.history import Cell, Work, digest_of
from harness.track.values import cells_of, prepared_by, quickest, row_to_run, shared_part

Make = Callable[..., Record]


def one(store: Store, *records: Record) -> Cell:
    (cell,) = cells_of(store, records, "smoke")[0]
    return cell


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def phase(record: Record, name: str, wall_ns: int, **otherwise: Any) -> dict[str, Any]:
    return record.phases[0].model_copy(update={"name": name, "wall_ns": wall_ns, **otherwise}).model_dump()


def test_times_are_the_quickest_processs_sizes_the_median_ones_and_scores_of_the_first(
    store: Store, made_record: Make
) -> None:
    stream = made_record("x").latency[0]
    records = [
        made_record(
            "bm25", 0.5 if not repeat else None, repeat=repeat, status="ok",
            latency=[stream.model_copy(update={"median_ns": ns}).model_dump()], peak_rss_bytes=size,
            delta_rss_bytes=size // 10,
        )
        for repeat, (ns, size) in enumerate([(5e6, 3 * 10**8), (9e6, 10**8), (6e6, 2 * 10**8)])
    ]  # fmt: skip
    cell = one(store, *records)
    assert cell.work == Work("limit/retrieval", 1, "46-dense", "bm25", 0, "cpu", 1)
    assert (cell.status, cell.wall_s, cell.draw, cell.scale) == ("ok", 6.0, "draw 0", "smoke")
    found = {name: (v.value, v.unit, v.processes, v.higher_is_better) for name, v in cell.values.items()}
    assert found == {
        "score/recall@2": (0.5, "", 1, True),
        "latency/query": (5e6, "ns", 3, False),
        "time/search": (1e9, "ns", 3, False),
        "memory/peak": (2e8, "bytes", 3, False),
        "memory/delta": (2e7, "bytes", 3, False),
    }


def test_of_a_latency_each_call_counts_by_its_quickest_process() -> None:
    assert quickest([[10, 50, 30], [40, 20, 90], [90, 90, 90]]) == 20.0
    assert quickest([[10, 50, 30], [5, 25]]) == 15.0, "of processes with different calls, the quickest"


def test_items_are_kept_by_their_digest(store: Store, made_record: Make) -> None:
    items = np.array([0.0, 1.0, 0.5])
    out = io.BytesIO()
    np.savez(out, **{"item/recall@2": items, "item/recall@2[dense]": items[:1], "latency/query": np.arange(3)})
    record = made_record("bm25", sidecar=hashlib.sha256(out.getvalue()).hexdigest(),
                         id="0123456789abcdef-20260101T000000-00000000")  # fmt: skip
    store.add(record, out.getvalue())
    (cell,), found = cells_of(store, [record], "smoke")
    assert cell.values["score/recall@2"].items == digest_of(items)
    assert list(found) == [digest_of(items)]
    np.testing.assert_array_equal(found[digest_of(items)], items)


def test_parts_of_scores_and_what_no_task_declares_are_no_series(store: Store, made_record: Make) -> None:
    plain = made_record("bm25").scores[0]
    names = ("recall@2", "recall@2[dense]", "something of its own")
    record = made_record("bm25", scores=[plain.model_copy(update={"name": n}).model_dump() for n in names])
    assert [n for n in one(store, record).values if n.startswith("score/")] == ["score/recall@2"]


def test_a_preparation_is_a_cell_of_its_own_and_not_charged_to_its_rows(store: Store, made_record: Make) -> None:
    part = made_record("minilm-d8", None, kind="prepare", status="ok", reason="", baseline__file="minilm.py",
                       cost__wall_s=9.0)  # fmt: skip
    row = made_record("minilm-d8", baseline__file="minilm.py", cost__wall_s=9.5, peak_rss_bytes=10**9,
                      provenance__shared_record=part.id)  # fmt: skip
    own = phase(row, "search", 4 * 10**6, peak_rss_bytes=3 * 10**8, base_rss_bytes=10**8)
    charged = phase(row, "load", 10**9, shared=True, peak_rss_bytes=10**9)
    row = row.model_validate({**row.model_dump(), "phases": [charged, own]})
    cells = {cell.row: cell for cell in cells_of(store, [part, row], "smoke")[0]}
    assert set(cells) == {"minilm-d8", "minilm (shared part)"}
    own_values = {name: value.value for name, value in cells["minilm-d8"].values.items()}
    assert own_values == {"score/recall@2": 0.5, "latency/query": 5e6, "time/search": 4e6, "memory/peak": 3e8,
                          "memory/delta": 2e8}  # fmt: skip
    assert set(cells["minilm (shared part)"].values) == {"time/search", "memory/peak", "memory/delta"}
    assert (cells["minilm (shared part)"].wall_s, cells["minilm-d8"].wall_s) == (9.0, 0.5)


def test_what_is_short_and_small_is_kept_so_that_it_can_be_seen_to_grow(store: Store, made_record: Make) -> None:
    record = made_record("bm25", delta_rss_bytes=0)
    phases = [phase(record, name, ns) for name, ns in (("fit", 999), ("load", 6 * 10**5))]
    record = record.model_validate({**record.model_dump(), "phases": [*phases, phases[1]]})
    found = {name: value.value for name, value in one(store, record).values.items()}
    assert (found["time/fit"], found["memory/delta"]) == (999, 1), "nothing at all has no ratio to anything"
    assert found["time/load"] == 1.2e6, "a phase that was entered twice counts as a whole"


def test_one_call_at_a_time_is_no_series_beside_its_latency(store: Store, made_record: Make) -> None:
    record = made_record("bm25")
    record = record.model_validate({**record.model_dump(), "phases": [phase(record, "search.single", 10**9)]})
    assert not [name for name in one(store, record).values if name.startswith("time/")]


def test_memory_of_the_gpu_is_its_highest_phase(store: Store, made_record: Make) -> None:
    record = made_record("bm25")
    gpu = [GpuMemory(allocated_peak_bytes=size) for size in (5, 7, None)]
    record = record.model_validate(
        {**record.model_dump(), "phases": [phase(record, f"p{n}", 10**7, gpu=g) for n, g in enumerate(gpu)]}
    )
    assert one(store, record).values["memory/gpu"].value == 7


def test_a_cell_that_did_not_answer_has_its_reason_and_no_values(store: Store, made_record: Make) -> None:
    cell = one(store, made_record("bm25", None, status="timeout", reason="passed the time limit"))
    assert (cell.status, cell.reason, cell.values) == ("timeout", "passed the time limit", {})


def test_one_lost_process_of_three_is_told_and_the_others_count(store: Store, made_record: Make) -> None:
    records = [made_record("bm25", repeat=r) for r in range(2)]
    cell = one(store, *records, made_record("bm25", None, status="killed", reason="ended by SIGKILL", repeat=2))
    assert (cell.status, cell.reason) == ("ok", "1 of 3 processes: killed: ended by SIGKILL")
    assert cell.values["latency/query"].processes == 2


def test_a_control_is_no_row(store: Store, made_record: Make) -> None:
    assert cells_of(store, [made_record("oracle", kind="control")], "smoke") == ([], {})


def test_the_speed_of_the_machine_is_that_of_the_quickest_process(store: Store, made_record: Make) -> None:
    canary = {"version": 1, "before_ns": 10.0, "after_ns": 30.0, "drift": 1.0, "moved": False}
    records = [made_record("bm25", canary=canary), made_record("bm25", repeat=1, canary={**canary, "after_ns": 90.0})]
    assert one(store, *records).canary_ns == 20.0
    assert one(store, made_record("bm25")).canary_ns is None


def test_libraries_are_those_that_the_row_requires_to_the_minor_version(store: Store, made_record: Make) -> None:
    libraries = {"torch": "2.13.0+cpu", "harness": "0.1.0", "numpy": "2.4.6", "faiss": "1.15.1", "sklearn": "unknown"}
    record = made_record("bm25", provenance__libraries=libraries, baseline__requires=["torch.nn", "sklearn"])
    assert one(store, record).libraries == {"torch": "2.13", "numpy": "2.4", "sklearn": "unknown"}


def test_the_source_changes_with_the_tasks_and_with_the_rows(store: Store, made_record: Make) -> None:
    sources = {
        one(store, made_record("bm25", task__source_digest=task, baseline__source_digest=row)).source
        for task, row in (("a", "b"), ("a", "c"), ("x", "b"), ("ab", ""))
    }
    assert len(sources) == 4


def test_draws_devices_and_versions_are_cells_apart(store: Store, made_record: Make) -> None:
    records = [made_record("bm25"), made_record("bm25", seed=1), made_record("bm25", device="cuda"),
               made_record("bm25", task__version=2), made_record("bm25", threads=2)]  # fmt: skip
    assert len(cells_of(store, records, "smoke")[0]) == 5


def test_preparations_of_one_file_with_other_parameters_have_other_names() -> None:
    assert shared_part("cast.py", {}) == "cast (shared part)"
    assert shared_part("cast.py", {"kind": "float16", "bits": 8}) == "cast[bits=8,kind=float16] (shared part)"
    row = BaselineSpec("x-8", "t", Path("some/x.py"), "", "X", params={"dims": 8, "model": "m"}, shared=("dims",))
    assert prepared_by(row) == "x[model=m] (shared part)"


def test_any_row_that_needs_a_preparation_runs_it_again() -> None:
    def work(task: str, row: str) -> Work:
        return Work(task, 1, "", row, 0, "cpu", 1)

    registry = load_registry()
    by_name = {row.name: row for row in registry.baselines if row.task == "compression/vectors"}
    assert row_to_run(work("compression/vectors", prepared_by(by_name["float16"]))) == "float16"
    found = row_to_run(work("limit/retrieval", "minilm (shared part)"))
    needing = {r.name: r for r in registry.baselines if r.task == "limit/retrieval"}[found]
    assert needing.shared and needing.path and needing.path.stem == "minilm"
    assert row_to_run(work("limit/retrieval", "bm25")) == "bm25"
    assert row_to_run(work("limit/retrieval", "some_old[k=1] (shared part)")) == "some-old"
