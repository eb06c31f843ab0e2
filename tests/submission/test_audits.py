"""The audits: what they do to a method, and what they make of it. In this process, with a meter that keeps no time."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.bundle import BundleError, read_bundle, write_bundle
from harness.registry import load_registry, read_baseline_file
from harness.submission import audited as audited_module
from harness.submission import listening as listening_module
from harness.submission.audited import Audited, audited
from harness.submission.audits import (
    Audit,
    audits_of,
    caching,
    own_solver,
    required,
    timed_accuracy,
    timed_streams,
    transductive,
    unmeasured,
)
from harness.submission.listening import Listening
from harness.task import Case, InvalidAnswer
from harness.tasks.hnsw.task import Hnsw
from harness.tasks.limit.retrieval import Encoder, Hits, Retriever
from harness.tasks.limit.retrieval.task import Retrieval

SMALL = Case("46-dense", {"kind": "generated", "documents": 46, "pattern": "dense"})


class PlainMeter:
    """Calls what it is given, once."""

    repeat = 0

    @contextmanager
    def phase(self, name: str, items: int = 1, alone: bool = True) -> Iterator[None]:
        yield

    def each(self, name: str, items: Sequence[Any], call: Callable[[Any], object]) -> None:
        for item in items:
            call(item)


class Words(Retriever):
    """Honest: counts shared words."""

    def index(self, documents: Sequence[str]) -> None:
        self.words = [set(text.lower().replace(",", " ").replace(".", " ").split()) for text in documents]

    def best(self, query: str, k: int) -> NDArray[np.int64]:
        wanted = query.lower().strip("?").split()[-1:]
        return np.argsort([-sum(w in words for w in wanted) for words in self.words], kind="stable")[:k]

    def search(self, queries: Sequence[str], k: int) -> Hits:
        ids = np.stack([self.best(query, k) for query in queries])
        return Hits(ids, np.tile(np.arange(k, 0, -1.0), (len(queries), 1)))


class Caching(Words):
    """Keeps its answers."""

    def best(self, query: str, k: int) -> NDArray[np.int64]:
        known: dict[str, NDArray[np.int64]] = self.__dict__.setdefault("known", {})
        if query not in known:
            known[query] = super().best(query, k)
        return known[query]


class TwoFaced(Words):
    """Answers at random when it is timed."""

    def search(self, queries: Sequence[str], k: int) -> Hits:
        if len(queries) > 1:
            return super().search(queries, k)
        return Hits(np.arange(k)[None], np.arange(k, 0, -1.0)[None])


class Buckets(Encoder):
    """Honest: counts letters."""

    def encode(self, texts: Sequence[str]) -> NDArray[Any]:
        return (
            np.array([[text.count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"] for text in texts], float) + 0.1
        )


class Centred(Buckets):
    """Takes away the mean of the batch."""

    def encode(self, texts: Sequence[str]) -> NDArray[Any]:
        vectors = super().encode(texts)
        return vectors - vectors.mean(axis=0) + 1e-6


def audits(method: Any, task: Any = None, case: Case = SMALL) -> dict[str, Audit]:
    around = Audited(task or Retrieval())
    draw = around.draw(case, 0)
    answer = around.drive(method, draw.question, PlainMeter(), None)
    scored = around.score(case, draw, answer)
    plain = around.inner.score(case, around.inner.draw(case, 0), {k: v for k, v in answer.items() if "audit." not in k})
    assert scored.values == plain.values
    found: dict[str, Audit] = {}
    for audit in audits_of(scored.items):
        if audit.name not in found or audit.verdict == "failed":
            found[audit.name] = audit
    return found


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening_module, "SHORTEST_NS", 0)


@pytest.mark.parametrize("method", [Words, Buckets])
def test_an_honest_method_passes(method: type[Any]) -> None:
    found = audits(method())
    assert {audit.verdict for audit in found.values()} == {"passed"}
    assert ("transductive" in found) == issubclass(method, Encoder)


def test_cached_answers_are_told_by_questions_of_another_draw() -> None:
    assert audits(Caching())["caching"].verdict == "failed"


def test_worse_answers_in_the_timed_pass_are_told_by_the_tasks_own_score() -> None:
    found = audits(TwoFaced())
    assert found["timed-accuracy"].verdict == "failed" and found["caching"].verdict != "failed"


def test_vectors_that_depend_on_their_company_are_told() -> None:
    assert audits(Centred())["transductive"].verdict == "failed"


def test_an_index_with_efforts_is_compared_at_each_of_them() -> None:
    class Flat:
        metrics = ("l2", "cosine", "ip")
        efforts = (1, 2)
        default_effort = 2

        def build(self, vectors: NDArray[Any], metric: str) -> None:
            self.vectors = vectors

        def set_effort(self, effort: int) -> None:
            self.effort = effort

        def distances_computed(self) -> None:
            return None

        def search(self, queries: NDArray[Any], k: int) -> NDArray[Any]:
            if len(queries) == 1 and self.effort == 1:
                return np.zeros((1, k), np.uint32) + np.arange(k, dtype=np.uint32)
            near = ((queries[:, None, :] - self.vectors[None]) ** 2).sum(axis=2)
            return np.argsort(near, axis=1)[:, :k].astype(np.uint32)

        def save(self, path: str) -> None:
            Path(path).write_bytes(b"")

    around = Audited(Hnsw())
    rng = np.random.default_rng(0)
    queries = rng.normal(size=(140, 4)).astype(np.float32)
    question = {"vectors": rng.normal(size=(50, 4)).astype(np.float32), "queries": queries, "metric": "l2",
                "timed": True, "audit.queries": rng.normal(size=(200, 4)).astype(np.float32)}  # fmt: skip
    answer = around.drive(Flat(), question, PlainMeter(), None)  # type: ignore[arg-type]
    rows = answer["audit.rows[query[1]]"]
    good = answer["ids"][1, answer["audit.rows[query]"]]
    assert (good == answer["audit.timed[query]|"][:, 0]).all()
    changed = audited_module._put(dict(answer), rows, {"": answer["audit.timed[query[1]]|"]}, "query[1]")
    assert changed is not None and (changed["ids"][0, rows] == np.arange(10)).all()
    assert (changed["ids"][1] == answer["ids"][1]).all()


def test_steps_of_training_are_no_questions_and_are_left_alone() -> None:
    called: list[int] = []
    listening = Listening(PlainMeter(), {"x": np.zeros((3, 2))})
    listening.each("train_step", range(5), called.append)
    assert called == list(range(5)) and listening.arrays({}) == {}


def test_data_that_are_the_same_in_every_draw_are_split() -> None:
    texts = [f"text {i}" for i in range(60)]
    listening = Listening(PlainMeter(), {"queries": texts})
    listening.each("query", texts, lambda text: np.zeros((1, 2)))
    assert len(listening.arrays({})["audit.fresh[query]"]) == 30


def test_an_audited_task_is_found_by_the_names_the_worker_is_told() -> None:
    spec = audited(load_registry().tasks["limit/retrieval"])
    module = __import__(spec.module, fromlist=["x"])
    assert isinstance(getattr(module, spec.class_name)(), Audited)
    assert spec.name == "limit/retrieval.audit"
    with pytest.raises(AttributeError):
        _ = module.nothing_of_the_kind


# The judgements -------------------------------------------------------------------------------------------------------


def test_noise_is_no_cache_and_a_tenth_faster_is_let_pass() -> None:
    rng = np.random.default_rng(0)
    noise = [caching("q", rng.lognormal(10, 0.5, 96).tolist(), rng.lognormal(10, 0.5, 96).tolist()) for _ in range(200)]
    assert [audit.verdict for audit in noise].count("failed") <= 1
    near = [
        caching("q", (1.08 * rng.lognormal(10, 0.2, 96)).tolist(), rng.lognormal(10, 0.2, 96).tolist())
        for _ in range(50)
    ]
    assert [audit.verdict for audit in near].count("failed") <= 1
    far = [
        caching("q", (1.5 * rng.lognormal(10, 0.2, 96)).tolist(), rng.lognormal(10, 0.2, 96).tolist())
        for _ in range(50)
    ]
    assert [audit.verdict for audit in far].count("failed") >= 45


def test_few_pairs_say_nothing() -> None:
    assert caching("q", [2.0] * 5, [1.0] * 5).verdict == "not done"
    assert timed_accuracy("q", [1.0]).verdict == "not done"


def test_one_question_that_ties_otherwise_is_no_loss() -> None:
    assert timed_accuracy("q", [0.5, *[0.0] * 47]).verdict == "passed"
    assert timed_accuracy("q", [0.5, 1.0] * 24).verdict == "failed"


def test_vectors_that_are_no_numbers_fail() -> None:
    assert transductive("documents", [0.0, float("nan")]).verdict == "failed"
    assert transductive("documents", [0.0, 1e-6]).verdict == "passed"


def test_what_was_not_looked_at_is_said() -> None:
    assert {(audit.name, audit.verdict) for audit in audits_of({})} == {
        ("caching", "not done"),
        ("timed-accuracy", "not done"),
    }


def test_single_questions_that_are_claimed_to_be_timed_are_told_from_steps_of_training() -> None:
    class Timed(NamedTuple):
        name: str
        n: int = 133

    class Claimed(NamedTuple):
        latency: list[Timed]

    claimed: Any = [Claimed([Timed("query"), Timed("query[8]"), Timed("train_step"), Timed("predict", 10)])]
    assert timed_streams("hnsw", "subspace-2", claimed) == ["query", "query[8]"]
    assert timed_streams("length", "scan-l22-published", claimed) == []


PAIRED = {"audit.fresh[query]": np.full(40, 2e6), "audit.again[query]": np.full(40, 2e6)}
ACCURATE = {"audit.lost[query]": np.zeros(48)}


def verdicts(audits: Sequence[Audit]) -> set[tuple[str, str]]:
    return {(audit.name, audit.verdict) for audit in audits}


def test_an_audit_that_is_not_there_is_failed_where_questions_are_claimed_to_be_timed() -> None:
    assert verdicts(required(audits_of({}), [])) == {("caching", "not done"), ("timed-accuracy", "not done")}
    assert verdicts(required(audits_of({}), ["query"])) == {("caching", "failed"), ("timed-accuracy", "failed")}
    assert verdicts(required(audits_of(PAIRED | ACCURATE), ["query"])) == {
        ("caching", "passed"),
        ("timed-accuracy", "passed"),
    }
    assert ("caching", "failed") in verdicts(required(audits_of(PAIRED | ACCURATE), ["query", "query[8]"]))


@pytest.mark.parametrize(
    ("phases", "verdict"),
    [
        ({"audit.query": (80, 700_000_000)}, set()),
        ({}, {("caching", "failed")}),
        ({"audit.query": (80, 100_000_000)}, {("caching", "failed")}),
        ({"audit.query": (20, 700_000_000)}, {("caching", "failed")}),
        ({"query.single": (80, 700_000_000)}, {("caching", "failed")}),
    ],
)
def test_pairs_need_a_phase_that_was_stamped_outside_and_is_long_enough(
    phases: dict[str, tuple[int, int]], verdict: set[tuple[str, str]]
) -> None:
    assert verdicts(unmeasured(PAIRED, phases)) == verdict


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("audit.fresh[query]", np.zeros(100_000)),
        ("audit.rows[query]", np.array([-1])),
        ("audit.rows[query]", np.zeros(0, int)),
        ("audit.rows[query]", np.array([0.5])),
        ("audit.off[queries]", "text"),
        ("audit.timed[query]|", np.zeros((5000, 2))),
    ],
)
def test_arrays_that_no_audit_leaves_are_a_wrong_answer(name: str, array: Any) -> None:
    around = Audited(Retrieval())
    draw = around.draw(SMALL, 0)
    answer = around.drive(Words(), draw.question, PlainMeter(), None)
    with pytest.raises(InvalidAnswer, match=re.escape(name)):
        around.score(SMALL, draw, {**answer, name: array})


def test_a_manifest_that_is_too_large_is_no_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bundle(tmp_path, {"a": 1, "b": "x" * 200})
    assert read_bundle(tmp_path)["a"] == 1
    monkeypatch.setattr("harness.bundle.MAX_VALUES", 1)
    with pytest.raises(BundleError, match="2 values"):
        read_bundle(tmp_path)
    monkeypatch.setattr("harness.bundle.MAX_MANIFEST_BYTES", 100)
    with pytest.raises(BundleError, match=r"bundle\.json has"):
        read_bundle(tmp_path)


def test_vectors_of_tokens_that_differ_in_the_timed_pass_are_told() -> None:
    texts = [f"text {i}" for i in range(40)]
    vectors = np.arange(1, 1 + 2 * (3 * 40)).reshape(-1, 2) % 7 + 1.0
    offsets = np.cumsum([0, *(2 + 2 * (i % 2) for i in range(40))])

    class Side(NamedTuple):
        vectors: NDArray[Any]

    for wrong in (False, True):
        listening = Listening(PlainMeter(), {"queries": texts})

        def one(text: str, wrong: bool = wrong) -> Side:
            i = texts.index(text)
            of = vectors[offsets[i] : offsets[i + 1]]
            return Side(of[::-1] * [1.0, -1.0] if wrong else of)

        listening.each("query", texts, one)
        seen = listening.arrays({"queries": vectors, "queries_offsets": offsets})
        told = {audit.name: audit.verdict for audit in audits_of({k: v for k, v in seen.items() if "off[" in k})}
        assert told["timed-accuracy"] == ("failed" if wrong else "passed")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("from harness.tasks.limit.retrieval.generate import generate", "generate"),
        ("from harness.tasks.limit.retrieval import task", "the task itself"),
        ("import harness.tasks.limit.retrieval.task as t", "the task itself"),
        ("__import__('harness.tasks.limit.retrieval.task')", "__import__"),
        ("from harness.tasks.limit.retrieval.ranking import best_in_blocks", ""),
        ("model.eval()", ""),
    ],
)
def test_imports_of_what_knows_the_answers_are_told(tmp_path: Path, line: str, told: str) -> None:
    path = tmp_path / "method.py"
    path.write_text(
        textwrap.dedent(f"""
        from harness.tasks.limit.retrieval import Retriever
        class Method(Retriever):
            def load(self):
                {line}
    """)
    )
    tasks = load_registry().tasks
    (row,) = read_baseline_file(path, tasks)
    found = own_solver(row.sources, tasks["limit/retrieval"])
    assert [told in audit.evidence for audit in found] == ([True] if told else [])


def test_no_array_that_is_not_the_answers_is_put_in() -> None:
    answer: Mapping[str, Any] = {"other": np.zeros((3, 4))}
    assert audited_module._put(dict(answer), np.array([0]), {"": np.zeros((1, 1, 9))}, "query") is None


def test_vectors_of_the_timed_pass_are_its_accuracy_where_nothing_else_is_timed() -> None:
    seen = {"audit.off[timed query]": np.array([0.0, 0.5]), "audit.off[documents]": np.zeros(3)}
    told = {audit.name: audit.verdict for audit in audits_of(seen)}
    assert told == {"timed-accuracy": "failed", "transductive": "passed", "caching": "not done"}
