"""A made-up board that holds every kind of row, and whose every text may be said by the test."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from harness.board.board import Board, CaseTable, Entry, Limit, Retraction, TaskPage
from harness.board.site import ReleaseInfo
from harness.findings import Tested
from harness.record import Record
from harness.store import Store
from harness.table import Row, rows_of
from harness.task import BreakingPoint, Chart, Claim, Point, Ranking, Score, Standing

RECALL = Score("recall@2", best=1.0, main=True)


@dataclass(frozen=True)
class Made:
    """What `build` takes."""

    board: Board
    store: Store
    releases: tuple[ReleaseInfo, ...]


@pytest.fixture
def made(tmp_path: Path, made_record: Callable[..., Record]) -> Made:
    """Two tasks; rows that are tied, unresolved, failed, timed out, out of memory, unsupported,
    retracted, replicated and moved."""
    store = Store(tmp_path / "results")
    records: list[Record] = []

    def add(name: str, score: float | None, seed: int = 0, **otherwise: object) -> Record:
        samples = np.random.default_rng(seed).lognormal(15, 0.3, 200).astype(np.int64)
        file = io.BytesIO()
        np.savez(file, **{"latency/query": samples})
        digest = hashlib.sha256(file.getvalue()).hexdigest()
        record = made_record(name, score, seed, sidecar=digest, **otherwise)
        _written(store, record).with_suffix(".npz").write_bytes(file.getvalue())
        records.append(record)
        return record

    for documents in (46, 100, 1000):
        case = {"case__name": f"{documents}-dense", "case__params": {"documents": documents}}
        for dimension in (16, 32, 64):
            for seed in (0, 1)[: 1 + (documents == 46)]:
                add(f"minilm-d{dimension}", dimension / (dimension + documents / 10) - seed / 50, seed, **case,
                    baseline__params={"dimension": dimension}, baseline__file="minilm.py")  # fmt: skip
        add("bm25", 0.9, **case, baseline__file="bm25.py")
        add("oracle", 1.0, **case, kind="control")
        add("random", 2 / documents, **case)
    add("broken", None, case__name="46-dense", case__params={"documents": 46}, output_tail="ValueError: no index\n")
    for status in ("timeout", "oom", "unsupported"):
        add(
            status,
            None,
            case__name="46-dense",
            case__params={"documents": 46},
            status=status,
            reason=f"it was {status}",
        )
    gone = add("withdrawn", 0.99, case__name="46-dense", case__params={"documents": 46})
    retraction = Retraction(gone.id, "it was trained on the test queries", "2026-02-01T00:00:00Z")
    rows = rows_of(records)
    cases = [
        CaseTable(name, group[0].case_params, {"sentences": 12}, [_entry(r, retraction) for r in group], True)
        for name in dict.fromkeys(r.case for r in rows) if (group := [r for r in rows if r.case == name])
    ]  # fmt: skip
    points = [
        Point(row, 10.0**n, 0.2 * n, best=n == 3, group=row, low=0.1) for row in ("int8", "pq") for n in (1, 2, 3)
    ]
    lines = [
        Point(r, x, 0.5, group=g, seed=0) for r, g in (("rope", "rope"), ("fit", "bound")) for x in (1.0, 2.0, 40.0)
    ]
    task = TaskPage(
        "made/task", 3, "Which sets can be returned?", (RECALL,), cases,
        [Limit("bm25", BreakingPoint("critical n", "42", 42.0, (40.0, 44.0), "published 40", "critical n"), (1, 2)),
         Limit("minilm-d16", BreakingPoint("critical n", "41", 41.0, (39.0, 43.0), "", "critical n"), (1, 2)),
         Limit("random", BreakingPoint("critical n", "< 3", None, (None, 3.0), "", "critical n"), (3, 3))],
        rankings=[Ranking("46-dense", "fewest bytes", "bytes",
                          [Standing("pq", "pq-8", [10.0]), Standing("int8", "", [], "not kept")], values="exact")],
        tested=[Tested("46-dense", Claim("bm25", "random", "words beat chance"), 0.5, (0.4, 0.6), 100)],
        advice=["46-dense: take bm25", "46-dense: or more dimensions"],
    )  # fmt: skip
    charted = TaskPage("made/charts", 1, "How long does it hold?", (RECALL,), cases[:1], charts=[
        Chart("46-dense", "score over bytes", "bytes", "score", points),
        Chart("46-dense", "score over length", "length", "score", lines, lines=True, edge=2.0)])  # fmt: skip
    board = Board([task, charted], "2026-03-01T00:00:00Z", {p.stem: p for p in store.paths()}, [retraction],
                  [("records/x/y.json", "score: not a number")])  # fmt: skip
    table = tmp_path / "table.csv"
    table.write_text("task,row\nmade/task,bm25\n", "utf-8")
    releases = (
        ReleaseInfo("2026.1", "2026-01-01T00:00:00Z"),
        ReleaseInfo("2026.2", "2026-02-01T00:00:00Z", str(table), {"records": {"a": "b"}, "harness": "0"},
                    ["withdrawn left: it was retracted, since it was trained on the test queries"]),
    )  # fmt: skip
    return Made(board, store, releases)


def _written(store: Store, record: Record) -> Path:
    """As a store writes it, but for waiting for the disk."""
    path = store.root / "records" / "task" / "row" / f"{record.id}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(record.to_json(), "utf-8")
    return path


def _entry(row: Row, retraction: Retraction) -> Entry:
    if row.baseline == "withdrawn":
        return Entry(replace(row, score=None, rank=None), "self-reported", retracted=(retraction,))
    if row.baseline == "bm25":
        return Entry(replace(row, rank=(1, 2)), "replicated", front=True)
    if row.baseline == "minilm-d16":
        return Entry(replace(row, rank=(3, 7)), "reproduced", marks=("the machine's speed moved",))
    return Entry(row, "self-reported")


_PAYLOADS = (
    "<script>window.__pwned={n}</script>",
    "<img src=x onerror=window.__pwned={n}>",
    "</script><script>__pwned={n}</script>",
    '"><svg onload=window.__pwned={n}>',
    "' onmouseover=window.__pwned={n} x='",
    "javascript:window.__pwned={n}",
    '<a href="javascript:window.__pwned={n}">x</a>',
    "<iframe srcdoc='<script>parent.__pwned={n}</script>'>",
    "--><script>window.__pwned={n}</script><!--",
    "]]><script>window.__pwned={n}</script>",
    "&lt;b&gt;{n}&amp;&#x3c;i&#x3e;",
    "\x1b[31mred\x1b[0m \x1b]0;title\x07{n}",
    "\x1b]8;;http://evil.example/{n}\x1b\\link",
    "=cmd|' /C calc'!A{n}",
    "+1+{n}",
    "-2+3+cmd|{n}",
    "@SUM(A1:A{n})",
    "\t=1+{n}",
    "[x](javascript:__pwned={n})",
    "![x](http://evil.example/{n}.png)",
    "`{n}` **bold** | cell | <!-- -->",
    "$(touch /tmp/pwned{n})",
    "`touch /tmp/pwned{n}`",
    "; rm -rf ~ #{n}",
    "a\u2028b\u2029{n}",
    "\u202egnp.exe{n}\u2066x\u2069",
    "a\u0000b\u0007c\u0085{n}",
    "\ud800{n}",
    "${{window.__pwned={n}}}",
    "{{{{7*{n}}}}}",
    "%{{x}}%27{n}",
    "<style>*{{display:none}}</style>{n}",
    "<meta http-equiv=refresh content=0;url=http://evil.example/{n}>",
    "<base href=http://evil.example/{n}>",
    "<link rel=stylesheet href=http://evil.example/{n}.css>",
    "<form action=http://evil.example><button>{n}</button>",
    "<b>{n}",
    "\\u003cscript\\u003e{n}",
    "../../etc/passwd{n}",
    "CON{n}",
    "a" * 300 + "{n}",
)


class Texts:
    """Hostile texts, no two the same; `used` says how many were taken."""

    def __init__(self) -> None:
        self._numbers = count()
        self.used = 0

    def __call__(self) -> str:
        n = next(self._numbers)
        self.used += 1
        return _PAYLOADS[n % len(_PAYLOADS)].format(n=n)

    def encodable(self) -> str:
        """One that a record can hold: strict JSON has no lone surrogates."""
        return self().encode("utf-8", "replace").decode()


@pytest.fixture
def texts() -> Texts:
    return Texts()


@pytest.fixture
def hostile(tmp_path: Path, made_record: Callable[..., Record], texts: Texts) -> Made:
    """A board that says something hostile wherever it says anything."""
    store = Store(tmp_path / "hostile")
    t, e = texts, texts.encodable
    task_name, names = e(), [e() for _ in range(4)]
    for _ in range(3):
        record = made_record(
            e(),
            0.5,
            task__name=task_name,
            case__name=names[0],
            case__params={e(): e()},
            case__about={e(): e()},
            reason=e(),
            baseline__file=e(),
            baseline__params={e(): e()},
            baseline__description={e(): e()},
            device=e(),
            notes=[e(), e()],
            output_tail=e() + "\n" + e(),
            memory_watch=e(),
            memory_limit_bytes=5,
            provenance__command=e(),
            provenance__run=e(),
            provenance__harness_version=e(),
            provenance__sealed=[e()],
            provenance__started=e(),
            provenance__fingerprint=e(),
        )
        _written(store, record)
    paths = {p.stem: p for p in store.paths()}
    ids = list(paths)
    retraction = Retraction(ids[0], t(), t())
    score = Score(t(), best=1.0, main=True, unit=t())

    def rows(case: str) -> Iterator[Entry]:
        for i in range(16):
            ok = i % 3 != 0
            row = Row(
                task_name,
                1,
                case,
                t(),
                "ok" if ok else "failed",
                "" if ok else t(),
                score.name,
                0.5 if ok else None,
                None,
                1,
                None,
                scores={score.name: 0.5, t(): 0.1},
                latency_ns=1e6 + i,
                peak_rss_bytes=10**8,
                device=t(),
                machine=t(),
                method=t(),
                params={t(): t(), "dimension": 2**i},
                notes=(t(), t()),
                records=tuple(ids[: i % 3]),
            )
            yield Entry(row, "self-reported", marks=(t(),), retracted=(retraction,) if i % 5 == 0 else ())

    cases = [CaseTable(name, {t(): t(), "n": i}, {t(): t()}, list(rows(name)), False) for i, name in enumerate(names)]

    def task(name: str, charts: tuple[Chart, ...]) -> TaskPage:
        limits = [Limit(t(), BreakingPoint(t(), t(), None, (1.0, None), t(), t())) for _ in range(4)]
        rankings = [Ranking(t(), t(), t(), [Standing(t(), t(), [1.0]), Standing(t(), "", [], t())])]
        tested = [Tested(t(), Claim(t(), t(), t()), 0.1, (0.0, 0.2), 5)]
        return TaskPage(name, 1, t(), (score,), cases, limits, charts, rankings, tested, [t() for _ in range(9)])

    points = [Point(t(), 10.0 + i, 0.1 * i, best=True, group=t()) for i in range(6)]
    lines = [Point(row, x, 0.5, group=row, seed=1) for row in (t(), t()) for x in (1.0, 5.0)]
    charts = (Chart(t(), t(), t(), t(), points), Chart(t(), t(), t(), t(), lines, lines=True, edge=2.0))
    table = tmp_path / "hostile.csv"
    table.write_text("a\n", "utf-8")
    releases = tuple(ReleaseInfo(t(), t(), str(table), {t(): t(), t(): [t()]}, [t(), t()]) for _ in range(2))
    board = Board([task(task_name, charts), task(t(), ())], t(), paths, [retraction], [(t(), t())])
    while texts.used < 1000:
        board = replace(board, broken=[*board.broken, (t(), t())])
    return Made(board, store, releases)
