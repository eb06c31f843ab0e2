"""Small drawings of a record: how long single calls took, and what memory each phase needed. Plain SVG, so that a
record's page needs no script."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.board.site.escaping import html
from harness.board.site.words import ms, size

BINS = 48
_WIDTH, _HEIGHT = 480, 120


def histogram(samples: Sequence[int], name: str, median_ns: float, p99_ns: float | None) -> str:
    """Counts of raw samples (ns) over a logarithmic axis from the quickest to the slowest."""
    usable = sorted(s for s in samples if s > 0)
    if len(usable) < 2:
        return ""
    low, high = math.log(usable[0]), math.log(usable[-1])
    width = (high - low) or 1.0
    counts = [0] * BINS
    for sample in usable:
        counts[min(BINS - 1, int((math.log(sample) - low) / width * BINS))] += 1
    step, top = _WIDTH / BINS, max(counts)
    bars = "".join(
        f"M{i * step:.0f} {_HEIGHT}v-{count / top * (_HEIGHT - 12):.1f}h{step - 1:.0f}V{_HEIGHT}z"
        for i, count in enumerate(counts) if count
    )  # fmt: skip
    lines = _line(median_ns, low, width, "median") + (_line(p99_ns, low, width, "p99") if p99_ns else "")
    ends = f"quickest {ms(usable[0])} ms, median {ms(median_ns)} ms, slowest {ms(usable[-1])} ms"
    says = f"{len(usable)} calls of {name}: {ends}"
    return (
        f'<figure class="histogram"><svg viewBox="0 0 {_WIDTH} {_HEIGHT + 18}" role="img" aria-label="{html(says)}">'
        f'<path class="bars" d="{bars}"/>{lines}<path class="axis" d="M0 {_HEIGHT}H{_WIDTH}"/>'
        f'<text x="0" y="{_HEIGHT + 14}">{ms(usable[0])} ms</text>'
        f'<text x="{_WIDTH}" y="{_HEIGHT + 14}" text-anchor="end">{ms(usable[-1])} ms</text></svg>'
        f"<figcaption>{html(says)}. Logarithmic axis.</figcaption></figure>"
    )


def _line(value: float, low: float, width: float, label: str) -> str:
    if value <= 0:
        return ""
    x = min(_WIDTH, max(0.0, (math.log(value) - low) / width * _WIDTH))
    anchor, off = ("end", -4) if x > _WIDTH * 0.7 else ("start", 4)
    return (f'<path class="line" d="M{x:.0f} 0V{_HEIGHT}"/>'
            f'<text x="{x + off:.0f}" y="10" text-anchor="{anchor}">{label}</text>')  # fmt: skip


def memory_bar(base: int, delta: int, most: int) -> str:
    """One phase: what was there before, and what it added, on a scale from 0 to `most` bytes."""
    if most <= 0:
        return ""
    before, added = max(0, base) / most * 200, max(0, delta) / most * 200
    says = f"{size(base)} before, {size(delta)} more at the peak"
    return (f'<svg class="memory" viewBox="0 0 200 10" role="img" aria-label="{html(says)}">'
            f'<rect class="base" width="{before:.1f}" height="10"/>'
            f'<rect class="delta" x="{before:.1f}" width="{max(added, 0.5):.1f}" height="10"/></svg>')  # fmt: skip
