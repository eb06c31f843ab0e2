"""Latency by our meter against pyperf, on the same functions, 1 us to 100 ms.

    python tests/benchmarks/bench_pyperf.py [--processes 5] [--turns 20] [--only 1us,100ms]

Ours is `PipeMeter.each`, as in the child of a cell; pyperf's is `Runner.bench_func` as its worker processes run it,
with one warm-up. A machine's speed may change by much more than the target within a second, and the mean over 0.1 s
that is one value of pyperf's by default then says something else than a median of short samples. So both take the
median of samples of the same length (pyperf's `min_time` is the meter's 100 us), in short turns (ABBA) in one process,
several fresh processes a size. What counts is the median of the ratios of neighbouring turns, whose 95 % interval is
by rank. Target: within 3 %.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import os
import statistics
import subprocess
import sys
import time
from functools import partial

SIZES = {"1us": 1e-6, "10us": 1e-5, "100us": 1e-4, "1ms": 1e-3, "10ms": 1e-2, "100ms": 1e-1}
TARGET = 0.03
TURN_S, TURN_SAMPLES = 0.05, 3
"""What the samples of one turn take, and how many there are at least."""


def work(rounds: int) -> int:
    """Pure Python, nothing that lasts, the same each time."""
    total = 0
    for i in range(rounds):
        total += i & 7
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--processes", type=int, default=5)
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--only", default=",".join(SIZES))
    parser.add_argument("--child", nargs=2, metavar=("ROUNDS", "TURNS"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(turns(int(args.child[0]), int(args.child[1]))))
        return
    print("| size | ours | pyperf | ours / pyperf (95 %) | all turns from, to | turns | within 3 % |")
    print("|---|---|---|---|---|---|---|")
    missed = [size for size in args.only.split(",") if not compare(size, args.processes, args.turns)]
    sys.exit(f"beyond {TARGET:.0%}: {', '.join(missed)}" if missed else None)


def compare(size: str, processes: int, n_turns: int) -> bool:
    """Print one line of the table."""
    round_s = min(timed(partial(work, 10_000)) for _ in range(20)) / 10_000
    rounds = max(1, round(SIZES[size] / round_s))
    pairs: list[tuple[float, float]] = []
    for _ in range(processes):
        command = [sys.executable, os.path.abspath(__file__), "--child", str(rounds), str(n_turns)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
        pairs += json.loads(done.stdout.splitlines()[-1])
    ratios = sorted(ours / theirs for ours, theirs in pairs)
    ratio, cut = statistics.median(ratios), rank_of_interval(len(ratios))
    held = abs(ratio - 1) <= TARGET
    print(
        f"| {size} | {statistics.median(p[0] for p in pairs) * 1e6:.3f} us "
        f"| {statistics.median(p[1] for p in pairs) * 1e6:.3f} us "
        f"| {ratio:.4f} ({ratios[cut]:.3f} to {ratios[-1 - cut]:.3f}) | {ratios[0]:.2f}, {ratios[-1]:.2f} "
        f"| {len(ratios)} | {'yes' if held else 'NO'} |",
        flush=True,
    )
    return held


def rank_of_interval(n: int) -> int:
    """How many of n sorted values lie outside of a 95 % interval of their median on each side (sign test)."""
    below, outside = 0.0, 0
    for k in range(n // 2):
        below += math.comb(n, k) / 2**n
        if below > 0.025:
            break
        outside = k
    return outside


def timed(call: partial[int]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


# In the child ---------------------------------------------------------------------------------------------------------


def turns(rounds: int, n: int) -> list[tuple[float, float]]:
    """Seconds of a call by ours and by pyperf, in neighbouring turns."""
    import pyperf

    from harness.worker.meter import SHORT_CALL_NS

    work.__defaults__ = (rounds,)  # pyperf would call a `functools.partial`, which is 5 % of a microsecond
    once = min(timed(partial(work, rounds)) for _ in range(3))
    loops = 1
    while once * loops < SHORT_CALL_NS / 1e9:
        loops *= 2
    runner = pyperf.Runner(loops=loops, values=max(TURN_SAMPLES, round(TURN_S / (once * loops))), warmups=1)
    runner.parse_args(["--worker", "--quiet"])
    found = []
    for number in range(n):
        sides = {"ours": partial(ours, rounds, once), "pyperf": partial(theirs, runner, f"turn {number}")}
        said = {side: sides[side]() for side in (("ours", "pyperf") if number % 2 == 0 else ("pyperf", "ours"))}
        found.append((said["ours"], said["pyperf"]))
    return found


def ours(rounds: int, once: float) -> float:
    """Median of the meter's samples, each of one item."""
    from harness.worker.meter import PipeMeter

    acks, answer = os.pipe()
    os.write(answer, b"..")  # the keeper's answers to the two marks of one phase
    marks = os.open(os.devnull, os.O_WRONLY)
    meter = PipeMeter(marks, acks, 0, "cpu", "")
    # a sample of a short call is already a loop of 100 us
    meter.each("call", [rounds] * max(TURN_SAMPLES, round(TURN_S / max(once, 1e-4))), work)
    for end in (acks, answer, marks):
        os.close(end)
    return statistics.median(meter.samples["call"]) / 1e9


def theirs(runner, name: str) -> float:  # type: ignore[no-untyped-def]
    """Median of pyperf's values, after one warm-up."""
    with contextlib.redirect_stdout(io.StringIO()):
        return float(runner.bench_func(name, work).median())


if __name__ == "__main__":
    main()
