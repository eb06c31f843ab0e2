"""Does `harness track compare` name a real slow-down, with an interval that holds it?

    python tests/benchmarks/bench_compare.py [--share 0.15] [--times 10] [--pairs 12] [--processes 12]

In a clone of this checkout, on a branch of its own, a loop is put into a baseline's search that goes on for `--share`
of what the search itself took, call by call. The branch is compared with where it came from, and `latency/query` and
`time/search` should be told to be slower by that share. With `--share 0`, only a comment differs: all that is told then
is a false alarm. Nothing is written to the checkout.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

REPO = Path(os.environ.get("HARNESS_CHECKOUT", Path(__file__).parents[2]))
FILE, ROW, TASK, CASE = "baselines/limit/retrieval/bm25.py", "bm25", "limit/retrieval", "46-dense"
SLOWED = ("latency/query", "time/search")
LOOP = """
    def search(self, queries: Sequence[str], k: int) -> Hits:
        import time

        begun = time.perf_counter_ns()
        found = self._search(queries, k)
        ended = time.perf_counter_ns()
        until = ended + {share} * (ended - begun)
        while time.perf_counter_ns() < until:
            pass
        return found

    def _search("""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--share", type=float, default=0.15)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--processes", type=int, default=12)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        plant(clone, args.share)
        named = dict.fromkeys(SLOWED, 0)
        held = dict.fromkeys(SLOWED, 0)
        others: list[str] = []
        for number in range(1, args.times + 1):
            begun = time.monotonic()
            found = compare(clone, args.pairs, args.processes)
            (row,) = found["rows"]
            numbers = {n["metric"]: n for n in row["numbers"]}
            print(f"{number:2}  {found['state']:<12} {time.monotonic() - begun:4.0f} s  moved {row['moved']}", end="")
            for metric in SLOWED:
                of = numbers[metric]
                low, high = of["low"] or 0.0, of["high"] or math.inf
                named[metric] += of["verdict"] == "regressed"
                held[metric] += low <= 1 + args.share <= high
                print(f"  {metric} {of['effect']:.3f} [{low:.3f}, {high:.3f}] {of['verdict']}", end="")
            other = [f"{m} {n['effect']:.3f}" for m, n in numbers.items() if m not in SLOWED and n["verdict"] in (
                "regressed", "improved")]  # fmt: skip
            others += other
            print("  " + ", ".join(other), flush=True)
    for metric in SLOWED:
        print(f"{metric}: named slower {named[metric]} of {args.times}, the interval holds {1 + args.share:.2f} in "
              f"{held[metric]} of {args.times}")  # fmt: skip
    print(f"of the numbers that did not change, told to have: {len(others)}")


def plant(clone: Path, share: float) -> None:
    """A clone with the branches `before` and `slow`."""
    subprocess.run(["git", "clone", "--quiet", str(REPO), str(clone)], check=True)
    _git(clone, "branch", "before")
    _git(clone, "switch", "--quiet", "--create", "slow")
    path = clone / FILE
    text = path.read_text("utf-8")
    slow = text.replace("\n    def search(", LOOP.format(share=share)) if share else text + "# only this line differs\n"
    if slow == text:
        raise SystemExit(f"{FILE} has no search to slow down")
    path.write_text(slow, "utf-8")
    _git(clone, "-c", "user.name=bench", "-c", "user.email=bench@example.org", "commit", "--quiet", "--all",
         "--message", f"search takes {share:.0%} longer")  # fmt: skip


def compare(clone: Path, pairs: int, processes: int) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "harness", "track", "compare", "before", "slow", "--repo", str(clone), "--task", TASK,
         "--baseline", ROW, "--case", CASE, "--threads", "1", "--device", "cpu", "--pairs", str(pairs),
         "--processes", str(processes), "--format", "json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if not done.stdout:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _git(clone: Path, *words: str) -> None:
    subprocess.run(["git", "-C", str(clone), *words], check=True)


if __name__ == "__main__":
    main()
