"""What the audits say: of repeated questions, of answers in the timed pass, of encoders in other company, of imports.

`harness.submission.audited` runs them in the child; here are the judgements over what it left. After MLPerf's
compliance tests: TEST04 (no caching of answers) and TEST01 (the timed answers are as right as the scored ones).
"""

from __future__ import annotations

import ast
import math
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from numpy.typing import NDArray

from harness.stats import median_interval, t_pvalue
from harness.submission.strangers import FEWEST, PREFIX, SHORTEST_NS

if TYPE_CHECKING:
    from harness.record import Record
    from harness.registry import TaskSpec

CACHED = 1.1
"""A fresh question may take this many times as long as a repeated one."""
LEVEL = 0.999
LOST = 0.01
"""What timed answers may lose of the score, on the mean over those that were looked at."""
_TIMED = re.compile(r"(query|predict)(\[[^\]]*\])?")
UNSEEN = {("length", "scan-l22-published")}
"""Task and case whose single questions are not put as they stand in the draw (cut to their own length, one by one):
nobody's can be audited."""
TRANSDUCTIVE = 1e-3
"""1 - cosine by which a text's vector may depend on the texts encoded with it."""


@dataclass(frozen=True)
class Audit:
    """One audit of one row."""

    name: Literal["caching", "timed-accuracy", "transductive", "own-solver"]
    verdict: Literal["passed", "failed", "noted", "not done"]
    evidence: str


def audits_of(items: Mapping[str, NDArray[Any]]) -> list[Audit]:
    """All audits that a record's items hold."""
    found = []
    for name in sorted(items):
        kind, _, rest = name.removeprefix(PREFIX).partition("[")
        stream = rest[:-1]
        if not name.startswith(PREFIX):
            continue
        if kind == "fresh" and f"{PREFIX}again[{stream}]" in items:
            found.append(caching(stream, items[name].tolist(), items[f"{PREFIX}again[{stream}]"].tolist()))
        elif kind == "lost":
            found.append(timed_accuracy(stream, items[name].tolist()))
        elif kind == "off" and stream.startswith("timed "):  # vectors, which nothing scores by themselves
            found.append(replace(transductive(stream, items[name].tolist()), name="timed-accuracy"))
        elif kind == "off":
            found.append(transductive(stream, items[name].tolist()))
    for wanted in ("caching", "timed-accuracy"):
        if not any(audit.name == wanted for audit in found):
            found.append(Audit(wanted, "not done", "nothing of it is timed question by question"))
    return found


def timed_streams(task: str, case: str, claimed: Iterable[Record]) -> list[str]:
    """Streams of single questions that records claim to have timed, and that audits can look at: long enough, and of
    questions as the task asks them."""
    if (task, case) in UNSEEN:
        return []
    names = {latency.name for record in claimed for latency in record.latency if latency.n >= 2 * FEWEST}
    return sorted(n for n in names if _TIMED.fullmatch(n))


def required(audits: Sequence[Audit], streams: Sequence[str]) -> list[Audit]:
    """The same audits, where questions are claimed to be timed: then what was not done has failed, for the worker does
    audit such streams, and a method has no say in it."""
    if not streams:
        return list(audits)
    why = f"{', '.join(streams)} is claimed to be timed, and the audit of it is not there: "
    told = [replace(a, verdict="failed", evidence=why + a.evidence) if _is_missing(a) else a for a in audits]
    for stream in streams:
        if not any(a.name == "caching" and a.evidence.startswith(f"{stream}: ") for a in audits):
            told.append(Audit("caching", "failed", f"{stream} is claimed to be timed, and no pairs of it are there"))
    return told


def _is_missing(audit: Audit) -> bool:
    return audit.verdict == "not done" and audit.name in ("caching", "timed-accuracy")


def unmeasured(items: Mapping[str, NDArray[Any]], phases: Mapping[str, tuple[int, int]]) -> list[Audit]:
    """Pairs that the clock outside of the child does not bear out. `phases`: items and wall time (ns) of the phases
    that were stamped there, by name. A phase has two calls a pair, takes at least as long as all of them together, and
    at least as long as every audit does."""
    found = []
    for name in sorted(items):
        if not name.startswith(f"{PREFIX}fresh["):
            continue
        stream = name.partition("[")[2][:-1]
        pairs = [items[name], items.get(f"{PREFIX}again[{stream}]", items[name][:0])]
        said_ns = sum(float(array.sum()) for array in pairs)
        calls, wall_ns = phases.get(PREFIX + stream, (0, 0))
        if len(pairs[0]) != len(pairs[1]) or 2 * len(pairs[0]) > calls or min(a.min(initial=0) for a in pairs) < 0:
            wrong = f"{len(pairs[0])} and {len(pairs[1])} calls are told, and {calls} were announced"
        elif wall_ns < max(said_ns, SHORTEST_NS):
            wrong = f"{said_ns / 1e6:.1f} ms of calls are told, in a phase of {wall_ns / 1e6:.1f} ms"
        else:
            continue
        found.append(Audit("caching", "failed", f"{stream}: the audit was not run as it is: {wrong}"))
    return found


