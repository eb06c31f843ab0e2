"""The codecs and reducers of `compression/vectors`: what they keep, in how many bytes, and what they find in them."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from harness.baselines.compression.vectors._best import Best
from harness.baselines.compression.vectors._faiss import sub_vectors
from harness.baselines.compression.vectors._floats import LAYOUTS, widen
from harness.errors import Unsupported
from harness.task import Context
from harness.tasks.compression.vectors import Codec, Float32, Metric, Reducer

pytest.importorskip("faiss")

FOLDER = "harness.baselines.compression.vectors"
METRICS: tuple[Metric, ...] = ("l2", "cosine", "ip")
N, D, K = 1200, 32, 10
ERRORS = {
    "float32": 0.0,
    "float16": 5e-4,
    "bfloat16": 4e-3,
    "float8-e4m3": 0.05,
    "float8-e5m2": 0.08,
    "int8": 0.02,
    "int8-per-vector": 0.01,
    "int4": 0.15,
    "float4": 0.15,
    "sq4": 0.15,
    "pq-16x": 0.65,
    "pq-32x": 0.85,
    "pq-64x": 0.95,
    "opq-32x": 0.85,
    "opq-64x": 0.95,
    "rvq-32x": 0.8,
    "rvq-64x": 0.95,
    "rvq-torch": 0.95,
    "rabitq": 0.9,
}
"""Row -> length of the error over length of the vector, at most, over Gaussian vectors. Left out: those that keep no
lengths (binary), and those that are kept to show what fails (int8-paper, float4-paper, random)."""
BYTES = {
    "float32": 4 * D,
    "float16": 2 * D,
    "bfloat16": 2 * D,
    "float8-e4m3": D,
    "float8-e5m2": D,
    "int8": D,
    "int8-paper": D,
    "int8-per-vector": D + 2,
    "int4": D // 2 + 2,
    "float4": D // 2 + 2,
    "float4-paper": D // 2,
    "sq4": D // 2,
    "binary": D // 8,
    "binary-asymmetric": D // 8,
    "binary-paper": D // 8,
    "rabitq": D // 8 + 8,
    "pq-16x": D // 4,
    "pq-32x": D // 8,
    "pq-64x": D // 16,
    "opq-32x": D // 8,
    "opq-64x": D // 16,
    "rvq-32x": D // 8,
    "rvq-64x": D // 16,
    "rvq-torch": D // 16,
    "random": 1,
}
"""Row -> bytes of one code of D numbers."""
LIBRARY_SEARCH = ("binary", "sq4", "pq-", "opq-", "rabitq")
"""Rows that search by faiss."""


class Row(NamedTuple):
    kind: type[Codec] | type[Reducer]
    changed: Mapping[str, Any]


def read_rows() -> Iterator[tuple[str, Row]]:
    package = importlib.import_module(FOLDER)
    for path in sorted(Path(str(package.__file__)).parent.glob("[a-z]*.py")):
        module = importlib.import_module(f"{FOLDER}.{path.stem}")
        for kind in vars(module).values():
            if isinstance(kind, type) and kind.__module__ == module.__name__ and issubclass(kind, Codec | Reducer):
                for name, said in (kind.variants or {path.stem.replace("_", "-"): {}}).items():
                    changed = {k: v for k, v in said.items() if k != "scale"}
                    if kind.__name__ == "Autoencoder":
                        changed["epochs"] = 2
                    if kind.__name__ == "RvqTorch":
                        changed["epochs"] = 1
                    yield name, Row(kind, changed)


ROWS = dict(read_rows())
CODECS = [name for name, row in ROWS.items() if issubclass(row.kind, Codec)]
REDUCERS = [name for name, row in ROWS.items() if issubclass(row.kind, Reducer)]
SLOW = ("opq-64x", "rvq-32x", "rvq-torch", "pq-64x", "autoencoder-25")
"""Rows whose edge inputs are those of a quicker row of the same file."""
FROM_256 = ("pq-", "opq-", "rvq-")
"""Rows that learn 256 centroids."""


def base(name: str) -> str:
    return name.removesuffix("-symmetric")


def made(name: str, metric: Metric, state: Mapping[str, Any] | None = None) -> Any:
    for module in ROWS[name].kind.requires:
        pytest.importorskip(module)
    method = ROWS[name].kind()
    vars(method).update(ROWS[name].changed, metric=metric, context=Context(seed=7))
    if state is not None:
        method.state = {part: np.array(array) for part, array in state.items()}
    method.load()
    return method


def fitted(name: str, vectors: Float32, metric: Metric = "l2") -> Any:
    method = made(name, metric)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        method.state = method.fit(vectors)
    return method


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    with threadpool_limits(1):
        yield


def gaussian(n: int, d: int, seed: int = 0) -> Float32:
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


def unit(vectors: Float32) -> Float32:
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)


@cache
def problem(metric: Metric) -> tuple[Float32, Float32]:
    points = gaussian(N + 40, D)
    points = unit(points) if metric == "cosine" else points
    points.setflags(write=False)
    return points[:N], points[N:]


@cache
def coded(name: str, metric: Metric) -> tuple[dict[str, Any], Any]:
    """State and codes of the problem's vectors."""
    vectors = problem(metric)[0]
    codec = fitted(name, vectors, metric)
    return dict(codec.state), codec.code(vectors)


