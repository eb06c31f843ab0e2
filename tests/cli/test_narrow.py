"""A table in a narrow window keeps names and scores whole, and says what it had no room for."""

from __future__ import annotations

import pytest

from harness.cli.show import print_rows
from harness.table import Row

ROW = Row(
    "limit/retrieval", 1, "46-dense", "random-additive-d2048", "ok", "", "recall@2", 0.984, (0.979, 0.989), 3, (2, 7),
    scores={"recall@2": 0.984, "recall@10": 0.9921, "ndcg@10": 0.9931}, latency_ns=372_000.0, build_s=0.15,
    peak_rss_bytes=848_000_000, delta_rss_bytes=25_000_000, device="cpu",
)  # fmt: skip


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_names_and_scores_stay_whole_and_what_is_left_out_is_named(width: int, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    print_rows([ROW])
    table, _, _ = capsys.readouterr().out.partition("\n\n")
    headings, cells = ["recall@10", "ndcg@10", "rank", "draws", "build s", "memory MB", "device"], table.split()
    assert "random-additive-d2048" in cells or width < 60
    shown, _, left = table.partition("no room here for: ")
    assert all((heading in left) != (heading in shown) for heading in headings), "each is shown or named"
    assert "0.984 [0.979, 0.989]" in shown or width < 60


def test_a_wide_window_leaves_nothing_out(capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "180")
    print_rows([ROW])
    out = capsys.readouterr().out
    assert "no room" not in out and "25 / 848" in out and "cpu" in out
