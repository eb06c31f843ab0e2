"""Reads `PATH.py:CLASS(arguments)[query arguments]` and imports that module as ann-benchmarks would."""

from __future__ import annotations

import ast
import importlib
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.errors import MissingPackage, UsageError
from harness.task import Scalar

EXAMPLE = """annb:hnswlib/module.py:HnswLib("@metric", {"M": 16, "efConstruction": 128})[10, 16, 64]"""
ROOT = "ann_benchmarks"
ALGORITHMS = f"{ROOT}.algorithms"


@dataclass(frozen=True)
class Plugin:
    """What was asked for. `queries` holds one tuple of arguments of `set_query_arguments` a setting."""

    path: Path
    class_name: str
    arguments: tuple[Any, ...]
    named: dict[str, Any]
    queries: tuple[tuple[Any, ...], ...] | None

    def filled(self, **known: Scalar) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The constructor's arguments, with "@metric", "@dimension" and "@count" replaced wherever they stand."""
        return _replaced(self.arguments, known), _replaced(self.named, known)


def parse(text: str) -> Plugin:
    """Raises UsageError, saying what to type, for a text of another form."""
    stem, dot_py, call = text.partition(".py:")
    if not dot_py:
        raise UsageError(f"annb:{text} names no class of a module; write for example {EXAMPLE}")
    try:
        node = ast.parse(call.strip(), mode="eval").body
        queries = None
        if isinstance(node, ast.Subscript):
            queries = tuple(v if isinstance(v, tuple) else (v,) for v in _settings(node.slice))
            node = node.value
        arguments: tuple[Any, ...] = ()
        named: dict[str, Any] = {}
        if isinstance(node, ast.Call):
            arguments = tuple(ast.literal_eval(a) for a in node.args)
            named = {str(k.arg): ast.literal_eval(k.value) for k in node.keywords if k.arg}
            node = node.func
        if not isinstance(node, ast.Name):
            raise ValueError(f"`{ast.unparse(node)}` is no name of a class")
    except (SyntaxError, ValueError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error).partition(" on line")[0]
        raise UsageError(
            f"annb: `{call}` cannot be read ({reason}); arguments are Python literals, with text in quotes, "
            f"for example {EXAMPLE}"
        ) from None
    return Plugin(Path(f"{stem}.py"), node.id, arguments, named, queries)


def import_class(plugin: Plugin) -> type[Any]:
    """The plugin's class. Raises MissingPackage where the file or what it imports is not there, UsageError for an
    unknown class."""
    if not plugin.path.is_file():
        raise MissingPackage(f"{plugin.path}: no such file; give the path of an ann-benchmarks module, {EXAMPLE}")
    module = _import_module(plugin.path.resolve())
    found = getattr(module, plugin.class_name, None)
    if isinstance(found, type):
        return found
    own = sorted(n for n, v in vars(module).items() if isinstance(v, type) and hasattr(v, "fit") and n != "BaseANN")
    near = ", ".join(own) or "none with a method `fit`"
    raise UsageError(
        f"{plugin.path.name} has no class {plugin.class_name!r}; it has {near}; did you mean one of these?"
    )


def _import_module(path: Path) -> ModuleType:
    """Import `path` inside packages of ann-benchmarks' names.

    A plugin imports `..base.module` (a folder an algorithm) or `ann_benchmarks.algorithms.base` (older: a file an
    algorithm), and may import its neighbours. Packages are made by name, over the folders that are there, and what
    they lack of the base is ours: a checkout's own base comes first, a plugin alone in a folder works as well.
    """
    for name in [n for n in sys.modules if n == ROOT or n.startswith(ROOT + ".")]:
        del sys.modules[name]
    foldered = path.name == "module.py"
    algorithms = path.parents[1] if foldered else path.parent
    _make_package(ROOT, algorithms.parent)
    _make_package(ALGORITHMS, algorithms)
    if not (algorithms / "base.py").is_file() and not (algorithms / "base" / "module.py").is_file():
        base = _make_package(f"{ALGORITHMS}.base", algorithms / "base")
        inner = ModuleType(f"{ALGORITHMS}.base.module")
        sys.modules[inner.__name__] = base.module = inner  # type: ignore[attr-defined]
        inner.BaseANN = base.BaseANN = BaseANN  # type: ignore[attr-defined]
    if not (algorithms.parent / "constants.py").is_file():
        constants = ModuleType(f"{ROOT}.constants")
        constants.INDEX_DIR = tempfile.gettempdir()  # type: ignore[attr-defined]
        sys.modules[constants.__name__] = constants
    if foldered:
        _make_package(f"{ALGORITHMS}.{path.parent.name}", path.parent)
    name = f"{ALGORITHMS}.{path.parent.name}.module" if foldered else f"{ALGORITHMS}.{path.stem}"
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise MissingPackage(f"{path.name} imports {error.name}, which is not installed; install it first") from error


def _make_package(name: str, folder: Path) -> ModuleType:
    package = ModuleType(name)
    package.__path__ = [str(folder)]
    sys.modules[name] = package
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, package)
    return package


class BaseANN:
    """What a plugin may expect of its base class, where no checkout brings its own. One thread."""

    name = ""

    def fit(self, X: Any) -> None:  # noqa: N803 - the plugins' name
        raise NotImplementedError

    def query(self, q: Any, n: int) -> Any:
        raise NotImplementedError

    def batch_query(self, X: Any, n: int) -> None:  # noqa: N803
        self.res = [self.query(q, n) for q in X]

    def get_batch_results(self) -> Any:
        return self.res

    def get_additional(self) -> dict[str, Any]:
        return {}

    def get_memory_usage(self) -> float | None:
        return None

    def done(self) -> None:
        pass

    def __str__(self) -> str:
        return self.name or type(self).__name__


def _settings(node: ast.expr) -> tuple[Any, ...]:
    value = ast.literal_eval(node)
    return value if isinstance(value, tuple) else (value,)


def _replaced(value: Any, known: dict[str, Scalar]) -> Any:
    match value:
        case str() if value[:1] == "@" and value[1:] in known:
            return known[value[1:]]
        case list() | tuple():
            return type(value)(_replaced(v, known) for v in value)
        case dict():
            return {k: _replaced(v, known) for k, v in value.items()}
        case _:
            return value
