"""Whether a night says anything of the code at all."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from harness.track.findings import State
from harness.track.history import Cell
from harness.track.rotation import Past


def state_of(cells: Sequence[Cell], past: Past, *, left: int = 0, problem: str = "") -> tuple[State, str]:
    """`fine`, `measured nothing` or `environment broke`, and the sentence why.

    The environment broke where the harness itself could not go on (`problem`), where nothing that was tried answered,
    and where at least half of the rows that answered the last time they were run do not now, all for one reason or
    because something is missing. `track check` runs some of these again: where the last good commit answers in the same
    environment, it was the code.
    """
    if problem:
        return "environment broke", f"the night ended early: {problem}"
    tried = [cell for cell in cells if cell.status != "unsupported"]
    if not tried:
        return "measured nothing", "nothing was tried" + (f": {left} rows were left for want of time" if left else "")
    if not any(cell.status == "ok" for cell in tried):
        most = Counter(_cause(cell) for cell in tried).most_common(1)[0][0]
        return "environment broke", f"none of {len(tried)} cells answered; most often: {most}"
    before = [cell for cell in tried if past.was_ok((cell.task, cell.case, cell.row))]
    causes = Counter(_cause(cell) for cell in before if cell.status != "ok")
    if causes:
        cause, count = causes.most_common(1)[0]
        if count > 1 and 2 * count >= len(before):
            return "environment broke", f"{count} of {len(before)} cells that answered before do not: {cause}"
    return "fine", f"{sum(cell.status == 'ok' for cell in tried)} of {len(tried)} cells answered"


def _cause(cell: Cell) -> str:
    """A status and reason that cells share: without the numbers, names in quotes and paths in which they differ."""
    if cell.status == "skipped":
        return "skipped, as something is missing"
    first = cell.reason.splitlines()[0] if cell.reason else ""
    return f"{cell.status}: {re.sub(r'(/[^ ]+)|[0-9.]+', '..', first)}"[:200]
