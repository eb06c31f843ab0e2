"""Awkward questions: what a user's own data hold sooner or later, put to a method in a process of its own."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from harness.assemble import read_end
from harness.bundle import BundleError, read_bundle, sealed_beside, write_bundle
from harness.executors.local import LocalExecutor
from harness.orders import server_of, spec_of
from harness.plan import Cell, Request, make_cell
from harness.registry import BaselineSpec
from harness.task import Answer, Case, Draw, InvalidAnswer, Question, Task

FEW = 12
"""Texts of each part that a heavy method is asked about."""
LONG = "A sentence that goes on and on. " * 3_000
STRANGE = "\U0001f9d1‍\U0001f680 naïve Ωμέγα 東京 עברית \u202e\x00\x07 \ufeff"
_MEMORY = 1 << 33


class Asked(NamedTuple):
    """What came of a question."""

    status: str
    reason: str
    digest: str = ""
    """Of the answer."""


@dataclass(frozen=True)
class Awkward:
    """One question; `plain_question` makes one that is not awkward."""

    what: str
    question: Question
    sealed: Question
    whole: bool
    """As many items as before, so that the answer can be scored."""


def plain_question(draw: Draw, few: bool) -> Awkward:
    """What the draw asks, or, of texts, only some of it."""
    question = {n: v[:FEW] if few and _is_texts(v) else v for n, v in draw.question.items()}
    return Awkward("as it is", question, dict(draw.sealed), whole=not few)


def awkward_questions(draw: Draw, few: bool, in_parts: bool) -> Iterator[Awkward]:
    """What this draw's texts and vectors can be turned into; nothing, where it has neither."""
    plain = plain_question(draw, few)
    question, sealed = plain.question, plain.sealed
    texts = any(_is_texts(v) for v in question.values())
    vectors = any(_is_vectors(n, v) for n, v in question.items())
    for what, text, vector in _TWISTS:
        if (texts and text) or (vectors and vector):
            twisted = [
                {n: text(v) if text and _is_texts(v) else vector(v) if vector and _is_vectors(n, v) else v
                 for n, v in of.items()}
                for of in (question, sealed)
            ]  # fmt: skip
            yield Awkward(what, twisted[0], twisted[1], whole=not few)
    lengths = [len(v) for v in question.values() if isinstance(v, list | np.ndarray)]
    if (texts or vectors) and not in_parts and len(set(lengths)) == len(lengths):
        one = {n: v[:1] if isinstance(v, list | np.ndarray) else v for n, v in question.items()}
        yield Awkward("one item of each", one, sealed, whole=False)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 1 and all(isinstance(v, str) for v in value)


def _is_vectors(name: str, value: Any) -> bool:
    return name in ("vectors", "queries") and isinstance(value, np.ndarray) and value.ndim == 2 and len(value) > 1


def _first(value: Any, item: Any) -> Any:
    changed = list(value) if isinstance(value, list) else np.array(value)
    changed[0] = item
    return changed


_TWISTS: tuple[tuple[str, Any, Any], ...] = (
    ("an empty text", lambda v: _first(v, ""), None),
    (f"a text of {len(LONG):,} characters", lambda v: _first(v, LONG), None),
    ("emoji and other scripts", lambda v: _first(v, STRANGE), None),
    ("the same text twice", lambda v: _first(v, v[1]), None),
    ("a vector of zeros", None, lambda v: _first(v, 0)),
    ("the same vector many times", None, lambda v: v[np.maximum(np.arange(len(v)) - len(v) // 2, 0)]),
    ("very large numbers", None, lambda v: _first(v, v[0] * 1e6)),
)  # fmt: skip


class Asker:
    """Puts questions to rows, one process each, and reads what came of it. A context manager."""

    def __init__(self, request: Request, case: Case, scratch: Path) -> None:
        self.task = request.tasks[0]
        self._task: Task[Any] = getattr(import_module(self.task.module), self.task.class_name)()
        self._request, self._scratch, self._case = request, scratch, case
        self.draw = self._task.draw(case, 0)
        self._executor = LocalExecutor(request.threads)
        self._made = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.close()

    def ask(self, row: BaselineSpec, asked: Awkward, seconds: float) -> Asked:
        """Ask it, and score the answer to a whole question, which tells whether its shape is right."""
        cell = make_cell(self.task, self._case, row, 0, self._request)
        question = self._folder()
        write_bundle(question, asked.question)
        write_bundle(sealed_beside(question), asked.sealed)
        prepared, made = "", {}
        try:
            if cell.needs:
                status, reason, place = self._run(cell.needs, question, "", seconds)
                if status != "ok":
                    return Asked(status, reason)
                prepared = str(place / "answer")
                made = read_bundle(place / "answer") if self.task.sealed else {}
            status, reason, place = self._run(cell, question, prepared, seconds)
            if status != "ok":
                return Asked(status, reason)
            answer = {**read_bundle(place / "answer"), **made}
        except BundleError as error:
            return Asked("failed", f"wrong answer: {error}")
        digest = _digest(answer)
        return self._score(asked, answer, digest) if asked.whole else Asked("ok", "", digest)

    def _score(self, asked: Awkward, answer: Answer, digest: str) -> Asked:
        try:
            draw = replace(self.draw, question=asked.question, sealed=asked.sealed)
            self._task.score(self._case, draw, answer)
        except InvalidAnswer as error:
            return Asked("failed", f"wrong answer: {error}", digest)
        return Asked("ok", "", digest)

    def _run(self, cell: Cell, question: Path, prepared: str, seconds: float) -> tuple[str, str, Path]:
        place = self._folder()
        place.mkdir()
        spec: Mapping[str, Any] = {**spec_of(cell, question, (seconds, _MEMORY), ""), "prepared": prepared}
        (place / "spec.json").write_text(json.dumps(spec), "utf-8")
        self._executor.start(place, server_of(cell, self._request))
        end = time.monotonic() + 2 * seconds + 60  # the keeper ends it before
        while time.monotonic() < end:
            events = self._executor.wait(1.0)
            if any(event["event"] == "server-lost" or event.get("cell") == str(place) for event in events):
                break
        finished = read_end(cell, place)
        return finished.status, finished.reason, place

    def _folder(self) -> Path:
        self._made += 1
        return self._scratch / f"asked-{self._made}"


def _digest(answer: Answer) -> str:
    """SHA-256 of everything that was answered, to the bit."""
    digest = hashlib.sha256()
    for name, array in sorted(answer.items()):
        whole = np.ascontiguousarray(array)
        digest.update(f"{name} {whole.dtype.str} {whole.shape} ".encode() + whole.tobytes())
    return digest.hexdigest()
