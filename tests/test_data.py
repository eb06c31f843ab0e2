"""The user's own vectors and texts: read from each kind of file, left on disk, refused with a sentence that helps."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data import file_digest, load_texts, load_vectors
from harness.errors import DataError, MissingPackage

VECTORS = np.arange(12, dtype=np.float32).reshape(4, 3) / 7


def is_mapped(array: np.ndarray[Any, Any]) -> bool:
    """Whether the memory behind an array is a mapped file."""
    base: Any = array
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap):
            return True
        base = base.base
    return False


def fvecs(path: Path, rows: list[list[float]]) -> Path:
    path.write_bytes(b"".join(len(row).to_bytes(4, "little") + np.array(row, "<f4").tobytes() for row in rows))
    return path


def parquet(path: Path, **columns: Any) -> Path:
    pyarrow, module = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    module.write_table(pyarrow.table(columns), path)
    return path


def hdf5(path: Path, **options: Any) -> Path:
    with pytest.importorskip("h5py").File(path, "w") as file:
        file.create_dataset("group/train", data=VECTORS, **options)
        file.create_dataset("test", data=VECTORS[:2])
    return path


def npy(path: Path, array: np.ndarray[Any, Any]) -> Path:
    np.save(path, array)
    return path


def test_npy_stays_on_disk(tmp_path: Path) -> None:
    loaded = load_vectors(str(npy(tmp_path / "v.npy", VECTORS)))
    assert is_mapped(loaded) and not loaded.flags.writeable
    assert np.array_equal(loaded, VECTORS)


@pytest.mark.parametrize("dtype", ["float16", "float64", "int8", "uint32"])
def test_the_dtype_is_kept(tmp_path: Path, dtype: str) -> None:
    assert load_vectors(str(npy(tmp_path / "v.npy", VECTORS.astype(dtype)))).dtype == dtype


def test_npz_reads_the_named_array_or_the_only_one(tmp_path: Path) -> None:
    np.savez(tmp_path / "one.npz", a=VECTORS)
    np.savez_compressed(tmp_path / "two.npz", a=VECTORS, b=VECTORS + 1)
    assert np.array_equal(load_vectors(f"{tmp_path}/one.npz"), VECTORS)
    assert np.array_equal(load_vectors(f"{tmp_path}/two.npz:b"), VECTORS + 1)


def test_fvecs_stay_on_disk(tmp_path: Path) -> None:
    loaded = load_vectors(str(fvecs(tmp_path / "v.fvecs", VECTORS.tolist())))
    assert is_mapped(loaded)
    assert np.array_equal(loaded, VECTORS)


@pytest.mark.parametrize("options", [{}, {"chunks": (2, 3), "compression": "gzip"}])
def test_hdf5_stays_on_disk_where_it_is_contiguous(tmp_path: Path, options: dict[str, Any]) -> None:
    loaded = load_vectors(f"{hdf5(tmp_path / 'v.hdf5', **options)}:group/train")
    assert is_mapped(loaded) is (not options)
    assert np.array_equal(loaded, VECTORS)
    assert np.array_equal(load_vectors(f"{tmp_path / 'v.hdf5'}:/test"), VECTORS[:2])


def test_hdf5_behind_a_user_block_reads_the_same(tmp_path: Path) -> None:
    with pytest.importorskip("h5py").File(tmp_path / "v.h5", "w", userblock_size=512) as file:
        file["v"] = VECTORS
    assert np.array_equal(load_vectors(f"{tmp_path}/v.h5"), VECTORS)


@pytest.mark.parametrize("fixed", [True, False])
def test_parquet_reads_a_column_of_lists(tmp_path: Path, fixed: bool) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    kind = pyarrow.list_(pyarrow.float32(), 3) if fixed else pyarrow.list_(pyarrow.float32())
    path = parquet(tmp_path / "v.parquet", v=pyarrow.array(VECTORS.tolist(), kind), n=[1, 2, 3, 4])
    loaded = load_vectors(f"{path}:v")
    assert loaded.dtype == np.float32
    assert np.array_equal(loaded, VECTORS)


def test_parquet_of_many_row_groups_is_put_together(tmp_path: Path) -> None:
    pyarrow, module = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    module.write_table(pyarrow.table({"v": VECTORS.tolist()}), tmp_path / "v.parquet", row_group_size=1)
    assert np.allclose(load_vectors(str(tmp_path / "v.parquet")), VECTORS)


def test_a_data_set_folder_reads_through_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "set").mkdir()
    parquet(tmp_path / "set" / "train.parquet", v=VECTORS.tolist(), t=["a", "b", "c", "d"])
    assert np.allclose(load_vectors(f"hf:{tmp_path}/set:v"), VECTORS)
    assert load_texts(f"hf:{tmp_path}/set:t") == ["a", "b", "c", "d"]
    with pytest.raises(DataError, match=r"holds 2 columns, say which; available: v, t"):
        load_vectors(f"hf:{tmp_path}/set")


def refused(spec: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_vectors(str(spec))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 3, 4)), r"has 3 dimensions, shape \(2, 3, 4\): reshape it to \(n, d\)"),
        (np.zeros(5), r"has 1 dimensions"),
        (np.zeros((0, 3)), r"is empty, shape \(0, 3\)"),
        (np.zeros((3, 0)), r"is empty"),
        (np.array([[1.0, 2.0], [3.0, np.nan]]), r"row 2 holds NaN or infinity"),
        (np.array([[np.inf, 2.0], [3.0, 1.0]], dtype=np.float16), r"row 1 holds NaN or infinity"),
        (np.array([["a", "b"]]), r"holds <U1, not real numbers"),
        (np.array([[True, False]]), r"holds bool, not real numbers"),
        (np.array([[1j, 2]]), r"holds complex128, not real numbers"),
    ],
)
def test_what_is_no_table_of_finite_numbers_is_refused(
    tmp_path: Path, array: np.ndarray[Any, Any], message: str
) -> None:
    refused(npy(tmp_path / "v.npy", array), message)


def test_a_bad_row_is_found_beyond_the_first_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.data._BLOCK_BYTES", 64)
    vectors = np.ones((100, 4), dtype=np.float32)
    vectors[77, 2] = -np.inf
    refused(npy(tmp_path / "v.npy", vectors), "row 78 holds NaN")


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "v.npz", v=np.array([[{}]], dtype=object))
    refused(tmp_path / "v.npy", r"v\.npy: not a whole \.npy file")
    refused(tmp_path / "v.npz", r"v\.npz: not a whole \.npz file")


def make_npz(path: Path) -> Path:
    np.savez_compressed(path, v=np.arange(3000.0).reshape(1000, 3))
    return path


WRITERS: dict[str, Callable[[Path], Path]] = {
    "v.npy": lambda path: npy(path, VECTORS),
    "v.npz": make_npz,
    "v.hdf5": hdf5,
    "v.parquet": lambda path: parquet(path, v=VECTORS.tolist()),
    "v.fvecs": lambda path: fvecs(path, VECTORS.tolist()),
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.55, 0.9, 0.99])
def test_a_truncated_file_is_refused(tmp_path: Path, name: str, share: float) -> None:
    content = WRITERS[name](tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(len(content) * share)])
    refused(f"{tmp_path / name}" + (":test" if name.endswith("hdf5") else ""), rf"{name}: not a whole")


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_of_something_else_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"<!DOCTYPE html><p>not found" * 40)
    refused(tmp_path / name, rf"{name}: not a whole")


@pytest.mark.parametrize(("name", "available"), [("v.hdf5", "group/train, test"), ("v.parquet", "v"), ("v.npz", "v")])
def test_a_wrong_key_is_answered_with_those_there_are(tmp_path: Path, name: str, available: str) -> None:
    path = WRITERS[name](tmp_path / name)
    refused(f"{path}:nope", rf"has no (key|dataset|column) 'nope'; available: {available} \(write FILE:")


def test_several_keys_and_none_named_is_answered_with_the_keys(tmp_path: Path) -> None:
    np.savez(tmp_path / "v.npz", a=VECTORS, b=VECTORS)
    refused(tmp_path / "v.npz", r"holds 2 keys, say which; available: a, b")


def test_vectors_of_different_lengths_are_refused(tmp_path: Path) -> None:
    refused(parquet(tmp_path / "v.parquet", v=[[1.0, 2.0], [3.0]]), "row 2 has 1 numbers, the first has 2")
    refused(fvecs(tmp_path / "v.fvecs", [[1, 2, 3], [1], [1]]), "row 2 has dimension 1, the first has 3")


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (["a", "b"], "holds string, not lists of numbers"),
        ([[1.0], None], "row 2 of column 'v' has no vector"),
        ([[1.0, 2.0], [None, 3.0]], "row 2 has a missing number"),
        ([[[1.0]], [[2.0]]], "lists of lists"),
        ([["a"], ["b"]], "not real numbers"),
    ],
)
def test_a_column_without_vectors_is_refused(tmp_path: Path, column: list[Any], message: str) -> None:
    refused(parquet(tmp_path / "v.parquet", v=column), message)


def test_an_empty_column_is_refused(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    refused(parquet(tmp_path / "v.parquet", v=pyarrow.array([], pyarrow.list_(pyarrow.float32()))), "has no rows")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nowhere.npy", r"nowhere\.npy does not exist; use FILE\.npy"),
        ("vectors.csv", r"vectors\.csv: unknown kind of file; use FILE\.npy"),
        ("hf:", r"hf:: not of the form hf:NAME"),
        ("", "unknown kind of file"),
    ],
)
def test_a_spec_that_names_nothing_is_refused(spec: str, message: str) -> None:
    refused(spec, message)


def test_a_folder_and_a_file_of_texts_hold_no_vectors(tmp_path: Path) -> None:
    (tmp_path / "v.npy").mkdir()
    refused(tmp_path / "v.npy", r"v\.npy is not a file")
    (tmp_path / "t.jsonl").write_text("{}")
    refused(tmp_path / "t.jsonl", r"\.jsonl holds no vectors")


@pytest.mark.parametrize(("module", "name"), [("h5py", "v.hdf5"), ("pyarrow", "v.parquet")])
def test_a_missing_package_is_named_with_its_install_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, name: str
) -> None:
    path = WRITERS[name](tmp_path / name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingPackage, match=rf"needs the package `{module}`: pip install 'limits-harness\[hnsw\]'"):
        load_vectors(f"{path}:v")


def test_texts_read_from_a_field_or_a_column(tmp_path: Path) -> None:
    rows = [{"id": 1, "text": "Éva"}, {"id": 2, "text": "two\u2028lines"}]
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    path = parquet(tmp_path / "t.parquet", text=["Éva", "two\u2028lines"], n=[1, 2])
    assert load_texts(f"{tmp_path}/t.jsonl:text") == load_texts(f"{path}:text") == ["Éva", "two\u2028lines"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"text": "a"}\n{"txt": "b"}', r"line 2: has no field 'text'; available: txt"),
        (b'{"text": "a"}\n\n{"text": 5}', r"line 3: must be text, got int"),
        (b'{"text": ""}', r"line 1: is an empty text"),
        (b'{"text": "a"', r"line 1: not JSON in UTF-8"),
        ('{"text": "Café"}'.encode("latin-1"), r"line 1: not JSON in UTF-8"),
        (b'["a"]', r"line 1: not an object"),
        (b"", r"holds no texts"),
    ],
)
def test_what_is_no_text_is_refused_with_its_line(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "t.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_texts(f"{tmp_path}/t.jsonl:text")


def test_a_missing_text_in_a_column_is_refused_with_its_row(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="row 2: must be text, got NoneType"):
        load_texts(f"{parquet(tmp_path / 't.parquet', text=['a', None])}:text")
    with pytest.raises(DataError, match=r"\.npy holds no texts; use FILE\.jsonl"):
        load_texts(str(npy(tmp_path / "v.npy", VECTORS)))


@given(st.binary(max_size=200))
def test_the_digest_of_a_file_is_its_sha256(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("digest") / "file"
    path.write_bytes(content)
    assert file_digest(path) == hashlib.sha256(content).hexdigest()


def test_the_digest_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere cannot be read: No such file"):
        file_digest(tmp_path / "nowhere")
