"""What a maintainer needs to see of a submission, on one screen: files, imports, licences, the nearest existing method,
the claims beside the best known rows, and what it costs to verify. Reads files; runs nothing of them.
"""

from __future__ import annotations

import ast
import builtins
import difflib
import io
import keyword
import statistics
import sys
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.sources import parse, plugin_roots
from harness.store import Store
from harness.submission.audits import own_solver
from harness.submission.requirements import read_lock
from harness.table import Row, rows_of

if TYPE_CHECKING:
    from harness.submission.folder import Submission

MACHINE_S, HUMAN_LINES = 1800.0, 400
"""What one submission should cost: half an hour of machine, and the lines that are read in ten minutes."""
COPY = 0.9
"""Share of its tokens that a file has in common with another one from which on it is called a copy."""
DRAWS, PROCESSES = 5, 2
"""Fresh draws, and runs of the audits, that verification adds to a cell."""
_SHOWN = 8


@dataclass(frozen=True)
class FileView:
    """One file of a submission beside the checkout."""

    path: str
    lines: int
    state: str
    """`new`, `the same`, or how many lines differ."""
    nearest: str
    """The existing method that it has most in common with."""
    likeness: float


@dataclass(frozen=True)
class Package:
    """What a submission imports from outside."""

    name: str
    version: str
    licence: str
    """Empty: not known."""


@dataclass(frozen=True)
class Standing:
    """A claim beside the best row that is known."""

    task: str
    case: str
    row: str
    score: str
    value: float
    interval: tuple[float, float] | None
    draws: int
    best: str
    """The best known row; empty: there is none."""
    best_value: float | None
    best_interval: tuple[float, float] | None


@dataclass(frozen=True)
class Review:
    """Everything on the screen."""

    files: list[FileView]
    packages: list[Package]
    notes: list[str]
    standings: list[Standing]
    machine_s: float
    records: int
    statuses: Mapping[str, int]

    @property
    def lines(self) -> int:
        return sum(file.lines for file in self.files)

    def sentence(self) -> str:
        """The verdict: what to look at, and what to type next."""
        look = []
        if copies := [f for f in self.files if f.likeness >= COPY and f.nearest]:
            look.append(f"{Path(copies[0].path).name} is {copies[0].likeness:.0%} {copies[0].nearest}")
        if self.lines > HUMAN_LINES:
            look.append(f"{self.lines} lines are more than ten minutes")
        if unknown := [p.name for p in self.packages if not p.licence]:
            look.append(f"no licence is known of {', '.join(unknown[:3])}")
        if self.machine_s > MACHINE_S:
            look.append(f"to verify all of it takes {self.machine_s / 60:.0f} minutes: `harness verify` takes a sample")
        look += self.notes[:2]
        beaten = [s for s in self.standings if s.best_value is not None and _surely_better(s)]
        if beaten:
            look.append(f"{beaten[0].row} claims to beat {beaten[0].best} on {beaten[0].case}: verify with more draws")
        return ("look at: " + "; ".join(look) if look else "nothing stands out") + "; next: harness verify DIR"


def review(submission: Submission, known: Store | None = None) -> Review:
    """Look at an opened submission, beside the published records `known`."""
    records, _ = submission.store.load()
    methods = existing_methods()
    files = [_file(submission.root, path, methods) for path in sorted(submission.root.glob("baselines/**/*.py"))]
    own = _own_names(submission)
    cells = [r for r in records if r.kind == "cell" and not r.repeat]
    typical: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for record in cells:
        typical[record.task.name, record.case.name, record.baseline.name].append(record.cost.wall_s)
    machine = sum(statistics.median(walls) * (1 + DRAWS + PROCESSES) for walls in typical.values())
    others = known.load()[0] if known is not None and known.root.is_dir() else []
    tasks = {record.task.name for record in records}
    beside = rows_of(r for r in others if r.task.name in tasks and r.baseline.name not in own and r.kind == "cell")
    return Review(
        files, packages_of(submission), _notes(submission), list(_standings(rows_of(records), beside)), machine,
        len(records), Counter(record.status for record in records),
    )  # fmt: skip


