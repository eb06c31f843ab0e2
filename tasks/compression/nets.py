"""Small networks by name, as functions of their weights: so that others can train, or decode, through them.

Architectures: `fc:64-200-200-10` (fully connected, ReLU), `lenet` (44,426 parameters as in Li et al. 2018, 28 x 28
pixels), `cnn:28:4-8` (two 3 x 3 convolutions of 4 and 8 channels over 28 x 28 pixels, pooled to 3 x 3, and one linear
layer), `charlm` (the next character by a transformer of 2 layers, width 128, context 64).
Everything runs on the CPU, in one thread, and gives the same bits for the same seed, machine and version of torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from math import cos, pi, prod, sqrt
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.errors import UsageError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    Weight = Tensor | tuple[Tensor, ...]
    """A weight, or the factors of a matrix."""
Float32 = NDArray[np.float32]
Shape = tuple[int, ...]
VERSION = 1
"""To be raised with every change of what a training gives: trained weights are cached under it."""
BATCH = 128
TEXT_BATCH = 16
"""Windows of text, each of which is as many examples as it has places."""
LAYERS, WIDTH, HEADS, CONTEXT, VOCABULARY = 2, 128, 4, 64, 96
"""Of `charlm`: the 95 printable ASCII characters, and 0 for the end of a line."""
CLASSES = 10
_POOLED = 3
_EMBEDDINGS = ("e", "p")


def shapes(architecture: str) -> dict[str, Shape]:
    """Names and shapes of the weights, in their order; matrices are (outputs, inputs), as in torch.

    Raises UsageError for an unknown architecture.
    """
    kind, _, rest = architecture.partition(":")
    try:
        match kind:
            case "fc":
                widths = [int(width) for width in rest.split("-")]
                return _numbered([(b, a) for a, b in pairwise(widths)])
            case "cnn":
                first, second = (int(channels) for channels in rest.partition(":")[2].split("-"))
                return _numbered([(first, 1, 3, 3), (second, first, 3, 3), (CLASSES, second * _POOLED**2)])
            case "lenet":
                return _numbered([(6, 1, 5, 5), (16, 6, 5, 5), (120, 256), (84, 120), (CLASSES, 84)])
            case "charlm":
                return _transformer()
    except ValueError:
        pass
    raise UsageError(f"no architecture {architecture!r}: fc:64-200-200-10, lenet, cnn:28:4-8 and charlm are known")


def _numbered(layers: Sequence[Shape]) -> dict[str, Shape]:
    named = (((f"w{i}", layer), (f"b{i}", layer[:1])) for i, layer in enumerate(layers, 1))
    return {name: shape for pair in named for name, shape in pair}


def _transformer() -> dict[str, Shape]:
    named: dict[str, Shape] = {"e": (VOCABULARY, WIDTH), "p": (CONTEXT, WIDTH)}
    for i in range(1, LAYERS + 1):
        named |= {f"n{i}": (WIDTH,), f"q{i}": (3 * WIDTH, WIDTH), f"o{i}": (WIDTH, WIDTH)}
        named |= {f"m{i}": (WIDTH,), f"u{i}": (4 * WIDTH, WIDTH), f"d{i}": (WIDTH, 4 * WIDTH)}
    return named | {"n": (WIDTH,), "h": (VOCABULARY, WIDTH)}


def n_parameters(architecture: str) -> int:
    """Numbers in all weights."""
    return sum(prod(shape) for shape in shapes(architecture).values())


def _channels_last() -> torch.memory_format:
    import torch

    return torch.channels_last


def init(architecture: str, seed: int) -> dict[str, Float32]:
    """Weights to start from, drawn by NumPy: uniform within 1 / sqrt(inputs) (torch's default for these layers); of
    `charlm` embeddings are gaussian of deviation .1 and gains 1."""
    rng = np.random.default_rng([seed, *b"weights"])
    weights: dict[str, Float32] = {}
    bound = 0.0
    for name, shape in shapes(architecture).items():
        if len(shape) > 1:
            bound = 1 / sqrt(prod(shape[1:]))  # the bias that follows takes it as well
        if name in _EMBEDDINGS:
            drawn = 0.1 * rng.standard_normal(shape)
        elif architecture == "charlm" and len(shape) == 1:
            drawn = np.ones(shape)
        else:
            drawn = rng.uniform(-bound, bound, shape)
        weights[name] = drawn.astype(np.float32)
    return weights


def forward(architecture: str, weights: Mapping[str, Weight], inputs: Tensor) -> Tensor:
    """Logits, (n, classes), of inputs, (n, pixels) float32; of `charlm` (n, length, vocabulary) of the next character
    at each place, of (n, length) uint8.

    Any matrix may be given as its factors, (U, V) for U @ V: a linear layer then applies them one by one.
    Differentiable in the weights.
    """
    if architecture == "charlm":
        return _charlm(weights, inputs)
    import torch.nn.functional as f

    x = inputs
    names = [name for name in weights if name.startswith("w")]
    if architecture.startswith(("cnn", "lenet")):
        side = round(sqrt(inputs.shape[1]))
        x = x.reshape(-1, 1, side, side).contiguous(memory_format=_channels_last())
        padding = 1 if architecture.startswith("cnn") else 0
        # pooled before ReLU: the same, of fewer numbers
        x = f.relu(f.max_pool2d(f.conv2d(x, _whole(weights["w1"], 1), _one(weights["b1"]), padding=padding), 2))
        x = f.conv2d(x, _whole(weights["w2"], x.shape[1]), _one(weights["b2"]), padding=padding)
        x = f.relu(f.adaptive_max_pool2d(x, _POOLED) if padding else f.max_pool2d(x, 2)).flatten(1)
        names = names[2:]
    for name in names:
        x = linear(x, weights[name]) + _one(weights["b" + name[1:]])
        if name != names[-1]:
            x = f.relu(x)
    return x


def _charlm(weights: Mapping[str, Weight], inputs: Tensor) -> Tensor:
    import torch.nn.functional as f

    n, length = inputs.shape
    x = _whole(weights["e"])[inputs.long()] + _whole(weights["p"])[:length]
    for i in range(1, LAYERS + 1):
        normed = f.rms_norm(x, (WIDTH,), _one(weights[f"n{i}"]), 1e-5)
        heads = linear(normed, weights[f"q{i}"]).reshape(n, length, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        mixed = f.scaled_dot_product_attention(heads[0], heads[1], heads[2], is_causal=True)
        x = x + linear(mixed.transpose(1, 2).reshape(n, length, WIDTH), weights[f"o{i}"])
        normed = f.rms_norm(x, (WIDTH,), _one(weights[f"m{i}"]), 1e-5)
        x = x + linear(f.gelu(linear(normed, weights[f"u{i}"])), weights[f"d{i}"])
    return linear(f.rms_norm(x, (WIDTH,), _one(weights["n"]), 1e-5), weights["h"])


def linear(x: Tensor, weight: Weight) -> Tensor:
    """x @ W.T for a matrix W, (outputs, inputs), or its factors (U, V, ...), the last of which is applied first."""
    for factor in reversed(_factors(weight)):
        x = x @ factor.T
    return x


def _factors(weight: Weight) -> tuple[Tensor, ...]:
    return tuple(weight) if isinstance(weight, tuple | list) else (weight,)


def _one(weight: Weight) -> Tensor:
    return _factors(weight)[0]


def _whole(weight: Weight, inputs: int = 0) -> Tensor:
    """The matrix itself, multiplied out; of a convolution, which says over how many `inputs`, as its square filters."""
    whole, *more = _factors(weight)
    for factor in more:
        whole = whole @ factor
    if inputs and whole.ndim == 2:
        side = round(sqrt(whole.shape[1] // inputs))
        whole = whole.reshape(-1, inputs, side, side)
    return whole


def tensors(weights: Mapping[str, NDArray[np.floating]]) -> dict[str, Tensor]:
    """The weights as float32 tensors of their own memory."""
    import torch

    return {name: torch.tensor(np.asarray(weight, np.float32)) for name, weight in weights.items()}


def logits(architecture: str, weights: Mapping[str, Weight], inputs: NDArray[np.generic]) -> Float32:
    """Class scores, (n, classes) float32, of inputs, (n, pixels); of `charlm` those of the character after each window,
    (n, vocabulary)."""
    import torch

    with torch.inference_mode():
        given = torch.from_numpy(np.ascontiguousarray(inputs))
        scores: Float32 = last(forward(architecture, weights, given)).numpy()
    return scores


def last(scores: Tensor) -> Tensor:
    """Of logits at each place of a window, those at its end; others as they are."""
    return scores[:, -1] if scores.ndim == 3 else scores


def train(
    architecture: str, weights: Mapping[str, Float32], inputs: NDArray[np.generic], labels: NDArray[np.integer], *,
    epochs: float, lr: float = 1e-3, seed: int = 0, decay: float = 0.0,
) -> dict[str, Float32]:  # fmt: skip
    """Train all weights by `fit`, from those given, which stay as they are."""
    live = {name: tensor.requires_grad_() for name, tensor in tensors(weights).items()}
    fit(
        lambda batch: forward(architecture, live, batch), list(live.values()), inputs, labels,
        epochs=epochs, lr=lr, seed=seed, decay=decay,
    )  # fmt: skip
    return {name: tensor.detach().numpy() for name, tensor in live.items()}


def fit(
    model: Callable[[Tensor], Tensor], parameters: Sequence[Tensor], inputs: NDArray[np.generic],
    labels: NDArray[np.integer], *, epochs: float, lr: float = 1e-3, seed: int = 0, decay: float = 0.0,
) -> None:  # fmt: skip
    """Train `parameters` in place: Adam (AdamW with `decay`), learning rate falling to 0 along a cosine, batches of 128
    in an order drawn by `seed`, cross entropy of what `model` says of a batch of inputs, on one thread.

    `inputs` (n, ...), `labels` (n,), or (n, length) where there are logits at each place.
    """
    import torch
    import torch.nn.functional as f

    shown, wanted = torch.from_numpy(np.array(inputs)), torch.from_numpy(np.array(labels, dtype=np.int64))
    rng = np.random.default_rng([seed, *b"batches"])
    size = min(BATCH if wanted.ndim == 1 else TEXT_BATCH, len(shown))
    steps = max(1, round(epochs * (len(shown) // size)))
    optimiser = torch.optim.AdamW(parameters, lr=lr, weight_decay=decay)
    order = np.empty(0, np.int64)
    with one_thread(), torch.enable_grad():
        for step in range(steps):
            if len(order) < size:
                order = rng.permutation(len(shown))
            chosen, order = torch.from_numpy(order[:size].copy()), order[size:]
            for group in optimiser.param_groups:
                group["lr"] = lr * (1 + cos(pi * step / steps)) / 2
            loss = f.cross_entropy(model(shown[chosen]).flatten(0, -2), wanted[chosen].flatten())
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside, torch uses a single thread, so that sums are taken in the same order anywhere."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
