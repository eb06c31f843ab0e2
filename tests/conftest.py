"""Shared fixtures: every test has its own results folder and caches; baselines are written as files, as users do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from harness.record import Record
from harness.store import BrokenRecord, read_record

HEADER = """
import os, signal, subprocess, sys, time
import numpy as np
from harness.tasks.limit.retrieval import Hits, Retriever
"""
ANSWER = """
    def index(self, documents):
        self.n = len(documents)

    def search(self, queries, k):
        ids = np.tile(np.arange(self.n - 1, self.n - 1 - k, -1), (len(queries), 1))
        return Hits(ids, np.tile(np.arange(k, 0, -1.0), (len(queries), 1)))
"""


@pytest.fixture(scope="session", autouse=True)
def _own_caches(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    os.environ["HARNESS_CANARY_ROUNDS"] = "3"  # of forty: a second and more of every command that runs something


@pytest.fixture
def method(tmp_path: Path) -> Callable[[str, str], Path]:
    """Write a retriever: its name and the body of its class, or methods that replace the usual ones."""

    def write(name: str, body: str, *, answers: bool = True) -> Path:
        path = tmp_path / f"{name}.py"
        text = HEADER + f"class Method(Retriever):\n    '''{name}'''\n"
        if answers:
            text += ANSWER
        path.write_text(text + textwrap.indent(textwrap.dedent(body), "    ") + "\n", "utf-8")
        return path

    return write


@dataclass
class Ran:
    """A finished command."""

    code: int
    out: str
    err: str
    results: Path

    @property
    def records(self) -> dict[str, list[Record]]:
        """Valid records by row."""
        found: dict[str, list[Record]] = {}
        for path in sorted((self.results / "records").rglob("*.json")):
            record = read_record(path)
            assert not isinstance(record, BrokenRecord), record
            found.setdefault(record.baseline.name, []).append(record)
        return found

    def one(self, row: str) -> Record:
        """The only record of a row."""
        (record,) = self.records[row]
        return record

    @property
    def events(self) -> list[dict[str, object]]:
        """What `--json` printed."""
        return [json.loads(line) for line in self.out.splitlines() if line.startswith("{")]


@pytest.fixture
def harness_cli(tmp_path: Path) -> Callable[..., Ran]:
    """Run the command line in a process of its own, in an empty folder, with results under it."""

    def run(*words: str | Path, timeout: float = 300, results: Path | None = None) -> Ran:
        folder = results or tmp_path / "results"
        arguments = [str(w) for w in words]
        if arguments and arguments[0] in ("run", "show", "rerun") and "--results" not in arguments:
            arguments += ["--results", str(folder)]
        done = subprocess.run(
            [sys.executable, "-m", "harness", *arguments], capture_output=True, text=True, timeout=timeout,
            cwd=tmp_path, stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        return Ran(done.returncode, done.stdout, done.stderr, folder)

    return run


@pytest.fixture
def smoke() -> list[str]:
    """The words that select the smallest case of the retrieval task."""
    return ["run", "--task", "limit/retrieval", "--case", "46-dense", "--scale", "smoke", "--seeds", "1"]


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
