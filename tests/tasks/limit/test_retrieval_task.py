"""`limit/retrieval/task.py`: draws, protocol, scores and the search for the critical n, on the real generator."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.errors import DataError
from harness.task import Answer, Baseline, Case, InvalidAnswer, Outcome, Unsupported
from harness.tasks.limit.retrieval import task as module
from harness.tasks.limit.retrieval.interface import Encoder, Hits, Retriever, TokenEncoder
from harness.tasks.limit.retrieval.task import SAMPLE, Retrieval, critical_n, sampled

TASK = Retrieval()
CASES = {case.name: case for case in Retrieval.cases}
SMALL = CASES["46-dense"]
CRITICAL = replace(CASES["critical-4"], params={"kind": "critical", "n": 5, "draws": 3})


class Recording:
    """A meter that measures nothing and remembers what was asked of it."""

    def __init__(self, repeat: int = 0) -> None:
        self.repeat = repeat
        self.phases: list[tuple[str, int]] = []
        self.calls: list[tuple[str, int]] = []

    @contextmanager
    def phase(self, name: str, items: int = 1) -> Iterator[None]:
        self.phases.append((name, items))
        yield

    def each(self, name: str, items: Sequence[Any], call: Callable[[Any], object]) -> None:
        self.calls.append((name, len(items)))
        for item in items:
            call(item)


class Reader(Retriever):
    """Finds the attribute by reading: the words of LIMIT pose no difficulty, its combinations do."""

    def index(self, documents: Sequence[str]) -> None:
        self.documents = [text.removesuffix(".") for text in documents]

    def search(self, queries: Sequence[str], k: int) -> Hits:
        wanted = [query.removeprefix("Who likes ").removesuffix("?") for query in queries]
        found = [[i for i, text in enumerate(self.documents) if _lists(text, w)][:k] for w in wanted]
        width = max(1, *map(len, found))
        ids = np.array([row + [-1] * (width - len(row)) for row in found])
        return Hits(ids, np.ones(ids.shape))


def _lists(text: str, attribute: str) -> bool:
    liked = text.split(" likes ", 1)[1]
    return re.search(rf"(^|, | and ){re.escape(attribute)}($|, | and )", liked) is not None


class Hashed(Encoder):
    """Each word is a fixed random vector, a text their sum."""

    shared = ("kept",)
    d: int = 24
    kept: int = 24

    def encode(self, texts: Sequence[str]) -> NDArray[Any]:
        return np.stack([sum(tokens) for tokens in self.words(texts)])

    def words(self, texts: Sequence[str]) -> list[list[NDArray[Any]]]:
        split = [text.replace(",", " ").rstrip(".?").split() for text in texts]
        return [[np.random.default_rng(list(w.encode())).standard_normal(self.d, np.float32) for w in t] for t in split]

    def reduce(self, vectors: NDArray[Any]) -> NDArray[Any]:
        return vectors[:, : self.kept]


class HashedTokens(TokenEncoder):
    def encode_tokens(self, texts: Sequence[str]) -> Sequence[NDArray[Any]]:
        return [np.stack(tokens) for tokens in Hashed().words(texts)]


def run(method: Any, case: Case, seed: int = 0, prepare: bool = False) -> tuple[Answer, Recording]:
    meter = Recording()
    question = TASK.draw(case, seed).question
    prepared = TASK.prepare(method, question, meter) if prepare else None
    return TASK.drive(method, question, meter, prepared), meter


# Declarations ---------------------------------------------------------------------------------------------------------


def test_every_declaration_is_a_literal() -> None:
    """The registry reads them from the source, without importing it."""
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Retrieval")
    for statement in body:
        if isinstance(statement, ast.AnnAssign):
            calls = [n for n in ast.walk(statement.value) if isinstance(n, ast.Call)] if statement.value else []
            assert {c.func.id for c in calls if isinstance(c.func, ast.Name)} <= {"Case", "Score"}
            for call in calls:
                for value in [*call.args, *(keyword.value for keyword in call.keywords)]:
                    ast.literal_eval(value)


def test_smoke_is_the_small_case_for_everyone() -> None:
    assert [(c.name, c.light, c.heavy) for c in Retrieval.cases if "smoke" in (c.light, c.heavy)] == [
        ("46-dense", "smoke", "smoke")
    ]


def test_recall_at_2_is_the_main_score() -> None:
    assert [score.name for score in Retrieval.scores if score.main] == ["recall@2"]


# Draws ----------------------------------------------------------------------------------------------------------------


def test_a_draw_is_a_pure_function_of_case_and_seed() -> None:
    first, again, other = TASK.draw(SMALL, 7), TASK.draw(SMALL, 7), TASK.draw(SMALL, 8)
    assert first.question == again.question
    assert first.digest == again.digest != other.digest
    assert len(first.question["documents"]) == 46
    assert len(first.question["queries"]) == 1000


def test_the_question_holds_texts_and_offsets_only() -> None:
    assert set(TASK.draw(SMALL, 0).question) == {"documents", "queries"}
    assert set(TASK.draw(CRITICAL, 0).question) == {"documents", "queries", "document_offsets", "query_offsets"}


@pytest.mark.parametrize("case", [SMALL, CRITICAL], ids=lambda case: case.name)
def test_the_oracle_is_perfect(case: Case) -> None:
    draw = TASK.draw(case, 3)
    answer = TASK.oracle(case, draw)
    scored = TASK.score(case, draw, answer)
    assert scored.values == dict.fromkeys(scored.values, 1.0)


@pytest.mark.parametrize("case", [SMALL, CRITICAL], ids=lambda case: case.name)
def test_reading_the_texts_answers_every_query(case: Case) -> None:
    """The truth is in the texts, not only in the judge's arrays."""
    answer, _ = run(Reader(), case)
    scored = TASK.score(case, TASK.draw(case, 0), answer)
    assert scored.values["recall@2"] == 1.0


