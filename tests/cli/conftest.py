"""Made-up records, for claims about what is shown of them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from harness.record import Record


@pytest.fixture
def made_record() -> Callable[..., Record]:
    """Make a record of a row with one score; any part may be said otherwise, `case__params` being a part of `case`."""
    numbers = count()

    def make(baseline: str, score: float | None = 0.5, seed: int = 0, **otherwise: Any) -> Record:
        number = next(numbers)
        value = {"name": "recall@2", "value": score, "interval": None, "unit": "", "higher_is_better": True,
                 "best": 1.0, "main": True, "n": 100}  # fmt: skip
        phase = {"name": "search", "items": 100, "wall_ns": 10**9, "cpu_ns": 10**9, "base_rss_bytes": 10**6,
                 "peak_rss_bytes": 10**8, "delta_rss_bytes": 10**7, "base_anon_bytes": 0, "end_anon_bytes": 0,
                 "peak_reset": True}  # fmt: skip
        stream = {
            "name": "query",
            "cold_ns": None,
            "n": 20,
            "median_ns": 5e6,
            "iqr_ns": None,
            "p90_ns": None,
            "p95_ns": None,
            "p99_ns": None,
            "p999_ns": None,
            "loops": 1,
            "warm_up_calls": 1,
            "stable": True,
        }
        made: dict[str, Any] = {
            "id": f"{number:016x}-20260101T000000-00000000", "key": f"{number:064x}", "kind": "cell",
            "status": "ok" if score is not None else "failed", "reason": "" if score is not None else "it broke",
            "task": {"name": "limit/retrieval", "version": 1, "source_digest": ""},
            "case": {"name": "46-dense", "params": {"documents": 46}, "draw_digest": f"draw {seed}"},
            "baseline": {"name": baseline, "file": f"{baseline}.py", "version": 1, "params": {},
                         "source_digest": f"source of {baseline}"},
            "seed": seed, "repeat": 0, "device": "cpu", "threads": 1, "scores": [value] if score is not None else [],
            "phases": [phase], "latency": [stream], "peak_rss_bytes": 10**8, "delta_rss_bytes": 10**7,
            "memory_limit_bytes": 0, "memory_watch": "", "timeout_s": 900.0, "canary": None, "notes": [],
            "output_tail": "", "sidecar": "", "cost": {"wall_s": 2.0, "cpu_s": 2.0, "harness_cpu_s": 0.0},
            "provenance": {"run": "r", "command": "harness run --task limit --scale smoke", "harness_version": "0",
                           "environment": "e", "fingerprint": "this machine", "libraries": {}, "threads_used": {},
                           "started": f"2026-01-01T00:00:{number % 60:02}.000Z", "ended": ""},
        }  # fmt: skip
        for name, part in otherwise.items():
            outer, _, inner = name.partition("__")
            if inner:
                made[outer] = {**made[outer], inner: part}
            else:
                made[outer] = part
        return Record.model_validate(made)

    return make