def similarities(decoded: Float32, queries: Float32, metric: Metric) -> Any:
    x, q = decoded.astype(np.float64), queries.astype(np.float64)
    if metric == "l2":
        return -np.square(q[:, None] - x).sum(-1)
    if metric == "cosine":
        lengths = np.linalg.norm(x, axis=1)
        return q @ (x / np.where(lengths > 0, lengths, 1)[:, None]).T
    return q @ x.T


def nearest_share(name: str, metric: Metric) -> float:
    """The share of the exact 10 nearest that are found."""
    vectors, queries = problem(metric)
    state, codes = coded(name, metric)
    codec = made(name, metric, state)
    codec.open(codes)
    truth = np.argsort(-similarities(vectors, queries, metric), axis=1)[:, :K]
    found = codec.search(queries, K)
    return float(np.mean([len(set(f) & set(t)) / K for f, t in zip(found.tolist(), truth.tolist(), strict=True)]))


def test_every_codec_has_a_row_with_promised_bytes() -> None:
    assert {base(name) for name in CODECS} == set(BYTES)


@pytest.mark.parametrize("name", CODECS)
def test_a_code_has_the_promised_bytes(name: str) -> None:
    codes = coded(name, "l2")[1]
    assert codes.dtype == np.uint8
    assert codes.shape == (N, BYTES[base(name)])


@pytest.mark.parametrize("name", [name for name in CODECS if base(name) in ERRORS])
def test_decoded_vectors_are_within_the_promised_error(name: str) -> None:
    vectors = problem("l2")[0]
    state, codes = coded(name, "l2")
    decoded = made(name, "l2", state).decode(codes)
    assert decoded.dtype == np.float32
    error = np.linalg.norm(decoded - vectors) / np.linalg.norm(vectors)
    assert error <= ERRORS[base(name)]
    assert error > 0 or name == "float32"


