"""What a sum of random vectors can hold, without any training.

Each token gets a random direction of its own, and a text is the sum of its tokens. A query's own token contributes 1
to the score of a document that lists it, everything else noise of about sqrt(45 / d): the dimension is the limit.

Tokens are found in the text alone, the same way in documents and queries and without a list of known items: `items`
takes what follows "likes" (all of the text, where there is none) and cuts it at commas and at "and"; `words` are the
lower-cased words.
"""

import re
from collections.abc import Sequence
from hashlib import blake2b
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.tasks.limit.retrieval import Encoder


class RandomAdditive(Encoder):
    """Random unit vector per token, summed, dot product (Wang et al. 2026, arXiv:2601.20844): no training."""

    dimension: int = 1024
    tokens: str = "items"
    variants = {
        "random-additive-d128": {"dimension": 128},
        "random-additive-d512": {"dimension": 512},
        "random-additive-d1024": {},
        "random-additive-d2048": {"dimension": 2048},
        "random-additive-words-d512": {"tokens": "words", "dimension": 512},
    }
    requires = ("torch",)
    similarity = "dot"

    def encode(self, texts: Sequence[str]) -> NDArray[Any]:
        import torch

        split = {"items": items, "words": words}[self.tokens]
        columns: dict[str, int] = {}
        rows = [[columns.setdefault(token, len(columns)) for token in split(text)] for text in texts]
        starts = np.cumsum([0, *map(len, rows)])
        places = np.fromiter(chain.from_iterable(rows), np.int64, starts[-1])
        table = np.array([self._direction(token) for token in columns], np.float32).reshape(-1, self.dimension)
        bags = [torch.from_numpy(array) for array in (places, table, starts[:-1])]
        return np.asarray(torch.nn.functional.embedding_bag(bags[0], bags[1], bags[2], mode="sum"))

    def _direction(self, token: str) -> NDArray[np.float32]:
        rng = np.random.default_rng([self.context.seed, *blake2b(token.encode(), digest_size=16).digest()])
        vector = rng.standard_normal(self.dimension, dtype=np.float32)
        return vector / np.linalg.norm(vector)


def items(text: str) -> list[str]:
    """ "X likes A, B and C." -> A, B, C; "Who likes A?" -> A. An item that contains "and" falls apart on both sides."""
    listed = text.partition(" likes ")[2] or text
    return [item for item in listed.strip().rstrip(".?").replace(" and ", ", ").split(", ") if item]


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
