"""What `harness check` finds out about a baseline's file before anybody else sees it."""

from __future__ import annotations

import shlex
import tempfile
import time
from collections.abc import Iterator, Sequence
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING

from harness.api import default_threads, make_run, records_of
from harness.errors import HarnessError, NothingMatched, UsageError
from harness.plan import Cell, Request, cells_of
from harness.registry import ORACLE, BaselineSpec, TaskSpec, load_registry, read_baseline_file
from harness.runner import Options
from harness.submission.awkward import Asker, awkward_questions, plain_question
from harness.submission.look import Finding, Verdict, look_at
from harness.task import SCALES, Case, Scale

if TYPE_CHECKING:
    from harness.record import Record

BUDGET_S = 40.0
"""Wall time after which no further cell of the smoke cases is started."""
ASK_S = 20.0
"""Seconds that an awkward question may take."""
RUN_S = 60.0
"""Seconds that the question as it is may take."""
_OUTPUT_LINES = 6


def check(path: Path, seconds: float = BUDGET_S) -> Iterator[Finding]:
    """Everything, cheapest first, as it is found. Ends early where the rest could say nothing."""
    registry = load_registry()
    try:
        rows = read_baseline_file(path, registry.tasks)
        task = registry.tasks[rows[0].task]
        seen = look_at(path, task, rows)
    except UsageError as error:
        yield Finding("interface", "failed", str(error), "mend it, and check again")
        return
    except RecursionError:
        yield Finding("interface", "failed", f"{path}: a declaration nests too deeply", "write a plain literal")
        return
    yield from seen
    taken = {r.name: r for r in registry.rows(task) if r.path != path.resolve()}
    for row in rows:
        if row.name in taken:
            yield Finding("names", "warning", f"the row {row.name} is there already", "name it otherwise in `variants`")
    cell = smallest(task, rows)
    if cell is None:
        yield Finding("smoke", "failed", "takes part in no case", "`takes`, `cases` and `scale` leave nothing over")
        return
    if cell[0].blocked:
        yield Finding("smoke", "failed", cell[0].blocked[1], "the rest of the checks needs it to run here")
        return
    yield from _run_checks(path, task, rows, *cell, {r.name for r in registry.rows(task)}, seconds)


def smallest(task: TaskSpec, rows: Sequence[BaselineSpec]) -> tuple[Cell, Scale] | None:
    """A cell of the first case that these rows take part in, at the smallest scale at which they do."""
    order = {case.name: place for place, case in enumerate(task.cases)}
    for scale in SCALES:
        try:
            cells = cells_of(Request([task], {task.name: rows}, scale, seeds=[0]))
        except NothingMatched:
            continue
        return min(cells, key=lambda cell: (cell.repeat, order[cell.case.name])), scale
    return None


def _run_checks(
    path: Path, task: TaskSpec, rows: Sequence[BaselineSpec], cell: Cell, scale: Scale, known: set[str], seconds: float
) -> Iterator[Finding]:
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="harness-check-") as folder:
        names = [str(path), *(name for name in (ORACLE, "random") if name in known)]
        records, left = _run(task, names, cell.case, scale, Path(folder, "results"), seconds)
        own = [r for r in records if r.baseline.file == path.name and r.kind == "cell" and not r.repeat]
        yield from _smoke(task, cell.case, scale, own, left, len(rows))
        answered = [r for r in own if r.status == "ok"]
        if not answered:
            return
        yield from _controls(task, records, answered)
        scratch = Path(folder, "asked")
        scratch.mkdir()
        request = Request([task], {task.name: rows}, scale, device="cpu", threads=default_threads())
        mine = [row for row in rows if row.name in {r.baseline.name for r in answered}]
        try:
            with Asker(request, cell.case, scratch) as asker:
                yield from _determinism(asker, mine, begun + seconds)
                yield from _bad_inputs(asker, mine[0])
        except HarnessError as error:
            yield Finding("bad inputs", "warning", f"could not be asked: {error}")


def _run(
    task: TaskSpec, names: Sequence[str], case: Case, scale: Scale, results: Path, seconds: float
) -> tuple[list[Record], int]:
    """Records of a run of one case and draw, and how many cells did not fit the time."""
    options = Options(timeout_s=max(seconds, 30.0), search=False, budget_s=seconds)
    runner, request = make_run(
        task.name, names, escape(case.name), scale, [0], "cpu", default_threads(), results, options
    )
    summary = runner.run(request)
    if summary.interrupted:
        raise KeyboardInterrupt
    return records_of(summary), summary.left


