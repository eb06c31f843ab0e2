"""What the workflow files may not do, and what each of them calls."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
COMMANDS = re.compile(
    r"(?:sudo )?(?:\S*/)?harness .*|(?:PYTHON=\S+ )?\.ci/run|python -m venv \S+|(?:\S*/)?python -m pip install .*"
    r"|set -o .*|git .*|sudo apt-get (?:update|install .*)"
    r"|xargs -0 -r (?:-n1|-I\{\}) (?:dirname -z|sudo \S*/harness verify \S+)"
)


def read(path: Path) -> dict[Any, Any]:
    yaml = pytest.importorskip("yaml", reason="no YAML parser is installed")
    value = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(value, dict)
    return value


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in read(path)["jobs"].values() for step in job["steps"]]


def test_there_is_one_for_tests_one_for_submissions_and_one_for_the_page() -> None:
    assert {path.stem for path in FILES} >= {"tests", "submission", "pages"}


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
        assert job["timeout-minutes"] <= 120


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

    called = {m[1] for path in FILES for s in steps(path) for m in re.finditer(r"harness (\w+) ", s.get("run", ""))}
    assert called and called <= set(VERBS)
