"""The verdict on a submission: its checks, line by line, and what follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from harness.submission.invariants import Broken

Verdict = Literal["passed", "failed", "noted", "not done"]
SHOWN = 6
"""Failures of one check that are told; the rest are counted."""


@dataclass(frozen=True)
class Check:
    """One line of the verdict."""

    name: str
    verdict: Verdict
    evidence: str


@dataclass
class Verification:
    """What came of it."""

    checks: list[Check] = field(default_factory=list)
    cells: list[str] = field(default_factory=list)
    """What was run again."""
    reproduced: set[tuple[str, str, str]] = field(default_factory=set)
    """Task, row and case of the cells whose submitted draw came to the same."""
    replicated: set[tuple[str, str, str]] = field(default_factory=set)
    """Those of them for which fresh draws vouch as well."""
    incomplete: bool = False
    """Something that was to be run again did not come to an end here: too slow, out of memory, not reached."""

    def add(self, name: str, verdict: Verdict, evidence: str) -> None:
        self.checks.append(Check(name, verdict, evidence))

    def unfinished(self, name: str, evidence: str) -> None:
        """Add that a part of the re-run did not come to an end: nothing is verified then."""
        self.add(name, "not done", evidence)
        self.incomplete = True

    @property
    def verdict(self) -> Literal["verified", "refused", "not verified here"]:
        if any(check.verdict == "failed" for check in self.checks):
            return "refused"
        return "verified" if self.reproduced and not self.incomplete else "not verified here"

    @property
    def trust(self) -> Literal["self-reported", "reproduced", "replicated"]:
        if self.verdict != "verified":
            return "self-reported"
        rows = {cell[:2] for cell in self.reproduced}
        return "replicated" if rows == {cell[:2] for cell in self.replicated} else "reproduced"

    def sentence(self) -> str:
        match self.verdict:
            case "refused":
                failed = list(dict.fromkeys(check.name for check in self.checks if check.verdict == "failed"))
                return f"refused: {', '.join(failed)}"
            case "verified":
                return f"verified: {self.trust} ({len(self.cells)} cells run again)"
            case _:
                undone = [c for c in self.checks if c.verdict == "not done"]
                blocking = [
                    c for c in undone if not self.incomplete or c.name in ("same draw", "fresh draws", "audits")
                ]
                return "could not be verified here: " + next((c.evidence for c in blocking), "no cell was run again")

    def as_dict(self) -> dict[str, Any]:
        return {"verdict": self.verdict, "trust": self.trust, "sentence": self.sentence(), "cells": self.cells,
                "checks": [asdict(check) for check in self.checks]}  # fmt: skip


def add_broken(found: Verification, name: str, broken: Sequence[Broken], n: int) -> None:
    """Add which invariants `n` records break, or that they break none."""
    for one in broken[:SHOWN]:
        found.add(f"{name}: {one.invariant}", "failed", one.sentence())
    if len(broken) > SHOWN:
        found.add(name, "failed", f"and {len(broken) - SHOWN} more")
    if not broken:
        found.add(name, "passed", f"{n} records hold nothing impossible")
