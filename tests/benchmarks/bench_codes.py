"""What a search on codes costs, against faiss's own scan of codes of the same kind.

    python tests/benchmarks/bench_codes.py [codec ...] [--rounds 5] [--vectors 50000] [--dimensions 384]

One process, one thread, the two sides take turns; CPU seconds of a search for the 10 nearest of unit vectors by cosine,
for one query and for 256 at a time. The figure is the median of the rounds' ratios, faiss's time over ours: above 1,
ours is faster. Both sides of `float8-e4m3` are one byte a number: faiss has no float8, its 8-bit codes stand in.
"""

from __future__ import annotations

import argparse
import importlib
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import faiss
import numpy as np
from numpy.typing import NDArray

SQ = faiss.ScalarQuantizer
CODECS = {
    "float32": ("float32", "PlainFloat32", {}, "flat"),
    "float16": ("cast", "SmallFloat", {}, SQ.QT_fp16),
    "bfloat16": ("cast", "SmallFloat", {"kind": "bfloat16"}, SQ.QT_bf16),
    "float8-e4m3": ("float8_e4m3", "Float8E4M3", {}, SQ.QT_8bit),
    "int8": ("int8", "Int8", {}, SQ.QT_8bit),
    "int8-per-vector": ("int8_per_vector", "Int8PerVector", {}, SQ.QT_8bit),
    "int4": ("int4", "Int4", {}, SQ.QT_4bit),
    "float4": ("float4", "Float4", {}, SQ.QT_4bit),
    "binary": ("binary", "Binary", {}, "binary"),
    "pq-32x": ("pq", "Pq", {}, "pq"),
}
"""Row -> file, class, its parameters, and faiss's index of the same kind."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("codec", nargs="*", default=list(CODECS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--vectors", type=int, default=50_000)
    parser.add_argument("--dimensions", type=int, default=384)
    args = parser.parse_args()
    faiss.omp_set_num_threads(1)
    points = np.random.default_rng(0).standard_normal((args.vectors + 256, args.dimensions)).astype(np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    vectors, queries = points[:-256], points[-256:]
    for name in args.codec:
        ours, theirs = sides(name, vectors)
        for batch, calls in ((1, 10), (256, 1)):
            some = queries[:batch]
            pairs = [(timed(theirs, some, calls), timed(ours, some, calls)) for _ in range(args.rounds + 1)][1:]
            ratios = sorted(faisses / own for faisses, own in pairs)
            own = 1e3 * statistics.median(pair[1] for pair in pairs)
            print(
                f"{name}, batch {batch}: {statistics.median(ratios):.2f} times as fast as faiss, {own:.2f} ms "
                f"({', '.join(f'{ratio:.2f}' for ratio in ratios)})",
                flush=True,
            )


def sides(name: str, vectors: NDArray[np.float32]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Searches of our codec and of faiss's index, both ready."""
    file, kind, params, other = CODECS[name]
    codec = getattr(importlib.import_module(f"harness.baselines.compression.vectors.{file}"), kind)()
    vars(codec).update(params, metric="cosine")
    codec.load()
    codec.state = codec.fit(vectors[:20_000])
    codec.open(np.concatenate([codec.code(vectors[i : i + 8192]) for i in range(0, len(vectors), 8192)]))
    d = vectors.shape[1]
    if other == "binary":
        index = faiss.IndexBinaryFlat(d)
        index.add(np.packbits(vectors > 0, axis=1))
        return codec.search, lambda queries, k: index.search(np.packbits(queries > 0, axis=1), k)
    if other == "pq":
        index = codec.index  # the index itself: what our call adds
    elif other == "flat":
        index = faiss.IndexFlatIP(d)
    else:
        index = faiss.IndexScalarQuantizer(d, other, faiss.METRIC_INNER_PRODUCT)
    if not index.ntotal:
        index.train(vectors[:20_000])
        index.add(vectors)
    return codec.search, index.search


def timed(search: Callable[..., Any], queries: NDArray[np.float32], calls: int) -> float:
    """CPU seconds of one of so many calls."""
    begun = time.process_time()
    for _ in range(calls):
        search(queries, 10)
    return (time.process_time() - begun) / calls


if __name__ == "__main__":
    main()
