"""Answers from a network: one token after the other, all at once, or judged in one pass where that is the same.

Logits of a wrong shape, or that are not finite, raise `InvalidAnswer`, which says what came and what is needed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.task import InvalidAnswer
from harness.tasks.length.modules import Headed, Incremental
from harness.tasks.length.problems.base import END, PAD, SEP, START, Bools, Ints, Strings

AT_ONCE = 1 << 16
"""Tokens in one forward pass."""


@torch.inference_mode()
def greedy(module: nn.Module, x: NDArray[Any], most: int, device: str) -> Ints:
    """The likeliest token after the other until every row has ended: (rows, at most `most`) tokens, PAD after END.
    An `Incremental` module is asked for the next one, any other about everything so far."""
    module.eval()
    tokens = _questions(x, device)
    logits: Tensor
    state = None
    rows, given = tokens.shape
    # Written over as the answer grows, and cut at the end
    every = torch.cat([tokens, tokens.new_full((rows, most), PAD)], dim=1)
    ended = torch.zeros(rows, dtype=torch.bool, device=device)
    length = given
    while length < given + most:
        if not isinstance(module, Incremental):
            logits = module(every[:, :length])
            _check_shape(logits, (rows, length), tokens)
        else:
            logits, state = module.extend(every[:, 0 if state is None else length - 1 : length], state)
            _check_shape(logits, (rows, 0), tokens)
        value, token = logits[:, -1].max(dim=-1)
        _check_finite(value, length)
        every[:, length] = token.masked_fill_(ended, END)
        ended |= token == END
        length += 1
        if ended.all():
            break
    answers: Ints = every[:, given:length].cpu().numpy()
    after_end = np.cumsum(answers == END, axis=1) - (answers == END) > 0
    answers[after_end] = PAD
    return answers


@torch.inference_mode()
def at_once(module: nn.Module, x: NDArray[Any], most: int, device: str) -> Ints:
    """All `most` tokens of the answers in one forward pass over START x SEP and `most` blanks: (rows, most)."""
    module.eval()
    answers = []
    for some in _shares(x.shape[0], x.shape[1] + 2 + most):
        question = _questions(x[some], device)
        tokens = torch.cat([question, question.new_full((question.shape[0], most), END)], dim=1)
        logits = _logits(module, tokens, most)
        value, token = logits.max(dim=-1)
        _check_finite(value, tokens.shape[1])
        answers.append(token.cpu().numpy())
    return np.concatenate(answers).astype(np.int64)


@torch.inference_mode()
def teacher_forced(module: nn.Module, strings: Strings, device: str) -> Bools:
    """Whether `greedy` would answer each row as `strings` does, END included, from one forward pass of a causal module
    that is shown the answer: the first token that is not the likeliest one is the same in both. (rows,)."""
    module.eval()
    most, right = strings.y.shape[1], []
    for some in _shares(strings.x.shape[0], strings.x.shape[1] + 1 + most):
        wanted = torch.from_numpy(np.ascontiguousarray(strings.y[some])).to(device)
        shown = wanted[:, :-1].masked_fill(wanted[:, :-1] == PAD, END)
        tokens = torch.cat([_questions(strings.x[some], device), shown], dim=1)
        value, token = _logits(module, tokens, most).max(dim=-1)
        _check_finite(value, tokens.shape[1])
        right.append(((token == wanted) | (wanted == PAD)).all(dim=1).cpu().numpy())
    return np.concatenate(right)


def _questions(x: NDArray[Any], device: str) -> Tensor:
    """START x SEP."""
    tokens = torch.empty(x.shape[0], x.shape[1] + 2, dtype=torch.int64)
    tokens[:, 0], tokens[:, -1] = START, SEP
    tokens[:, 1:-1] = torch.from_numpy(np.ascontiguousarray(x, dtype=np.int64))
    return tokens.to(device)


def _shares(rows: int, width: int) -> list[slice]:
    """Rows, so many at a time that they fit in one pass."""
    step = max(1, AT_ONCE // width)
    return [slice(start, start + step) for start in range(0, max(rows, 1), step)]


def _logits(module: nn.Module, tokens: Tensor, last: int) -> Tensor:
    """Logits at the last places, (rows, last, vocabulary); the head is applied there alone if the module has one."""
    rows, width = tokens.shape
    if isinstance(module, Headed):
        logits: Tensor = module.head(module.hidden(tokens, last))
        _check_shape(logits, (rows, last), tokens)
        return logits
    logits = module(tokens)
    _check_shape(logits, (rows, width), tokens)
    return logits[:, -last:]


def _check_shape(logits: Tensor, wanted: tuple[int, int], tokens: Tensor) -> None:
    """Raises InvalidAnswer unless the logits are (rows, n, vocabulary); n is any number if 0 is wanted."""
    if not isinstance(logits, Tensor):
        raise InvalidAnswer(
            f"forward returned a {type(logits).__name__}, where a tensor of logits is needed: return "
            f"the logits alone, ({wanted[0]}, {wanted[1] or 'n'}, vocabulary)"
        )
    if logits.ndim != 3 or logits.shape[0] != wanted[0] or logits.shape[1] != (wanted[1] or logits.shape[1]):
        raise InvalidAnswer(
            f"logits of shape {tuple(logits.shape)}, where ({wanted[0]}, {wanted[1] or 'n'}, vocabulary) is needed: "
            "for every row, the logits of the next token at every place"
        )


def _check_finite(best: Tensor, length: int) -> None:
    """Raises InvalidAnswer unless every largest logit is finite. Single ones of minus infinity (tokens ruled out) are
    fine; one that is not a number makes the largest one so."""
    if not torch.isfinite(best).all():
        raise InvalidAnswer(
            f"the largest logit of a token is {best[~torch.isfinite(best)][0].item()} at {length} tokens, where a "
            "finite number is needed: the weights have diverged (a smaller learning rate?), or the model "
            "breaks at this length"
        )