def caching(stream: str, fresh_ns: Sequence[float], again_ns: Sequence[float]) -> Audit:
    """Whether questions that were asked before are answered faster than fresh ones.

    Pairs were timed next to each other, in turns. The median of their ratios is 1 if both take alike, whatever the
    machine does meanwhile, and its interval (order statistics, 99.9 %) asks for no distribution. That of the ratio of
    the two medians is not used: it trembles with the mix of questions.
    """
    pairs = list(zip(fresh_ns, again_ns, strict=False))
    ratios = [fresh / max(again, 1.0) for fresh, again in pairs]
    interval = median_interval(ratios, LEVEL)
    if len(ratios) < FEWEST or interval is None:
        return Audit("caching", "not done", f"{stream}: {len(ratios)} pairs are too few ({FEWEST} needed)")
    said = (f"{stream}: a fresh question takes {statistics.median(ratios):.2f} times as long as a repeated one "
            f"[{interval.low:.2f}, {interval.high:.2f}], {len(ratios)} pairs")  # fmt: skip
    return Audit("caching", "failed" if interval.low > CACHED else "passed", said)


def timed_accuracy(stream: str, lost: Sequence[float]) -> Audit:
    """Whether answers of timed calls score less than those of the scored pass, for the same questions."""
    n = len(lost)
    if n < 2:
        return Audit("timed-accuracy", "not done", f"{stream}: {n} timed answers")
    mean = statistics.fmean(lost)
    said = f"{stream}: {n} timed answers score {mean:+.4f} less than those of the scored pass"
    if mean <= LOST:
        return Audit("timed-accuracy", "passed", said)
    error = math.sqrt(max(statistics.variance(lost), 1e-18) / n)
    chance = t_pvalue(mean / error, n - 1) / 2
    return Audit("timed-accuracy", "failed" if chance < 1 - LEVEL else "passed", f"{said} (p = {chance:.2g})")


def transductive(part: str, off: Sequence[float]) -> Audit:
    """Whether a text's vector depends on the texts that it is encoded with."""
    worst = max((1.0 if math.isnan(value) else value for value in off), default=0.0)
    said = f"{part}: vectors of {len(off)} texts move by at most {worst:.1g} (1 - cosine) in other company"
    return Audit("transductive", "failed" if worst > TRANSDUCTIVE else "passed", said)


# Imports --------------------------------------------------------------------------------------------------------------


def own_solver(sources: Iterable[Path], task: TaskSpec) -> list[Audit]:
    """Files of a method that import the task's module, or what makes and solves its problems: for the reviewer, since
    the answers of a known seed can be had from them. Interfaces, and what a task offers to methods, are no such files.

    Found by what they define: a name with `draw`, `generate`, `solve`, `oracle`, `score` or `truth` in it.
    """
    found = []
    package = task.module.rpartition(".")[0]
    folder = task.path.parent
    for source in sources:
        if source.is_relative_to(folder):
            continue
        for module, line in _imported(source, package):
            path = _file_of(module, package, folder)
            told = _telling(path) if path else []
            if path is not None and (path == task.path or told):
                why = "the task itself" if path == task.path else f"it defines {', '.join(told[:3])}"
                found.append(Audit("own-solver", "noted", f"{source.name}:{line} imports {module}: {why}"))
        for line, what in _hidden_imports(source):
            found.append(Audit("own-solver", "noted", f"{source.name}:{line} imports by {what}, unseen by this check"))
    return found


def _imported(source: Path, package: str) -> list[tuple[str, int]]:
    """Modules of the task's package that a file imports, anywhere in it, with the line."""
    names: list[tuple[str, int]] = []
    for node in ast.walk(ast.parse(source.read_bytes())):
        if isinstance(node, ast.Import):
            names += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.append((node.module, node.lineno))
            names += [(f"{node.module}.{alias.name}", node.lineno) for alias in node.names]
    return [(name, line) for name, line in dict.fromkeys(names) if name.startswith(package + ".")]


def _file_of(module: str, package: str, folder: Path) -> Path | None:
    stem = folder.joinpath(*module[len(package) + 1 :].split("."))
    return next((path for path in (stem.with_suffix(".py"), stem / "__init__.py") if path.is_file()), None)


_WORDS = ("draw", "generate", "solve", "oracle", "score", "truth")
_CALLS = ("__import__", "import_module", "exec", "eval", "spec_from_file_location")


def _telling(path: Path) -> list[str]:
    """Public functions and methods of a file whose names say that they make or know answers."""
    names = [node.name for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, ast.FunctionDef)]
    return [n for n in dict.fromkeys(names) if not n.startswith("_") and any(word in n.split("_") for word in _WORDS)]


def _hidden_imports(source: Path) -> list[tuple[int, str]]:
    found = []
    for node in ast.walk(ast.parse(source.read_bytes())):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            # model.eval() and torch's own are methods without arguments
            if name in _CALLS and (node.args or node.keywords) and not (name == "eval" and _is_method(node)):
                found.append((node.lineno, name))
    return found


def _is_method(node: ast.Call) -> bool:
    return isinstance(node.func, ast.Attribute)


__all__ = [
    "Audit", "audits_of", "caching", "own_solver", "required", "timed_accuracy", "timed_streams", "transductive",
    "unmeasured",
]  # fmt: skip
