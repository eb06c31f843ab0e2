"""Training: what it is shown, what it refuses, and that stopping it changes nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.task import Context, InvalidAnswer
from harness.tasks.length.interface import Network, Setting
from harness.tasks.length.problems import make
from harness.tasks.length.problems.base import END, SEP, START, Strings

torch = pytest.importorskip("torch")

from harness.tasks.length import training  # noqa: E402
from harness.tasks.length.training import Diverged, Examples, fed, train, weights_digest  # noqa: E402

SETTING = Setting(longest=4, vocabulary=14, steps=40, batch=8, width=16, layers=1, heads=2, rates=(1e-3, 4e-3))


class Plain(Network):
    """A bag of the tokens so far, through one layer."""

    def build(self, setting):
        return Bag(setting.vocabulary, setting.width)


class Bag(torch.nn.Module):
    def __init__(self, vocabulary, width):
        super().__init__()
        self.embedding, self.head = torch.nn.Embedding(vocabulary, width), torch.nn.Linear(width, vocabulary)

    def forward(self, tokens):
        return self.head(self.embedding(tokens).cumsum(1))


def network(kind=Plain, checkpoint="", **attributes):
    made = kind()
    made.context = Context(seed=3, checkpoint=str(checkpoint))
    made.problem = make("copy", symbols=10)
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


def examples(**more):
    return Examples(make("copy", symbols=10), "key", 4, 8, **more)


def digest(module):
    return weights_digest({name: tensor.numpy() for name, tensor in module.state_dict().items()})


class Stopped(Exception):
    pass


class UntilStep(Examples):
    """Examples that end the process's work at the nth batch."""

    def __init__(self, left):
        super().__init__(make("copy", symbols=10), "key", 4, 8)
        self.left = left

    def batch(self, step):
        self.left -= 1
        if self.left < 0:
            raise Stopped
        return super().batch(step)


@pytest.mark.parametrize("stops", [[1], [3], [6], [30], [2, 2, 3, 20]])
def test_a_training_that_is_stopped_and_taken_up_again_ends_in_the_same_weights(tmp_path, monkeypatch, stops):
    whole, log = train(network(), examples(), SETTING)
    monkeypatch.setattr(training, "CHECKPOINT_S", 0.0)
    monkeypatch.setattr(training, "SAVING", 0.0)
    for left in stops:
        with pytest.raises(Stopped):
            train(network(checkpoint=tmp_path), UntilStep(left), SETTING)
    again, log_again = train(network(checkpoint=tmp_path), examples(), SETTING)
    assert digest(again) == digest(whole)
    assert (log_again.trials, log_again.tokens, log_again.steps_in_all) == (log.trials, log.tokens, log.steps_in_all)
    assert not list(tmp_path.iterdir()), "a checkpoint is left behind"


class Dropped(Plain):
    """A network that draws in training, and names things as others do."""

    def build(self, setting):
        module = Bag(setting.vocabulary, setting.width)
        module.head = torch.nn.Sequential(torch.nn.Dropout(0.3), module.head)
        module.hidden, module.generator = setting.width, torch.nn.Identity()
        return module


def test_dropout_draws_the_same_when_training_is_taken_up_again(tmp_path, monkeypatch):
    whole, _ = train(network(Dropped), examples(), SETTING)
    monkeypatch.setattr(training, "CHECKPOINT_S", 0.0)
    monkeypatch.setattr(training, "SAVING", 0.0)
    made = network(Dropped, tmp_path)
    with pytest.raises(Stopped):
        train(made, UntilStep(20), SETTING)
    made = network(Dropped, tmp_path)
    again, made.log = train(made, examples(), SETTING)
    assert digest(again) == digest(whole)
    assert made.describe()["taken up at step"] > 5


