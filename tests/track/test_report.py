"""What is said about a night: what changed, since when, how sure that is, and what to type."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cli import main
from harness.errors import NothingMatched
from harness.text import plain
from harness.track.findings import Check, Finding, Note
from harness.track.plot import sparkline
from harness.track.report import Report, read_kept, report_of
from harness.track.telling import MOST_BYTES, MOST_TITLE, as_issue, as_text

HOSTILE = (
    "@everyone",
    "fixes #1, owner/repo#2",
    "<script>alert(1)</script>",
    "![x](http://evil.example/x.png)",
    "[x](javascript:alert(1))",
    "```\n# out\n```",
    "`` ` `` ~~~",
    "http://evil.example www.evil.example",
    "| a | b |",
    "# heading\n\n---\n\n* list",
    "<!-- hidden --> &lt;b&gt;",
    "\x1b[31mred\x1b[0m\x1b]0;title\x07",
    "\u202egnp.exe\u2066",
    "$(touch owned) `touch owned`; touch owned",
    "-rf 'quoted' \"twice\"",
)


def told(made: Any, findings: list[Finding], **otherwise: Any) -> Report:
    made.check(findings, **otherwise)
    return report_of(made.kept, made.last)


# --- which night -----------------------------------------------------------------------------------------------------


def test_the_newest_night_is_told_and_another_by_the_beginning_of_its_name(made_history: Any) -> None:
    where, third = (made_history.root, made_history.machine), made_history.nights[2]
    assert list(read_kept(*where).nights) == made_history.nights
    assert list(read_kept(*where, third.id[:8]).nights) == made_history.nights[:3]
    with pytest.raises(NothingMatched, match=re.escape(made_history.last.id)):
        read_kept(*where, "2031")
    with pytest.raises(NothingMatched, match="several nights begin"):
        read_kept(*where, "2026")


def test_of_a_long_history_only_the_last_nights_are_read_and_what_is_open_from_before_is_known_all_the_same(
    made_history: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.track.report.MOST_NIGHTS", 5)
    made_history.check([made_history.finding()], made_history.nights[40])
    kept = made_history.kept
    assert list(kept.nights) == made_history.nights[-5:]
    (still,) = report_of(kept, made_history.last).still
    assert still.night == made_history.nights[40].id


def test_a_night_that_was_not_checked_is_told_as_that_and_not_as_fine(made_history: Any) -> None:
    report = report_of(made_history.kept, made_history.last)
    assert report.state == "not checked" and "harness track check" in as_text(report)
    assert "othing regressed" not in as_text(report)


def test_a_quiet_night_is_one_of_few_lines(made_history: Any) -> None:
    report = told(made_history, [])
    assert report.title.startswith("Nothing regressed") and len(as_text(report).splitlines()) < 10


def test_a_night_that_was_checked_again_is_told_as_it_was_checked_last(made_history: Any) -> None:
    made_history.check([made_history.finding()], checked="2026-03-04T06:00:00Z")
    report = told(made_history, [], checked="2026-03-04T07:00:00Z")
    assert report.state == "fine" and report.groups == []


def test_an_earlier_night_is_told_by_what_was_known_then(made_history: Any) -> None:
    night = made_history.nights[30]
    made_history.check([made_history.finding()], night)
    (group,) = report_of(made_history.kept, night).groups
    assert [past.night for past in group.told[0].past] == [n.id for n in made_history.nights[:31]]


# --- what is said ----------------------------------------------------------------------------------------------------


def test_a_regression_has_its_commits_its_effect_its_interval_its_evidence_and_its_commands(made_history: Any) -> None:
    finding = made_history.finding()
    text = as_text(told(made_history, [finding]))
    assert f"since {finding.good[:12]}..{finding.bad[:12]}" in text and "Make the search slower" in text
    assert "46-dense latency/query: +21 % [+18 %, +24 %], 16 pairs of re-runs, p = 1.5e-05" in text
    assert "12 ms before, 14.6 ms that night" in text and "40 nights" in text
    words = ["--task", "limit/retrieval", "--baseline", "bm25", "--case", "46-dense"]
    assert shlex.join(["harness", "track", "compare", finding.good[:12], finding.bad[:12], *words]) in text
    assert f"git bisect start {finding.bad[:12]} {finding.good[:12]} && git bisect run" in text


def test_the_command_that_the_check_kept_is_the_one_that_is_told(made_history: Any) -> None:
    report = told(made_history, [made_history.finding(command="harness track compare a b --pairs 16")])
    assert report.groups[0].again == "harness track compare a b --pairs 16"


def test_findings_of_one_row_stand_together_the_gravest_first(made_history: Any) -> None:
    find = made_history.finding
    score = {"unit": "", "value": 0.77, "before": 0.8, "effect": -0.03, "low": -0.04, "high": -0.02,
             "higher_is_better": True, "layer": "items"}  # fmt: skip
    report = told(made_history, [
        find("tfidf", effect=1.07), find("bm25", effect=1.1), find("bm25", "time/search", effect=1.4),
        find("bm25", "score/recall@2", **score), find("lsa-64", "status", effect=None, low=None, high=None, p=None),
        find("lsa-64", "memory/peak", effect=1.2),
    ])  # fmt: skip
    assert [(g.row, [t.finding.metric for t in g.told]) for g in report.groups] == [
        ("lsa-64", ["status", "memory/peak"]),
        ("bm25", ["score/recall@2", "time/search", "latency/query"]),
        ("tfidf", ["latency/query"]),
    ]
    assert "1 broken, 1 less accurate, 2 slower, 1 larger" in report.title
    assert "score/recall@2: -0.03 [-0.04, -0.02]" in as_text(report)


def test_what_was_cleared_or_is_inconclusive_is_never_told_as_regressed(made_history: Any) -> None:
    find = made_history.finding
    report = told(made_history, [find(verdict="cleared", effect=1.01), find("tfidf", verdict="inconclusive"),
                                 find("lsa-64", verdict="not re-run", effect=None)])  # fmt: skip
    text = as_text(report)
    assert [g.verdict for g in report.groups] == ["inconclusive", "not re-run", "cleared"]
    assert "Regressed" not in text and report.title.startswith("Nothing regressed")
    assert "tfidf of limit/retrieval: slower?" in text and "cleared by re-runs: 1 number" in text


def test_where_to_look_follows_from_the_files_that_changed(made_history: Any) -> None:
    report = told(made_history, [made_history.finding("bm25"), made_history.finding("tfidf")])
    causes = {group.row: group.cause for group in report.groups}
    assert causes["bm25"] == "its own files or its task's changed"
    assert "did not change" in causes["tfidf"] and "the harness" in causes["tfidf"]


def test_the_limit_is_the_one_that_was_used_and_other_contexts_are_told_apart(made_history: Any) -> None:
    find = made_history.finding
    report = told(made_history, [find(), find(metric="time/search", layer="drift")])
    night, drift = report.groups[0].told
    same = [p.value for p in night.past if p.same]
    assert len(night.past) == 60 and len(same) == 45
    assert night.limit == 12.6e6 and same[-1] > night.limit
    assert drift.limit is None


def test_commits_between_are_asked_for_with_the_ends_of_each_finding(made_history: Any) -> None:
    made_history.check([made_history.finding(good="a" * 40, bad="b" * 40), made_history.finding("tfidf")])
    between = {("a" * 40, "b" * 40): ["b" * 12 + " Slower"]}
    report = report_of(made_history.kept, made_history.last, lambda good, bad: between.get((good, bad), ()))
    commits = {group.good[:1]: group.commits for group in report.groups}
    assert commits.pop("a") == ["b" * 12 + " Slower"]
    (others,) = commits.values()
    assert others[0].endswith("Make the search slower"), "what the check kept, where they lie between the last nights"


def test_a_slow_harness_is_told_as_one_cause_and_not_as_two_hundred(made_history_of: Callable[..., Any]) -> None:
    names = tuple(f"row-{n:02}" for n in range(50))
    made = made_history_of(nights=20, names=("changed", *names))
    metrics = ("latency/query", "time/index", "time/search", "memory/peak")
    ends = {"good": made.nights[-2].commit, "bad": made.last.commit}
    report = told(made, [made.finding(name, metric, **ends) for name in names for metric in metrics])
    text, issue = as_text(report), as_issue(report)
    assert "50 rows of 1 task; 150 of 200 findings are `slower`" in report.common
    assert "in 50 of 50 neither the row's nor the task's files changed" in report.common and report.common in text
    assert "200 numbers of 50 rows" in text and "and 45 more rows" in text and len(text.splitlines()) < 100
    assert len(issue.encode()) < MOST_BYTES and report.common in issue
    again = Report.model_validate_json(report.model_dump_json())
    assert again == report and sum(len(group.told) for group in again.groups) == 200


def test_few_rows_have_no_cause_in_common(made_history: Any) -> None:
    assert told(made_history, [made_history.finding("tfidf"), made_history.finding("lsa-64")]).common == ""


# --- what is still open ----------------------------------------------------------------------------------------------


def test_an_earlier_regression_is_open_until_it_is_as_before(made_history: Any) -> None:
    night = made_history.nights[40]
    made_history.check([
        made_history.finding("bm25", value=14.6e6, before=12e6),
        made_history.finding("tfidf", value=14.6e6, before=12e6),
    ], night)  # fmt: skip
    made_history.check([])
    still = report_of(made_history.kept, made_history.last).still
    assert [(one.finding.row, one.night) for one in still] == [("bm25", night.id)]
    assert "found 20260213" in as_text(report_of(made_history.kept, made_history.last))
    before = report_of(made_history.kept, made_history.nights[39])
    assert before.still == [], "it was not known then"


def test_what_is_told_tonight_is_not_told_again_as_open_and_what_was_cleared_since_is_not_open(
    made_history: Any,
) -> None:
    made_history.check([made_history.finding()], made_history.nights[40])
    assert told(made_history, [made_history.finding(verdict="cleared")]).still == []
    assert told(made_history, [made_history.finding()], checked="2027").still == []


def test_a_cell_that_broke_is_open_while_it_does_not_answer(made_history: Any) -> None:
    made_history.check([made_history.finding(metric="status", value=None, before=None)], made_history.nights[40])
    assert report_of(made_history.kept, made_history.last).still == [], "it is ok again"


# --- what to type ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "decides"), [(0, 0), (1, 1), (2, 125), (3, 125), (5, 125), (6, 125), (130, 125)])
def test_bisecting_skips_what_decides_nothing(made_history: Any, code: int, decides: int) -> None:
    report = told(made_history, [made_history.finding()])
    words = shlex.split(report.groups[0].bisect)
    script = words[words.index("-c") + 1]
    compared = script.partition(";")[0]
    assert compared.startswith("harness track compare ") and " HEAD " in compared
    done = subprocess.run(["sh", "-c", script.replace(compared, f"(exit {code})")], check=False)
    assert done.returncode == decides


def test_bisecting_finds_the_commit(made_history: Any, tmp_path: Path) -> None:
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    repo = tmp_path / "repo"
    repo.mkdir()

    def git(*words: str) -> str:
        who = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
        return subprocess.run(["git", "-C", str(repo), *who, *words], check=True, capture_output=True, text=True).stdout

    git("init", "-q", "-b", "main")
    commits = []
    for number in range(7):
        (repo / "speed").write_text(f"{'slow' if number >= 4 else 'fast'} {number}")
        git("add", ".")
        git("commit", "-qm", f"commit {number}")
        commits.append(git("rev-parse", "HEAD").strip())
    compare = tmp_path / "bin" / "harness"
    compare.parent.mkdir()
    compare.write_text("#!/bin/sh\ngrep -q 'fast 2' speed && exit 6\ngrep -q fast speed\n")  # undecided at the third
    compare.chmod(0o755)
    report = told(made_history, [made_history.finding(good=commits[0], bad=commits[-1])])
    done = subprocess.run(
        ["sh", "-c", report.groups[0].bisect], cwd=repo, capture_output=True, text=True, check=True,
        env={**os.environ, "PATH": f"{compare.parent}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert f"{commits[4]} is the first bad commit" in done.stdout


def test_there_is_nothing_to_bisect_where_no_good_commit_is_known(made_history: Any) -> None:
    assert told(made_history, [made_history.finding(good="")]).groups[0].bisect == ""


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_words_of_the_command_and_never_commands(made_history: Any, name: str) -> None:
    (group,) = told(made_history, [made_history.finding(name, case=name, good="1" * 40, bad="2" * 40)]).groups
    words = shlex.split(group.again)
    assert words[words.index("--baseline") + 1] == name and words[-1] == name and len(words) == 11
    script = shlex.split(group.bisect)[-1]
    assert shlex.split(script.partition("; code=$?")[0])[-1] == name or ";" in name


# --- an issue --------------------------------------------------------------------------------------------------------


def foreign(made: Any) -> Check:
    """A check in which every text is someone else's."""
    findings = [
        made.finding(f"{text} {number}", case=text, why=text, command=text, metric=f"latency/{text}", task=text)
        for number, text in enumerate(HOSTILE)
    ]
    notes = [Note(kind="improved", text=text) for text in HOSTILE]
    check: Check = made.check(findings, why=HOSTILE[0], notes=notes, commits=[f"{'a' * 12} {text}" for text in HOSTILE])
    return check


