"""`harness new`: writes a baseline that runs, or a task in a package of its own, each with its test."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from harness.errors import UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the two kinds and their options."""
    kinds = parser.add_subparsers(dest="kind", metavar="KIND", required=True)
    baseline = kinds.add_parser("baseline", help="a method: one file, and its test")
    baseline.add_argument("task", metavar="FAMILY[/TASK]", help="what it is a method for, for example limit/retrieval")
    baseline.add_argument("name", metavar="NAME", help="its row in the table, for example word-overlap")
    baseline.add_argument("--out", default=".", metavar="DIR", help="where to (default: the folder you are in)")
    task = kinds.add_parser("task", help="a problem: a package with a task, a method, a control and a test")
    task.add_argument("name", metavar="NAME", help="for example most-frequent")
    task.add_argument("--out", default="", metavar="DIR", help="the package's folder (default: NAME)")


def execute(options: argparse.Namespace) -> int:
    """Write the files and say what to type next."""
    return _baseline(options) if options.kind == "baseline" else _task(options)


def _baseline(options: argparse.Namespace) -> int:
    from harness.registry import load_registry
    from harness.submission.templates import baseline_text, names_of, task_of, text_of_test

    registry = load_registry()
    row, module, _ = names_of(options.name)
    task, note = task_of(registry, options.task)
    rows = registry.rows(task)
    if row in (taken := {r.name: r for r in rows}):
        where = taken[row].path
        raise UsageError(f"{task.name} has a row {row} already{f', of {where.name}' if where else ''}; choose a name")
    out = Path(options.out)
    file, test = out / f"{module}.py", out / f"test_{module}.py"
    write_new({file: baseline_text(task, options.name), test: text_of_test(task, rows, options.name)})
    if note:
        print(f"note: {note}")
    print(f"{file}: a method of {task.name} that runs as it is; change it\n{test}: its test")
    print(f"next: harness check {file}")
    return 0


def _task(options: argparse.Namespace) -> int:
    from harness.registry import load_registry
    from harness.submission.new_task import files_of_task
    from harness.submission.templates import names_of

    row, module, _ = names_of(options.name)
    if any(module in (task.name, task.family) for task in load_registry().tasks.values()):
        raise UsageError(f"there is a task {module} already; choose another name")
    out = Path(options.out or row)
    write_new({out / path: text for path, text in files_of_task(options.name).items()})
    print(f"{out}: a package with the task {module}, the method `counting`, the control `random`, and a test")
    print(
        "Tasks are found in installed packages, so:\n"
        f"next: pip install -e {out}\n"
        f"then: harness run --task {module}\n"
        f"      python -m pytest {out}\n"
        f"To have it in the project, move its two inner folders to tasks/{module}/ and baselines/{module}/ of a "
        "checkout\nand name both in pyproject.toml; CONTRIBUTING.md says what else a task needs."
    )
    return 0


def write_new(files: Mapping[Path, str]) -> None:
    """Write all of these, none of which may exist. Raises UsageError, and then none is left."""
    for path in files:
        if path.exists() or path.is_symlink():
            raise UsageError(f"{path} exists and is left as it is; choose another NAME, or another folder with --out")
    made: list[Path] = []
    try:
        for path, text in files.items():
            above = [folder for folder in path.parents if not folder.exists()]
            path.parent.mkdir(parents=True, exist_ok=True)
            made += reversed(above)
            with open(path, "x", encoding="utf-8") as file:
                made.append(path)
                file.write(text)
    except OSError as error:
        for path in reversed(made):
            path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)
        raise UsageError(f"{error.filename or path} cannot be written: {error.strerror}; try --out DIR") from None
