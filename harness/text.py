"""Text of records on a terminal, in Markdown or in a spreadsheet: shown as it stands, and nothing it says is done.

Names, reasons, notes and output come from whoever made a record.
"""

from __future__ import annotations

import re

_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028\u2029]")
"""Controls, which a terminal would obey, and marks that turn the direction of what follows. Not tab and line feed."""


def plain(text: str) -> str:
    """`text` with every control character as a visible sign."""
    return _HIDDEN.sub(lambda match: _picture(ord(match[0])), text)


def one_line(text: str) -> str:
    """The same, where a second line could be taken for one of ours."""
    return plain(text).replace("\n", "\u240a").replace("\t", "\u2409")


def _picture(code: int) -> str:
    return chr(0x2400 + code) if code < 0x20 else "\u2421" if code == 0x7F else f"<U+{code:04X}>"


def cell(text: str) -> str:
    """`text` within a Markdown table: on one line, no HTML, no link, no code, no further column."""
    shown = plain(text).replace("\\", "\\\\").replace("|", "\\|").replace("`", "\\`").replace("](", "]\\(")
    return " ".join(shown.replace("&", "&amp;").replace("<", "&lt;").split())


def spreadsheet(text: str) -> str:
    """`text` in a cell of a CSV file: what a spreadsheet would take for a formula gets an apostrophe in front."""
    shown = plain(text)
    return f"'{shown}" if shown[:1] in ("=", "+", "-", "@", "\t", "\n") else shown
