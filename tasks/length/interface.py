"""What a baseline of `length` implements: any model by `fit` and `predict`, a network by `build`, or a position scheme
alone by `embed` and `bias_or_rotate`.

Torch is imported where a network is made, not here: the judge reads this file too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.task import Baseline, Scalar
from harness.tasks.length.problems.base import PAD, Ints, Problem, Strings

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from harness.tasks.length.training import Examples, Log

Weights = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Setting:
    """How large a model is, and how long it trains. On the record with every case."""

    longest: int
    """The longest length that is trained on."""
    vocabulary: int
    """Tokens in all; `forward` returns as many logits."""
    steps: int
    batch: int
    width: int = 64
    layers: int = 2
    heads: int = 4
    rates: tuple[float, ...] = (2e-3,)
    """Learning rates to choose from, in distribution."""
    seconds: float = 0.0
    """CPU time after which training stops where it is (0: none)."""


class SequenceModel(Baseline):
    """A model that learns from strings up to a length and is asked about longer ones."""

    max_threads = 1
    problem: Problem
    """What it is about to learn or to answer: set before anything is called."""
    digest: str = ""
    """Of the weights, once trained."""

    def fit(self, problem: Problem, examples: Examples, setting: Setting) -> Weights:
        """Learn from `examples.batch(step)` for step in range(setting.steps), each of which is `Strings` of one length
        up to `setting.longest`. What is returned is all that is left of it: `restore` gets it in another process."""
        raise NotImplementedError

    def restore(self, weights: Weights, setting: Setting) -> None:
        """Make ready to answer, from what `fit` returned."""
        raise NotImplementedError

    def predict(self, x: NDArray[Any], most: int) -> Ints:
        """Answers, (rows, at most `most`) tokens ending in END, to questions of one length, (rows, width). Whatever
        follows the first END is ignored. Raise Unsupported for a length that the model has no place for."""
        raise NotImplementedError

    def describe(self) -> Mapping[str, Scalar]:
        return {"weights_digest": self.digest} if self.digest else {}

    def timed_step(self, problem: Problem, examples: Examples, setting: Setting) -> Any:
        """A function of a step's number that does one step of training, for timing; None: not timed."""
        return None


class Network(SequenceModel):
    """A torch module that maps tokens, (rows, n) int64, to logits, (rows, n, vocabulary) float.

    Logits at place i are of token i + 1, and must not depend on tokens after i (`causal`). A string is
    START x SEP y END; the loss is on y and END. Generation is greedy, and calls `forward` on all so far for every
    token, unless the module is `harness.tasks.length.modules.Incremental`.

    With `causal = False`, y is answered at once: the module sees START x SEP and a blank for every token of the answer
    (and so is told how many there are), and logits at the blanks are of the answer.
    """

    requires = ("torch",)
    devices = ("cpu", "cuda")
    causal: bool = True
    hint: str = ""
    """Of `Problem.hints`: every second batch is of that auxiliary problem."""
    scratchpad: str = ""
    """Of `Problem.scratchpads`: the steps are trained on, and written before the answer."""
    rates: str = ""
    """Learning rates to choose from instead of the case's, such as `1e-3 2e-3`."""

    log: Log | None = None
    module: nn.Module

    def build(self, setting: Setting) -> nn.Module:
        """The module, its weights drawn by torch's generator, which is seeded."""
        raise NotImplementedError

    def loss(self, module: nn.Module, strings: Strings) -> Tensor:
        """What training lessens: cross entropy of the answer's tokens."""
        from harness.tasks.length import training

        return training.answer_loss(module, strings, self.causal, self.context.device)

    def fit(self, problem: Problem, examples: Examples, setting: Setting) -> Weights:
        """Train by `harness.tasks.length.training`: AdamW, the same for all."""
        from harness.tasks.length import training

        module, self.log = training.train(self, examples, setting)
        return {name: tensor.detach().cpu().numpy() for name, tensor in module.state_dict().items()}

    def describe(self) -> Mapping[str, Scalar]:
        """How the weights came about: parameters, steps of all trials, tokens, the learning rate and what its trials
        reached, the validation loss."""
        if self.log is None:
            return super().describe()
        log, trials = self.log, {f"validation loss at rate {r:g}": loss for r, loss in self.log.trials.items()}
        said: dict[str, Scalar] = {"parameters": log.parameters, "steps": log.steps, "steps in all": log.steps_in_all,
                                   "tokens": log.tokens, "learning rate": log.rate, "training cpu s": log.cpu_s,
                                   "validation loss": log.validation}  # fmt: skip
        if log.match is not None:
            said["validation exact match at L"] = log.match
        finite = {name: loss if math.isfinite(loss) else "diverged" for name, loss in trials.items()}
        if log.resumed:
            said["taken up at step"] = log.resumed
        if log.stopped:
            said["stopped early"] = True
        return {**super().describe(), **said, **finite}

    def restore(self, weights: Weights, setting: Setting) -> None:
        import torch

        self.module = self.build(setting).to(self.context.device).eval()
        self.module.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in weights.items()})

    def predict(self, x: NDArray[Any], most: int) -> Ints:
        from harness.tasks.length import generation

        if not self.causal:
            return generation.at_once(self.module, x, most, self.context.device)
        if not self.scratchpad:
            return generation.greedy(self.module, x, most, self.context.device)
        one = Strings(x[:1], self.problem.solve(x[:1]))  # how wide the steps are, and nothing else, is taken from it
        room = self.problem.written_out(one, self.scratchpad).y.shape[1]
        return after_mark(generation.greedy(self.module, x, room, self.context.device), self.problem.mark, most)

    def timed_step(self, problem: Problem, examples: Examples, setting: Setting) -> Any:
        from harness.tasks.length import training

        return training.one_step(self, examples, setting)


