"""Questions of another secret draw beside a task's own, under names that begin with `audit.`: found, and told apart."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

import numpy as np

from harness.task import Question

PREFIX = "audit."
PAIRS = 96
"""Fresh and repeated questions that are timed, one after the other."""
FEWEST = 11
"""Pairs under which nothing is said."""
SHORTEST_NS = 600_000_000
"""How long timed pairs last, at least, for the keeper's clock to tell the child's."""
_MOST_ROWS = 200_000


def strangers(question: Question, other: Question) -> dict[str, Any]:
    """Of each list of texts and each table of another draw: rows that this draw does not have."""
    found: dict[str, Any] = {}
    for name, value in other.items():
        here: Any = question.get(name)
        if is_texts(value) and is_texts(here):
            known = set(here)
            strange = [text for text in dict.fromkeys(value) if text not in known]
            chosen: Any = [strange[i] for i in some(len(strange), 3 * PAIRS)]
        elif is_table(value) and is_table(here) and value.shape[1:] == here.shape[1:] and value.dtype == here.dtype:
            known = {hash(row.tobytes()) for row in here}
            strange = [i for i, row in enumerate(value) if hash(row.tobytes()) not in known]
            chosen = value[[strange[i] for i in some(len(strange), 3 * PAIRS)]]
        else:
            continue
        if len(chosen) >= FEWEST:
            found[PREFIX + name] = chosen
    return found


def apart(answer: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is the task's, and what is the audits'."""
    own = {name: value for name, value in answer.items() if not name.startswith(PREFIX)}
    return own, {name: value for name, value in answer.items() if name.startswith(PREFIX)}


def is_texts(value: object) -> bool:
    """Whether a part of a question is a list of several texts."""
    return isinstance(value, list) and len(value) > 1 and isinstance(value[0], str)


def is_table(value: object) -> bool:
    """Whether a part of a question is an array of several rows, not too many to look at each."""
    if not isinstance(value, np.ndarray) or value.ndim < 2 or value.dtype.hasobject:
        return False
    return 1 < len(value) <= _MOST_ROWS


def some(n: int, most: int) -> list[int]:
    """Up to `most` of 0 ... n - 1, at random from the system's entropy."""
    return secrets.SystemRandom().sample(range(n), min(n, most))
