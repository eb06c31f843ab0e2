"""The overview: the tasks side by side, what each asks and who holds longest. There is no score over all tasks."""

from __future__ import annotations

from collections import Counter

from harness.board.board import Entry, TaskPage
from harness.board.site.best import MOST_NAMES, Best, best_of
from harness.board.site.escaping import html, line
from harness.board.site.shell import Frame, page, section, table
from harness.board.site.tables import ordered
from harness.board.site.words import all_retracted, state, trust_legend


def index_page(frame: Frame, machines: dict[str, str]) -> str:
    """`machines` say in words what a fingerprint stands for."""
    board = frame.board
    rows = [e for t in board.tasks for _, e in ordered(t)]
    families = len({t.family for t in board.tasks})
    facts = [
        (len(board.tasks), f"tasks in {families} families"),
        (len({e.row.baseline for e in rows}), "methods and settings"), (len(rows), "results"),
        (len(board.records), "records"), (len(machines), "machine class" + "es" * (len(machines) != 1)),
    ]  # fmt: skip
    lead = (
        "<h1>Where learned representations break</h1>"
        '<p class="lead">How few dimensions, which index, how long a sequence, how few bytes: each task stretches one '
        "thing until methods fail, and says where that is, how sure it is, and what it costs. "
        "Tasks are not added up into one score.</p>"
        f'<ul class="facts">{"".join(f"<li><b>{n:,}</b> {html(what)}</li>" for n, what in facts)}</ul>'
    )
    cards = "".join(_card(frame, task) for task in board.tasks)
    body = (
        lead + f'<div class="cards">{cards}</div>' + section("reading", "How to read this", _reading())
        + section("machines", "Machines", _machines(machines), "Scores compare across machines, costs only within one.")
        + section("retractions", "Retracted records", _retractions(frame), "They stay visible and count no more.")
        + section("broken", "Files that hold no valid record", _broken(frame))
    )  # fmt: skip
    return page(frame, "Overview", body, here="index")


def _card(frame: Frame, task: TaskPage) -> str:
    link = f"task/{frame.links.tasks[task.name]}.html"
    entries = [e for _, e in ordered(task)]
    lines = "".join(_line(frame, best) for best in best_of(task))
    words = "".join(f"<li>{line(sentence, 260)}</li>" for sentence in _telling(task))
    return (
        f'<article class="card"><h2><a href="{link}">{line(task.name)}</a> <span class="version">version {task.version}'
        f'</span></h2><p class="asks">{line(task.summary)}</p>'
        + (f'<ul class="advice">{words}</ul>' if words else "")
        + (f'<table class="best"><caption class=unseen>Best known of {line(task.name)}</caption><thead class=unseen>'
           '<tr><th scope="col">On</th><th scope="col">First</th><th scope="col">Found</th></tr></thead>'
           f"<tbody>{lines}</tbody></table>" if lines else "")
        + f'<p class="counts">{_counts(task, entries)}</p></article>'
    )  # fmt: skip


def _telling(task: TaskPage) -> list[str]:
    """Advice for the case that has most of it."""
    cases = Counter(s.partition(":")[0] for s in task.advice)
    first = max(cases, key=lambda c: (cases[c], c), default="")
    return [s for s in task.advice if s.partition(":")[0] == first][:2]


def _line(frame: Frame, best: Best) -> str:
    named = ", ".join(_named(frame, row) for row in best.rows[:MOST_NAMES])
    if len(best.rows) > MOST_NAMES:
        named += f" and {len(best.rows) - MOST_NAMES} more"
    says = f' <span class="faint">{html(best.says)}</span>' if best.says else ""
    ends = f' <span class="ci">{html(best.interval)}</span>' if best.interval else ""
    return (f'<tr><th scope="row">{line(best.what, 110)}</th><td>{named}{says}</td>'
            f'<td class="num">{line(best.value, 60)}{ends}</td></tr>')  # fmt: skip


def _named(frame: Frame, row: str) -> str:
    name = frame.links.baselines.get(row)
    return f'<a href="baseline/{name}.html">{line(row, 40)}</a>' if name else line(row, 40)


def _counts(task: TaskPage, entries: list[Entry]) -> str:
    states = Counter(state(e) for e in entries)
    parts = [f"{len(task.cases)} cases", f"{len(entries)} results"]
    parts += [f"{n} {name}" for name, n in sorted(states.items()) if name != "ok"]
    touched = sum(bool(e.retracted) and not all_retracted(e) for e in entries)
    parts += [f"{touched} with a retracted record"] if touched else []
    return html(" \u00b7 ".join(parts))


def _reading() -> str:
    return f"<dl class=reading>{''.join(f'<dt>{what}</dt><dd>{says}</dd>' for what, says in _READING)}</dl>"


_READING = (
    ("[low, high]", "95 % interval over draws, or within the draw where there is one."),
    ("Rank 3\u20137", "The ranks that cannot be excluded, all rows taken together. The unit of every test is the draw "
     "or the training seed, never the query; with fewer than six in common the answer is <i>not resolved</i>."),
    ("Latency, memory", "Always of one machine class, named beside them; <b>~</b> where the machine's speed moved "
     "while a row was timed. Costs of different machines are not compared."),
    ("\u25c6 front", "No other row of the same case, device and machine is better in score, latency and memory at "
     "once."),
    ("Status", "Failed, timed out, out of memory, unsupported: results as well, shown with their reason."),
    ("Trust", trust_legend()),
)  # fmt: skip


def _machines(machines: dict[str, str]) -> str:
    rows = [[f"<code>{line(name)}</code>", line(says)] for name, says in sorted(machines.items())]
    return table(["Fingerprint", "Machine"], rows, "Machines") if rows else ""


def _retractions(frame: Frame) -> str:
    rows = []
    for one in sorted(frame.board.retractions, key=lambda r: (r.at, r.record)):
        name = frame.links.records.get(one.record)
        shown = f"<s><code>{line(one.record, 60)}</code></s>"
        rows.append(
            [f'<a href="record/{name}.html">{shown}</a>' if name else shown, line(one.reason), line(one.at, 20)]
        )
    return table(["Record", "Reason", "When"], rows, "Retracted records") if rows else ""


def _broken(frame: Frame) -> str:
    rows = [[f"<code>{line(path, 200)}</code>", line(why, 300)] for path, why in sorted(frame.board.broken)]
    return table(["File", "Why"], rows, "Files that hold no valid record") if rows else ""
