"""Text that ships with Python: the language reference as `help()` shows it (PSF licence), for a character model.

The text differs between versions of Python: its digest goes on the record. Paragraphs that occur twice count once: the
reference repeats some of them under several topics.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.errors import MissingPackage

HELD_OUT = 0.15
"""Share of the text for each of validation and test."""
_BLOCK = 20
"""Paragraphs that stay together when text is dealt to the parts."""
_FIRST, _LAST = 32, 126


@dataclass(frozen=True, eq=False)
class Text:
    """Three disjoint parts of one text as numbers of characters, (n,) uint8 in 0 .. 95 (see `encode`)."""

    train: NDArray[np.uint8]
    validation: NDArray[np.uint8]
    test: NDArray[np.uint8]
    digest: str
    """SHA-256 (hex) of the three, one after the other."""


def reference_text(seed: int) -> Text:
    """The language reference, dealt to train (70 %), validation and test (15 % each) in blocks of 20 paragraphs, by
    `seed`. Raises MissingPackage where Python comes without it."""
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise MissingPackage(
            "this Python comes without the text of its language reference (pydoc_data), which the character model is "
            "trained on; use a full installation of Python, or choose other cases with --case"
        ) from None
    paragraphs = dict.fromkeys(p.strip() for name in sorted(topics) for p in topics[name].split("\n\n"))
    kept = [p for p in paragraphs if p]
    blocks = ["\n\n".join(kept[i : i + _BLOCK]) + "\n\n" for i in range(0, len(kept), _BLOCK)]
    order = np.random.default_rng([seed, *b"text"]).permutation(len(blocks))
    n_held = round(HELD_OUT * len(blocks))
    test, validation, train = (
        encode("".join(blocks[i] for i in part)) for part in np.split(order, [n_held, 2 * n_held])
    )
    digest = hashlib.sha256(b"".join(part.tobytes() for part in (train, validation, test))).hexdigest()
    return Text(train, validation, test, digest)


def encode(text: str) -> NDArray[np.uint8]:
    """Numbers of characters: 1 to 95 for printable ASCII, 0 for the end of a line and for whatever else there is."""
    codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    return np.where((codes >= _FIRST) & (codes <= _LAST), codes - (_FIRST - 1), 0).astype(np.uint8)


def windows(text: NDArray[np.uint8], context: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """For training: windows side by side, (n, context), and the character after each place of them, (n, context)."""
    n = (len(text) - 1) // context
    return text[: n * context].reshape(n, context), text[1 : n * context + 1].reshape(n, context)


def endings(text: NDArray[np.uint8], context: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """For testing: disjoint windows, (n, context), and the one character after each, (n,), which is in none of them:
    who is shown all windows still sees none of the answers."""
    n = len(text) // (context + 1)
    rows = text[: n * (context + 1)].reshape(n, context + 1)
    return rows[:, :context].copy(), rows[:, context].astype(np.int64)
