"""Verification: what is run again, what follows from it, and cheats, each caught by the check that is for it."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import cli
from harness.plan import Request
from harness.record import Record
from harness.registry import BaselineSpec, load_registry, read_baseline_file
from harness.runner import Options, Runner
from harness.store import Store, sidecar_of
from harness.submission import rerun as rerunning
from harness.submission import verify as verifying
from harness.submission.selection import Plan, chosen
from harness.submission.verdict import Verification
from harness.submission.verify import verify
from harness.tasks.limit.retrieval.generate import generate

PUBLISHED = Path(__file__).parents[2] / "results"
DRAWS = (0, 1, 2)
HEADER = """
import json, time
from pathlib import Path
import numpy as np
from harness.tasks.limit.retrieval import Encoder, Hits, Retriever

class Method(BASE):
    '''NAME'''
"""
HONEST = """
    def index(self, documents):
        self.n = len(documents)
        self.words = [set(d.lower().replace(",", " ").replace(".", " ").split()) for d in documents]

    def best(self, query, k):
        wanted = query.lower().strip("?").split()[-1:]
        scores = np.array([sum(w in words for w in wanted) for words in self.words], float)
        order = np.lexsort((-np.arange(self.n), -scores))[:k]
        return order, scores[order]

    def search(self, queries, k):
        found = [self.best(q, k) for q in queries]
        return Hits(np.stack([f[0] for f in found]), np.stack([f[1] for f in found]))
"""
REMEMBERS = """\
    def search(self, queries, k):
        for q in queries:
            if q not in self.answers:
                np.sort(np.random.default_rng(0).random(40_000))
                self.answers[q] = self.best(q, k)
        found = [self.answers[q] for q in queries]
        return Hits(np.stack([f[0] for f in found]), np.stack([f[1] for f in found]))
"""
KNOWS = """
    def search(self, queries, k):
        ids = np.tile(np.arange(self.n - 1, self.n - 1 - k, -1), (len(queries), 1))
        for row, query in enumerate(queries):
            known = self.known.get(query, ())
            ids[row] = [*known, *(i for i in ids[row] if i not in known)][:k]
        return Hits(ids, np.tile(np.arange(k, 0, -1.0), (len(queries), 1)))
"""
METHODS = {
    "honest": HONEST,
    "edits": HONEST,
    "reads-the-task": """
    def load(self):
        from harness.tasks.limit.retrieval.generate import generate
        self.draws = [generate(46, "dense", seed) for seed in range(5)]

    def index(self, documents):
        self.n, self.known = len(documents), {}
        for draw in self.draws:
            if list(draw.documents) == list(documents):
                for i, query in enumerate(draw.queries):
                    here = draw.relevant_ids[draw.relevant_indptr[i] : draw.relevant_indptr[i + 1]]
                    self.known[query] = tuple(int(d) for d in here)
""" + KNOWS,
    "memorises": """
    def index(self, documents):
        self.n = len(documents)
        learned = json.loads(Path(LEARNED).read_text())
        self.known = {q: tuple(ids) for q, first, ids in learned if first == documents[0]}
""" + KNOWS,
    "caches": HONEST + """
    def load(self):
        self.answers = {}

""" + REMEMBERS,
    "own-clock": HONEST + """
    def load(self):
        real, start = time.perf_counter_ns, time.perf_counter_ns()
        time.perf_counter_ns = lambda: start + (real() - start) // 3
""",
    "declines": """
    def index(self, documents):
        from harness.errors import Unsupported
        self.n = len(documents)
        learned = json.loads(Path(LEARNED).read_text())
        self.known = {q: tuple(ids) for q, first, ids in learned if first == documents[0]}
        if not self.known:
            raise Unsupported("these documents are too long")
""" + KNOWS,
    "blinds-the-audits": HONEST + """
    def load(self):
        import sys
        self.answers = {}
        for name, module in list(sys.modules.items()):
            listening = getattr(module, "Listening", None) if name.startswith("harness.") else None
            if listening is not None:
                listening.each = lambda self, name, items, call: self._meter.each(name, items, call)

