"""Numbers, ranks and states as they are printed on the pages."""

from __future__ import annotations

from typing import Final

from harness.board.board import Entry
from harness.board.site.escaping import html

CONTROLS: Final = ("oracle", "random", "trivial")
"""Rows that are drawn as what others stand between."""


def number(value: float | None) -> str:
    """Four digits at most; shares with three decimals."""
    if value is None:
        return "\u2013"
    if value != value or value in (float("inf"), float("-inf")):
        return str(value)
    if 0 <= value <= 1:
        return f"{value:.3g}" if 0 < value < 0.01 else f"{value:.3f}"
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"


def interval(pair: tuple[float | None, float | None] | None) -> str:
    """`[low, high]`, with three dots at an end that is not known; empty without any."""
    if pair is None or pair == (None, None):
        return ""
    return "[" + ", ".join("\u2026" if end is None else number(end) for end in pair) + "]"


def ms(ns: float | None) -> str:
    return "\u2013" if ns is None else f"{ns / 1e6:.3g}"


def size(value: float | None) -> str:
    """Bytes with a decimal unit."""
    if value is None:
        return "\u2013"
    for unit in ("B", "kB", "MB", "GB"):
        if abs(value) < 1000 or unit == "GB":
            break
        value /= 1000
    return f"{value:.3g} {unit}" if unit != "B" else f"{value:.0f} B"


def seconds(value: float | None) -> str:
    return "\u2013" if value is None else (f"{value:,.0f} s" if value >= 100 else f"{value:.3g} s")


def rank_text(rank: tuple[int, int] | None) -> str:
    """`3-7`: the ranks that cannot be excluded."""
    if rank is None:
        return ""
    return str(rank[0]) if rank[0] == rank[1] else f"{rank[0]}\u2013{rank[1]}"


def all_retracted(entry: Entry) -> bool:
    gone = {r.record for r in entry.retracted}
    return bool(gone) and gone >= set(entry.row.records)


def contends(entry: Entry) -> bool:
    """Whether a row takes part in the ranking of its case."""
    row = entry.row
    return row.kind == "cell" and row.score is not None and not row.unranked and not all_retracted(entry)


def place(entry: Entry) -> str:
    """What stands in the column of ranks."""
    row = entry.row
    if row.rank is not None:
        return rank_text(row.rank)
    if row.kind == "control":
        return "control"
    return "not resolved" if contends(entry) else "\u2013"


def state(entry: Entry) -> str:
    """One word: what a reader may filter by."""
    return "retracted" if all_retracted(entry) else entry.row.status


def reason(entry: Entry) -> str:
    """Why a row has no score, no rank, or no longer counts."""
    row = entry.row
    if all_retracted(entry):
        return "; ".join(dict.fromkeys(r.reason for r in entry.retracted))
    return row.reason if row.status != "ok" else row.unranked


_TRUST = {
    "self-reported": ("\u25cb", "as its author reported it; nobody else has run it"),
    "reproduced": ("\u25d0", "the same draw gave the same numbers in another's hands"),
    "replicated": ("\u25cf", "a fresh draw, which nobody could tune to, gave as good numbers"),
}
TRUSTS: Final = tuple(_TRUST)


def trust_badge(trust: str) -> str:
    """A badge that says what others found, in shape and in words."""
    sign, says = _TRUST.get(trust, ("?", "unknown"))
    shown = f'<i aria-hidden="true">{sign}</i> {html(trust)}'
    return f'<span class="badge t-{html(trust)}" title="{html(says)}">{shown}</span>'


def trust_legend() -> str:
    return " ".join(f"{trust_badge(name)} {html(says)}." for name, (_, says) in _TRUST.items())


def status_badge(status: str) -> str:
    return f'<span class="badge s-{html(status)}">{html(status)}</span>'
