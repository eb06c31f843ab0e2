"""Projections, training in subspaces, and d90: its interpolation, its search, its intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.task import Case, InvalidAnswer, Outcome
from harness.tasks.compression.subspace import analysis
from harness.tasks.compression.subspace.interface import Objective

torch = pytest.importorskip("torch")


def kinds():
    from harness.baselines.compression.subspace.dense import DenseProjection
    from harness.baselines.compression.subspace.fastfood import FastfoodProjection
    from harness.tasks.compression.subspace.projections import SparseProjection

    return {"sparse": SparseProjection, "dense": DenseProjection, "fastfood": FastfoodProjection}


def matrix(projection, d: int) -> np.ndarray:
    return np.stack([projection.expand(torch.eye(d)[i]).numpy() for i in range(d)], axis=1)


# Projections ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sparse", "dense", "fastfood"])
def test_columns_have_length_one_and_are_nearly_orthogonal(kind):
    columns = matrix(kinds()[kind](6310, 40, 3), 40)
    products = columns.T @ columns
    assert np.diag(products) == pytest.approx(1, abs=0.02 if kind == "fastfood" else 1e-5)
    assert np.abs(products - np.diag(np.diag(products))).max() < 6 / math.sqrt(6310)


def test_fastfood_columns_have_length_one_exactly_where_the_blocks_are_whole():
    columns = matrix(kinds()["fastfood"](64 * 20, 50, 1), 50)
    assert np.linalg.norm(columns, axis=0) == pytest.approx(1, abs=1e-5)


def test_a_sparse_column_has_one_entry_in_each_of_sqrt_d_strips():
    projection = kinds()["sparse"](6310, 30, 5)
    columns = matrix(projection, 30)
    assert {int(np.count_nonzero(column)) for column in columns.T} == {79}
    rows = np.sort(projection.rows.numpy().reshape(30, 79), axis=1)
    assert ((rows * 79 + 78) // 6310 == np.arange(79)).all()


@pytest.mark.parametrize("kind", ["sparse", "dense", "fastfood"])
@given(n=st.integers(1, 300), d=st.integers(1, 40), seed=st.integers(0, 2**60))
def test_reduce_is_the_transpose_of_expand(kind, n, d, seed):
    projection = kinds()[kind](n, d, seed)
    rng = np.random.default_rng(seed)
    z, g = (torch.from_numpy(rng.standard_normal(size, dtype=np.float32)) for size in (d, n))
    left, right = float(projection.expand(z) @ g), float(z @ projection.reduce(g))
    size = float(projection.expand(z).norm() * g.norm()) + float(z.norm() * projection.reduce(g).norm())
    assert abs(left - right) <= 1e-5 * size + 1e-6


@pytest.mark.parametrize("kind", ["sparse", "dense", "fastfood"])
def test_the_seed_alone_decides_the_projection(kind):
    z = torch.arange(1.0, 9.0)
    first, again, other = (kinds()[kind](1000, 8, seed).expand(z).numpy() for seed in (4, 4, 5))
    assert first.tobytes() == again.tobytes() != other.tobytes()


def test_the_sparse_projection_of_a_seed_is_pinned():
    """Artifacts hold the seed instead of P: what it stands for must never change."""
    projection = kinds()["sparse"](44426, 3, 12345)
    assert projection.rows[:4].tolist() == [64, 302, 617, 759]
    assert int(projection.rows.sum()) == 14059658
    signs = (projection.entries[:, :6] > 0).int().tolist()
    assert signs == [[0, 1, 0, 1, 0, 0], [1, 0, 1, 1, 0, 0], [0, 1, 1, 0, 0, 1]]


@given(rows=st.integers(1, 20), log=st.integers(0, 6), seed=st.integers(0, 99))
def test_hadamard_twice_is_n_times_the_same(rows, log, seed):
    from harness.baselines.compression.subspace.fastfood import hadamard

    given_rows = torch.from_numpy(np.random.default_rng(seed).standard_normal((rows, 1 << log), dtype=np.float32))
    assert torch.allclose(hadamard(hadamard(given_rows)), given_rows * (1 << log), atol=1e-3)


def test_a_dense_projection_that_would_fill_the_memory_is_refused():
    from harness.baselines.compression.subspace.dense import Dense
    from harness.task import Unsupported

    with pytest.raises(Unsupported, match="512 MiB"):
        Dense().project(190_410, 1000, 0)


# Training -------------------------------------------------------------------------------------------------------------


def blobs(seed: int = 0, classes: int = 4, n: int = 2000) -> Objective:
    """Four clusters in eight dimensions, for a net of 8-16-10."""
    from harness.tasks.compression.subspace.training import start

    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=n)
    inputs = np.eye(8)[labels] + 0.2 * rng.standard_normal((n, 8))
    return Objective("fc:8-16-10", start("fc:8-16-10", seed), inputs.astype(np.float32), labels)


def accuracy(objective: Objective, d: int, seed: int = 0) -> float:
    from harness.tasks.compression.subspace.training import predict, train_full, train_subspace

    if d == 0:
        theta = train_full(objective, seed)
    else:
        projection = kinds()["sparse"](len(objective.start), d, seed)
        z = train_subspace(objective, projection, d, seed)
        theta = objective.start + projection.expand(torch.from_numpy(z)).numpy()
    return float((predict(objective.net, theta, objective.inputs) == objective.labels).mean())


def test_more_numbers_to_train_learn_more_and_many_learn_as_well_as_all():
    objective = blobs()
    few, some, many, every = (accuracy(objective, d) for d in (1, 8, 60, 0))
    assert few < some - 0.1 < many
    assert many > 0.95 < every


def test_training_in_a_subspace_stays_in_it():
    from harness.tasks.compression.subspace.training import train_subspace

    objective = blobs()
    before = objective.start.copy()
    z = train_subspace(objective, kinds()["sparse"](len(before), 5, 1), 5, 0)
    assert z.shape == (5,) and z.dtype == np.float32 and np.abs(z).min() > 0
    assert (objective.start == before).all()


def test_the_same_seed_trains_the_same_bits():
    from harness.tasks.compression.subspace.training import train_subspace

    runs = [train_subspace(blobs(), kinds()["sparse"](314, 7, 1), 7, 0).tobytes() for _ in range(2)]
    assert runs[0] == runs[1]


@pytest.mark.parametrize("kind", ["sparse", "dense", "fastfood"])
def test_the_gradient_of_z_is_the_projected_gradient_of_theta(kind):
    from harness.tasks.compression.subspace.training import through

    projection = kinds()[kind](50, 6, 2)
    z = torch.linspace(-1, 1, 6).requires_grad_()
    (through(projection, z) ** 2).sum().backward()
    assert z.grad is not None
    assert torch.allclose(z.grad, projection.reduce(2 * projection.expand(z.detach())), atol=1e-5)


def test_theta0_is_he_normal_with_biases_of_zero():
    from harness.tasks.compression.subspace.training import shaped, start

    weights = shaped("lenet", torch.from_numpy(start("lenet", 3)))
    assert float(weights["w3"].std()) == pytest.approx(math.sqrt(2 / 256), rel=0.03)
    assert float(weights["w2"].std()) == pytest.approx(math.sqrt(2 / 150), rel=0.06)
    assert float(weights["b3"].abs().max()) == 0


def test_a_new_head_keeps_all_other_layers():
    from harness.tasks.compression.subspace.training import new_head

    made = new_head("fc:8-16-10", np.zeros(314, np.float32), np.ones(314, np.float32))
    assert made.sum() == 16 * 10 + 10 and made[: 8 * 16 + 16].sum() == 0


# The task -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def subspace():
    pytest.importorskip("sklearn")
    from harness.tasks.compression.subspace.task import Subspace

    return Subspace()


class Clock:
    """A meter that only says which phases there were."""

    repeat = 0

    def __init__(self):
        self.phases: list[str] = []

    def phase(self, name, items=1):
        from contextlib import nullcontext

        self.phases.append(name)
        return nullcontext()

    def each(self, name, items, call): ...


def cell(subspace, case: Case, seed: int = 0):
    from harness.baselines.compression.subspace.sparse import Sparse

    draw, clock = subspace.draw(case, seed), Clock()
    answer = subspace.drive(Sparse(), draw.question, clock, None)
    return subspace.score(case, draw, answer), draw, answer, clock


DIGITS = Case("digits-fc50-d100", {"data": "digits", "net": "fc:64-50-10", "d": 100})


def test_digits_in_100_dimensions_are_learned_and_cost_408_bytes(subspace):
    scored, draw, _, clock = cell(subspace, DIGITS)
    assert 0.7 < scored.values["accuracy"] < 0.95
    assert scored.values["bytes"] == 8 + 4 * 100
    assert clock.phases == ["train"]
    assert len(scored.items["accuracy"]) == draw.about["test"] == 450


def test_full_training_is_the_base_and_costs_all_parameters(subspace):
    case = replace(DIGITS, params={**DIGITS.params, "d": 0})
    scored, _, answer, _ = cell(subspace, case)
    assert scored.values["accuracy"] > 0.93
    assert scored.values["bytes"] == 4 * 3760 and answer["z"].shape == (0,)


def test_shuffled_labels_leave_nothing_to_learn_of_the_test_images(subspace):
    case = replace(DIGITS, params={**DIGITS.params, "labels": "shuffled", "d": 200})
    draw = subspace.draw(case, 0)
    assert draw.question["longer"] > 1
    shown = {**draw.question, "longer": 1}
    from harness.baselines.compression.subspace.sparse import Sparse

    scored = subspace.score(case, draw, subspace.drive(Sparse(), shown, Clock(), None))
    assert scored.values["accuracy"] < 0.25 and scored.values["train_accuracy"] > scored.values["accuracy"] + 0.05


def test_a_method_is_shown_no_label_but_those_of_train_images(subspace):
    draw = subspace.draw(DIGITS, 0)
    assert {k for k in draw.question if "label" in k} == {"train_labels"}
    assert len(draw.question["train_labels"]) == len(draw.question["train"]) == 1047
    assert draw.question["seed"] != 0


def test_pre_training_sees_the_early_classes_only_and_the_fine_tuning_the_others(subspace):
    params = {"data": "digits", "net": "fc:64-50-10", "classes": "5-9", "init": "pretrained", "d": 30}
    case = Case("digits59-fc50-pretrained-d30", params)
    scored, draw, _, clock = cell(subspace, case)
    assert set(draw.question["before_labels"]) == {0, 1, 2, 3, 4}
    assert set(draw.question["train_labels"]) == {5, 6, 7, 8, 9}
    assert set(draw.truth["labels"]["test"]) == {5, 6, 7, 8, 9}
    assert clock.phases == ["pretrain", "train"]
    assert scored.values["accuracy"] > 0.3


def changed(answer: Mapping[str, np.ndarray], **parts: object) -> dict:
    return {name: part for name, part in {**answer, **parts}.items() if part is not None}


def test_answers_that_break_the_contract_are_refused(subspace):
    draw = subspace.draw(DIGITS, 0)
    right = {p: labels for p, labels in draw.truth["labels"].items()} | {"z": np.ones(100, np.float32)}
    assert subspace.score(DIGITS, draw, right).values["accuracy"] == 1
    wrong = {
        "is missing": changed(right, test=None),
        "450 class numbers": changed(right, test=right["test"][:-1]),
        "class numbers": changed(right, test=right["test"].astype(float)),
        "z must be 100": changed(right, z=np.ones(101, np.float32)),
        "finite": changed(right, z=np.full(100, np.nan, np.float32)),
        "float32": changed(right, z=np.ones(100)),
    }
    for said, answer in wrong.items():
        with pytest.raises(InvalidAnswer, match=said):
            subspace.score(DIGITS, draw, answer)


def test_names_and_parameters_of_declared_cases_agree(subspace):
    by_objective: dict[str, set] = {}
    for case in subspace.cases:
        assert case.name == f"{analysis.objective_of(case)}-d{analysis.d_of(case)}"
        by_objective.setdefault(analysis.objective_of(case), set()).add(
            tuple(sorted((k, v) for k, v in case.params.items() if k != "d"))
        )
    assert all(len(params) == 1 for params in by_objective.values())
    assert all(f"{name}-d0" in {c.name for c in subspace.cases} for name in by_objective)


# d90 ------------------------------------------------------------------------------------------------------------------


def outcomes(curve: Mapping[int, float], seeds: int = 1, name: str = "mnist-lenet", **params: str) -> list[Outcome]:
    """One row's cells: `curve` is accuracy by d, a little lower at every further seed."""
    return [
        Outcome(Case(f"{name}-d{d}", {"data": "mnist-5k", "net": "lenet", "d": d, **params}), seed, "ok",
                {"accuracy": value * (1 - 0.01 * seed), "train_accuracy": value})
        for d, value in curve.items() for seed in range(seeds)
    ]  # fmt: skip


