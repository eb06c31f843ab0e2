"""What a check found, put together for people: by row, worst first, with the past it is read by, since which commit,
and what to type to see it again. `harness.track.telling` says it in words, `harness.track.page` on the board.
"""

from __future__ import annotations

import re
import shlex
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.errors import NothingMatched
from harness.record import Finite
from harness.track.amounts import Kind, change_of, kind_of
from harness.track.findings import Check, Finding, Note
from harness.track.history import (
    Archived,
    History,
    Night,
    Point,
    _Part,
    read_model,
    series_of,
)  # fmt: skip
from harness.track.unresolved import GRAVITY, Open, badness, open_findings

Between = Callable[[str, str], Sequence[str]]
"""`HASH SUBJECT` of the commits after one and up to another, newest first; empty where that is not known."""
MOST_NIGHTS = 150
"""So many are read: a night is a file of 0.3 MB, and there are more of them with every day."""
PAST_NIGHTS = 60
"""So many nights of a series are shown."""
MANY_ROWS = 4
"""From so many rows on, of which none was changed itself, one cause in common is looked for."""
_MACHINE = re.compile(r"[0-9a-f]{16}")
_ORDER = {"regressed": 0, "inconclusive": 1, "not re-run": 2, "cleared": 3}


@dataclass(frozen=True)
class Kept:
    """The history of one machine, with what was found about it."""

    machine: str
    nights: Sequence[Night]
    """The last of them, in order of time."""
    checks: Mapping[str, Check]
    """By night; where one was checked again, the last."""


class Past(_Part):
    """One night of a series."""

    night: str
    commit: str
    value: Finite
    same: bool
    """Whether it was measured in the context of the night that the report is about: only then they are compared."""


class Told(_Part):
    """A finding, with what it is read by."""

    finding: Finding
    kind: Kind
    change: str
    """As re-runs show it, with its interval: `+21 % [+18 %, +24 %]`."""
    past: list[Past] = []
    """Oldest first; the last one is the night that the report is about."""
    middle: Finite | None = None
    """Median of the past in the same context."""
    limit: Finite | None = None
    """What a cost had to pass that night to be suspected at once; None for what was suspected otherwise."""


class Group(_Part):
    """All findings of one row on one task that share a verdict and their commits, worst first."""

    task: str
    row: str
    verdict: str
    good: str
    bad: str
    commits: list[str]
    """`HASH SUBJECT` after `good` and up to `bad`, newest first."""
    cause: str
    """Where to look, from the sources that changed; empty where that is not known."""
    told: list[Told]
    again: str
    """Compares the two commits on this machine."""
    bisect: str
    """Finds the commit; empty where there is none between."""


class Report(_Part):
    """What there is to say about one night."""

    schema_version: Literal[1] = 1
    machine: str
    night: str
    commit: str
    committed: str
    subject: str
    dirty: bool
    started: str
    ended: str
    cells: dict[str, int]
    """How many by status."""
    left: list[str]
    archived: list[Archived]
    state: str
    """As in `Check.state`; `not checked` without one."""
    why: str
    title: str
    """One line that says it all."""
    common: str = ""
    """What many findings have in common; empty for few."""
    series: int = 0
    short: int = 0
    reruns: int = 0
    wall_s: Finite = 0.0
    groups: list[Group] = []
    still: list[Open] = []
    notes: list[Note] = []


# --- reading ----------------------------------------------------------------------------------------------------------


def read_kept(root: Path, machine: str, until: str = "") -> Kept:
    """The last `MOST_NIGHTS` of one machine, up to the one whose name begins with `until`, with every check of it.
    Raises StoreError for a file that holds none, and NothingMatched where there is no such night, or more than one."""
    history = History(root, machine)
    paths = sorted((history.folder / "nights").glob("*.json"))  # their names begin with the time
    if until:
        found = [path for path in paths if path.name.startswith(until)]
        if len(found) != 1:
            says = "several nights begin" if found else "no night begins"
            known = ", ".join(path.stem for path in (found or paths)[-5:]) or "none"
            raise NothingMatched(f"{says} with {until[:80]!r}; try --night with one of: {known}")
        paths = paths[: paths.index(found[0]) + 1]
    nights = sorted((read_model(Night, path) for path in paths[-MOST_NIGHTS:]), key=lambda n: (n.started, n.id))
    checks = [read_model(Check, path) for path in sorted((history.folder / "checks").glob("*.json"))]
    newest = {check.night: check for check in sorted(checks, key=lambda check: check.checked)}
    return Kept(machine, nights, newest)


