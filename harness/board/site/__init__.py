"""The leaderboard as a static site: pages that work from a disk, offline, and are the same bytes for the same board."""

from __future__ import annotations

from harness.board.site.building import build
from harness.board.site.release_page import ReleaseInfo
from harness.board.site.server import serve

__all__ = ["ReleaseInfo", "build", "serve"]
