"""Seconds until the table of 5,000 rows can be used in headless Chromium, and the size of the site.

    python tests/benchmarks/bench_site.py [--rows 5000] [--loads 5] [--to DIR]

The board is generated: one task, 25 cases, every row with three records, costs and an interval. A load is a new browser
context that opens the task's page from the disk; "usable" is what the page's own clock says when rows are drawn and
sorting and filters answer. Then the time of one filter and of one sort. The records have no files, so that the size is
that without their pages.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from pathlib import Path

from harness.board.board import Board, CaseTable, Entry, TaskPage
from harness.board.site import build
from harness.store import Store
from harness.table import Row
from harness.task import Score

CASES = 25
CHROMIUM = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")
ASKED = """async (act) => {
  const start = performance.now();
  act === "filter"
    ? (location.hash = "status=failed")
    : document.querySelector("th[data-column=score] .dt-column-order, th[data-column=score]").click();
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)));
  return performance.now() - start;
}"""


def generated_board(n_rows: int) -> Board:
    """A board of one task, drawn with a fixed seed."""
    draw = random.Random(6)
    cases = []
    paths = {}
    for c in range(CASES):
        entries = []
        for b in range(n_rows // CASES):
            ids = tuple(f"{draw.getrandbits(64):016x}-20260101T000000-{draw.getrandbits(32):08x}" for _ in range(3))
            paths |= {identity: Path("none") for identity in ids}
            score, ns = draw.random(), draw.lognormvariate(14, 1)
            ok = b % 20 != 7
            row = Row(
                "made/task",
                1,
                f"documents-{100 * (c + 1)}",
                f"method-{b % 40}-d{2 ** (b // 40 + 4)}",
                "ok" if ok else "failed",
                "" if ok else "ValueError: the index was not trained before search",
                "recall@2",
                score if ok else None,
                (max(0, score - 0.02), min(1, score + 0.02)) if ok else None,
                3,
                None,
                best=1.0,
                scores={"recall@2": score, "recall@10": score, "ndcg@10": score} if ok else {},
                latency_ns=ns,
                latency_interval_ns=(0.9 * ns, 1.1 * ns),
                latency_p99_ns=2 * ns,
                build_s=draw.random(),
                throughput_per_s=1e9 / ns,
                peak_rss_bytes=10**9 + b,
                delta_rss_bytes=10**7 + c,
                device="cpu",
                machine="61848625ec043fba",
                method=f"method_{b % 40}.py",
                params={"dimension": 2 ** (b // 40 + 4)},
                case_params={"documents": 100 * (c + 1)},
                records=ids,
            )
            entries.append(Entry(row, "self-reported", front=b == 3))
        entries.sort(key=lambda e: -(e.row.score or -1))
        cases.append(CaseTable(f"documents-{100 * (c + 1)}", {"documents": 100 * (c + 1)}, {}, entries, False))
    task = TaskPage("made/task", 1, "A task that was made up.", (Score("recall@2", best=1.0, main=True),), cases)
    return Board([task], "2026-01-01T00:00:00.000Z", paths)


def measure(page: Path, loads: int) -> None:
    """Print medians over fresh contexts of one browser, after a first load that is not counted."""
    from playwright.sync_api import sync_playwright

    found = next((p for p in CHROMIUM if Path(p).is_file()), None)
    usable, filtered, ordered = [], [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        for _ in range(loads + 1):
            tab = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
            tab.goto(page.as_uri())
            tab.wait_for_selector("html[data-usable]")
            usable.append(float(tab.evaluate("document.documentElement.dataset.usable")))
            tab.wait_for_selector("html[data-drawn]")
            filtered.append(float(tab.evaluate(ASKED, "filter")))
            ordered.append(float(tab.evaluate(ASKED, "sort")))
            tab.context.close()
        browser.close()
    for name, values in (("usable after", usable), ("filter", filtered), ("sort", ordered)):
        spread = f"{min(values[1:]):.0f} to {max(values[1:]):.0f}"
        print(f"{name}: {statistics.median(values[1:]):.0f} ms ({spread}, {loads} loads; first {values[0]:.0f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--loads", type=int, default=5)
    parser.add_argument("--to", default="")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(options.to or temporary) / "site"
        start = time.perf_counter()
        build(generated_board(options.rows), Store(Path(temporary) / "results"), out)
        print(f"{options.rows} rows built in {time.perf_counter() - start:.1f} s")
        for folder in ("assets", "data", "task", "baseline", ""):
            files = (out / folder).rglob("*") if folder else out.rglob("*")
            total = sum(f.stat().st_size for f in files if f.is_file())
            print(f"{folder or 'site without record pages'}: {total / 1e6:.2f} MB")
        measure(out / "task" / "made.task.html", options.loads)


if __name__ == "__main__":
    main()