def points(found: list[Outcome]) -> dict[str, object]:
    return {p.name: p for p in analysis.breaking_points(found)}


def test_d90_lies_on_the_line_between_two_logarithms():
    known = points(outcomes({0: 1.0, 100: 0.8, 400: 1.0}))
    assert known["d90 relative, mnist-lenet, 1 seed"].value == pytest.approx(200)
    assert known["d90 absolute, mnist-lenet, 1 seed"].value == pytest.approx(200)


def test_the_relative_threshold_follows_the_base_and_the_absolute_one_does_not():
    known = points(outcomes({0: 0.9, 100: 0.8, 200: 0.85, 400: 0.88}))
    assert known["d90 relative, mnist-lenet, 1 seed"].value == pytest.approx(100 * 2**0.2)
    absolute = known["d90 absolute, mnist-lenet, 1 seed"]
    assert absolute.value is None and absolute.text == "> 400" and "0.880" in absolute.beside


def test_without_a_base_there_is_no_relative_d90():
    assert set(points(outcomes({100: 0.8, 400: 1.0}))) == {"d90 absolute, mnist-lenet, 1 seed"}


def test_a_threshold_that_every_d_reaches_is_told_as_such():
    known = points(outcomes({0: 0.9, 100: 0.95}))
    assert known["d90 relative, mnist-lenet, 1 seed"].text == "<= 100"


