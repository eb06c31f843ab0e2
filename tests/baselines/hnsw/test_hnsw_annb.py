"""Modules in the shape of ann-benchmarks' run as they are, and find what our own files find."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from harness.baselines.hnsw._annb_load import parse
from harness.baselines.hnsw.annb import Annb
from harness.baselines.hnsw.exact import Exact
from harness.baselines.hnsw.faiss_hnsw import FaissHnsw
from harness.baselines.hnsw.hnswlib import Hnswlib
from harness.errors import MissingPackage, UsageError
from harness.task import Unsupported
from harness.tasks.hnsw import GRAPH_DEFAULT, GRAPH_EFFORTS, Metric

pytest.importorskip("faiss")

HNSWLIB = '''
import hnswlib
import numpy
from ..base.module import BaseANN

class Graph(BaseANN):
    """As hnswlib's module does it: the build comes before anything is said of threads."""

    def __init__(self, metric, build):
        self.space = {"angular": "cosine", "euclidean": "l2"}[metric]
        self.build = build

    def fit(self, X):
        self.index = hnswlib.Index(space=self.space, dim=X.shape[1])
        self.index.init_index(max_elements=len(X), M=self.build["M"], ef_construction=self.build["efConstruction"])
        if self.build.get("threads"):
            self.index.set_num_threads(self.build["threads"])
        self.index.add_items(X, numpy.arange(len(X)))
        self.index.set_num_threads(1)

    def set_query_arguments(self, ef):
        self.index.set_ef(ef)
        self.name = f"graph, ef {ef}"

    def query(self, v, n):
        return self.index.knn_query(v[None], k=n)[0][0]
'''
FAISS_COMMON = """
import numpy
from ..base.module import BaseANN

class Common(BaseANN):
    def query(self, v, n):
        if self.metric == "angular":
            v /= numpy.linalg.norm(v)  # in place, as faiss's module does
        return self.index.search(v[None], n)[1][0]
"""
FAISS = """
import faiss
import numpy
from ..common.module import Common

class Graph(Common):
    def __init__(self, metric, build):
        self.metric, self.build = metric, build

    def fit(self, X):
        self.index = faiss.IndexHNSWFlat(X.shape[1], self.build["M"])
        self.index.hnsw.efConstruction = self.build["efConstruction"]
        if self.metric == "angular":
            X /= numpy.linalg.norm(X, axis=1, keepdims=True)
        self.index.add(X)

    def set_query_arguments(self, ef):
        faiss.cvar.hnsw_stats.reset()
        self.index.hnsw.efSearch = ef

    def get_additional(self):
        return {"dist_comps": faiss.cvar.hnsw_stats.ndis}
"""
OLDER = '''
from ann_benchmarks.algorithms.base import BaseANN
from ann_benchmarks.constants import INDEX_DIR
import numpy, os

class Brute(BaseANN):
    """As modules were before each had a folder. Has nothing to sweep, and may find fewer than n."""

    def __init__(self, metric, *, count=0, dimension=0, shown=()):
        assert os.path.isdir(INDEX_DIR)
        if metric == "ip":
            raise NotImplementedError(metric)
        self.count, self.shape = count, (count, dimension)

    def fit(self, X):
        assert X.shape == self.shape
        self.x = X

    def query(self, v, n):
        return list(((self.x - v) ** 2).sum(1).argsort()[:n - 1])

class Rerank(Brute):
    def set_query_arguments(self, probes, reorder):
        self.asked = probes, reorder

    def query(self, v, n):
        return [self.asked[0], self.asked[1]]
