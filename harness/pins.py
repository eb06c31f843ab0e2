"""`--with`: which versions were asked for, which rows need them, and the rows that come of it.

A row that a pin touches runs once for each `--with`, as `ROW@NAME==VERSION`, instead of with what is installed;
`--with current` adds that back. All other rows run as they always do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from harness import overlay
from harness.errors import UsageError
from harness.overlay import normalised
from harness.registry import ORACLE, BaselineSpec

if TYPE_CHECKING:
    from harness.overlay import Overlay

CURRENT = "current"
"""Stands for what is installed."""
_PIN = re.compile(r"([A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?)\s*==\s*((?:\d+!)?\d+(?:\.\d+)*[A-Za-z0-9.+-]*)")
Group = tuple[str, ...]
"""The pins of one environment, sorted; empty: what is installed."""


def parse_pins(text: str) -> Group:
    """`faiss-cpu==1.11.0,numpy==1.26.4` -> its pins, by normalised name; `current` -> none. Raises UsageError."""
    if text.strip() == CURRENT:
        return ()
    pins: dict[str, str] = {}
    for part in text.split(","):
        match = _PIN.fullmatch(part.strip())
        if match is None:
            raise UsageError(
                f"--with {text!r}: {part.strip()!r} is no pinned version; write NAME==VERSION, for example --with "
                "faiss-cpu==1.11.0 (several in one environment: --with 'a==1.0,b==2.1')"
            )
        name = normalised(match[1])
        if pins.setdefault(name, match[2]) != match[2]:
            raise UsageError(f"--with {text!r} pins {name} to {pins[name]} and to {match[2]}; write --with twice, once "
                             "for each")  # fmt: skip
    return tuple(f"{name}=={version}" for name, version in sorted(pins.items()))


def pinned_rows(rows: Mapping[str, Sequence[BaselineSpec]], wanted: Iterable[str]) -> dict[str, list[BaselineSpec]]:
    """Rows by task, with those that a pin touches once for each group that does. Raises UsageError."""
    groups = list(dict.fromkeys(parse_pins(text) for text in wanted))
    if not any(groups):
        return {task: list(of_task) for task, of_task in rows.items()}
    every = [row for of_task in rows.values() for row in of_task if row.name != ORACLE]
    needs = Needs()
    touched = {group: _touched(group, every, needs) for group in groups if group}
    environments = {group: overlay.find(group) for group in touched}
    found: dict[str, list[BaselineSpec]] = {}
    for task, of_task in rows.items():
        found[task] = []
        for row in of_task:
            mine = [g for g, named in touched.items() if (row.task, row.name) in named]
            if not mine or () in groups:
                found[task].append(row)
            found[task] += [pinned(row, environments[group]) for group in mine]
    return found


def pinned(row: BaselineSpec, environment: Overlay) -> BaselineSpec:
    """The same row in an environment of its own."""
    return replace(row, name=f"{row.name}@{environment.label}", environment=environment)


def with_environments(
    rows: Mapping[str, Sequence[BaselineSpec]], note: Callable[[str], None]
) -> dict[str, list[BaselineSpec]]:
    """The rows with their environments made, where they are not there yet. One that cannot be made says why."""
    made: dict[str, Overlay] = {}

    def ready(row: BaselineSpec) -> BaselineSpec:
        wanted = row.environment
        if wanted is None or wanted.lock:
            return row
        if wanted.label not in made:
            note(f"making an environment with {wanted.label}; it is kept for further runs")
            made[wanted.label] = overlay.make(wanted)
        return replace(row, environment=made[wanted.label])

    return {task: [ready(row) for row in of_task] for task, of_task in rows.items()}


def plain_name(name: str, requirements: Sequence[str]) -> str:
    """The name of a row without its pins."""
    return name.removesuffix("@" + ",".join(requirements)) if requirements else name


class Needs:
    """Which distributions a row needs: by its `requires`, and by what those depend on."""

    def __init__(self) -> None:
        from importlib import metadata  # 50 ms, for those who ask

        self._metadata = metadata
        self._provides = metadata.packages_distributions()
        self._below: dict[str, frozenset[str]] = {}

    def named(self, row: BaselineSpec) -> set[str]:
        """Distributions that provide what the row requires; the import name itself for what is not installed."""
        modules = [module.partition(".")[0] for module in row.requires]
        return {normalised(name) for module in modules for name in self._provides.get(module, [module])}

    def unknown(self, row: BaselineSpec) -> bool:
        """Whether it requires a module that nothing installed provides: any distribution may be the one."""
        return any(module.partition(".")[0] not in self._provides for module in row.requires)

    def all(self, row: BaselineSpec) -> set[str]:
        """The same with what they depend on, and NumPy, which every row uses."""
        todo, found = [*self.named(row), "numpy"], set[str]()
        while todo:
            name = todo.pop()
            if name not in found:
                found.add(name)
                todo += self._dependencies(name)
        return found

    def _dependencies(self, name: str) -> frozenset[str]:
        if name not in self._below:
            try:
                said = self._metadata.requires(name) or []
            except self._metadata.PackageNotFoundError:
                said = []
            names = (re.match(r"[\w.-]+", text) for text in said if "extra ==" not in text)
            self._below[name] = frozenset(normalised(match[0]) for match in names if match)
        return self._below[name]


def _touched(group: Group, rows: Sequence[BaselineSpec], needs: Needs) -> set[tuple[str, str]]:
    """Rows that require one of these by name; where none does, those that depend on one."""
    pins = {requirement.partition("==")[0] for requirement in group}
    here = overlay.installed()
    strange = {name for name in pins if name not in here}
    chosen = [row for row in rows if pins & needs.named(row)]
    chosen = chosen or [row for row in rows if strange and needs.unknown(row)]
    chosen = chosen or [row for row in rows if pins & needs.all(row)]
    reached = set().union(*(needs.all(row) for row in chosen)) if chosen else set()
    for name in sorted(pins):
        # what is not installed may be what a new version of another pin depends on
        if not chosen or (name not in reached and name not in strange):
            required = sorted(set().union(*(needs.named(row) for row in rows))) if rows else []
            raise UsageError(
                f"--with {','.join(group)}: no chosen row needs {name}; they require "
                f"{', '.join(required) or 'nothing'} (and what these depend on)"
            )
    return {(row.task, row.name) for row in chosen}
