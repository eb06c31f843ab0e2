"""A board of 100,000 records: reading it the first time, later times, and one row of one task.

    python tests/benchmarks/bench_board.py [--rows 250] [--draws 20] [--folder DIR]

The records are made of the published ones: of four tasks, five cases (or as many as there are), ROWS rows and DRAWS
draws each, with other names, seeds and main scores. Peak memory is this process's; the store is read in a fresh one.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

READ = """
import json, resource, sys, time
from harness.board.index import folder_of
from harness.board.read import read_board
from harness.registry import load_registry
from harness.store import Store
tasks, store = load_registry().tasks, Store(sys.argv[1])
def spent(call):
    cpu, wall = time.process_time(), time.perf_counter()
    found = call()
    return found, time.process_time() - cpu, time.perf_counter() - wall
board, cpu, wall = spent(lambda: read_board(store, tasks, charts=False))
entries = sum(len(c.entries) for t in board.tasks for c in t.cases)
_, _, look = spent(lambda: folder_of(store, "limit/retrieval", "row 7", tasks))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
print(json.dumps([cpu, wall, peak, entries, len(board.broken), look]))
"""


def make(root: Path, n_rows: int, draws: int) -> int:
    """Write the records; return how many."""
    rng, count = random.Random(0), 0
    for task in ("limit/retrieval", "hnsw", "length", "compression/vectors"):
        for number, template in enumerate(_templates(task)):
            for row in range(n_rows):
                name = f"row {row}"
                place = root / "records" / task.replace("/", ".") / _folder(name)
                place.mkdir(parents=True, exist_ok=True)
                level = rng.random()
                for seed in range(draws):
                    key = f"{rng.getrandbits(256):064x}"
                    identity = f"{key[:16]}-20260101T{seed:06}-{number:08x}"
                    record = {**template, "id": identity, "key": key, "seed": seed, "sidecar": ""}
                    record["baseline"] = {**template["baseline"], "name": name}
                    record["case"] = {**template["case"], "draw_digest": f"{seed}"}
                    value = min(1.0, max(0.0, level + rng.gauss(0, 0.02)))
                    record["scores"] = [
                        {**s, "value": value, "interval": None} if s["main"] else s for s in template["scores"]
                    ]
                    (place / f"{identity}.json").write_text(json.dumps(record, indent=1) + "\n")
                    count += 1
    return count


def _templates(task: str) -> list[dict]:  # type: ignore[type-arg]
    from harness.store import Store

    found = {}
    for record in Store("results").load(task)[0]:
        main = next((s for s in record.scores if s.main), None)
        if record.kind == "cell" and record.repeat == 0 and main and main.best == 1.0 and not record.case.within:
            found.setdefault(record.case.name, json.loads(record.to_json()))
    return [found[name] for name in sorted(found)][:5]


def _folder(name: str) -> str:
    from harness.store import Store

    return Store("").folder("", name).name


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=250)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--folder", default="", help="keep the records there, or use those that are there")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(args.folder or scratch)
        if not (root / "records").is_dir():
            print(f"{make(root, args.rows, args.draws)} records written")
            time.sleep(3)  # what changed just now is not kept
        caches = {**os.environ, "XDG_CACHE_HOME": f"{scratch}/cache"}
        for name in ("first", "second", "third"):
            said = subprocess.run([sys.executable, "-c", READ, str(root)], env=caches, capture_output=True, check=True)
            cpu, wall, peak, entries, broken, look = json.loads(said.stdout)
            print(f"{name}: {cpu:.2f} CPU s, {wall:.2f} s, {peak:.0f} MB, {entries} rows, {broken} broken; "
                  f"one row of one task {1000 * look:.1f} ms")  # fmt: skip


if __name__ == "__main__":
    main()
