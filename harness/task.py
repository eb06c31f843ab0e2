"""What the authors of tasks and baselines import: the interfaces and the values that cross them.

Standard library only: this module is loaded wherever a plugin file is, and plugins must be cheap to import.
A class's *literals* (everything declared with constants) are also read from its source without importing it, by
`harness.registry`: they must be written as literals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Protocol, TypeVar

from harness.errors import MissingPackage, Unsupported

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "Answer", "Baseline", "BreakingPoint", "Case", "Chart", "Claim", "Context", "Cost", "Draw", "InvalidAnswer",
    "Meter", "MissingPackage", "Outcome", "Point", "Question", "Ranking", "Scalar", "Scale", "Score", "Scored",
    "Standing", "Task", "Unsupported",
]  # fmt: skip

Scale = Literal["smoke", "standard", "full"]
SCALES: tuple[Scale, ...] = ("smoke", "standard", "full")
Cost = Literal["light", "heavy"]
"""`heavy` baselines run fewer seeds and join a case at its `heavy` scale (an encoder on a CPU, for example)."""
Scalar = str | int | float | bool | None
Question = Mapping[str, Any]
"""Named parts of what a baseline is shown: `list[str]`, a NumPy array, or a JSON value. Written to files."""
Answer = Mapping[str, "np.ndarray[Any, Any]"]
"""Named NumPy arrays (no object dtype): what the judge reads back."""


class InvalidAnswer(ValueError):
    """Raised by `Task.score` for an answer that cannot be scored; the cell's status becomes `failed`."""


@dataclass(frozen=True)
class Case:
    """One fixed problem of a task, known before anything runs.

    `light` and `heavy` name the smallest scale at which a baseline of that cost takes part (None: never by itself).
    `processes` is the number of fresh processes that its latency is taken from (seed 0 is repeated until reached).
    `download` says what must be fetched for it, `download_bytes` how much.
    """

    name: str
    params: Mapping[str, Scalar] = field(default_factory=dict)
    light: Scale | None = "standard"
    heavy: Scale | None = "standard"
    processes: int = 1
    download: str = ""
    download_bytes: int = 0
    only: str = ""
    """If set: only baselines that declare this name in their literal `cases` take part."""
    seeds: int = 0
    """Draws of this case, at every scale; 0: as many as the task says for the scale and the baseline's cost."""
    within: str = ""
    """Of a case that a search asked for: the case that it looks further into, whose preparation it shares (see
    `Task.swept`). It has no table of its own; breaking points and charts show it."""
    gate: float = 0.0
    """Replaces the `gate` of the task's score that has one; 0: that stays."""


@dataclass(frozen=True)
class Score:
    """One figure of merit. `best` is its ceiling, `chance` what guessing reaches (None: unknown or case-dependent)."""

    name: str
    best: float | None = None
    main: bool = False
    higher_is_better: bool = True
    unit: str = ""
    bounded: bool = True
    """Per-item values lie in [0, 1], so that a Wilson interval holds."""
    gate: float | None = None
    """A row whose mean over draws is under it is not ranked."""
    below: str = ""
    """What such a row is called, for example `not trained`."""


@dataclass(frozen=True)
class Draw:
    """One draw of a case: what the baseline is shown, and what only the judge knows."""

    question: Question
    truth: Mapping[str, Any]
    digest: str = ""
    """Digest of the question's text and integers where it is pinned or promised to be the same on every platform."""
    about: Mapping[str, Scalar] = field(default_factory=dict)
    """What is worth knowing of the data (sizes, estimates): kept on the record, shown above the table."""
    sealed: Question = field(default_factory=dict)
    """Of a task that is sealed or has `swept` parameters: what `drive` is shown instead of `question`, which only
    `prepare` sees."""


@dataclass(frozen=True)
class Scored:
    """Scores by name, and per-item values behind them (equal length per name; order fixed by the draw)."""

    values: Mapping[str, float]
    items: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    notes: Sequence[str] = ()
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """95 % intervals that the task knows better than its items show (of a ratio, for example)."""
    independent: bool = False
    """The items are independent units: draws, training seeds, or queries drawn independently of one fixed index, for
    which alone the interval then holds. Queries that share documents by construction are not."""


@dataclass(frozen=True)
class Outcome:
    """What a task's searches and rankings see of a finished cell, and nothing else."""

    case: Case
    seed: int
    status: str
    values: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float] | None] = field(default_factory=dict)
    row: str = ""
    method: str = ""
    """The file that the row is a setting of."""
    repeat: int = 0
    """Above 0: a further process, which has costs and no scores. Only rankings see these."""
    costs: Mapping[str, float] = field(default_factory=dict)
    """`STREAM.p50_ns` and `.p95_ns` of single calls, `PHASE.wall_s`, `.items_per_s` and `.delta_bytes`."""


