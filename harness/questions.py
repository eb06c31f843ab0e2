"""Questions as files: the judge writes each draw once, and the oldest are thrown away when they take too much room."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.bundle import sealed_beside
from harness.executors.local import JudgeClient
from harness.plan import Cell
from harness.task import Scalar

ROOM_BYTES = 2 << 30
"""Questions beyond this are deleted, oldest first, unless a cell is using them; they can be made again at any time."""


@dataclass(frozen=True)
class Drawn:
    """One draw as the children get it."""

    folder: Path
    digest: str
    about: Mapping[str, Scalar]


class Questions:
    """Asks the judge for draws, and keeps what it wrote under `scratch`."""

    def __init__(self, judge: JudgeClient, scratch: Path) -> None:
        self._judge, self._scratch = judge, scratch
        self._drawn: dict[str, Drawn] = {}
        self._made = 0

    def get(self, cell: Cell, in_use: Collection[Path] = ()) -> Drawn:
        """The question of a cell. Raises JudgeError where the task has none."""
        request = draw_request(cell)
        key = json.dumps(request, sort_keys=True)
        known = self._drawn.pop(key, None)
        if known is None:
            self._make_room(in_use)
            folder = self._scratch / f"question-{self._made}"
            self._made += 1
            reply = self._judge.ask({"op": "draw", **request, "folder": str(folder)})
            known = Drawn(folder, reply["digest"], reply["about"])
        self._drawn[key] = known  # the last one used stands last
        return known

    def _make_room(self, in_use: Collection[Path]) -> None:
        sizes = {key: _size(drawn.folder) + _size(sealed_beside(drawn.folder)) for key, drawn in self._drawn.items()}
        for key in list(self._drawn):
            if sum(sizes.values()) <= ROOM_BYTES:
                return
            if self._drawn[key].folder not in in_use:
                gone = self._drawn.pop(key).folder
                shutil.rmtree(gone, ignore_errors=True)
                shutil.rmtree(sealed_beside(gone), ignore_errors=True)
                del sizes[key]


def draw_request(cell: Cell) -> dict[str, Any]:
    """What the judge needs to know of a cell."""
    task = {"module": cell.task.module, "class": cell.task.class_name}
    return {"task": task, "case": asdict(cell.case), "seed": cell.seed}


def _size(folder: Path) -> int:
    return sum(p.lstat().st_size for p in folder.iterdir()) if folder.is_dir() else 0
