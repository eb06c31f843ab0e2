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


def canary(moved: bool) -> dict[str, object]:
    return {"version": 1, "before_ns": 1e6, "after_ns": 1e6, "drift": 1.3 if moved else 1.0, "moved": moved}


def test_a_machine_whose_speed_moved_marks_the_costs_whichever_side_it_was(made_record: Make) -> None:
    steady, moved = canary(moved=False), canary(moved=True)
    for of_a, of_b, marks in (
        (steady, steady, ()),
        (moved, steady, ("the machine's speed moved during a",)),
        (steady, moved, ("the machine's speed moved during b",)),
        (moved, moved, ("the machine's speed moved during both",)),
    ):
        [found] = compare(rows(made_record, "a", canary=of_a), rows(made_record, "b", canary=of_b))
        assert found.marks == marks and found.ratios
    [of_one_name] = compare(rows(made_record, "a", canary=steady), rows(made_record, "a", canary=moved))
    assert of_one_name.marks == ("the machine's speed moved during B",)


def test_other_numbers_of_threads_mark_the_costs_and_leave_the_verdict(made_record: Make) -> None:
    [found] = compare(rows(made_record, "a", threads=8), rows(made_record, "b", 0.05, threads=1))
    assert found.marks == ("1 thread against 8",) and found.verdict == "b is better"
    [elsewhere] = compare(rows(made_record, "a", threads=8), rows(made_record, "b", provenance__fingerprint="another"))
    assert elsewhere.marks == () and elsewhere.why_no_ratios  # there is no ratio to doubt


def test_two_versions_of_a_task_are_not_compared_and_it_is_said(made_record: Make) -> None:
    def of(name: str, version: int, shift: float = 0.0) -> list[Record]:
        task = {"name": "limit/retrieval", "version": version, "source_digest": ""}
        return rows(made_record, name, shift, task=task)

    [found] = compare(of("a", 2), of("b", 1, 0.05))
    assert found.verdict.startswith("not compared: version 2 of the task against version 1") and not found.ratios
    assert "run the one of version 1 again" in found.verdict and found.difference is None
    [found] = compare([*of("a", 1), *of("a", 2)], of("b", 1, 0.05))
    assert found.verdict == "b is better" and found.a.task_version == 1  # the version that both have


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
    other = Store(tmp_path / "slow")
    for record in rows(made_record, "a", threads=4, canary=canary(moved=True)):
        other.add(record)
    ran = harness_cli("compare", str(one.root), str(other.root), "--format", "json")
    assert '"the machine\'s speed moved during B"' in ran.out and '"4 threads against 1"' in ran.out  # type: ignore[attr-defined]
    ran = harness_cli("compare", str(one.root), str(other.root))
    assert "doubtful" in ran.out and "4 threads against 1" in " ".join(ran.out.split())  # type: ignore[attr-defined]
    ran = harness_cli("compare", "a", "nobody", "--results", str(one.root))
    assert ran.code == 3 and "no records of nobody" in ran.err  # type: ignore[attr-defined]
