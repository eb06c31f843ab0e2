"""Text of others on our pages: it is shown, and does nothing else.

Names, notes, reasons and output come from whoever wrote a baseline. Every such text goes through `shown`, which makes
characters visible that hide or reorder others, and then through `html` or `script`; no page is made without.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

_PICTURES = {**{code: chr(0x2400 + code) for code in range(32) if code not in (9, 10)}, 0x7F: "\u2421"}
"""Control characters (ANSI begins with one) become their pictures."""
_UNSEEN = re.compile(
    "[\u0080-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""What has no shape of its own: direction marks and overrides, zero widths, line separators, lone surrogates."""
_NAME_CHARS = 60
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d|index)(\..*)?", re.ASCII)


def shown(text: str) -> str:
    """`text` with every character visible, so that it cannot be read otherwise than it is written."""
    if text.isascii() and text.isprintable():  # nearly always
        return text
    return _UNSEEN.sub(lambda m: f"\u27e8U+{ord(m[0]):04X}\u27e9", text.translate(_PICTURES))


def html(text: object) -> str:
    """Any text as content or as the value of a quoted attribute."""
    return escape(shown(str(text)), quote=True)


def line(text: object, longest: int = 0) -> str:
    """`html` of a text on one line, cut at `longest` characters if that is above 0."""
    flat = " ".join(str(text).split())
    return html(flat if not longest or len(flat) <= longest else flat[: longest - 1] + "\u2026")


def script(name: str, value: Any) -> str:
    """A script of our own that is nothing but data: `window.NAME = JSON`. ASCII alone, so that no separator or closing
    tag is read in it, wherever it may be put."""
    text = json.dumps(_visible(value), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return f"window.{name}={text.replace('<', chr(92) + 'u003c').replace('>', chr(92) + 'u003e')};\n"


def _visible(value: Any) -> Any:
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, Mapping):
        return {shown(str(k)): _visible(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_visible(v) for v in value]
    return value


def file_names(names: Iterable[str]) -> dict[str, str]:
    """A file name (without ending) for each name: safe on every system, and unlike all others where case does not
    count. Names that had to be cleaned carry a digest of what they were."""
    taken: set[str] = set()
    found = {}
    for name in sorted(set(names), key=lambda n: (_clean(n) != n, n)):  # what needs no cleaning keeps its name
        clean, digest = _clean(name), hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
        choices = [clean] if clean == name else [f"{clean}-{digest[:8]}", f"{clean}-{digest}"]
        found[name] = next(c for c in [*choices, f"{clean}-{digest}-{len(taken)}"] if c not in taken)
        taken.add(found[name])
    return found


def _clean(name: str) -> str:
    """What is left of a name in lower case: letters, digits, `.`, `_` and `-`, which neither begin nor end with a
    dot. A name that a system keeps for itself gets a dash."""
    clean = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip(".-")[:_NAME_CHARS].strip(".-")
    return f"{clean}-" if not clean or _RESERVED.fullmatch(clean) else clean