""" + REMEMBERS,
    "two-faced": HONEST + """
    def search(self, queries, k):
        if len(queries) == 1:
            return Hits(np.arange(k)[None], np.zeros((1, k)))
        found = [self.best(q, k) for q in queries]
        return Hits(np.stack([f[0] for f in found]), np.stack([f[1] for f in found]))
""",
    "transductive": """
    def encode(self, texts):
        vectors = np.zeros((len(texts), 64))
        for row, text in enumerate(texts):
            for word in text.split():
                vectors[row, sum(map(ord, word)) % 64] += 1
        return vectors - vectors.mean(axis=0) + 1e-3
""",
}  # fmt: skip
CAUGHT = {
    "edits": "same draw",
    "reads-the-task": "fresh draws",
    "memorises": "fresh draws",
    "caches": "caching",
    "declines": "fresh draws",
    "blinds-the-audits": "caching",
    "own-clock": "invariants of the re-run: own-clock",
    "two-faced": "timed-accuracy",
    "transductive": "transductive",
}


@dataclasses.dataclass
class Opened:
    """As much of an opened submission as verification uses."""

    store: Store
    specs: list[BaselineSpec]
    root: Path
    requirements: Path | None = None

    def rows(self) -> list[BaselineSpec]:
        return self.specs


def write(folder: Path, name: str) -> Path:
    text = HEADER.replace("NAME", name).replace("BASE", "Encoder" if name == "transductive" else "Retriever")
    path = folder / f"{name.replace('-', '_')}.py"
    path.write_text(text + METHODS[name].replace("LEARNED", repr(str(folder / "learned.json"))), "utf-8")
    return path


def learn(path: Path) -> None:
    """The answers of the public draws."""
    known = []
    for seed in DRAWS:
        draw = generate(46, "dense", seed)
        for i, query in enumerate(draw.queries):
            here = draw.relevant_ids[draw.relevant_indptr[i] : draw.relevant_indptr[i + 1]]
            known.append([query, draw.documents[0], [int(d) for d in here]])
    path.write_text(json.dumps(known))


def opened(folder: Path, *names: str) -> Opened:
    """Rows of these methods, run on the public draws."""
    learn(folder / "learned.json")
    tasks = load_registry().tasks
    task = tasks["limit/retrieval"]
    rows = [row for name in names for row in read_baseline_file(write(folder, name), tasks)]
    store = Store(folder / "results")
    request = Request([task], {task.name: rows}, "smoke", "46-dense", list(DRAWS), "cpu", 1)
    Runner(store, Options(search=False)).run(request)
    return Opened(store, rows, folder)


def raise_by_three_points(store: Store, row: str) -> None:
    """Edit a score with all that belongs to it: its items, its interval, and the digest."""
    for path in sorted(store.root.glob(f"records/*/{row}/*.json")):
        record = json.loads(path.read_text())
        with np.load(sidecar_of(path)) as arrays:
            kept = {name: arrays[name] for name in arrays.files}
        items = kept["item/recall@2"]
        low = np.flatnonzero(items < 1)[: round(0.06 * len(items))]
        items[low] += 0.5
        for name in ("recall@10", "recall@20", "recall@100"):
            kept[f"item/{name}"] = np.maximum(kept[f"item/{name}"], items)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **kept)  # type: ignore[arg-type]
        sidecar_of(path).write_bytes(buffer.getvalue())
        for score in record["scores"]:
            score["value"] = float(kept[f"item/{score['name']}"].mean())
            score["interval"] = [min(score["interval"][0], score["value"]), max(score["interval"][1], score["value"])]
        record["sidecar"] = hashlib.sha256(buffer.getvalue()).hexdigest()
        path.write_text(json.dumps(record))


@pytest.mark.slow
@pytest.mark.parametrize("name", CAUGHT)
def test_a_cheat_is_caught_by_the_check_that_is_for_it_and_the_honest_row_beside_it_by_none(
    name: str, tmp_path: Path
) -> None:
    given = opened(tmp_path, "honest", name)
    if name == "edits":
        raise_by_three_points(given.store, name)
    found = verify(given, trusted=True, budget_s=900, rng=random.Random(0))  # type: ignore[arg-type]
    told = [c for c in found.checks if c.verdict == "failed" and c.name == CAUGHT[name] and f" {name}" in c.evidence]
    assert told, [c for c in found.checks if name in c.evidence]
    assert not [c for c in found.checks if c.verdict == "failed" and " honest" in c.evidence]
    solver = any(c.name == "own-solver" and "reads_the_task.py" in c.evidence for c in found.checks)
    assert solver == (name == "reads-the-task")
    assert found.verdict == "refused" and found.trust == "self-reported"
    assert verifying.state(found, given, given.store.root).startswith("no statement")  # type: ignore[arg-type]


@pytest.mark.slow
def test_an_honest_row_is_verified_and_stated_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.board.statements import Statements

    scratch = tmp_path / "scratch"  # of this test's own: others verify at the same time
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    given = opened(tmp_path, "honest")
    found = verify(given, trusted=True, rng=random.Random(0))  # type: ignore[arg-type]
    assert found.verdict == "verified", found.checks
    assert found.trust in ("reproduced", "replicated"), "three secret draws seldom tell too little of their spread"
    verifying.state(found, given, given.store.root)  # type: ignore[arg-type]
    (statement,), _ = Statements(given.store.root).load()
    assert statement.kind == found.trust and len(statement.records) == len(DRAWS)
    assert not list(scratch.iterdir())


# Without running anything ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published() -> list[Record]:
    if not (PUBLISHED / "records").is_dir():
        pytest.skip("the published records are not here")
    return Store(PUBLISHED).load("limit/retrieval")[0]


def plans(records: list[Record], names: tuple[str, ...], **changes: Any) -> list[Plan]:
    tasks = load_registry().tasks
    rows = [row for row in load_registry().rows(tasks["limit/retrieval"]) if row.name in names]
    of = [record for record in records if record.baseline.name in names]
    return chosen(of, rows, tasks, **{"cells": 0, "rng": random.Random(0), **changes})


def test_one_cell_of_every_row_is_run_first_and_audited(published: list[Record]) -> None:
    found = plans(published, ("bm25", "tfidf"))
    assert {plan.row.name for plan in found[:2]} == {"bm25", "tfidf"}
    assert all(plan.audit for plan in found[:2]) and not any(plan.audit for plan in found[2:])
    assert all(plan.again in plan.claimed for plan in found)
    assert len(plans(published, ("bm25", "tfidf"), cells=1)) == 1


def test_what_a_cell_claims_to_cost_has_no_say_in_whether_it_is_run_again(published: list[Record]) -> None:
    dear = [r.model_copy(update={"cost": r.cost.model_copy(update={"wall_s": 1e5})}) if r.seed % 2 else r
            for r in published]  # fmt: skip
    for seed in range(5):
        assert [p.cell for p in plans(published, ("bm25",), rng=random.Random(seed))] \
            == [p.cell for p in plans(dear, ("bm25",), rng=random.Random(seed))]  # fmt: skip
    first = {plans(published, ("bm25",), rng=random.Random(seed))[0].case.name for seed in range(40)}
    assert len(first) == len({p.case.name for p in plans(published, ("bm25",))})


def test_fresh_seeds_are_secret_and_of_128_bits(published: list[Record]) -> None:
    seeds = [seed for _ in range(3) for plan in plans(published, ("bm25",)) for seed in plan.fresh]
    assert len(set(seeds)) == len(seeds) and max(seeds) > 1 << 120
    assert {plan.again for plan in plans(published, ("bm25",))}.isdisjoint(seeds)


class Ran:
    """Runs whose records are those of a list; each takes `taken_s` of the budget."""

    def __init__(self, made: list[Record], budget_s: float, taken_s: float) -> None:
        self.made, self.left_s, self.taken_s = made, budget_s, taken_s
        self.seeds: list[tuple[int, ...]] = []

    def run(self, plan: Plan, seeds: tuple[int, ...], *, audit: bool) -> list[Record]:
        self.seeds.append(seeds)
        self.left_s -= self.taken_s * (len(seeds) + 2 * audit)
        return self.made


def test_time_is_spent_as_it_is_measured_and_one_cell_is_always_run(published: list[Record]) -> None:
    queue = plans(published, ("bm25", "tfidf"))
    for budget_s in (1.0, 90.0, 200.0, 1e6):
        found = Verification()
        ran = Ran([], budget_s, 5.0)
        done, _ = rerunning._within_budget(found, queue, ran)  # type: ignore[arg-type]
        assert done[0].cell == queue[0].cell and (len(done) == 1 or ran.left_s >= 0)
        assert [check.name for check in found.checks] == ["sample"] * (len(done) < len(queue))
    assert len(done) == len(queue)
    assert all(len(plan.fresh) == plan.needed for plan in done)


def of_fresh(published: list[Record], statuses: tuple[str, ...], again: str = "ok") -> tuple[Plan, list[Record]]:
    """A plan, and records of its draws that ended so."""
    plan = next(p for p in plans(published, ("bm25",)) if p.fresh)
    plan = dataclasses.replace(plan, fresh=tuple(range(10**6, 10**6 + len(statuses))))
    one = plan.claimed[plan.again]
    made = [one.model_copy(update={"seed": seed, "status": status, "reason": "why"})
            for seed, status in zip((plan.again, *plan.fresh), (again, *statuses), strict=True) if status]  # fmt: skip
    return plan, made


@pytest.mark.parametrize(
    ("again", "statuses", "verdict"),
    [
        ("ok", ("ok", "ok", "ok"), "verified"),
        ("ok", ("unsupported",) * 3, "refused"),
        ("ok", ("ok", "ok", "skipped"), "refused"),
        ("ok", ("ok", "killed", "ok"), "refused"),
        ("ok", ("ok", "timeout", "ok"), "not verified here"),
        ("ok", ("ok", "ok", ""), "not verified here"),
        ("unsupported", ("ok", "ok", "ok"), "refused"),
        ("skipped", ("ok", "ok", "ok"), "refused"),
        ("failed", ("failed",) * 3, "refused"),
        ("skipped", ("skipped",) * 3, "not verified here"),
        ("oom", ("ok", "ok", "ok"), "not verified here"),
        ("", ("ok", "ok", "ok"), "not verified here"),
    ],
)
def test_a_cell_is_verified_if_the_submitted_and_every_fresh_draw_is_answered(
    published: list[Record], again: str, statuses: tuple[str, ...], verdict: str
) -> None:
    plan, made = of_fresh(published, statuses, again)
    found = Verification()
    found.reproduced = {plan.cell} if rerunning._same_draw(found, plan, made) else set()
    rerunning._fresh_draws(found, [plan], made, rerunning._tested([plan], made))
    assert found.verdict == verdict, found.checks
    assert verdict != "not verified here" or plan.label in found.sentence()


def test_a_statement_is_about_the_cells_that_were_run_again_alone(tmp_path: Path, published: list[Record]) -> None:
    from harness.board.statements import Statements

    store = Store(tmp_path)
    cells = sorted({r.case.name for r in published if r.baseline.name == "bm25" and r.status == "ok"})[:3]
    records = [r.model_copy(update={"sidecar": ""}) for r in published
               if r.baseline.name == "bm25" and r.case.name in cells]  # fmt: skip
    for record in records:
        store.add(record)
    names = [("limit/retrieval", "bm25", case) for case in cells]
    found = Verification(reproduced=set(names[:2]), replicated=set(names[:1]))
    verifying.state(found, Opened(store, [], tmp_path), tmp_path)  # type: ignore[arg-type]
    said = {one.kind: set(one.records) for one in Statements(tmp_path).load()[0]}
    assert said == {kind: {r.id for r in records if r.case.name == case}
                    for kind, case in zip(("replicated", "reproduced"), cells, strict=False)}  # fmt: skip


def test_claimed_threads_and_devices_are_not_taken_as_they_are(
    tmp_path: Path, published: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def run(self: rerunning.Selected, request: Request) -> Any:
        asked.append((request, self.options))
        return self.summary

    monkeypatch.setattr(rerunning.Selected, "run", run)
    plan = plans(published, ("bm25",))[0]
    cost = plan.claimed[plan.again].cost.model_copy(update={"wall_s": 1e8})
    change = {"threads": 4096, "device": "cuda", "cost": cost}
    plan = dataclasses.replace(plan, claimed={s: r.model_copy(update=change) for s, r in plan.claimed.items()})
    for boxed in (True, False):
        rerunning._Runs(Store(tmp_path), boxed, 100.0, random.Random(0)).run(plan, (1, 2), audit=True)
    (boxed_request, options), (own_request, _) = asked
    assert boxed_request.threads == rerunning.most_threads() and options.timeout_s <= 100
    assert options.budget_s <= 100 and (boxed_request.device, own_request.device) == ("cpu", "auto")


def test_a_score_that_moved_by_one_item_is_not_the_same_to_the_last_bit(published: list[Record]) -> None:
    record = next(r for r in published if r.baseline.name == "bm25" and r.scores and not r.repeat)
    moved = [s.model_copy(update={"value": s.value - 1 / s.n}) for s in record.scores]
    other = record.model_copy(update={"scores": moved})
    assert rerunning._differences(record, record, True)[0] == []
    assert len(rerunning._differences(record, other, True)[0]) == len(record.scores)
    assert rerunning._differences(record, other, False)[0] == []


def test_nothing_runs_where_a_layer_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifying, "_missing_layers", lambda: ["no bubblewrap; apt install bubblewrap"])
    monkeypatch.setattr(verifying, "rerun", lambda *_, **__: pytest.fail("it ran"))
    given = Opened(Store(tmp_path), [], tmp_path)
    found = verify(given)  # type: ignore[arg-type]
    assert found.verdict == "not verified here" and "apt install bubblewrap" in found.sentence()


def test_nothing_runs_of_records_that_cannot_be(
    tmp_path: Path, published: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifying, "rerun", lambda *_, **__: pytest.fail("it ran"))
    record = next(r for r in published if r.baseline.name == "bm25" and r.scores)
    store = Store(tmp_path)
    store.add(record.model_copy(update={"sidecar": ""}))
    found = verify(Opened(store, [], tmp_path), trusted=True)  # type: ignore[arg-type]
    assert found.verdict == "refused" and found.trust == "self-reported"


def test_a_case_with_other_parameters_is_not_the_tasks(published: list[Record]) -> None:
    record = next(r for r in published if r.case.name == "46-dense")
    case = record.case.model_copy(update={"params": {**record.case.params, "documents": 3}})
    found = Verification()
    verifying._tasks_of(found, [record.model_copy(update={"case": case})])
    assert [check.name for check in found.checks if check.verdict == "failed"] == ["case"]


@pytest.mark.parametrize(
    ("words", "code"), [(["nowhere"], 2), ([".", "--budget", "long"], 2), ([".", "--cells", "-1"], 2)]
)
def test_what_was_typed_wrongly_is_said(words: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", *words]) == code
    assert capsys.readouterr().err.startswith("harness: ")


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_folder_that_is_no_submission_is_refused(
    form: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["verify", str(tmp_path), *form]) == 1
    assert "submission.json" in capsys.readouterr().out


def test_a_claim_of_too_few_draws_is_reproduced_and_not_replicated(published: list[Record]) -> None:
    from harness.submission.replication import Claim, replications

    plan = plans(published, ("bm25",))[0]
    for fresh, verdict in (([0.5, 0.6, 0.4], "noted"), ([0.5, 0.501, 0.499, 0.5, 0.5, 0.501], "passed")):
        plan = dataclasses.replace(plan, fresh=tuple(range(len(fresh))))
        one = plan.claimed[plan.again]
        made = [one.model_copy(update={"seed": seed}) for seed in plan.fresh]
        found = Verification()
        tested = replications([Claim(plan.label, [0.5, 0.5, 0.501], fresh, 1000)])
        assert rerunning._fresh_draws(found, [plan], made, tested) == ({plan.cell} if verdict == "passed" else set())
        assert [check.verdict for check in found.checks] == [verdict]