def test_the_interval_over_seeds_holds_the_d90_of_each_and_one_seed_has_none():
    curve = {0: 0.95, 100: 0.7, 200: 0.84, 400: 0.92}
    of_three = points(outcomes(curve, seeds=3))["d90 absolute, mnist-lenet, 3 seeds"]
    of_one = points(outcomes(curve))["d90 absolute, mnist-lenet, 1 seed"]
    assert of_one.interval == (None, None)
    low, high = of_three.interval
    assert low < of_three.value < high and of_three.value > of_one.value


def test_a_dip_is_noise_that_its_neighbours_average_out():
    found = analysis.crossing({100: 0.7, 200: 0.92, 300: 0.86, 400: 0.95}, 0.9)
    assert (found.fails, found.reaches) == (300, 400)


def test_a_training_that_fails_at_a_large_d_does_not_hide_the_d90_below_it():
    found = analysis.crossing({100: 0.8, 200: 0.95, 4000: 0.1}, 0.9)
    assert (found.fails, found.reaches) == (100, 200)


def test_theta_moves_no_faster_at_a_large_d():
    from harness.tasks.compression.subspace.training import recipe

    of = recipe("lenet")
    assert of.lr_at(100) == of.lr_at(of.at) == of.lr
    assert of.lr_at(16 * of.at) == pytest.approx(of.lr / 4)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_the_pooled_curve_never_falls_and_keeps_the_mean(values):
    pooled = analysis.non_decreasing(values)
    assert all(a <= b + 1e-12 for a, b in pairwise(pooled))
    assert sum(pooled) == pytest.approx(sum(values))


