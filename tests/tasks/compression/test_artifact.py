"""The artifact: everything in it counts, and others can read it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as of_numpy

from harness.task import InvalidAnswer
from harness.tasks.compression.artifact import ZSTD_WHOLE, allocate, pack, unpack, zstd_size

RNG = np.random.default_rng(0)
DTYPES = st.sampled_from(["bool", "uint8", "int8", "uint16", "int32", "int64", "float16", "float32", "float64"])


@given(st.dictionaries(
    st.text(min_size=1, max_size=5),
    DTYPES.flatmap(lambda d: of_numpy.arrays(d, of_numpy.array_shapes(min_dims=0, max_dims=3, min_side=1, max_side=5))),
    min_size=1, max_size=5,
))  # fmt: skip
def test_what_is_packed_comes_back_bit_for_bit(parts: dict[str, np.ndarray]) -> None:
    back = unpack(pack(parts))
    assert back.keys() == parts.keys()
    for name, part in parts.items():
        assert back[name].dtype == part.dtype and back[name].shape == part.shape
        assert back[name].tobytes() == part.tobytes()


def test_safetensors_reads_the_same() -> None:
    load = pytest.importorskip("safetensors.numpy").load
    parts = {"codes": RNG.integers(0, 256, (7, 3), np.uint8), "scale": RNG.standard_normal(3), "seed": np.uint64(7)}
    found = load(pack(parts).tobytes())
    assert all((found[name] == part).all() for name, part in parts.items())


def test_a_view_of_a_large_array_takes_what_it_shows_and_the_header_counts() -> None:
    basis = RNG.standard_normal((256, 256)).astype(np.float32)
    artifact = pack({"p": basis[:, :2]})
    assert 2 * 256 * 4 < len(artifact) < 2 * 256 * 4 + 100
    assert len(pack({"p": basis})) > 256 * 256 * 4


def test_a_block_can_be_filled_in_place() -> None:
    artifact, views = allocate({"codes": (np.dtype(np.uint8), (4, 2)), "s": (np.dtype(np.float32), ())})
    views["codes"][2:] = 9
    views["s"][...] = 0.5
    assert unpack(artifact)["codes"].tolist() == [[0, 0], [0, 0], [9, 9], [9, 9]] and unpack(artifact)["s"] == 0.5


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({}, "empty"),
        ({"a": np.empty((0, 4))}, "empty"),
        ({"a": [1, 2]}, "'a': list"),
        (np.zeros(3), "ndarray"),
        ({"a": np.array(["x"])}, "dtype"),
        ({"a": np.zeros(2, np.complex128)}, "dtype"),
    ],
)
def test_what_is_no_artifact_is_refused(parts: object, said: str) -> None:
    with pytest.raises(InvalidAnswer, match=said):
        pack(parts)  # type: ignore[arg-type]


@pytest.mark.parametrize("damage", [b"", b"\x00" * 8, b"\xff" * 20, b'\x05\0\0\0\0\0\0\0{"a"'])
def test_bytes_that_are_no_artifact_are_refused(damage: bytes) -> None:
    with pytest.raises(InvalidAnswer, match="cannot be read"):
        unpack(np.frombuffer(damage, np.uint8))


def test_noise_does_not_get_smaller_and_zeros_do() -> None:
    noise = pack({"a": RNG.integers(0, 256, 100_000, np.uint8)})
    assert zstd_size(noise) >= len(noise)
    assert zstd_size(pack({"a": np.zeros(100_000, np.uint8)})) < 300


def test_the_size_of_a_large_artifact_is_estimated_within_five_percent() -> None:
    import zstandard

    codes = RNG.integers(0, 8, 2 * ZSTD_WHOLE, np.uint8)
    whole = len(zstandard.ZstdCompressor(level=19).compress(codes.tobytes()))
    assert abs(zstd_size(codes) / whole - 1) < 0.05


def test_the_codec_of_the_readme_is_short_and_decodes_in_another_process_from_its_artifact_alone() -> None:
    import re
    from pathlib import Path

    from harness.tasks.compression.vectors.pipeline import Pipeline, fit_positions

    readme = Path(__file__).parents[3] / "tasks" / "compression" / "README.md"
    (code,) = re.findall(r"```python\n(.*?)```", readme.read_text("utf-8"), re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 25
    namespace: dict[str, object] = {}
    exec(compile(code, "my_codec.py", "exec"), namespace)
    make = namespace["MyCodec"]
    vectors = RNG.standard_normal((900, 12)).astype(np.float32)
    first = Pipeline(make(), "l2")  # type: ignore[operator]
    first.fit(vectors, fit_positions(900))
    artifact = first.encode(vectors)
    other = Pipeline(make(), "l2")  # type: ignore[operator]
    other.open(artifact)
    assert np.abs(other.decoded(artifact, np.arange(900)) - vectors).max() < 0.02
    assert other.search(vectors[:5], 3)[:, 0].tolist() == [0, 1, 2, 3, 4]