def machines_of(root: Path) -> list[str]:
    """Machines that the history knows at least one night of."""
    return sorted(p.name for p in root.glob("*") if _MACHINE.fullmatch(p.name) and any((p / "nights").glob("*.json")))


# --- putting together -------------------------------------------------------------------------------------------------


def report_of(kept: Kept, night: Night, between: Between | None = None) -> Report:
    """Everything about one night of `kept`; `between` names the commits, where `Check.commits` does not."""
    check = kept.checks.get(night.id)
    until = [n for n in kept.nights if (n.started, n.id) <= (night.started, night.id)]
    groups = _groups(check, until, between) if check else []
    still = open_findings(until, kept.checks, {t.finding.key for g in groups for t in g.told})
    found = [told for group in groups if group.verdict == "regressed" for told in group.told]
    return Report(
        machine=kept.machine, night=night.id, commit=night.commit, committed=night.committed, subject=night.subject,
        dirty=night.dirty, started=night.started, ended=night.ended, left=night.left, archived=night.archived,
        cells=dict(sorted(Counter(cell.status for cell in night.cells).items())),
        state=check.state if check else "not checked",
        why=check.why if check else "it was not held against its past; `harness track check` does that",
        title=_title(check, groups, night), common=_common(groups) if found else "",
        series=check.series if check else 0, short=check.short if check else 0, reruns=check.reruns if check else 0,
        wall_s=check.wall_s if check else 0.0, groups=groups, still=still, notes=check.notes if check else [],
    )  # fmt: skip


def _groups(check: Check, nights: Sequence[Night], between: Between | None) -> list[Group]:
    series = series_of(nights[-PAST_NIGHTS:])
    found: dict[tuple[str, str, str, str, str], list[Finding]] = defaultdict(list)
    for finding in check.findings:
        found[finding.task, finding.row, finding.verdict, finding.good, finding.bad].append(finding)
    groups = []
    for (task, row, verdict, good, bad), findings in found.items():
        findings.sort(key=lambda f: (badness(f), str(f.key)))
        commits = list(between(good, bad)) if between and good and bad else []
        if not commits and len(nights) > 1 and good and nights[-2].commit.startswith(good):
            commits = list(check.commits)
        worst = findings[0]
        groups.append(Group(
            task=task, row=row, verdict=verdict, good=good, bad=bad, commits=commits,
            cause=_cause(findings, nights), told=[_told(f, series.get(f.key, [])) for f in findings],
            again=worst.command or _again(worst), bisect=_bisect(worst),
        ))  # fmt: skip
    return sorted(groups, key=lambda g: (_ORDER.get(g.verdict, 9), badness(g.told[0].finding), g.task, g.row, g.good))


def _told(finding: Finding, points: Sequence[Point]) -> Told:
    """`points` end with the night of the report, if it has the series at all."""
    past = [
        Past(night=p.night.id, commit=p.night.commit, value=p.value.value, same=p.comparable(points[-1]))
        for p in points
    ]
    before = [p.value for p in past[:-1] if p.same]
    return Told(
        finding=finding, kind=kind_of(finding.metric), change=change_of(finding), past=past,
        middle=finding.before if finding.before is not None else statistics.median(before) if before else None,
        limit=finding.limit if finding.layer == "night" else None,
    )  # fmt: skip


def _cause(findings: Sequence[Finding], nights: Sequence[Night]) -> str:
    """Whether the digest of the row's and the task's files is the same at the last good commit and tonight."""
    verdicts = {_same_files(finding, nights) for finding in findings} - {None}
    if verdicts == {True}:
        return "its own files and its task's did not change: look at the harness, or at what it imports"
    if verdicts == {False}:
        return "its own files or its task's changed"
    return ""


