"""What the workflow files may not do, and what each of them calls."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from harness.record import Record
from harness.store import Store

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
COMMANDS = re.compile(
    r"(?:\S*/)?harness .*|(?:PYTHON=\S+ )?\.ci/run|python -m venv \S+|(?:\S*/)?python -m pip install .*"
    r"|set -o pipefail|git .*|sudo apt-get (?:update|install .*)|sudo sysctl -w \S+=0|cut -z \S+ \S+|sort -zu"
    r"|xargs -0 -r -I\{\} (?:git \S+ \S+ ls-tree .*|sudo \S*/harness verify \S+)"
    r"|asv machine --yes .*|asv run .*|python tests/asv/publish\.py \S+"
    r"|cat tracking/issue\.md >> \"\$GITHUB_STEP_SUMMARY\""
    r"|echo \"::(?:notice|warning) title=[\w ]+::[^\"`$]+\"|exit \"\$CODE\""
)
LIMITS = {"nightly": 355}
"""Minutes that a job may take, where that is more than 120."""
MAY_WRITE = [("pages", "deploy", {"pages", "id-token"}), ("nightly", "issue", {"issues"})]
"""Jobs that may write anything, none of which runs code of this project."""


def read(path: Path) -> dict[Any, Any]:
    yaml = pytest.importorskip("yaml", reason="no YAML parser is installed")
    value = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(value, dict)
    return value


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in read(path)["jobs"].values() for step in job["steps"]]


def test_there_is_one_for_tests_one_for_submissions_one_for_the_page_and_one_for_every_night() -> None:
    assert {path.stem for path in FILES} >= {"tests", "submission", "pages", "nightly"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_a_workflow_has_no_secrets_and_never_runs_with_the_rights_of_the_branch_it_is_for(path: Path) -> None:
    triggers = read(path)[True]  # YAML reads `on` as a truth value
    assert "pull_request_target" not in triggers and "workflow_run" not in triggers
    text = path.read_text(encoding="utf-8")
    assert "secrets." not in text and "secrets[" not in text and "GITHUB_TOKEN" not in text


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_a_workflow_may_read_and_only_the_page_and_issues_may_be_written(path: Path) -> None:
    workflow = read(path)
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        more = job.get("permissions", {})
        assert not more or (path.stem, name, set(more)) in MAY_WRITE
        assert job["timeout-minutes"] <= LIMITS.get(path.stem, 120)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_actions_are_pinned_by_their_full_digest_and_keep_no_credentials(path: Path) -> None:
    for step in steps(path):
        if "uses" in step:
            assert re.fullmatch(r"actions/[\w-]+(?:/(?:restore|save))?@[0-9a-f]{40}", step["uses"])
            if step["uses"].startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_every_line_that_runs_calls_the_harness_or_ci_or_installs(path: Path) -> None:
    others = [made for name, made in read(path)["jobs"].items() if (path.stem, name) != ("nightly", "issue")]
    lines = [line for made in others for s in made["steps"] for line in s.get("run", "").splitlines()]
    for line in lines:
        for command in re.split(r"&&|(?<!\|)\|(?!\|)", line):
            assert not command.strip() or COMMANDS.fullmatch(command.strip()), command
        assert "${{" not in line  # what others may write goes through variables, never into a command's text
    text = "\n".join(lines)
    assert "harness " in text or ".ci/run" in text


def test_a_submission_is_verified_by_the_harness_of_the_base_and_not_by_its_own() -> None:
    path = next(p for p in FILES if p.stem == "submission")
    ours, theirs = [s["with"] for s in steps(path) if s.get("uses", "").startswith("actions/checkout@")]
    assert ours["path"] == "ours" and "base.sha" in ours["ref"] and theirs["path"] == "theirs" and "ref" not in theirs
    installed = [s["run"] for s in steps(path) if "pip install" in s.get("run", "")]
    assert len(installed) == 1 and "./ours[" in installed[0] and "theirs" not in installed[0]


def test_the_verbs_that_workflows_call_exist() -> None:
    from harness.cli import VERBS

    ran = [s.get("run", "") for path in FILES for s in steps(path)]
    called = {m[1] for text in ran for m in re.finditer(r"harness (\w+) ", text)}
    assert called and called <= set(VERBS)


def job(stem: str, name: str) -> dict[str, Any]:
    found = read(next(p for p in FILES if p.stem == stem))["jobs"][name]
    assert isinstance(found, dict)
    return found


def step(stem: str, name: str, part: str) -> dict[str, Any]:
    """The one step of a job whose command holds `part`."""
    (found,) = [s for s in job(stem, name)["steps"] if part in s.get("run", "")]
    assert isinstance(found, dict)
    return found


def test_every_night_what_must_hold_is_checked_and_what_is_worse_is_looked_for() -> None:
    triggers = read(next(p for p in FILES if p.stem == "nightly"))[True]
    assert set(triggers) == {"schedule", "workflow_dispatch"} and re.fullmatch(
        r"\d+ \d+ \* \* \*", triggers["schedule"][0]["cron"]
    )
    holds = [s["run"] for s in job("nightly", "holds")["steps"] if "run" in s]
    assert ".ci/run" in holds[0] and "board verify" in holds[-1]
    text = "\n".join(s.get("run", "") for s in job("nightly", "track")["steps"])
    order = [text.index(f"harness track {verb}") for verb in ("run", "check", "report")]
    assert order == sorted(order) and "harness track run --budget 165m " in text


def test_the_whole_night_fits_the_six_hours_of_a_hosted_job() -> None:
    from harness.budget import parse_duration

    track = job("nightly", "track")
    budgets = [
        parse_duration(words) for s in track["steps"] for words in re.findall(r"--budget (\S+)", s.get("run", ""))
    ]
    assert len(budgets) == 2 and sum(budgets) <= 4 * 3600, "a night fits four hours"
    assert 4 * 60 + 60 <= track["timeout-minutes"] < 360


def test_the_history_is_taken_up_before_a_night_and_kept_after_it_whatever_came_of_it() -> None:
    used = [(s.get("uses", ""), s) for s in job("nightly", "track")["steps"]]
    used = [(uses, s) for uses, s in used if s.get("with", {}).get("path") != ".asv/results"]
    (restored,) = [i for i, (uses, _) in enumerate(used) if uses.startswith("actions/cache/restore@")]
    (saved,) = [i for i, (uses, _) in enumerate(used) if uses.startswith("actions/cache/save@")]
    measured = next(i for i, (_, s) in enumerate(used) if "harness track run" in s.get("run", ""))
    kept = next(
        i for i, (uses, s) in enumerate(used)
        if uses.startswith("actions/upload-artifact@") and s["with"]["name"] == "tracking"
    )  # fmt: skip
    slow = next(i for i, (_, s) in enumerate(used) if "asv run" in s.get("run", ""))
    assert restored < measured < saved < slow and kept < slow, "nothing that may take long lies before what is kept"
    assert all("!cancelled()" in used[i][1]["if"] for i in (saved, kept))
    first, last = used[restored][1]["with"], used[saved][1]["with"]
    assert first["path"] == last["path"] == "results/history"
    assert first["key"] == last["key"] and first["key"].startswith(first["restore-keys"])
    assert {"results/history", "tracking"} <= set(used[kept][1]["with"]["path"].split())


def test_asv_measures_only_where_the_processor_stays_the_same_and_keeps_its_results_apart() -> None:
    track, own = job("nightly", "track")["steps"], "vars.NIGHTLY_RUNNER != ''"
    asv = step("nightly", "track", "asv run")
    assert own in asv["if"] and asv["timeout-minutes"] <= 45 and asv["continue-on-error"] is True
    kept = [s for s in track if s.get("with", {}).get("path") == ".asv/results"]
    assert [s["uses"].partition("@")[0] for s in kept] == ["actions/cache/restore", "actions/cache/save"]
    assert all(own in s["if"] for s in kept) and kept[0]["with"]["key"] == kept[1]["with"]["key"]
    assert track.index(kept[1]) > track.index(asv)


def test_the_page_takes_up_what_nights_and_asv_have_kept() -> None:
    def taken(stem: str, name: str) -> set[tuple[str, str]]:
        used = [s for s in job(stem, name)["steps"] if s.get("uses", "").startswith("actions/cache/restore@")]
        return {(s["with"]["path"], s["with"]["restore-keys"]) for s in used}

    assert taken("pages", "build") == taken("nightly", "track") and len(taken("pages", "build")) == 2


def test_a_runner_of_ones_own_is_a_variable_and_needed_by_nothing() -> None:
    assert job("nightly", "track")["runs-on"] == "${{ vars.NIGHTLY_RUNNER || 'ubuntu-24.04' }}"


def ran(command: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """As a runner runs it."""
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", command], cwd=folder, capture_output=True, text=True,
        env={**os.environ, **variables}, check=False,
    )  # fmt: skip


def holds(condition: str, codes: dict[str, str]) -> bool:
    """What a step's `if` comes to, as long as no step has failed; `codes` are what steps have put out, by their id."""
    text = condition.removeprefix("${{").removesuffix("}}").strip()
    text = re.sub(r"steps\.(\w+)\.outputs\.code", r"codes.get('\1', '')", text)
    text = re.sub(r"steps\.(\w+)\.outcome", "'success'", text)
    text = re.sub(r"!(?!=)", " not ", text.replace("&&", " and ").replace("||", " or "))
    known = {"codes": codes, "fromJSON": json.loads, "contains": lambda found, one: one in found,
             "cancelled": lambda: False}  # fmt: skip
    return bool(eval(text, {"__builtins__": {}}, known))


