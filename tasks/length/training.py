"""How every network is trained: AdamW, one length a batch, no padding, learning rate chosen in distribution.

Only the model differs between rows. A stopped training goes on from its checkpoint and ends in the same weights.
"""

from __future__ import annotations

import hashlib
import math
import os
import pickle
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.tasks.length.problems.base import END, PAD, SEP, START, Problem, Strings, below, random_words

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from harness.tasks.length.interface import Network, Setting, Weights

BETAS, DECAY, CLIP, WARM_UP, LAST = (0.9, 0.98), 0.01, 1.0, 100, 0.05
"""Of AdamW; steps of linear warm-up; share of the learning rate that the cosine ends at."""
TRIAL = 0.06
"""Share of the steps after which the learning rate is chosen."""
VALIDATION_ROWS = 128
CHECKPOINT_S, SAVING = 5.0, 20
"""A checkpoint is written after so many seconds, but not before SAVING times what the last one took."""
_BLOCK = 1024


class Examples:
    """The training strings: pure functions of (key, step)."""

    def __init__(
        self, problem: Problem, key: str, longest: int, batch: int, hint: str = "", scratchpad: str = ""
    ) -> None:
        self.problem, self.batch_size, self._key = problem, batch, key
        self.lengths = list(problem.training_lengths(longest))
        self._hinted = problem.hinted(hint) if hint else None
        self._scratchpad = scratchpad
        self._block, self._drawn = -1, list[int]()

    def batch(self, step: int) -> Strings:
        """The strings of one step: `batch` rows of one length, drawn uniformly. With a hint, odd steps are of it."""
        problem = self._hinted if self._hinted and step % 2 else self.problem
        return self._strings(problem, f"{self._key} train", self.length(step), step * self.batch_size, self.batch_size)

    def length(self, step: int) -> int:
        """The length that a step is of."""
        block, at = divmod(step, _BLOCK)
        if block != self._block:
            words = random_words(f"{self._key} lengths", block * _BLOCK, _BLOCK, 1)
            self._block, self._drawn = block, below(words[:, 0], len(self.lengths)).tolist()
        return self.lengths[self._drawn[at]]

    def validation(self, rows: int) -> list[Strings]:
        """`rows` strings of half the longest length and of the longest, of another stream than the batches."""
        lengths = sorted({self.lengths[len(self.lengths) // 2], self.lengths[-1]})
        return [self._strings(self.problem, f"{self._key} validation", length, 0, rows) for length in lengths]

    def _strings(self, problem: Problem, key: str, length: int, start: int, rows: int) -> Strings:
        strings = problem.sample(key, length, start, rows)
        if problem.ragged:
            strings = _of_one_width(problem, f"{key} {start}", length, strings, rows)
        if self._scratchpad and problem is self.problem:
            strings = problem.written_out(strings, self._scratchpad)
        return strings


def _of_one_width(problem: Problem, key: str, length: int, first: Strings, rows: int) -> Strings:
    """As many strings whose questions are as wide as that of `first`'s first one, so that widths come as often as they
    are; drawn on until there are enough."""
    width, found, drawn = int((first.x[0] != PAD).sum()), [first], 0
    while sum(int(((s.x != PAD).sum(axis=1) == width).sum()) for s in found) < rows:
        found.append(problem.sample(f"{key} more", length, drawn, rows))
        drawn += rows
    x, y = np.concatenate([s.x for s in found]), np.concatenate([s.y for s in found])
    kept = np.flatnonzero((x != PAD).sum(axis=1) == width)[:rows]
    return Strings(x[kept, :width], y[kept])


@dataclass
class Log:
    """What training came to, for the record."""

    rate: float = 0.0
    trials: dict[float, float] = field(default_factory=dict)
    """Validation loss after the trial, by learning rate; infinite where it diverged."""
    steps: int = 0
    """Of the model that was kept; all trials together took `steps_in_all`."""
    steps_in_all: int = 0
    tokens: int = 0
    """Seen in all steps."""
    parameters: int = 0
    validation: float = 0.0
    """Loss on strings of trained lengths that were not trained on."""
    match: float | None = None
    """Exact match on those of the longest length, by teacher forcing; None for what does not write token by token."""
    cpu_s: float = 0.0
    resumed: int = 0
    """Step at which another process had left off, whose time `train` does not hold."""
    stopped: bool = False
    """Whether the time ended before the steps did."""


@dataclass
class _Run:
    """One model on its way."""

    module: nn.Module
    optimiser: torch.optim.Optimizer
    rate: float
    step: int = 0


class Diverged(ArithmeticError):
    """The loss was no number."""


def train(network: Network, examples: Examples, setting: Setting) -> tuple[nn.Module, Log]:
    """A trained module, and how it came about.

    With several learning rates each trains for TRIAL of the steps, from the same start, and the one with the
    lowest validation loss goes on. Raises Diverged if the loss is no number at every rate.
    """
    rates = tuple(float(rate) for rate in network.rates.split()) or setting.rates
    return _Training(network, examples, setting, rates).run()


class _Training:
    def __init__(self, network: Network, examples: Examples, setting: Setting, rates: tuple[float, ...]) -> None:
        self.network, self.examples, self.setting, self.rates = network, examples, setting, rates
        self.log = Log()
        self.trial = 0
        self.best: tuple[float, Mapping[str, Any]] | None = None
        folder = network.context.checkpoint
        self.checkpoint = Path(folder) / "training.pt" if folder else None
        self.spent_s = 0.0
        self.started_s = time.process_time()

    def run(self) -> tuple[nn.Module, Log]:
        current = self._resume()
        first = math.ceil(TRIAL * self.setting.steps) if len(self.rates) > 1 else 0
        while first and self.trial < len(self.rates):
            current = current or self._start(self.rates[self.trial])
            try:
                self._advance(current, first, TRIAL * self.setting.seconds * (self.trial + 1))
                loss = validation_loss(self.network, current.module, self.examples)
            except Diverged:
                loss = math.inf
            self.log.trials[current.rate] = loss
            if math.isfinite(loss) and (self.best is None or loss < self.best[0]):
                self.best = loss, _state(current)
            self.trial, current = self.trial + 1, None
        if current is None:
            if first and self.best is None:
                tried = ", ".join(f"{rate:g}" for rate in self.rates)
                raise Diverged(
                    f'the loss is no number at any learning rate of {tried}; give smaller ones, such as "1e-4 3e-4"'
                )
            current = self._start(self.rates[0])
            if self.best is not None:
                _restore(current, self.best[1])
            self.best = None
        log = self.log
        log.stopped = self._advance(current, self.setting.steps, self.setting.seconds)
        log.rate, log.steps = current.rate, current.step
        log.parameters = sum(p.numel() for p in current.module.parameters())
        log.validation = validation_loss(self.network, current.module, self.examples)
        log.match = self._match(current.module)
        log.cpu_s = self._cpu_s()
        if self.checkpoint:
            self.checkpoint.unlink(missing_ok=True)
        return current.module.eval(), log

    def _start(self, rate: float) -> _Run:
        import torch

        torch.manual_seed(self.network.context.seed)
        module = self.network.build(self.setting).to(self.network.context.device).train()
        return _Run(module, _optimiser(module, rate), rate)

    def _advance(self, run: _Run, until: int, seconds: float) -> bool:
        """Train up to a step, or until so much CPU time in all is spent (0: no matter how much): then True."""
        log, rest = self.log, CHECKPOINT_S
        saved = time.monotonic()
        while run.step < until:
            if seconds and self._cpu_s() > seconds:
                return True
            strings = self.examples.batch(run.step)
            step(self.network, run.module, run.optimiser, strings, _scheduled(run.rate, run.step, self.setting.steps),
                 run.step)  # fmt: skip
            run.step += 1
            log.steps_in_all += 1
            log.tokens += strings.y.size + strings.x.size
            if self.checkpoint and time.monotonic() - saved >= rest:
                begun = time.monotonic()
                self._save(run)
                saved = time.monotonic()
                rest = max(CHECKPOINT_S, SAVING * (saved - begun))
        return False

    def _match(self, module: nn.Module) -> float | None:
        """The answers are training's to know here, so that one pass over them does: it is what greedy generation comes
        to, several times cheaper. What is scored is always generated."""
        from harness.tasks.length import generation
        from harness.tasks.length.interface import Network

        own = type(self.network)
        if not self.network.causal or own.loss is not Network.loss or own.predict is not Network.predict:
            return None
        longest = self.examples.validation(VALIDATION_ROWS)[-1]
        return float(generation.teacher_forced(module, longest, self.network.context.device).mean())

    def _cpu_s(self) -> float:
        return self.spent_s + time.process_time() - self.started_s

    def _save(self, run: _Run) -> None:
        import torch

        assert self.checkpoint is not None
        log = self.log
        kept = {"run": _live(run), "trial": self.trial, "best": self.best, "trials": dict(log.trials),
                "steps_in_all": log.steps_in_all, "tokens": log.tokens, "spent_s": self._cpu_s()}  # fmt: skip
        with suppress(OSError, RuntimeError):  # a full disk, or a folder that another run has just cleared
            self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
            torch.save(kept, part := self.checkpoint.with_suffix(f".{os.getpid()}"))
            part.replace(self.checkpoint)

    def _resume(self) -> _Run | None:
        """Where an earlier process was stopped; None to begin. What cannot be read is begun anew."""
        import torch

        if self.checkpoint is None or not self.checkpoint.is_file():
            return None
        try:
            kept = torch.load(self.checkpoint, map_location=self.network.context.device, weights_only=True)
            run = self._start(kept["run"]["rate"])
            _restore(run, kept["run"])
            self.trial, self.best, self.spent_s = kept["trial"], kept["best"], kept["spent_s"]
            self.log = Log(
                trials=kept["trials"], steps_in_all=kept["steps_in_all"], tokens=kept["tokens"], resumed=run.step
            )
        except (OSError, RuntimeError, EOFError, KeyError, ValueError, pickle.UnpicklingError):
            self.trial, self.best, self.spent_s, self.log = 0, None, 0.0, Log()
            return None
        return run


def step(
    network: Network, module: nn.Module, optimiser: torch.optim.Optimizer, strings: Strings, rate: float, number: int
) -> None:
    """One step of training. Raises Diverged if the loss is no number. Whatever the module draws (dropout, positions),
    it draws from torch's generator as the step's number seeds it: a training taken up again draws the same."""
    import torch

    torch.manual_seed((network.context.seed + (number + 1) * 1_000_003) % (1 << 63))
    for group in optimiser.param_groups:
        group["lr"] = rate
    with torch.enable_grad(), _precision(network.context.device):
        loss = network.loss(module, strings)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    norm = torch.nn.utils.clip_grad_norm_(list(module.parameters()), CLIP)
    if not math.isfinite(norm.item()):
        raise Diverged(f"the loss is no number at step {number}, learning rate {rate:g}; give smaller `rates`")
    optimiser.step()


def one_step(network: Network, examples: Examples, setting: Setting) -> Callable[[int], None]:
    """A step of training on a model of its own, by its number: to be timed."""
    import torch

    torch.manual_seed(network.context.seed)
    module = network.build(setting).to(network.context.device).train()
    optimiser = _optimiser(module, setting.rates[0])
    return lambda number: step(network, module, optimiser, examples.batch(number), 0.0, number)


def answer_loss(module: nn.Module, strings: Strings, causal: bool, device: str) -> Tensor:
    """Cross entropy of the answer's tokens, END included, PAD left out.

    Raises InvalidAnswer for logits of another shape than (rows, n, vocabulary).
    """
    import torch
    import torch.nn.functional as f

    from harness.task import InvalidAnswer
    from harness.tasks.length.modules import Headed

    tokens, wanted = fed(strings, causal)
    shown, targets = torch.from_numpy(tokens).to(device), torch.from_numpy(wanted).to(device)
    width = wanted.shape[1]
    if isinstance(module, Headed):
        logits = module.head(module.hidden(shown, width))
    else:
        logits = module(shown)
        if not isinstance(logits, torch.Tensor) or logits.ndim != 3 or logits.shape[:2] != shown.shape:
            came = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
            raise InvalidAnswer(f"forward returned {came} for tokens {tuple(shown.shape)}; it must return logits of "
                                "shape (rows, n, vocabulary)")  # fmt: skip
        logits = logits[:, -width:]
    if logits.shape[-1] <= int(wanted.max()):
        raise InvalidAnswer(f"forward returned {logits.shape[-1]} logits a token, and the answer has token "
                            f"{int(wanted.max())}; make as many as setting.vocabulary says")  # fmt: skip
    return f.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=PAD)


def fed(strings: Strings, causal: bool) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """What a network is fed in training, and the tokens wanted at its last places."""
    rows, width = strings.y.shape
    ones = np.ones((rows, 1), np.int64)
    after = np.where(strings.y == PAD, END, strings.y)[:, :-1] if causal else np.full((rows, width), END)
    return np.concatenate([START * ones, strings.x, SEP * ones, after], axis=1), strings.y


def validation_loss(network: Network, module: nn.Module, examples: Examples) -> float:
    """Mean loss over lengths. Raises Diverged if it is no number."""
    import torch

    module.eval()
    with torch.inference_mode():
        losses = [network.loss(module, strings).item() for strings in examples.validation(VALIDATION_ROWS)]
    module.train()
    if not all(map(math.isfinite, losses)):
        raise Diverged("the validation loss is no number; give smaller `rates`")
    return sum(losses) / len(losses)


def weights_digest(weights: Weights) -> str:
    """SHA-256 of all weights, by name."""
    digest = hashlib.sha256()
    for name, array in sorted(weights.items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _scheduled(rate: float, step: int, steps: int) -> float:
    """Linear warm-up, then a cosine from `rate` to LAST of it."""
    warm_up = min(WARM_UP, max(1, steps // 10))
    if step < warm_up:
        return rate * (step + 1) / warm_up
    done = (step - warm_up) / max(1, steps - warm_up)
    return rate * (LAST + (1 - LAST) * (1 + math.cos(math.pi * done)) / 2)


def _optimiser(module: nn.Module, rate: float) -> torch.optim.Optimizer:
    import torch

    return torch.optim.AdamW(module.parameters(), lr=rate, betas=BETAS, weight_decay=DECAY, fused=True)


def _precision(device: str) -> Any:
    """bfloat16 for the products on a GPU; float32 on a CPU."""
    import torch

    return torch.autocast("cuda", torch.bfloat16, enabled=device == "cuda")


def _state(run: _Run) -> Mapping[str, Any]:
    return deepcopy(_live(run))


def _live(run: _Run) -> Mapping[str, Any]:
    return {"module": run.module.state_dict(), "optimiser": run.optimiser.state_dict(),
            "rate": run.rate, "step": run.step}  # fmt: skip


def _restore(run: _Run, state: Mapping[str, Any]) -> None:
    run.module.load_state_dict(state["module"])
    run.optimiser.load_state_dict(state["optimiser"])
    run.rate, run.step = state["rate"], state["step"]
