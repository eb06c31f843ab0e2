"""Tasks x baselines x cases x seeds -> cells with keys, in the order in which they run."""

from __future__ import annotations

import fnmatch
import hashlib
import importlib.util
import json
import random
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import NothingMatched, UsageError, did_you_mean
from harness.registry import ORACLE, BaselineSpec, TaskSpec
from harness.task import SCALES, Case, Scalar, Scale

if TYPE_CHECKING:
    from harness.overlay import Overlay


@dataclass(frozen=True)
class Cell:
    """One unit of work. `stage` is `answer`, or `prepare` for the part that several rows share."""

    task: TaskSpec
    case: Case
    row: BaselineSpec
    seed: int
    device: str
    threads: int
    stage: str = "answer"
    repeat: int = 0
    needs: Cell | None = None
    """The preparation to run first."""
    blocked: tuple[str, str] | None = None
    """Status and reason, if it is known beforehand that it cannot run."""

    @property
    def key(self) -> str:
        """Digest of everything that decides the numbers; the repeat does not."""
        environment = self.row.environment
        return _digest(
            {
                "task": [self.task.name, self.task.version],
                "case": [self.case.name, dict(self.case.params)],
                "row": [self.row.name if self.stage == "answer" else "", self.row.version, dict(self.row.params)],
                "source": self.row.source_digest,
                "seed": self.seed,
                "device": self.device,
                "threads": self.threads,
                "stage": self.stage,
                "needs": self.needs.key if self.needs else None,
                "libraries": _major_versions(self.row.requires, environment),
                **({"environment": environment.lock} if environment else {}),
                **({"parts": [[p.name, p.version, dict(p.params)] for p in self.row.parts]} if self.row.parts else {}),
            }
        )

    @property
    def method_seed(self) -> int:
        """What the method's own randomness is seeded with. The draw's seed cannot be computed back from it."""
        return int(_digest(["method", self.seed, self.task.name, self.case.within or self.case.name])[:12], 16)

    @property
    def label(self) -> str:
        name = (
            self.row.name if self.stage == "answer" else f"{self.row.path.stem if self.row.path else ''} (shared part)"
        )
        return f"{self.task.name} {self.case.name} {name} seed {self.seed}" + (
            f" #{self.repeat}" if self.repeat else ""
        )


@dataclass(frozen=True)
class Request:
    """What the user asked for."""

    tasks: Sequence[TaskSpec]
    rows: Mapping[str, Sequence[BaselineSpec]]
    scale: Scale = "standard"
    case_glob: str = ""
    seeds: Sequence[int] | None = None
    """None: as many as the task says for the scale and the baseline's cost."""
    device: str = "auto"
    threads: int = 1
    data_cases: Mapping[str, Sequence[Case]] | None = None
    """Per task: run these, made from the user's own data, instead of the declared ones."""
    changed: Mapping[str, str] = field(default_factory=dict)
    """Parameters of cases that the user gives other values (`--set`)."""


def cells_of(request: Request) -> list[Cell]:
    """All cells of a request, interleaved. Raises NothingMatched or UsageError if there is none."""
    cells: list[Cell] = []
    for task in request.tasks:
        rows = request.rows.get(task.name, ())
        for plain, case in _chosen(task, request):
            for row in rows:
                if _takes_part(plain, row, request.scale, request.data_cases is not None):
                    seeds = _seeds(task, case, row, request)
                    if row.name == ORACLE:
                        seeds = seeds[:1]  # a ceiling needs no repeats
                    cells += [make_cell(task, case, row, seed, request) for seed in seeds]
    if not cells:
        rows_text = ", ".join(sorted({r.name for rs in request.rows.values() for r in rs})) or "no baseline"
        raise NothingMatched(
            f"nothing to run: {rows_text} takes part in no case"
            + (f" like {request.case_glob!r}" if request.case_glob else "")
            + f" at scale {request.scale!r}; try --scale full (`harness list cases` shows who takes part where)"
        )
    return interleave(expand_repeats(_once_where_broken(cells)))


def _once_where_broken(cells: Sequence[Cell]) -> list[Cell]:
    """A row whose environment could not be made says so once."""
    out, said = [], set()
    for cell in cells:
        if cell.row.environment and cell.row.environment.problem:
            if (cell.task.name, cell.row.name) in said:
                continue
            said.add((cell.task.name, cell.row.name))
        out.append(cell)
    return out


