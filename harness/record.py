"""The record: what happened to one cell. Its JSON Schema, `harness/record.schema.json`, is made by
`python -m harness.record`.

Records are append-only and strict JSON. What is written in text (reasons, output, commands) is redacted first.
Raw samples and per-item scores lie beside in a `.npz` sidecar, named with its digest.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = 1
Status = Literal["ok", "failed", "timeout", "oom", "killed", "unsupported", "skipped"]
STATUSES: tuple[Status, ...] = ("ok", "failed", "timeout", "oom", "killed", "unsupported", "skipped")
FINAL: frozenset[Status] = frozenset({"ok", "failed", "unsupported"})
"""A cell with such a record is not run again. `skipped` and `killed` are tried again; `timeout` and `oom` when the
limit was raised."""
Trust = Literal["self-reported", "reproduced", "replicated"]
"""What others found: nothing yet; the same numbers from the same draw; as good numbers from a fresh one."""
TRUSTS: tuple[Trust, ...] = ("self-reported", "reproduced", "replicated")
"""From the least to the most."""
Scalar = str | int | float | bool | None
Finite = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, lt=2**63)]
Interval = tuple[Finite, Finite]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class TaskRef(_Part):
    name: str
    """Family and task, for example `limit/retrieval`."""
    version: int
    """Bumped whenever data, protocol or metric change; records of different versions are never compared."""
    source_digest: str
    """SHA-256 of the task's own source files."""


class CaseRef(_Part):
    name: str
    params: dict[str, Scalar]
    draw_digest: str = ""
    """Digest of the question, where the task gives one."""
    about: dict[str, Scalar] = {}
    """What the task says of the data of this draw: sizes, estimates."""
    within: str = ""
    """The case that this one looks further into, asked for by a search."""


class Pinned(_Part):
    """Packages of `--with`, imported before what is installed."""

    requirements: list[str]
    """`name==version`."""
    lock: str
    """SHA-256 of the names, versions and files of all its packages; empty if it could not be made."""
    packages: dict[str, str]
    """All of them: what was pinned, and what that needs otherwise than it is installed."""


class BaselineRef(_Part):
    name: str
    """The row's name."""
    file: str
    """The file's name, without its folder."""
    version: int
    params: dict[str, Scalar]
    source_digest: str
    """SHA-256 of the file and of the first-party files it imports."""
    requires: list[str] = []
    deterministic: bool = True
    pinned: Pinned | None = None
    """The environment of its own that the row was run in; None: what is installed."""
    description: dict[str, Scalar] = {}
    """What the method says of its model: weights digest, prompts, max tokens, dtype, similarity, remote code."""


class ScoreValue(_Part):
    name: str
    value: Finite
    interval: Interval | None
    """95 % within this draw, over items; None where no such interval is known. The board's is over draws."""
    unit: str
    higher_is_better: bool
    best: Finite | None
    """The ceiling, if there is one."""
    main: bool
    n: Count
    """Number of items behind the value; their values are in the sidecar under `item/NAME`."""
    gate: Finite | None = None
    """A row whose mean over draws is under it is not ranked."""
    below: str = ""
    """What such a row is called."""


class GpuMemory(_Part):
    """Three figures that are never added."""

    allocated_peak_bytes: int | None = None
    reserved_peak_bytes: int | None = None
    driver_bytes: int | None = None


class Phase(_Part):
    name: str
    items: Count
    """How many things the phase worked on: items / wall is its throughput."""
    wall_ns: Count
    """Stamped from outside of the child."""
    self_wall_ns: int | None = None
    """What the child's own clock said."""
    cpu_ns: int | None
    """CPU of the child's process in the phase, read from outside."""
    base_rss_bytes: int
    """VmRSS at its start, after garbage collection, with libraries and input paged in."""
    peak_rss_bytes: int
    """VmHWM within the phase (or the process tree's sampled sum, if larger)."""
    delta_rss_bytes: int
    """peak - base: what the phase needed beyond what was there."""
    base_anon_bytes: int
    end_anon_bytes: int
    """RssAnon at start and end: memory that is no mapped file."""
    peak_reset: bool
    """Whether /proc/PID/clear_refs could be written; if not, the peak may be an earlier phase's."""
    gpu: GpuMemory | None = None
    shared: bool = False
    """Taken from the preparation that several rows share, and charged to each."""


