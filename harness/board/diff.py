"""What moved between two releases, and why, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from harness.board.release import BaselineOf, Release
from harness.errors import StoreError
from harness.store import Store

Place = Mapping[str, Any]
"""One row of a case as `ranking.json` has it."""


def changes(old: Release, new: Release) -> list[str]:
    """One sentence for each task and row that is not what it was, with the reasons that the two manifests give.

    Raises StoreError for a `ranking.json` that is none.
    """
    try:
        return _changes(old, new)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        names = " or ".join(f"{r.folder / 'ranking.json'}" for r in (old, new))
        raise StoreError(f"{names} is no ranking ({error!r}); `harness board verify` says which") from None


def _changes(old: Release, new: Release) -> list[str]:
    found: list[str] = []
    before, after = old.ranking["tasks"], new.ranking["tasks"]
    for task in sorted(before.keys() | after.keys()):
        if task not in before:
            rows = sum(map(len, after[task]["cases"].values()))
            found.append(f"{task}: the task is new, with {rows} rows.")
        elif task not in after:
            found.append(f"{task}: the task is gone.")
        elif before[task]["version"] != after[task]["version"]:
            found.append(
                f"{task}: the task went from version {before[task]['version']} to {after[task]['version']}; its rows "
                "were measured anew, or are no longer compared."
            )
        else:
            found += _rows(task, old, new)
    found += _limits(old, new)
    return found


def _rows(task: str, old: Release, new: Release) -> Iterator[str]:
    before, after = old.ranking["tasks"][task]["cases"], new.ranking["tasks"][task]["cases"]
    version = new.ranking["tasks"][task]["version"]
    for case in sorted(before.keys() | after.keys()):
        was, now = _by_name(before.get(case, ()), version), _by_name(after.get(case, ()), version)
        own = {name: _own_reasons(task, name[0], was.get(name), now.get(name), old, new) for name in was | now}
        cause = [name[0] for name, reasons in own.items() if reasons and was.get(name) != now.get(name)]
        for name in sorted(was | now):
            what = _what(was.get(name), now.get(name))
            if not what:
                continue
            others = [other for other in dict.fromkeys(cause) if other != name[0]]
            elsewhere = f"other rows changed ({', '.join(others[:3])}{', ...' if len(others) > 3 else ''})"
            why = own[name] or ([elsewhere] if others else ["its records are the same, and the rules are not"])
            yield f"{task}, {case}: {' on '.join(name)} {'; '.join(what)}, because {' and '.join(why)}."


def _by_name(places: Any, version: int) -> dict[tuple[str, str], Place]:
    """Rows of the task's version; those of older ones are told of by the task's own sentence."""
    return {(place["baseline"], place["device"]): place for place in places if place["task_version"] == version}


def _what(was: Place | None, now: Place | None) -> list[str]:
    """What is not as it was, in words."""
    if was is None or now is None:
        return ["entered"] if was is None else ["left"]
    found = []
    if _is_retracted(now) and not _is_retracted(was):
        return ["was retracted"]
    if was["status"] != now["status"]:
        found.append(f"went from {was['status']} to {now['status']}")
    if was.get("score") != now.get("score"):
        found.append(f"scores {_number(now.get('score'))} instead of {_number(was.get('score'))}")
    elif was.get("draws") != now.get("draws"):
        found.append(f"was measured over {now.get('draws')} draws instead of {was.get('draws')}")
    if _rank(was) != _rank(now):
        found.append(f"has rank {_rank(now)} instead of {_rank(was)}")
    if was["trust"] != now["trust"]:
        found.append(f"is {now['trust']} now")
    return found


def _is_retracted(place: Place) -> bool:
    return str(place.get("unranked", "")).startswith("retracted: ")


def _own_reasons(
    task: str, row: str, was: Place | None, now: Place | None, old: Release, new: Release
) -> list[str]:  # fmt: skip
    """Why a row changed, as far as its own records and statements tell."""
    reasons = []
    before, after = old.manifest.baselines.get(task, {}).get(row), new.manifest.baselines.get(task, {}).get(row)
    if now is not None and now.get("retracted") and now["retracted"] != (was or {}).get("retracted"):
        reasons.append(f"{'' if _is_retracted(now) else 'some of '}its records were retracted ({now['retracted']})")
    elif before is None and after is not None:
        reasons.append("the baseline is new")
    elif before is not None and after is not None and before != after:
        reasons.append(_other_source(before, after))
    had, has = _records(old).get(_folder(task, row), set()), _records(new).get(_folder(task, row), set())
    added, gone = has - had, had - has
    if added and before is not None:
        reasons.append(f"it has {len(added)} new record{'s' * (len(added) > 1)}")
    if gone:
        reasons.append(f"{len(gone)} of its records {'are' if len(gone) > 1 else 'is'} gone")
    if was and now and was["trust"] != now["trust"]:
        reasons.append("it was verified" if now["trust"] != "self-reported" else "what it was verified with is gone")
    return reasons


def _other_source(before: BaselineOf, after: BaselineOf) -> str:
    if before.version != after.version:
        return f"the baseline went from version {before.version} to {after.version}"
    return f"the source of the baseline changed (version {after.version} as before)"


def _folder(task: str, row: str) -> str:
    return str(Store("").folder(task, row))


def _records(release: Release) -> Mapping[str, set[str]]:
    """Paths of its records by folder."""
    return _by_folder(tuple(release.manifest.records))


@lru_cache(maxsize=4)
def _by_folder(paths: tuple[str, ...]) -> Mapping[str, set[str]]:
    found: dict[str, set[str]] = {}
    for path in paths:
        if path.endswith(".json"):
            found.setdefault(str(Path(path).parent), set()).add(path)
    return found


def _limits(old: Release, new: Release) -> Iterator[str]:
    """Breaking points that entered, left, or are not what they were, with their rows' reasons. Of tasks of another
    version, and of rows that entered or left as a whole, it is said already."""
    was, now = _limits_of(old), _limits_of(new)
    for key in sorted(was.keys() | now.keys()):
        task, row, limit = key
        versions = [r.ranking["tasks"].get(task, {}).get("version") for r in (old, new)]
        if versions[0] != versions[1] or None in versions:
            continue
        before, after = was.get(key), now.get(key)
        if before is not None and after is not None:
            if before["text"] == after["text"] and _rank(before) == _rank(after):
                continue
            moved = f"{after['text']} instead of {before['text']}"
            if _rank(before) != _rank(after):
                moved += f", rank {_rank(after)} instead of {_rank(before)}"
        else:
            moved = f"{after['text']}, which is new" if after is not None else "is no longer known"
        why = _own_reasons(task, row, None, None, old, new)
        yield f"{task}: {row}, {limit}: {moved}, because {' and '.join(why or ['other records count'])}."


def _limits_of(release: Release) -> dict[tuple[str, str, str], Place]:
    return {(p["task"], p["baseline"], p["limit"] or p["name"]): p for p in release.ranking["limits"]}


def _rank(place: Place) -> str:
    low, high = place.get("rank_low"), place.get("rank_high")
    return "not resolved" if low is None else str(low) if low == high else f"{low}-{high}"


def _number(value: float | None) -> str:
    return "nothing" if value is None else f"{value:.4g}"
