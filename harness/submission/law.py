"""What a law of records is, and what it may look at: the record itself and what lies beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from harness.record import Record

EQUAL = 1e-9
"""Scores nearer than this are equal: means are taken in floating point."""


@dataclass(frozen=True)
class Evidence:
    """What lies beside a record."""

    items: Mapping[str, NDArray[np.float64]]
    """Per-item scores, by name."""
    samples: Mapping[str, NDArray[np.int64]]
    """Raw latency samples in ns, by stream."""
    digest: str
    """SHA-256 of the sidecar; empty if there is none."""
    environment: Mapping[str, Any] | None
    """What the record names as its environment; None if that is not there."""


OneCheck = Callable[["Record", Evidence], Iterator[str]]
ManyCheck = Callable[[Sequence["Record"]], Iterator[tuple["Record", str]]]


@dataclass(frozen=True)
class Invariant:
    """A law of records. Either looks at one record with its evidence, or at many together."""

    name: str
    says: str
    one: OneCheck | None = None
    many: ManyCheck | None = None
