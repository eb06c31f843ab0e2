"""The parent is light: what only prints imports no heavy package and no plugin."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = ("numpy", "torch", "pandas", "datasets", "mteb", "transformers", "scipy", "sklearn", "pydantic", "rich")
SCRIPT = """
import sys, json, io, contextlib
from harness.cli import main
with contextlib.redirect_stdout(io.StringIO()):
    try:
        main(sys.argv[1:])
    except SystemExit:
        pass
print(json.dumps(sorted(sys.modules)))
"""


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["list"], ["list", "baselines"], ["list", "cases"],
                                   ["run", "--help"], ["show", "--help"], ["doctor", "--help"]])  # fmt: skip
def test_it_imports_nothing_heavy_and_no_plugin(words: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT, *words], capture_output=True, text=True, check=True)
    modules = json.loads(done.stdout.splitlines()[-1])
    assert "harness.cli" in modules
    loaded = [m for m in modules if m in HEAVY or m.startswith(("harness.tasks.", "harness.baselines."))]
    assert loaded == []


def test_importing_the_package_costs_nothing() -> None:
    code = (
        "import sys, harness; print([m for m in sys.modules if m.startswith('harness.') or m in ('numpy', 'pandas')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
