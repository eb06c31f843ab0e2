"""Writing the charts that results support, and saying where they lie."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.record import Record


def print_charts(records: Sequence[Record], folder: str, beside: Sequence[Record] = ()) -> None:
    """One page a task under `folder`/charts, if its records support any chart."""
    from harness.charts import write_page
    from harness.errors import MissingPackage
    from harness.findings import findings_of
    from harness.registry import load_registry

    for found in findings_of(records, load_registry().tasks, beside):
        charts = found.charts()
        if charts:
            path = Path(folder) / "charts" / f"{found.spec.name.replace('/', '-')}.html"
            try:
                print(f"chart: {os.path.relpath(write_page(charts, f'harness: {found.spec.name}', path))}")
            except MissingPackage as error:
                print(f"no chart: {error}")