def _own_names(submission: Submission) -> set[str]:
    return {row.name for row in submission.rows()}


def _notes(submission: Submission) -> list[str]:
    from harness.registry import load_registry

    tasks = load_registry().tasks
    return list(dict.fromkeys(
        audit.evidence for row in submission.rows() for audit in own_solver(row.sources, tasks[row.task])
    ))  # fmt: skip


# Files ----------------------------------------------------------------------------------------------------------------


def _file(root: Path, path: Path, methods: Mapping[str, Counter[str]]) -> FileView:
    relative = path.relative_to(root).as_posix()
    text = source_text(path)
    there = next((place for folder, _ in plugin_roots("baselines")
                  if (place := folder / relative.removeprefix("baselines/")).is_file()), None)  # fmt: skip
    state = "new" if there is None else _changed(source_text(there), text)
    name, share = nearest(text, methods, leave_out=relative.removeprefix("baselines/"))
    return FileView(relative, len(text.splitlines()), state, name, share)


def source_text(path: Path) -> str:
    """A source file's text, in the encoding that it says it has; what is not of that is shown as such."""
    try:
        with tokenize.open(path) as file:
            return file.read()
    except (SyntaxError, ValueError, LookupError):
        return path.read_text("utf-8", errors="backslashreplace")


def _changed(before: str, after: str) -> str:
    if before == after:
        return "the same as here"
    delta = list(difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0))[2:]
    more, less = (sum(line.startswith(sign) for line in delta) for sign in "+-")
    return f"+{more} -{less} lines"


def difference(submission: Submission) -> Iterable[str]:
    """Unified diff of the files that are also here, line by line."""
    for path in sorted(submission.root.glob("baselines/**/*.py")):
        relative = path.relative_to(submission.root).as_posix()
        for folder, _ in plugin_roots("baselines"):
            there = folder / relative.removeprefix("baselines/")
            if there.is_file():
                yield from difflib.unified_diff(
                    source_text(there).splitlines(), source_text(path).splitlines(),
                    f"here/{relative}", f"submitted/{relative}", lineterm="",
                )  # fmt: skip


def existing_methods() -> dict[str, Counter[str]]:
    """Tokens of every method that is installed, by its path."""
    return {
        path.relative_to(folder).as_posix(): code_tokens(source_text(path))
        for folder, _ in plugin_roots("baselines") for path in sorted(folder.rglob("*.py"))
        if path.name != "__init__.py"
    }  # fmt: skip


def nearest(text: str, methods: Mapping[str, Counter[str]], leave_out: str = "") -> tuple[str, float]:
    """The method that `text` has most in common with, and the share: tokens in runs of four that both have, over
    all that either has (Jaccard, with multiplicity). Comments, docstrings, local names and layout play no part."""
    own = code_tokens(text)
    best, share = "", 0.0
    for name, tokens in methods.items():
        either = (own | tokens).total()
        common = (own & tokens).total() / either if either and name != leave_out else 0.0
        if common > share:
            best, share = name, common
    return best, share


def code_tokens(text: str) -> Counter[str]:
    """Runs of four tokens of a source file: local names are `_`, so that renaming hides nothing."""
    try:
        return _runs(ast.parse(text))
    except (SyntaxError, ValueError, RecursionError, MemoryError, tokenize.TokenError):  # also: nested too deeply
        return Counter()


def _runs(tree: ast.Module) -> Counter[str]:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) \
                and ast.get_docstring(node, clean=False) is not None:  # fmt: skip
            node.body = body[1:] or [ast.Pass()]
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    imported = {alias.asname or alias.name for node in ast.walk(tree)
                if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names}  # fmt: skip
    kept = attributes | imported | _KEYWORDS
    words = []
    for token in tokenize.generate_tokens(io.StringIO(ast.unparse(tree)).readline):
        if token.type == tokenize.NAME:
            words.append(token.string if token.string in kept else "_")
        elif token.type in (tokenize.OP, tokenize.NUMBER, tokenize.STRING):
            words.append(token.string)
    return Counter(" ".join(words[i : i + 4]) for i in range(len(words) - 3))


_KEYWORDS = frozenset({*keyword.kwlist, *dir(builtins), "self"})