def test_in_an_issue_every_text_of_others_is_code(made_history: Any) -> None:
    markdown = pytest.importorskip("markdown_it")
    foreign(made_history)
    title, _, body = as_issue(report_of(made_history.kept, made_history.last)).partition("\n")
    assert 0 < len(title) <= MOST_TITLE and plain(title) == title
    tokens = markdown.MarkdownIt("commonmark").enable("table").parse(body)
    flat = [token for outer in tokens for token in [outer, *(outer.children or [])]]
    assert {t.type for t in flat} <= {
        "heading_open", "heading_close", "inline", "text", "code_inline", "fence", "paragraph_open", "paragraph_close",
        "softbreak",
    }  # fmt: skip
    said = " ".join(t.content for t in flat if t.type == "text")
    assert not re.search(r"[@#<\[]|http|www|evil|alert|touch", said), said
    code = "".join(t.content for t in flat if t.type in ("fence", "code_inline"))
    assert all(part in code for part in ("@everyone", "touch owned", "alert(1)", "evil.example")), "shown all the same"


@pytest.mark.parametrize("rows", [False, True])
def test_an_issue_is_short_enough_however_much_went_wrong(made_history: Any, rows: bool) -> None:
    long = "\u202e@<" * 300
    report = told(made_history, [
        made_history.finding(
            f"row {rows and n}", f"latency/{n % 7}", why=long, case=long, good=f"{n:040}", command=long
        )
        for n in range(400)
    ], notes=[Note(kind="improved", text=long)] * 500)  # fmt: skip
    issue = as_issue(report)
    assert 10_000 < len(issue.encode()) < MOST_BYTES
    left = re.search(r"^(\d+) further rows are left out here", issue, re.M)
    assert left and issue.count("\n### ") + int(left[1]) - ("### Besides" in issue) == 400
    assert f"harness track report --night {report.night}" in issue.splitlines()[-2]


