"""The pages in a real browser, opened from the disk. Where no Chromium is, these are skipped with the reason."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.board.site import build

playwright_api = pytest.importorskip("playwright.sync_api", reason="needs the package `playwright`")
axe_api = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs `axe-playwright-python`")
pytest.importorskip("itables", reason="the pages need the packages `itables` and `plotly`")
pytest.importorskip("plotly", reason="the pages need the packages `itables` and `plotly`")

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Playwright's own Chromium, or the system's."""
    with playwright_api.sync_playwright() as playwright:
        # tests have a cache folder of their own, where Playwright then looks in vain for what it installed
        usual = sorted(Path.home().glob(".cache/ms-playwright/chromium-*/chrome-linux*/chrome"))
        own = [p for p in (Path(playwright.chromium.executable_path), *usual) if p.is_file()]
        found = str(own[0]) if own else next((p for n in NAMES if (p := shutil.which(n))), None)
        if found is None:
            pytest.skip("no Chromium here: `playwright install chromium` gets one")
        running = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield running
        running.close()


class Opened:
    """A tab that keeps what should not happen: errors, dialogs, requests that leave the site."""

    def __init__(self, browser: Any, root: Path, **context: Any) -> None:
        self.root = root
        self.context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **context})
        self.page = self.context.new_page()
        self.wrong: list[str] = []
        self.page.on("pageerror", lambda e: self.wrong.append(f"error: {e}"))
        self.page.on("dialog", lambda d: (self.wrong.append(f"dialog: {d.message}"), d.dismiss()))
        self.page.on("console", lambda m: self.wrong.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("request", self._requested)

    def _requested(self, request: Any) -> None:
        if not request.url.startswith((self.root.as_uri(), "data:", "blob:")):
            self.wrong.append(f"request: {request.url}")

    def open(self, path: str, drawn: bool = False) -> Any:
        self.page.goto(f"{self.root.as_uri()}/{path}")
        if drawn:
            self.page.wait_for_selector("html[data-drawn]")
        return self.page

    def names(self) -> list[str]:
        """Rows that the table shows."""
        found: list[str] = self.page.eval_on_selector_all(
            "#rows tbody a[href*=baseline]", "all => all.map(a => a.text)"
        )
        return found


@pytest.fixture
def tab(browser: Any, made: Any, tmp_path: Path) -> Iterator[Opened]:
    opened = Opened(browser, build(made.board, made.store, tmp_path / "site", made.releases).parent)
    yield opened
    opened.context.close()
    assert opened.wrong == []


def violations(page: Any) -> list[str]:
    """What axe finds, with everything unfolded."""
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    found = axe_api.Axe().run(page, options={"resultTypes": ["violations"], "preload": False}).response
    assert "color-contrast" in {p["id"] for p in found["passes"]}
    return [f"{v['id']}: {v['nodes'][0]['html']}" for v in found["violations"]]


@pytest.mark.parametrize(
    "path", ["index.html", "task/made.task.html#case=46-dense", "baseline/bm25.html", "record", "release/2026.2.html"]
)
def test_no_page_breaks_a_rule_of_accessibility_in_either_theme(tab: Opened, path: str) -> None:
    if path == "record":
        path = f"record/{min(p.name for p in (tab.root / 'record').iterdir())}"
    page = tab.open(path, drawn=path.startswith("task"))
    if path.startswith("task"):
        page.click("#rows button.expand >> nth=0")
    assert violations(page) == []
    page.click("#theme")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert violations(page) == []


def test_filters_are_in_the_address_and_back_undoes_them(tab: Opened) -> None:
    page = tab.open("task/made.task.html")
    everything = tab.names()
    page.select_option("[data-filter=case]", "1000-dense")
    assert len(tab.names()) == 6
    page.select_option("[data-filter=trust]", "replicated")
    assert tab.names() == ["bm25"] and page.url.endswith("#case=1000-dense&trust=replicated")
    page.go_back()
    assert len(tab.names()) == 6 and page.input_value("[data-filter=trust]") == ""
    page.go_forward()
    assert tab.names() == ["bm25"]
    page.click("#filters [type=reset]")
    assert tab.names() == everything and "#" not in page.url


def test_a_linked_view_opens_as_it_was(tab: Opened) -> None:
    page = tab.open("task/made.task.html#q=MINILM+46-dense&sort=score.asc")
    assert tab.names() == ["minilm-d16", "minilm-d32", "minilm-d64"]
    assert page.get_attribute("th[data-column=score]", "aria-sort") == "ascending"
    assert page.input_value("[data-filter=q]") == "MINILM 46-dense"
    page.goto(page.url.replace("score.asc", "score.desc"))
    assert tab.names() == ["minilm-d64", "minilm-d32", "minilm-d16"]


def test_sorting_by_the_keyboard_puts_what_is_not_known_last(tab: Opened) -> None:
    page = tab.open("task/made.task.html#case=46-dense")
    page.focus("th[data-column=score] [role=button], th[data-column=score] button, th[data-column=score][tabindex]")
    last = []
    for _ in range(2):
        page.keyboard.press("Enter")
        last.append(set(tab.names()[-5:]))
    assert last == [{"broken", "timeout", "oom", "unsupported", "withdrawn"}] * 2


def test_plots_are_drawn_and_follow_the_choice(tab: Opened) -> None:
    page = tab.open("task/made.charts.html", drawn=True)
    shown = page.locator("figure[data-plot]:visible")
    assert shown.count() == 1 and shown.locator(".js-plotly-plot .trace").count() > 0
    first = shown.locator("figcaption").inner_text()
    page.select_option("#which-plot", "1")
    assert page.locator("figure[data-plot]:visible figcaption").inner_text() != first
    assert page.locator("#cost-plot .trace").count() > 0


def test_a_telephone_shows_names_scores_and_ranks_and_does_not_scroll_sideways(browser: Any, tab: Opened) -> None:
    tab.page.set_viewport_size({"width": 390, "height": 844})
    for path in ("index.html", "baseline/bm25.html", "releases.html", "task/made.task.html"):
        page = tab.open(path, drawn=path.startswith("task"))
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
    for column in ("baseline", "score", "rank"):
        box = page.locator(f"th[data-column={column}]").bounding_box()
        assert box and box["x"] + box["width"] <= 390, column


def test_the_first_tab_key_leads_past_the_navigation(tab: Opened) -> None:
    page = tab.open("index.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.url.endswith("#main")


def test_the_theme_is_kept_from_page_to_page_and_print_is_light(tab: Opened) -> None:
    page = tab.open("index.html")
    page.click("#theme")
    page = tab.open("task/made.task.html")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.emulate_media(media="print")
    assert dark == "rgb(19, 20, 23)"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("header").is_visible() and page.locator("#rows").is_visible()


def test_without_scripts_the_rows_are_there_and_nothing_that_needs_them(browser: Any, tab: Opened) -> None:
    plain = Opened(browser, tab.root, java_script_enabled=False)
    page = plain.open("task/made.task.html")
    assert page.locator("#rows tbody tr").count() > 20 and page.locator("text=it was timeout").is_visible()
    assert not page.locator("#filters").is_visible() and not page.locator("#theme").is_visible()
    page.click("summary >> text=Values as a table >> nth=0")
    plain.context.close()
    assert plain.wrong == []


def test_a_thousand_hostile_texts_execute_nowhere(browser: Any, hostile: Any, texts: Any, tmp_path: Path) -> None:
    root = build(hostile.board, hostile.store, tmp_path / "site", hostile.releases).parent
    assert texts.used >= 1000
    opened = Opened(browser, root)
    opened.context.add_init_script(
        "window.addEventListener('securitypolicyviolation', e => { window.__pwned = e.blockedURI })"
    )
    tasks = sorted(f"task/{p.name}" for p in (root / "task").iterdir())
    charted = f"task/{next(p.name for p in (root / 'task').iterdir() if 'which-plot' in p.read_text('utf-8'))}"
    others = [
        f"{folder}/{min(p.name for p in (root / folder).glob('*.html'))}"
        for folder in ("baseline", "record", "release")
    ]
    for path in ["index.html", "baselines.html", "releases.html", *others, *tasks]:
        page = opened.open(path, drawn=path == charted)
        page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
        if path in tasks:
            assert page.locator("#rows tbody tr").count() == 50
            page.evaluate("document.querySelectorAll('button.expand').forEach(b => b.click())")
            for plot in range(page.locator("#which-plot option").count()):
                page.evaluate("i => { const s = document.getElementById('which-plot'); s.value = i; "
                              "s.dispatchEvent(new Event('change')); }", str(plot))  # fmt: skip
            page.evaluate("document.querySelectorAll('.canvas .nsewdrag').forEach(d => d.dispatchEvent("
                          "new MouseEvent('mousemove', { clientX: 400, clientY: 500, bubbles: true })))")  # fmt: skip
            for option in page.eval_on_selector_all(
                "[data-filter=method] option", "all => all.slice(1, 6).map(o => o.value)"
            ):
                page.evaluate("v => { location.hash = new URLSearchParams({ method: v }) }", option)
                playwright_api.expect(page.locator("#rows tbody a[href*=baseline]")).to_have_count(1)
        assert page.evaluate("window.__pwned") is None, path
        assert (
            page.eval_on_selector_all(
                "*", "all => all.flatMap(x => [...x.attributes]).filter(a => a.name.startsWith('on')).length"
            )
            == 0
        )
        assert (
            page.eval_on_selector_all(
                "a", "all => all.filter(a => !/^(file:|$)/.test(a.protocol || '') || a.href.baseVal).length"
            )
            == 0
        )
    opened.context.close()
    assert opened.wrong == []


def test_a_saved_table_holds_no_formula(browser: Any, hostile: Any, tmp_path: Path) -> None:
    root = build(hostile.board, hostile.store, tmp_path / "site").parent
    opened = Opened(browser, root)
    page = opened.open(f"task/{min(p.name for p in (root / 'task').iterdir())}")
    with page.expect_download() as download:
        page.click("#as-csv")
    import csv

    cells = [
        c for line in csv.reader(Path(download.value.path()).read_text("utf-8").splitlines(keepends=True)) for c in line
    ]
    assert len(cells) > 500 and any(c.startswith("'=") for c in cells)
    assert not [
        c for c in cells if c[:1] in ("=", "+", "@", "-", "\t") and not c.lstrip("-").replace(".", "").isdigit()
    ]
    opened.context.close()
