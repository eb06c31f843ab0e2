"""What a record says of a model: enough to tell whether two rows, or two years, ran the same thing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from harness.task import Scalar

__all__ = ["describe_model", "digest_files", "digest_parameters", "truncated_share"]

WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".onnx", ".npz", ".npy", ".model2vec")
CHUNK = 1 << 20


def describe_model(
    model: Any, folder: Path | None = None, texts: Iterable[str] = (), prompts: Mapping[str, str] | None = None
) -> dict[str, Scalar]:
    """Provenance of a sentence-transformers `model` that was loaded from `folder` (None: not from a local folder).

    `texts` are those it encoded, for the share that was cut off; `prompts` those it was used with, if not its own.
    Without a folder the digest is of the parameters in memory, and `weights_digest_of` says so.
    """
    files = weight_files(folder) if folder else []
    first = next(iter(model.parameters()), None)
    used = model.prompts if prompts is None else prompts
    described: dict[str, Scalar] = {
        "weights_digest": digest_files(files) if files else digest_parameters(model),
        "weights_digest_of": "files" if files else "parameters",
        "prompts": json.dumps({name: text for name, text in sorted(used.items()) if text}),
        "max_tokens": _finite(model.max_seq_length),
        "dtype": str(first.dtype).removeprefix("torch.") if first is not None else None,
        "similarity": str(model.similarity_fn_name),
        "remote_code": False,
    }
    share = truncated_share(model, texts)
    return described if share is None else {**described, "truncated_share": share}


def weight_files(folder: Path) -> list[Path]:
    """Files with weights below `folder`, in the order of their relative paths."""
    found = (path for path in folder.rglob("*") if path.suffix in WEIGHTS and path.is_file())
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def digest_files(files: Iterable[Path]) -> str:
    """SHA-256 (hex) of one file as `sha256sum` prints it; of several, that of their digests end to end."""
    digests = []
    for path in files:
        state = sha256()
        with path.open("rb") as stream:
            while chunk := stream.read(CHUNK):
                state.update(chunk)
        digests.append(state.hexdigest())
    return digests[0] if len(digests) == 1 else sha256("".join(digests).encode()).hexdigest()


def digest_parameters(model: Any) -> str:
    """SHA-256 (hex) over names, shapes, dtypes and bytes of a torch module's state, ordered by name."""
    import torch

    state = sha256()
    for name, value in sorted(model.state_dict().items()):
        if not isinstance(value, torch.Tensor):
            continue
        state.update(f"{name} {tuple(value.shape)} {value.dtype}\n".encode())
        plain = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        state.update(plain.numpy().tobytes())
    return state.hexdigest()


def truncated_share(model: Any, texts: Iterable[str]) -> float | None:
    """Share of the distinct `texts` with more tokens than the model reads; None where it cannot be known."""
    distinct, limit = sorted(set(texts)), _finite(model.max_seq_length)
    tokenizer = getattr(model, "tokenizer", None)
    if not distinct or limit is None or not callable(tokenizer):
        return None
    cut = 0
    for start in range(0, len(distinct), 4096):
        encoded = tokenizer(distinct[start : start + 4096], truncation=False, padding=False, verbose=False)
        cut += sum(len(ids) > limit for ids in encoded["input_ids"])
    return cut / len(distinct)


def _finite(limit: object) -> int | None:
    """The limit on tokens, or None where there is none (StaticEmbedding says infinity)."""
    return int(limit) if isinstance(limit, int | float) and 0 < limit < 1 << 60 else None
