"""Many processes write into one results folder, some are killed, and somebody reads meanwhile."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from harness.board.index import folders_of
from harness.board.statements import Statements, make_statement
from harness.record import Record
from harness.registry import load_registry
from harness.store import Store, sidecar_of

SECONDS = float(os.environ.get("HARNESS_WRITERS_SECONDS", "2"))
"""A minute, where the claim is to be tried in full."""
WRITERS, KILLED = 8, 2


def write(root: Path, number: int, record: Record, done: Connection) -> None:
    """Write records, sidecars and statements until killed; say which are finished."""
    store, statements = Store(root), Statements(root)
    for count in range(10**6):
        sidecar = f"{number} {count}".encode() * 1000
        key = hashlib.sha256(sidecar).hexdigest()
        named = record.baseline.model_copy(update={"name": f"row {number % 3}"})
        one = record.model_copy(
            update={"id": store.new_id(key), "key": key, "sidecar": key, "seed": count, "baseline": named}
        )
        store.add(one, sidecar)
        if count % 50 == 0:
            statements.add(make_statement("reproduced", store, [one.id], "it was"))
        done.send(one.id)


def hear(ends: list[Connection], said: set[str]) -> None:
    """Take down what the writers have said so far."""
    for end in list(ends):
        try:
            while end.poll():
                said.add(end.recv())
        except EOFError:  # it was killed
            ends.remove(end)


@pytest.mark.slow
def test_what_was_written_is_whole_and_there_whoever_is_killed(
    tmp_path: Path, made_record: Callable[..., Record]
) -> None:
    fork, tasks = multiprocessing.get_context("fork"), load_registry().tasks
    record, said, writers, ends = made_record("row"), set[str](), [], []
    for number in range(WRITERS):
        ours, theirs = fork.Pipe(duplex=False)
        writers.append(fork.Process(target=write, args=(tmp_path, number, record, theirs), daemon=True))
        writers[-1].start()
        theirs.close()
        ends.append(ours)
    store = Store(tmp_path)
    for killed in (writers[:KILLED], writers[KILLED:]):
        deadline = time.monotonic() + SECONDS / 2
        while time.monotonic() < deadline:
            hear(ends, said)
            assert not [b for f in folders_of(store, tasks).values() for b in f.broken], "readers see whole records"
        for writer in killed:
            writer.kill()
    for writer in writers:
        writer.join()
    hear(ends, said)
    records, broken = store.load()
    assert len(said) > 50
    assert broken == [] and said <= {r.id for r in records}
    assert len(records) - len(said) <= WRITERS, "at most the one that each was writing had not been told"
    for record in records:
        path = store.folder(record.task.name, record.baseline.name) / f"{record.id}.json"
        assert hashlib.sha256(sidecar_of(path).read_bytes()).hexdigest() == record.sidecar
    statements, doubtful = Statements(tmp_path).load()
    assert statements and doubtful == []
