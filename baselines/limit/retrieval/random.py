"""Control: documents drawn at random, without a look at them."""

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np

from harness.tasks.limit.retrieval import Hits, Retriever


class Random(Retriever):
    """Random documents in random order (control): a function of the seed and the query's text alone."""

    cases = ("critical",)

    def index(self, documents: Sequence[str]) -> None:
        self.n_documents = len(documents)

    def search(self, queries: Sequence[str], k: int) -> Hits:
        k = min(k, self.n_documents)
        ids = np.stack([self._generator(query).choice(self.n_documents, k, replace=False) for query in queries])
        return Hits(ids, np.tile(np.arange(k, 0, -1, dtype=np.float64), (len(queries), 1)))

    def _generator(self, query: str) -> np.random.Generator:
        return np.random.default_rng([self.context.seed, *blake2b(query.encode(), digest_size=16).digest()])