@dataclass(frozen=True)
class BreakingPoint:
    """A limit of one row: `text` is how it is shown, `<` or `>` where it could not be bracketed (`value` None)."""

    name: str
    text: str
    value: float | None
    interval: tuple[float | None, float | None] = (None, None)
    """95 %; None at an end that the search did not reach."""
    beside: str = ""
    """What others found, with the source."""
    limit: str = ""
    """By what the board ranks rows, the same for all of them; empty: this one is shown, and ranks nothing."""
    higher_is_better: bool = True
    per_draw: Mapping[int, float] = field(default_factory=dict)
    """The limit of each draw or training seed, which alone can tell rows apart; where a search did not reach it, the
    end of the search."""
    step: float = 0.0
    """In which these values come (1, of whole numbers): differences are not known better."""


@dataclass(frozen=True)
class Standing:
    """One method's place in a `Ranking`: its value in every process, or why it has none."""

    method: str
    setting: str
    """The row or rows that reach it."""
    values: Sequence[float]
    why: str = ""


@dataclass(frozen=True)
class Ranking:
    """A further ranking that the records of one case support, over methods instead of rows."""

    case: str
    name: str
    unit: str
    standings: Sequence[Standing]
    higher_is_better: bool = False
    best: float | None = None
    """The ceiling, if there is one."""
    values: Literal["measured", "exact", "listed"] = "measured"
    """`exact` ones carry no noise and rank as they are; `listed` ones are in an order and have no ranks."""


@dataclass(frozen=True)
class Claim:
    """A published claim that two rows test: `better` scores more than `than`. Shown with their paired difference."""

    better: str
    than: str
    says: str
    """The claim in one sentence, with its source."""


@dataclass(frozen=True)
class Point:
    """One row in a `Chart`."""

    row: str
    x: float
    y: float
    low: float | None = None
    """Lower bound of y."""
    best: bool = False
    """On the front: no other point is better in both directions."""
    group: str = ""
    """Points of one group share a colour; `bound` is theory, or what others found."""
    seed: int | None = None
    """The draw that it is of; None: it stands for all."""


@dataclass(frozen=True)
class Chart:
    """Rows as points over what they cost, x on a logarithmic axis; or, with `lines`, each row as a line through the
    means of its points over the draws, which are dots. Such a chart is also printed as a table."""

    case: str
    title: str
    x: str
    y: str
    points: Sequence[Point]
    lines: bool = False
    edge: float | None = None
    """Where a vertical line stands: beyond it is what is tested."""


@dataclass(frozen=True)
class Context:
    """What the runner tells a method about where it runs. `seed` is derived, never the draw's own seed."""

    device: str = "cpu"
    threads: int = 1
    seed: int = 0
    cache_dir: str = ""
    checkpoint: str = ""
    """A folder that outlives the process until its cell has ended: where long work can leave off and go on. It may not
    be there yet; empty: there is none."""


class Baseline:
    """A method. Its parameters are annotated class attributes with literal defaults; the harness sets them on the
    instance before `load`. Declarations below are literals as well.
    """

    version: ClassVar[int] = 1
    variants: ClassVar[Mapping[str, Mapping[str, Scalar | tuple[str, ...]]]] = {}
    """Row name -> parameters that differ from the defaults, and `scale`, `cases` or `takes`, if they differ from the
    class's. Empty: one row, named like the file."""
    requires: ClassVar[tuple[str, ...]] = ()
    """Importable module names without which the method cannot run."""
    extra: ClassVar[str] = ""
    """The extra of this distribution that installs `requires`, if not the task family's own."""
    cost: ClassVar[Cost] = "light"
    scale: ClassVar[Scale] = "smoke"
    """The smallest scale at which a row takes part at all."""
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    max_threads: ClassVar[int] = 0
    """More threads than this do not help the method (0: unknown); its cells then get no more."""
    deterministic: ClassVar[bool] = True
    """Same seed, threads and machine give the same bits."""
    shared: ClassVar[tuple[str, ...]] = ()
    """Parameters that do not touch the task's expensive preparation (`Task.prepare`): rows that differ only in
    these share one preparation, and each is charged its full cost."""
    cases: ClassVar[tuple[str, ...]] = ()
    """Groups of cases (`Case.only`) that this method takes part in besides the general ones."""
    takes: ClassVar[tuple[str, ...]] = ("*",)
    """Patterns of the case names that the method is made for; at others it does not run at all."""
    part: ClassVar[str] = ""
    """If set, a row of this method can stand before another one of the same task, `THIS+OTHER`: the other one gets it
    as its attribute of this name."""
    after: ClassVar[tuple[str, ...]] = ()
    """Rows with a `part` that this method also runs behind without being asked."""
    prefix: ClassVar[str] = ""
    """If set, `--baseline PREFIX:VALUE` makes a row of this method with its parameter `model` set to VALUE."""

    context: Context = Context()

    def load(self) -> None:
        """Load models or libraries. Called once, in the child, inside the measured phase `load`; not called where a
        shared preparation is handed on (see `shared`), since what follows it works on prepared arrays."""

    def describe(self) -> Mapping[str, Scalar]:
        """Provenance of what was run, for the record: weights digest, prompts, max tokens, dtype, similarity..."""
        return {}


BaselineT = TypeVar("BaselineT", bound=Baseline)
ResultT = TypeVar("ResultT")
ItemT = TypeVar("ItemT")