# Packages -------------------------------------------------------------------------------------------------------------


def packages_of(submission: Submission) -> list[Package]:
    """What its files import that is neither Python's, nor ours, nor beside them; then what its lock file names."""
    top: set[str] = set()
    beside = {path.stem for path in submission.root.glob("baselines/**/*.py")}
    for path in submission.root.glob("baselines/**/*.py"):
        for node in ast.walk(parse(path, "baseline")):
            if isinstance(node, ast.Import):
                top.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                top.add(node.module.partition(".")[0])
    top -= {*sys.stdlib_module_names, "harness", *beside}
    owners = metadata.packages_distributions()
    found = {(owners.get(name) or [name])[0] for name in top}
    if submission.requirements is not None:
        found |= {each.name for each in read_lock(submission.requirements)}
    return [_package(name) for name in sorted(found)]


def _package(name: str) -> Package:
    try:
        found = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return Package(name, "not installed", "")
    return Package(name, metadata.version(name), licence_of(found))


def licence_of(found: Any) -> str:
    """From the metadata: the expression, else the classifiers, else a short text."""
    expression = found.get("License-Expression")
    classified = [c.rpartition(" :: ")[2] for c in found.get_all("Classifier") or () if c.startswith("License ::")]
    text = str(found.get("License") or "").strip().partition("\n")[0]
    return str(expression or "; ".join(classified) or text[:60])


# Claims ---------------------------------------------------------------------------------------------------------------


def _standings(claimed: Sequence[Row], known: Sequence[Row]) -> Iterable[Standing]:
    """Claims beside the best known row of the same task version and case, those that lead first."""
    best: dict[tuple[str, int, str], Row] = {}
    for row in known:
        if row.score is not None and row.kind == "cell" and not row.unranked:
            key = row.task, row.task_version, row.case
            other = best.get(key)
            if other is None or other.score is None or (row.score > other.score) == row.higher_is_better:
                best[key] = row
    for row in claimed:
        if row.score is None:
            continue
        top = best.get((row.task, row.task_version, row.case))
        of_top = (top.baseline, top.score, top.interval) if top else ("", None, None)
        yield Standing(row.task, row.case, row.baseline, row.main_score, row.score, row.interval, row.draws, *of_top)


def _surely_better(standing: Standing) -> bool:
    """Its whole interval lies above the other's."""
    if standing.interval is None or standing.best_interval is None:
        return False
    return standing.interval[0] > standing.best_interval[1]


def screen(found: Review) -> str:
    """The one screen."""
    out = ["files"]
    for file in found.files[:_SHOWN]:
        like = f"nearest: {file.nearest}, {file.likeness:.0%}" if file.nearest else "like no other"
        out.append(f"  {file.path}  {file.lines} lines, {file.state}; {like}")
    out += _more(found.files)
    out.append("imports")
    for package in found.packages[:_SHOWN]:
        out.append(f"  {package.name} {package.version}  {package.licence or 'licence not known'}")
    out += _more(found.packages) or ([] if found.packages else ["  nothing but Python and this project"])
    if found.notes:
        out += ["to read", *(f"  {note}" for note in found.notes[:_SHOWN]), *_more(found.notes)]
    out.append("claims, beside the best known row")
    for s in found.standings[:_SHOWN]:
        best = f"{s.best} {_told(s.best_value, s.best_interval)}" if s.best else "no other row"
        out.append(f"  {s.task} {s.case}  {s.row}: {s.score} {_told(s.value, s.interval)}, {s.draws} draws; {best}")
    out += _more(found.standings)
    said = ", ".join(f"{n} {status}" for status, n in sorted(found.statuses.items()))
    out.append(f"cost  {found.records} records ({said}); to verify every cell: {found.machine_s / 60:.1f} "
               f"machine-minutes; {found.lines} lines to read")  # fmt: skip
    out.append(found.sentence())
    return "\n".join(out)


def _told(value: float | None, interval: tuple[float, float] | None) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" + (f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else "")


def _more(things: Sequence[object]) -> list[str]:
    return [f"  and {len(things) - _SHOWN} more"] if len(things) > _SHOWN else []
