"""What runs first in a box: it shuts itself in, says so, and runs the cell once the keeper has looked.

Until the keeper has answered nothing of a submission is imported, the wheels that it asked for among it.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.worker import seal

_NOT_ADMITTED = 71


def main() -> None:
    """Run the cell whose `spec.json` lies in the folder named first; the pipes to the keeper follow by number."""
    place, marks, acks = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    spec: dict[str, Any] = json.loads((place / "spec.json").read_text("utf-8"))
    inside = spec["box"]
    readable = [Path(path) for path in (*inside["code"], spec["question"], spec["prepared"], inside["site"]) if path]
    sealed = asdict(seal.seal(readable, [place, *map(Path, inside["scratch"])], inside["hidden"]))
    os.write(marks, json.dumps({"mark": "sealed", **sealed}).encode() + b"\n")
    if os.read(acks, 1) != b".":
        os._exit(_NOT_ADMITTED)
    if inside["site"]:
        sys.path.insert(0, inside["site"])
    for module in inside["preload"]:  # as the server does: what a method needs imported is not the method's time
        try:
            __import__(module)
        except Exception as error:
            print(f"{module}: {type(error).__name__}: {error}", file=sys.stderr)
    from harness.worker.child import run_cell

    code = run_cell(place, spec, marks, acks, sealed)
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
