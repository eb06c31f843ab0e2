"""The page of one record: the command that repeats it, where it ran, its scores, single calls and memory. It holds no
script, and at most `MOST_BYTES`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.board.board import Entry, Retraction
from harness.board.site.escaping import html, line
from harness.board.site.histogram import histogram, memory_bar
from harness.board.site.shell import Frame, page, section, table
from harness.board.site.words import interval, ms, number, seconds, size, status_badge, trust_badge

if TYPE_CHECKING:
    from harness.record import Record

MOST_BYTES = 15_000


@dataclass(frozen=True)
class Seen:
    """What other pages say of a record."""

    id: str
    file: str
    task: str
    version: int
    case: str
    baseline: str
    kind: str
    seed: int
    status: str
    fingerprint: str
    environment: str


@dataclass(frozen=True)
class _Room:
    """How much of each part is shown."""

    text: int
    """Characters of the output's end."""
    lines: int
    """Lines of every table, and notes."""
    one: int
    """Characters of any one text."""
    pictures: int


_ROOMS = (_Room(4000, 60, 1000, 3), _Room(2500, 30, 500, 2), _Room(1500, 20, 300, 1), _Room(800, 10, 200, 1),
          _Room(300, 6, 100, 0), _Room(100, 3, 40, 0))  # fmt: skip
"""Tried in turn until the page is small enough: hostile text may take six bytes a character."""


def record_page(
    frame: Frame, record: Record, entry: Entry | None, retracted: Retraction | None,
    environment: Mapping[str, Any], samples: Mapping[str, Sequence[int]],
) -> str:  # fmt: skip
    """`entry` is the row that the record is of, if there is one; `samples` are raw latencies in ns, by stream."""
    made = ""
    for room in _ROOMS:
        made = page(
            frame,
            f"{record.baseline.name} on {record.case.name}",
            _body(frame, record, entry, retracted, environment, samples, room),
            1,
        )
        if len(made.encode()) <= MOST_BYTES:
            break
    return made


def _body(
    frame: Frame, record: Record, entry: Entry | None, retracted: Retraction | None,
    environment: Mapping[str, Any], samples: Mapping[str, Sequence[int]], room: _Room,
) -> str:  # fmt: skip
    task, row = frame.links.tasks.get(record.task.name), frame.links.baselines.get(record.baseline.name)
    named = line(record.task.name, room.one)
    crumbs = f'<a href="../task/{task}.html">{named}</a>' if task else named
    name = line(record.baseline.name, room.one)
    again = f"draw {record.seed}" + (f", process {record.repeat}" if record.repeat else "")
    name = f'<a href="../baseline/{row}.html">{name}</a>' if row else name
    command = f'<pre tabindex="0">{html(record.provenance.command[: 3 * room.one])}</pre>'
    return (
        f'<p class="crumbs">{crumbs} version {record.task.version}</p>'
        f"<h1>{name} on {line(record.case.name, room.one)}</h1>"
        f'<p class="counts">{html(again)}, {html(record.kind)}, {line(record.device, 40)} '
        f"{status_badge(record.status)} {trust_badge(entry.trust if entry else record.trust)}</p>"
        + (f'<p class="notice"><b>Retracted</b> {line(retracted.at, 20)}: {line(retracted.reason, room.one)}</p>'
           if retracted else "")
        + (f'<p class="notice">{line(record.reason, room.one)}</p>' if record.reason else "")
        + section("command", "Run it again", command)
        + section("siblings", "The row's other records", _siblings(frame, record, entry, room))
        + section("scores", "Scores", _scores(record, room))
        + section("latency", "Single calls", _latency(record, samples, room))
        + section("memory", "Memory and time by phase", _phases(record, room))
        + section("output", "End of its output", _output(record, room))
        + section("notes", "Notes", _notes(record, room))
        + section("origin", "Where it comes from", _origin(record, environment, room))
    )  # fmt: skip


def _siblings(frame: Frame, record: Record, entry: Entry | None, room: _Room) -> str:
    """Links to the other records of its row; those that were retracted are struck."""
    if entry is None:
        return ""
    gone = {r.record for r in entry.retracted}
    links = frame.links.records
    others = [r for r in entry.row.records if r != record.id and r in links]
    shown = [f'<a href="{links[r]}.html">{line(links[r])}</a>' for r in others[: room.lines]]
    struck = [f"<s>{one}</s>" if r in gone else one for r, one in zip(others, shown, strict=False)]
    more = f" and {len(others) - room.lines} more" if len(others) > room.lines else ""
    return f'<p class="siblings">{" ".join(struck)}{more}</p>' if others else ""


def _cut(rows: list[list[str]], room: _Room) -> tuple[list[list[str]], str]:
    left = len(rows) - room.lines
    return rows[: room.lines], f"<p class=about>{left} more are in the record.</p>" if left > 0 else ""


def _scores(record: Record, room: _Room) -> str:
    rows = [[line(s.name, room.one), f"<b>{number(s.value)}</b>", html(interval(s.interval) or "\u2013"),
             str(s.n) if s.n else "\u2013", line(s.unit, room.one)] for s in record.scores]  # fmt: skip
    kept, more = _cut(rows, room)
    return (
        table(["Score", "Value", "95 % within the draw", "Items", "Unit"], kept, "Scores", (1, 2, 3)) + more
        if kept
        else ""
    )