def make_cell(task: TaskSpec, case: Case, row: BaselineSpec, seed: int, request: Request) -> Cell:
    """The cell of one row on one case; what is known to be impossible is marked."""
    device = _device(row, request.device)
    threads = min(request.threads, row.max_threads or request.threads)
    cell = Cell(task, case, row, seed, device or request.device, threads, blocked=_blocked(row, device, request))
    if row.shared or (task.in_parts and row.name != ORACLE):
        params = {k: v for k, v in row.params.items() if k not in row.shared}
        fixed = {k: v for k, v in case.params.items() if k not in task.swept}
        whole = replace(case, name=case.within or case.name, within="", params=fixed)
        cell = replace(cell, needs=replace(cell, case=whole, row=replace(row, params=params), stage="prepare"))
    return cell


def expand_repeats(cells: Iterable[Cell]) -> list[Cell]:
    """The first seed of a case that asks for several processes is repeated until it has them."""
    out: list[Cell] = []
    first: dict[tuple[str, str, str], int] = {}
    for cell in cells:
        seed = first.setdefault((cell.task.name, cell.case.name, cell.row.name), cell.seed)
        repeats = cell.case.processes if cell.seed == seed and cell.row.name != ORACLE else 1
        for repeat in range(repeats):
            needs = replace(cell.needs, repeat=repeat) if cell.needs else None
            out.append(replace(cell, repeat=repeat, needs=needs))
    return out


def interleave(cells: Sequence[Cell]) -> list[Cell]:
    """Cheap first, so that rows appear soon; then, within a case and a round, baselines in random order.

    Latencies are compared across baselines: a machine that slows down must not slow one of them only.
    """
    shuffled = list(cells)
    random.Random(0).shuffle(shuffled)

    def place(cell: Cell) -> tuple[int, str]:
        declared = [c.name for c in cell.task.cases]
        return (declared.index(cell.case.name) if cell.case.name in declared else len(declared), cell.task.name)

    # Further processes come last, round by round: in each, all rows of a case are timed close together.
    return sorted(shuffled, key=lambda c: (c.repeat > 0, c.row.cost == "heavy" and not c.repeat, place(c), c.repeat))


def chosen_cases(task: TaskSpec, request: Request) -> list[Case]:
    """The cases that a request names and that have the parameters that it changes, with the values it gives. Raises
    UsageError where no case has them."""
    return [changed for _, changed in _chosen(task, request)]


def _chosen(task: TaskSpec, request: Request) -> list[tuple[Case, Case]]:
    """Cases as declared, and as changed."""
    named = _cases(task, request)
    has = {case.name: {*case.params, *task.optional} for case in named}
    for name in request.changed:
        if named and not any(name in params for params in has.values()):
            known = sorted(set().union(*has.values()))
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"they have {', '.join(known)}"
            raise UsageError(f"--set {name}: no chosen case of {task.name} has such a parameter; {hint}")
    return [
        (case, changed_case(case, request.changed, task.optional))
        for case in named if has[case.name] >= set(request.changed)
    ]  # fmt: skip


def changed_case(case: Case, changes: Mapping[str, str], optional: Mapping[str, Scalar]) -> Case:
    """The case with other values of some parameters, which its name then says. Raises UsageError for a value of another
    kind."""
    if not changes:
        return case
    params = dict(case.params)
    for name, text in changes.items():
        was = params[name] if name in params else optional[name]
        try:
            params[name] = _like(was, text)
        except ValueError:
            raise UsageError(
                f"--set {name}={text}: {text!r} is no {type(was).__name__}; {case.name} has {name}={was}"
            ) from None
    said = ",".join(f"{name}={value}" for name, value in sorted(changes.items()))
    return replace(case, name=f"{case.name}[{said}]", params=params)


def _like(value: Scalar, text: str) -> Scalar:
    """`text` as a value of the same kind. Raises ValueError."""
    if isinstance(value, bool):
        if text.lower() not in ("true", "false"):
            raise ValueError
        return text.lower() == "true"
    if isinstance(value, int):
        return int(text)
    return float(text) if isinstance(value, float) else text


def _cases(task: TaskSpec, request: Request) -> list[Case]:
    declared = (
        list((request.data_cases or {}).get(task.name, ())) if request.data_cases is not None else list(task.cases)
    )
    if not request.case_glob:
        return declared
    matching = [c for c in declared if fnmatch.fnmatchcase(c.name, request.case_glob)]
    every = [c.name for t in request.tasks for c in t.cases] + [c.name for c in declared]
    if not matching and not any(fnmatch.fnmatchcase(name, request.case_glob) for name in every):
        raise did_you_mean("case", request.case_glob, every)
    return matching


