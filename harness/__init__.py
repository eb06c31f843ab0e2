"""A benchmark harness and leaderboard for the limits of learned representations.

>>> import harness
>>> results = harness.run("limit/retrieval", baselines=["random"], scale="smoke")  # doctest: +SKIP

Importing this costs nothing: what `run` and `load_results` need is imported when they are called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = ["__version__", "load_results", "run"]

if TYPE_CHECKING:
    from harness.api import load_results, run


def __getattr__(name: str) -> object:
    if name in ("run", "load_results"):
        from harness import api

        return getattr(api, name)
    raise AttributeError(f"module 'harness' has no attribute {name!r}")