def test_shuffled_labels_are_judged_by_what_is_memorised():
    known = outcomes({0: 1.0, 100: 0.8, 400: 1.0}, name="digits-fc200-labels", labels="shuffled")
    low_test = [replace(o, values={**o.values, "accuracy": 0.1}) for o in known]
    assert points(low_test)["d90 relative, digits-fc200-labels, 1 seed"].value == pytest.approx(200)


def test_controls_are_compared_with_what_they_control():
    known = points(
        outcomes({0: 1.0, 100: 0.8, 400: 1.0}) + outcomes({0: 1.0, 300: 0.8, 1200: 1.0}, name="mnist-lenet-pixels")
    )
    assert known["d90 relative, mnist-lenet-pixels / mnist-lenet"].value == pytest.approx(3)


# The search -----------------------------------------------------------------------------------------------------------


def searched(truth, declared: Mapping[int, float], limit: int = 20) -> list[Outcome]:
    """What a run comes to that adds each case which the search asks for, `truth` being accuracy by d."""
    known = outcomes(declared)
    cases = [o.case for o in known]
    for _ in range(limit):
        asked = list(analysis.next_cases(known, cases))
        if not asked:
            return known
        assert not {c.name for c in asked} & {o.case.name for o in known}
        known += outcomes({analysis.d_of(case): truth(analysis.d_of(case)) for case in asked})
    raise AssertionError("the search does not end")


