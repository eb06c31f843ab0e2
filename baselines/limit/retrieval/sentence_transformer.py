"""Any model that sentence-transformers loads: `--baseline st:FOLDER`, or st:NAME of one that is downloaded."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from harness.errors import Unsupported
from harness.task import Scalar
from harness.tasks.limit.retrieval import Encoder
from harness.tasks.limit.retrieval.provenance import describe_model
from harness.tasks.limit.retrieval.search import normalise


class SentenceTransformerModel(Encoder):
    """A sentence-transformers model with its own prompts and its own similarity (cosine or dot); no remote code."""

    model: str = ""
    prefix = "st"
    requires = ("torch", "sentence_transformers")
    cost = "heavy"
    devices = ("cpu", "cuda")
    cases = ("critical",)
    similarity = "dot"

    def load(self) -> None:
        from sentence_transformers import SentenceTransformer

        self.encoder = SentenceTransformer(self.model, device=self.context.device, trust_remote_code=False)
        if self.encoder.similarity_fn_name not in ("cosine", "dot"):
            raise Unsupported(f"{self.model} compares by {self.encoder.similarity_fn_name}; only cosine and dot are")
        self.texts: set[str] = set()

    def encode(self, texts: Sequence[str]) -> NDArray[Any]:
        self.texts.update(texts)
        return self._compared(self.encoder.encode_document(list(texts), show_progress_bar=False))

    def encode_queries(self, texts: Sequence[str]) -> NDArray[Any]:
        self.texts.update(texts)
        return self._compared(self.encoder.encode_query(list(texts), show_progress_bar=False))

    def _compared(self, vectors: NDArray[Any]) -> NDArray[Any]:
        """Vectors whose dot product is the model's similarity."""
        return normalise(vectors) if self.encoder.similarity_fn_name == "cosine" else vectors

    def describe(self) -> Mapping[str, Scalar]:
        folder = Path(self.model)
        return describe_model(self.encoder, folder if folder.is_dir() else None, self.texts)
