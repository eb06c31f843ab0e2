"""The lexical reference: what words alone can do."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.tasks.limit.retrieval import Hits, Retriever
from harness.tasks.limit.retrieval.ranking import best_in_blocks


class BM25(Retriever):
    """Okapi BM25 over words (Robertson & Zaragoza 2009, eq. 3.15), with Lucene's idf, by bm25s.

    English stopwords are left out; words are stemmed (Snowball) or not. This is also what mteb's baseline does.
    """

    k1: float = 1.5
    b: float = 0.75
    stem: bool = True
    variants = {"bm25": {}, "bm25-unstemmed": {"stem": False}}
    requires = ("bm25s", "Stemmer")
    cases = ("critical",)

    def load(self) -> None:
        import Stemmer

        self.stemmer = Stemmer.Stemmer("english") if self.stem else None

    def index(self, documents: Sequence[str]) -> None:
        import bm25s

        self.model = bm25s.BM25(k1=self.k1, b=self.b, method="lucene")
        self.model.index(self._words(documents, ids=True), show_progress=False)
        self.n_documents = len(documents)

    def search(self, queries: Sequence[str], k: int) -> Hits:
        known = [self.model.get_tokens_ids(words) for words in self._words(queries)]
        scores = self.model.get_scores_from_ids
        return best_in_blocks(
            lambda first, last: np.stack([scores(words) for words in known[first:last]]),
            len(queries), self.n_documents, k,
        )  # fmt: skip

    def _words(self, texts: Sequence[str], ids: bool = False) -> Any:
        import bm25s

        return bm25s.tokenize(list(texts), stopwords="en", stemmer=self.stemmer, return_ids=ids, show_progress=False)
