"""Named values in a folder: how questions and answers cross the border between processes.

Texts are one UTF-8 block with offsets, arrays are .npy files (read memory-mapped), everything else is JSON. Nothing is
ever unpickled, so that reading what a hostile child wrote runs no code of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

_MANIFEST = "bundle.json"
MAX_BYTES = 8 << 30
"""A bundle larger than this is refused, so that an answer cannot exhaust the judge."""
MAX_MANIFEST_BYTES, MAX_VALUES = 64 << 20, 10_000
"""The same for `bundle.json`, which is parsed as a whole, and for the number of values in it."""


class BundleError(ValueError):
    """The folder holds no readable bundle; the message says what is wrong."""


def write_bundle(folder: Path, values: Mapping[str, Any]) -> None:
    """Write `values` (lists of str, NumPy arrays without objects, or JSON values) into `folder`.

    Raises BundleError for a value of another kind. The manifest is written last: a half-written bundle has none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    manifest: dict[str, Any] = {}
    for index, (name, value) in enumerate(values.items()):
        file = f"{index:04d}.npy"
        if isinstance(value, np.ndarray):
            if value.dtype.hasobject:
                raise BundleError(f"{name!r} is an array of objects; return numbers, booleans or fixed-width strings")
            np.save(folder / file, value, allow_pickle=False)
            manifest[name] = {"kind": "array", "file": file}
        elif isinstance(value, list) and value and all(isinstance(v, str) for v in value):
            encoded = [v.encode() for v in value]
            (folder / f"{index:04d}.txt").write_bytes(b"".join(encoded))
            np.save(folder / file, np.cumsum([0, *map(len, encoded)], dtype=np.int64), allow_pickle=False)
            manifest[name] = {"kind": "texts", "file": file, "text": f"{index:04d}.txt"}
        else:
            try:
                manifest[name] = {"kind": "json", "value": json.loads(json.dumps(value, allow_nan=False))}
            except (TypeError, ValueError) as error:
                raise BundleError(
                    f"{name!r} ({type(value).__name__}) is no array, text list or JSON: {error}"
                ) from None
    (folder / _MANIFEST).write_text(json.dumps(manifest), "utf-8")


def sealed_beside(question: Path) -> Path:
    """Where the judge writes what the second child of a sealed task is shown, beside what the first one is."""
    return question.with_name(question.name + "-sealed")


def read_bundle(folder: Path) -> dict[str, Any]:
    """Read what `write_bundle` wrote. Raises BundleError for anything else; never unpickles."""
    try:
        if sum(p.lstat().st_size for p in folder.iterdir()) > MAX_BYTES:
            raise BundleError(f"more than {MAX_BYTES >> 30} GiB")
        if (size := (folder / _MANIFEST).lstat().st_size) > MAX_MANIFEST_BYTES:
            raise BundleError(f"{_MANIFEST} has {size} bytes, more than {MAX_MANIFEST_BYTES >> 20} MiB")
        manifest = json.loads((folder / _MANIFEST).read_text("utf-8"))
        if len(manifest) > MAX_VALUES:
            raise BundleError(f"{len(manifest)} values, more than {MAX_VALUES}")
        return {name: _read_value(folder, entry) for name, entry in manifest.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, RecursionError) as error:
        raise BundleError(f"unreadable: {error}") from None


def _read_value(folder: Path, entry: Mapping[str, Any]) -> Any:
    if entry["kind"] == "json":
        return entry["value"]
    path = _inside(folder, entry["file"])
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError:  # an array without elements cannot be mapped
        array = np.load(path, allow_pickle=False)
    if entry["kind"] == "array":
        return array
    blob = _inside(folder, entry["text"]).read_bytes()
    bounds = array.tolist()
    return [blob[a:b].decode() for a, b in pairwise(bounds)]


def _inside(folder: Path, name: str) -> Path:
    path = folder / name
    if path.parent != folder or path.is_symlink():
        raise BundleError(f"{name!r} points outside of the bundle")
    return path
