"""The problems by name."""

from __future__ import annotations

import inspect
from typing import Any

from harness.errors import UsageError, did_you_mean
from harness.tasks.length.problems.arithmetic import Addition, Polynomial
from harness.tasks.length.problems.base import Problem
from harness.tasks.length.problems.copying import Copy, CopyUnique, RepeatToken, Reverse
from harness.tasks.length.problems.languages import Cycle, EvenLength, EvenPairs, ModularSum, Parity, Permutations
from harness.tasks.length.problems.lego import Lego
from harness.tasks.length.problems.pointing import SortFloats
from harness.tasks.length.problems.recall import RecallList, RecallOne
from harness.tasks.length.problems.scan import Scan
from harness.tasks.length.problems.sorting import Mode, Sort, SortUnique
from harness.tasks.length.problems.target_length import TargetLength

PROBLEMS: dict[str, type[Problem]] = {
    problem.name: problem
    for problem in (
        *(Copy, CopyUnique, RepeatToken, Reverse),
        *(Sort, SortUnique, Mode, SortFloats),
        *(Addition, ModularSum, Polynomial),
        *(Parity, EvenPairs, Cycle, EvenLength, Permutations),
        *(Lego, Scan, RecallOne, RecallList, TargetLength),
    )
}


def make(name: str, **params: Any) -> Problem:
    """The problem called `name`, its parameters by keyword, those left out by default.

    Raises UsageError for an unknown name or parameter, and for values that make no problem.
    """
    if name not in PROBLEMS:
        raise did_you_mean("problem", name, PROBLEMS)
    known = inspect.signature(PROBLEMS[name]).parameters
    for parameter in params:
        if parameter not in known:
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise UsageError(f"{name} has no parameter {parameter!r}; {takes}")
    return PROBLEMS[name](**params)
