"""SCAN: commands such as `walk left twice` and the actions that they mean (Lake and Baroni 2018, appendix)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import UsageError
from harness.tasks.length.problems.base import END, FIRST, PAD, Ints, Problem, below
from harness.tasks.length.problems.draw import ended

WORDS = (
    "walk",
    "look",
    "run",
    "jump",
    "turn",
    "left",
    "right",
    "opposite",
    "around",
    "twice",
    "thrice",
    "and",
    "after",
)
ACTIONS = ("WALK", "LOOK", "RUN", "JUMP", "LTURN", "RTURN")
WIDEST = 9
"""Words of the longest commands, such as `walk around left thrice and run around right twice`."""

Meaning = tuple[tuple[str, ...], tuple[str, ...]]
"""A phrase's words and its actions."""


def verbs() -> Iterator[Meaning]:
    """`walk`, `turn left`, `walk opposite left`, `turn around right`, ..."""
    for verb, act in (*zip(WORDS[:4], ACTIONS[:4], strict=True), ("turn", "")):
        acts = (act,) if act else ()
        if acts:
            yield (verb,), acts
        for side, turn in (("left", "LTURN"), ("right", "RTURN")):
            yield (verb, side), (turn, *acts)
            yield (verb, "opposite", side), (turn, turn, *acts)
            yield (verb, "around", side), (turn, *acts) * 4


def sentences() -> Iterator[Meaning]:
    """All that the grammar makes: 34 verb phrases, 102 with `twice` and `thrice`, 20,910 with `and` and `after`."""
    times = [((), 1), (("twice",), 2), (("thrice",), 3)]
    phrases = [((*said, *often), acts * n) for said, acts in verbs() for often, n in times]
    yield from phrases
    for first, acts in phrases:
        for second, more in phrases:
            yield (*first, "and", *second), acts + more
            yield (*first, "after", *second), more + acts


@dataclass(frozen=True)
class Library:
    """Every command, by how many actions it takes and then in the order of its tokens."""

    commands: Ints
    """(20910, WIDEST) tokens, PAD on the right."""
    actions: Ints
    """(20910, most) tokens, PAD on the right."""
    lengths: Ints
    """(20910,) numbers of actions, ascending."""
    keys: Ints
    """(20910,) a number for each command, ascending."""
    places: Ints
    """(20910,) the row of the command with each of these numbers."""

    def of_length(self, length: int) -> tuple[int, int]:
        """The first command of so many actions, and the first of more."""
        left, right = np.searchsorted(self.lengths, [length, length + 1])
        return int(left), int(right)


def numbered(commands: Ints) -> Ints:
    """Each command as a number: its words as digits."""
    return (commands - FIRST + 1).clip(0) @ (len(WORDS) + 1) ** np.arange(WIDEST)[::-1]


@cache
def library() -> Library:
    """Made once a process, in about a tenth of a second."""
    token = {word: FIRST + number for number, word in enumerate(WORDS + ACTIONS)}
    every = list(sentences())
    commands = np.full((len(every), WIDEST), PAD, np.int64)
    lengths = np.array([len(acts) for _, acts in every])
    actions = np.full((len(every), lengths.max()), PAD, np.int64)
    for row, (said, acts) in enumerate(every):
        commands[row, : len(said)] = [token[word] for word in said]
        actions[row, : len(acts)] = [token[act] for act in acts]
    order = np.lexsort((numbered(commands), lengths))
    commands, actions, lengths = commands[order], actions[order], lengths[order]
    keys = numbered(commands)
    places = np.argsort(keys)
    return Library(commands, actions, lengths, keys[places], places)


class Scan(Problem):
    """`x`: a command; `y`: its `length` actions. Every command of so many actions is as likely.

    Lengths are those of the answer: the length split of Lake and Baroni trains on up to 22 and tests on 24 ... 48.
    There every command is as likely; here every length is. Commands of one length differ in their number of words: `x`
    is padded on the right."""

    name = "scan"
    ragged = True
    symbols = len(WORDS) + len(ACTIONS)

    def lengths(self) -> Sequence[int]:
        """Numbers of actions that commands take."""
        return [int(length) for length in np.unique(library().lengths)]

    def training_lengths(self, longest: int) -> Sequence[int]:
        return [length for length in self.lengths() if length <= longest]

    def words(self, length: int) -> int:
        return 1

    def questions(self, words: NDArray[np.uint64], length: int) -> NDArray[Any]:
        first, end = library().of_length(length)
        if first == end:
            raise UsageError(
                f"no command of SCAN takes {length} actions; there are some of {', '.join(map(str, self.lengths()))}"
            )
        return library().commands[first + below(words[:, 0], end - first)]

    def solve(self, x: NDArray[Any]) -> Ints:
        """By the grammar. Raises UsageError for what is no command."""
        commands = np.full((len(x), WIDEST), PAD, np.int64)
        commands[:, : x.shape[1]] = x
        known, keys = library(), numbered(commands)
        found = np.searchsorted(known.keys, keys).clip(max=len(known.keys) - 1)
        if (known.keys[found] != keys).any():
            raise UsageError("a question is no command of SCAN")
        place = known.places[found]
        y = ended(known.actions[place, : known.lengths[place].max()])
        rows = np.arange(len(y))
        y[:, -1] = PAD
        y[rows, known.lengths[place]] = END
        return y

    def most(self, length: int) -> int:
        return length + 1

    def chance(self, length: int) -> float:
        """Of any actions, so many."""
        return float(len(ACTIONS)) ** -length

    def trivial(self, x: NDArray[Any], most: int) -> Ints:
        """The action of each word that has one, in the order of the words: `twice` and the like are ignored."""
        act = np.full(len(WORDS) + 1, PAD, np.int64)
        acts = {"walk": "WALK", "look": "LOOK", "run": "RUN", "jump": "JUMP", "left": "LTURN", "right": "RTURN"}
        for word, action in acts.items():
            act[WORDS.index(word)] = FIRST + len(WORDS) + ACTIONS.index(action)
        drawn = act[np.where(x == PAD, len(WORDS), x - FIRST)]
        order = np.argsort(drawn == PAD, axis=1, kind="stable")
        drawn = np.take_along_axis(drawn, order, axis=1)
        answers = np.full((len(x), max(most, x.shape[1] + 1)), PAD, np.int64)
        answers[:, : x.shape[1]] = drawn
        answers[np.arange(len(x)), (drawn != PAD).sum(axis=1)] = END
        return answers[:, :most]
