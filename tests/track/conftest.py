"""A made-up history: sixty nights of forty series, of which two became worse in the last one."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.track.findings import Check, Finding
from harness.track.history import Cell, History, Night, SeriesKey, Value, Work
from harness.track.report import Kept, read_kept

MACHINE = "0123456789abcdef"
NIGHTS = 60
_LEVELS = {"score/recall@2": 0.8, "latency/query": 12e6, "time/index": 3e8, "time/search": 9e8, "memory/peak": 4e8}
_UNITS = {"score": "", "latency": "ns", "time": "ns", "memory": "bytes"}


def commit_of(night: int) -> str:
    """Every third night has a new commit, and the last night is one of them."""
    return hashlib.sha1(str((night + 1) // 3).encode(), usedforsecurity=False).hexdigest()


@dataclass
class MadeHistory:
    """What lies in `root`, and how more of it is made."""

    root: Path
    nights: list[Night]
    machine: str = MACHINE
    tasks: tuple[str, ...] = ("limit/retrieval", "hnsw/recall")
    names: tuple[str, ...] = ("bm25", "minilm-d32", "tfidf", "lsa-64")
    checks: list[Check] = field(default_factory=list)

    @property
    def kept(self) -> Kept:
        """As it is read from the files."""
        return read_kept(self.root, self.machine)

    @property
    def last(self) -> Night:
        return self.nights[-1]

    def key(self, row: str = "bm25", metric: str = "latency/query", task: str = "limit/retrieval") -> SeriesKey:
        return SeriesKey(Work(task, 1, "46-dense", row, 0, "cpu", 1), metric)

    def finding(self, row: str = "bm25", metric: str = "latency/query", **otherwise: Any) -> Finding:
        """One that re-runs bear out, of the last night; any part may be said otherwise."""
        made: dict[str, Any] = {
            "task": "limit/retrieval", "version": 1, "case": "46-dense", "row": row, "seed": 0, "device": "cpu",
            "threads": 1, "metric": metric, "unit": _UNITS.get(metric.partition("/")[0], ""), "layer": "night",
            "verdict": "regressed", "why": "above the limit, and re-runs bear it out", "value": 14.6e6, "before": 12e6,
            "limit": 12.6e6, "effect": 1.21, "low": 1.18, "high": 1.24, "p": 1.5e-5, "pairs": 16,
            "good": commit_of(NIGHTS - 2), "bad": commit_of(NIGHTS - 1),
        }  # fmt: skip
        return Finding(**{**made, **otherwise})

    def check(self, findings: list[Finding], night: Night | None = None, **otherwise: Any) -> Check:
        """Keep what was found about a night, the last one if none is named."""
        of = night or self.last
        made: dict[str, Any] = {
            "night": of.id, "machine": self.machine, "commit": of.commit, "checked": of.ended, "series": 40,
            "state": "regressed" if any(f.verdict == "regressed" for f in findings) else "fine",
            "why": f"{len(findings)} of 40 series were suspected", "findings": findings, "reruns": 16, "wall_s": 90.0,
            "commits": [f"{commit_of(NIGHTS - 1)[:12]} Make the search slower"],
        }  # fmt: skip
        check = Check(**{**made, **otherwise})
        History(self.root, self.machine).add_file("checks", f"{of.id}-{len(self.checks)}", check)
        self.checks.append(check)
        return check


@pytest.fixture(scope="session")
def _written(tmp_path_factory: pytest.TempPathFactory) -> MadeHistory:
    return make_history(tmp_path_factory.mktemp("made") / "history")


@pytest.fixture
def made_history(tmp_path: Path, _written: MadeHistory) -> MadeHistory:
    """Eight rows with five numbers each; in the last night `bm25` of the first task answers 21 % slower, after a commit
    that changed it. Nothing is checked yet."""
    shutil.copytree(_written.root, tmp_path / "history")
    return MadeHistory(tmp_path / "history", list(_written.nights))


@pytest.fixture
def made_history_of(tmp_path: Path) -> Callable[..., MadeHistory]:
    """The same with other names, machine, or number of nights."""
    return lambda folder="history", **otherwise: make_history(tmp_path / folder, **otherwise)


def make_history(
    root: Path, machine: str = MACHINE, nights: int = NIGHTS, tasks: tuple[str, ...] = MadeHistory.tasks,
    names: tuple[str, ...] = MadeHistory.names, subject: str = "Change something",
) -> MadeHistory:  # fmt: skip
    noise = np.random.default_rng(0)
    history, made = History(root, machine), []
    for number in range(nights):
        slow = number == nights - 1
        cells = [
            _cell(task, row, slow and (task, row) == (tasks[0], names[0]), number, noise)
            for task in tasks for row in names
        ]  # fmt: skip
        day = f"2026{1 + number // 28:02}{1 + number % 28:02}"
        iso = f"{day[:4]}-{day[4:6]}-{day[6:]}"
        night = Night(
            id=f"{day}T021700-{number:08x}", commit=commit_of(number), committed=f"{iso}T00:00:00Z", subject=subject,
            started=f"{iso}T02:17:00.000Z", ended=f"{iso}T05:00:00.000Z", machine=machine, cells=cells,
            context={"python": "3.11" if number >= nights // 4 else "3.10", "processes": 3}, budget_s=14400.0,
        )  # fmt: skip
        history.add(night, {})
        made.append(night)
    return MadeHistory(root, made, machine, tasks, names)


def _cell(task: str, row: str, slow: bool, number: int, noise: np.random.Generator) -> Cell:
    values = {}
    for metric, level in _LEVELS.items():
        kind = metric.partition("/")[0]
        value = level if kind == "score" else level * float(noise.lognormal(0, 0.015))
        if slow and metric in ("latency/query", "time/search"):
            value = level * 1.215
        values[metric] = Value(value=value, unit=_UNITS[kind], higher_is_better=kind == "score", processes=3)
    return Cell(
        task=task, version=1, case="46-dense", row=row, seed=0, device="cpu", threads=1, scale="smoke", status="ok",
        source="after" if slow else "before", libraries={"numpy": "2.1"}, canary_ns=2.5e7, wall_s=4.0, values=values,
    )  # fmt: skip
