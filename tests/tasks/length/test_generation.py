"""Answers are generated greedily, end where they end, and are judged in one pass only where that is the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from harness.task import InvalidAnswer
from harness.tasks.length.interface import Setting
from harness.tasks.length.modules import Incremental
from harness.tasks.length.problems.base import END, FIRST, PAD, SEP, START, Strings, same

torch = pytest.importorskip("torch")

from harness.baselines.length.alibi import ALiBi  # noqa: E402
from harness.tasks.length.decoder import Decoder  # noqa: E402
from harness.tasks.length.generation import AT_ONCE, at_once, greedy, teacher_forced  # noqa: E402

VOCABULARY = 8


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Plain(torch.nn.Module):  # type: ignore[misc, name-defined]
    """A module that is only `forward`; keeps what it was shown."""

    def __init__(self, forward: Callable[[Any], Any]) -> None:
        super().__init__()
        self._forward = forward
        self.shown: list[Any] = []

    def forward(self, tokens: Any) -> Any:
        self.shown.append(tokens.clone())
        return self._forward(tokens)


def countdown(tokens: Any) -> Any:
    """The token one below, at every place; SEP is followed by the first token of the question."""
    following = torch.where(tokens == SEP, tokens[:, 1:2], (tokens - 1) * (tokens > FIRST))
    return torch.nn.functional.one_hot(following, VOCABULARY).float()


def questions(rows: int, width: int) -> Any:
    return np.random.default_rng(0).integers(FIRST, VOCABULARY, (rows, width))


def test_answers_end_at_their_end_and_generation_when_all_have_ended() -> None:
    module = Plain(countdown)
    answers = greedy(module, np.array([[3, 7], [5, 7]]), 100, "cpu")
    assert answers.tolist() == [[3, END, PAD, PAD], [5, 4, 3, END]]
    assert answers.dtype == np.int64
    assert [shown.shape[1] for shown in module.shown] == [4, 5, 6, 7]
    assert module.shown[-1].tolist() == [[START, 3, 7, SEP, 3, END, END], [START, 5, 7, SEP, 5, 4, 3]]


def test_an_answer_is_cut_where_it_may_not_go_on() -> None:
    assert greedy(Plain(countdown), np.array([[7]]), 2, "cpu").tolist() == [[7, 6]]


def test_with_extend_each_token_is_shown_once() -> None:
    shown = []

    class Extending(Plain, Incremental):
        def extend(self, tokens: Any, state: Any) -> Any:
            shown.append(tokens.tolist())
            every = tokens if state is None else torch.cat([state, tokens], dim=1)
            return countdown(every)[:, -1:], every

    answers = greedy(Extending(countdown), np.array([[5]]), 9, "cpu")
    assert answers.tolist() == [[5, 4, 3, END]]
    assert shown == [[[START, 5, SEP]], [[5]], [[4]], [[3]]]


def test_a_method_called_extend_means_something_else_in_an_ordinary_module() -> None:
    module = torch.nn.Sequential(torch.nn.Embedding(VOCABULARY, 8), torch.nn.Linear(8, VOCABULARY))
    assert greedy(module, np.array([[5]]), 3, "cpu").shape[0] == 1


def test_teacher_forced_exact_match_is_that_of_generation_on_10000_rows() -> None:
    torch.manual_seed(0)
    module = Decoder(Setting(longest=6, vocabulary=VOCABULARY, steps=0, batch=32, width=32), ALiBi())
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    x = questions(10_000, 6)
    answers = greedy(module, x, 8, "cpu")
    assert x.size + answers.size > AT_ONCE, "so that one pass is not enough for all"
    # Reference answers that the model gets right, and ones that differ from what it says in one token, anywhere
    wanted, random = answers.copy(), np.random.default_rng(1)
    lengths = (answers != PAD).sum(axis=1)
    changed = np.flatnonzero(random.random(10_000) < 0.5)
    place = (random.random(len(changed)) * lengths[changed]).astype(int)
    wanted[changed, place] = random.integers(0, VOCABULARY, len(changed))
    right = same(wanted, answers)
    assert 0.2 < right.mean() < 0.8 and len(np.unique(lengths)) > 3 and len(np.unique(answers, axis=0)) > 30
    np.testing.assert_array_equal(teacher_forced(module, Strings(x, wanted), "cpu"), right)
    np.testing.assert_array_equal(teacher_forced(Plain(module), Strings(x, wanted), "cpu"), right)


def test_at_once_reads_the_answer_at_the_blanks() -> None:
    module = Plain(lambda tokens: torch.nn.functional.one_hot((tokens.roll(3, dims=1)), VOCABULARY).float())
    assert at_once(module, np.array([[5, 6], [7, 4]]), 3, "cpu").tolist() == [[5, 6, SEP], [7, 4, SEP]]
    assert module.shown[0].tolist() == [[START, 5, 6, SEP, END, END, END], [START, 7, 4, SEP, END, END, END]]
    many = questions(AT_ONCE // 4, 2)
    assert at_once(module, many, 3, "cpu")[:, :2].tolist() == many.tolist()


def spoilt(logits: Callable[[Any], Any]) -> list[Callable[[Any], Any]]:
    """The ways to ask a module with these logits."""
    x = questions(4, 5)
    return [
        lambda: greedy(Plain(logits), x, 3, "cpu"),
        lambda: at_once(Plain(logits), x, 3, "cpu"),
        lambda: teacher_forced(Plain(logits), Strings(x, x), "cpu"),
    ]  # type: ignore[list-item]


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize(
    ("logits", "said"),
    [
        (lambda tokens: torch.zeros(len(tokens), VOCABULARY), r"shape \(4, 8\), where \(4, \d+, vocabulary\)"),
        (lambda tokens: torch.zeros(tokens.shape[1], len(tokens), VOCABULARY), r"shape \(\d+, 4, 8\), where \(4, "),
        (lambda tokens: countdown(tokens)[:, 1:], r"shape \(4, \d+, 8\), where \(4, "),
        (lambda tokens: (countdown(tokens), None), r"returned a tuple, .* \(4, \d+, vocabulary\)"),
        (lambda tokens: countdown(tokens) * torch.tensor(float("nan")), r"is nan at \d+ tokens, .* finite"),
        (lambda tokens: countdown(tokens) / torch.tensor(0.0), r"is (nan|inf) at \d+ tokens"),
    ],
)
def test_logits_of_a_wrong_shape_or_no_numbers_are_refused(logits: Any, said: str, which: int) -> None:
    with pytest.raises(InvalidAnswer, match=said):
        spoilt(logits)[which]()


def test_one_row_of_nan_among_others_is_refused() -> None:
    def logits(tokens: Any) -> Any:
        made = countdown(tokens)
        made[2, -1, 3] = float("nan")
        return made

    with pytest.raises(InvalidAnswer, match="nan"):
        greedy(Plain(logits), questions(4, 5), 3, "cpu")


def test_tokens_may_be_ruled_out_by_minus_infinity() -> None:
    ruled_out = Plain(lambda tokens: torch.where(countdown(tokens) > 0, 1.0, float("-inf")))
    assert greedy(ruled_out, np.array([[4]]), 5, "cpu").tolist() == [[4, 3, END]]
