"""The user's own vectors: read, checked, and, where they are too many to hold, cut down to what decides the neighbours.

Of a large file every row is looked at, in blocks: the nearest rows of a sample of queries are found among all of them.
What is kept are these rows and a random sample of the others. The true neighbours are then exact, and what a codec
could mistake for one is there as well, save rows farther than the nearest few hundred.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.data import VectorFile
from harness.errors import DataError, Unsupported
from harness.task import Case, Scalar
from harness.tasks.compression.vectors.data import Collection, Relevant
from harness.tasks.compression.vectors.interface import Float32, Metric
from harness.tasks.compression.vectors.search import nearest_in_blocks
from harness.tasks.hnsw.exact import save_arrays
from harness.tasks.hnsw.generate import digest, unit
from harness.tasks.hnsw.own import to_float32

K = 10
MOST_HELD_OUT = 1_000
FEWEST_QUERIES = 6
"""A third of them chooses, two thirds are the test."""
WHOLE_BYTES = 512 << 20
"""Vectors that take more (as float32) are cut down to a part that does not."""
FEW_QUERIES = 200
"""Queries of a part, unless they are given: each brings its neighbours with it."""
MOST_NEIGHBOURS = 1_000
BACKGROUND = 20_000
"""Rows of a part that are nobody's neighbours."""
METRICS: tuple[Metric, ...] = ("l2", "cosine", "ip")
_BLOCK_BYTES = 64 << 20


def own_cases(path: str, cache: Path, **options: str) -> Iterable[Case]:
    """One case over the vectors at `path`. Raises DataError, naming file and row, and Unsupported."""
    unknown = sorted(set(options) - {"queries", "qrels", "metric"})
    if unknown:
        raise Unsupported(f"vectors take --queries, --qrels and --metric, not --{unknown[0]}")
    if Path(path).is_dir():
        raise Unsupported("a folder is no file of vectors; name one, for example --data vectors.npy")
    said = {name: value if name == "metric" else _absolute(value) for name, value in options.items()}
    full, metric = _absolute(path), said.pop("metric", "l2")
    own = read_collection(full, said.get("queries"), said.get("qrels"), metric, cache)
    what = hashlib.sha256(f"{own.about['digest']} {metric}".encode()).hexdigest()[:6]
    stem = Path(path.partition(":")[0] if not path.startswith("hf:") else path[3:]).name or "own"
    params: dict[str, Scalar] = {
        "data": "own",
        "path": full,
        "digest": str(own.about["digest"]),
        "metric": metric,
        **said,
    }
    yield Case(f"{stem}-{what}", params, light="smoke", heavy="smoke", seeds=1)


