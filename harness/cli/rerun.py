"""`harness rerun RECORD`: repeat one record, as it was."""

from __future__ import annotations

import argparse
from dataclasses import replace

from harness import paths


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("record", help="a record's file, its id, or the beginning of its id")
    parser.add_argument("--results", default=str(paths.DEFAULT_RESULTS), metavar="DIR",
        help=f"where the record is looked for and the new one written (default: {paths.DEFAULT_RESULTS})")  # fmt: skip
    parser.add_argument(
        "--baseline", default="", metavar="PATH.py", help="the file of a baseline that is not installed"
    )
    parser.add_argument("--data", default="", metavar="PATH", help="the data of a record that was made with --data")
    parser.add_argument("--queries", default="", metavar="PATH", help="its queries, if it was made with --queries")
    parser.add_argument("--json", action="store_true")


def execute(options: argparse.Namespace) -> int:
    """Run the record's cell again, and say whether the scores are the same."""
    from harness.api import load_record, make_run
    from harness.cli import progress
    from harness.errors import UsageError
    from harness.pins import plain_name
    from harness.runner import Options
    from harness.store import Store

    old = load_record(Store(options.results).find(options.record))
    if old.kind == "prepare":
        raise UsageError("that record is a shared preparation; rerun one of the rows that use it")
    reporter = progress.choose(options.json)
    said = {"queries": options.queries, "metric": str(old.case.params.get("metric", ""))} if options.data else {}
    data_options = {name: value for name, value in said.items() if value}
    settings = Options(
        jobs=1, timeout_s=old.timeout_s, memory_limit_bytes=old.memory_limit_bytes, force=True, data=options.data,
        data_options=data_options, search=False,
    )  # fmt: skip
    pins = old.baseline.pinned.requirements if old.baseline.pinned else []
    name = options.baseline or plain_name(old.baseline.name, pins)
    runner, request = make_run(
        old.task.name, [name], old.case.name, "full", [old.seed], old.device,
        old.threads, options.results, settings, reporter,
        [",".join(pins)] if pins else [],
    )  # fmt: skip
    task = request.tasks[0]
    for what, then, now in (("task version", old.task.version, task.version),
                            ("baseline's source", old.baseline.source_digest,
                             request.rows[task.name][0].source_digest)):  # fmt: skip
        if then != now:
            reporter.note(f"the {what} has changed since that record ({then} -> {now}): this is not the same cell")
    from harness.task import Case

    # the case as it was recorded, for those that a search asked for and the task does not declare
    if request.data_cases is None:
        request = replace(
            request,
            data_cases={task.name: [Case(old.case.name, old.case.params, within=old.case.within)]},
            case_glob="",
        )
    with reporter:
        summary = runner.run(request)
    reporter.close(summary)
    if summary.interrupted:
        return 130
    new = next(r for r in summary.records if r.kind != "prepare")
    same = [s.value for s in old.scores] == [s.value for s in new.scores] or old.repeat > 0
    if not options.json:
        print(f"{old.id} {old.status} -> {new.id} {new.status}")
        for before in old.scores:
            after = new.score(before.name)
            print(f"  {before.name}: {before.value!r} -> {after.value if after else None!r}")
        print("the same to the last bit" if same and old.status == new.status else "not the same")
    return 0 if old.status == new.status else 1
