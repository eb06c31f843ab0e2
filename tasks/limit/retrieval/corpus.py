"""A retrieval collection in memory, and its two sources besides the generator: a folder and a pinned data set.

Both have the layout of the published LIMIT (google-deepmind/limit): documents `{"_id", "title", "text"}`, queries
`{"_id", "text"}` and judgments `{"query-id", "corpus-id", "score"}`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError, MissingPackage

PINNED = {
    "orionweller/LIMIT": "48142cc741b04d0b4af370ade7e8b42430382670",
    "orionweller/LIMIT-small": "ff4a8f2476ae77476c1912f1f3cb5bb5f2d766d4",
}
"""Published data sets and the revisions that count here."""

FILES = ("corpus.jsonl", "queries.jsonl", "qrels.jsonl")
CONFIGS = ("corpus", "queries", "default")


@dataclass(frozen=True, eq=False)
class Corpus:
    """Documents, queries, and which documents answer which query.

    Documents are sorted by id (ascending by code point), so that the order of positions is that of ids, by which
    ties are broken. Every query has at least one relevant document.
    """

    document_ids: list[str]
    documents: list[str]
    query_ids: list[str]
    queries: list[str]
    relevant_indptr: NDArray[np.int64]
    """(n_queries + 1,): query i's relevant documents are `relevant_ids[relevant_indptr[i]:relevant_indptr[i + 1]]`."""
    relevant_ids: NDArray[np.int64]
    """Positions in `documents`, ascending within a query."""
    relevance: NDArray[np.float64]
    """Grade of each entry of `relevant_ids`, above 0."""
    dropped_queries: int = 0
    """How many queries were left out because no document is relevant to them."""

    def relevant(self, query: int) -> NDArray[np.int64]:
        """Positions of the documents relevant to the query at position `query`."""
        return self.relevant_ids[self.relevant_indptr[query] : self.relevant_indptr[query + 1]]

    def digest(self) -> str:
        """SHA-256 (hex) over all texts, ids and judgments; the same on every platform."""
        state = sha256(b"limit corpus 1")
        for texts in (self.document_ids, self.documents, self.query_ids, self.queries):
            state.update(len(texts).to_bytes(8, "little"))
            for text in texts:
                encoded = text.encode("utf-8")
                state.update(len(encoded).to_bytes(8, "little"))
                state.update(encoded)
        for positions in (self.relevant_indptr, self.relevant_ids):
            state.update(positions.astype("<i8").tobytes())
        state.update(self.relevance.astype("<f8").tobytes())
        return state.hexdigest()


class Row(NamedTuple):
    """One record of a source, and where it stands, for messages."""

    where: str
    fields: Mapping[str, Any]


def read_folder(path: str | Path) -> Corpus:
    """The collection in a folder with corpus.jsonl, queries.jsonl and qrels.jsonl (one JSON object a line, UTF-8).

    What methods see of a document is title, space, text where there is a title, and the text otherwise, stripped, as
    mteb does it. Judgments with a score of 0 or less mean "not relevant". Queries without any relevant document are
    left out and counted in `dropped_queries` (mteb leaves out those without any judgment). Raises DataError naming
    file and line for whatever is not as described.
    """
    folder = Path(path)
    if not folder.is_dir():
        problem = "is not a folder" if folder.exists() else "does not exist"
        raise DataError(f"{folder} {problem}: name a folder that holds {', '.join(FILES)}")
    missing = [name for name in FILES if not (folder / name).exists()]
    if missing:
        raise DataError(f"{folder} holds no {' and no '.join(missing)}: put {', '.join(FILES)} into it, "
                        "in the layout of LIMIT (github: google-deepmind/limit, data/limit-small)")  # fmt: skip
    corpus, queries, qrels = (_read_jsonl(folder / name) for name in FILES)
    return assemble(corpus, queries, qrels, str(folder))


def read_hub(name: str, revision: str) -> Corpus:
    """The collection published as data set `name` at `revision`, through the package `datasets` and its cache.

    The configurations `corpus`, `queries` and `default` hold the three kinds of rows, as in orionweller/LIMIT.
    Raises MissingPackage where the package or the network is missing, DataError where the content is wrong.
    """
    try:
        datasets = import_module("datasets")  # optional, and seconds of import
    except ImportError as error:
        raise MissingPackage(
            f"reading {name} needs the package `datasets`: pip install 'limits-harness[limit]'; or {_by_hand(name)}"
        ) from error
    try:
        corpus, queries, qrels = (datasets.load_dataset(name, config, revision=revision) for config in CONFIGS)
    except Exception as error:  # whatever the network, the cache or the hub's client raise: the data are not there
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise MissingPackage(f"cannot fetch {name} at {revision[:12]} ({reason}); {_by_hand(name)}") from error
    return from_splits(corpus, queries, qrels, name)


def from_splits(corpus: Any, queries: Any, qrels: Any, source: str) -> Corpus:
    """The same from three dictionaries of splits, as `datasets.load_dataset` returns them.

    The split `test` is taken, or the only one there is. Raises DataError as `read_folder` does.
    """
    parts = zip(CONFIGS, (corpus, queries, qrels), strict=True)
    documents, asked, judgments = (_rows(f"{source}, {config}", splits) for config, splits in parts)
    return assemble(documents, asked, judgments, source)