class Latency(_Part):
    name: str
    """The stream; `query` is one query at a time, from text to hits. Raw samples: `latency/NAME` in the sidecar."""
    cold_ns: int | None
    """The first call, kept apart."""
    n: Count
    median_ns: Finite
    iqr_ns: Finite | None
    p90_ns: Finite | None
    """sorted[int(n * p)]; None with too few samples (p90 64, p95 130, p99 662, p99.9 6636)."""
    p95_ns: Finite | None
    p99_ns: Finite | None
    p999_ns: Finite | None
    loops: int
    """Calls per sample (above 1 for calls under 100 us)."""
    warm_up_calls: int
    stable: bool
    why: str = ""
    """Why it is not called stable."""
    composed: bool = False
    """Sum, sample by sample, of the shared preparation's stream and this process's own."""


class Canary(_Part):
    """A fixed calculation before and after the cell: it tells when the machine, not the method, changed."""

    version: int
    before_ns: Finite
    after_ns: Finite
    drift: Finite
    """Mean of both over the run's opening median; 1.0 means the machine did not change."""
    moved: bool
    """Drift outside 0.9 to 1.1: costs of this record are compared only with that mark."""


class Provenance(_Part):
    run: str
    """Identifier of the run; records of one run were interleaved on one machine."""
    jobs: int = 1
    """Cells that ran at a time. Timed stages exclude each other, but not what need not be timed alone."""
    command: str
    """Repeats this cell."""
    harness_version: str
    environment: str
    """Digest of the environment, stored once under environments/."""
    fingerprint: str
    """Machine class: costs are comparable only within it."""
    libraries: dict[str, str]
    """Versions of what the child had imported."""
    threads_used: dict[str, int]
    sources_mismatch: list[str] = []
    """First-party files that the child loaded but the key does not cover."""
    sealed: list[str] = []
    """Layers that kept the child from seeing anything but what it was handed, of a task that asks for it."""
    shared_record: str | None = None
    """The record of the preparation whose costs are charged here."""
    started: str
    ended: str
    """UTC, ISO 8601."""


class Cost(_Part):
    wall_s: Finite
    """From fork to the end of the last descendant."""
    cpu_s: Finite
    harness_cpu_s: Finite
    """CPU the harness itself spent on this cell: drawing, scoring, recording."""


class Record(_Part):
    """One cell's result, whatever happened."""

    schema_version: Literal[1] = 1
    id: str
    """Unique; also the file's name."""
    key: str
    """Digest of everything that decides the numbers."""
    kind: Literal["cell", "prepare", "control"]
    """`prepare`: the shared part of several rows. `control`: answered by the judge, without a child."""
    status: Status
    reason: str
    task: TaskRef
    case: CaseRef
    baseline: BaselineRef
    seed: int
    repeat: int
    """0 for the process that was scored; above 0 for further processes run for latency."""
    device: str
    """The device used, not the one asked for."""
    threads: int
    scores: list[ScoreValue]
    phases: list[Phase]
    latency: list[Latency]
    peak_rss_bytes: int | None
    """Highest over all phases, and over the process tree."""
    delta_rss_bytes: int | None
    """Highest over all phases of peak less the first phase's base: what the method needed beyond its libraries."""
    memory_limit_bytes: int
    memory_watch: str
    """What held the limit."""
    timeout_s: Finite
    canary: Canary | None
    notes: list[str]
    output_tail: str
    """Last lines of the child's standard output and error, unless all went well."""
    sidecar: str
    """SHA-256 of the sidecar file; empty if there is none."""
    trust: Trust = "self-reported"
    """As it was written; what was found since is said by statements (see `harness.board.statements`)."""
    cost: Cost
    provenance: Provenance

    def to_json(self) -> str:
        """Strict JSON, one record; raises ValueError for a number that JSON cannot hold."""
        return json.dumps(self.model_dump(mode="json"), allow_nan=False, indent=1, sort_keys=False) + "\n"

    def score(self, name: str) -> ScoreValue | None:
        return next((s for s in self.scores if s.name == name), None)


def json_schema() -> str:
    """The exported schema's text."""
    return json.dumps(Record.model_json_schema(), indent=1) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("record.schema.json").write_text(json_schema(), "utf-8")
