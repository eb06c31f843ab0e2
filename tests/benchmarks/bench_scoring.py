"""CPU seconds and memory of scoring LIMIT, ours against `mteb.evaluate`, with an encoder that costs nothing.

    python tests/benchmarks/bench_scoring.py [--rounds 3] [--documents 50000] [--dimensions 256,1024]

1,000 queries of the dense pattern against 50,000 documents, at the same depth (hits kept of each query), from given
vectors to recall and nDCG. Every measurement is a fresh process on one thread; the two sides take turns. A process
calls twice: the first call pays for lazy imports (torch, on both sides) and cold libraries; compare the second.
Memory is the peak of the resident set during a call, and what it adds to the base.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import combinations, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

QUERIES = 1000
PAIRS = np.array(list(islice(combinations(range(46), 2), QUERIES)))
TARGETS = {256: 6.0, 1024: 4.0}
"""How many times fewer CPU seconds, by dimension."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--documents", type=int, default=50_000)
    parser.add_argument("--dimensions", default="256,1024")
    parser.add_argument("--depths", default="100,1000")
    parser.add_argument("--child", nargs=4, metavar=("SIDE", "DOCUMENTS", "D", "DEPTH"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        side, documents, d, depth = args.child
        print(json.dumps(child(side, int(documents), int(d), int(depth))))
        return
    print(
        "| d | depth | call | mteb CPU s | ours CPU s | ratio (rounds) | target "
        "| mteb peak (added) MB | ours peak (added) MB |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for d in map(int, args.dimensions.split(",")):
        for depth in map(int, args.depths.split(",")):
            compare(args.documents, d, depth, args.rounds)


def compare(documents: int, d: int, depth: int, rounds: int) -> None:
    """Print one row for the first and one for the second call."""
    measured: dict[str, list[dict[str, list[float]]]] = {"mteb": [], "ours": []}
    for _ in range(rounds):
        for side, runs in measured.items():
            runs.append(spawn(side, documents, d, depth))
    recalls = {round(run["recall@100"][0], 5) for runs in measured.values() for run in runs}
    if len(recalls) != 1:
        raise SystemExit(f"the two sides disagree on recall@100: {sorted(recalls)}")
    for call, name in enumerate(("first", "second")):
        cpu = {side: [run["cpu_s"][call] for run in runs] for side, runs in measured.items()}
        peak = {side: max(run["peak_mb"][call] for run in runs) for side, runs in measured.items()}
        added = {side: max(run["added_mb"][call] for run in runs) for side, runs in measured.items()}
        ratios = [theirs / ours for theirs, ours in zip(cpu["mteb"], cpu["ours"], strict=True)]
        target = f">= {TARGETS[d]:g}" if d in TARGETS else ""
        print(
            f"| {d} | {depth} | {name} | {statistics.median(cpu['mteb']):.2f} | {statistics.median(cpu['ours']):.2f} "
            f"| {statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f}) | {target} "
            f"| {peak['mteb']:.0f} ({added['mteb']:.0f}) | {peak['ours']:.0f} ({added['ours']:.0f}) |",
            flush=True,
        )


def spawn(side: str, documents: int, d: int, depth: int) -> dict[str, list[float]]:
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    command = [sys.executable, __file__, "--child", side, str(documents), str(d), str(depth)]
    done = subprocess.run(
        command, env={**os.environ, **threads, "TQDM_DISABLE": "1"}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    result: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return result


# In the child ---------------------------------------------------------------------------------------------------------


def child(side: str, n_documents: int, d: int, depth: int) -> dict[str, list[float]]:
    rng = np.random.default_rng(0)
    documents, queries = (rng.standard_normal((n, d), dtype=np.float32) for n in (n_documents, QUERIES))
    queries += documents[PAIRS].sum(axis=1)  # so that there is something to find
    call = {"ours": ours, "mteb": theirs}[side](documents, queries, depth)
    measured: dict[str, list[float]] = {"cpu_s": [], "peak_mb": [], "added_mb": [], "recall@100": []}
    for _ in range(2):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak counts from here
        base, start = resident("VmRSS"), time.process_time()
        recall = call()
        measured["cpu_s"].append(time.process_time() - start)
        measured["peak_mb"].append(resident("VmHWM"))
        measured["added_mb"].append(resident("VmHWM") - base)
        measured["recall@100"].append(recall)
    return measured


def resident(name: str) -> float:
    """A field of this process's status, in MB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) / 1000


def ours(documents: NDArray[Any], queries: NDArray[Any], depth: int) -> Callable[[], float]:
    """From vectors to scores: search, the checks on the answer, recall at four depths and nDCG."""
    from harness.tasks.limit.retrieval.scoring import Relevance, checked_hits, query_scores
    from harness.tasks.limit.retrieval.search import top_k

    truth = Relevance(np.arange(QUERIES + 1) * 2, PAIRS.ravel(), np.ones(2 * QUERIES), len(documents))

    def call() -> float:
        hits = top_k(queries, documents, depth, "cosine")
        checked = checked_hits({"ids": hits.ids, "scores": hits.scores}, QUERIES, len(documents), depth)
        return float(query_scores(checked, truth)["recall@100"].mean())

    return call


def theirs(documents: NDArray[Any], queries: NDArray[Any], depth: int) -> Callable[[], float]:
    """`mteb.evaluate` of the same vectors on LIMIT, whose texts are replaced by one letter."""
    import mteb
    from datasets import Dataset
    from mteb.models import ModelMeta
    from mteb.similarity_functions import cos_sim
    from mteb.types import PromptType

    class Zero:
        mteb_model_meta = ModelMeta.create_empty(overwrites={"name": "bench/zero", "revision": "1"})

        def encode(self, inputs: Any, *, prompt_type: Any = None, **ignored: Any) -> NDArray[Any]:
            return queries if prompt_type == PromptType.query else documents

        def similarity(self, left: Any, right: Any) -> Any:
            return cos_sim(left, right)

        def similarity_pairwise(self, left: Any, right: Any) -> Any:
            raise NotImplementedError

    n = len(documents)
    task = mteb.get_task("LIMITRetrieval")
    task.k_values = tuple(k for k in task.k_values if k <= depth)
    task._top_k = depth
    names = [f"d{i:06}" for i in range(n)]
    task.dataset = {"default": {"test": {
        "corpus": Dataset.from_dict({"id": names, "title": [""] * n, "text": ["x"] * n}),
        "queries": Dataset.from_dict({"id": [f"q{i}" for i in range(QUERIES)], "text": ["x"] * QUERIES}),
        "relevant_docs": {f"q{i}": {names[a]: 1, names[b]: 1} for i, (a, b) in enumerate(PAIRS)}, "top_ranked": None,
    }}}  # fmt: skip
    task.data_loaded = True

    def call() -> float:
        result = mteb.evaluate(Zero(), task, cache=None, overwrite_strategy="always", show_progress_bar=False)
        return float(result.task_results[0].scores["test"][0]["recall_at_100"])

    return call


if __name__ == "__main__":
    main()