'''
BUILD = '{"M": 8, "efConstruction": 40}'


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """A cell's process is its own; this one goes on with all its processors and modules."""
    affinity, modules = os.sched_getaffinity(0), dict(sys.modules)
    with threadpool_limits(1):
        yield
    os.sched_setaffinity(0, affinity)
    for name in [n for n in sys.modules if n.startswith("ann_benchmarks") and n not in modules]:
        del sys.modules[name]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in {"graph": HNSWLIB, "common": FAISS_COMMON, "faissgraph": FAISS}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "module.py").write_text(text)
    (tmp_path / "older.py").write_text(OLDER)
    return tmp_path


@pytest.fixture(scope="module")
def points() -> NDArray[np.float32]:
    points = np.random.default_rng(2).standard_normal((1600, 24)).astype(np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    points.setflags(write=False)
    return points


def loaded(model: str) -> Any:
    index = Annb()
    index.model = model
    index.load()
    return index


def recall(index: Any, points: NDArray[np.float32], ef: int) -> tuple[float, NDArray[Any]]:
    """Recall@10 over 100 queries, and what was found."""
    exact = Exact()
    exact.load()
    exact.build(points[100:], "l2")
    truth = exact.search(points[:100], 10)
    index.set_effort(ef)
    found = index.search(points[:100], 10)
    return float(np.mean([len({*f} & {*t}) / 10 for f, t in zip(found.tolist(), truth.tolist(), strict=True)])), found


def own(kind: type[Any], points: NDArray[np.float32], **params: Any) -> Any:
    index = kind()
    vars(index).update(m=8, ef_construction=40, **params)
    index.load()
    index.build(points[100:], "l2")
    return index


def test_a_module_like_hnswlibs_finds_exactly_what_our_file_finds_if_it_builds_on_one_thread(
    folder: Path, points: NDArray[np.float32]
) -> None:
    pytest.importorskip("hnswlib")
    build = BUILD.replace("}", ', "threads": 1}')
    index = loaded(f'{folder}/graph/module.py:Graph("@metric", {build})[10, 40]')
    index.build(points[100:], "l2")
    ours = own(Hnswlib, points)
    for ef in (10, 40):
        theirs = recall(index, points, ef)
        assert theirs[0] == recall(ours, points, ef)[0] > 0.5
        np.testing.assert_array_equal(theirs[1], ours.search(points[:100], 10))
    assert index.describe()["algorithm"] == "graph, ef 40"


def test_a_module_like_hnswlibs_that_builds_on_all_cores_finds_as_much(
    folder: Path, points: NDArray[np.float32]
) -> None:
    pytest.importorskip("hnswlib")
    index = loaded(f'{folder}/graph/module.py:Graph("@metric", {BUILD})[40]')
    assert len(os.sched_getaffinity(0)) == 1
    index.build(points[100:], "cosine")
    assert recall(index, points, 40)[0] == pytest.approx(recall(own(Hnswlib, points), points, 40)[0], abs=0.03)


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_a_module_like_faiss_hnsws_finds_what_our_bulk_row_finds(
    folder: Path, points: NDArray[np.float32], metric: Metric
) -> None:
    index = loaded(f'{folder}/faissgraph/module.py:Graph("@metric", build={BUILD})[10, 40]')
    index.build(points[100:], metric)
    ours = own(FaissHnsw, points, bulk=True)
    for ef in (10, 40):
        assert recall(index, points, ef)[0] == pytest.approx(recall(ours, points, ef)[0], abs=0.005)
    before = index.distances_computed()
    index.search(points[:1], 10)
    assert 0 < index.distances_computed() - before < 1500


def test_without_brackets_the_efforts_of_our_graphs_are_swept(folder: Path) -> None:
    pytest.importorskip("hnswlib")
    index = loaded(f'{folder}/graph/module.py:Graph("@metric", {BUILD})')
    assert (index.efforts, index.default_effort) == (GRAPH_EFFORTS, GRAPH_DEFAULT)


def test_a_module_with_nothing_to_set_is_searched_once_and_filled_up(folder: Path, points: NDArray[np.float32]) -> None:
    index = loaded(f'{folder}/older.py:Brute("@metric", count="@count", dimension="@dimension", shown=["@metric"])')
    assert index.efforts == ()
    index.build(points, "l2")
    found = index.search(points[:3], 5)
    np.testing.assert_array_equal(found[:, 0], [0, 1, 2])
    np.testing.assert_array_equal(found[:, 4], [-1, -1, -1])
    assert index.distances_computed() is None


def test_several_query_arguments_are_given_together(folder: Path, points: NDArray[np.float32]) -> None:
    index = loaded(f'{folder}/older.py:Rerank("@metric", count="@count", dimension="@dimension")[(7, 3), (7, 9)]')
    index.build(points, "l2")
    index.set_effort(index.efforts[1])
    assert index.search(points[:1], 3).tolist() == [[7, 9, -1]]
    assert index.describe()["2"] == "(7, 9)"


def test_a_checkouts_own_base_comes_first(folder: Path, points: NDArray[np.float32]) -> None:
    algorithms = folder / "ann_benchmarks" / "algorithms"
    for name in ("base", "mine"):
        (algorithms / name).mkdir(parents=True)
    (algorithms / "base" / "module.py").write_text("class BaseANN:\n    done = query = fit = lambda self, *_: [4, 2]\n")
    (algorithms / "mine" / "module.py").write_text("from ..base.module import BaseANN\nclass Mine(BaseANN): pass\n")
    index = loaded(f"{algorithms}/mine/module.py:Mine")
    index.build(points, "cosine")
    assert index.search(points[:1], 2).tolist() == [[4, 2]]


@pytest.mark.parametrize(
    ("spec", "kind", "says"),
    [
        ("graph/module.py", UsageError, r"names no class of a module; write for example annb:.*HnswLib\("),
        ("graph/module.py:Graph(@metric)", UsageError, "text in quotes"),
        ("graph/module.py:Graph(metric)", UsageError, "arguments are Python literals"),
        ("graph/module.py:Graph('x')[ef]", UsageError, "arguments are Python literals"),
        ("graph/module.py:a.b('x')", UsageError, "`a.b` is no name of a class"),
        ("nowhere/module.py:Graph", MissingPackage, "no such file; give the path"),
        ("older.py:Brut", UsageError, "no class 'Brut'; it has Brute, Rerank; did you mean"),
        ("needy.py:X", MissingPackage, "imports not_to_be_found, which is not installed"),
    ],
)
def test_what_is_wrong_with_the_text_is_said(folder: Path, spec: str, kind: type[Exception], says: str) -> None:
    (folder / "needy.py").write_text("import not_to_be_found.inner\n")
    with pytest.raises(kind, match=says):
        loaded(f"{folder}/{spec}")


@pytest.mark.parametrize("spec", [f'graph/module.py:Graph("@metric", {BUILD})', 'older.py:Brute("@metric")'])
def test_a_metric_that_the_module_does_not_know_is_unsupported(
    folder: Path, points: NDArray[np.float32], spec: str
) -> None:
    pytest.importorskip("hnswlib")
    index = loaded(f"{folder}/{spec}")
    with pytest.raises(Unsupported, match="takes no metric 'ip'; run it with another --metric"):
        index.build(points, "ip")


def test_the_parts_of_a_text_are_told_apart() -> None:
    plugin = parse("""a.b/c.py:Kind("@metric", [1, {"M": 2}], deep=("@count",))[10, 20]""")
    assert (str(plugin.path), plugin.class_name, plugin.queries) == ("a.b/c.py", "Kind", ((10,), (20,)))
    filled = plugin.filled(metric="angular", count=5)
    assert filled == (("angular", [1, {"M": 2}]), {"deep": (5,)})
    assert parse("c.py:Kind()[(8, 0),]").queries == ((8, 0),)
    assert parse("c.py:Kind").queries is None
