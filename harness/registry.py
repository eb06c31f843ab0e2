"""Finds tasks and baselines by path and by entry point, and reads their declarations without importing them.

A plugin file is parsed, never run: `harness list` must not import torch, and a file that cannot be imported must still
be listed with the reason. What is read are literals, plus calls of `Case(...)` and `Score(...)` with literal arguments.
"""

from __future__ import annotations

import ast
import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import UsageError, did_you_mean
from harness.sources import compressed_size, digest_files, first_party_sources, parse, plugin_roots
from harness.task import SCALES, Baseline, Case, Scalar, Score, Task

if TYPE_CHECKING:
    from harness.overlay import Overlay

ORACLE = "oracle"
"""The control that the judge answers itself, from the truth."""
_CALLS = {"Case": Case, "Score": Score}
_DECLARATIONS = (
    "version",
    "requires",
    "extra",
    "cost",
    "scale",
    "devices",
    "max_threads",
    "deterministic",
    "shared",
    "cases",
    "takes",
    "part",
    "after",
    "prefix",
)
_TASK_DECLARATIONS = (
    "version",
    "scores",
    "cases",
    "seeds",
    "preload",
    "sealed",
    "hidden",
    "swept",
    "optional",
    "parallel",
)
_OF_VARIANTS = ("scale", "cases", "takes")
"""Declarations that a variant may state otherwise than its class."""


@dataclass(frozen=True)
class TaskSpec:
    """A task as its source declares it."""

    name: str
    path: Path
    module: str
    class_name: str
    version: int
    summary: str
    scores: tuple[Score, ...]
    cases: tuple[Case, ...]
    seeds: Mapping[str, Mapping[str, int]]
    preload: tuple[str, ...]
    has_oracle: bool
    has_refine: bool
    sealed: bool = False
    hidden: tuple[str, ...] = ()
    swept: tuple[str, ...] = ()
    optional: Mapping[str, Scalar] = field(default_factory=dict)
    parallel: bool = False

    @cached_property
    def sources(self) -> tuple[Path, ...]:
        """All of the task's own source files, and what they import from other plugin folders."""
        own = self.path.parent.rglob("*.py")
        return tuple(sorted({path for file in own for path in first_party_sources(file)}))

    @cached_property
    def source_digest(self) -> str:
        """SHA-256 of the sources."""
        return digest_files(self.sources)

    @property
    def in_parts(self) -> bool:
        """Whether every cell is prepared in one process and answered in another, which is shown something else."""
        return self.sealed or bool(self.swept)

    @property
    def family(self) -> str:
        return self.name.partition("/")[0]

    @property
    def main_score(self) -> Score:
        return next((s for s in self.scores if s.main), self.scores[0])


@dataclass(frozen=True)
class BaselineSpec:
    """One row: a baseline's file with one choice of its parameters."""

    name: str
    task: str
    path: Path | None
    module: str
    class_name: str
    version: int = 1
    params: Mapping[str, Scalar] = field(default_factory=dict)
    requires: tuple[str, ...] = ()
    extra: str = ""
    cost: str = "light"
    scale: str = "smoke"
    devices: tuple[str, ...] = ("cpu",)
    max_threads: int = 0
    deterministic: bool = True
    shared: tuple[str, ...] = ()
    cases: tuple[str, ...] = ()
    takes: tuple[str, ...] = ("*",)
    part: str = ""
    after: tuple[str, ...] = ()
    prefix: str = ""
    parts: tuple[BaselineSpec, ...] = ()
    """Rows that stand before it: `pca-50+int8` is `int8` with the part `pca-50`."""
    summary: str = ""
    more_sources: tuple[Path, ...] = ()
    """Files that decide its numbers as well, besides its own and what that imports."""
    environment: Overlay | None = None
    """Pinned packages it runs with; None: what is installed."""

    @cached_property
    def sources(self) -> tuple[Path, ...]:
        """The file, what it imports from plugin folders or from its own, and `more_sources`. Read when asked for:
        a list of names needs none of it."""
        own = first_party_sources(self.path) if self.path else ()
        return tuple(sorted({*own, *self.more_sources, *(path for part in self.parts for path in part.sources)}))

    @cached_property
    def source_digest(self) -> str:
        """SHA-256 of the sources."""
        return digest_files(self.sources)

    @property
    def code_bytes(self) -> int:
        """Size of the method's own sources and parameters, compressed: what it could know without having learned it."""
        tasks = [root.resolve() for root, _ in plugin_roots("tasks")]
        own = [path for path in self.sources if not any(path.is_relative_to(root) for root in tasks)]
        return compressed_size(own, repr(sorted(self.params.items())))


