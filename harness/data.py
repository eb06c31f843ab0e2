"""The user's own data (`--data`): vectors and texts from the usual kinds of file, checked before anything runs.

A *spec* is a path, with a colon and a name where a file holds several things: `base.npy`, `pair.npz:train`,
`vectors.parquet:embedding`, `sift.hdf5:train`, `base.fvecs`, `docs.jsonl:text`, `hf:NAME[@REVISION][:column]`.
Vectors stay on disk (memory-mapped) where the format allows it: .npy, .fvecs, contiguous HDF5, and Parquet columns
of fixed size as far as Arrow does. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError, MissingPackage

Array = NDArray[Any]

VECTOR_FORMS = "FILE.npy, FILE.npz:KEY, FILE.parquet:COLUMN, FILE.hdf5:DATASET, FILE.fvecs or hf:NAME:COLUMN"
TEXT_FORMS = "FILE.jsonl:FIELD, FILE.parquet:COLUMN or hf:NAME:COLUMN"
_SPEC = re.compile(r"(?P<path>.*?\.(?P<kind>npy|npz|parquet|hdf5|h5|fvecs|jsonl))(?::(?P<key>.*))?", re.I | re.S)
_HUB = re.compile(r"hf:(?P<name>[^:@]+)(?:@(?P<revision>[^:]+))?(?::(?P<column>.+))?")
_EXTRAS = {"pyarrow": "hnsw", "h5py": "hnsw", "datasets": "limit"}
_BLOCK_BYTES = 64 << 20


def load_vectors(spec: str) -> Array:
    """The (n, d) array that `spec` names: real numbers, finite, n and d at least 1, dtype as stored, read-only or not.

    Raises DataError for whatever is not so, naming the place, and MissingPackage where a reader is not installed.
    """
    if spec.startswith("hf:"):
        vectors = _from_arrow(*_hub_column(spec, VECTOR_FORMS), spec)
    else:
        path, kind, key = _split(spec, VECTOR_FORMS)
        match kind:
            case "npy":
                vectors = _load_npy(path)
            case "npz":
                vectors = _load_npz(path, key)
            case "parquet":
                vectors = _from_arrow(*_parquet_column(path, key), spec)
            case "hdf5" | "h5":
                vectors = _load_hdf5(path, key)
            case "fvecs":
                vectors = _load_fvecs(path)
            case _:
                raise DataError(f"{spec}: .{kind} holds no vectors; use {VECTOR_FORMS}")
    return _checked(vectors, spec)


def path_of(spec: str) -> str:
    """The path in a spec, without the name of what the file holds."""
    match = _SPEC.fullmatch(spec)
    return match["path"] if match else spec


class VectorFile:
    """The vectors that a spec names, read as a whole or in blocks; a Parquet file is never held whole for the latter.

    Raises DataError and MissingPackage as `load_vectors` does; of a Parquet file in part on reading.
    """

    def __init__(self, spec: str) -> None:
        self.spec = spec
        self._array: Array | None = None
        match = _SPEC.fullmatch(spec)
        if match is None or match["kind"].lower() != "parquet":
            self._array = load_vectors(spec)
            self.n, self.dim = self._array.shape
            return
        path, _, key = _split(spec, VECTOR_FORMS)
        _package("pyarrow", path)
        parquet = import_module("pyarrow.parquet")
        try:
            # mapped: its pages can be dropped at any time; read by buffers, Arrow held 2.4 GB of a 9 GB file, not 0.3
            self._file = parquet.ParquetFile(path, memory_map=True)
        except (OSError, import_module("pyarrow").ArrowException) as error:
            raise DataError(f"{path}: not a whole Parquet file ({error}): copy or write it again") from error
        self._column = _choose(path, key, self._file.schema_arrow.names, "column")
        self.n = int(self._file.metadata.num_rows)
        first = next(self.blocks(1), None)
        if first is None:
            raise DataError(f"{spec}: column {self._column!r} has no rows: at least one vector is needed")
        self.dim = int(first[1].shape[1])

    def identity(self) -> list[object]:
        """What tells this file, as it is now, from others: its path, size and time of change."""
        match = _SPEC.fullmatch(self.spec)
        status = Path(match["path"]).stat() if match else None
        return [self.spec, self.n, self.dim, *([status.st_size, status.st_mtime_ns] if status else [])]

    def all(self) -> Array:
        """All of them, (n, d)."""
        if self._array is None:
            return load_vectors(self.spec)
        return self._array

    def blocks(self, rows: int) -> Iterator[tuple[int, Array]]:
        """The first position and the vectors, (m, d), of each block of at most `rows`."""
        if self._array is not None:
            for start in range(0, self.n, rows):
                yield start, self._array[start : start + rows]
            return
        start = 0
        pyarrow = import_module("pyarrow")
        try:
            for batch in self._file.iter_batches(batch_size=rows, columns=[self._column]):
                block = _from_arrow(pyarrow.chunked_array([batch.column(0)]), self._column, self.spec, start)
                if start and block.shape[1] != self.dim:
                    raise DataError(f"{self.spec}: row {start + 1} has {block.shape[1]} numbers, the first has "
                                    f"{self.dim}: vectors must have one length")  # fmt: skip
                yield start, _checked(block, self.spec, start)
                start += len(block)
        except (OSError, pyarrow.ArrowException) as error:
            raise DataError(f"{self.spec}: not a whole Parquet file ({error}): copy or write it again") from error

    def rows(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        """The vectors at ascending positions, as float32."""
        out = np.empty((len(positions), self.dim), np.float32)
        for start, block in self.blocks(max(1, _BLOCK_BYTES // (4 * self.dim))):
            first, last = np.searchsorted(positions, [start, start + len(block)])
            out[first:last] = block[positions[first:last] - start]
        return out


def load_texts(spec: str) -> list[str]:
    """The texts that `spec` names (a field of JSON lines, or a column), in order; at least one, none of them empty.

    Raises DataError naming file and row, and MissingPackage where a reader is not installed.
    """
    if spec.startswith("hf:"):
        values = _hub_column(spec, TEXT_FORMS)[0].to_pylist()
    else:
        path, kind, key = _split(spec, TEXT_FORMS)
        if kind == "jsonl":
            return _checked_texts(_jsonl_values(path, key), spec)
        if kind != "parquet":
            raise DataError(f"{spec}: .{kind} holds no texts; use {TEXT_FORMS}")
        values = _parquet_column(path, key)[0].to_pylist()
    return _checked_texts(((f"row {i}", value) for i, value in enumerate(values, 1)), spec)


def file_digest(path: str | Path) -> str:
    """SHA-256 (hex) of a file's bytes. Raises DataError for a file that cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


