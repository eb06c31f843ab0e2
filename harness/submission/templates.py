"""The files that `harness new` writes: a baseline that runs and its test, or a task in a package of its own.

A task brings the template of its baselines as `template.py.txt` in its folder, where `MyMethod` and `my-method` stand
for the names. One without gets what its interface asks for, method by method.
"""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Iterator
from pathlib import Path

from harness.errors import UsageError
from harness.registry import ORACLE, BaselineSpec, Registry, TaskSpec
from harness.sources import parse
from harness.task import SCALES, Case

TEMPLATE = "template.py.txt"
_CLASS, _ROW = "MyMethod", "my-method"


def names_of(name: str) -> tuple[str, str, str]:
    """`my-method` -> the row's name, the file's and the class's: my-method, my_method, MyMethod. Raises UsageError."""
    words = [word for word in re.split(r"[-_ ]+", name) if word]
    if not words or not all(re.fullmatch(r"[A-Za-z0-9]+", word) for word in words) or words[0][0].isdigit():
        raise UsageError(
            f"{name!r} can be no name; use letters, digits and '-', a letter first, for example word-overlap"
        )
    module = "_".join(words).lower()
    if keyword.iskeyword(module) or module.startswith("test_"):
        raise UsageError(f"{name!r} cannot be the name of a Python file with a method; choose another one")
    return module.replace("_", "-"), module, "".join(word[0].upper() + word[1:] for word in words)


def baseline_text(task: TaskSpec, name: str) -> str:
    """The source of a baseline of `task`."""
    row, _, class_name = names_of(name)
    template = task.path.parent / TEMPLATE
    text = template.read_text("utf-8") if template.is_file() else _from_interface(task)
    return text.replace(_CLASS, class_name).replace(_ROW, row)


def text_of_test(task: TaskSpec, rows: list[BaselineSpec], name: str) -> str:
    """The test of such a file: its rows answer the smallest case, better than chance, and not better than the truth."""
    row, module, _ = names_of(name)
    controls = [ORACLE] if task.has_oracle else []
    controls += ["random"] if any(r.name == "random" for r in rows) else []
    case = smallest_case(task)
    scale = case.light or case.heavy or "full"
    score = task.main_score
    compare = ">" if score.higher_is_better else "<"
    lines = [f'    mine = table.loc["{row}", "score"]']
    if "random" in controls:
        lines.append(f'    assert mine {compare} table.loc["random", "score"]')
    if task.has_oracle:
        lines.append(f'    assert mine {"<=" if score.higher_is_better else ">="} table.loc["oracle", "score"]')
    elif score.best is not None:
        lines.append(f"    assert mine {'<=' if score.higher_is_better else '>='} {score.best!r}")
    lines[-1] += f"  # {score.name}"
    asserts = "\n".join(lines)
    more = "".join(f', "{control}"' for control in controls)
    return _TEST.format(
        row=row, module=module, task=task.name, case=case.name, scale=scale, controls=more, asserts=asserts
    )


def smallest_case(task: TaskSpec) -> Case:
    """The first case of the smallest scale."""
    for scale in SCALES:
        for case in task.cases:
            if not case.only and scale in (case.light, case.heavy):
                return case
    return task.cases[0]


def task_of(registry: Registry, name: str) -> tuple[TaskSpec, str]:
    """The task called `name`; of a family with several, the one with the most methods, and a sentence on that."""
    tasks = registry.select_tasks(name)
    if len(tasks) == 1:
        return tasks[0], ""
    chosen = max(tasks, key=lambda task: len(registry.rows(task)))
    others = " or ".join(task.name for task in tasks if task is not chosen)
    return chosen, f"{name} has {len(tasks)} tasks; this is for {chosen.name}, which has most methods, not {others}"


def _from_interface(task: TaskSpec) -> str:
    """A baseline whose methods are those that the interface leaves open; each says that it is not written yet."""
    path, node = _interface(task)
    module = task.module.rpartition(".")[0] + ("" if path.name == "__init__.py" else f".{path.stem}")
    lines = [
        '"""What the method is and where it comes from (authors, year, section): shown to whoever opens the file."""',
        "",
        f"from {module} import {node.name}",
        "",
        "from harness.task import Unsupported",
        "",
        "",
        f"class {_CLASS}({node.name}):",
        '    """One line, shown by `harness list baselines`."""',
        "",
        "    size: int = 1  # an annotated attribute is a parameter; its default is a literal",
        f'    variants = {{"{_ROW}": {{}}, "{_ROW}-2": {{"size": 2}}}}  # rows, and how they differ from the defaults',
        "    version = 1  # raise it when the numbers change",
        "    requires = ()  # modules to import; where one is missing, rows are skipped",
    ]
    for method in _open_methods(node):
        method.returns, method.decorator_list = None, []
        for argument in [*method.args.args, *method.args.kwonlyargs]:
            argument.annotation = None
        said = " ".join((ast.get_docstring(method) or "").split()).replace('"""', "'''")
        lines += ["", f"    def {method.name}({ast.unparse(method.args)}):"]
        lines += [f'        """{said}"""'] if said else []
        lines.append(f'        raise Unsupported("{method.name} is not written yet")')
    return "\n".join(lines) + "\n"


def _interface(task: TaskSpec) -> tuple[Path, ast.ClassDef]:
    for path in sorted(task.path.parent.glob("*.py"), key=lambda p: p.name != "interface.py"):
        for node in parse(path, "task").body:
            if isinstance(node, ast.ClassDef) and node.name != task.class_name and any(_open_methods(node)):
                return path, node
    raise UsageError(f"{task.name} has no interface class in {task.path.parent}; see its own documentation")


def _open_methods(node: ast.ClassDef) -> Iterator[ast.FunctionDef]:
    """Those that do nothing but raise NotImplementedError."""
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and len(item.body) <= 2:
            last = item.body[-1]
            if isinstance(last, ast.Raise) and "NotImplementedError" in ast.unparse(last):
                yield item


_TEST = '''"""{row} on the smallest case of {task}: run as `harness run` runs it, in a process of its own."""

from pathlib import Path

import harness

ROWS = [str(Path(__file__).with_name("{module}.py")){controls}]
CASE = "{case}"


def test_it_answers_and_its_score_is_possible(tmp_path: Path) -> None:
    table = harness.run("{task}", ROWS, case=CASE, scale="{scale}", seeds=1, results=tmp_path)
    table = table[table["case"] == CASE].set_index("baseline")
    assert table.loc["{row}", "status"] == "ok", table.loc["{row}", "reason"]
{asserts}
'''
