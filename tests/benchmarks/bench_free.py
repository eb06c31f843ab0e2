"""Critical n of free embeddings by dimension and seed, with what the search costs.

    python tests/benchmarks/bench_free.py --dims 4,6,8,10,12 --seeds 5

One thread, no child processes: what is timed is `Free.drive` (the search with its checks) and `Free.score`. Wall-clock
limits are not asserted here or in any test.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")  # before NumPy starts its threads


class PlainMeter:
    """A meter that only runs what it is given."""

    repeat = 0

    @contextmanager
    def phase(self, name: str, items: int = 1) -> Iterator[None]:
        yield

    def each(self, name: str, items: Sequence[Any], call: Callable[[Any], object]) -> None:
        for item in items:
            call(item)


def main() -> None:
    from harness.baselines.limit.free.free_embedding import FreeEmbedding
    from harness.task import Case, Context
    from harness.tasks.limit.free.published import published_critical_n
    from harness.tasks.limit.free.task import Free

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dims", default="4,6,8,10,12", help="comma-separated dimensions (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=5, help="searches per dimension (default: %(default)s)")
    asked = parser.parse_args()

    task, total = Free(), 0.0
    print("  d  published  median  critical n by seed      attempts  search CPU s (median)  judge CPU s  sum CPU s")
    for d in map(int, asked.dims.split(",")):
        case = Case(f"d{d}", {"d": d})
        found, attempts, searching, judging = [], [], [], []
        for seed in range(asked.seeds):
            method = FreeEmbedding()
            method.context = Context(seed=seed)
            draw = task.draw(case, seed)
            start = time.process_time()
            answer = task.drive(method, draw.question, PlainMeter(), None)
            between = time.process_time()
            scored = task.score(case, draw, answer)
            judging.append(time.process_time() - between)
            searching.append(between - start)
            found.append(int(scored.values["critical_n"]))
            attempts.append(int(scored.values["probes"]))
        total += sum(searching)
        seeds, middle = " ".join(map(str, found)), statistics.median
        print(
            f"{d:3}  {published_critical_n(d) or '-':>9}  {middle(found):6g}  {seeds:22}  {middle(attempts):8g}"
            f"  {middle(searching):21.2f}  {middle(judging):11.3f}  {sum(searching):9.1f}",
            flush=True,
        )
    print(f"all searches: {total:.1f} CPU s")


if __name__ == "__main__":
    main()