def _split(spec: str, forms: str) -> tuple[Path, str, str]:
    """Path, kind and key ("" for none) of a spec whose file exists."""
    match = _SPEC.fullmatch(spec)
    if match is None:
        raise DataError(f"{spec}: unknown kind of file; use {forms}")
    path = Path(match["path"])
    if not path.is_file():
        raise DataError(f"{path} " + ("is not a file" if path.exists() else "does not exist") + f"; use {forms}")
    return path, match["kind"].lower(), match["key"] or ""


def _load_npy(path: Path) -> Array:
    try:
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise DataError(f"{path}: not a whole .npy file ({error}): write it again with numpy.save") from error
    if not isinstance(loaded, np.ndarray):
        raise DataError(f"{path}: holds an archive, not one array: rename it to .npz and name a key, FILE.npz:KEY")
    return loaded


def _load_npz(path: Path, key: str) -> Array:
    try:
        with np.load(path, allow_pickle=False) as archive:
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(f"{path}: holds one array, not an archive: rename it to .npy")
            name = _choose(path, key, archive.files, "key")
            return np.asarray(archive[name])
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: not a whole .npz file ({error}): write it again with numpy.savez") from error


def _load_hdf5(path: Path, key: str) -> Array:
    h5py = _package("h5py", path)
    try:
        with h5py.File(path, "r") as file:
            names: list[str] = []
            file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
            dataset = file[_choose(path, key.strip("/"), names, "dataset")]
            offset = dataset.id.get_offset()  # None where chunked or compressed
            if offset is None or dataset.external or file.userblock_size or dataset.dtype.hasobject:
                return np.asarray(dataset[()])
            shape, dtype = dataset.shape, dataset.dtype
        return np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape)
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(f"{path}: not a whole HDF5 file ({error}): copy or write it again") from error


