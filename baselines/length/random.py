"""Control: answers drawn at random."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.tasks.length.interface import SequenceModel, Setting, Weights
from harness.tasks.length.problems.base import END, FIRST, Ints, Problem
from harness.tasks.length.training import Examples


class Random(SequenceModel):
    """Random symbols, as many as the longest answer has (control); where the answer points, a random permutation.

    A function of the seed and the questions alone.
    """

    cases = ("addition", "pointing")

    def fit(self, problem: Problem, examples: Examples, setting: Setting) -> Weights:
        return {}

    def restore(self, weights: Weights, setting: Setting) -> None:
        pass

    def predict(self, x: NDArray[Any], most: int) -> Ints:
        drawn = np.random.default_rng([self.context.seed, *blake2b(x.tobytes(), digest_size=16).digest()])
        if self.problem.kind == "pointing":
            return drawn.permuted(np.tile(np.arange(x.shape[1]), (len(x), 1)), axis=1)[:, :most]
        answers = drawn.integers(FIRST, FIRST + self.problem.symbols, (len(x), most))
        answers[:, -1] = END
        return answers
