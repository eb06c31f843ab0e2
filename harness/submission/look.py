"""What can be said of a baseline's source without running it: declarations, imports, paths, calls."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.errors import UsageError
from harness.registry import BaselineSpec, TaskSpec
from harness.sources import first_party_sources, parse, plugin_roots
from harness.task import Baseline

Verdict = Literal["ok", "warning", "failed"]
_ABSOLUTE = re.compile(r"(?:/(?:[\w.-]+/)+[\w.-]*|~/?[\w./-]*|[A-Za-z]:\\.*)")
_REACHING = {
    "socket": "the network", "urllib": "the network", "http": "the network", "requests": "the network",
    "httpx": "the network", "aiohttp": "the network", "ftplib": "the network", "huggingface_hub": "the network",
    "subprocess": "other programs", "ctypes": "memory below Python", "cffi": "memory below Python",
    "multiprocessing": "further processes", "signal": "signals", "pickle": "pickles", "inspect": "the caller's frames",
    "gc": "the objects of others",
}  # fmt: skip
_CALLS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "os.fork", "os.execv", "os.kill",
    "sys._getframe", "sys.settrace", "importlib.import_module",
}  # fmt: skip
_FREE = {"numpy", "harness"}


@dataclass(frozen=True)
class Finding:
    """What one check found, and what to do about it."""

    check: str
    verdict: Verdict
    text: str
    do: str = ""


def look_at(path: Path, task: TaskSpec, rows: Sequence[BaselineSpec]) -> list[Finding]:
    """Everything that the source shows. The file has been read as a baseline of `task` before. Raises UsageError for a
    source whose expressions nest too deeply."""
    try:
        return _all_findings(path, task, rows)
    except RecursionError:
        raise UsageError(
            f"{path}: an expression in it nests too deeply to be looked at; split it into several"
        ) from None


def _all_findings(path: Path, task: TaskSpec, rows: Sequence[BaselineSpec]) -> list[Finding]:
    tree = parse(path, "baseline")
    node = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == rows[0].class_name)
    parameters = len(rows[0].params)
    counted = f"{_many(len(rows), 'row')} of {task.name}, {_many(parameters, 'parameter')}"
    found = [Finding("interface", "ok", f"class {node.name}: {counted}")]
    found += _declarations(node, _names_of_interface(task, {b.id for b in node.bases if isinstance(b, ast.Name)}))
    own = own_sources(path)
    found += _imports(own, rows[0])
    found += [_outside(p) for p in own if not p.is_relative_to(path.resolve().parent)]
    for source in own:
        found += _reaching(source)
    return found


def own_sources(path: Path) -> list[Path]:
    """The file and the neighbours that it imports, without what is installed with the harness or a task."""
    roots = [place.resolve() for kind in ("tasks", "baselines") for place, _ in plugin_roots(kind)]
    path = path.resolve()
    return [p for p in first_party_sources(path) if p == path or not any(p.is_relative_to(root) for root in roots)]


def _outside(path: Path) -> Finding:
    return Finding(
        "imports", "failed", f"{path.name} is imported from outside of the file's folder",
        f"put {path.name} beside the file, and import it by its name",
    )  # fmt: skip


def _names_of_interface(task: TaskSpec, bases: set[str]) -> set[str]:
    """What the classes of these names in the task's folder, and those that they derive from, have at class level."""
    names: set[str] = set()
    classes = [
        node for path in sorted(task.path.parent.glob("*.py")) for node in parse(path, "task").body
        if isinstance(node, ast.ClassDef)
    ]  # fmt: skip
    while found := [node for node in classes if node.name in bases]:
        classes = [node for node in classes if node not in found]
        bases = {base.id for node in found for base in node.bases if isinstance(base, ast.Name)}
        for node in found:
            for item in node.body:
                targets = item.targets if isinstance(item, ast.Assign) else [getattr(item, "target", None)]
                names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def _declarations(node: ast.ClassDef, known: set[str]) -> Iterator[Finding]:
    if not (ast.get_docstring(node) or "").strip():
        yield Finding(
            "interface", "failed", f"class {node.name} says nothing of itself",
            "write a docstring whose first line says what the method is: tables and `harness list` show it",
        )  # fmt: skip
    declared = known | {name for name in vars(Baseline) if not name.startswith("_")}
    for item in node.body:
        plain = isinstance(item, ast.Assign) and len(item.targets) == 1 and isinstance(item.targets[0], ast.Name)
        if not plain:
            continue
        assert isinstance(item, ast.Assign) and isinstance(item.targets[0], ast.Name)
        name = item.targets[0].id
        if name not in declared and not name.startswith("_") and name.islower() and _is_number(item.value):
            kind = type(ast.literal_eval(item.value)).__name__
            yield Finding(
                "interface", "warning", f"line {item.lineno}: {name} has no type, so it is no parameter",
                f"write `{name}: {kind} = ...` if it decides the numbers: then it is on every record",
            )  # fmt: skip


