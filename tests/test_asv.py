"""asv's suite: what it tracks, and that its usual commands work in a clean clone, without network."""

from __future__ import annotations

import functools
import http.server
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from harness import sources
from harness.registry import load_registry

ROOT = Path(__file__).resolve().parents[1]
RANDOM = r"LimitFree\.track_(time|shortfall|peak_memory)\('random'\)"


def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"asv_suite_{name}", ROOT / "tests" / "asv" / f"{name}.py")
    assert spec and spec.loader
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_every_task_is_tracked_with_the_rows_that_take_part_at_scale_smoke() -> None:
    rows = module("rows")
    for task in load_registry().tasks.values():
        tracked = getattr(rows, rows.class_name(task.name))
        assert tracked.task == task.name
        assert set(tracked.params[0]) == set(tracked.cases)
        assert set(tracked.cases.values()) <= {case.name for case in task.cases}
    assert {"bm25", "minilm-d8", "random"} <= set(rows.LimitRetrieval.params[0])
    assert "oracle" not in rows.LimitRetrieval.params[0]


def test_a_new_baseline_is_tracked_without_a_new_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = set(module("rows").LimitRetrieval.params[0])
    folder = tmp_path / "limit" / "retrieval"
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "baselines" / "limit" / "retrieval" / "random.py", folder / "brand-new.py")
    more = {"baselines": ((tmp_path, "elsewhere"),), "tasks": ()}
    monkeypatch.setattr("harness.registry.plugin_roots", lambda kind: sources.plugin_roots(kind) + more[kind])
    load_registry.cache_clear()
    try:
        assert set(module("rows").LimitRetrieval.params[0]) - before == {"brand-new"}
    finally:
        monkeypatch.undo()
        load_registry.cache_clear()


def test_accuracy_is_tracked_so_that_up_is_worse(made_record: Any) -> None:
    rows = module("rows")

    def shortfall(value: float, **said: Any) -> float:
        record = made_record("row", value)
        score = record.scores[0].model_copy(update=said)
        tracked = rows.LimitRetrieval()
        tracked.record = record.model_copy(update={"scores": [score]})
        return float(tracked.track_shortfall("", "row"))

    for said in ({"best": 1.0}, {"best": None}, {"best": 0.0, "higher_is_better": False}):
        better, worse = (0.9, 0.6) if said.get("higher_is_better", True) else (0.6, 0.9)
        assert 0 < shortfall(better, **said) < shortfall(worse, **said)


def test_every_benchmark_has_one_threshold() -> None:
    asv_config = pytest.importorskip("asv.config", reason="needs asv")
    thresholds = asv_config.Config.load(str(ROOT / "asv.conf.json")).regressions_thresholds
    for name in ("time", "latency", "peak_memory", "shortfall"):
        assert sum(bool(re.match(regex, f"rows.Hnsw.track_{name}('exact')")) for regex in thresholds) == 1
    assert sum(bool(re.match(regex, "startup.PerCell.time_key")) for regex in thresholds) == 1


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean clone with this working tree's suite, of which one row has been run by asv."""
    pytest.importorskip("asv", reason="needs asv")
    if not (ROOT / ".git").exists():
        pytest.skip("the tests do not run in a git checkout")
    place = tmp_path_factory.mktemp("asv") / "clone"
    git(ROOT, "clone", "--quiet", str(ROOT), str(place))
    git(place, "checkout", "--quiet", "-B", "main")
    shutil.rmtree(place / "tests" / "asv")
    shutil.copytree(ROOT / "tests" / "asv", place / "tests" / "asv", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "asv.conf.json", place)
    asv(place, "machine", "--yes", "--machine", "here")
    return place


