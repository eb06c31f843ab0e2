"""All codecs behind all linear reducers on 100,000 x 384 vectors: under 10 minutes, and three times the input's memory.

python tests/benchmarks/bench_vectors.py [--rows PATTERN ...]
"""

from __future__ import annotations

import argparse
import tempfile
import time

import harness

CODECS = (
    "float32", "float16", "bfloat16", "float8-e4m3", "float8-e5m2", "int8", "int8-per-vector", "int8-paper", "int4",
    "float4", "binary", "binary-asymmetric", "pq-32x", "opq-32x", "rabitq", "rvq-64x", "sq4",
)  # fmt: skip
REDUCERS = ("pca-50", "random-projection-50", "truncate-50")
INPUT_BYTES = 100_000 * 384 * 4


def main() -> None:
    """Run every combination once and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", nargs="+", default=[*CODECS, *(f"{r}+{c}" for r in REDUCERS for c in CODECS[1:])])
    wanted = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()
        table = harness.run("compression/vectors", wanted, case="power-100k", scale="full", threads=1, results=folder)
        spent = time.monotonic() - begun
    shown = table[["baseline", "status", "score", "bytes_per_vector", "build_s", "delta_rss_bytes", "cost_s"]]
    print(shown.sort_values("cost_s", ascending=False).to_string())
    worst = table.loc[table["delta_rss_bytes"].idxmax()]
    print(f"{len(table)} rows in {spent / 60:.1f} min; most memory beyond the libraries and the input: "
          f"{worst['delta_rss_bytes'] / INPUT_BYTES:.2f} of the input ({worst['baseline']})")  # fmt: skip


if __name__ == "__main__":
    main()