@given(centre=st.floats(30, 3000), base=st.floats(0.6, 1.0))
def test_the_search_brackets_the_relative_d90_within_ten_percent(centre, base):
    def truth(d: int) -> float:
        return base / (1 + (centre / d) ** 2 / 9)  # 0.9 of the base at `centre`

    known = searched(truth, {0: base, **{d: truth(d) for d in (200, 500, 1000)}})
    found = analysis.crossing(analysis.objectives(known)[0].mean, 0.9 * base)
    assert found.fails is not None and found.reaches is not None
    assert found.fails < centre * 1.001 and centre < found.reaches * 1.001
    assert found.reaches <= 1.1 * found.fails or found.reaches - found.fails <= 10 ** (len(str(found.reaches)) - 2)
    assert found.d90 == pytest.approx(centre, rel=0.02)


def test_the_search_gives_up_at_four_times_the_largest_declared_d():
    known = searched(lambda d: 0.3, {0: 0.95, 100: 0.3, 400: 0.3})
    assert max(analysis.d_of(o.case) for o in known) == 1600
    assert points(known)["d90 relative, mnist-lenet, 1 seed"].text == "> 1600"


def test_nothing_is_searched_without_a_base_or_after_a_failure():
    curve = outcomes({100: 0.5, 400: 0.95})
    assert list(analysis.next_cases(curve, [])) == []
    base = outcomes({0: 0.95})
    assert list(analysis.next_cases(curve + base, [])) != []
    failed = [*curve, *base, replace(curve[0], status="failed", values={})]
    assert list(analysis.next_cases(failed, [])) == []


def test_a_searched_case_is_named_and_made_like_the_declared_ones():
    case = next(iter(analysis.next_cases(outcomes({0: 0.95, 100: 0.5, 400: 0.95}), [])))
    assert case.name == "mnist-lenet-d200" and case.params == {"data": "mnist-5k", "net": "lenet", "d": 200}


def test_published_values_stand_beside_what_was_found():
    known = points(outcomes({0: 1.0, 100: 0.8, 400: 1.0}))
    assert "275" in known["d90 relative, mnist-lenet, 1 seed"].beside
    assert "290" in known["d90 absolute, mnist-lenet, 1 seed"].beside