@pytest.mark.parametrize(
    ("measured", "checked", "fails", "alarm"),
    [
        (0, 0, False, False), (0, 1, False, True), (0, 6, False, False), (0, 3, True, False), (0, 5, True, False),
        (0, 70, True, False), (5, 1, False, True), (5, 5, True, False), (5, 0, True, False), (5, 6, True, False),
        (3, None, True, False), (130, None, True, False), (2, None, True, False), (70, None, True, False),
    ],
)  # fmt: skip
def test_a_night_in_which_half_of_the_rows_fail_is_checked_and_fails_unless_it_was_the_code(
    measured: int, checked: int | None, fails: bool, alarm: bool
) -> None:
    codes = {"measure": str(measured)} if measured else {}
    check = step("nightly", "track", "harness track check")
    assert holds(check["if"], codes) is (checked is not None)
    codes |= {"check": str(checked)} if checked else {}
    last = [s for s in job("nightly", "track")["steps"] if s.get("run") == 'exit "$CODE"']
    assert any(holds(s["if"], codes) for s in last) is fails
    assert holds(job("nightly", "issue")["if"].replace("needs.track.outputs.verdict", "steps.check.outputs.code"),
                 codes) is alarm  # fmt: skip
    assert holds(step("nightly", "track", "harness track report")["if"], codes), "it is reported whatever came of it"


