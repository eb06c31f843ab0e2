"""What records show over more than one cell: claims put to the test, and charts on one page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.charts import write_page
from harness.findings import _tested
from harness.task import Chart, Claim, Point

RNG = np.random.default_rng(0)
CLAIM = Claim("a", "b", "a is better (someone 2025)")


def items(values: np.ndarray, reference: np.ndarray) -> dict[str, np.ndarray]:
    return {"ndcg@10": values, "reference": reference}


def test_a_claim_is_told_as_a_paired_difference_in_shares_of_the_reference() -> None:
    reference = RNG.random(400)
    b = reference * (RNG.random(400) > 0.3)
    a = b + 0.02 * reference.mean()
    tested = _tested("case", CLAIM, [(items(a, reference), items(b, reference))])
    assert tested is not None and tested.items == 400
    assert tested.difference == pytest.approx(0.02)
    width = tested.interval[1] - tested.interval[0]
    assert tested.interval[0] < 0.02 < tested.interval[1] and width < 0.01, "what both miss alike does not blur it"


def test_a_claim_needs_the_same_items_of_both_rows() -> None:
    ones = np.ones(5)
    assert _tested("case", CLAIM, [({"ndcg@10": ones}, {"ndcg@10": ones})]) is None, "no reference"
    assert _tested("case", CLAIM, [(items(ones, ones), items(np.ones(4), np.ones(4)))]) is None, "other items"
    assert _tested("case", CLAIM, []) is None


def test_the_page_of_charts_needs_no_network_and_names_the_front(tmp_path: Path) -> None:
    pytest.importorskip("plotly")
    points = [Point("int8", 384, 0.99, 0.98, True, "int8"), Point("int8-paper", 384, 0.83, 0.82, False, "int8_paper")]
    page = write_page([Chart("c", "kept by size", "bytes", "kept", points)] * 2, "t", tmp_path / "x" / "charts.html")
    text = page.read_text("utf-8")
    assert text.count("kept by size") == 2 and '"int8-paper"' in text and '"int8"' in text
    body = text.replace("plotly.js", "")
    assert 'src="http' not in body and "<script src" not in body


def test_a_data_frame_of_a_run_has_the_scores_of_the_family(harness_cli) -> None:
    ran = harness_cli("run", "--task", "compression/vectors", "--scale", "smoke", "--baseline", "float8-e4m3",
                      "int8-paper", "int8", "pca-50+int8")  # fmt: skip
    assert ran.code == 0, ran.err
    assert "Published claims, on these data" in ran.out and "float8-e4m3 - int8-paper" in ran.out
    assert "within 1.0% loss" in ran.out and "charts/compression-vectors.html" in ran.out
    (row,) = [r for r in ran.records["pca-50+int8"] if r.kind == "cell"]
    assert row.baseline.params["reducer"] == "pca-50" and row.baseline.params["pca-50.keep"] == 0.5
    shown = harness_cli("show", "--task", "compression", "--results", str(ran.results), "--charts", "here")
    assert shown.code == 0 and "fewest bytes that keep 99 %" in shown.out and "here/charts" in shown.out
