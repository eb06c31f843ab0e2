"""What the `hnsw` task promises of costs, each as a ratio of two sides that take turns in one process, one thread.

    python tests/benchmarks/bench_hnsw.py [loop] [exact] [sweep] [--rounds 5]

loop: single queries through the meter against the library's own call in a bare loop, same index, same queries
      (target: at most 5 % more).
exact: the row `exact` against faiss's IndexFlatL2, 1,000 queries of 200,000 x 128 in a batch (target: at least 0.9 of
      its throughput); and the agreement of both with float64 at intrinsic dimension 2 in R^1024 (target: 100 %).
sweep: a cell of eight efforts against one build and the same searches (target: at most 1.1 times).
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from harness.baselines.hnsw.exact import Exact
from harness.baselines.hnsw.faiss_hnsw import FaissHnsw
from harness.tasks.hnsw.exact import nearest
from harness.tasks.hnsw.generate import clusters, subspace
from harness.tasks.hnsw.task import Hnsw, sampled
from harness.worker.meter import PipeMeter


class Meter(PipeMeter):
    """The child's own meter; only its pipes to the keeper are left out."""

    def __init__(self) -> None:
        super().__init__(-1, -1, 0, "cpu", "")

    def _mark(self, **mark: Any) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("what", nargs="*", default=["loop", "exact", "sweep"])
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    for name in args.what:
        {"loop": loop, "exact": exact, "sweep": sweep}[name](args.rounds)


def loop(rounds: int) -> None:
    import faiss

    faiss.omp_set_num_threads(1)
    data = clusters(20, 64, 128, 10_000, 1000, seed=0)
    index = FaissHnsw()
    index.load()
    index.build(data.vectors, "l2")
    singles = [data.queries[i : i + 1] for i in sampled(len(data.queries))] * 8
    for effort in (10, 64, 200):
        index.set_effort(effort)

        def ours() -> float:
            """CPU seconds a call within the phase, with warm-up, clock readings and all else that is ours."""
            meter = Meter()
            meter.each("query", singles, lambda query: index.search(query, 10))
            stream = meter.streams["query"]
            calls = len(singles) * stream["loops"] + stream["warm_up_calls"] + 1
            return float(meter.phases[-1]["self_cpu_ns"] / 1e9 / calls)

        def bare() -> float:
            search = index.graph.search
            begun = time.process_time()
            for query in singles:
                search(query, 10)
            return (time.process_time() - begun) / len(singles)

        ratio = _turns(rounds, ours, bare)
        print(f"loop, ef {effort}: {100 * (statistics.median(ratio) - 1):+.1f} % a call ({_rounds(ratio)})")


def exact(rounds: int) -> None:
    import faiss

    faiss.omp_set_num_threads(1)
    rng = np.random.default_rng(0)
    vectors, queries = (rng.standard_normal((n, 128)).astype(np.float32) for n in (200_000, 1000))
    flat = faiss.IndexFlatL2(128)
    flat.add(vectors)
    own = Exact()
    own.build(vectors, "l2")
    ratio = _turns(rounds, _timed(lambda: flat.search(queries, 10)), _timed(lambda: own.search(queries, 10)))
    print(f"exact: {statistics.median(ratio):.2f} of faiss's throughput ({_rounds(ratio)})")
    data = subspace(2, 1024, 10_000, 500, seed=0)
    truth = nearest(data.vectors, data.queries, 10, "l2")[0]
    flat = faiss.IndexFlatL2(1024)
    flat.add(data.vectors)
    own.build(data.vectors, "l2")
    for name, found in (("exact", own.search(data.queries, 10)), ("faiss-flat", flat.search(data.queries, 10)[1])):
        same = np.mean([len(set(a) & set(b)) for a, b in zip(found, truth, strict=True)]) / 10
        print(f"exact: {name} agrees with float64 at intrinsic dimension 2 on {100 * same:.2f} %")


def sweep(rounds: int) -> None:
    data = clusters(20, 64, 128, 10_000, 1000, seed=0)
    question = {"vectors": data.vectors, "queries": data.queries, "metric": "l2", "timed": False}

    def cell() -> None:
        index = FaissHnsw()
        index.load()
        Hnsw().drive(index, question, Meter(), None)

    def parts() -> None:
        index = FaissHnsw()
        index.build(data.vectors, "l2")
        for effort in FaissHnsw.efforts:
            index.set_effort(effort)
            index.search(data.queries, 10)
        index.set_effort(FaissHnsw.default_effort)
        for i in sampled(len(data.queries)):
            index.search(data.queries[i : i + 1], 10)

    ratio = _turns(rounds, _timed(cell), _timed(parts))
    print(f"sweep: a cell costs {statistics.median(ratio):.3f} times its build and searches ({_rounds(ratio)})")


def _timed(call: Callable[[], object]) -> Callable[[], float]:
    def timed() -> float:
        begun = time.process_time()
        call()
        return time.process_time() - begun

    return timed


def _turns(rounds: int, one: Callable[[], float], other: Callable[[], float]) -> list[float]:
    """CPU seconds of `one` over those of `other`, by round."""
    return [one() / other() for _ in range(rounds)]


def _rounds(ratios: Sequence[float]) -> str:
    return ", ".join(f"{r:.3f}" for r in sorted(ratios))


if __name__ == "__main__":
    main()
