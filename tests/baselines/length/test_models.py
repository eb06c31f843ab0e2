"""Models other than position schemes compute what their papers say, and generate what they were trained to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from harness.errors import UsageError
from harness.task import Context
from harness.tasks.length.interface import Network, Setting
from harness.tasks.length.problems.base import END, FIRST, Problem
from harness.tasks.length.problems.languages import EvenPairs, Parity
from harness.tasks.length.problems.pointing import SortFloats
from harness.tasks.length.training import Examples, weights_digest

torch = pytest.importorskip("torch")

from harness.baselines.length._diagonal import Diagonal, Start, hippo_legs  # noqa: E402
from harness.baselines.length._linear import CHUNK, attend  # noqa: E402
from harness.baselines.length.encoder import RotaryEncoder  # noqa: E402
from harness.baselines.length.gru import Gru  # noqa: E402
from harness.baselines.length.linear_attention import LinearAttention  # noqa: E402
from harness.baselines.length.lstm import Lstm  # noqa: E402
from harness.baselines.length.pointer import Pointer  # noqa: E402
from harness.baselines.length.random import Random  # noqa: E402
from harness.baselines.length.s4_ptd import S4Ptd, perturbed  # noqa: E402
from harness.baselines.length.s4d import S4d, start  # noqa: E402
from harness.baselines.length.trained_otherwise import TrainedOtherwise  # noqa: E402
from harness.baselines.length.trivial import Trivial  # noqa: E402

SMALL = Setting(longest=8, vocabulary=13, steps=0, batch=8, width=16, layers=2, heads=2)
RECURRENT: list[tuple[type[Network], dict[str, Any]]] = [
    (Lstm, {"hidden": 16}),
    (Gru, {"hidden": 16, "layers": 2}),
    (S4d, {"modes": 8}),
    (S4d, {"start": "inv", "modes": 8}),
    (S4d, {"start": "legs", "modes": 8}),
    (S4Ptd, {"modes": 16}),
    (LinearAttention, {}),
]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def made(kind: type[Any], problem: Problem | None = None, seed: int = 0, **params: Any) -> Any:
    model = kind()
    vars(model).update(params, context=Context(seed=seed), problem=problem)
    return model


def trained(model: Any, longest: int, steps: int, rate: float, **size: int) -> Any:
    """The model, trained and restored in a fresh instance."""
    problem = model.problem
    setting = Setting(longest, problem.vocabulary, steps, batch=32, rates=(rate,), **size)
    said = {"hint": getattr(model, "hint", ""), "scratchpad": getattr(model, "scratchpad", "")}
    weights = model.fit(problem, Examples(problem, "models", longest, setting.batch, **said), setting)
    again = type(model)()
    vars(again).update({name: value for name, value in vars(model).items() if name != "log"})
    again.restore(weights, setting)
    return again


def exact_match(model: Any, length: int, rows: int = 200) -> float:
    strings = model.problem.sample("models test", length, 0, rows)
    answers = model.predict(strings.x, model.problem.most(length))
    return float(model.problem.judge(strings.x, answers)["exact_match"].mean())


@pytest.mark.parametrize(("kind", "params"), RECURRENT)
def test_a_token_at_a_time_gives_the_logits_of_all_at_once(kind: type[Network], params: dict[str, Any]) -> None:
    torch.manual_seed(3)
    module: Any = made(kind, **params).build(SMALL).eval()
    tokens = torch.randint(0, SMALL.vocabulary, (3, CHUNK + 20))
    with torch.inference_mode():
        whole = module(tokens)
        logits, state = module.extend(tokens[:, :CHUNK], None)
        found = [logits]
        for place in range(CHUNK, tokens.shape[1]):
            logits, state = module.extend(tokens[:, place : place + 1], state)
            found.append(logits)
    assert whole.shape == (*tokens.shape, SMALL.vocabulary)
    torch.testing.assert_close(torch.cat(found, 1), whole[:, CHUNK - 1 :], atol=1e-4, rtol=0)


@pytest.mark.parametrize(("kind", "params"), RECURRENT)
def test_what_comes_later_changes_no_logits(kind: type[Network], params: dict[str, Any]) -> None:
    module: Any = made(kind, **params).build(SMALL).eval()
    tokens = torch.randint(0, SMALL.vocabulary, (2, 12))
    other = tokens.clone()
    other[:, 7:] = (other[:, 7:] + 1) % SMALL.vocabulary
    with torch.inference_mode():
        one, two = module(tokens), module(other)
    torch.testing.assert_close(one[:, :7], two[:, :7], atol=1e-5, rtol=0)
    assert not torch.allclose(one[:, 7:], two[:, 7:], atol=1e-3)


@pytest.mark.parametrize(("kind", "params"), [*RECURRENT, (Pointer, {}), (RotaryEncoder, {})])
def test_the_same_seed_trains_to_the_same_weights(kind: type[Network], params: dict[str, Any]) -> None:
    problem: Problem = SortFloats() if kind is Pointer else Parity()
    setting = Setting(6, problem.vocabulary, steps=4, batch=8, width=16, heads=2)

    def digest(seed: int) -> str:
        examples = Examples(problem, "models", setting.longest, setting.batch)
        return weights_digest(made(kind, problem, seed, **params).fit(problem, examples, setting))

    assert digest(1) == digest(1) != digest(2)


@pytest.mark.parametrize("name", ["lin", "inv", "legs"])
def test_the_kernel_is_the_response_of_the_sampled_system(name: str) -> None:
    eigenvalues, into = start(name, 8)
    torch.manual_seed(0)
    out = torch.randn(2, 8, dtype=torch.complex64)
    layer = Diagonal(Start(eigenvalues, into, out)).double()
    u = torch.randn(1, 30, 2, dtype=torch.float64)
    with torch.no_grad():
        found = layer(u)[0]
        for channel in range(2):
            hold = layer.log_step[channel].exp()
            into_c = torch.view_as_complex(layer.into[channel])
            out_c = torch.view_as_complex(layer.out[channel])
            modes = torch.complex(-layer.log_decay[channel].exp(), layer.frequency[channel])
            x, wanted = torch.zeros(8, dtype=torch.complex128), []
            for now in u[0, :, channel]:
                x = (hold * modes).exp() * x + ((hold * modes).exp() - 1) / modes * into_c * now
                wanted.append((out_c * x).sum().real + layer.skip[channel] * now)
            torch.testing.assert_close(found[:, channel], torch.stack(wanted), atol=1e-6, rtol=1e-6)


def test_the_eigenvalues_are_those_of_the_paper() -> None:
    n = np.arange(4)
    assert np.allclose(start("lin", 4)[0], -0.5 + 1j * np.pi * n)
    assert np.allclose(start("inv", 4)[0], -0.5 + 1j * 8 / np.pi * (8 / (2 * n + 1) - 1))
    legs = np.sort(start("legs", 32)[0].imag.numpy())[::-1]
    assert np.allclose(legs[:3], start("inv", 32)[0].imag[:3], rtol=0.15)  # `inv` approximates them
    with pytest.raises(UsageError, match="lin"):
        start("line", 4)


def test_perturbed_hippo_is_what_its_eigenvectors_make() -> None:
    for norm in (0.1, 0.4):
        e, eigenvalues, vectors = perturbed(16, norm)
        a = hippo_legs(16)[0]
        torch.testing.assert_close(vectors * eigenvalues @ torch.linalg.inv(vectors), a + e, atol=1e-9, rtol=0)
        assert torch.linalg.matrix_norm(e, 2).item() == pytest.approx(norm)
        assert eigenvalues.real.max() < -0.5 + norm
        assert np.linalg.cond(vectors) < 1e3 < 1e5 < np.linalg.cond(torch.linalg.eig(a)[1])


def test_perturbed_hippo_answers_all_frequencies_as_hippo_does_and_s4d_does_not() -> None:
    n = 32
    a, b = hippo_legs(n)
    c = torch.randn(n, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    frequencies = 1j * torch.logspace(-2, 4, 1000, dtype=torch.float64)
    unit = torch.eye(n, dtype=torch.complex128)

    def response(matrix: Any, into: Any) -> Any:
        systems = frequencies[:, None, None] * unit - matrix
        return torch.linalg.solve(systems, into.to(unit.dtype).expand(len(frequencies), n)) @ c.to(unit.dtype)

    def diagonal_response(norm: float) -> Any:
        _, eigenvalues, vectors = perturbed(n, norm)
        residues = (c.to(unit.dtype) @ vectors) * torch.linalg.solve(vectors, b.to(unit.dtype))
        return (residues / (frequencies[:, None] - eigenvalues)).sum(1)

    def gap(found: Any) -> float:
        return float((found - hippo).abs().max())

    hippo = response(a, b)
    without_low_rank = a + b[:, None] * b / 2
    small, large = gap(diagonal_response(0.1)), gap(diagonal_response(0.4))
    assert small < large < gap(response(without_low_rank, b / 2)) / 10
    assert small < 0.1 * float(hippo.abs().max())


@pytest.mark.parametrize("norm", [0.0, 0.5, -1.0])
def test_a_perturbation_that_could_make_modes_grow_is_refused(norm: float) -> None:
    with pytest.raises(UsageError, match=r"between 0 and 0\.5"):
        made(S4Ptd, perturbation=norm).build(SMALL)


def test_linear_attention_is_attention_with_another_kernel() -> None:
    q, k, v = torch.randn(3, 2, 2, CHUNK + 9, 4, dtype=torch.float64)
    weights = ((torch.nn.functional.elu(q) + 1) @ (torch.nn.functional.elu(k) + 1).mT).tril()
    wanted = weights / weights.sum(-1, keepdim=True) @ v
    torch.testing.assert_close(attend(q, k, v, None)[0], wanted)


@pytest.mark.parametrize("kind", [Lstm, Gru])
def test_recurrent_networks_learn_parity_and_hold_at_thirty_times_the_length(kind: type[Network]) -> None:
    model = trained(made(kind, Parity(), seed=1, hidden=32), longest=6, steps=300, rate=1e-2)
    assert [exact_match(model, length) for length in (6, 60, 200)] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("glimpses", [0, 1])
def test_a_pointer_network_learns_to_sort_three_numbers(glimpses: int) -> None:
    model = trained(made(Pointer, SortFloats(), seed=1, hidden=24, glimpses=glimpses), 3, steps=130, rate=2e-2)
    assert exact_match(model, 3) > 0.9
    places = model.predict(SortFloats().sample("longer", 9, 0, 20).x, 9)
    assert (np.sort(places, axis=1) == np.arange(9)).all()


def test_the_writer_fed_its_own_places_has_the_logits_of_training() -> None:
    torch.manual_seed(2)
    module: Any = made(Pointer, glimpses=1).build(SMALL).eval()
    x = torch.rand(5, 7)
    with torch.inference_mode():
        places = module.write(x, 7)
        logits = module(x, places)
    assert torch.equal(logits.argmax(-1), places)
    assert torch.isinf(logits).sum(-1).tolist() == [list(range(7))] * 5


def test_an_encoder_sees_what_comes_later() -> None:
    module: Any = made(RotaryEncoder).build(SMALL).eval()
    tokens = torch.randint(0, SMALL.vocabulary, (2, 12))
    other = tokens.clone()
    other[:, -1] = (other[:, -1] + 1) % SMALL.vocabulary
    with torch.inference_mode():
        assert not torch.allclose(module(tokens)[:, 0], module(other)[:, 0], atol=1e-5)


def test_an_encoder_learns_to_tell_equal_letters_from_different_ones() -> None:
    model = trained(made(RotaryEncoder, EvenPairs(), seed=1), 2, steps=80, rate=5e-3, layers=1)
    assert exact_match(model, 2) == 1.0


def test_a_scratchpad_is_written_and_only_the_answer_handed_in() -> None:
    model = trained(
        made(TrainedOtherwise, Parity(), seed=1, scratchpad="interleaved"), 1, steps=60, rate=5e-3, layers=1
    )
    strings = Parity().sample("models test", 1, 0, 20)
    assert Network.predict(model, strings.x, 5).shape == (20, 5)  # letter, state, mark, answer, end
    assert (model.predict(strings.x, 2) == strings.y).all()


def test_without_a_mark_nothing_is_handed_in() -> None:
    model = made(TrainedOtherwise, Parity(), scratchpad="interleaved")
    model.module = model.build(Setting(3, Parity().vocabulary, 0, 1, width=8, layers=1, heads=1))
    torch.nn.init.zeros_(model.module.head.weight)  # all logits are equal, and the first token is END
    assert (model.predict(np.full((2, 3), FIRST), 2) == -1).all()


def test_random_answers_have_the_right_form_and_follow_from_seed_and_question() -> None:
    x = Parity().sample("random", 9, 0, 2000).x
    answers = made(Random, Parity(), seed=4).predict(x, 2)
    assert answers.shape == (2000, 2) and (answers[:, -1] == END).all()
    assert abs(Parity().judge(x, answers)["exact_match"].mean() - Parity().chance(9)) < 0.05
    assert (made(Random, Parity(), seed=4).predict(x, 2) == answers).all()
    assert (made(Random, Parity(), seed=5).predict(x, 2) != answers).any()
    pointed = made(Random, SortFloats()).predict(SortFloats().sample("random", 6, 0, 10).x, 6)
    assert (np.sort(pointed, axis=1) == np.arange(6)).all()


def test_the_trivial_answer_is_the_problems_own() -> None:
    x = Parity().sample("trivial", 5, 0, 10).x
    assert (trained(made(Trivial, Parity()), 5, 0, 0.1).predict(x, 2) == Parity().trivial(x, 2)).all()
