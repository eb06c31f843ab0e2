"""Results folders of made-up records."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from harness.record import Record
from harness.registry import TaskSpec, load_registry
from harness.store import Store


@pytest.fixture(scope="session")
def tasks() -> Mapping[str, TaskSpec]:
    return load_registry().tasks


@pytest.fixture
def filled(tmp_path: Path, made_record: Callable[..., Record]) -> Callable[..., Store]:
    """A results folder with, of every row, one record for each draw: its scores in order of seed."""

    def fill(rows: Mapping[str, list[float | None]], folder: str = "results", **otherwise: object) -> Store:
        store = Store(tmp_path / folder)
        for name, scores in rows.items():
            for seed, score in enumerate(scores):
                store.add(made_record(name, score, seed, **otherwise))
        return store

    return fill
