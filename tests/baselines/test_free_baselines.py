"""The methods of the free-embedding task: their mathematics, their reproducibility, and what precision costs."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from harness.baselines.limit.free.free_embedding import Adam, FreeEmbedding, InfoNCE, Projection
from harness.baselines.limit.free.moment_curve import MomentCurve
from harness.baselines.limit.free.random import Random
from harness.task import Case, Context, Unsupported
from harness.tasks.limit.free import TIE, FreeEmbedder, all_pairs, smallest_margin
from harness.tasks.limit.free.published import published_critical_n
from harness.tasks.limit.free.task import HIGH, Free


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """As in a cell; on a busy machine a second thread slows products of this size down many times over."""
    with threadpool_limits(1):
        yield


class PlainMeter:
    """A meter that only runs what it is given."""

    repeat = 0

    @contextmanager
    def phase(self, name: str, items: int = 1) -> Iterator[None]:
        yield

    def each(self, name: str, items: Sequence[Any], call: Callable[[Any], object]) -> None:
        for item in items:
            call(item)


def critical_n(method: FreeEmbedder, d: int, seed: int = 0) -> int:
    task, case = Free(), Case(f"d{d}", {"d": d})
    method.context = Context(seed=seed)
    draw = task.draw(case, 0)
    return int(task.score(case, draw, task.drive(method, draw.question, PlainMeter(), None)).values["critical_n"])


def precision(dtype: str) -> MomentCurve:
    method = MomentCurve()
    method.dtype = dtype
    return method


def plain_loss(vectors: NDArray[np.float64], n: int, temperature: float) -> float:
    """InfoNCE by its definition: mean over relevant pairs of -log softmax over all documents."""
    first, second = all_pairs(n)
    m = len(first)
    logits = vectors[:, :m].T @ vectors[:, m:] / temperature
    log_softmax = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    rows = np.arange(m)
    return -float(np.mean([log_softmax[rows, first], log_softmax[rows, second]]))


def unit_vectors(n: int, d: int, seed: int) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).standard_normal((d, n * (n - 1) // 2 + n)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=0)
    return vectors


problems = given(
    n=st.integers(3, 7), d=st.integers(2, 6), temperature=st.sampled_from([0.1, 0.3, 1.0]), seed=st.integers(0, 2**32)
)


@settings(deadline=None)
@problems
def test_the_loss_is_infonce_by_its_definition(n: int, d: int, temperature: float, seed: int) -> None:
    vectors = unit_vectors(n, d, seed)
    expected = plain_loss(vectors.astype(np.float64), n, temperature)
    assert InfoNCE(n, d, temperature)(vectors) == pytest.approx(expected, rel=1e-4, abs=1e-5)


@settings(deadline=None)
@problems
def test_the_gradient_agrees_with_finite_differences(n: int, d: int, temperature: float, seed: int) -> None:
    vectors = unit_vectors(n, d, seed)
    objective = InfoNCE(n, d, temperature)
    objective(vectors)
    exact, step = vectors.astype(np.float64), 1e-5
    expected = np.empty_like(exact)
    for place in np.ndindex(exact.shape):
        up, down = exact.copy(), exact.copy()
        up[place] += step
        down[place] -= step
        expected[place] = (plain_loss(up, n, temperature) - plain_loss(down, n, temperature)) / (2 * step)
    np.testing.assert_allclose(objective.gradient / objective.gradient_scale, expected, rtol=2e-3, atol=2e-5)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32), scale=st.sampled_from([1.0, 7.5, 4000.0]))
def test_adam_agrees_with_its_textbook_form_whatever_the_gradients_scale(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    parameters = rng.standard_normal((3, 5)).astype(np.float32)
    expected = parameters.astype(np.float64)
    adam = Adam(parameters, 0.01, scale)
    first = second = np.zeros((3, 5))
    for t in range(1, 8):
        gradient = rng.standard_normal((3, 5)) * 10.0 ** rng.integers(-9, 2)  # down to where epsilon matters
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        expected -= 0.01 * (first / (1 - 0.9**t)) / (np.sqrt(second / (1 - 0.999**t)) + 1e-8)
        adam.step((gradient * scale).astype(np.float32))
    np.testing.assert_allclose(parameters, expected, atol=2e-6)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32))
def test_the_projection_keeps_directions_and_makes_lengths_one(seed: int) -> None:
    vectors = np.random.default_rng(seed).standard_normal((4, 9)).astype(np.float32)
    before = vectors.copy()
    Projection(vectors)()
    np.testing.assert_allclose(vectors, before / np.linalg.norm(before, axis=0), rtol=1e-5)


def test_the_same_seed_gives_the_same_bits_and_another_seed_others() -> None:
    def fit(seed: int) -> bytes:
        method = FreeEmbedding()
        method.context = Context(seed=seed)
        return b"".join(part.tobytes() for part in method.fit(10, 5))

    assert fit(1) == fit(1)
    assert fit(1) != fit(2)


def test_free_embeddings_solve_what_random_vectors_do_not() -> None:
    free, chance = FreeEmbedding().fit(7, 4), Random().fit(7, 4)
    assert smallest_margin(*free) > TIE
    assert not smallest_margin(*chance) > TIE
    for part in (*free, *chance):
        assert part.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(part, axis=1), 1, atol=1e-5)


def test_an_attempt_ends_once_the_loss_no_longer_falls() -> None:
    hopeless = FreeEmbedding()
    hopeless.patience = 5
    hopeless.min_delta = 100.0  # no step after the first can count as progress
    stopped = hopeless.fit(20, 4)
    bounded = FreeEmbedding()
    bounded.max_steps = 6  # the first step, and five more without progress
    for one, other in zip(stopped, bounded.fit(20, 4), strict=True):
        np.testing.assert_array_equal(one, other)


def test_random_vectors_solve_no_more_than_two_documents() -> None:
    assert critical_n(Random(), 12) == 2


def test_precision_not_dimension_is_what_the_moment_curve_runs_out_of() -> None:
    ladder = [critical_n(precision(dtype), 4) for dtype in ("float64", "float32", "float16", "bfloat16")]
    assert ladder[0] == HIGH
    assert ladder == sorted(set(ladder), reverse=True)
    # By what rounding leaves of a gap that shrinks like n^-4: float32 beyond 100, float16 not to LIMIT-small's 46.
    assert ladder[1] > 100
    assert ladder[2] < 46


def test_every_variant_of_the_moment_curve_stores_what_its_name_says() -> None:
    stored = {}
    for name, changed in MomentCurve.variants.items():
        method = MomentCurve()
        for parameter, value in changed.items():
            setattr(method, parameter, value)
        stored[name] = method.fit(9, 4).queries
    assert stored["moment-curve"].dtype == np.float64
    assert stored["moment-curve-f32"].dtype == np.float32
    assert stored["moment-curve-f16"].dtype == np.float16
    assert not (stored["moment-curve-bf16"].view(np.uint32) & 0xFFFF).any()


def test_bfloat16_rounds_to_the_nearest_and_halves_to_even() -> None:
    from harness.baselines.limit.free.moment_curve import _stored

    values = np.array([1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, -(1 + 2**-8), 0.0, 0.75])
    assert _stored(values, "bfloat16").tolist() == [1, 1 + 2**-6, 1 + 2**-7, -1, 0, 0.75]


def test_the_moment_curve_says_that_it_lives_in_four_dimensions() -> None:
    with pytest.raises(Unsupported, match="d = 4"):
        critical_n(MomentCurve(), 6)


@pytest.mark.slow
@pytest.mark.parametrize(("d", "allowed"), [(4, 2.0), (6, 0.12 * 19)])
def test_the_median_critical_n_of_five_seeds_meets_the_published_one(d: int, allowed: float) -> None:
    median = statistics.median(critical_n(FreeEmbedding(), d, seed) for seed in range(5))
    published = published_critical_n(d)
    assert published is not None
    assert abs(median - published) <= allowed
