"""Rows that share one preparation run it once, and each is charged its full cost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.known import read_samples

ENCODER = """
import hashlib, time
import numpy as np
from harness.tasks.limit.retrieval import Encoder

class Digests(Encoder):
    '''Vectors made from digests of the words, truncated.'''
    dimension: int = 32
    variants = {"digests": {}, "digests-d4": {"dimension": 4}}
    shared = ("dimension",)
    def load(self):
        %s
        with open(%r, "a") as file:
            file.write("loaded ")
    def encode(self, texts):
        time.sleep(0.002)
        return np.array([sum(map(self.word, text.split())) for text in texts], np.float32)
    def word(self, word):
        return np.frombuffer(hashlib.sha256(word.encode()).digest(), np.uint8) - 127.5
    def reduce(self, vectors):
        return vectors[:, :self.dimension]
    def describe(self):
        return {"dtype": "float32"}
"""


@pytest.fixture
def encoder(tmp_path: Path):
    def write(in_load: str = "pass") -> Path:
        path = tmp_path / "digests.py"
        path.write_text(ENCODER % (in_load, str(tmp_path / "loads.txt")))
        return path

    return write


def test_one_encoding_serves_all_rows_and_each_is_charged_for_it(encoder, harness_cli, smoke, tmp_path: Path) -> None:
    ran = harness_cli(*smoke, "--baseline", encoder())
    assert ran.code == 0, ran.out + ran.err
    assert (tmp_path / "loads.txt").read_text().split() == ["loaded"]
    (prepare,) = [r for rs in ran.records.values() for r in rs if r.kind == "prepare"]
    rows = {r.baseline.name: r for rs in ran.records.values() for r in rs if r.kind == "cell"}
    assert set(rows) == {"digests", "digests-d4"}
    for row in rows.values():
        assert row.cost.wall_s > prepare.cost.wall_s
        assert row.provenance.shared_record == prepare.id
        assert {p.name for p in row.phases if p.shared} >= {"load", "encode_documents", "encode_queries"}
        assert row.baseline.description == {"dtype": "float32"}
        (stream,) = row.latency
        assert stream.composed
        assert stream.median_ns > 2e6  # the sleep is in the shared part
    assert rows["digests"].scores[0].value > rows["digests-d4"].scores[0].value


def test_the_sum_is_taken_query_by_query(encoder, harness_cli, smoke) -> None:
    ran = harness_cli(*smoke, "--baseline", encoder())
    samples = {}
    for path in (ran.results / "records").rglob("*.npz"):
        samples[path.stem] = read_samples(path)["query"]
    (prepare,) = [r for rs in ran.records.values() for r in rs if r.kind == "prepare"]
    for record in (r for rs in ran.records.values() for r in rs if r.kind == "cell"):
        assert np.all(samples[record.id] > samples[prepare.id])


def test_rows_finished_earlier_need_no_encoding_and_new_ones_use_the_cached_one(
    encoder, harness_cli, smoke, tmp_path: Path
) -> None:
    path = encoder()
    harness_cli(*smoke, "--baseline", path)
    path.write_text(path.read_text())  # the same source: the same keys
    again = harness_cli(*smoke, "--baseline", path)
    assert "0 cells to run, 2 done before" in again.out
    for file in (again.results / "records").rglob("digests-d4/*.json"):
        file.unlink()
    third = harness_cli(*smoke, "--baseline", path)
    assert "1 cells to run" in third.out
    assert (tmp_path / "loads.txt").read_text().split() == ["loaded"]
    assert [r.kind for r in third.records["digests-d4"]] == ["cell"]


def test_a_failed_encoding_fails_each_row_once_with_its_reason(encoder, harness_cli) -> None:
    path = encoder("raise RuntimeError('weights are gone')")
    words = ["run", "--task", "limit/retrieval", "--case", "1000-dense", "--seeds", "1", "--baseline", path]
    ran = harness_cli(*words)
    assert ran.code == 1
    rows = [r for rs in ran.records.values() for r in rs if r.kind == "cell"]
    assert sorted((r.baseline.name, r.status) for r in rows) == [("digests", "failed"), ("digests-d4", "failed")]
    assert all("weights are gone" in r.reason for r in rows)
    assert sum(r.kind == "prepare" for rs in ran.records.values() for r in rs) == 1


def test_five_processes_of_a_shared_row_are_five_of_both_parts(encoder, harness_cli) -> None:
    words = ["run", "--task", "limit/retrieval", "--case", "1000-dense", "--seeds", "1", "--baseline", encoder()]
    ran = harness_cli(*words)
    assert ran.code == 0, ran.out
    everything = [r for rs in ran.records.values() for r in rs]
    for kind, rows in (("prepare", 1), ("cell", 2)):
        assert sorted(r.repeat for r in everything if r.kind == kind) == sorted([*range(5)] * rows)
    assert len({r.provenance.shared_record for r in everything if r.kind == "cell"}) == 5