def _takes_part(case: Case, row: BaselineSpec, scale: Scale, own_data: bool) -> bool:
    if case.only and case.only not in row.cases:
        return False
    if not own_data and not any(fnmatch.fnmatchcase(case.name, pattern) for pattern in row.takes):
        return False
    smallest = case.heavy if row.cost == "heavy" else case.light
    if own_data:
        smallest = "smoke"
    return smallest is not None and SCALES.index(scale) >= max(SCALES.index(smallest), SCALES.index(row.scale))


def _seeds(task: TaskSpec, case: Case, row: BaselineSpec, request: Request) -> list[int]:
    if request.seeds is not None:
        return list(request.seeds)
    return list(range(case.seeds or task.seeds[request.scale][row.cost]))


def _device(row: BaselineSpec, wanted: str) -> str | None:
    if wanted == "auto":
        return "cuda" if "cuda" in row.devices and cuda_is_present() else "cpu"
    return wanted if wanted in row.devices or row.name == ORACLE else None


def _blocked(row: BaselineSpec, device: str | None, request: Request) -> tuple[str, str] | None:
    if device is None:
        return "unsupported", f"{row.name} runs on {', '.join(row.devices)} only"
    environment = row.environment
    if environment and environment.problem:
        return "skipped", environment.problem
    missing = [m for m in row.requires if not _is_installed(m, environment)]
    if missing and environment:
        return "skipped", (
            f"neither {environment.label} nor what is installed provides {', '.join(missing)}; pin what does as well, "
            "for example --with 'a==1.0,b==2.1'"
        )
    if missing:
        extra = row.extra or row.task.partition("/")[0]
        return "skipped", f"{', '.join(missing)} is not installed; run: pip install 'limits-harness[{extra}]'"
    if device == "cuda" and not cuda_is_present():
        return "skipped", "no CUDA device is visible; run on a machine with one, or with --device cpu"
    return None


def cuda_is_present() -> bool:
    """Whether the machine has an NVIDIA driver, found without loading any GPU library."""
    return Path("/proc/driver/nvidia/version").exists() or Path("/dev/nvidiactl").exists()


def _is_installed(module: str, environment: Overlay | None) -> bool:
    top = module.partition(".")[0]
    if environment and (not environment.lock or environment.version_of(top)):
        return True  # what is not made yet may hold anything
    try:
        return importlib.util.find_spec(top) is not None
    except (ImportError, ValueError):
        return False


_versions: dict[str, str] = {}


def _major_versions(modules: Iterable[str], environment: Overlay | None) -> dict[str, str]:
    """Major versions of the distributions behind modules, plus Python's and NumPy's, as the child will import them."""
    found = {"python": f"{sys.version_info.major}.{sys.version_info.minor}"}
    for module in ("numpy", *modules):
        if module not in _versions:
            _versions[module] = _version(module.partition(".")[0])
        pinned = environment.version_of(module.partition(".")[0]) if environment else None
        found[module] = (pinned or _versions[module]).partition(".")[0]
    return found


def _version(module: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(module)
    except metadata.PackageNotFoundError:
        names = _distributions().get(module, [])
        return metadata.version(names[0]) if names else "none"


def _distributions() -> Mapping[str, list[str]]:
    from importlib import metadata

    if not hasattr(_distributions, "cache"):
        _distributions.cache = metadata.packages_distributions()  # type: ignore[attr-defined]
    return _distributions.cache  # type: ignore[attr-defined, no-any-return]


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, allow_nan=False).encode()).hexdigest()


def parse_seeds(text: str) -> list[int]:
    """`5` -> five seeds 0..4; `7,8` -> those; `fresh` -> one secret 128-bit draw. Raises UsageError."""
    import secrets

    if text == "fresh":
        return [secrets.randbits(128)]
    try:
        if "," in text:
            return sorted({_seed(part) for part in text.split(",") if part.strip()})
        count = int(text)
    except ValueError:
        raise UsageError(f"--seeds {text!r} is no number; write --seeds 5, --seeds 7,8 or --seeds fresh") from None
    if count < 1:
        raise UsageError(
            f"--seeds {count} asks for no draw at all; write --seeds 1 or more, or --seeds 0, for seed 0 alone"
        )
    return list(range(count))


def _seed(text: str) -> int:
    seed = int(text)
    if not 0 <= seed < 1 << 128:
        raise ValueError
    return seed