def _load_fvecs(path: Path) -> Array:
    """Rows of an int32 dimension and as many float32 (corpus-texmex.irisa.fr), little-endian."""
    size = path.stat().st_size
    width = int(np.fromfile(path, dtype="<i4", count=1)[0]) if size >= 4 else 0
    if width < 1 or size % (4 * (width + 1)):
        raise DataError(f"{path}: not a whole .fvecs file: {size} bytes are no multiple of rows of dimension {width}; "
                        "copy it again")  # fmt: skip
    raw = np.memmap(path, dtype="<i4", mode="r").reshape(-1, width + 1)
    odd = np.flatnonzero(raw[:, 0] != width)
    if odd.size:
        raise DataError(f"{path}: row {odd[0] + 1} has dimension {raw[odd[0], 0]}, the first has {width}: "
                        "vectors must have one length")  # fmt: skip
    return raw.view("<f4")[:, 1:]


def _parquet_column(path: Path, key: str) -> tuple[Any, str]:
    _package("pyarrow", path)
    pyarrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    try:
        column = _choose(path, key, parquet.read_schema(path, memory_map=True).names, "column")
        return parquet.read_table(path, columns=[column], memory_map=True).column(column), column
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{path}: not a whole Parquet file ({error}): copy or write it again") from error


def _hub_column(spec: str, forms: str) -> tuple[Any, str]:
    match = _HUB.fullmatch(spec)
    if match is None:
        raise DataError(f"{spec}: not of the form hf:NAME[@REVISION][:COLUMN]; use {forms}")
    datasets = _package("datasets", spec)
    try:
        splits = datasets.load_dataset(match["name"], revision=match["revision"])
    except Exception as error:  # whatever the network, the cache or the hub's client raise: the data are not there
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise MissingPackage(f"cannot fetch {match['name']} ({reason}): download a file of it by hand "
                             f"and name that: {forms}") from error  # fmt: skip
    if "train" not in splits and len(splits) != 1:
        raise DataError(f"{spec}: has no split 'train' but {', '.join(splits)}: save one to a file and name that")
    split = splits["train" if "train" in splits else next(iter(splits))]
    column = _choose(spec, match["column"] or "", split.column_names, "column")
    return split.data.column(column), column


def _from_arrow(column: Any, name: str, spec: str, before: int = 0) -> Array:
    """An Arrow column of number lists as (n, d), without a copy where it is one chunk of fixed-size lists.

    `before`: rows of the file that came before these, for messages.
    """
    pyarrow = _package("pyarrow", spec)
    lists = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if isinstance(lists, pyarrow.ChunkedArray):
        lists = pyarrow.concat_arrays(lists.chunks) if lists.num_chunks else pyarrow.array([], lists.type)
    types = pyarrow.types
    if not (types.is_list(lists.type) or types.is_large_list(lists.type) or types.is_fixed_size_list(lists.type)):
        raise DataError(f"{spec}: column {name!r} holds {lists.type}, not lists of numbers: name another column")
    if lists.null_count:
        raise DataError(
            f"{spec}: row {before + _first(lists.is_null()) + 1} of column {name!r} has no vector: remove it"
        )
    if not len(lists):
        raise DataError(f"{spec}: column {name!r} has no rows: at least one vector is needed")
    lengths = np.asarray(import_module("pyarrow.compute").list_value_length(lists))
    if (lengths != lengths[0]).any():
        row = int(np.argmax(lengths != lengths[0]))
        raise DataError(f"{spec}: row {before + row + 1} has {lengths[row]} numbers, the first has {lengths[0]}: "
                        "vectors must have one length")  # fmt: skip
    values = lists.flatten()
    if values.null_count:
        raise DataError(
            f"{spec}: row {before + _first(values.is_null()) // lengths[0] + 1} has a missing number: fill it in"
        )
    if types.is_list(values.type) or types.is_fixed_size_list(values.type):
        raise DataError(f"{spec}: column {name!r} holds lists of lists (3-d): one vector per row is needed")
    return np.asarray(values.to_numpy(zero_copy_only=False)).reshape(len(lists), int(lengths[0]))


