"""What all pages share: the head, the way around, the foot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.board.board import Board
from harness.board.site.escaping import html, line
from harness.board.site.tables import Links

GENERATOR = "harness board"
POLICY = (
    "default-src 'none'; script-src 'self' file:; style-src 'self' file: 'unsafe-inline'; img-src 'self' file: data: "
    "blob:; base-uri 'none'; form-action 'none'"
)
"""Scripts come from files of the site alone; nothing is fetched from anywhere. `file:` is what a page that was opened
from a disk may load. Plotly writes its own styles."""


@dataclass(frozen=True)
class Frame:
    """What every page needs to know to link to the others."""

    board: Board
    links: Links
    tracking: bool = False
    """Whether there is a page about nights."""


def page(frame: Frame, title: str, body: str, depth: int = 0, here: str = "", scripts: Sequence[str] = ()) -> str:
    """A whole page, `depth` folders below the root; `scripts` are paths from the root, run in order at the end."""
    root = "../" * depth
    deferred = "".join(f'<script defer src="{root}{html(path)}"></script>' for path in scripts)
    newest = f" The newest record ended {html(frame.board.newest)}." if frame.board.newest else ""
    foot = f"Made from records alone: every number can be re-run by the command on its record.{newest}"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f'<meta name="generator" content="{GENERATOR}"><title>{line(title, 120)} \u00b7 harness</title>'
        f'<link rel="icon" href="{root}assets/icon.svg">'
        f'<link rel="stylesheet" href="{root}assets/site.css"><script src="{root}assets/theme.js"></script>{deferred}'
        '</head><body><a class="skip" href="#main">Skip to content</a>'
        f"{_header(frame, root, here)}<main id=main>{body}</main>"
        f"<footer><p>{foot}</p></footer></body></html>\n"
    )


def _header(frame: Frame, root: str, here: str) -> str:
    pages = [("index", "Overview", "index.html"), ("baselines", "Methods", "baselines.html")]
    pages += [("releases", "Releases", "releases.html")] if frame.links.releases else []
    pages += [("tracking", "Tracking", "tracking.html")] if frame.tracking else []
    pages += [(t.name, t.name, f"task/{frame.links.tasks[t.name]}.html") for t in frame.board.tasks]
    links = "".join(
        f'<li><a href="{root}{path}"{" aria-current=page" if name == here else ""}>{line(label, 40)}</a></li>'
        for name, label, path in pages
    )
    return (
        f'<header><a class="brand" href="{root}index.html">harness</a><nav aria-label="Pages"><ul>{links}</ul></nav>'
        '<button id="theme" type="button" class="js">Theme</button></header>'
    )


def section(identity: str, heading: str, content: str, about: str = "") -> str:
    """A part of a page with its heading; empty without content."""
    if not content:
        return ""
    says = f'<p class="about">{about}</p>' if about else ""
    return f'<section id="{identity}"><h2 id="{identity}-heading">{html(heading)}</h2>{says}{content}</section>'


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], label: str, numbers: Sequence[int] = ()) -> str:
    """A plain table; cells are HTML already, headings are not. `numbers` are columns that stand to the right."""
    side = ["num" if i in numbers else "" for i, _ in enumerate(headings)]
    head = "".join(f'<th scope="col" class="{s}">{html(h)}</th>' for h, s in zip(headings, side, strict=True))
    body = "".join(
        "<tr>" + "".join(f'<td class="{s}">{c}</td>' if s else f"<td>{c}</td>" for c, s in zip(row, side, strict=True))
        + "</tr>"
        for row in rows
    )  # fmt: skip
    return (
        f'<div class="scroll" role="region" aria-label="{line(label, 150)}" tabindex="0"><table><thead><tr>{head}</tr>'
        f"</thead><tbody>{body}</tbody></table></div>"
    )
