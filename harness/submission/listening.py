"""A meter for audits: what timed calls return is kept, and fresh and repeated questions are timed in turns."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from time import perf_counter_ns as _clock  # before any code of the method could put another one in its place
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from harness.submission.company import far, off
from harness.submission.strangers import FEWEST, PAIRS, PREFIX, SHORTEST_NS, apart, is_table, is_texts, some
from harness.task import Answer, Meter, Question

LONGEST_NS = 5_000_000_000
"""How long the pairs may take."""
LISTENED = 48
"""Timed calls whose results are kept, chosen where the method cannot know which."""
ItemT = TypeVar("ItemT")
Arrays = dict[str, NDArray[Any]]


class Listening:
    """A meter that passes everything on, keeps some of what timed calls return, and times repetitions beside."""

    def __init__(self, meter: Meter, question: Question) -> None:
        self._meter = meter
        self.repeat = meter.repeat
        self.question, strangers = apart(question)
        self._strangers = {name[len(PREFIX) :]: list(range(len(part))) for name, part in strangers.items()}
        self._asked = strangers
        self._seen: Arrays = {}
        self._vectors: dict[str, dict[int, NDArray[Any]]] = {}
        """What timed encoders return, by stream and row."""

    def phase(self, name: str, items: int = 1, alone: bool = True) -> AbstractContextManager[None]:
        return self._meter.phase(name, items, alone)

    def each(self, name: str, items: Sequence[ItemT], call: Callable[[ItemT], object]) -> None:
        place = _place(items, self.question)
        if place is None:  # not questions of the task's: steps of training, say
            self._meter.each(name, items, call)
            return
        part, rows = place
        self._repetitions(name, items, call, part)
        wanted = {id(items[i]): rows[i] for i in some(len(items), LISTENED)}
        kept: dict[int, dict[str, NDArray[Any]]] = {}

        def listening(item: ItemT) -> object:
            value = call(item)
            row = wanted.get(id(item))
            if row is not None:
                kept[row] = {key: np.array(array) for key, array in _named_arrays(value)}
            return value

        self._meter.each(name, items, listening)
        self._keep(name, kept)

    def arrays(self, answer: Answer) -> Arrays:
        """What was seen, and how far vectors among it lie from those of the answer."""
        found = dict(self._seen)
        vectors, offsets = answer.get("queries"), answer.get("queries_offsets")
        for stream, timed in self._vectors.items():
            if not isinstance(vectors, np.ndarray) or vectors.ndim != 2:
                continue
            rows = sorted(timed)
            if offsets is None and all(timed[row].size == vectors.shape[1] for row in rows):
                stacked = np.stack([timed[row].ravel() for row in rows])
                found[f"{PREFIX}off[timed {stream}]"] = off(stacked, vectors[rows])
            elif offsets is not None:  # as many vectors as a text has tokens
                found[f"{PREFIX}off[timed {stream}]"] = np.array(
                    [far(timed[row], vectors[offsets[row] : offsets[row + 1]]) for row in rows]
                )
        return found

    def _keep(self, stream: str, kept: Mapping[int, Mapping[str, NDArray[Any]]]) -> None:
        """Results of equal shape, stacked in the order of their rows."""
        rows = sorted(kept)
        keys = [key for key in kept[rows[0]]] if rows else []
        for key in keys:
            arrays = [kept[row].get(key, np.zeros(0)) for row in rows]
            if all(a.shape == arrays[0].shape and a.dtype == arrays[0].dtype for a in arrays):
                self._seen[f"{PREFIX}timed[{stream}]|{key}"] = np.stack(arrays)
        vectors = {row: of["vectors"] for row, of in kept.items() if "vectors" in of}
        if vectors:
            self._vectors[stream] = vectors
        if keys:
            self._seen[f"{PREFIX}rows[{stream}]"] = np.array(rows)

    def _repetitions(self, stream: str, items: Sequence[ItemT], call: Callable[[ItemT], object], part: str) -> None:
        """Time questions that were never asked and questions that were, in turns. The fresh ones are of another draw,
        since all of this draw's have been answered in the pass that is scored."""
        own = list({id(item): item for item in items}.values())
        left = self._strangers.get(part, [])
        take, self._strangers[part] = left[:PAIRS], left[PAIRS:]
        fresh = [_like(items[0], self._asked[PREFIX + part], i) for i in take]
        if len(fresh) < FEWEST:  # the data are the same in every draw: then at least not asked singly
            half = len(own) // 2
            fresh, own = own[:half], own[half:]
        if min(len(fresh), len(own)) < FEWEST:
            return
        pool = [own[i] for i in some(len(own), PAIRS)]
        taken: dict[bool, list[int]] = {True: [], False: []}
        with self._meter.phase(f"{PREFIX}{stream}", 2 * len(fresh)):
            enabled = gc.isenabled()
            gc.disable()
            try:
                for item in pool:
                    call(item)
                begun = _clock()
                for i, item in enumerate(fresh):
                    pair = [(True, item), (False, pool[i % len(pool)])]
                    for is_fresh, one in pair if i % 2 else reversed(pair):
                        start = _clock()
                        call(one)
                        taken[is_fresh].append(_clock() - start)
                    if i >= FEWEST and _clock() - begun > LONGEST_NS:
                        break
                while _clock() - begun < SHORTEST_NS:
                    for item in pool:
                        call(item)
            finally:
                if enabled:
                    gc.enable()
        self._seen[f"{PREFIX}fresh[{stream}]"] = np.array(taken[True], np.int64)
        self._seen[f"{PREFIX}again[{stream}]"] = np.array(taken[False], np.int64)


def _place(items: Sequence[Any], question: Question) -> tuple[str, list[int]] | None:
    """The part of the question that items are rows of, and which; the smallest such part. None: they are of none."""
    found: list[tuple[int, str, list[int]]] = []
    for name, part in question.items():
        if is_texts(part) and isinstance(items[0], str):
            where: dict[Any, int] = {text: i for i, text in reversed(list(enumerate(part)))}
            rows = [where.get(item, -1) for item in items]
        elif is_table(part) and isinstance(items[0], np.ndarray) and items[0].dtype == part.dtype:
            shape = items[0].shape
            if shape not in (part.shape[1:], (1, *part.shape[1:])):
                continue
            where = {hash(row.tobytes()): i for i, row in reversed(list(enumerate(part)))}
            rows = [where.get(hash(item.tobytes()), -1) for item in items]
        else:
            continue
        if min(rows) >= 0:
            found.append((len(part), name, rows))
    return min(found)[1:] if found else None


def _like(item: Any, part: Any, i: int) -> Any:
    """Row `i` of a part in the form of `item`."""
    if isinstance(item, str):
        return part[i]
    return np.asarray(part[i : i + 1] if item.ndim == part.ndim else part[i])


def _named_arrays(value: object) -> Iterator[tuple[str, NDArray[Any]]]:
    """The arrays of a result, by the names of its fields; one without fields has the name ''."""
    if isinstance(value, np.ndarray):
        yield "", value
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        yield from ((name, np.asarray(part)) for name, part in zip(value._fields, value, strict=True))
    elif hasattr(value, "__dataclass_fields__"):
        yield from ((name, part) for name, part in vars(value).items() if isinstance(part, np.ndarray))
    elif isinstance(value, list | tuple) or hasattr(value, "__array__"):
        array = np.asarray(value)
        if not array.dtype.hasobject:
            yield "", array