def test_a_terminal_obeys_nothing_that_stands_in_a_report(made_history: Any) -> None:
    foreign(made_history)
    text = as_text(report_of(made_history.kept, made_history.last))
    assert plain(text) == text and "\u241b[31mred" in text
    assert "# out" not in text.splitlines(), "a line of theirs is none of ours"


# --- a line of blocks ------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(1e-3, 1e12), max_size=80))
def test_a_sparkline_has_a_block_a_value_and_higher_is_never_lower(values: list[float]) -> None:
    blocks = sparkline(values, "latency/query")
    assert len(blocks) == len(values)
    assert [b for _, b in sorted(zip(values, blocks, strict=True))] == sorted(blocks)


def test_noise_does_not_look_like_a_change() -> None:
    noise = [12e6 * (1 + 0.02 * (-1) ** n) for n in range(30)]
    blocks = sparkline(noise, "latency/query")
    assert ord(max(blocks)) - ord(min(blocks)) <= 2
    assert sparkline([*noise, 12e6 * 1.4], "latency/query")[-1] == "\u2588"


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """`harness track report` about a history."""

    def run(root: Path, *words: str) -> int:
        said = ["track", "report", "--history", str(root), "--repo", str(root.parent), *words]
        monkeypatch.setattr("sys.argv", ["harness", *said])
        return main(said)

    return run