def test_draws_of_a_critical_case_are_independent() -> None:
    draw = TASK.draw(CRITICAL, 0)
    assert draw.question["document_offsets"].tolist() == [0, 5, 10, 15]
    assert draw.question["query_offsets"].tolist() == [0, 10, 20, 30]
    parts = [draw.question["documents"][i : i + 5] for i in (0, 5, 10)]
    assert len({tuple(part) for part in parts}) == 3


def test_unknown_parameters_are_named() -> None:
    with pytest.raises(DataError, match="'odd' of limit/retrieval has no parameter 'kind'"):
        TASK.draw(Case("odd"), 0)
    with pytest.raises(DataError, match="unknown kind 'x'"):
        TASK.draw(Case("odd", {"kind": "x"}), 0)


# Protocol -------------------------------------------------------------------------------------------------------------


def test_the_first_process_is_scored_and_timed() -> None:
    answer, meter = run(Hashed(), SMALL)
    assert meter.phases == [("index", 46), ("search", 1000)]
    assert meter.calls == [("query", SAMPLE)]
    assert answer["ids"].shape == answer["scores"].shape == (1000, 46)


def test_a_further_process_is_run_for_its_latency_only() -> None:
    meter = Recording(repeat=2)
    assert TASK.drive(Hashed(), TASK.draw(SMALL, 0).question, meter, None) == {}
    assert meter.phases == [("index", 46)]
    assert meter.calls == [("query", SAMPLE)]
    preparing = Recording(repeat=2)
    assert TASK.prepare(Hashed(), TASK.draw(SMALL, 0).question, preparing) == {}
    assert (preparing.phases, preparing.calls) == ([], [("query", SAMPLE)])


@pytest.mark.parametrize("case", [SMALL, CRITICAL], ids=lambda case: case.name)
@pytest.mark.parametrize("method", [Hashed(), HashedTokens()], ids=lambda method: type(method).__name__)
def test_a_shared_preparation_changes_no_answer(case: Case, method: Baseline) -> None:
    plain, _ = run(method, case)
    shared, meter = run(method, case, prepare=True)
    np.testing.assert_array_equal(plain["ids"], shared["ids"])
    np.testing.assert_array_equal(plain["scores"], shared["scores"])
    assert [name for name, _ in meter.phases[:2]] == ["encode_documents", "encode_queries"]


def test_a_preparation_is_float32_and_outlives_the_reduction() -> None:
    method = Hashed()
    prepared = TASK.prepare(method, TASK.draw(SMALL, 0).question, Recording())
    assert {name: (a.dtype.name, a.shape) for name, a in prepared.items()} == {
        "documents": ("float32", (46, 24)), "queries": ("float32", (1000, 24))
    }  # fmt: skip
    method.kept = 3
    answer = TASK.drive(method, TASK.draw(SMALL, 0).question, Recording(), prepared)
    method.d = 3
    assert answer["scores"].max() <= 1 + 1e-6


def test_a_retriever_has_nothing_to_share() -> None:
    with pytest.raises(Unsupported, match="only an Encoder or a TokenEncoder"):
        run(Reader(), SMALL, prepare=True)


def test_an_answer_that_is_no_hits_is_refused() -> None:
    class Odd(Reader):
        def search(self, queries: Sequence[str], k: int) -> Hits:
            return None  # type: ignore[return-value]

    with pytest.raises(InvalidAnswer, match=r"must return Hits\(ids, scores\); it returned NoneType"):
        run(Odd(), SMALL)


def test_the_sample_is_spread_over_all_queries() -> None:
    positions = sampled(1000)
    assert (len(positions), len(set(positions)), positions[0]) == (SAMPLE, SAMPLE, 0)
    assert set(np.diff(positions)) == {7, 8}
    assert len(sampled(3)) == SAMPLE
    assert set(sampled(3)) == {0, 1, 2}


# Scores ---------------------------------------------------------------------------------------------------------------


