"""The artifact: one block of bytes that holds all that a decoder needs, and how its size is told.

Arrays are laid out as safetensors does (8 bytes of length, a JSON header, the data: huggingface.co/docs/safetensors),
written and read without a copy. Everything counts: scales, codebooks, masks, indices, seeds, and the header itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.task import InvalidAnswer

ZSTD_LEVEL = 19
"""Of the one entropy coder that artifacts are also told by."""
ZSTD_WHOLE = 2 << 20
"""Larger artifacts are coded in ZSTD_SLICES slices of this many bytes in all, evenly spread, and scaled up."""
ZSTD_SLICES = 8
_NAMES = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "uint16": "U16", "int16": "I16", "uint32": "U32", "int32": "I32",
    "uint64": "U64", "int64": "I64", "float16": "F16", "float32": "F32", "float64": "F64",
}  # fmt: skip
_DTYPES = {tag: np.dtype(name) for name, tag in _NAMES.items()}
Bytes = NDArray[np.uint8]


def allocate(shapes: Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]]) -> tuple[Bytes, dict[str, NDArray[Any]]]:
    """An artifact, (bytes,), with room for arrays of these dtypes and shapes, and views of that room by name.

    Raises InvalidAnswer for a dtype that it cannot hold, or where nothing is to be held.
    """
    header: dict[str, Any] = {}
    places: dict[str, int] = {}
    size = 0
    # wide dtypes first: every view is aligned, and no padding is needed
    for name, (dtype, shape) in sorted(shapes.items(), key=lambda s: -s[1][0].itemsize):
        if dtype.name not in _NAMES:
            raise InvalidAnswer(f"the part {name!r} has the dtype {dtype}; hand it over as .view(np.uint8)")
        nbytes = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        header[name] = {"dtype": _NAMES[dtype.name], "shape": list(shape), "data_offsets": [size, size + nbytes]}
        places[name] = size
        size += nbytes
    if not size:
        raise InvalidAnswer("the artifact is empty: nothing was encoded; return what decode needs")
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    start = 8 + len(text)
    artifact = np.zeros(start + size, np.uint8)
    artifact[:8] = np.frombuffer(np.uint64(len(text)).tobytes(), np.uint8)
    artifact[8:start] = np.frombuffer(text, np.uint8)
    views = {}
    for name, (dtype, shape) in shapes.items():
        first, last = (start + offset for offset in header[name]["data_offsets"])
        views[name] = artifact[first:last].view(dtype).reshape(shape)
    return artifact, views


def pack(parts: Mapping[str, NDArray[Any]]) -> Bytes:
    """One artifact, (bytes,), of named arrays of booleans, integers or floats (0-d ones for single numbers).

    Small floats and packed codes are handed over as uint8 views. Raises InvalidAnswer for anything else.
    """
    if not isinstance(parts, Mapping):
        raise InvalidAnswer(f"encode returned {type(parts).__name__}; return a dict of arrays")
    for name, part in parts.items():
        if not isinstance(name, str) or not isinstance(part, np.ndarray | np.generic):
            raise InvalidAnswer(f"encode returned {name!r}: {type(part).__name__}; every part must be a named array")
    artifact, views = allocate({name: (part.dtype, part.shape) for name, part in parts.items()})
    for name, part in parts.items():
        views[name][...] = part
    return artifact


def unpack(artifact: Bytes) -> dict[str, NDArray[Any]]:
    """The arrays of an artifact, as views of it. Raises InvalidAnswer for bytes that are none."""
    artifact = np.asarray(artifact)
    try:
        if artifact.dtype != np.uint8 or artifact.ndim != 1:
            raise ValueError(f"expected bytes, got {artifact.dtype} of shape {artifact.shape}")
        start = 8 + int(artifact[:8].view(np.uint64)[0])
        found = {}
        for name, entry in json.loads(artifact[8:start].tobytes()).items():
            first, last = (start + int(offset) for offset in entry["data_offsets"])
            found[name] = artifact[first:last].view(_DTYPES[entry["dtype"]]).reshape(entry["shape"])
        return found
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise InvalidAnswer(f"the artifact cannot be read: {error}") from None


def zstd_size(artifact: Bytes) -> float:
    """Bytes after zstandard at level 19; of a large artifact estimated from slices."""
    import zstandard

    coder = zstandard.ZstdCompressor(level=ZSTD_LEVEL)
    n = len(artifact)
    if n <= ZSTD_WHOLE:
        return float(len(coder.compress(artifact.tobytes())))
    width = ZSTD_WHOLE // ZSTD_SLICES
    starts = [i * (n - width) // (ZSTD_SLICES - 1) for i in range(ZSTD_SLICES)]
    coded = sum(len(coder.compress(artifact[start : start + width].tobytes())) for start in starts)
    return coded / (width * ZSTD_SLICES) * n
