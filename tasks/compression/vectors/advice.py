"""Which codec for which loss, in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.task import Outcome
from harness.tasks.compression.kept import Setting, fewest, settings_of

BUDGET = 40e9
"""Bytes that the sentences are about: a machine's memory, or a disk's share."""
REFERENCE = "float32"
LOSSES = (0.001, 0.01, 0.05)


def advice(outcomes: Sequence[Outcome]) -> Iterable[str]:
    """For each case and loss the smallest row that stays within it for sure, and how many vectors fit then."""
    dims = {o.case.name: o.values for o in outcomes if o.status == "ok" and "bytes_per_vector" in o.values}
    for case, settings in settings_of(outcomes, "query").items():
        values = dims[case]
        n_dim = values["smaller"] * values["bytes"] / 4  # numbers in all
        for loss in LOSSES:
            best = fewest(settings, 1 - loss)
            exact = next((s for s in settings if s.row == REFERENCE and s.val_kept_low < 1 - loss), None)
            if exact is not None:  # loses nothing, and even that cannot be told
                yield (f"{case}: its queries are too few to be sure of {loss:.1%} loss; some {round(3 * 0.3 / loss):,} "
                       "would do")  # fmt: skip
            elif best is None:
                most = max(settings, key=lambda s: s.val_kept_low)
                yield (f"{case}: none of {len(settings)} settings stays within {loss:.1%} loss for sure; "
                       f"{most.row} comes nearest ({most.val_kept_low:.2%}, on the validation queries)")  # fmt: skip
            else:
                yield f"{case}: within {loss:.1%} loss: {_sentence(best, n_dim)}"


def _sentence(best: Setting, numbers: float) -> str:
    plain = 4 * numbers  # bytes of float32
    if not best.bytes_per_vector:
        return f"{best.row}, which takes {_size(best.bytes)} however many vectors there are: they are all alike"
    vectors = BUDGET / best.bytes_per_vector
    here = f"{_size(best.bytes)} instead of {_size(plain)}, {plain / best.bytes:.1f}x smaller"
    return (f"{best.row}, {best.bytes_per_vector:,.0f} bytes a vector: {_many(vectors)} vectors fit within "
            f"{BUDGET / 1e9:.0f} GB (these here take {here}); it keeps {best.kept:.2%} on the test queries, "
            f"{best.kept_low:.2%} or more for sure")  # fmt: skip


def _many(count: float) -> str:
    return f"{count / 1e9:.3g} billion" if count >= 1e9 else f"{count / 1e6:.3g} million"


def _size(count: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f} bytes"
