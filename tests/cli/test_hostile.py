"""Strings of strangers on the terminal, in Markdown, CSV and LaTeX: shown, and nothing that they say is done."""

from __future__ import annotations

import csv
import io
import random
import re
from collections.abc import Callable

import pytest

from harness.cli.show import print_rows
from harness.compare import compare
from harness.record import Record
from harness.table import Row, rows_of
from harness.text import cell, plain

PARTS = [
    "\x1b[2J", "\x1b]0;owned\x07", "\x1b]8;;http://evil\x1b\\", "\x9b31m", "\r", "\n", "\x00", "\x08\x08", "\u202e",
    "\u2066", "\u2028", "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "</td><td>", "[x](javascript:a)",
    "![](http://evil)", "`rm -rf /`", "|", "||", "$(id)", "; id #", "=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "-2+3",
    "\\input{/etc/passwd}", "\\write18{id}", "%", "${HOME}", "{{7*7}}", "'", '"', "&lt;", "name", "\t=1", "\U0001f600",
]  # fmt: skip
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029]")


def hostile() -> list[str]:
    draw = random.Random(6)
    return ["".join(draw.choices(PARTS, k=draw.randint(1, 4))) + str(i) for i in range(1000)]


@pytest.fixture
def rows(made_record: Callable[..., Record]) -> list[Row]:
    records = [
        made_record(text, None if i % 2 else 0.5, reason=text, notes=[text], output_tail=text, baseline__file=text)
        for i, text in enumerate(hostile())
    ]
    return rows_of(records)


def test_no_terminal_obeys_what_is_printed(rows: list[Row], capsys: pytest.CaptureFixture[str]) -> None:
    print_rows(rows)
    out = capsys.readouterr().out
    assert "owned" in out and not CONTROLS.search(out)


def test_markdown_holds_no_html_no_link_and_no_further_column(
    rows: list[Row], capsys: pytest.CaptureFixture[str]
) -> None:
    print_rows(rows, "md")
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert len(lines) == len(rows) + 2
    columns = {len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in lines}
    assert len(columns) == 1, "a bar in a name makes no column"
    text = "\n".join(lines)
    assert "alert" in text and "<" not in text and "](" not in text and not CONTROLS.search(text)


def test_no_spreadsheet_computes_what_is_exported(rows: list[Row], capsys: pytest.CaptureFixture[str]) -> None:
    print_rows(rows, "csv")
    lines = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert {len(line) for line in lines} == {len(lines[0])} and len(lines) == len(rows) + 1
    texts = [lines[0].index(name) for name in ("case", "baseline", "reason")]
    assert not [line[i] for line in lines[1:] for i in texts if line[i][:1] in "=+-@\t\r" and line[i]]


def test_no_typesetter_runs_what_it_sets(rows: list[Row], capsys: pytest.CaptureFixture[str]) -> None:
    print_rows(rows, "latex")
    out = capsys.readouterr().out
    body = "\n".join(line for line in out.splitlines() if line.lstrip() and not line.startswith("%"))
    assert "input" in body and not re.search(r"\\(input|write|include|def|csname)\b", body)
    assert not re.search(r"(?<!\\)[%$#~^]", body), "every special character is escaped"


def test_a_comparison_prints_names_as_they_stand(made_record: Callable[..., Record]) -> None:
    from harness.cli.compare import _print

    found = compare([made_record("\x1b[2Jone", 0.5)], [made_record("[bold]two", None, reason="\x1b]0;x\x07")])
    _print(found)  # no markup is read, none is an error
    assert plain("a\x1b[31m\x7f\x9b\u202eb") == "a\u241b[31m\u2421<U+009B><U+202E>b"
    assert cell("a|b\n[x](y)<i>") == "a\\|b [x]\\(y)&lt;i>"
