"""Two rows against each other: the difference over shared draws, and what may be said of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.compare import compare
from harness.record import Record
from harness.store import Store

Make = Callable[..., Record]
DRAWS = [0.80, 0.82, 0.78, 0.81, 0.79, 0.805, 0.815]


def rows(make: Make, name: str, shift: float = 0.0, n: int = 7, **otherwise: object) -> list[Record]:
    wobble = [0.003, -0.002, 0.001, -0.004, 0.002, 0.0, -0.001]
    return [make(name, s + shift + w * bool(shift), i, **otherwise)
            for i, (s, w) in enumerate(zip(DRAWS[:n], wobble, strict=False))]  # fmt: skip


def test_a_difference_that_all_draws_share_is_a_verdict(made_record: Make) -> None:
    [found] = compare(rows(made_record, "a"), rows(made_record, "b", 0.05))
    assert found.verdict == "b is better" and found.shared == 7
    assert found.difference == pytest.approx(0.05, abs=1e-3) and found.interval is not None
    assert found.interval.low > 0
    [back] = compare(rows(made_record, "b", 0.05), rows(made_record, "a"))
    assert back.verdict == "b is better" and (back.difference or 0) < 0


def test_under_six_draws_nothing_is_resolved_and_the_next_command_is_told(made_record: Make) -> None:
    [found] = compare(rows(made_record, "a", n=5), rows(made_record, "b", 0.5, n=5))
    assert found.verdict == "not resolved: 5 draws in common, 6 needed (--seeds 6)"


def test_noise_is_no_difference(made_record: Make) -> None:
    [found] = compare(rows(made_record, "a"), rows(made_record, "b", 1e-9))
    assert found.verdict.startswith("no difference shown; it lies within")


def test_costs_are_ratios_and_only_within_a_machine_class(made_record: Make) -> None:
    twice = rows(made_record, "b", delta_rss_bytes=2 * 10**7)
    [found] = compare(rows(made_record, "a"), twice)
    assert {r.name: r.value for r in found.ratios}["memory needed"] == 2
    [found] = compare(rows(made_record, "a"), rows(made_record, "b", provenance__fingerprint="another"))
    assert found.ratios == () and "machines of two classes" in found.why_no_ratios


def test_a_failure_is_said(made_record: Make) -> None:
    [found] = compare(rows(made_record, "a"), [made_record("b", None)])
    assert found.verdict == "b did not answer: failed" and found.difference is None


def test_the_command_compares_rows_and_folders(
    harness_cli: Callable[..., object], made_record: Make, tmp_path: Path
) -> None:
    one, other = Store(tmp_path / "one"), Store(tmp_path / "other")
    for record in [*rows(made_record, "a"), *rows(made_record, "b", 0.05)]:
        one.add(record)
    for record in rows(made_record, "a", 0.1):
        other.add(record)
    ran = harness_cli("compare", "a", "b", "--results", str(one.root))
    assert ran.code == 0 and "b is better" in ran.out  # type: ignore[attr-defined]
    ran = harness_cli("compare", str(one.root), str(other.root))
    assert ran.code == 0 and "a is better" in ran.out  # type: ignore[attr-defined]
    ran = harness_cli("compare", "a", "nobody", "--results", str(one.root))
    assert ran.code == 3 and "no records of nobody" in ran.err  # type: ignore[attr-defined]