def _is_number(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) in (int, float)


def _imports(sources: Sequence[Path], row: BaselineSpec) -> Iterator[Finding]:
    """Top-level modules that are imported, against those that are declared."""
    neighbours = {path.stem for path in sources}
    plugins = {module.partition(".")[0] for kind in ("tasks", "baselines") for _, module in plugin_roots(kind)}
    known = {*sys.stdlib_module_names, *_FREE, *neighbours, *plugins, *(r.partition(".")[0] for r in row.requires)}
    missing: dict[str, str] = {}
    early: dict[str, str] = {}
    for path in sources:
        tree = parse(path, "baseline")
        at_import = {id(node) for node in _run_at_import(tree)}
        for node, module in _imported(tree):
            where = f"{path.name}:{node.lineno}"
            if module not in known:
                missing.setdefault(module, where)
            elif id(node) in at_import and module not in {*sys.stdlib_module_names, *_FREE, *neighbours, *plugins}:
                early.setdefault(module, where)
    for module, where in missing.items():
        yield Finding(
            "imports", "failed", f"{where} imports {module}, which `requires` does not name",
            f"add it: requires = ({', '.join(repr(m) for m in (*row.requires, module))},); where it is missing, rows "
            "are then skipped with that reason",
        )  # fmt: skip
    for module, where in early.items():
        yield Finding(
            "imports", "warning", f"{where} imports {module} with the file",
            f"import {module} inside `load` or where it is used, so that the file itself is cheap to read",
        )  # fmt: skip
    if not missing:
        said = ", ".join(row.requires) or "nothing but NumPy and the standard library"
        yield Finding("imports", "ok", f"needs {said}")


def _run_at_import(tree: ast.Module) -> Iterator[ast.AST]:
    """Nodes outside of functions and of `if TYPE_CHECKING`."""
    todo: list[ast.AST] = list(tree.body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            todo += node.orelse
            continue
        yield node
        todo += ast.iter_child_nodes(node)


def _imported(tree: ast.Module) -> Iterator[tuple[ast.Import | ast.ImportFrom, str]]:
    only_types = {
        id(below) for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) for below in ast.walk(node)
    }  # fmt: skip
    for node in ast.walk(tree):
        if id(node) in only_types:
            continue
        if isinstance(node, ast.Import):
            yield from ((node, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node, node.module.partition(".")[0]


def _reaching(path: Path) -> Iterator[Finding]:
    """Paths of one machine, and what reaches beyond the method: allowed, but not where strangers' files are run."""
    tree = parse(path, "baseline")
    docstrings = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            if _ABSOLUTE.fullmatch(node.value):
                yield Finding(
                    "paths", "warning", f"{path.name}:{node.lineno} names a place of this machine, {node.value[:60]!r}",
                    "take it from a package (importlib.resources), or from `self.context.cache_dir`",
                )  # fmt: skip
        elif isinstance(node, ast.Call) and (name := ast.unparse(node.func)) in _CALLS:
            yield _reaches(path, node.lineno, f"calls {name}")
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "open" and _writes(node):
            yield _reaches(path, node.lineno, "writes a file")
    for imported, module in _imported(tree):
        if module in _REACHING:
            yield _reaches(path, imported.lineno, f"imports {module} ({_REACHING[module]})")


def _reaches(path: Path, line: int, what: str) -> Finding:
    return Finding(
        "reach", "warning", f"{path.name}:{line} {what}",
        "`harness verify` runs a submitted file in a box without network: if the method needs this, it fails there",
    )  # fmt: skip


def _writes(call: ast.Call) -> bool:
    modes = [*call.args[1:2], *(k.value for k in call.keywords if k.arg == "mode")]
    return any(isinstance(m, ast.Constant) and isinstance(m.value, str) and set(m.value) & set("wax+") for m in modes)


def _many(n: int, thing: str) -> str:
    return f"{n} {thing}{'' if n == 1 else 's'}"