def git(place: Path, *words: str) -> str:
    named = ["-c", "user.name=t", "-c", "user.email=t@example.invalid"]
    done = subprocess.run(["git", *named, *words], cwd=place, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def asv(place: Path, *words: str, code: int = 0) -> str:
    # asv keeps its machines in the home folder; a proxy that leads nowhere makes every look outside fail at once
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    command = [sys.executable, "-m", "asv", *words]
    env = {**os.environ, **nowhere, "HOME": str(place.parent)}
    done = subprocess.run(command, cwd=place, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_what_was_downloaded_is_used_and_what_a_row_prepares_is_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = tmp_path / "usual"
    for name in ("huggingface/model", "limits-harness/data/set", "limits-harness/prepared/old"):
        (usual / name).mkdir(parents=True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(usual))
    rows = module("rows")

    class Planned(Exception): ...

    def planned(*_: object) -> None:
        raise Planned

    monkeypatch.setattr(rows, "make_run", planned)
    monkeypatch.setenv("HARNESS_CANARY_ROUNDS", "3")
    for _ in range(2):  # each number that is asked for looks again
        with pytest.raises(Planned):
            rows.measured(tmp_path / "asv", "limit/free", "d2", "random")
        cache = Path(os.environ["XDG_CACHE_HOME"])
        assert cache == tmp_path / "asv" / "cache"
        assert (cache / "huggingface/model").is_dir() and (cache / "limits-harness/data/set").is_dir()
        assert not (cache / "limits-harness/prepared").exists()


@pytest.mark.slow
def test_asv_check_finds_no_problem(clone: Path) -> None:
    assert "No problems found" in asv(clone, "check", "--environment", f"existing:{sys.executable}")


@pytest.fixture(scope="module")
def published(clone: Path) -> Path:
    """asv's page over twelve commits: one run for real, the others its copies, of which the last six are worse."""
    environment = ("--environment", f"existing:{sys.executable}", "--machine", "here")
    head = git(clone, "rev-parse", "HEAD")
    said = asv(clone, "run", *environment, "--set-commit-hash", head, "--quick", "--show-stderr", "--bench", RANDOM)
    assert "rows.LimitFree.track_shortfall" in said
    (first,) = (clone / ".asv" / "results" / "here").glob(f"{head[:8]}-*.json")
    for number in range(1, 12):
        git(clone, "commit", "--quiet", "--allow-empty", "-m", f"commit {number}")
        commit = git(clone, "rev-parse", "HEAD")
        result = json.loads(first.read_text("utf-8"))
        result["commit_hash"] = commit
        for name, values in result["results"].items():
            factor = 1.5 if number >= 6 and "time" not in name else 1.0  # a row that is larger and less accurate
            values[0] = [None if v is None else v * factor for v in values[0]]
        first.with_name(first.name.replace(head[:8], commit[:8])).write_text(json.dumps(result), "utf-8")
    if shutil.which("npm") is None and not (ROOT / ".asv" / "page").is_dir():
        pytest.skip("npm, which fetches the libraries of asv's page, is not installed")
    command = [sys.executable, "tests/asv/publish.py", "site", "--libraries", str(ROOT / ".asv" / "page")]
    done = subprocess.run(command, cwd=clone, capture_output=True, text=True, check=False)
    if "cannot be fetched" in done.stderr:
        pytest.skip("the libraries of asv's page cannot be fetched here")
    assert done.returncode == 0, done.stdout + done.stderr
    return clone / "site"


@pytest.mark.slow
def test_what_got_worse_is_a_regression_and_what_did_not_is_none(published: Path) -> None:
    found = {entry[0] for entry in json.loads((published / "regressions.json").read_text("utf-8"))["regressions"]}
    assert found == {"rows.LimitFree.track_shortfall('random')", "rows.LimitFree.track_peak_memory('random')"}


@pytest.mark.slow
def test_the_published_page_names_no_other_host(published: Path) -> None:
    publish = module("publish")
    assert publish._ELEMENT.findall((published / "index.html").read_text("utf-8")) == []
    assert {path.name for path in (published / "libraries").iterdir()} >= {"jquery.js", "bootstrap.css"}


@pytest.fixture
def page(published: Path) -> Iterator[Any]:
    """A tab on the page, served from here; what it asks of other hosts, and errors, are in `page.wrong`."""
    playwright_api = pytest.importorskip("playwright.sync_api", reason="needs the package `playwright`")
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(published)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with playwright_api.sync_playwright() as playwright:
        usual = sorted(Path.home().glob(".cache/ms-playwright/chromium-*/chrome-linux*/chrome"))
        own = [p for p in (Path(playwright.chromium.executable_path), *usual) if p.is_file()]
        found = str(own[0]) if own else next((p for n in names if (p := shutil.which(n))), None)
        if found is None:
            pytest.skip("no Chromium here: `playwright install chromium` gets one")
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        tab = browser.new_page()
        home = f"http://127.0.0.1:{server.server_port}/"
        wrong: list[str] = []
        tab.on("pageerror", lambda e: wrong.append(f"error: {e}"))
        tab.on("request", lambda r: wrong.append(r.url) if not r.url.startswith((home, "data:")) else None)
        yield tab, home, wrong
        browser.close()
    server.shutdown()
    server.server_close()


@pytest.mark.slow
def test_the_page_draws_its_plots_offline(page: Any) -> None:
    tab, home, wrong = page
    tab.goto(f"{home}#rows.LimitFree.track_shortfall")
    tab.wait_for_selector("#main-graph canvas.flot-base")
    tab.wait_for_selector("#overview canvas.flot-overlay")  # which the plugin for selections needs
    tab.click("#date-scale")
    tab.wait_for_selector("#main-graph .flot-x-axis .flot-tick-label")
    tab.goto(f"{home}#/regressions")
    tab.wait_for_selector("#regressions-body td >> text=LimitFree.track_shortfall")
    assert wrong == []
