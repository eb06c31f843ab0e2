"""Where things lie: results in the folder one works in, caches under XDG_CACHE_HOME."""

from __future__ import annotations

import os
from pathlib import Path

DEFAULT_RESULTS = Path("results/local")
PUBLISHED_RESULTS = Path("results")
"""Used by readers when there is no local folder: in a checkout, the committed records."""


def default_results() -> Path:
    """The folder that readers use: one's own, else the published records of a checkout."""
    if (DEFAULT_RESULTS / "records").is_dir() or not (PUBLISHED_RESULTS / "records").is_dir():
        return DEFAULT_RESULTS
    return PUBLISHED_RESULTS


def cache_root() -> Path:
    """`$XDG_CACHE_HOME/limits-harness`, by default `~/.cache/limits-harness`. Not created here."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "limits-harness"


def runs_root() -> Path:
    """Scratch folders of runs: questions and answers. Removed at a run's end; `harness results clean` does the rest."""
    return cache_root() / "runs"


def prepared_root() -> Path:
    """Preparations that several rows share (encodings), by key."""
    return cache_root() / "prepared"


def checkpoints_root() -> Path:
    """Where long work was left off, by key of its cell; removed when that has ended."""
    return cache_root() / "checkpoints"


def overlays_root() -> Path:
    """Environments that `--with` asked for."""
    return cache_root() / "environments"


def size_of(folder: Path) -> int:
    """Bytes in all files under `folder`; 0 if there is none."""
    return sum(p.lstat().st_size for p in folder.rglob("*") if p.is_file()) if folder.is_dir() else 0