def test_a_checkpoint_that_cannot_be_read_is_begun_anew(tmp_path):
    (tmp_path / "training.pt").write_bytes(b"no checkpoint")
    assert digest(train(network(checkpoint=tmp_path), examples(), SETTING)[0]) == digest(
        train(network(), examples(), SETTING)[0]
    )


def test_the_rate_with_the_lowest_loss_in_distribution_goes_on_and_all_trials_count():
    _, log = train(network(), examples(), SETTING)
    assert set(log.trials) == {1e-3, 4e-3} and log.rate == min(log.trials, key=log.trials.__getitem__)
    assert log.steps == 40 and log.steps_in_all == 43
    own = network(rates="5e-4")
    assert train(own, examples(), SETTING)[1].rate == 5e-4


def test_a_rate_at_which_the_loss_diverges_is_not_chosen_and_told():
    setting = replace(SETTING, rates=(1e-3, 1e30))
    _, log = train(network(), examples(), setting)
    assert log.rate == 1e-3 and log.trials[1e30] == float("inf")
    with pytest.raises(Diverged, match="smaller"):
        train(network(), examples(), replace(SETTING, rates=(1e30, 1e32)))
    with pytest.raises(Diverged, match="no number at step"):
        train(network(), examples(), replace(SETTING, rates=(1e30,)))


def test_training_stops_when_its_seconds_are_over_and_says_so():
    made = network()
    _, made.log = train(made, examples(), replace(SETTING, steps=100_000, seconds=0.05))
    assert made.log.stopped and made.log.steps < 100_000
    assert made.describe()["stopped early"] is True


def test_batches_do_not_depend_on_which_were_asked_for_before():
    one, other = examples(), examples()
    wanted = [one.batch(step) for step in range(1500)][1499]
    assert (other.batch(1499).x == wanted.x).all() and (other.batch(1499).y == wanted.y).all()


def test_lengths_are_drawn_evenly_up_to_the_longest_and_never_beyond():
    lengths = [examples().batch(step).x.shape[1] for step in range(800)]
    assert set(lengths) == {1, 2, 3, 4} and min(lengths.count(n) for n in range(1, 5)) > 150


def test_validation_is_of_another_stream_than_training():
    made = examples()
    trained = {row.tobytes() for step in range(200) for row in made.batch(step).x if made.length(step) == 4}
    fresh = [row.tobytes() for row in made.validation(64)[-1].x]
    assert sum(row in trained for row in fresh) < 32  # of 10,000 strings, 1,600 were drawn


def test_the_network_is_fed_the_string_without_its_end_and_asked_for_the_answer():
    strings = Strings(np.array([[5, 6]]), np.array([[5, 6, END]]))
    shown, wanted = fed(strings, causal=True)
    assert shown.tolist() == [[START, 5, 6, SEP, 5, 6]] and wanted.tolist() == [[5, 6, END]]
    shown, _ = fed(strings, causal=False)
    assert shown.tolist() == [[START, 5, 6, SEP, END, END, END]]


def test_a_hint_makes_every_second_batch_of_another_problem():
    sort = make("sort-unique", symbols=20)
    hinted = Examples(sort, "key", 4, 8, hint="successor")
    assert (hinted.batch(0).x == Examples(sort, "key", 4, 8).batch(0).x).all()
    assert (hinted.batch(1).x == sort.mark).any() and not (hinted.batch(0).x == sort.mark).any()


@pytest.mark.parametrize(
    ("forward", "says"),
    [
        (lambda self, tokens: self.head(self.embedding(tokens).sum(1)), "logits of"),
        (lambda self, tokens: self.head(self.embedding(tokens))[..., :5], "vocabulary"),
        (lambda self, tokens: None, "NoneType"),
    ],
)
def test_logits_of_another_shape_are_refused_with_the_shape_that_is_needed(monkeypatch, forward, says):
    monkeypatch.setattr(Bag, "forward", forward)
    with pytest.raises(InvalidAnswer, match=says):
        train(network(), examples(), SETTING)
