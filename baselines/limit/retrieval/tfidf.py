"""The oldest vector space there is."""

from collections.abc import Sequence

from harness.tasks.limit.retrieval import Hits, Retriever
from harness.tasks.limit.retrieval.ranking import best_in_blocks


class TfIdf(Retriever):
    """Cosine of word tf-idf vectors (Salton & Buckley 1988), with scikit-learn's defaults: all words, unstemmed."""

    requires = ("sklearn",)

    def index(self, documents: Sequence[str]) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self.vectorizer = TfidfVectorizer()
        self.inverted = self.vectorizer.fit_transform(documents).T.tocsr()

    def search(self, queries: Sequence[str], k: int) -> Hits:
        vectors = self.vectorizer.transform(queries)
        return best_in_blocks(
            lambda first, last: (vectors[first:last] @ self.inverted).toarray(),
            len(queries), self.inverted.shape[1], k,
        )  # fmt: skip
