"""Any task, driven as it drives itself, with a closer look at the method: what the audits run in the child and judge.

The worker and the judge are told a task by its module and class. `audited(task)` names this module, and as class both
names of the task proper; what comes back asks that task for everything, and adds arrays whose names begin with `audit.`
to its answer, which become items of the record. Nothing of the worker changes, and the box holds as it always does.
"""

from __future__ import annotations

import importlib
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.submission.company import company
from harness.submission.listening import Listening
from harness.submission.strangers import PAIRS, PREFIX, apart, strangers
from harness.task import Answer, Baseline, Case, Draw, InvalidAnswer, Meter, Question, Scored, Task

if TYPE_CHECKING:
    from harness.registry import TaskSpec

MOST_ARRAYS = 300
"""Arrays of the audits that one answer may hold: each stream that is timed has about four."""
REFERENCE = "reference"
"""Items that others are told as a share of (see `harness.findings`): no method's."""


def audited(task: TaskSpec) -> TaskSpec:
    """The same task with the audits around it. Its cells have keys of their own, and share nothing with others."""
    return replace(task, name=f"{task.name}.audit", module=__name__, class_name=f"{task.module}:{task.class_name}")


def __getattr__(name: str) -> Callable[[], Audited]:
    module, colon, task = name.partition(":")
    if not colon:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return partial(Audited, getattr(importlib.import_module(module), task)())


class Audited(Task[Baseline]):
    """A task around another one."""

    def __init__(self, inner: Task[Any]) -> None:
        self.inner = inner

    def draw(self, case: Case, seed: int) -> Draw:
        """The task's own draw, and beside each part of the question some of another secret draw's."""
        draw, other = self.inner.draw(case, seed), self.inner.draw(case, secrets.randbits(128))
        return replace(
            draw,
            question={**draw.question, **strangers(draw.question, other.question)},
            sealed={**draw.sealed, **strangers(draw.sealed, other.sealed)} if draw.sealed else draw.sealed,
        )

    def prepare(self, method: Baseline, question: Question, meter: Meter) -> Answer:
        listening = Listening(meter, question)
        prepared = dict(self.inner.prepare(method, listening.question, listening))
        if self.inner.sealed:
            return prepared  # it hands on its artifact, and nothing else
        arrays = listening.arrays(prepared)
        arrays.update(company(method, listening.question, prepared))
        return {**prepared, **arrays}

    def drive(self, method: Baseline, question: Question, meter: Meter, prepared: Answer | None) -> Answer:
        listening = Listening(meter, question)
        own, before = apart(prepared) if prepared is not None else (None, {})
        answer = dict(self.inner.drive(method, listening.question, listening, own))
        arrays = {**before, **listening.arrays(answer)}
        if prepared is None:
            arrays.update(company(method, listening.question, {}))
        return {**answer, **arrays}

    def score(self, case: Case, draw: Draw, answer: Answer) -> Scored:
        """As the task scores, with what the audits saw as further items."""
        own, seen = apart(answer)
        _check(seen)
        scored = self.inner.score(case, draw, own)
        items = dict(scored.items)
        for name, array in seen.items():
            if name.startswith((PREFIX + "fresh[", PREFIX + "again[", PREFIX + "off[")):
                items[name] = np.asarray(array, np.float64).ravel()
        for stream in sorted(name.partition("[")[2][:-1] for name in seen if name.startswith(PREFIX + "rows[")):
            lost = self._lost(case, draw, own, scored, stream, seen)
            if lost is not None:
                items[f"{PREFIX}lost[{stream}]"] = lost
        return replace(scored, items=items)

    def _lost(
        self, case: Case, draw: Draw, answer: Answer, scored: Scored, stream: str, seen: Mapping[str, NDArray[Any]]
    ) -> NDArray[np.float64] | None:
        """What each question loses whose timed answer stands in the place of the scored one."""
        rows = np.asarray(seen[f"{PREFIX}rows[{stream}]"]).ravel()
        values = {name.rpartition("|")[2]: array for name, array in seen.items()
                  if name.startswith(f"{PREFIX}timed[{stream}]|")}  # fmt: skip
        changed = _put(dict(answer), rows, values, stream)
        if changed is None:
            return None
        try:
            again = self.inner.score(case, draw, changed)
        except InvalidAnswer:
            return np.ones(len(rows))
        main = _main(self.inner)
        for name in sorted(scored.items, key=lambda name: (name == REFERENCE, name != main, name)):
            before, after = scored.items[name], again.items.get(name)
            if after is None or len(after) != len(before):
                continue
            lost = np.asarray(before, np.float64) - np.asarray(after, np.float64)
            if lost.any():
                same = max(0, len(rows) - int(np.count_nonzero(lost)))
                return np.concatenate([lost[lost != 0], np.zeros(same)])
            break
        return np.zeros(len(rows))


