"""The same as the command line, from Python: `harness.run` and `harness.load_results`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from harness import paths
from harness.budget import parse_duration
from harness.errors import HarnessError, UsageError
from harness.known import samples_in
from harness.measure import environment
from harness.pins import pinned_rows
from harness.plan import Request, parse_seeds
from harness.record import Record
from harness.registry import load_registry
from harness.runner import Options, Reporter, Runner, Summary
from harness.store import BrokenRecord, Store, read_record
from harness.table import Row, rows_of
from harness.task import SCALES, Scale


def run(
    task: str,
    baselines: Iterable[str] = (),
    *,
    case: str = "",
    scale: str = "standard",
    seeds: int | str | Sequence[int] | None = None,
    device: str = "auto",
    threads: int | None = None,
    jobs: int = 0,
    timeout_s: float = 900.0,
    memory_limit_bytes: int = 0,
    results: str | Path = paths.DEFAULT_RESULTS,
    data: str = "",
    queries: str = "",
    qrels: str = "",
    metric: str = "",
    force: bool = False,
    with_: Iterable[str] = (),
    set_: Mapping[str, str] | None = None,
    budget: str = "",
) -> pd.DataFrame:
    """Run baselines on a task, and return one row for each that took part, as `load_results` does.

    Args are those of `harness run`: `baselines` are row names, file names, paths of Python files, or `mteb:MODEL`;
    `seeds` a number of draws, or a list of seeds; `queries`, `qrels` and `metric` say more of `data`; `with_` pinned
    versions such as `["faiss-cpu==1.11.0", "current"]`, each of which gives the rows that need it an environment of its
    own; `set_` other values for parameters of the cases; `budget` a time such as "2h", after which nothing is started.
    Cells that are done already on this machine are not run again.

    Raises UsageError for unknown names or impossible values, NothingMatched if nothing is selected, and
    KeyboardInterrupt if it was interrupted (what was finished is kept).

    >>> import tempfile, harness
    >>> folder = tempfile.mkdtemp()
    >>> table = harness.run("limit/retrieval", ["random", "bm25"], scale="smoke", results=folder)
    >>> table.set_index("baseline").loc["bm25", "score"] > table.set_index("baseline").loc["random", "score"]
    np.True_
    """
    if isinstance(seeds, int):
        seeds = str(seeds)
    chosen = parse_seeds(seeds) if isinstance(seeds, str) else list(seeds) if seeds is not None else None
    threads = default_threads() if threads is None else threads
    said = {name: value for name, value in (("queries", queries), ("qrels", qrels), ("metric", metric)) if value}
    options = Options(
        jobs=jobs, timeout_s=timeout_s, memory_limit_bytes=memory_limit_bytes, force=force, data=data,
        data_options=said, budget_s=parse_duration(budget),
    )  # fmt: skip
    runner, request = make_run(
        task,
        list(baselines),
        case,
        scale,
        chosen,
        device,
        threads,
        results,
        options,
        with_=list(with_),
        changed={name: str(value) for name, value in (set_ or {}).items()},
    )
    summary = runner.run(request)
    if summary.interrupted:
        raise KeyboardInterrupt
    return frame(rows_of(records_of(summary), samples_in(Store(results))))


def load_results(
    results: str | Path = "", *, task: str = "", baseline: str = "", records: bool = False
) -> pd.DataFrame:
    """Results of a folder (by default this one's own, or the published ones) as a data frame.

    One row for each task, case and baseline; with `records=True` one row for each record, scores as columns.
    Times are in nanoseconds where the name ends in `_ns`, else seconds; sizes in bytes.

    >>> import tempfile, harness
    >>> folder = tempfile.mkdtemp()
    >>> _ = harness.run("limit/retrieval", ["random"], scale="smoke", results=folder)
    >>> harness.load_results(folder, records=True)["status"].tolist()
    ['ok']
    """
    store = Store(results or paths.default_results())
    names = [t.name for t in load_registry().select_tasks(task)] if task else [""]
    found = [r for name in names for r in store.load(name)[0] if baseline in ("", r.baseline.name)]
    if not records:
        return frame(rows_of(found, samples_in(store)))
    flat = []
    for r in found:
        flat.append({
            "id": r.id, "task": r.task.name, "task_version": r.task.version, "case": r.case.name, "kind": r.kind,
            "baseline": r.baseline.name, "seed": r.seed, "repeat": r.repeat, "status": r.status, "reason": r.reason,
            "device": r.device, "threads": r.threads, **{s.name: s.value for s in r.scores},
            **{f"{s.name}_median_ns": s.median_ns for s in r.latency}, "peak_rss_bytes": r.peak_rss_bytes,
            "delta_rss_bytes": r.delta_rss_bytes, "wall_s": r.cost.wall_s, "cpu_s": r.cost.cpu_s,
            "fingerprint": r.provenance.fingerprint, "started": r.provenance.started,
        })  # fmt: skip
    return pd.DataFrame(flat)


def frame(rows: Sequence[Row]) -> pd.DataFrame:
    """Rows as a data frame: one column a field, plus one for each score."""
    return pd.DataFrame([{**row.as_dict(), **row.scores} for row in rows]).drop(columns=["scores"], errors="ignore")


def records_of(summary: Summary) -> list[Record]:
    """All records that answer a request: those just made and those that were there."""
    return list({r.id: r for r in [*summary.earlier, *summary.records]}.values())


def make_run(
    task: str, baselines: Sequence[str], case: str, scale: str, seeds: Sequence[int] | None, device: str, threads: int,
    results: str | Path, options: Options, reporter: Reporter | None = None, with_: Sequence[str] = (),
    changed: Mapping[str, str] | None = None,
) -> tuple[Runner, Request]:  # fmt: skip
    """Check everything that can be checked before something runs. Raises UsageError or NothingMatched."""
    if threads < 1:
        raise UsageError(f"--threads {threads}: at least one thread is needed; write --threads 1")
    if options.jobs < 0:
        raise UsageError(f"--jobs {options.jobs}: at least one job is needed; write --jobs 1")
    if options.timeout_s <= 0:
        raise UsageError(f"--timeout {options.timeout_s:g}: must be more than 0 seconds; write --timeout 900")
    if scale not in SCALES:
        raise UsageError(f"--scale {scale!r}: choose one of {', '.join(SCALES)}")
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"--device {device!r}: choose one of auto, cpu, cuda")
    registry = load_registry()
    tasks = registry.select_tasks(task)
    rows = pinned_rows(registry.select_rows(tasks, list(baselines)), with_)
    runner = Runner(Store(results), options, reporter)
    chosen: Scale = scale
    try:
        cases = runner.data_cases(tasks, options.data) if options.data else None
        request = Request(tasks, rows, chosen, case, seeds, device, threads, cases, changed or {})
        runner.check(request)
    except HarnessError:
        runner.judge.close()
        raise
    return runner, request


def default_threads() -> int:
    """Threads of a cell unless asked otherwise: the cores at hand, at most 4 (more seldom help here)."""
    return max(1, min(4, int(environment.usable_cores())))


def load_record(path: Path) -> Record:
    """One record. Raises UsageError for a file that holds none."""
    record = read_record(path)
    if isinstance(record, BrokenRecord):
        raise UsageError(f"{path} holds no valid record: {record.reason}")
    return record
