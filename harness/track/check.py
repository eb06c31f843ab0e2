"""The verdict on one night: what is suspected, what the re-runs say of it, and what that comes to."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from harness.errors import NothingMatched, UsageError
from harness.track import rules
from harness.track.evidence import Evidence, Rerun, gather, standing
from harness.track.findings import Check, Finding, Note, State, Verdict
from harness.track.health import state_of
from harness.track.history import History, Night, read_model
from harness.track.rotation import Past
from harness.track.rules import PairTest
from harness.track.suspects import Judged, Suspect, judge
from harness.track.unresolved import open_findings

_SHOWN = 5
_MOVED_SHARE = 10
"""One in so many series that were only as much worse as the machine makes a night inconclusive."""
_SAMPLE = 3
"""Of many rows that no longer answer for one reason, so many are run again."""


def checks_of(history: History) -> list[Check]:
    """The last check of each night of a machine, in order of the nights."""
    found = {}
    for path in sorted((history.folder / "checks").glob("*.json"), key=lambda path: path.stem):
        check = read_model(Check, path)
        found[check.night] = check
    return list(found.values())


def check_name(history: History, night_id: str, again: bool) -> str:
    """The file's name for a new check of a night (by default the last one): the night's, and with `again` a number
    behind it. Raises UsageError for a night that was checked, unless `again`."""
    nights = history.nights()
    night = night_id or (nights[-1].id if nights else "")
    made = len(list((history.folder / "checks").glob(f"{night}.*json"))) if night else 0
    if made and not again:
        raise UsageError(
            f"night {night} was checked already: `harness track report` tells what was found, --again checks it anew"
        )
    return f"{night}.{made + 1:03d}" if made else night


def check_night(
    history: History, night_id: str, rerun: Rerun, *, commits: Callable[[str, str], list[str]], budget_s: float = 0.0,
    told: Callable[[str], None] = lambda _: None,
) -> Check:  # fmt: skip
    """Judge a night of the history, by default its last, against those before it, and run again what looks bad.

    `commits(good, bad)` lists what lies between two commits. Raises NothingMatched where there is no such night.
    """
    begun = time.monotonic()
    nights = history.nights()
    index = next((i for i, night in enumerate(nights) if night.id == night_id), len(nights) - 1 if not night_id else -1)
    if index < 0:
        raise NothingMatched(
            f"{history.folder} holds no night {night_id!r}" if night_id else
            f"{history.folder} holds no night of this machine; `harness track run` measures one"
        )  # fmt: skip
    nights = nights[: index + 1]
    tonight = nights[-1]
    checks = [check for check in checks_of(history) if check.night in {night.id for night in nights[:-1]}]
    sound = {check.night for check in checks if check.state != "environment broke"}
    known = {check.night for check in checks}
    trusted = [night for night in nights[:-1] if night.id in sound or night.id not in known]
    health = state_of(
        tonight.cells, Past(trusted), left=len(tonight.left), problem=str(tonight.info.get("problem") or "")
    )
    judged = judge(history, nights, checks)
    if health[0] != "fine":  # only whether it was the code after all
        judged = Judged(suspects=[s for s in judged.suspects if s.layer == "status"][:_SAMPLE])
    if tonight.dirty:
        found, made = {s.key: Evidence(s, why_none=_DIRTY) for s in judged.suspects}, 0
    else:
        found, made = gather(judged.suspects, tonight.commit, rerun, budget_s, told)
    stand, tests = standing(found, judged.changed_scores)
    findings = [_finding(evidence, tests.get(key), key in stand, tonight) for key, evidence in found.items()]
    findings.sort(key=lambda f: (_ORDER.index(f.verdict), -_size(f), f.key))
    state, why = _state(findings, judged, tonight)
    if health[0] != "fine":
        state, why = (state, f"{health[1]}; the last good commit answers") if state == "regressed" else health
    return Check(
        night=tonight.id, machine=history.machine, commit=tonight.commit, state=state, why=why,
        checked=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"), series=judged.series,
        short=judged.short, findings=findings, reruns=made,
        notes=[*_notes(judged), *_recovered(nights, checks, findings), *judged.notes],
        wall_s=round(time.monotonic() - begun, 1),
        commits=_between(commits, nights),
    )  # fmt: skip


def _between(commits: Callable[[str, str], list[str]], nights: Sequence[Night]) -> list[str]:
    """What lies between the last two nights; nothing where one of their commits is not there any more."""
    try:
        return commits(nights[-2].commit, nights[-1].commit) if len(nights) > 1 else []
    except UsageError:
        return []


_ORDER: tuple[Verdict, ...] = ("regressed", "inconclusive", "not re-run", "cleared")
_DIRTY = "the night measured files that were not committed; commit them and run it again"


def _finding(evidence: Evidence, test: PairTest | None, stands: bool, tonight: Night) -> Finding:
    suspect = evidence.suspect
    verdict, decided = _verdict(evidence, test, stands)
    work = suspect.key.work
    effect, low, high = (test.effect, test.low, test.high) if test else (None, None, None)
    finite = [None if end is None or abs(end) == float("inf") else end for end in (effect, low, high)]
    return Finding(
        task=work.task, version=work.version, case=work.case, row=work.row, seed=work.seed, device=work.device,
        threads=work.threads, metric=suspect.key.metric, unit=suspect.unit, higher_is_better=suspect.higher_is_better,
        layer=suspect.layer, verdict=verdict, why=f"{suspect.why}; {decided}", value=suspect.value,
        before=suspect.before, effect=finite[0], low=finite[1], high=finite[2], p=test.p if test else None,
        pairs=len(evidence.answered) - evidence.dropped, dropped=evidence.dropped, limit=suspect.limit,
        across=suspect.across, yields=evidence.yields or (verdict == "cleared" and evidence.let_go),
        good=suspect.good.commit, bad=suspect.bad.commit, command=command_of(suspect, tonight),
    )  # fmt: skip


def _verdict(evidence: Evidence, test: PairTest | None, stands: bool) -> tuple[Verdict, str]:
    suspect, made = evidence.suspect, len(evidence.answered)
    if suspect.layer == "status" and made:
        good, head = (sum(side) for side in zip(*evidence.answered, strict=True))
        said = f"run again {made} times, the good commit answered {good} times and tonight's {head} times"
        if stands:
            return "regressed", said
        if evidence.not_run:
            return "not re-run", "no time was left to run it again"
        return ("cleared" if head == made else "inconclusive"), said
    if evidence.why_none:
        return "inconclusive", evidence.why_none
    if evidence.not_run:
        return "not re-run", f"no time was left after {made} pairs" if made else "no time was left to run it again"
    if evidence.let_go:
        return "cleared", f"side by side, {len(evidence.pairs)} pairs show no such difference"
    if test is None:
        return "inconclusive", (
            f"the machine's speed moved in {evidence.dropped} of {made} pairs, which leaves too few"
            if evidence.dropped else f"only {made} pairs could be made"
        )  # fmt: skip
    said = f"side by side, p = {test.p:.1g} over {test.n} {'items' if suspect.by_items else 'pairs'}"
    if stands:
        return "regressed", said
    if test.worse_by < suspect.min_effect:
        return "cleared", f"{said}, and less than what counts ({suspect.min_effect:.2g})"
    return "inconclusive", f"{said}, which does not stand among all that was suspected"


def command_of(suspect: Suspect, tonight: Night) -> str:
    """What makes the comparison again, by hand."""
    import shlex

    from harness.track.values import row_to_run

    work = suspect.key.work
    return shlex.join([
        "harness", "track", "compare", suspect.good.commit[:12], tonight.commit[:12], "--task", work.task,
        "--baseline", row_to_run(work), "--case", work.case, "--scale", suspect.scale, "--threads", str(work.threads),
    ])  # fmt: skip


def _size(finding: Finding) -> float:
    if finding.effect is None:
        return float("inf") if finding.metric == "status" else 0.0
    return abs(finding.effect) if finding.metric.startswith("score/") else abs(finding.effect - 1)


def _state(findings: Sequence[Finding], judged: Judged, tonight: Night) -> tuple[State, str]:
    count = Counter(f.verdict for f in findings)
    if count["regressed"]:
        rows = len({(f.task, f.case, f.row) for f in findings if f.verdict == "regressed"})
        return (
            "regressed",
            f"{count['regressed']} of {judged.series} series regressed, on {rows} rows; see the findings",
        )
    open_ends = []
    if len(judged.machine_moved) * _MOVED_SHARE > judged.series:
        open_ends.append(f"{len(judged.machine_moved)} costs were higher while the machine was as much slower")
    if count["inconclusive"]:
        open_ends.append(f"{count['inconclusive']} suspicions could not be decided")
    if count["not re-run"]:
        open_ends.append(f"{count['not re-run']} suspicions were not run again for want of time")
    if open_ends:
        return "inconclusive", "; ".join(open_ends)
    if not judged.series and not findings:
        return "fine", (
            f"nothing to hold it against yet: {judged.short} series have under {rules.MIN_PAST} nights of this context"
        )
    cleared = f"; {count['cleared']} that looked bad did not when run again" if count["cleared"] else ""
    return "fine", f"{judged.series} series of {len(tonight.measured)} cells are as before{cleared}"


def _notes(judged: Judged) -> list[Note]:
    notes = []
    if judged.improved:
        best = sorted(judged.improved, key=lambda found: -abs(found[1] - 1))
        shown = ", ".join(f"{key} {ratio:.2f}x" for key, ratio in best[:_SHOWN])
        more = f" and {len(best) - _SHOWN} more" if len(best) > _SHOWN else ""
        notes.append(Note(kind="improved", text=f"not run again: {shown}{more}"))
    if judged.machine_moved:
        shown = ", ".join(map(str, judged.machine_moved[:_SHOWN])) + (
            " ..." if len(judged.machine_moved) > _SHOWN else ""
        )
        text = f"{len(judged.machine_moved)} costs were above their limit while the machine was as much slower: {shown}"
        notes.append(Note(kind="machine moved", text=text))
    if judged.short:
        text = f"{judged.short} series have under {rules.MIN_PAST} nights of this context, and are not judged yet"
        notes.append(Note(kind="short past", text=text))
    return notes


def _recovered(nights: Sequence[Night], checks: Sequence[Check], found: Sequence[Finding]) -> list[Note]:
    """Earlier regressions that showed until last night, and do not any more. The report lists those that still do."""
    by_night = {check.night: check for check in checks}
    now = {one.finding.key for one in open_findings(nights, by_night)} | {f.key for f in found}
    measured = {cell.work for cell in nights[-1].cells}
    dates = {night.id: night.started[:10] for night in nights}
    return [
        Note(
            kind="recovered",
            text=f"{one.finding.key} is as before the regression of {dates[one.night]} ({one.finding.bad[:12]})",
        )
        for one in open_findings(nights[:-1], by_night)
        if one.finding.key not in now and one.finding.key.work in measured
    ]  # fmt: skip