def _latency(record: Record, samples: Mapping[str, Sequence[int]], room: _Room) -> str:
    rows = [
        [line(s.name, room.one), str(s.n), ms(s.median_ns), ms(s.p90_ns), ms(s.p99_ns), ms(s.cold_ns),
         "stable" if s.stable else line(f"not stable: {s.why}" if s.why else "not stable", room.one)]
        for s in record.latency
    ]  # fmt: skip
    kept, more = _cut(rows, room)
    drawn = "".join(
        histogram(samples.get(s.name, ()), s.name, s.median_ns, s.p99_ns) for s in record.latency[: room.pictures]
    )
    heads = ["Stream", "Calls", "median ms", "p90", "p99", "first call", "State"]
    return drawn + table(heads, kept, "Latency", range(1, 6)) + more if kept else ""


def _phases(record: Record, room: _Room) -> str:
    most = max((p.peak_rss_bytes for p in record.phases), default=0)
    rows = [
        [line(p.name, room.one) + (" (shared)" if p.shared else ""), seconds(p.wall_ns / 1e9), f"{p.items:,}",
         size(p.base_rss_bytes), size(p.delta_rss_bytes),
         size(p.gpu.allocated_peak_bytes) if p.gpu else "\u2013",
         memory_bar(p.base_rss_bytes, p.delta_rss_bytes, most) if room.pictures else ""]
        for p in record.phases
    ]  # fmt: skip
    kept, more = _cut(rows, room)
    heads = ["Phase", "Time", "Items", "Before", "Added", "GPU", "Peak"]
    watched = f"{size(record.memory_limit_bytes)}: {line(record.memory_watch, room.one)}"
    limit = f"<p class=about>Limit {watched}. Time limit {seconds(record.timeout_s)}.</p>"
    limit = limit if record.memory_limit_bytes else ""
    return table(heads, kept, "Phases", range(1, 6)) + more + limit if kept else limit


def _output(record: Record, room: _Room) -> str:
    tail = record.output_tail[-room.text :]
    return f'<pre tabindex="0">{html(tail)}</pre>' if tail.strip() else ""


def _notes(record: Record, room: _Room) -> str:
    notes = list(record.notes)
    if record.canary and record.canary.moved:
        notes.insert(0, f"the machine's speed moved: {record.canary.drift:.2f} of what it was when the run began")
    if record.provenance.sources_mismatch:
        notes.append("loaded files that its key does not cover: " + ", ".join(record.provenance.sources_mismatch))
    listed = "".join(f"<li>{line(n, room.one)}</li>" for n in notes[: room.lines])
    return f"<ul>{listed}</ul>" if listed else ""


def _origin(record: Record, environment: Mapping[str, Any], room: _Room) -> str:
    source = record.provenance
    told = {
        "record": record.id, "key": record.key, "parameters": _pairs(record.baseline.params),
        "model": _pairs(record.baseline.description), "case": _pairs(record.case.params),
        "data": _pairs(record.case.about),
        "source": f"{record.baseline.file} version {record.baseline.version}, {record.baseline.source_digest[:16]}",
        "task's source": record.task.source_digest[:16], "draw": record.case.draw_digest[:16],
        "machine": f"{source.fingerprint}: {machine_words(environment)}",
        "system": ", ".join(str(environment.get(k)) for k in ("os", "kernel", "python") if environment.get(k)),
        "packages": _pairs(environment.get("packages") or {}), "threads": str(record.threads),
        "jobs at a time": str(source.jobs) if source.jobs > 1 else "", "sealed from": ", ".join(source.sealed),
        "pinned": ", ".join(record.baseline.pinned.requirements) if record.baseline.pinned else "",
        "shared preparation": source.shared_record or "",
        "cost": f"{seconds(record.cost.wall_s)}, CPU {seconds(record.cost.cpu_s)}",
        "trust when written": record.trust, "run": source.run, "harness": source.harness_version,
        "when": f"{source.started} to {source.ended}" if source.ended else source.started,
        "sidecar": record.sidecar[:16],
    }  # fmt: skip
    rows = "".join(f"<dt>{html(k)}</dt><dd>{line(v, room.one)}</dd>" for k, v in told.items() if v)
    return f'<dl class="facts-list">{rows}</dl>'


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{k} {v}" for k, v in values.items() if v is not None)


def machine_words(environment: Mapping[str, Any]) -> str:
    """A machine in a few words: processor, cores, memory, accelerators."""
    parts = [str(environment.get("cpu_model") or "")]
    if isinstance(cores := environment.get("cores_usable"), int | float):
        parts.append(f"{cores:g} cores")
    if isinstance(memory := environment.get("memory_bytes"), int | float):
        parts.append(size(memory))
    gpus = environment.get("gpus")
    for gpu in gpus if isinstance(gpus, list) else []:
        parts.append(str(gpu.get("name", "GPU")) if isinstance(gpu, Mapping) else str(gpu))
    return ", ".join(p for p in parts if p) or "not described"
