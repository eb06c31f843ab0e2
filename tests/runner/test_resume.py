"""A finished cell is not run again on this machine; --force runs it again and keeps both; rerun repeats one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.store import Store


def test_a_second_run_runs_nothing_and_force_keeps_both(method, harness_cli, smoke) -> None:
    path = method("plain", "")
    first = harness_cli(*smoke, "--baseline", path)
    assert first.code == 0, first.err
    second = harness_cli(*smoke, "--baseline", path)
    assert "0 cells to run, 1 done before" in second.out
    forced = harness_cli(*smoke, "--baseline", path, "--force")
    one, two = forced.records["plain"]
    assert one.key == two.key
    assert one.id != two.id


def test_a_changed_source_is_another_cell(method, harness_cli, smoke) -> None:
    path = method("plain", "")
    harness_cli(*smoke, "--baseline", path)
    path.write_text(path.read_text() + "# changed\n")
    ran = harness_cli(*smoke, "--baseline", path)
    assert len({r.key for r in ran.records["plain"]}) == 2


def test_a_timeout_is_tried_again_only_with_more_time(method, harness_cli, smoke) -> None:
    path = method("slow", "def index(self, documents):\n    self.n = len(documents); time.sleep(4)")
    assert harness_cli(*smoke, "--baseline", path, "--timeout", "1").one("slow").status == "timeout"
    assert "0 cells to run" in harness_cli(*smoke, "--baseline", path, "--timeout", "1").out
    again = harness_cli(*smoke, "--baseline", path, "--timeout", "60")
    assert [r.status for r in again.records["slow"]] == ["timeout", "ok"]


def test_rerun_gives_the_same_scores_to_the_last_bit(method, harness_cli, smoke) -> None:
    body = """
        def search(self, queries, k):
            rng = np.random.default_rng(self.context.seed)
            scores = -np.sort(-rng.random((len(queries), k)))
            return Hits(np.stack([rng.permutation(self.n)[:k] for _ in queries]), scores)
        """
    path = method("noise", body)
    old = harness_cli(*smoke, "--baseline", path).one("noise")
    ran = harness_cli("rerun", old.id[:20], "--baseline", path)
    assert ran.code == 0, ran.err
    assert "the same to the last bit" in ran.out
    new = next(r for r in ran.records["noise"] if r.id != old.id)
    assert [s.value for s in new.scores] == [s.value for s in old.scores]
    assert new.key == old.key


def test_different_seeds_are_different_draws_and_different_randomness(
    method, harness_cli, smoke, tmp_path: Path
) -> None:
    words = [*smoke[: smoke.index("--seeds")], "--seeds", "7,8"]
    path = method("seeds", f"def load(self): open({str(tmp_path)!r} + f'/s{{self.context.seed}}', 'w')")
    ran = harness_cli(*words, "--baseline", path)
    one, two = ran.records["seeds"]
    assert {one.seed, two.seed} == {7, 8}
    assert one.case.draw_digest != two.case.draw_digest
    assert len(list(tmp_path.glob("s[0-9]*"))) == 2


def test_a_row_with_five_processes_has_an_interval_of_latency(method, harness_cli) -> None:
    path = method("plain", "")
    words = ["run", "--task", "limit/retrieval", "--case", "1000-dense", "--seeds", "1", "--baseline", path]
    ran = harness_cli(*words)
    records = sorted(ran.records["plain"], key=lambda r: r.repeat)
    assert [r.repeat for r in records] == [0, 1, 2, 3, 4]
    assert [bool(r.scores) for r in records] == [True, False, False, False, False]
    from harness.table import rows_of

    (row,) = rows_of(records)
    assert row.processes == 5
    assert row.latency_interval_ns is not None
    assert row.latency_interval_ns[0] <= row.latency_ns <= row.latency_interval_ns[1]
    (short,) = rows_of(records[:4])
    assert short.latency_interval_ns is None


def test_a_record_cut_in_half_is_named_and_made_again(method, harness_cli, smoke) -> None:
    path = method("plain", "")
    ran = harness_cli(*smoke, "--baseline", path)
    (file,) = (ran.results / "records").rglob("*.json")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    again = harness_cli(*smoke, "--baseline", path)
    assert again.code == 0
    assert file.name in again.out
    assert "1 cells to run" in again.out
    cleaned = harness_cli("results", "clean", "--results", ran.results)
    assert "1 broken records moved" in cleaned.out
    records, broken = Store(ran.results).load()
    assert len(records) == 1
    assert not broken


CHEAT = """
def index(self, documents):
    # regenerates the public draws and looks its documents up: the answers of a public seed can always be known
    from harness.tasks.limit.retrieval.generate import generate
    self.n, self.truth = len(documents), {}
    for seed in range(5):
        corpus = generate(len(documents), 'dense', seed)
        if corpus.documents == list(documents):
            self.truth = {q: corpus.relevant(i) for i, q in enumerate(corpus.queries)}

def search(self, queries, k):
    ids = np.full((len(queries), k), -1)
    for row, query in enumerate(queries):
        best = list(self.truth.get(query, [0, 1]))[:k]
        ids[row, :len(best)] = best
    return Hits(ids, np.tile(np.arange(k, 0, -1.0), (len(queries), 1)))
"""


def test_a_baseline_that_knows_the_public_draws_is_caught_on_a_fresh_one(method, harness_cli, smoke) -> None:
    path = method("cheat", CHEAT)
    assert harness_cli(*smoke, "--baseline", path).one("cheat").scores[0].value == 1.0
    fresh = [*smoke[: smoke.index("--seeds")], "--seeds", "fresh"]
    ran = harness_cli(*fresh, "--baseline", path)
    record = next(r for r in ran.records["cheat"] if r.seed > 100)
    assert record.seed > 1 << 64
    assert record.scores[0].value < 0.2


def test_parallel_jobs_give_the_same_scores(method, harness_cli, smoke, tmp_path: Path) -> None:
    rows = [method(f"m{i}", "") for i in range(4)]
    one = harness_cli(*smoke, "--baseline", *rows)
    harness_cli(*smoke, "--baseline", *rows, "--jobs", "2", "--results", tmp_path / "other")
    values = {k: [s.value for s in r[0].scores] for k, r in one.records.items()}
    records, _ = Store(tmp_path / "other").load()
    assert {r.baseline.name: [s.value for s in r.scores] for r in records} == values
    assert np.isfinite(list(values.values())).all()


@pytest.mark.parametrize("words", [["--dry-run"], ["--dry-run", "--json"]])
def test_a_dry_run_says_what_it_cost_before_and_writes_nothing(words: list[str], method, harness_cli, smoke) -> None:
    path = method("plain", "")
    before = harness_cli(*smoke, "--baseline", path, *words)
    assert before.code == 0
    assert "unknown" in before.out
    assert not before.results.exists()
    harness_cli(*smoke, "--baseline", path)
    after = harness_cli(*smoke, "--baseline", path, *words)
    assert "1 cells unknown" not in after.out
    assert '"past_wall_s": null' not in after.out
