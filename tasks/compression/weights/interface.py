"""What a baseline of `compression/weights` implements: a compressor of networks, or of single matrices of weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.task import Baseline
from harness.tasks.compression import nets

Float32 = NDArray[np.float32]
Parts = Mapping[str, NDArray[Any]]
"""Named arrays of the artifact (booleans, integers, floats). Names count as well: keep them short."""
Predictor = Callable[[NDArray[Any]], Float32]
"""Inputs, (n, pixels) float32 or, of `charlm`, (n, context) uint8, to class scores, (n, classes) float32; of `charlm`
those of the character that follows the window."""
Matrix = Float32 | tuple[Float32, ...]
"""A matrix of weights, (outputs, inputs), or its factors (U, V), which then are applied one by one."""
_ARCHITECTURE, _SMALL = "a", "b"
"""Names of the parts that every TensorCodec writes."""


@dataclass(frozen=True, eq=False)
class Problem:
    """What the network was trained for: also enough to train another one."""

    architecture: str
    """Of the reference; see `harness.tasks.compression.nets`."""
    inputs: NDArray[Any]
    """Of the train part, (n, pixels) float32 in [0, 1]; of `charlm` (n, context) uint8, windows of characters."""
    labels: NDArray[Any]
    """(n,) int64; of `charlm` (n, context) uint8, the next character at each place."""

    @property
    def is_text(self) -> bool:
        return self.inputs.dtype == np.uint8


class Compressor(Baseline):
    """A way to store a network in few bytes.

    `load` and `encode` run in one process; in another one, which sees nothing but the artifact and, after `decode`, the
    inputs, `load` and `decode` run on a new instance. Attributes set by `encode` do not get there.
    """

    max_threads = 1

    def encode(self, weights: Mapping[str, Float32], problem: Problem) -> Parts:
        """The artifact's parts. All that `decode` needs must be among them: all of them count.

        `weights` are the reference's, by name, as `nets.shapes(problem.architecture)` says. Using them is no duty.
        """
        raise NotImplementedError

    def decode(self, parts: Parts) -> Predictor:
        """A predictor, from the artifact's parts alone."""
        raise NotImplementedError


class TensorCodec(Compressor):
    """A compressor that treats each matrix by itself: subclasses say how to `shrink` and `restore` one.

    Filters of a convolution, (out, in, height, width), are seen as a matrix (out, in * height * width); vectors (biases
    and gains) are stored as float16, all in one part.
    """

    max_threads = 1
    small = "float16"

    def encode(self, weights: Mapping[str, Float32], problem: Problem) -> Parts:
        self.prepare(weights, problem)
        small = [w for w in weights.values() if w.ndim < 2]
        parts: dict[str, NDArray[Any]] = {_ARCHITECTURE: spelled(problem.architecture)}
        if small:
            parts[_SMALL] = np.concatenate(small).astype(self.small)
        for name, weight in weights.items():
            if weight.ndim > 1:
                shrunk = self.shrink(weight.reshape(len(weight), -1))
                parts |= {f"{name}{part}": array for part, array in shrunk.items()}
        return parts

    def decode(self, parts: Parts) -> Predictor:
        import torch

        architecture = named(parts[_ARCHITECTURE])
        whole: dict[str, Any] = {}
        small = parts.get(_SMALL, np.empty(0, np.float16)).astype(np.float32)
        for name, shape in nets.shapes(architecture).items():
            if len(shape) < 2:
                own, small = small[: shape[0]], small[shape[0] :]
                whole[name] = torch.tensor(own)
                continue
            own_parts = {part.removeprefix(name): array for part, array in parts.items() if _is_of(part, name)}
            matrix = self.restore(own_parts, (shape[0], prod(shape[1:])))
            factors = tuple(torch.tensor(np.asarray(m, np.float32)) for m in _listed(matrix))
            whole[name] = factors if len(factors) > 1 else factors[0].reshape(shape)
        return lambda inputs: nets.logits(architecture, whole, inputs)

    def prepare(self, weights: Mapping[str, Float32], problem: Problem) -> None:
        """Before `shrink` sees single matrices: what depends on all of them, such as a threshold or ranks."""

    def shrink(self, matrix: Float32) -> Parts:
        """Parts, by names of no or one letter, of a matrix (outputs, inputs)."""
        raise NotImplementedError

    def restore(self, parts: Parts, shape: tuple[int, int]) -> Matrix:
        """The matrix of this shape, or its factors."""
        raise NotImplementedError


def spelled(text: str) -> NDArray[np.uint8]:
    """Text as the bytes that an artifact may hold."""
    return np.frombuffer(text.encode("ascii"), np.uint8)


def named(part: NDArray[Any]) -> str:
    """The text of such a part."""
    return part.astype(np.uint8).tobytes().decode("ascii")


def _is_of(part: str, name: str) -> bool:
    """Whether `part` is the weight `name`'s: its name, and at most one letter more that is no digit."""
    more = part.removeprefix(name)
    return part.startswith(name) and len(more) <= 1 and not more.isdigit()


def _listed(matrix: Matrix) -> tuple[Float32, ...]:
    return matrix if isinstance(matrix, tuple) else (matrix,)