def _main(task: Task[Any]) -> str:
    return next((score.name for score in task.scores if score.main), "")


def _check(seen: Mapping[str, Any]) -> None:
    """Refuse what no audit leaves: the child writes it, and all of it is read here. Raises InvalidAnswer."""
    if len(seen) > MOST_ARRAYS:
        raise InvalidAnswer(f"{len(seen)} arrays of the audits, more than {MOST_ARRAYS}")
    for name, array in seen.items():
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
            raise InvalidAnswer(f"{name!r} is no array of numbers")
        rows = array.shape[0] if array.ndim else 0
        flat = not name.startswith(PREFIX + "timed[")
        if rows > PAIRS or (flat and array.size > PAIRS):
            raise InvalidAnswer(f"{name!r} has {rows} rows, more than {PAIRS}")
        places = name.startswith(PREFIX + "rows[")
        if places and (array.dtype.kind not in "iu" or not array.size or int(array.min()) < 0):
            raise InvalidAnswer(f"{name!r} holds no places of questions")


# What the judge makes of it -------------------------------------------------------------------------------------------


def _put(
    answer: dict[str, Any], rows: NDArray[Any], values: Mapping[str, NDArray[Any]], stream: str
) -> dict[str, Any] | None:
    """The answer with timed results in the place of the scored ones; None if no array of it fits them."""
    fits = False
    for key, stacked in values.items():
        if len(stacked) != len(rows):
            raise InvalidAnswer(f"the timed answers of {stream} are {len(stacked)}, not {len(rows)}")
        for name, array in answer.items():
            if (key and name != key) or not isinstance(array, np.ndarray) or _kind(array) != _kind(stacked):
                continue
            changed = _with_rows(array, rows, stacked, _level(answer, stream))
            if changed is not None:
                answer[name], fits = changed, True
                break
    return answer if fits else None


def _kind(array: NDArray[Any]) -> str:
    return "i" if array.dtype.kind == "u" else array.dtype.kind


def _with_rows(
    array: NDArray[Any], rows: NDArray[Any], stacked: NDArray[Any], level: int | None
) -> NDArray[Any] | None:
    """`array` (n, ...), or one layer of (efforts, n, ...), with single results (rows, 1, ...) in its rows."""
    single = stacked[:, 0] if stacked.ndim > 1 and stacked.shape[1] == 1 else stacked
    changed = np.array(array)
    if array.ndim == single.ndim and array.shape[1:] == single.shape[1:] and rows.max() < len(array):
        changed[rows] = single
    elif level is not None and array.ndim == single.ndim + 1 and array.shape[2:] == single.shape[1:] \
            and rows.max() < array.shape[1]:  # fmt: skip
        changed[level, rows] = single
    else:
        return None
    return changed


def _level(answer: Mapping[str, Any], stream: str) -> int | None:
    """Which layer of an answer at several efforts a stream is of: `query[64]`, or the default one's `query`."""
    try:
        efforts = [int(e) for e in np.asarray(answer["efforts"]).ravel()]
        _, bracket, effort = stream.partition("[")
        return efforts.index(int(effort[:-1]) if bracket else int(np.asarray(answer["default"])))
    except (KeyError, ValueError, TypeError):
        return None
