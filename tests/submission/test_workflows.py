"""What the workflow files may not do, and what each of them calls."""

from __future__ import annotations

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
)
LIMITS = {"nightly": 300}
"""Minutes that a job may take, where that is more than 120."""


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
def test_a_workflow_may_read_and_only_the_page_may_be_written(path: Path) -> None:
    workflow = read(path)
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        more = job.get("permissions", {})
        assert not more or (path.stem, name, set(more)) == ("pages", "deploy", {"pages", "id-token"})
        assert job["timeout-minutes"] <= LIMITS.get(path.stem, 120)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_actions_are_pinned_by_their_full_digest_and_keep_no_credentials(path: Path) -> None:
    for step in steps(path):
        if "uses" in step:
            assert re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", step["uses"])
            if step["uses"].startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_every_line_that_runs_calls_the_harness_or_ci_or_installs(path: Path) -> None:
    lines = [line for step in steps(path) for line in step.get("run", "").splitlines()]
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


def test_every_night_the_checks_the_releases_and_the_smallest_cases_run_and_the_results_are_kept() -> None:
    path = next(p for p in FILES if p.stem == "nightly")
    triggers = read(path)[True]
    assert set(triggers) == {"schedule", "workflow_dispatch"} and re.fullmatch(
        r"\d+ \d+ \* \* \*", triggers["schedule"][0]["cron"]
    )
    ran = [s["run"] for s in steps(path) if "run" in s]
    order = [
        next(i for i, text in enumerate(ran) if part in text) for part in (".ci/run", "board verify", "--scale smoke")
    ]
    assert order == sorted(order) and "--budget 2h" in ran[order[-1]]
    kept = steps(path)[-1]
    assert kept["uses"].startswith("actions/upload-artifact@") and kept["with"]["path"] == "results/local"
    first = path.read_text(encoding="utf-8").partition("\nname:")[0]
    assert "regression tracking" in first and "`track`" in first


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


def test_the_smallest_cases_are_those_of_every_task() -> None:
    import argparse

    from harness.cli import run
    from harness.registry import load_registry

    path = next(p for p in FILES if p.stem == "nightly")
    [line] = [s["run"] for s in steps(path) if "harness run" in s.get("run", "")]
    parser = argparse.ArgumentParser()
    run.configure(parser)
    options = parser.parse_args(line.split()[2:])
    registry = load_registry()
    assert {t.name for t in registry.select_tasks(options.task)} == set(registry.tasks)
    assert options.scale == "smoke"


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