def read_collection(path: str, queries: str | None, qrels: str | None, metric: str, cache: Path) -> Collection:
    """The user's vectors, `queries` (else some held out) and `qrels` (else the exact neighbours are what is sought).

    Raises DataError for vectors that cannot be used, naming file and row, and MissingPackage where a reader is missing.
    """
    chosen = next((m for m in METRICS if m == metric), None)
    if chosen is None:
        raise DataError(f"--metric {metric!r} is unknown; choose one of {', '.join(METRICS)}")
    if qrels and not queries:
        raise DataError("--qrels says which vectors answer which queries; name these as well, with --queries")
    file = VectorFile(path)
    asked = None
    if queries is not None:
        asked = to_float32(VectorFile(queries).all(), queries)[0]
        if asked.shape[1] != file.dim:
            raise DataError(f"{queries}: has {asked.shape[1]} dimensions, the vectors of {path} have {file.dim}: "
                            "name queries made by the same model")  # fmt: skip
    if asked is not None and len(asked) < FEWEST_QUERIES:
        raise DataError(f"{queries}: has {len(asked)} queries, at least {FEWEST_QUERIES} are needed: some choose a "
                        "codec, the others test it; name more, or leave --queries out")  # fmt: skip
    if file.n < K + (FEWEST_QUERIES if asked is None else 0):
        has = f"has {file.n} vector{'s' if file.n > 1 else ''}"
        besides = f" and {FEWEST_QUERIES} held out as queries" if asked is None else ""
        raise DataError(f"{path}: {has}, at least {K} must be stored{besides}: name a larger file")
    if file.n * file.dim * 4 > WHOLE_BYTES:
        if qrels:
            raise DataError(f"{path}: holds {file.n:,} vectors, of which only a part near the queries is kept, and "
                            "--qrels needs all: leave it out, or name at most "
                            f"{WHOLE_BYTES // (4 * file.dim):,} vectors")  # fmt: skip
        return _part(file, asked, chosen, cache)
    vectors, exact = to_float32(file.all(), path)
    if chosen == "cosine":
        vectors = unit(vectors, path)
        asked = None if asked is None else unit(asked, str(queries))
    whole = digest(vectors, *([] if asked is None else [asked]))
    relevant: Relevant | None = None
    if asked is None:
        held = _held_out(file.n, min(MOST_HELD_OUT, max(FEWEST_QUERIES, file.n // 10)))
        stored = np.setdiff1d(np.arange(file.n), held)
        vectors, asked = vectors[stored], vectors[held]
    elif qrels:
        relevant, answered = read_qrels(qrels, len(asked), file.n)
        if len(answered) < FEWEST_QUERIES:
            raise DataError(f"{qrels}: answers {len(answered)} queries, at least {FEWEST_QUERIES} are needed: some "
                            "choose a codec, the others test it; judge more, or leave --qrels out")  # fmt: skip
        asked = asked[answered]
        whole = hashlib.sha256(f"{whole} {Path(qrels).read_text('utf-8')}".encode()).hexdigest()
    _refuse_overflow(vectors, asked, path)
    about: dict[str, Scalar] = {
        "source": path, "queries_from": queries or "held out", "qrels": qrels, "exact_in_float32": exact,
        "digest": whole, "duplicates": len(vectors) - len(np.unique(_row_hashes(vectors))),
    }  # fmt: skip
    return Collection(vectors, asked, chosen, relevant, about=about)


def read_qrels(path: str, n_queries: int, n: int) -> tuple[Relevant, NDArray[np.int64]]:
    """What answers each query, and the positions of the queries that something answers.

    Each line names a query and a vector by their row numbers, from 0, and a grade (1 if it is left out): JSON objects
    with `query`, `vector` (or `query-id`, `corpus-id`) and `score`, or columns split by tabs, commas or spaces; the
    four columns of TREC too. Raises DataError, naming the line.
    """
    grades: dict[int, dict[int, float]] = {}
    try:
        lines = Path(path).read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} cannot be read ({error}); check its name, its permissions and that it is text"
        ) from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            query, vector, grade = _judgment(line)
        except (ValueError, KeyError, TypeError, IndexError, csv.Error):
            if number == 1 and not line.lstrip().startswith("{"):
                continue  # a header
            raise DataError(f"{where}: {line.strip()[:60]!r} is no judgment; write `query<TAB>vector<TAB>score`, both "
                            "as row numbers from 0") from None  # fmt: skip
        for what, value, size in (("query", query, n_queries), ("vector", vector, n)):
            if not 0 <= value < size:
                raise DataError(f"{where}: there is no {what} {value}: rows are numbered from 0 to {size - 1}; remove "
                                f"the line, or name the file that has this {what}")  # fmt: skip
        if not np.isfinite(grade):
            raise DataError(f"{where}: the score {grade} is no number; write 1 for an answer, 0 for none")
        if grade > 0:
            grades.setdefault(query, {})[vector] = grade
    if not grades:
        raise DataError(f"{path}: no vector answers any query; at least one line needs a score above 0")
    answered = sorted(grades)
    relevant = [
        (np.array(sorted(grades[q]), np.int64), np.array([grades[q][v] for v in sorted(grades[q])])) for q in answered
    ]
    return relevant, np.array(answered, np.int64)


def _judgment(line: str) -> tuple[int, int, float]:
    if line.lstrip().startswith("{"):
        row = json.loads(line)
        query = row["query"] if "query" in row else row["query-id"]
        vector = row["vector"] if "vector" in row else row["corpus-id"]
        return int(query), int(vector), float(row.get("score", 1))
    delimiter = next((d for d in "\t,;" if d in line), None)
    cells = [cell.strip() for cell in (line.split(delimiter) if delimiter else line.split())]
    if len(cells) == 4:  # TREC: query, iteration, document, relevance
        cells = [cells[0], cells[2], cells[3]]
    if not 2 <= len(cells) <= 3:
        raise ValueError
    return int(cells[0]), int(cells[1]), float(cells[2]) if len(cells) == 3 else 1.0


def _part(file: VectorFile, asked: Float32 | None, metric: Metric, cache: Path) -> Collection:
    """The part of a large file that decides the neighbours of a sample of queries; kept in `cache`."""
    key = hashlib.sha256(json.dumps([file.identity(), metric, digest(asked) if asked is not None else ""]).encode())
    path = cache / "vectors" / f"part-{key.hexdigest()[:32]}.npz"
    try:
        with np.load(path, allow_pickle=False) as kept:
            vectors, queries, depth = kept["vectors"], kept["queries"], int(kept["depth"])
    except (OSError, ValueError, EOFError, KeyError):
        vectors, queries, depth = _read_part(file, asked, metric)
        save_arrays(path, vectors=vectors, queries=queries, depth=np.array(depth))
    about: dict[str, Scalar] = {
        "source": file.spec, "queries_from": "held out" if asked is None else "given", "n_in_all": file.n,
        "part": f"the {depth} nearest of all {file.n:,} rows to each query, and a sample of the others: what coarse "
        "codes keep is an upper bound",
        "digest": digest(vectors, queries),
    }  # fmt: skip
    return Collection(vectors, queries, metric, stands_for=file.n, about=about)


def _read_part(file: VectorFile, asked: Float32 | None, metric: Metric) -> tuple[Float32, Float32, int]:
    """Two passes: one finds the nearest rows of each query among all, the other one fetches them."""
    rng = np.random.default_rng([0, *b"part"])
    room = WHOLE_BYTES // (4 * file.dim)
    background = min(BACKGROUND, room // 4)
    held = np.empty(0, np.int64)
    if asked is None:
        held = _held_out(file.n, min(FEW_QUERIES, file.n // 10))
        asked = file.rows(held)
    elif len(asked) > FEW_QUERIES:
        asked = asked[np.sort(rng.choice(len(asked), FEW_QUERIES, replace=False))]
    asked = unit(asked, "the queries") if metric == "cosine" else asked
    depth = int(np.clip((room - background) // len(asked), K, MOST_NEIGHBOURS))
    found = nearest_in_blocks(_checked_blocks(file), asked, depth + len(held), metric)
    wanted = np.setdiff1d(np.union1d(found.ravel(), rng.choice(file.n, background, replace=False)), held)
    vectors = file.rows(wanted)
    return (unit(vectors, file.spec) if metric == "cosine" else vectors), np.ascontiguousarray(asked), depth


def _checked_blocks(file: VectorFile) -> Iterator[tuple[int, Float32]]:
    for start, block in file.blocks(max(1, _BLOCK_BYTES // (4 * file.dim))):
        vectors = to_float32(block, file.spec)[0]
        _refuse_overflow(vectors, vectors[:1], file.spec)
        yield start, vectors


def _held_out(n: int, count: int) -> NDArray[np.int64]:
    rng = np.random.default_rng([0, *b"held out"])
    return np.sort(rng.choice(n, max(1, count), replace=False)).astype(np.int64)


def _row_hashes(vectors: Float32) -> NDArray[np.uint64]:
    """One number a row, the same for the same row: enough to count duplicates."""
    weights = np.random.default_rng(1).integers(1, 1 << 63, vectors.shape[1], dtype=np.uint64) | np.uint64(1)
    bits = np.ascontiguousarray(vectors).view(np.uint32)
    with np.errstate(over="ignore"):
        return np.concatenate([(bits[i : i + 8192] * weights).sum(axis=1) for i in range(0, len(bits), 8192)])


def _refuse_overflow(vectors: Float32, queries: Float32, what: str) -> None:
    longest = max(float(np.einsum("ij,ij->i", a, a, dtype=np.float64).max()) for a in (vectors, queries))
    if 4 * longest > float(np.finfo(np.float32).max):
        raise DataError(f"{what}: the longest vector has a length of {longest**0.5:.3g}, and squared distances between "
                        "such vectors exceed float32: divide all vectors by one number first")  # fmt: skip


def _absolute(spec: str) -> str:
    """Children run elsewhere: a relative path would name another file."""
    path, colon, key = spec.partition(":")
    return spec if spec.startswith("hf:") else f"{Path(path).resolve()}{colon}{key}"