def test_items_are_per_query_and_average_to_the_values() -> None:
    answer, _ = run(Hashed(), SMALL)
    scored = TASK.score(SMALL, TASK.draw(SMALL, 0), answer)
    assert set(scored.values) == {score.name for score in Retrieval.scores}
    assert scored.values["recall@2"] < scored.values["recall@10"] < scored.values["recall@100"] == 1.0
    for name, items in scored.items.items():
        assert items.shape == (1000,)
        assert scored.values[name] == pytest.approx(items.mean())


def test_items_of_a_critical_case_are_per_draw() -> None:
    answer, meter = run(Hashed(), CRITICAL)
    scored = TASK.score(CRITICAL, TASK.draw(CRITICAL, 0), answer)
    assert meter.phases == [("draws", 3)]
    assert {name: items.shape for name, items in scored.items.items()} == {"recall@2": (3,)}


def test_hits_of_a_neighbouring_draw_are_refused() -> None:
    answer, _ = run(Reader(), CRITICAL)
    answer["ids"][4, 0] = 12
    with pytest.raises(InvalidAnswer, match="query 4 names a document of another draw"):
        TASK.score(CRITICAL, TASK.draw(CRITICAL, 0), answer)


def test_an_empty_answer_is_refused() -> None:
    with pytest.raises(InvalidAnswer, match="no ids and no scores"):
        TASK.score(SMALL, TASK.draw(SMALL, 0), {})


# The critical n -------------------------------------------------------------------------------------------------------


def searched(recall: Callable[[int], float], status: str = "ok") -> tuple[list[Outcome], list[int]]:
    """Follow `refine` from the start case to its end."""
    outcomes, tried = [Outcome(SMALL, 0, "ok", {"recall@2": 0.1})], []
    cases = [CASES["critical-4"]]
    while cases:
        n = int(str(cases[0].params["n"]))
        tried.append(n)
        for seed, luck in enumerate((0.02, -0.02)):
            outcomes.append(Outcome(cases[0], seed, status, {"recall@2": recall(n) + luck}))
        cases = list(TASK.refine(outcomes))
    return outcomes, tried


@pytest.mark.parametrize("true_n", range(3, 32))
def test_the_critical_n_is_found_on_the_mean_over_seeds(true_n: int) -> None:
    outcomes, tried = searched(lambda n: 0.9 if n <= true_n else 0.89)
    assert critical_n(outcomes).text() == str(true_n)
    assert len(tried) <= 10
    assert len(set(tried)) == len(tried)


def test_a_critical_n_out_of_reach_is_shown_as_such() -> None:
    assert critical_n(searched(lambda n: 0.5)[0]).text() == "< 3"
    assert critical_n(searched(lambda n: 1.0)[0]).text() == ">= 32"


def test_a_probe_that_failed_ends_the_search() -> None:
    outcomes, tried = searched(lambda n: 1.0, status="timeout")
    assert tried == [4]
    assert critical_n(outcomes).text() == "unknown"


def test_a_refined_case_can_be_drawn_and_stays_with_its_group() -> None:
    case = next(iter(TASK.refine([Outcome(CASES["critical-4"], 0, "ok", {"recall@2": 0.2})])))
    assert (case.name, case.only, case.params["draws"]) == ("critical-3", "critical", 20)
    assert len(TASK.draw(case, 0).question["queries"]) == 60


# The user's own data --------------------------------------------------------------------------------------------------


def folder(where: Path) -> Path:
    where.mkdir()
    rows = {
        "corpus": [{"_id": f"p{i}", "title": "", "text": f"P{i} likes {'Elm, ' * i}Oak."} for i in range(3)],
        "queries": [{"_id": "q1", "text": "Who likes Oak?"}, {"_id": "q2", "text": "Who likes Fir?"}],
        "qrels": [{"query-id": "q1", "corpus-id": f"p{i}", "score": i} for i in range(3)],
    }
    for name, entries in rows.items():
        (where / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in entries), encoding="utf-8")
    return where


def test_a_folder_becomes_one_case_of_its_name(tmp_path: Path) -> None:
    (case,) = TASK.data_cases(str(folder(tmp_path / "mine")))
    assert (case.name, case.params["kind"]) == ("mine", "folder")
    draw = TASK.draw(case, 0)
    assert draw.digest == case.params["digest"]
    scored = TASK.score(case, draw, TASK.oracle(case, draw))
    assert scored.values == dict.fromkeys(scored.values, 1.0)
    assert scored.notes == ["1 queries without a relevant document were left out"]


def test_a_folder_that_changed_is_another_case(tmp_path: Path) -> None:
    where = folder(tmp_path / "mine")
    (case,) = TASK.data_cases(str(where))
    corpus = where / "corpus.jsonl"
    corpus.write_text(corpus.read_text(encoding="utf-8").replace("Oak", "Ash"), encoding="utf-8")
    with pytest.raises(DataError, match="has changed since"):
        TASK.draw(case, 0)


def test_a_folder_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no"):
        list(TASK.data_cases(str(tmp_path)))