@pytest.mark.parametrize(
    ("stem", "name", "part"),
    [("nightly", "track", "track run"), ("nightly", "track", "track check"), ("tests", "compare", "track compare")],
)
@pytest.mark.parametrize("code", [0, 1, 2, 3, 5, 6, 130])
def test_a_verdict_is_kept_and_what_is_none_fails_the_job(
    stem: str, name: str, part: str, code: int, tmp_path: Path
) -> None:
    if not shutil.which("bash"):
        pytest.skip("bash is not installed")
    told = step(stem, name, part)["run"]
    exits = re.sub(r"harness track \w+[^|>]*", f"(exit {code}) ", told)
    assert exits != told
    output = tmp_path / "output"
    output.touch()
    done = ran(exits, tmp_path, GITHUB_OUTPUT=str(output), GITHUB_STEP_SUMMARY=str(tmp_path / "s"))
    assert done.returncode == 0 and output.read_text() == (f"code={code}\n" if code else "")
    identity = step(stem, name, f"harness {part}")["id"]
    code_of = f"${{{{ steps.{identity}.outputs.code }}}}"
    (last,) = [s for s in job(stem, name)["steps"] if s.get("run") == 'exit "$CODE"' and s["env"]["CODE"] == code_of]
    fails = holds(last["if"], {identity: str(code)} if code else {})
    fine = {"track run": {0}, "track check": {0, 1, 6}, "track compare": {0, 3, 6}}[part]
    assert fails is (code not in fine)
    assert not fails or ran(last["run"], tmp_path, CODE=str(code)).returncode == code


def test_a_regression_becomes_an_issue_in_a_job_that_runs_no_code_of_ours() -> None:
    issue = job("nightly", "issue")
    assert issue["permissions"] == {"issues": "write"} and issue["needs"] == "track" and "== '1'" in issue["if"]
    uses = [s["uses"].partition("@")[0] for s in issue["steps"] if "uses" in s]
    assert uses == ["actions/download-artifact"]
    text = "\n".join(s.get("run", "") for s in issue["steps"])
    assert "harness" not in text and "python" not in text and "${{" not in text
    kept = next(s for s in job("nightly", "track")["steps"] if s.get("with", {}).get("name") == "issue")
    assert kept["with"]["path"] == "tracking/issue.md" and "== '1'" in kept["if"]
    assert job("nightly", "track")["outputs"]["verdict"] == "${{ steps.check.outputs.code }}"


