"""`harness show --format latex`: a table that LaTeX prints as it stands, whatever the names in it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cli import main
from harness.cli.forms import escaped, latex, sheets
from harness.cli.show import print_rows
from harness.store import Store
from harness.table import Row

PLAIN = Row(
    "limit/retrieval", 1, "46-dense", "bm25", "ok", "", "recall@2", 0.984, (0.979, 0.989), 3, None, device="cpu"
)
COMMANDS = re.compile(
    r"\\(?:textbackslash|textasciitilde|textasciicircum|textasciigrave|textless|textgreater|textbar|textquotedbl)\{\}"
    r"|\\[&%$#_{}]|\{\}"
)
HOSTILE = [
    "100%", "a_b", "x & y", "#1", "$HOME", "{", "}", "~/x", "^2", "a\\b", r"\input{/etc/passwd}", r"\\",
    "%\n\\end{table}", "a\nb", "\x00\x1b[31m", "[1ex]", "*", "--with", "a|b", "<x>", '"q"', "`id`", "Ω", "", "x\\",
    r"\end{tabular}",
]  # fmt: skip


def table(*rows: Row) -> str:
    (sheet,) = sheets(rows)
    return latex(sheet)


def lines_of(text: str) -> list[str]:
    """The rows between the rules."""
    return [line.strip() for line in text.partition(r"\midrule")[2].partition(r"\bottomrule")[0].strip().splitlines()]


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("50 % of a_b & c#d", r"50 \% of a\_b \& c\#d"), ("$x^2$", r"\$x\textasciicircum{}2\$"),
        ("{~}", r"\{\textasciitilde{}\}"), ("a\\b", r"a\textbackslash{}b"), ("two\nlines", "two lines"),
        ("a--b---c", "a-{}-b-{}-{}-c"), ("recall@2 [95 %]", r"recall@2 [95 \%]"),
    ],
)  # fmt: skip
def test_special_characters_are_printed_as_they_are(text: str, printed: str) -> None:
    assert escaped(text) == printed


@given(st.text() | st.lists(st.sampled_from(HOSTILE)).map("".join))
def test_nothing_in_a_text_is_a_command_a_comment_or_a_break(text: str) -> None:
    left = COMMANDS.sub("", escaped(text))
    assert not set(left) & set("\\{}%&$#_^~\n\r\x00")
    assert "--" not in escaped(text), "two hyphens would be a dash"


@pytest.mark.parametrize("name", HOSTILE)
def test_a_row_of_any_name_stays_one_row_of_as_many_cells(name: str) -> None:
    text = table(replace(PLAIN, baseline=name, case=name, reason=name, about={name: name}), Row(
        PLAIN.task, 1, name, "other", "failed", name + "\nmore", "", None, None, 0, None))  # fmt: skip
    first, second = lines_of(text)
    columns = len(re.search(r"\\begin\{tabular\}\{(\w+)\}", text)[1])  # type: ignore[index]
    for line in (first, second):
        assert line.endswith(r"\\") and len(re.findall(r"(?<!\\)&", COMMANDS.sub("", line))) == columns - 1
        assert not re.match(r"[\[*]", line), "the rule above would take it for its argument"
    assert [c for c in text.splitlines() if "end{table}" in c] == [r"\end{table}"]
    assert re.search(r"\\label\{tab:[A-Za-z0-9-]+\}", text)


def test_the_best_score_is_bold_and_so_are_all_that_print_the_same() -> None:
    rows = [replace(PLAIN, baseline=n, score=s) for n, s in (("a", 0.9841), ("b", 0.9839), ("c", 0.983))]
    a, b, c = lines_of(table(*rows))
    assert r"\textbf{0.984} [0.979, 0.989]" in a and r"\textbf{0.984}" in b and "textbf" not in c


def test_where_less_is_better_the_least_is_bold() -> None:
    rows = [replace(PLAIN, baseline=n, score=s, higher_is_better=False) for n, s in (("a", 3.0), ("b", 2.0))]
    a, b = lines_of(table(*rows))
    assert "textbf" not in a and r"\textbf{2}" in b


def test_a_control_or_a_row_that_missed_a_gate_is_not_the_best() -> None:
    rows = [replace(PLAIN, baseline="oracle", score=1.0, kind="control"),
            replace(PLAIN, baseline="lucky", score=0.99, unranked="not trained: in_distribution 0.41, 0.95 needed"),
            PLAIN]  # fmt: skip
    oracle, lucky, plain = lines_of(table(*rows))
    assert "textbf" not in oracle + lucky and r"\textbf{0.984}" in plain
    assert r"(not trained: in\_distribution 0.41, 0.95 needed)" in lucky


def test_a_failed_row_is_kept_with_its_reason() -> None:
    failed = replace(PLAIN, baseline="broken", status="failed", reason="ValueError: 50% of x_y\nand more", score=None)
    first, second = lines_of(table(PLAIN, failed))
    assert second.startswith(r"broken & failed: ValueError: 50\% of x\_y &") and "and more" not in second
    assert "textbf" in first
    assert "textbf" not in table(failed)


def test_every_case_has_a_table_and_what_is_no_table_is_a_comment(capsys: pytest.CaptureFixture[str]) -> None:
    family = [replace(PLAIN, baseline=f"m-d{d}", score=s, interval=(s, s), params={"dimension": d}, best=1.0)
              for d, s in ((8, 0.2), (16, 0.95))]  # fmt: skip
    print_rows([*family, replace(PLAIN, case="other")], "latex")
    out = capsys.readouterr().out
    assert out.count(r"\begin{table}") == out.count(r"\end{table}") == out.count(r"\toprule") == 2
    outside = re.sub(r"\\begin\{table\}.*?\\end\{table\}", "", out, flags=re.DOTALL)
    said = [line for line in outside.splitlines() if line]
    assert all(line.startswith("%") for line in said) and any("m reaches recall@2 of 0.9" in line for line in said)
    assert "booktabs" in said[0]


def test_show_prints_it(made_record, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for record in (made_record("my_method", 0.75), made_record("other", 0.5), made_record("broken", None)):
        Store(tmp_path).add(record)
    assert main(["show", "--format", "latex", "--results", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert r"\caption{limit/retrieval (version 1), case 46-dense}" in out and r"my\_method & \textbf{0.750} &" in out
    assert r"broken & failed: it broke &" in out and out.rstrip().endswith(r"\end{table}")