def _first(flags: Any) -> int:
    return int(np.argmax(np.asarray(flags)))


def _checked(vectors: Array, spec: str, before: int = 0) -> Array:
    if vectors.ndim != 2:
        raise DataError(f"{spec}: has {vectors.ndim} dimensions, shape {vectors.shape}: reshape it to (n, d)")
    if vectors.dtype.kind not in "fiu":
        raise DataError(f"{spec}: holds {vectors.dtype}, not real numbers: convert it to float32")
    if 0 in vectors.shape:
        raise DataError(f"{spec}: is empty, shape {vectors.shape}: at least one vector of one number is needed")
    if vectors.dtype.kind == "f":
        step = max(1, _BLOCK_BYTES // (vectors.shape[1] * vectors.dtype.itemsize))
        for start in range(0, len(vectors), step):  # a block at a time: the file may exceed the memory
            bad = ~np.isfinite(vectors[start : start + step]).all(axis=1)
            if bad.any():
                raise DataError(
                    f"{spec}: row {before + start + int(np.argmax(bad)) + 1} holds NaN or infinity: mend or drop it"
                )
    return vectors


def _checked_texts(values: Iterable[tuple[str, Any]], spec: str) -> list[str]:
    texts = []
    for where, value in values:
        if not isinstance(value, str):
            raise DataError(f"{spec}, {where}: must be text, got {type(value).__name__}: name another field or mend it")
        if not value.strip():
            raise DataError(f"{spec}, {where}: is an empty text: fill it in or remove it")
        texts.append(value)
    if not texts:
        raise DataError(f"{spec}: holds no texts: at least one is needed")
    return texts


def _jsonl_values(path: Path, key: str) -> Iterable[tuple[str, Any]]:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line.decode("utf-8-sig"))
                except (ValueError, RecursionError) as error:  # includes wrong encodings
                    raise DataError(f"{path}, line {number}: not JSON in UTF-8 ({error}): mend the line") from error
                if not isinstance(row, dict):
                    raise DataError(f"{path}, line {number}: not an object: write {{...}}, one per line")
                yield f"line {number}", row[_choose(f"{path}, line {number}", key, list(row), "field")]
    except OSError as error:
        raise _unreadable(path, error) from error


def _choose(where: object, key: str, available: list[str], kind: str) -> str:
    """`key`, or the only one there is."""
    if key in available:
        return key
    if not key and len(available) == 1:
        return available[0]
    problem = f"has no {kind} {key!r}" if key else f"holds {len(available)} {kind}s, say which"
    raise DataError(f"{where}: {problem}; available: {', '.join(available) or 'none'} (write FILE:{kind.upper()})")


def _package(name: str, wanted_for: object) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingPackage(f"reading {wanted_for} needs the package `{name}`: "
                             f"pip install 'limits-harness[{_EXTRAS[name]}]'") from error  # fmt: skip


def _unreadable(path: object, error: OSError) -> DataError:
    return DataError(f"{path} cannot be read: {error.strerror or error}; check its name and permissions")
