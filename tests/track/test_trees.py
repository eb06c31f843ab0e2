"""Commits as folders that can be run, and what git says of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.track.trees import WORKTREE, between, requirements_differ, resolve, state, tree_of

SAYS = "print('says', {word!r})\n"


def git(repo: Path, *words: str) -> str:
    author = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    return subprocess.run(
        ["git", *author, "-C", str(repo), *words], check=True, capture_output=True, text=True
    ).stdout.strip()


def commit(repo: Path, subject: str, **files: str) -> str:
    for name, text in files.items():
        path = repo / name.replace("__", "/")
        path = path.with_suffix(".toml") if path.name == "pyproject" else path.with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "--message", subject)
    return git(repo, "rev-parse", "HEAD")


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """Two commits of a small harness: `first` is tagged, the second one is checked out."""
    root = tmp_path / "repo"
    root.mkdir()
    git(root, "init", "--quiet", "--initial-branch", "main")
    commit(root, "it begins", harness__run_me=SAYS.format(word="one"), tasks__limit="", baselines__bm25="ROW = 1\n",
           pyproject="[project]\ndependencies = ['numpy']\n")  # fmt: skip
    (root / "harness" / "run_me.py").rename(root / "harness" / "__main__.py")
    commit(root, "first: it runs")
    git(root, "tag", "first")
    (root / "harness" / "__main__.py").write_text(SAYS.format(word="two"), "utf-8")
    commit(root, "second", baselines__bm25="ROW = 2\n")
    return root


def run(folder: Path, where: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, "-m", "harness"], cwd=where, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_a_tree_runs_the_code_of_its_commit_whatever_is_installed(repo: Path) -> None:
    with tree_of(repo, "first") as first, tree_of(repo, "HEAD") as head:
        assert run(first.folder, first.folder) == "says one\n"
        assert run(head.folder, head.folder) == "says two\n"
        assert (first.folder / "harness" / "baselines" / "bm25.py").read_text("utf-8") == "ROW = 1\n"
        assert first.subject == "first: it runs" and head.commit == git(repo, "rev-parse", "HEAD")
    assert not first.folder.exists() and not head.folder.exists()


def test_a_tree_is_compiled_before_anything_is_timed(repo: Path) -> None:
    with tree_of(repo, "HEAD") as tree:
        assert list((tree.folder / "harness" / "__pycache__").glob("__main__*.pyc"))


def test_the_worktree_holds_changed_and_new_files_but_not_deleted_or_ignored_ones(repo: Path) -> None:
    (repo / "baselines" / "bm25.py").write_text("ROW = 3\n", "utf-8")
    (repo / "baselines" / "new.py").write_text("", "utf-8")
    (repo / "baselines" / "secret.txt").write_text("", "utf-8")
    (repo / ".gitignore").write_text("*.txt\n", "utf-8")
    (repo / "tasks" / "limit.py").unlink()
    before = git(repo, "status", "--porcelain")
    with tree_of(repo, WORKTREE) as tree:
        there = {p.relative_to(tree.folder / "harness").as_posix() for p in tree.folder.rglob("*.py")}
        assert there == {"__main__.py", "baselines/bm25.py", "baselines/new.py"}
        assert (tree.folder / "harness" / "baselines" / "bm25.py").read_text("utf-8") == "ROW = 3\n"
        assert not list(tree.folder.rglob("secret.txt")) and tree.commit == WORKTREE
    assert git(repo, "status", "--porcelain") == before


def test_an_unknown_commit_names_the_nearest_ones(repo: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown commit 'frist'; did you mean 'first'\?; `git log"):
        resolve(repo, "frist")


def test_a_name_that_looks_like_an_option_is_none(repo: Path) -> None:
    with pytest.raises(UsageError, match="unknown commit '--all'"):
        resolve(repo, "--all")


def test_a_commit_that_a_shallow_clone_lacks_asks_for_its_history(repo: Path, tmp_path: Path) -> None:
    old = git(repo, "rev-parse", "first")
    git(tmp_path, "clone", "--quiet", "--depth", "1", f"file://{repo}", "shallow")
    with pytest.raises(UsageError, match="cut off: git fetch --unshallow"):
        resolve(tmp_path / "shallow", old)


def test_a_folder_outside_of_git_says_where_to_go(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(UsageError, match=r"is in no git checkout.*--repo"):
            state(folder)


def test_a_commit_without_a_harness_cannot_be_run(repo: Path) -> None:
    with pytest.raises(UsageError, match=r"it begins.*has no harness/ that can be run"), tree_of(repo, "first~1"):
        pass


def test_commits_in_between_are_told_newest_first(repo: Path) -> None:
    third = commit(repo, "third", baselines__bm25="ROW = 3\n")
    said = between(repo, "first", "HEAD")
    assert [line.partition(" ")[2] for line in said] == ["third", "second"]
    assert third.startswith(said[0].partition(" ")[0])
    assert between(repo, "HEAD", "first") == []


def test_the_worktree_comes_after_the_commit_that_it_stands_on(repo: Path) -> None:
    said = between(repo, "first", WORKTREE)
    assert said[0].startswith("WORKTREE the files as they are") and said[1].endswith(" second")


def test_a_checkout_is_dirty_where_what_is_run_differs_new_files_as_well(repo: Path) -> None:
    (repo / "README.md").write_text("read me", "utf-8")
    (repo / "notes.py").write_text("", "utf-8")
    found, dirty = state(repo)
    assert (found.subject, dirty) == ("second", False) and found.date[:2] == "20"
    git(repo, "config", "status.showUntrackedFiles", "no")
    (repo / "baselines" / "new.py").write_text("", "utf-8")
    assert state(repo / "baselines")[1]
    (repo / "baselines" / "new.py").unlink()
    assert not state(repo)[1]
    (repo / "baselines" / "bm25.py").write_text("ROW = 9\n", "utf-8")
    assert state(repo)[1]


def test_a_link_out_of_the_tree_is_refused(repo: Path) -> None:
    (repo / "harness" / "way_out").symlink_to("../../../etc")
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "--message", "a way out")
    with pytest.raises(UsageError, match="cannot be unpacked"), tree_of(repo, "HEAD"):
        pass


def test_other_packages_are_told_and_other_settings_are_not(repo: Path) -> None:
    assert requirements_differ(repo, "first", "HEAD") == ""
    text = "[project]\ndependencies = ['numpy']\n[tool.ruff]\nline-length = 99\n"
    commit(repo, "style", pyproject=text)
    assert requirements_differ(repo, "first", "HEAD") == ""
    (repo / "pyproject.toml").write_text(text.replace("numpy", "numpy>=2"), "utf-8")
    assert requirements_differ(repo, "first", "HEAD") == ""
    assert requirements_differ(repo, "first", WORKTREE).startswith("pyproject.toml asks for other packages")
