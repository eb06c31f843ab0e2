"""The board as flat tables: what releases and the published data set hold."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from harness.board.board import Board, Entry, TaskPage
from harness.text import spreadsheet

if TYPE_CHECKING:
    import pandas as pd

DIGITS = 6
"""Significant digits of what is published: machines differ in the last bits of a sum."""


def rounded(value: Any) -> Any:
    """A JSON value with every float at `DIGITS` significant digits."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(name): rounded(of) for name, of in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(of) for of in value]
    return value


def flat(entry: Entry, task: TaskPage) -> dict[str, Any]:
    """One row of a case. Times in ns where the name says so, else seconds; sizes in bytes."""
    row = entry.row
    low, high = row.interval or (None, None)
    best, worst = row.rank or (None, None)
    fast, slow = row.latency_interval_ns or (None, None)
    return {
        "task": row.task, "task_version": row.task_version, "case": row.case, "baseline": row.baseline,
        "method": row.method, "kind": row.kind, "device": row.device, "machine": row.machine[:8],
        "status": row.status, "main_score": row.main_score, "score": row.score, "score_low": low, "score_high": high,
        "draws": row.draws, "rank_low": best, "rank_high": worst,
        "newest_version": row.task_version == task.version, "front": entry.front, "trust": entry.trust,
        "latency_ns": row.latency_ns, "latency_low_ns": fast, "latency_high_ns": slow, "processes": row.processes,
        "throughput_per_s": row.throughput_per_s, "build_s": row.build_s, "delta_rss_bytes": row.delta_rss_bytes,
        "peak_rss_bytes": row.peak_rss_bytes, "gpu_peak_bytes": row.gpu_peak_bytes, "cost_s": row.cost_s,
        "canary_moved": row.canary_moved, "failures": row.failures, "unranked": row.unranked, "reason": row.reason,
        "retracted": "; ".join(dict.fromkeys(r.reason for r in entry.retracted)), "marks": "; ".join(entry.marks),
        "scores": json.dumps(rounded(row.scores), sort_keys=True),
        "params": json.dumps(row.params, sort_keys=True), "case_params": json.dumps(row.case_params, sort_keys=True),
        "records": " ".join(sorted(row.records)),
    }  # fmt: skip


_WHOLE = ("task_version", "draws", "rank_low", "rank_high", "processes", "delta_rss_bytes",
          "peak_rss_bytes", "gpu_peak_bytes", "failures")  # fmt: skip
_REAL = ("score", "score_low", "score_high", "latency_ns", "latency_low_ns", "latency_high_ns", "throughput_per_s",
         "build_s", "cost_s")  # fmt: skip
_TRUE = ("newest_version", "front", "canary_moved")


def frame_of(board: Board) -> pd.DataFrame:
    """A line for each row of each case, in the board's order; columns as in `flat`, numbers rounded."""
    import pandas as pd

    lines = [rounded(flat(e, task)) for task in board.tasks for case in task.cases for e in case.entries]
    frame = pd.DataFrame(lines, columns=list(lines[0]) if lines else [*_WHOLE, *_REAL, *_TRUE])
    types = {**dict.fromkeys(_WHOLE, "Int64"), **dict.fromkeys(_REAL, "Float64"), **dict.fromkeys(_TRUE, "bool")}
    return frame.astype({name: types.get(name, "string") for name in frame.columns})


def limits_of(board: Board) -> Iterator[dict[str, Any]]:
    """A line for each breaking point, ranked ones first."""
    for task in board.tasks:
        for limit in task.limits:
            point = limit.point
            low, high = limit.rank or (None, None)
            yield rounded({
                "task": task.name, "task_version": task.version, "baseline": limit.baseline, "name": point.name,
                "limit": point.limit, "text": point.text, "value": point.value, "low": point.interval[0],
                "high": point.interval[1], "rank_low": low, "rank_high": high, "draws": len(point.per_draw),
                "beside": point.beside,
            })  # fmt: skip


def ranking_of(board: Board) -> dict[str, Any]:
    """What a release ranks, as JSON: by task and case, best first."""
    return {
        "tasks": {
            task.name: {
                "version": task.version,
                "cases": {case.name: [_place(e) for e in case.entries] for case in task.cases},
            }
            for task in board.tasks
        },
        "limits": list(limits_of(board)),
    }


_SHOWN = ("baseline", "task_version", "device", "machine", "status", "main_score", "score", "score_low", "score_high",
          "draws", "rank_low", "rank_high", "front", "trust", "latency_ns", "delta_rss_bytes", "unranked", "reason",
          "retracted", "marks")  # fmt: skip


def _place(entry: Entry) -> dict[str, Any]:
    row = entry.row
    of = flat(entry, TaskPage(row.task, row.task_version, "", (), ()))
    return {name: rounded(of[name]) for name in _SHOWN if not _is_nothing(of[name])}


def _is_nothing(value: object) -> bool:
    """Not 0: that is a score."""
    return value is None or value is False or value == ""


def comma_separated(frame: pd.DataFrame) -> str:
    """CSV. Text that a spreadsheet would take for a formula gets an apostrophe in front."""
    safe = frame.copy()
    for name in safe.select_dtypes("string"):
        safe[name] = [spreadsheet(v) if isinstance(v, str) else v for v in safe[name]]
    return str(safe.to_csv(index=False, lineterminator="\n"))