def test_the_command_tells_the_only_machine_and_says_which(
    made_history: Any, command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    made_history.check([made_history.finding()])
    assert command(made_history.root) == 0
    out, err = capsys.readouterr()
    assert out.startswith("bm25 (limit/retrieval) slower since ") and made_history.machine in err


def test_of_several_machines_one_is_to_be_named(
    made_history: Any, made_history_of: Callable[..., Any], command: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    other = made_history_of(machine="f" * 16, nights=3)
    assert command(made_history.root) == 3
    assert "--machine: 0123456789abcdef, ffffffffffffffff" in capsys.readouterr().err
    assert command(made_history.root, "--machine", "f" * 16) == 0
    assert other.last.id in capsys.readouterr().out
    assert command(made_history.root, "--machine", "../../etc") == 2
    assert "no fingerprint" in capsys.readouterr().err


def test_without_any_night_nothing_was_measured(
    tmp_path: Path, command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(tmp_path / "none") == 3
    assert "harness track run" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["text", "json", "issue", "html"])
def test_every_form_can_go_to_a_file(
    made_history: Any, tmp_path: Path, form: str, command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    made_history.check([made_history.finding()])
    target = tmp_path / "deeper" / "report"
    assert command(made_history.root, "--format", form, "--to", str(target)) == 0
    assert capsys.readouterr().out == f"{target}\n" and "bm25" in target.read_text("utf-8")
    assert command(made_history.root, "--format", form, "--to", str(tmp_path)) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_file_that_holds_no_night_is_named(
    made_history: Any, command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    broken = made_history.root / made_history.machine / "nights" / "20270101T000000-00000000.json"
    broken.write_text("{}")
    assert command(made_history.root) == 2
    assert broken.name in capsys.readouterr().err
