"""Shared fixtures: every test has its own results folder and caches; baselines are written as files, as users do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

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