@dataclass(frozen=True)
class Broken:
    """A plugin file that cannot be used, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Registry:
    """Everything that is installed."""

    tasks: Mapping[str, TaskSpec]
    baselines: tuple[BaselineSpec, ...]
    broken: tuple[Broken, ...]

    def select_tasks(self, names: str) -> list[TaskSpec]:
        """Tasks by name or by family, comma-separated. Raises UsageError for an unknown one."""
        chosen: dict[str, TaskSpec] = {}
        for name in filter(None, (n.strip() for n in names.split(","))):
            found = [t for t in self.tasks.values() if name in (t.name, t.family)]
            if not found:
                raise did_you_mean("task", name, [*self.tasks, *(t.family for t in self.tasks.values())])
            chosen.update((t.name, t) for t in found)
        if not chosen:
            raise UsageError("no task named; try `harness run --task limit` (`harness list tasks` shows all)")
        return list(chosen.values())

    def rows(self, task: TaskSpec) -> list[BaselineSpec]:
        """All rows of a task that run by themselves, the controls first."""
        rows = [b for b in self.baselines if b.task == task.name and not b.prefix]
        rows += [composed(part, row) for row in rows for part in rows if part.part and part.name in row.after]
        return [oracle_row(task), *rows] if task.has_oracle else rows

    def select_rows(self, tasks: list[TaskSpec], wanted: list[str]) -> dict[str, list[BaselineSpec]]:
        """Rows of each task, all or those `wanted`: a row's name or a pattern of names, a file's name, PATH.py,
        PREFIX:MODEL, or PART+ROW, each of which may be a pattern or a path."""
        rows = {task.name: self.rows(task) for task in tasks}
        if not wanted:
            return rows
        chosen: dict[str, list[BaselineSpec]] = {task.name: [] for task in tasks}
        for name in wanted:
            for row in self._resolve(name, tasks, rows):
                if row not in chosen[row.task]:
                    chosen[row.task].append(row)
        return chosen

    def _resolve(self, name: str, tasks: list[TaskSpec], rows: Mapping[str, list[BaselineSpec]]) -> list[BaselineSpec]:
        if name.endswith(".py") and ("+" not in name or Path(name).is_file()):
            found = [row for row in read_baseline_file(Path(name), self.tasks) if row.task in rows]
            if not found:
                named = ", ".join(t.name for t in tasks)
                raise UsageError(f"{name} is a baseline of another task than {named}; choose its task with --task")
            return found
        prefix, colon, model = name.partition(":")
        if colon:
            kinds = [b for b in self.baselines if b.prefix == prefix and b.task in rows]
            if not kinds:
                raise did_you_mean("baseline", name, [f"{b.prefix}:MODEL" for b in self.baselines if b.prefix])
            if not model:
                raise UsageError(f"{name!r} names no model; write {prefix}:MODEL, for example {prefix}:org/name")
            if Path(model).is_dir():  # children run elsewhere: a relative folder would be taken for a name on a hub
                model = str(Path(model).resolve())
            return [_with_model(b, name, model) for b in kinds]
        every = [row for of_task in rows.values() for row in of_task]
        first, plus, then = name.partition("+")
        if plus and not any(row.name == name for row in every):
            parts = [row for row in self._resolve(first, tasks, rows) if row.part]
            if not parts:
                known_parts = [row.name for row in every if row.part]
                raise UsageError(
                    f"{name!r}: {first} cannot stand before another row; "
                    + (f"these can: {', '.join(known_parts)}" if known_parts else "none of this task can")
                )
            others = [row for row in self._resolve(then, tasks, rows) if not row.part and not row.parts]
            return [composed(part, row) for part in parts for row in others
                    if row.task == part.task and row.name != ORACLE]  # fmt: skip
        found = [row for row in every if row.name == name] or [row for row in every if _file_name(row) == name]
        if not found and any(c in name for c in "*?["):
            found = [row for row in every if fnmatch.fnmatchcase(row.name, name)]
        if not found:
            known = [row.name for row in every] + [_file_name(row) for row in every]
            raise did_you_mean("baseline", name, known)
        return found


def composed(part: BaselineSpec, row: BaselineSpec) -> BaselineSpec:
    """The row that runs `row` behind `part`, and needs what both need."""
    order = ("light", "heavy")
    return replace(
        row,
        name=f"{part.name}+{row.name}",
        parts=(part,),
        requires=tuple(dict.fromkeys((*part.requires, *row.requires))),
        cost=max(part.cost, row.cost, key=order.index),
        scale=max(part.scale, row.scale, key=SCALES.index),
        devices=tuple(d for d in row.devices if d in part.devices),
        deterministic=part.deterministic and row.deterministic,
        takes=row.takes if part.takes == ("*",) else part.takes,
        after=(),
        summary=f"{row.summary} Behind {part.name}.",
    )


def replace_params(spec: BaselineSpec, name: str, params: Mapping[str, Scalar]) -> BaselineSpec:
    """The same method under another row name, with some parameters changed."""
    return replace(spec, name=name, params={**spec.params, **params})


def _with_model(spec: BaselineSpec, name: str, model: str) -> BaselineSpec:
    """A row of a method that takes a model; where that is a Python file (PATH.py:MORE), its source decides too."""
    path, colon, more = model.partition(":")
    if not path.endswith(".py"):
        return replace_params(spec, name, {"model": model})
    if not Path(path).is_file():
        raise UsageError(f"{name!r}: {path} is no file; write {spec.prefix}:PATH.py:... with the path of one")
    full = Path(path).resolve()
    return replace(replace_params(spec, name, {"model": f"{full}{colon}{more}"}), more_sources=(full,))


def oracle_row(task: TaskSpec) -> BaselineSpec:
    """The control that answers from the truth."""
    return BaselineSpec(
        name=ORACLE, task=task.name, path=None, module="", class_name="", summary="answers from the truth (control)",
        more_sources=tuple(sorted(task.path.parent.rglob("*.py"))), cases=tuple({c.only for c in task.cases if c.only}),
    )  # fmt: skip


def _file_name(row: BaselineSpec) -> str:
    if row.parts:
        return row.name  # a file's own rows are those without a part
    return row.path.stem.replace("_", "-") if row.path else row.name


@cache
def load_registry() -> Registry:
    """Read all installed tasks and baselines. Broken files are kept with the reason and break nothing."""
    broken: list[Broken] = []
    tasks: dict[str, TaskSpec] = {}
    for root, module in plugin_roots("tasks"):
        for path in sorted(root.glob("*/task.py")) + sorted(root.glob("*/*/task.py")):
            try:
                spec = _read_task(path, root, module)
            except UsageError as error:
                broken.append(Broken(path, str(error)))
                continue
            if spec.name in tasks:
                broken.append(Broken(path, f"the task {spec.name!r} is also defined by {tasks[spec.name].path}"))
                continue
            tasks[spec.name] = spec
    baselines: list[BaselineSpec] = []
    taken: dict[tuple[str, str], Path] = {}
    for root, module in plugin_roots("baselines"):
        for path in sorted(root.glob("**/*.py")):
            if path.name.startswith("_"):
                continue
            try:
                rows = read_baseline_file(path, tasks, _module_of(path, root, module))
            except UsageError as error:
                broken.append(Broken(path, str(error)))
                continue
            for row in rows:
                other = taken.setdefault((row.task, row.name), path)
                if other != path:
                    broken.append(Broken(path, f"the baseline {row.name!r} is also defined by {other}"))
                else:
                    baselines.append(row)
    return Registry(tasks, tuple(baselines), tuple(broken))


def read_baseline_file(path: Path, tasks: Mapping[str, TaskSpec], module: str = "") -> list[BaselineSpec]:
    """The rows that one baseline file declares. Raises UsageError, naming file and line, for another file."""
    tree = parse(path, "baseline")
    imported = _imports(tree)
    found: list[tuple[ast.ClassDef, str]] = []
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            task = _task_of_bases(node, imported, tasks)
            if task:
                found.append((node, task))
    if not found:
        example = "from harness.tasks.limit.retrieval import Retriever"
        raise UsageError(
            f"{path}: no baseline class found; write one class that derives from a task's interface, for example "
            f"`{example}` and `class MyMethod(Retriever):`"
        )
    if len(found) > 1:
        where = ", ".join(f"{c.name} (line {c.lineno})" for c, _ in found)
        raise UsageError(f"{path}: one baseline class a file, found {len(found)}: {where}; move all but one elsewhere")
    node, task = found[0]
    declared, defaults, variants = _read_class(path, node)
    names = tuple(base.id for base in node.bases if isinstance(base, ast.Name))
    declared = {**_declared_by_interface(tasks[task].path.parent, names), **declared}
    base = BaselineSpec(
        name=path.stem.replace("_", "-"), task=task, path=path.resolve(), module=module, class_name=node.name,
        params=defaults, summary=_first_line(node), **declared,
    )  # fmt: skip
    if not variants:
        return [base]
    rows = []
    for name, changed in variants.items():
        said = {k: v for k, v in changed.items() if k in _OF_VARIANTS}
        params = {k: v for k, v in changed.items() if k not in _OF_VARIANTS}
        unknown = sorted(set(params) - set(defaults))
        if unknown:
            raise UsageError(
                f"{path}:{node.lineno}: variant {name!r} sets {unknown[0]!r}, which is no parameter of {node.name}; "
                f"parameters are annotated attributes with a default: {', '.join(defaults) or 'none yet'}"
            )
        rows.append(replace(replace_params(base, name, params), **said))
    return rows


@cache
def _declared_by_interface(folder: Path, names: tuple[str, ...]) -> dict[str, Any]:
    """What the task's own classes of these names declare, and those that they derive from in the same file: defaults
    for all baselines that derive from them."""
    for path in sorted(folder.glob("*.py")):
        if not any(f"\nclass {name}".encode() in path.read_bytes() for name in names):
            continue  # parsing is what costs
        for node in parse(path, "task").body:
            if isinstance(node, ast.ClassDef) and node.name in names:
                bases = tuple(base.id for base in node.bases if isinstance(base, ast.Name))
                return {**_declared_by_interface(folder, bases), **_read_class(path, node)[0]}
    return {}


def _read_class(path: Path, node: ast.ClassDef) -> tuple[dict[str, Any], dict[str, Scalar], dict[str, Any]]:
    declared: dict[str, Any] = {}
    defaults: dict[str, Scalar] = {}
    variants: dict[str, Any] = {}
    for item in node.body:
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and item.value is not None:
            name, value, annotated = item.target.id, item.value, "ClassVar" not in ast.unparse(item.annotation)
        elif isinstance(item, ast.Assign) and len(item.targets) == 1 and isinstance(item.targets[0], ast.Name):
            name, value, annotated = item.targets[0].id, item.value, False
        else:
            continue
        if name == "variants":
            variants = _literal(value, path)
        elif name in _DECLARATIONS:
            declared[name] = _literal(value, path)
            if isinstance(getattr(Baseline, name), tuple) and not isinstance(declared[name], tuple):
                raise UsageError(f"{path}:{item.lineno}: {name} must be a tuple, for example {name} = ('torch',)")
        elif annotated and not name.startswith("_"):
            defaults[name] = _literal(value, path)
    return declared, defaults, variants


def _read_task(path: Path, root: Path, root_module: str) -> TaskSpec:
    tree = parse(path, "task")
    imported = _imports(tree)
    for node in tree.body:
        if not isinstance(node, ast.ClassDef) or node.name.startswith("_"):
            continue
        bases = [b.value if isinstance(b, ast.Subscript) else b for b in node.bases]
        if not any(isinstance(b, ast.Name) and imported.get(b.id) == "harness.task" for b in bases):
            continue
        values: dict[str, Any] = {"summary": _first_line(node), "preload": Task.preload, "seeds": Task.seeds}
        for item in node.body:
            target = item.target if isinstance(item, ast.AnnAssign) else None
            if isinstance(item, ast.Assign) and len(item.targets) == 1:
                target = item.targets[0]  # type: ignore[assignment]
            if isinstance(target, ast.Name) and target.id in _TASK_DECLARATIONS:
                assert isinstance(item, ast.Assign | ast.AnnAssign) and item.value is not None
                values[target.id] = _literal(item.value, path)
        for needed in ("version", "scores", "cases"):
            if needed not in values:
                raise UsageError(f"{path}:{node.lineno}: task {node.name} declares no `{needed}`")
        methods = {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
        return TaskSpec(
            name=path.parent.relative_to(root).as_posix(), path=path, module=_module_of(path, root, root_module),
            class_name=node.name, has_oracle="oracle" in methods, has_refine="refine" in methods,
            **values,
        )  # fmt: skip
    raise UsageError(f"{path}: no class derives from harness.task.Task")


def _literal(node: ast.expr, path: Path) -> Any:
    """Evaluate a literal, with `Case(...)` and `Score(...)` as the only calls."""
    match node:
        case ast.Tuple(elts=elements):
            return tuple(_literal(e, path) for e in elements)
        case ast.List(elts=elements):
            return [_literal(e, path) for e in elements]
        case ast.Dict(keys=keys, values=values) if all(k is not None for k in keys):
            return {_literal(k, path): _literal(v, path) for k, v in zip(keys, values, strict=True) if k is not None}
        case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords) if name in _CALLS:
            named = {k.arg: _literal(k.value, path) for k in keywords if k.arg}
            try:
                return _CALLS[name](*(_literal(a, path) for a in args), **named)
            except TypeError as error:
                raise UsageError(f"{path}:{node.lineno}: {error}") from None
        case _:
            try:
                return ast.literal_eval(node)
            except ValueError:
                raise UsageError(
                    f"{path}:{node.lineno}: `{ast.unparse(node)}` is not a literal; declarations are read without "
                    "importing the file, so write constants"
                ) from None


def _imports(tree: ast.Module) -> dict[str, str]:
    """Imported name -> module it comes from, for `from X import Y` at the top of the file."""
    found = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.update({alias.asname or alias.name: node.module for alias in node.names})
    return found


def _task_of_bases(node: ast.ClassDef, imported: Mapping[str, str], tasks: Mapping[str, TaskSpec]) -> str:
    for base in node.bases:
        module = imported.get(base.id, "") if isinstance(base, ast.Name) else ""
        for task in tasks.values():
            package = task.module.rpartition(".")[0]
            if module == package or module.startswith(package + "."):
                return task.name
    return ""


def _first_line(node: ast.ClassDef) -> str:
    return (ast.get_docstring(node) or "").strip().partition("\n")[0]


def _module_of(path: Path, root: Path, root_module: str) -> str:
    return ".".join([root_module, *path.relative_to(root).with_suffix("").parts])