def _smoke(
    task: TaskSpec, case: Case, scale: Scale, own: Sequence[Record], left: int, n_rows: int
) -> Iterator[Finding]:
    for status in ("ok", "unsupported", "failed", "timeout", "oom", "killed", "skipped"):
        of = [r for r in own if r.status == status]
        if not of:
            continue
        names = ", ".join(r.baseline.name for r in of[:4]) + (" ..." if len(of) > 4 else "")
        if status == "ok":
            text = f"{case.name} of {task.name}: {len(of)} of {n_rows} rows answered ({names})"
            yield Finding("smoke", "ok", text, "" if scale == "smoke" else f"it takes part at --scale {scale} only")
            continue
        tail = "\n".join(of[0].output_tail.strip().splitlines()[-_OUTPUT_LINES:])
        verdict: Verdict = "warning" if status == "unsupported" else "failed"
        yield Finding("smoke", verdict, f"{names}: {status}: {of[0].reason}", tail)
    if left:
        again = shlex.join(["harness", "run", "--task", task.name, "--scale", scale])
        yield Finding("smoke", "warning", f"{left} cells did not fit the time", f"all of them: {again} --baseline FILE")
    if not own:
        yield Finding("smoke", "failed", f"no row answered {case.name} in the time", "run it without a limit first")
    loaded = sorted({name for r in own for name in r.provenance.sources_mismatch})
    if loaded:
        yield Finding(
            "smoke", "failed", f"it loaded {', '.join(loaded)}, which its source does not show that it imports",
            "import neighbours by name (`import helper`), so that a change in them counts as a change of the method",
        )  # fmt: skip


def _controls(task: TaskSpec, records: Sequence[Record], answered: Sequence[Record]) -> Iterator[Finding]:
    """random < method <= oracle."""
    main = task.main_score
    sign = 1 if main.higher_is_better else -1
    values = {r.baseline.name: s for r in records if r.status == "ok" and (s := r.score(main.name))}
    low, best = values.get("random"), values.get(ORACLE)
    ceiling = best.value if best else main.best
    shown = []
    for record in answered:
        score = values.get(record.baseline.name)
        if score is None:
            continue
        shown.append(f"{record.baseline.name} {score.value:.4g}")
        if ceiling is not None and sign * (score.value - ceiling) > 1e-9:
            yield Finding(
                "controls", "failed", f"{record.baseline.name}: {main.name} {score.value:.4g} is better than the best "
                f"possible, {ceiling:.4g}", "an error of the task, or an answer that did not come from the question",
            )  # fmt: skip
        elif low and sign * (score.value - low.value) <= 0:
            yield Finding(
                "controls", "warning", f"{record.baseline.name}: {main.name} {score.value:.4g} is no better than "
                f"random, {low.value:.4g}", "look for ids that are shifted, or a sign that is turned",
            )  # fmt: skip
    ends = [f"random {low.value:.4g}" if low else "", *shown, f"oracle {ceiling:.4g}" if ceiling is not None else ""]
    yield Finding("controls", "ok", f"{main.name}: {', '.join(filter(None, ends))}")


def _determinism(asker: Asker, rows: Sequence[BaselineSpec], until: float) -> Iterator[Finding]:
    if not rows[0].deterministic:
        yield Finding("determinism", "ok", "the file does not say that it is deterministic, so it need not be")
        return
    same: list[str] = []
    differing: list[str] = []
    for row in rows:
        if (same or differing) and time.monotonic() > until:
            break
        plain = plain_question(asker.draw, row.cost == "heavy")
        answers = {asker.ask(row, plain, RUN_S).digest for _ in range(2)}
        (same if len(answers) == 1 else differing).append(row.name)
    if differing:
        yield Finding(
            "determinism", "failed", f"two runs with one seed answer differently: {', '.join(differing)}",
            "draw from `self.context.seed` alone, and use no clock; or declare deterministic = False",
        )  # fmt: skip
    else:
        yield Finding("determinism", "ok", f"two runs answered the same, to the bit ({', '.join(same)})")


def _bad_inputs(asker: Asker, row: BaselineSpec) -> Iterator[Finding]:
    good = []
    for asked in awkward_questions(asker.draw, row.cost == "heavy", asker.task.in_parts):
        status, reason, _ = asker.ask(row, asked, ASK_S)
        if status in ("ok", "unsupported"):
            good.append(asked.what)
            continue
        hung = status == "timeout"
        yield Finding(
            "bad inputs", "failed" if asked.whole or hung else "warning",
            f"{asked.what}: {f'it took more than {ASK_S:g} s' if hung else reason}",
            "answer in the same shape as ever, or raise harness.task.Unsupported with the reason",
        )  # fmt: skip
        if hung:
            return
    if good:
        yield Finding("bad inputs", "ok", f"{row.name} got on with {', '.join(good)}")
    else:
        yield Finding("bad inputs", "ok", "its questions hold neither texts nor vectors that could be awkward")
