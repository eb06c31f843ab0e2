"""Any encoder that mteb can load, encoding as mteb's own evaluation of LIMIT would: `--baseline mteb:ORG/NAME`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import Unsupported
from harness.task import Scalar
from harness.tasks.limit.retrieval import Encoder
from harness.tasks.limit.retrieval.provenance import describe_model
from harness.tasks.limit.retrieval.search import normalise


class MtebModel(Encoder):
    """A model of mteb's registry, of the hub or of a folder, by mteb's wrapper, prompts and similarity."""

    model: str = ""
    prefix = "mteb"
    requires = ("torch", "sentence_transformers", "mteb")
    cost = "heavy"
    devices = ("cpu", "cuda")
    cases = ("critical",)
    similarity = "dot"

    def load(self) -> None:
        import mteb

        self.encoder = self._loaded()
        if not isinstance(self.encoder, mteb.EncoderProtocol):
            raise Unsupported(f"mteb's {self.model} is no encoder of single vectors ({type(self.encoder).__name__})")
        # An enumeration, whose value is what its publishers call it.
        named = self.encoder.mteb_model_meta.similarity_fn_name
        self.compares_by = str(getattr(named, "value", named))
        if self.compares_by not in ("cosine", "dot"):
            raise Unsupported(f"mteb's {self.model} compares by {self.compares_by}; only cosine and dot are supported")
        self.task = mteb.get_task("LIMITRetrieval").metadata
        self.texts: set[str] = set()

    def _loaded(self) -> Any:
        import mteb

        if Path(self.model).is_dir():  # mteb takes names only, and wraps what sentence-transformers has loaded
            from mteb.models import SentenceTransformerEncoderWrapper
            from sentence_transformers import SentenceTransformer

            found = SentenceTransformer(self.model, device=self.context.device, trust_remote_code=False)
            return SentenceTransformerEncoderWrapper(found)
        if mteb.get_model_meta(self.model, fetch_from_hf=True).loader_kwargs.get("trust_remote_code"):
            raise Unsupported(f"mteb's {self.model} runs code from the hub, which is switched off here")
        return mteb.get_model(self.model, device=self.context.device)

    def encode(self, texts: Sequence[str]) -> NDArray[Any]:
        return self._encode(texts, "document")

    def encode_queries(self, texts: Sequence[str]) -> NDArray[Any]:
        return self._encode(texts, "query")

    def _encode(self, texts: Sequence[str], kind: str) -> NDArray[Any]:
        from datasets import Dataset
        from mteb.types import PromptType
        from torch.utils.data import DataLoader

        self.texts.update(texts)
        batches = DataLoader(Dataset.from_dict({"text": list(texts)}), batch_size=32)
        vectors = self.encoder.encode(
            batches, task_metadata=self.task, hf_split="test", hf_subset="default", prompt_type=PromptType(kind),
            batch_size=32, show_progress_bar=False,
        )  # fmt: skip
        found = np.asarray(vectors)
        return normalise(found) if self.compares_by == "cosine" else found

    def describe(self) -> Mapping[str, Scalar]:
        meta, inner = self.encoder.mteb_model_meta, getattr(self.encoder, "model", None)
        known: dict[str, Scalar] = {"similarity": self.compares_by, "revision": meta.revision, "remote_code": False}
        if not hasattr(inner, "max_seq_length"):  # not of sentence-transformers: only what mteb knows of it
            return {**known, "max_tokens": meta.max_tokens}
        folder = Path(self.model)
        prompts = getattr(self.encoder, "model_prompts", None)
        return {**describe_model(inner, folder if folder.is_dir() else None, self.texts, prompts or {}), **known}