@pytest.mark.parametrize("name", CODECS)
def test_a_fresh_instance_decodes_the_same_from_state_and_codes_alone(name: str) -> None:
    vectors = problem("l2")[0]
    state, codes = coded(name, "l2")
    here = made(name, "l2", state) if name in SLOW else fitted(name, vectors, "l2")
    np.testing.assert_array_equal(here.code(vectors), codes)  # a fit is the same each time
    decoded = made(name, "l2", state).decode(codes)
    np.testing.assert_array_equal(decoded, here.decode(codes))
    np.testing.assert_allclose(made(name, "l2", state).decode(codes[5:6]), decoded[5:6], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("name", [n for n in CODECS if n not in ("random", "rabitq", "int8-paper", *SLOW)])
def test_search_finds_what_exact_search_over_the_decoded_vectors_finds(name: str, metric: Metric) -> None:
    queries = problem(metric)[1]
    state, codes = coded(name, metric)
    codec = made(name, metric, state)
    decoded = codec.decode(codes)
    if codec.symmetric or name == "binary":
        queries = codec.decode(codec.code(queries))
    scored = "ip" if metric == "cosine" and base(name).startswith(LIBRARY_SEARCH) and "binary" not in name else metric
    every = similarities(decoded, queries, scored)
    codec.open(codes)
    found = codec.search(queries if name != "binary" else problem(metric)[1], K)
    assert found.shape == (len(queries), K)
    assert all(len(set(row)) == K for row in found.tolist())
    best = -np.sort(-every, axis=1)[:, :K]
    tolerance = 2e-5 * np.abs(every).max()
    np.testing.assert_allclose(np.take_along_axis(every, found, 1), best, rtol=0, atol=tolerance)
    one_by_one = np.concatenate([codec.search(problem(metric)[1][i : i + 1], K) for i in range(4)])
    np.testing.assert_allclose(np.take_along_axis(every[:4], one_by_one, 1), best[:4], rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", [name for name in CODECS if not name.startswith(FROM_256) and name != "random"])
@pytest.mark.parametrize("what", ["constant", "zero", "one", "one number", "duplicates", "huge", "odd", "tiny"])
def test_odd_inputs_are_coded_and_searched_without_nan(name: str, what: str) -> None:
    few = gaussian(40, 7, seed=3)
    vectors = {
        "constant": np.full((30, 7), 0.3, np.float32),
        "zero": np.vstack([np.zeros((3, 7), np.float32), few]),
        "one": few[:1],
        "one number": few[:, :1],
        "duplicates": np.repeat(few[:4], 10, axis=0),
        "huge": unit(few) * np.float32(1e18),
        "odd": few,
        "tiny": few * np.float32(1e-30),
    }[what]
    for metric in METRICS:
        if name == "rabitq" and what == "one number":
            continue
        codec = fitted(name, vectors, metric)
        codes = codec.code(vectors)
        decoded = codec.decode(codes)
        assert decoded.shape == vectors.shape
        assert np.isfinite(decoded).all()
        there = made(name, metric, codec.state)
        there.open(codes)
        found = there.search(vectors[:3], 60)
        assert found.shape == (min(3, len(vectors)), len(vectors))
        for row in found.tolist():
            assert sorted(row) == list(range(len(vectors)))


@pytest.mark.parametrize("name", [n for n in CODECS if n.startswith(FROM_256) and n not in SLOW])
def test_centroids_ask_for_as_many_vectors_and_take_the_same_one_many_times(name: str) -> None:
    with pytest.raises(Unsupported, match="256 centroids need at least 256 vectors, and there are 255; take int8"):
        fitted(name, gaussian(255, 16))
    same = np.full((300, 16), 0.25, np.float32)
    codec = fitted(name, same, "cosine")
    codes = codec.code(same)
    np.testing.assert_allclose(codec.decode(codes), same, rtol=0.2)
    codec.open(codes)
    assert sorted(codec.search(same[:1], 300)[0].tolist()) == list(range(300))


@pytest.mark.parametrize("name", [n for n in CODECS if n.startswith(FROM_256) and n not in SLOW])
def test_vectors_of_fewer_bytes_than_the_code_is_to_save_are_refused(name: str) -> None:
    with pytest.raises(
        Unsupported, match=r"1 dimensions are 4 bytes, and a code [0-9]+ times as small is less than one"
    ):
        fitted(name, gaussian(400, 1))


def test_sub_vectors_divide_the_dimension_and_are_no_more_than_the_bytes_allow() -> None:
    assert [sub_vectors(d, 32) for d in (8, 100, 127, 384, 768)] == [1, 10, 1, 48, 96]


@pytest.mark.parametrize("kind", LAYOUTS)
def test_every_finite_small_float_widens_to_what_ml_dtypes_says(kind: str) -> None:
    exponent, mantissa = LAYOUTS[kind]
    width = 1 + exponent + mantissa
    every = np.arange(2**width, dtype=f"u{width // 8}")
    expected = every.view(kind).astype(np.float32)
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(widen(every.view(f"i{width // 8}"), exponent, mantissa)[finite], expected[finite])


def test_float8_e4m3_is_the_cast_of_ml_dtypes_and_saturates_where_that_is_nan() -> None:
    codec = made("float8-e4m3", "l2", {})
    vectors = gaussian(50, 40) * np.logspace(-4, 2, 40, dtype=np.float32)
    expected = vectors.astype(ml_dtypes.float8_e4m3fn)
    np.testing.assert_array_equal(codec.code(vectors), expected.view(np.uint8))
    np.testing.assert_array_equal(codec.decode(codec.code(vectors)), expected.astype(np.float32))
    large = np.array([[500.0, -1e18, 448.0]], np.float32)
    assert np.isnan(large.astype(ml_dtypes.float8_e4m3fn).astype(np.float32)[0, 0])
    np.testing.assert_array_equal(codec.decode(codec.code(large)), [[448.0, -448.0, 448.0]])


def test_int4_packs_an_odd_number_of_dimensions_and_is_within_half_a_step() -> None:
    vectors = gaussian(100, 7)
    codec = fitted("int4", vectors)
    codes = codec.code(vectors)
    assert codes.shape == (100, 4 + 2)
    step = np.abs(vectors).max(axis=1, keepdims=True) / 7
    assert (np.abs(codec.decode(codes) - vectors) <= 0.55 * step).all()  # bfloat16 scales are within 0.4 %


def test_float4_numbers_are_those_of_ml_dtypes() -> None:
    codec = fitted("float4-paper", gaussian(3, 7))
    vectors = gaussian(50, 7) * 2
    expected = vectors.astype(ml_dtypes.float4_e2m1fn).astype(np.float32)
    np.testing.assert_array_equal(codec.decode(codec.code(vectors)), expected)


def test_int8_is_within_half_a_step_in_range_and_clips_beyond() -> None:
    vectors = gaussian(500, 9) * np.logspace(-3, 3, 9, dtype=np.float32) + np.float32(5)
    codec = fitted("int8", vectors)
    step = (vectors.max(axis=0) - vectors.min(axis=0)) / 255
    assert (np.abs(codec.decode(codec.code(vectors)) - vectors) <= 0.51 * step + 1e-5).all()
    far = codec.decode(codec.code(np.stack([vectors.max(axis=0) + 100 * step, vectors.min(axis=0) - 100 * step])))
    np.testing.assert_allclose(far[0], vectors.max(axis=0), atol=1e-2, rtol=1e-3)
    np.testing.assert_allclose(far[1], vectors.min(axis=0), atol=1e-2, rtol=1e-3)


def test_int8_paper_wraps_beyond_the_sample_and_truncates_within() -> None:
    sample = np.array([[0.0], [255.0]], np.float32)
    codes = fitted("int8-paper", sample).code(np.array([[0.9], [254.9], [255.0], [256.0], [300.0], [-1.0]], np.float32))
    assert codes[:, 0].tolist() == [0, 254, 255, 0, 44, 255]


def test_int8_paper_loses_what_int8_keeps_where_ranges_differ() -> None:
    """Four wide dimensions, 28 narrow ones, and an offset: int8 finds 0.99 of the neighbours, int8-paper 0.15."""
    rng = np.random.default_rng(5)
    spread = np.where(np.arange(D) < 4, 1.0, 0.02)
    points = (rng.standard_normal((N + 40, D)) * spread + 0.5 * rng.standard_normal(D)).astype(np.float32)
    vectors, queries = unit(points[:N]), unit(points[N:])
    truth = np.argsort(-similarities(vectors, queries, "cosine"), axis=1)[:, :K]
    shares = {}
    for name in ("int8", "int8-paper"):
        codec = fitted(name, vectors, "cosine")
        codec.open(codec.code(vectors))
        found = codec.search(queries, K)
        shares[name] = np.mean([len({*f} & {*t}) / K for f, t in zip(found.tolist(), truth.tolist(), strict=True)])
    assert shares["int8"] > 0.95
    assert shares["int8-paper"] < 0.3


def test_int8_paper_scores_cosine_of_raw_codes_whatever_the_metric() -> None:
    vectors, queries = problem("l2")
    codec = fitted("int8-paper", vectors, "l2")
    codes = codec.code(vectors)
    every = similarities(codes.astype(np.float32), codec.code(queries).astype(np.float32), "cosine")
    codec.open(codes)
    found = np.take_along_axis(every, codec.search(queries, K), 1)
    lengths = np.linalg.norm(codec.code(queries).astype(np.float64), axis=1, keepdims=True)
    np.testing.assert_allclose(found / lengths, -np.sort(-every, axis=1)[:, :K] / lengths, atol=1e-6)


def test_rabitq_estimates_products_better_than_plain_signs() -> None:
    for metric in METRICS:
        assert nearest_share("rabitq", metric) > nearest_share("binary", metric) + 0.05


def test_more_bytes_find_more() -> None:
    ladder = ["float16", "int8", "int4", "pq-16x", "pq-32x", "random"]
    shares = [nearest_share(name, "cosine") for name in ladder]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.99
    assert shares[-1] < 0.05


def test_random_positions_are_those_of_the_seed() -> None:
    codec = made("random", "l2", {"dimension": np.array(3)})
    codec.open(np.zeros((N, 1), np.uint8))
    found = codec.search(gaussian(5, 3), K)
    assert all(len(set(row)) == K for row in found.tolist())
    np.testing.assert_array_equal(found, codec.search(gaussian(5, 3), K))
    codec.context = Context(seed=8)
    assert (codec.search(gaussian(5, 3), K) != found).any()


@pytest.mark.parametrize("k", [1, 7, 40, 500])
def test_the_best_of_blocks_are_the_best_of_all_with_ties_by_position(k: int) -> None:
    scores = np.random.default_rng(2).integers(0, 400, (9, 300)).astype(np.float32)
    best = Best(9, k)
    for start in range(0, 300, 64):
        best.add(start, scores[:, start : start + 64])
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(np.take_along_axis(scores, best.ids, 1), np.take_along_axis(scores, expected, 1))
    above = np.take_along_axis(scores, expected, 1) > np.take_along_axis(scores, expected[:, -1:], 1)
    assert (best.ids == expected)[above].all()  # of those as good as the worst, any


def size_of(name: str, d: int) -> int:
    return max(1, round(getattr(made(name, "l2"), "keep") * d))  # noqa: B009 - a parameter of reducers only


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("name", REDUCERS)
def test_a_reducer_keeps_its_share_and_a_fresh_instance_expands_the_same(name: str, metric: Metric) -> None:
    vectors = problem(metric)[0]
    reducer = fitted(name, vectors, metric)
    reduced = reducer.reduce(vectors)
    assert (reduced.shape, reduced.dtype) == ((N, size_of(name, D)), np.float32)
    there = made(name, metric, reducer.state)
    np.testing.assert_array_equal(there.reduce(vectors), reduced)
    expanded = there.expand(reduced)
    assert (expanded.shape, expanded.dtype) == ((N, D), np.float32)
    kept = 1 - np.square(expanded - vectors).sum() / np.square(vectors).sum()
    assert kept > (0.005 if "autoencoder" in name else 0.75 * size_of(name, D) / D)


@pytest.mark.parametrize("name", [name for name in REDUCERS if name not in SLOW])
@pytest.mark.parametrize("what", ["constant", "one", "one number", "huge", "odd", "zero"])
def test_odd_inputs_are_reduced_and_expanded_without_nan(name: str, what: str) -> None:
    few = gaussian(40, 7, seed=3)
    vectors = {
        "constant": np.full((30, 7), 0.3, np.float32),
        "one": few[:1],
        "one number": few[:, :1],
        "huge": unit(few) * np.float32(1e18),
        "odd": few,
        "zero": np.zeros((5, 7), np.float32),
    }[what]
    for metric in METRICS:
        reducer = fitted(name, vectors, metric)
        reduced = reducer.reduce(vectors)
        assert np.isfinite(reduced).all()
        expanded = reducer.expand(reduced)
        assert expanded.shape == vectors.shape
        assert np.isfinite(expanded).all()


def test_pca_is_that_of_scikit_learn_there_and_back() -> None:
    decomposition = pytest.importorskip("sklearn.decomposition")
    vectors = gaussian(400, 24) * np.linspace(1, 3, 24, dtype=np.float32) + np.float32(2)
    theirs = decomposition.PCA(12, svd_solver="full").fit(vectors.astype(np.float64))
    for metric in METRICS:
        ours = fitted("pca-50", vectors, metric)
        expected = theirs.inverse_transform(theirs.transform(vectors.astype(np.float64)))
        np.testing.assert_allclose(ours.expand(ours.reduce(vectors)), expected, atol=2e-4)
    centred = fitted("pca-50", vectors, "cosine").reduce(vectors)
    np.testing.assert_allclose(np.abs(centred), np.abs(theirs.transform(vectors)), atol=2e-3)


def test_pca_leaves_the_order_of_inner_products_when_all_is_kept() -> None:
    vectors = gaussian(50, 6) + np.float32(3)
    reducer = made("pca-50", "ip")
    reducer.keep = 1.0
    reducer.state = reducer.fit(vectors)
    reduced = reducer.reduce(vectors)
    np.testing.assert_allclose(reduced @ reduced.T, vectors @ vectors.T, rtol=1e-4)


def test_a_random_projection_is_drawn_again_from_its_seed_and_nothing_else() -> None:
    reducer = fitted("random-projection-50", gaussian(10, 300))
    assert sum(array.nbytes for array in reducer.state.values()) == 12
    identity = np.eye(300, dtype=np.float32)
    np.testing.assert_array_equal(
        made("random-projection-50", "l2", reducer.state).reduce(identity), reducer.reduce(identity)
    )
    assert np.square(reducer.reduce(identity)).sum(axis=1).mean() == pytest.approx(1, abs=0.05)
    reducer.state = {**reducer.state, "seed": np.array(8, np.uint64)}
    other = reducer.reduce(identity)
    assert (
        np.abs(
            other - made("random-projection-50", "l2", fitted("random-projection-50", identity).state).reduce(identity)
        ).max()
        > 0.1
    )


def test_an_autoencoder_learns_a_line() -> None:
    pytest.importorskip("torch")
    line = (np.linspace(-1, 1, 800)[:, None] * np.ones(8)).astype(np.float32)
    reducer = made("autoencoder-25", "l2")
    reducer.epochs = 12
    reducer.state = reducer.fit(line)
    error = np.square(reducer.expand(reducer.reduce(line)) - line).sum() / np.square(line).sum()
    assert error < 0.02