def assemble(corpus: Iterable[Row], queries: Iterable[Row], qrels: Iterable[Row], source: str) -> Corpus:
    """Check rows and put them together; `source` is what messages call the whole. See `read_folder`."""
    documents = _by_id(corpus, _document_text, f"{source}: no documents")
    asked = _by_id(queries, lambda row: _string(row, "text"), f"{source}: no queries")
    document_ids = sorted(documents)
    position = {identifier: i for i, identifier in enumerate(document_ids)}
    judged = _judgments(qrels, asked, position, f"{source}: no judgments")
    query_ids = [identifier for identifier in asked if judged[identifier]]
    if not query_ids:
        raise DataError(f"{source}: no query has a relevant document: the qrels need a score above 0 for at least one")
    relevant = [sorted(judged[identifier].items()) for identifier in query_ids]
    return Corpus(
        document_ids=document_ids,
        documents=[documents[identifier] for identifier in document_ids],
        query_ids=query_ids,
        queries=[asked[identifier] for identifier in query_ids],
        relevant_indptr=np.cumsum([0] + [len(entries) for entries in relevant], dtype=np.int64),
        relevant_ids=np.array([document for entries in relevant for document, _ in entries], dtype=np.int64),
        relevance=np.array([score for entries in relevant for _, score in entries], dtype=np.float64),
        dropped_queries=len(asked) - len(query_ids),
    )


def _by_id(rows: Iterable[Row], text_of: Callable[[Row], str], nothing: str) -> dict[str, str]:
    texts: dict[str, str] = {}
    seen: dict[str, str] = {}
    for row in rows:
        identifier = _string(row, "_id")
        if identifier in texts:
            _fail(row, f"the id {identifier!r} is already at {seen[identifier]}", "give each row an id of its own")
        texts[identifier], seen[identifier] = text_of(row), row.where
    if not texts:
        raise DataError(f"{nothing}: the file needs at least one row")
    return texts


def _document_text(row: Row) -> str:
    title, text = row.fields.get("title"), row.fields.get("text")
    if not title:
        return _string(row, "text").strip()
    if text == "":  # a titled document may lack a body, as in TREC-COVID
        return _string(row, "title").strip()
    return f"{_string(row, 'title')} {_string(row, 'text')}".strip()


def _judgments(
    rows: Iterable[Row], queries: Mapping[str, str], position: Mapping[str, int], nothing: str
) -> dict[str, dict[int, float]]:
    """Query id -> position of a relevant document -> grade."""
    judged: dict[str, dict[int, float]] = {identifier: {} for identifier in queries}
    seen: set[tuple[str, str]] = set()
    for row in rows:
        query, document = _string(row, "query-id"), _string(row, "corpus-id")
        score = row.fields.get("score")
        if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
            _fail(row, f"'score' must be a finite number, got {score!r}", "write 1 for relevant, 0 for not")
        if query not in queries:
            _fail(row, f"names an unknown query {query!r}", "add it to the queries or remove this line")
        if document not in position:
            _fail(row, f"names an unknown document {document!r}", "add it to the corpus or remove this line")
        if (query, document) in seen:
            _fail(row, f"judges document {document!r} for query {query!r} a second time", "keep one line of them")
        seen.add((query, document))
        if score > 0:
            judged[query][position[document]] = float(score)
    if not seen:
        raise DataError(f"{nothing}: the file needs at least one row")
    return judged


def _string(row: Row, key: str) -> str:
    """A field that must be text with something in it."""
    if key not in row.fields:
        present = ", ".join(map(repr, row.fields)) or "none"
        _fail(row, f"the field {key!r} is missing (present: {present})", "add it")
    value = row.fields[key]
    if not isinstance(value, str):
        _fail(row, f"{key!r} must be text, got {type(value).__name__} {value!r:.60}", "put it in double quotes")
    if not value.strip():
        _fail(row, f"{key!r} is empty", "fill it in or remove the row")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        _fail(row, f"{key!r} holds half of a surrogate pair (an escape \\ud800 to \\udfff)", "write the character out")
    return value


def _read_jsonl(path: Path) -> Iterator[Row]:
    """Rows of a JSON-lines file; blank lines are passed over."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield _parse(f"{path}, line {number}", line)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}; check its name and permissions") from error


def _parse(where: str, line: bytes) -> Row:
    try:
        fields = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: byte {error.start + 1} is not UTF-8: save the file as UTF-8, for example "
                        "`iconv -f latin1 -t utf-8`") from error  # fmt: skip
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: not JSON ({error.msg} at column {error.colno}): "
                        "write one JSON object per line") from error  # fmt: skip
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not usable JSON ({error}): write one plain object per line") from error
    if not isinstance(fields, dict):
        raise DataError(f"{where}: holds a JSON {type(fields).__name__}: write one object, {{...}}, per line")
    return Row(where, fields)


def _rows(where: str, splits: Mapping[str, Iterable[Mapping[str, Any]]]) -> Iterator[Row]:
    if "test" not in splits and len(splits) != 1:
        raise DataError(f"{where}: has the splits {', '.join(splits)}, but 'test' is needed where there are several")
    split = "test" if "test" in splits else next(iter(splits))
    for number, fields in enumerate(splits[split], 1):
        yield Row(f"{where}/{split}, row {number}", fields)


def _fail(row: Row, what: str, remedy: str) -> NoReturn:
    raise DataError(f"{row.where}: {what}: {remedy}")


def _by_hand(name: str) -> str:
    folder = "data/limit-small" if name.endswith("-small") else "data/limit"
    source = f"from {folder} of google-deepmind/limit on GitHub " if name in PINNED else ""
    return f"put {', '.join(FILES)} {source}into a folder DIR and run with `--data DIR`"
