"""Control: the problem's own rule of thumb, without learning."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from harness.tasks.length.interface import SequenceModel, Setting, Weights
from harness.tasks.length.problems.base import Ints, Problem
from harness.tasks.length.training import Examples


class Trivial(SequenceModel):
    """What a rule that looks at little answers (control): `Problem.trivial`. A model must beat it."""

    cases = ("addition", "pointing")

    def fit(self, problem: Problem, examples: Examples, setting: Setting) -> Weights:
        return {}

    def restore(self, weights: Weights, setting: Setting) -> None:
        pass

    def predict(self, x: NDArray[Any], most: int) -> Ints:
        return self.problem.trivial(x, most)