@pytest.mark.parametrize("open_one", ["", "17"])
def test_one_issue_is_open_at_a_time_and_its_title_is_never_a_command(open_one: str, tmp_path: Path) -> None:
    if not shutil.which("bash"):
        pytest.skip("bash is not installed")
    called = tmp_path / "called"
    gh = tmp_path / "bin" / "gh"
    gh.parent.mkdir()
    gh.write_text(
        f'#!/bin/sh\nfor word; do printf "%s\\n" "$word"; done >> {called}\n'
        f'test "$1 $2" != "issue list" || printf "%s\\n" "{open_one}"\n'
    )
    gh.chmod(0o755)
    title = '-x "; touch owned; $(touch owned) `touch owned`'
    (tmp_path / "issue.md").write_text(f"{title}\n```text\nbody\n```\n")
    done = ran(step("nightly", "issue", "gh ")["run"], tmp_path, PATH=f"{gh.parent}:{os.environ['PATH']}")
    assert done.returncode == 0, done.stderr
    words = called.read_text().splitlines()
    assert ("create" in words[words.index("list") :]) is not bool(open_one)
    assert (title in words) is not bool(open_one) and (open_one in words) is bool(open_one)
    assert (tmp_path / "body.md").read_text() == "```text\nbody\n```\n" and not (tmp_path / "owned").exists()


def test_a_pull_request_is_compared_with_its_base_on_one_machine() -> None:
    compare = job("tests", "compare")
    assert compare["if"] == "${{ github.event_name == 'pull_request' }}" and "permissions" not in compare
    told = step("tests", "compare", "track compare")
    assert "track compare HEAD^1 HEAD " in told["run"], "the base as it is now: the first parent of the merge"
    assert "env" not in told and "GITHUB_STEP_SUMMARY" in told["run"]
    (fetched,) = [s for s in compare["steps"] if s.get("uses", "").startswith("actions/checkout@")]
    assert fetched["with"]["fetch-depth"] == 0


def test_verbs_and_options_that_workflows_say_are_understood() -> None:
    import argparse
    import importlib
    import shlex

    lines = [line for path in FILES for s in steps(path) for line in s.get("run", "").splitlines()]
    said = [
        shlex.split(re.split(r" \|\| | >> ", line)[0])
        for line in lines if line.startswith("harness track ")
    ]  # fmt: skip
    assert {words[2] for words in said} == {"run", "check", "report", "compare"}
    for words in said:
        parser = argparse.ArgumentParser(exit_on_error=False)
        importlib.import_module(f"harness.cli.track_{words[2]}").configure(parser)
        parser.parse_args(words[3:])


def test_every_release_is_verified_where_none_is_named(
    tmp_path: Path, made_record: Callable[..., Record], capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path / "results")
    for seed in range(2):
        store.add(made_record("good", 0.9 + seed / 1000, seed))
    where = ["--results", str(store.root)]
    assert main(["board", "verify", *where]) == 0 and "no release under" in capsys.readouterr().out
    for name in ("2026.10", "2026.11"):
        assert main(["board", "release", name, *where]) == 0
    assert main(["board", "verify", *where]) == 0
    assert capsys.readouterr().out.count(" holds: ") == 2
    (store.root / "releases" / "2026.11" / "manifest.json").write_text("{")
    assert main(["board", "verify", *where]) == 1
    out, err = capsys.readouterr()
    assert "release 2026.11 does not hold" in out and "release 2026.10 holds" in out and "no manifest" in err


