"""What is done with records: loading them, keys of cells, ranks, the site; each beside the least it could cost."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from itertools import combinations, count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import plan, stats
from harness.board.read import read_board
from harness.record import Record
from harness.registry import load_registry
from harness.store import Store

N_ROWS, N_DRAWS = 20, 10


@pytest.fixture
def store(tmp_path: Path, made_record: Callable[..., Record]) -> Store:
    """Twenty rows over ten draws, as a store lays them out."""
    store = Store(tmp_path / "results")
    rng = np.random.default_rng(0)
    for row in range(N_ROWS):
        for seed in range(N_DRAWS):
            record = made_record(f"row-{row:02}", float(rng.uniform(row / 40, row / 40 + 0.4)), seed)
            path = store.folder(record.task.name, record.baseline.name) / f"{record.id}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(record.to_json(), "utf-8")  # `add` would wait for the disk
    return store


class TestStoreLoad:
    """json.loads gives dictionaries that nothing has checked."""

    pytestmark = pytest.mark.benchmark(group="load 200 records")

    def test_ours(self, benchmark: Any, store: Store) -> None:
        records, broken = benchmark(store.load)
        assert not broken
        assert {r.id for r in records} == {p.stem for p in store.paths()}

    def test_plain_json(self, benchmark: Any, store: Store) -> None:
        found = benchmark(lambda: [json.loads(path.read_bytes()) for path in store.paths()])
        assert {r["id"] for r in found} == {p.stem for p in store.paths()}


@pytest.fixture(scope="module")
def cell() -> plan.Cell:
    registry = load_registry()
    (task,) = registry.select_tasks("limit/retrieval")
    (row,) = registry.select_rows([task], ["bm25"])[task.name]
    return plan.make_cell(task, task.cases[0], row, 0, plan.Request([task], {task.name: [row]}))


class TestKey:
    """A digest of the same bytes is the least that a key can cost."""

    pytestmark = pytest.mark.benchmark(group="key of a cell")

    def test_ours(self, benchmark: Any, cell: plan.Cell) -> None:
        assert len(benchmark(lambda: cell.key)) == 64

    def test_hashlib(self, benchmark: Any, cell: plan.Cell, monkeypatch: pytest.MonkeyPatch) -> None:
        said: list[bytes] = []
        digest = plan._digest

        def kept(value: object) -> str:
            said.append(json.dumps(value, sort_keys=True).encode())
            return digest(value)

        monkeypatch.setattr(plan, "_digest", kept)
        key = cell.key
        assert benchmark(lambda: hashlib.sha256(said[0]).hexdigest()) == key


@pytest.fixture(scope="module")
def scores() -> dict[str, dict[int, float]]:
    rng = np.random.default_rng(3)
    return {f"row {i:02}": dict(enumerate((0.02 * i + rng.normal(0, 0.05, N_DRAWS)).tolist())) for i in range(N_ROWS)}


def ranks_by_scipy(rows: dict[str, dict[int, float]]) -> dict[str, tuple[int, int]]:
    """The same definition from SciPy's test: paired t of every pair, Holm's steps, ranks from who is surely better."""
    from scipy.stats import ttest_rel

    pairs = list(combinations(rows, 2))
    values = {name: list(draws.values()) for name, draws in rows.items()}
    tests = ttest_rel([values[a] for a, _ in pairs], [values[b] for _, b in pairs], axis=1)
    better = dict.fromkeys(rows, 0)
    worse = dict.fromkeys(rows, 0)
    for place, i in enumerate(np.argsort(tests.pvalue, kind="stable")):
        if tests.pvalue[i] > 0.05 / (len(pairs) - place):
            break
        winner, loser = pairs[i] if tests.statistic[i] > 0 else pairs[i][::-1]
        better[loser] += 1
        worse[winner] += 1
    return {row: (1 + better[row], len(rows) - worse[row]) for row in rows}


class TestRanks:
    pytestmark = pytest.mark.benchmark(group="rank sets of 20 rows over 10 draws")

    def test_ours(self, benchmark: Any, scores: Any) -> None:
        pytest.importorskip("scipy.stats", reason="needs scipy")
        found = benchmark(stats.rank_sets, scores)
        assert {row: (r.low, r.high) for row, r in found.items()} == ranks_by_scipy(scores)

    def test_scipy(self, benchmark: Any, scores: Any) -> None:
        pytest.importorskip("scipy.stats", reason="needs scipy")
        found = benchmark(ranks_by_scipy, scores)
        assert found["row 00"][0] > found["row 19"][1] > 0


class TestPage:
    """Copying the files of a finished site is the least that building one can cost."""

    pytestmark = pytest.mark.benchmark(group="site of 20 rows, 200 records")

    @pytest.fixture
    def built(self, store: Store, tmp_path: Path) -> Callable[[], Path]:
        for package in ("plotly", "itables"):
            pytest.importorskip(package, reason="the pages need the packages `itables` and `plotly`")
        from harness.board.site import build

        board = read_board(store, load_registry().tasks)
        numbers = count()
        return lambda: build(board, store, tmp_path / f"site-{next(numbers)}").parent

    def test_ours(self, benchmark: Any, built: Callable[[], Path]) -> None:
        site = benchmark(built)
        assert "row-19" in "".join(path.read_text("utf-8") for path in (site / "data").iterdir())

    def test_copying_it(self, benchmark: Any, built: Callable[[], Path], tmp_path: Path) -> None:
        site = built()
        copy = benchmark(lambda: shutil.copytree(site, tmp_path / "copy", dirs_exist_ok=True))
        assert [p.relative_to(copy) for p in sorted(copy.rglob("*"))] == [
            p.relative_to(site) for p in sorted(site.rglob("*"))
        ]
