"""Releases: what was frozen when, and what moved since the one before, and why."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.board.site.escaping import html, line
from harness.board.site.shell import Frame, page, section

_MOST_MANIFEST = 20_000


@dataclass(frozen=True)
class ReleaseInfo:
    """A frozen, numbered copy of the board, as the pages tell of it."""

    name: str
    made: str
    """UTC, ISO 8601."""
    rows_csv_path: str = ""
    """The file with its rows, copied beside its page; empty: there is none."""
    manifest: Mapping[str, Any] = field(default_factory=dict)
    changes: Sequence[str] = ()
    """Sentences: what moved since the release before, and why."""


def releases_page(frame: Frame, releases: Sequence[ReleaseInfo]) -> str:
    """All releases, the newest first."""
    cards = "".join(
        f'<article class="card"><h2><a href="release/{frame.links.releases[r.name]}.html">{line(r.name)}</a> '
        f'<span class="version">{line(r.made, 30)}</span></h2>{_changes(r, 8)}</article>'
        for r in newest_first(releases)
    )
    lead = "A release never changes: cite it by its name. What moved between two of them is told with its reason."
    body = f'<h1>Releases</h1><p class=lead>{lead}</p><div class="cards">{cards}</div>'
    return page(frame, "Releases", body, 0, "releases")


def release_page(frame: Frame, release: ReleaseInfo) -> str:
    """One release: its changes, its rows, its manifest."""
    name = frame.links.releases[release.name]
    rows = f'<p><a href="{name}.csv" download>All rows as CSV</a></p>' if release.rows_csv_path else ""
    body = (
        f'<p class="crumbs"><a href="../releases.html">Releases</a></p><h1>{line(release.name)}</h1>'
        f'<p class="counts">records up to {line(release.made, 40)}</p>{rows}'
        + section("changes", "What moved, and why", _changes(release, 500))
        + section("manifest", "Manifest", _manifest(release.manifest))
    )
    return page(frame, release.name, body, 1, "releases")


def newest_first(releases: Sequence[ReleaseInfo]) -> list[ReleaseInfo]:
    return sorted(releases, key=lambda r: (r.made, r.name), reverse=True)


def _changes(release: ReleaseInfo, most: int) -> str:
    if not release.changes:
        return "<p>The first one, or nothing moved.</p>"
    listed = "".join(f"<li>{line(c, 600)}</li>" for c in release.changes[:most])
    left = len(release.changes) - most
    return f"<ul>{listed}</ul>" + (f"<p class=about>and {left} more</p>" if left > 0 else "")


def _manifest(manifest: Mapping[str, Any]) -> str:
    if not manifest:
        return ""
    brief = "".join(
        f"<dt>{line(k, 80)}</dt><dd>{line(v, 200)}</dd>"
        for k, v in manifest.items()
        if not isinstance(v, Mapping | list | tuple)
    )
    counts = "".join(
        f"<dt>{line(k, 80)}</dt><dd>{len(v):,}</dd>"
        for k, v in manifest.items()
        if isinstance(v, Mapping | list | tuple)
    )
    whole = json.dumps(manifest, indent=1, default=str)
    cut = "" if len(whole) <= _MOST_MANIFEST else "\n\u2026 the rest is in the release's folder"
    return (f'<dl class="facts-list">{brief}{counts}</dl><details><summary>As it is written</summary>'
            f'<pre tabindex="0">{html(whole[:_MOST_MANIFEST] + cut)}</pre></details>')  # fmt: skip