def test_a_release_that_other_rules_made_is_no_failure_and_does_not_keep_the_others_from_being_verified(
    tmp_path: Path, made_record: Callable[..., Record], capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from harness.board import release

    store = Store(tmp_path / "results")
    store.add(made_record("good", 0.9))
    where = ["--results", str(store.root)]
    assert main(["board", "release", "2026.10", *where]) == 0
    monkeypatch.setattr(release, "RULES", release.RULES + 1)
    assert main(["board", "release", "2026.11", *where]) == 0
    capsys.readouterr()
    assert main(["board", "verify", *where]) == 4
    out, err = capsys.readouterr()
    assert "release 2026.10 cannot be verified here" in out and "release 2026.11 holds" in out
    assert "2026.10 was ranked by rules" in err
    nightly = next(p for p in FILES if p.stem == "nightly")
    [line] = [s["run"] for s in steps(nightly) if "board verify" in s.get("run", "")]
    for code, passes in ((0, True), (4, True), (1, False), (2, False)):
        ran = subprocess.run(["bash", "-e", "-c", line.replace("harness board verify", f"(exit {code})")], check=False)
        assert (ran.returncode == 0) is passes


def submission_step() -> dict[str, Any]:
    return next(s for s in steps(next(p for p in FILES if p.stem == "submission")) if "verify" in s.get("name", ""))


def test_a_submission_is_verified_where_the_oracles_answers_are_and_after_the_box_is_let_be() -> None:
    from harness import paths

    path = next(p for p in FILES if p.stem == "submission")
    assert submission_step()["working-directory"] == "ours" and not paths.PUBLISHED_RESULTS.is_absolute()
    ran = [s.get("run", "") for s in steps(path)]
    allowed = next(i for i, text in enumerate(ran) if "kernel.apparmor_restrict_unprivileged_userns=0" in text)
    assert allowed < next(i for i, text in enumerate(ran) if "harness verify" in text)


def test_every_folder_that_anything_changed_in_is_verified_and_no_other(tmp_path: Path) -> None:
    if not all(map(shutil.which, ("git", "bash", "xargs"))):
        pytest.skip("git, bash or xargs is not installed")
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    ours.mkdir()

    def git(*words: str) -> str:
        who = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
        return subprocess.run(
            ["git", "-C", str(theirs), *who, *words], check=True, capture_output=True, text=True
        ).stdout.strip()

    def write(name: str, text: str = "x") -> None:
        (theirs / name).parent.mkdir(parents=True, exist_ok=True)
        (theirs / name).write_text(text)

    theirs.mkdir()
    git("init", "-q", "-b", "main")
    for name in ("same", "edited", "shrunk", "gone", "moved"):
        write(f"submissions/{name}/submission.json", name)
        write(f"submissions/{name}/records/t/r/1.json", f"a record of {name}, long enough to be known again")
        write(f"submissions/{name}/records/t/r/2.json", f"another record of {name}, as long as the first one")
    write("README.md")
    git("add", ".")
    git("commit", "-qm", "base")
    base = git("rev-parse", "HEAD")
    write("README.md", "y")
    write("submissions/edited/records/t/r/1.json", "better")
    (theirs / "submissions/shrunk/records/t/r/2.json").unlink()
    shutil.rmtree(theirs / "submissions/gone")
    (theirs / "submissions/moved").rename(theirs / "submissions/here now; echo $HOME")
    write("submissions/nested/deeper/submission.json")
    write("submissions/packed.zip")
    write("submissions/records only/records/t/r/1.json")
    git("add", ".")
    git("commit", "-qm", "change")
    script = submission_step()["run"].replace("sudo ../venv/bin/harness verify", "printf '%s\\n'")
    done = subprocess.run(
        ["bash", "-e", "-c", script], cwd=ours, env={**os.environ, "BASE": base}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    names = {line.removeprefix("../theirs/submissions/") for line in done.stdout.splitlines()}
    assert names == {"edited", "shrunk", "here now; echo $HOME", "nested", "packed.zip", "records only"}
    git("reset", "-q", "--hard", base)
    nothing = subprocess.run(["bash", "-e", "-c", script], cwd=ours, env={**os.environ, "BASE": base}, check=True,
                             capture_output=True, text=True)  # fmt: skip
    assert nothing.stdout == ""


@pytest.mark.parametrize("name", ["nested", "records only", "text"])
def test_what_has_no_manifest_is_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "nested" / "deeper").mkdir(parents=True)
    (tmp_path / "nested" / "deeper" / "submission.json").write_text("{}")
    (tmp_path / "records only" / "records").mkdir(parents=True)
    (tmp_path / "records only" / "records" / "1.json").write_text("{}")
    (tmp_path / "text").write_text("not an archive")
    assert main(["verify", str(tmp_path / name)]) != 0
    assert "refused" in capsys.readouterr().out
