"""Public data sets of the field, pinned: fetched once over HTTP, checked by SHA-256, read from the cache after that.

Digests of the ann-benchmarks files: those of glove-100 and sift-128 as TensorFlow Datasets publishes them (its
checksums.tsv), that of fashion-mnist-784 from a public downloader that has the same two for the others. For VIBE's
files no digest was found: theirs is noted beside the file when it is first seen, and another is refused from then on.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.data import file_digest, load_vectors
from harness.errors import DataError, MissingPackage, did_you_mean
from harness.tasks.hnsw.generate import Vectors, digest, unit
from harness.tasks.hnsw.interface import Metric
from harness.tasks.hnsw.own import to_float32

TIMEOUT_S = 30.0
CHUNK = 1 << 20
ANN = "http://ann-benchmarks.com/"
VIBE = "https://huggingface.co/datasets/vector-index-bench/vibe/resolve/main/"


@dataclass(frozen=True)
class PublicSet:
    """One HDF5 file with the datasets `train` (stored) and `test` (queries)."""

    url: str
    metric: Metric
    sha256: str = ""
    """Empty: not published anywhere that we found."""
    size_bytes: int = 0
    """0: unknown."""
    out_of_distribution: bool = False
    """The queries come from another distribution than the stored points."""


SETS: Mapping[str, PublicSet] = {
    "fashion-mnist-784-euclidean": PublicSet(
        ANN + "fashion-mnist-784-euclidean.hdf5", "l2",
        "7f24e5122b71346346686a6ea80e08d9145b9c020f9f2db4c4c799dfcfc96a07", 227_528_288,
    ),
    "glove-100-angular": PublicSet(
        ANN + "glove-100-angular.hdf5", "cosine",
        "544af1d5e84e112cd4749571dcfd8ca109818a572f850af75a3a09e093a953c4", 485_413_888,
    ),
    "sift-128-euclidean": PublicSet(
        ANN + "sift-128-euclidean.hdf5", "l2",
        "dd6f0a6ed6b7ebb8934680f861a33ed01ff33991eaee4fd60914d854a0ca5984", 525_128_288,
    ),
    "llama-128-ip": PublicSet(VIBE + "llama-128-ip.hdf5", "ip", out_of_distribution=True),
    "yandex-200-cosine": PublicSet(VIBE + "yandex-200-cosine.hdf5", "cosine", out_of_distribution=True),
    "yi-128-ip": PublicSet(VIBE + "yi-128-ip.hdf5", "ip", out_of_distribution=True),
}  # fmt: skip
"""ann-benchmarks (Aumüller et al. 2020) and VIBE (Jääsaari et al. 2025), named like their files."""


def load_public(name: str, folder: Path, first: int | None = None) -> Vectors:
    """The public set `name` (see SETS) with its own test queries; only the `first` stored points if asked.

    Its file is fetched into `folder` unless it lies there, and its digest is checked each time. Raises UsageError for
    an unknown name, DataError for a file that is not the pinned one, and MissingPackage, saying what to download by
    hand and where to put it, where it cannot be fetched.
    """
    if name not in SETS:
        raise did_you_mean("data set", name, SETS)
    return read_set(SETS[name], folder, first)


def read_set(public: PublicSet, folder: Path, first: int | None = None) -> Vectors:
    """`load_public` of a set that need not be in SETS."""
    path, sha256 = _verified(public, folder)
    stored = load_vectors(f"{path}:train")
    vectors, _ = to_float32(stored[: len(stored) if first is None else first], f"{path}:train")
    queries, _ = to_float32(load_vectors(f"{path}:test"), f"{path}:test")
    if public.metric == "cosine":
        vectors, queries = unit(vectors, f"{path}:train"), unit(queries, f"{path}:test")
    return Vectors(
        vectors,
        queries,
        public.metric,
        about={
            "source": public.url,
            "sha256": sha256,
            "pinned_by": "published digest" if public.sha256 else "first download",
            "first": first,
            "out_of_distribution": public.out_of_distribution,
            "digest": digest(vectors, queries),
        },
    )


def _verified(public: PublicSet, folder: Path) -> tuple[Path, str]:
    """The file of a set and its digest, which is the pinned one, or the one noted at the first sight of the file."""
    path = folder / public.url.rpartition("/")[2]
    note = path.with_name(path.name + ".sha256")
    if not path.exists():
        _fetch(public, path)
    found = file_digest(path)
    expected = public.sha256
    if not expected:
        if not note.exists():
            note.write_text(f"{found}  {path.name}\n", encoding="ascii")
        expected = note.read_text(encoding="ascii", errors="replace").partition(" ")[0]
    if found != expected:
        unless = "" if public.sha256 else f" (if it was replaced on purpose, remove {note} as well)"
        raise DataError(f"{path}: its SHA-256 is {found}, expected {expected}: remove it, so that it is fetched again "
                        f"from {public.url}{unless}")  # fmt: skip
    return path, found


def _fetch(public: PublicSet, path: Path) -> None:
    """Download to a temporary file beside `path`; it gets its name only when whole and, where pinned, verified."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".fetching-")
    sha, size = hashlib.sha256(), 0
    try:
        with open(handle, "wb") as file, urllib.request.urlopen(public.url, timeout=TIMEOUT_S) as response:
            announced = int(response.headers.get("Content-Length") or 0)
            while chunk := response.read(CHUNK):
                file.write(chunk)
                sha.update(chunk)
                size += len(chunk)
            file.flush()
            os.fsync(file.fileno())
        if size < announced:
            raise OSError(f"the connection ended after {size:,} of {announced:,} bytes")
        if public.sha256 and sha.hexdigest() != public.sha256:
            raise DataError(f"{public.url}: what is there now ({size:,} bytes, SHA-256 {sha.hexdigest()}) is not the "
                            f"file that is pinned ({public.size_bytes:,} bytes, {public.sha256}): find that "
                            f"one and put it at {path}")  # fmt: skip
        os.replace(temporary, path)
    except (OSError, urllib.error.URLError) as error:
        size_said = f" ({public.size_bytes / 1e6:,.0f} MB)" if public.size_bytes else ""
        raise MissingPackage(f"cannot fetch {public.url} ({error}): download it by hand{size_said} and put it at "
                             f"{path}") from error  # fmt: skip
    finally:
        Path(temporary).unlink(missing_ok=True)