def _same_files(finding: Finding, nights: Sequence[Night]) -> bool | None:
    now = next((c for c in nights[-1].cells if c.work == finding.key.work), None)
    before = [
        c for n in nights[:-1] if finding.good and n.commit.startswith(finding.good)
        for c in n.cells if c.work == finding.key.work
    ]  # fmt: skip
    return before[-1].source == now.source if now and before else None


def _common(groups: Sequence[Group]) -> str:
    """What the regressed rows share, where they are many."""
    worse = [group for group in groups if group.verdict == "regressed"]
    rows = {(group.task, group.row) for group in worse}
    if len(rows) < MANY_ROWS:
        return ""
    kinds = Counter(told.kind for group in worse for told in group.told)
    kind, n = kinds.most_common(1)[0]
    tasks = len({task for task, _ in rows})
    untouched = sum("did not change" in group.cause for group in worse)
    says = f"{len(rows)} rows of {tasks} task{'s' * (tasks > 1)}; {n} of {sum(kinds.values())} findings are `{kind}`"
    if untouched * 2 > len(worse):
        says += f"; in {untouched} of {len(worse)} neither the row's nor the task's files changed, which points to one"
        says += " cause in the harness"
    return says


def _title(check: Check | None, groups: Sequence[Group], night: Night) -> str:
    if check is None:
        return f"Night {night.id} was not checked"
    worse = [group for group in groups if group.verdict == "regressed"]
    if not worse and check.state == "fine" and not check.series:
        return f"Nothing could be judged yet at {short(night.commit)}"
    if not worse:
        return {"fine": "Nothing regressed", "regressed": "Regressed"}.get(
            check.state, check.state.capitalize()
        ) + f" at {short(night.commit)}"
    first = worse[0].told[0]
    since = f"since {short(worse[0].good)}" if worse[0].good else f"at {short(night.commit)}"
    if len({(group.task, group.row) for group in worse}) == 1:
        more = sum(len(group.told) for group in worse) - 1
        what = f"{first.finding.case} {first.finding.metric} {first.change.partition(' [')[0]}"
        return f"{worse[0].row} ({worse[0].task}) {first.kind} {since}: {what}" + (f" and {more} more" if more else "")
    rows: dict[Kind, set[tuple[str, str]]] = defaultdict(set)
    for group in worse:
        for told in group.told:
            rows[told.kind].add((group.task, group.row))
    counts = ", ".join(f"{len(rows[k])} {k}" for k in GRAVITY if k in rows)
    return f"Rows that regressed {since}: {counts}; worst: {worse[0].row} ({worse[0].task})"


def short(commit: str) -> str:
    """A commit as people write it."""
    return commit[:12] if re.fullmatch(r"[0-9a-f]{13,64}", commit) else commit


# --- what to type -----------------------------------------------------------------------------------------------------


def _again(finding: Finding) -> str:
    words = ["harness", "track", "compare", short(finding.good) or "GOOD", short(finding.bad) or "HEAD"]
    words += ["--task", finding.task, "--baseline", finding.row, "--case", finding.case]
    return " ".join(map(shlex.quote, words))


def _bisect(finding: Finding) -> str:
    """Of `track compare`, 0 is good and 1 is bad; anything else decides nothing, which git calls 125. In a worktree of
    its own: what runs the comparison is not to change with the commits."""
    if not (finding.good and finding.bad) or finding.good == finding.bad:
        return ""
    try:
        words = shlex.split(finding.command)
    except ValueError:
        words = []
    if words[:3] != ["harness", "track", "compare"] or len(words) < 5:
        words = shlex.split(_again(finding))
    good, bad = words[3:5]
    words[4] = "HEAD"
    script = f"{shlex.join(words)}; code=$?; test $code -le 1 || code=125; exit $code"
    tree = f"git worktree add --detach ../bisect {shlex.quote(bad)} && cd ../bisect"
    start = shlex.join(["git", "bisect", "start", bad, good])
    return f"{tree} && {start} && git bisect run sh -c {shlex.quote(script)}"