class Meter(Protocol):
    """How a task's protocol is measured inside the child. See `harness.worker.meter` for what each call records."""

    repeat: int
    """0 for the process whose answer is scored; above 0 for a further process that is run for its latency."""

    def phase(self, name: str, items: int = 1, alone: bool = True) -> AbstractContextManager[None]:
        """Time a stage once, with base and peak memory read from outside. `items` gives its throughput. With several
        jobs, stages exclude each other, but for those that need not be timed `alone`."""
        ...

    def each(self, name: str, items: Sequence[ItemT], call: Callable[[ItemT], object]) -> None:
        """Single-stream latency: call `call(item)` for each item, one at a time. Results are thrown away."""
        ...


class Task(Generic[BaselineT]):
    """A versioned problem. `draw` and `score` run in the judge, `prepare` and `drive` in the child.

    Declarations are literals: they are read without importing the module.
    """

    version: ClassVar[int]
    summary: ClassVar[str] = ""
    scores: ClassVar[tuple[Score, ...]]
    cases: ClassVar[tuple[Case, ...]]
    seeds: ClassVar[Mapping[str, Mapping[str, int]]] = {
        "smoke": {"light": 1, "heavy": 1},
        "standard": {"light": 3, "heavy": 1},
        "full": {"light": 5, "heavy": 3},
    }
    preload: ClassVar[tuple[str, ...]] = ("numpy",)
    """Modules that every child of this task needs: imported once, before the fork."""
    sealed: ClassVar[bool] = False
    """`prepare` and `drive` run in processes of their own for every cell. The first sees the question and leaves
    nothing but the bytes that it returns as `artifact` (uint8); the second sees those and `Draw.sealed`. Both can read
    the installed software, and nothing else, and have no network."""
    hidden: ClassVar[tuple[str, ...]] = ()
    """Of a sealed task: installed packages, or folders of them (`sklearn.datasets.data`), that neither can read, since
    the data can be had from them."""
    claims: ClassVar[tuple[Claim, ...]] = ()
    swept: ClassVar[tuple[str, ...]] = ()
    """Parameters of cases that `prepare` does not depend on. If there are any, every cell has a preparation, shared by
    all cases `within` one; `drive` is shown `Draw.sealed`."""
    optional: ClassVar[Mapping[str, Scalar]] = {}
    """Parameters that cases take without declaring them (`--set`), and the values that are as good as none."""
    parallel: ClassVar[bool] = False
    """Cells take long in stages that need not be timed alone: unless told otherwise, a run fills the cores."""

    def check(self, case: Case) -> None:
        """Raises UsageError for a case whose parameters, changed by the user (`--set`), make no sense."""

    def draw(self, case: Case, seed: int) -> Draw:
        """The question and the truth of `case` under `seed`: a pure function of task version, parameters, seed."""
        raise NotImplementedError

    def drive(self, method: BaselineT, question: Question, meter: Meter, prepared: Answer | None) -> Answer:
        """Run the method on the question and return its answer. `prepared` is what `prepare` handed on, or None."""
        raise NotImplementedError

    def prepare(self, method: BaselineT, question: Question, meter: Meter) -> Answer:
        """The expensive part that rows of one method share (see `Baseline.shared`)."""
        raise Unsupported("this task has no shared preparation")

    def score(self, case: Case, draw: Draw, answer: Answer) -> Scored:
        """Score an answer; that of a sealed task also holds the `artifact`, as the judge handed it on.
        Raises `InvalidAnswer` for one that breaks the contract."""
        raise NotImplementedError

    def oracle(self, case: Case, draw: Draw) -> Answer | None:
        """The best possible answer, made from the truth, inside the judge. None: this task has no oracle."""
        return None

    def refine(self, outcomes: Sequence[Outcome]) -> Iterable[Case]:
        """Further cases that the search for a breaking point needs, given one row's outcomes so far."""
        return ()

    def breaking_points(self, outcomes: Sequence[Outcome]) -> Iterable[BreakingPoint]:
        """The limits that one row's outcomes show. Pure: also used on records of other machines."""
        return ()

    def rankings(self, outcomes: Sequence[Outcome]) -> Iterable[Ranking]:
        """Rankings of methods by cost at equal quality, from the outcomes of all rows and processes. Pure."""
        return ()

    def charts(self, outcomes: Sequence[Outcome]) -> Iterable[Chart]:
        """Charts that the outcomes of all rows support. Pure."""
        return ()

    def advice(self, outcomes: Sequence[Outcome]) -> Iterable[str]:
        """What to choose, in words, for who has to. Pure."""
        return ()

    def data_cases(self, path: str, **options: str) -> Iterable[Case]:
        """Cases over the user's own data at `path` (`--data`), with what `--queries` and `--metric` say, if given.
        Raises `DataError` for data that cannot be used, and `Unsupported` for an option that makes no sense here."""
        raise Unsupported("this task takes no --data")


def iterate_scales(smallest: Scale) -> Iterator[Scale]:
    """The scales at which something that joins at `smallest` takes part."""
    yield from SCALES[SCALES.index(smallest) :]
