"""What the check of a night does over and over: reading the history, tests of pairs, false-discovery control."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.track import rules
from harness.track.history import Cell, History, Night, Value, series_of
from harness.track.rules import discoveries, signed_rank_p

MACHINE = "0123456789abcdef"
N_NIGHTS, N_CELLS = 30, 40


@pytest.fixture
def history(tmp_path: Path) -> History:
    """Thirty nights of forty cells with three numbers each."""
    history = History(tmp_path / "history", MACHINE)
    rng = np.random.default_rng(0)
    for number in range(N_NIGHTS):
        names = ("latency/query", "time/index", "memory/peak")
        cells = [
            Cell(
                task="limit/retrieval", version=1, case="46-dense", row=f"row-{row}", seed=0, device="cpu", threads=1,
                scale="smoke", status="ok", source="s",
                values={m: Value(value=rng.uniform(1, 2), unit="ns") for m in names},
            )
            for row in range(N_CELLS)
        ]  # fmt: skip
        stamp = f"2026-01-{number + 1:02}T02:00:00Z"
        history.add(
            Night(
                id=f"202601{number + 1:02}T020000-00000000", commit="c", committed=stamp, subject="s", started=stamp,
                ended=stamp, machine=MACHINE, context={"python": "3.11"}, cells=cells,
            ),
            {},
        )  # fmt: skip
    return history


class TestHistoryLoad:
    """json.loads gives dictionaries that nothing has checked."""

    pytestmark = pytest.mark.benchmark(group="read 30 nights of 40 cells")

    def test_ours(self, benchmark: Any, history: History) -> None:
        nights = benchmark(history.nights)
        assert [len(night.cells) for night in nights] == [N_CELLS] * N_NIGHTS
        assert {len(points) for points in series_of(nights).values()} == {N_NIGHTS}

    def test_plain_json(self, benchmark: Any, history: History) -> None:
        paths = sorted((history.folder / "nights").iterdir())
        nights = benchmark(lambda: [json.loads(path.read_bytes()) for path in paths])
        assert [len(night["cells"]) for night in nights] == [N_CELLS] * N_NIGHTS


DIFFERENCES = np.random.default_rng(4).normal(0.05, 0.1, 12).tolist()


class TestSignedRanks:
    pytestmark = pytest.mark.benchmark(group="exact signed-rank test of 12 pairs")

    def test_ours(self, benchmark: Any) -> None:
        stats = pytest.importorskip("scipy.stats", reason="needs scipy")
        expected = stats.wilcoxon(DIFFERENCES, alternative="greater", method="exact").pvalue

        def anew() -> float:
            rules._tail.cache_clear()  # kept between calls, and only there
            return signed_rank_p(DIFFERENCES)

        assert benchmark(anew) == pytest.approx(expected)

    def test_scipy(self, benchmark: Any) -> None:
        stats = pytest.importorskip("scipy.stats", reason="needs scipy")
        found = benchmark(lambda: stats.wilcoxon(DIFFERENCES, alternative="greater", method="exact"))
        assert 0 < found.pvalue < 1


P_VALUES = {f"series {i}": float(p) for i, p in enumerate(np.random.default_rng(5).uniform(0, 1, 500) ** 3)}


class TestFalseDiscoveries:
    pytestmark = pytest.mark.benchmark(group="Benjamini and Hochberg over 500 series")

    def test_ours(self, benchmark: Any) -> None:
        stats = pytest.importorskip("scipy.stats", reason="needs scipy")
        adjusted = stats.false_discovery_control(list(P_VALUES.values()))
        found = benchmark(discoveries, P_VALUES, 0.05)
        assert found == {name for name, p in zip(P_VALUES, adjusted, strict=True) if p <= 0.05}
        assert 0 < len(found) < len(P_VALUES)

    def test_scipy(self, benchmark: Any) -> None:
        stats = pytest.importorskip("scipy.stats", reason="needs scipy")
        assert len(benchmark(stats.false_discovery_control, list(P_VALUES.values()))) == len(P_VALUES)