def after_mark(written: Ints, mark: int, most: int) -> Ints:
    """Of each row the `most` tokens after its first mark; nothing where there is none."""
    marked = written == mark
    after = marked.argmax(axis=1)[:, None] + 1 + np.arange(most)
    answers = np.take_along_axis(np.pad(written, ((0, 0), (0, most + 1)), constant_values=PAD), after, axis=1)
    return np.where(marked.any(axis=1)[:, None], answers, PAD)


@dataclass(frozen=True)
class Positions:
    """Where tokens stand. (n,), or (rows, n) where it depends on the string."""

    new: Tensor
    """Of the tokens at hand: those of the queries, (s,) or (rows, s)."""
    all: Tensor
    """Of these and all before them: those of the keys, (t,) or (rows, t)."""

    @cached_property
    def distance(self) -> Tensor:
        """How far each key lies behind each query, (s, t) or (rows, s, t); negative ahead of it."""
        return self.new[..., :, None] - self.all[..., None, :]


class PositionScheme(Network):
    """How a decoder knows where its tokens stand; all else is `harness.tasks.length.decoder`, the same for all.

    What it learns are the tensors of `parameters`, then found as `self.learned[name]`.
    """

    learned: Mapping[str, Tensor]

    def parameters(self, setting: Setting) -> Mapping[str, Tensor]:
        """Tensors to learn, at their start; shared by all layers."""
        return {}

    def place(self, tokens: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Positions of tokens, (rows, n) int64: (n,) or (rows, n), by default 0 ... n - 1. Those of a longer string
        must begin with those of a shorter one, since generation asks again with every token. `generator` is there in
        training only."""
        import torch

        return torch.arange(tokens.shape[1], device=tokens.device)

    def embed(self, positions: Positions) -> Tensor | None:
        """What is added to the embeddings of the new tokens, (s, width) or (rows, s, width)."""
        return None

    def bias_or_rotate(self, q: Tensor, k: Tensor, positions: Positions) -> tuple[Tensor, Tensor, Tensor | None]:
        """Queries and keys of the new tokens, (rows, heads, s, width of a head), as attention shall use them, and what
        is added to the logits of attention, broadcastable to (rows, heads, s, t), or None. Causality is seen to."""
        return q, k, None

    def build(self, setting: Setting) -> nn.Module:
        from harness.tasks.length.decoder import Decoder

        return Decoder(setting, self)
