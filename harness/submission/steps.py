"""Steps that undo themselves: either all are done, or nothing of them is left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError, UsageError


@dataclass(frozen=True)
class Step:
    """Something to do, and how to take it back. `undo` must also hold where `do` was cut off in the middle."""

    what: str
    do: Callable[[], object]
    undo: Callable[[], object] = lambda: None


def carry_out(steps: Sequence[Step]) -> None:
    """Do all in turn. If one fails, or is interrupted, it and those before it are undone, the last one first, and its
    error goes on; an OSError as a UsageError."""
    begun: list[Step] = []
    try:
        for step in steps:
            begun.append(step)
            step.do()
    except BaseException as error:
        kept = _undo(begun)
        left = f"; could not be removed: {', '.join(kept)}" if kept else "; nothing was left behind"
        if isinstance(error, OSError):
            raise UsageError(f"could not {begun[-1].what}: {error.strerror or error}{left}") from None
        if isinstance(error, HarnessError):
            raise UsageError(f"could not {begun[-1].what}: {error}{left}") from None
        raise


def make_folder(path: Path) -> Step:
    """A folder that is not there yet; those above it that are missing are steps of their own."""
    made: list[Path] = []

    def do() -> None:
        path.mkdir()  # fails where something is: that is not ours to undo
        made.append(path)

    def undo() -> None:
        for own in made:
            own.rmdir()

    return Step(f"make the folder {path}", do, undo)


def write_file(path: Path, content: bytes) -> Step:
    """A file that is not there yet."""
    made: list[Path] = []

    def do() -> None:
        with open(path, "xb") as file:
            made.append(path)
            file.write(content)

    def undo() -> None:
        for own in made:
            own.unlink(missing_ok=True)

    return Step(f"write {path}", do, undo)


def _undo(begun: Sequence[Step]) -> list[str]:
    kept = []
    for step in reversed(begun):
        try:
            step.undo()
        except OSError as error:
            kept.append(f"{step.what} ({error.strerror})")
    return kept
