"""The board's page about nights: everything is on it, with its evidence, and texts of others do nothing."""

from __future__ import annotations

import re
import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from harness.board.board import Board
from harness.board.site import build
from harness.cli import main
from harness.errors import UsageError
from harness.record import Record
from harness.store import Store
from harness.track.findings import Note
from harness.track.history import series_of
from harness.track.page import standalone
from harness.track.plot import Dot, evidence, small
from harness.track.report import report_of

pytest.importorskip("itables", reason="the pages need the packages `itables` and `plotly`")
pytest.importorskip("plotly", reason="the pages need the packages `itables` and `plotly`")

HOSTILE = (
    "<script>window.__pwned=1</script>", "\"><img src=x onerror=window.__pwned=1>",
    "' onmouseover=window.__pwned=1 x='", "javascript:window.__pwned=1",
    "</style><script>window.__pwned=1</script>", "--><svg onload=window.__pwned=1>",
    "\u202egnp.exe", "\x1b[31mred", "&lt;b&gt;",
)  # fmt: skip


def site(made: Any, out: Path, *others: Any) -> str:
    """The page of one or more machines."""
    build(Board([], ""), Store(out / "none"), out, (), [made.kept, *(other.kept for other in others)])
    return (out / "tracking.html").read_text("utf-8")


class Read(HTMLParser):
    """Tags, and what they could do."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.does: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        said = dict(attrs)
        self.does += [f"{tag} {name}={value}" for name, value in attrs if name.startswith("on") or name == "style"]
        self.does += [f"{tag} {v}" for k in ("href", "src") if (v := said.get(k)) and re.match(r"\w+:", v)]
        if tag == "script" and not said.get("src"):
            self.does.append("inline script")

    def handle_data(self, data: str) -> None:
        self.words += data


def test_without_nights_there_is_no_page_and_no_link_to_one(made_history: Any, tmp_path: Path) -> None:
    out = tmp_path / "site"
    site(made_history, out)
    index = build(Board([], ""), Store(tmp_path / "none"), out)
    assert not (out / "tracking.html").exists() and "tracking.html" not in index.read_text("utf-8")


def test_every_page_links_to_it(made_history: Any, tmp_path: Path) -> None:
    site(made_history, tmp_path / "site")
    pages = [p for p in (tmp_path / "site").rglob("*.html")]
    assert len(pages) >= 3 and all('href="tracking.html"' in p.read_text("utf-8") for p in pages)


def test_every_series_of_every_machine_is_drawn(
    made_history: Any, made_history_of: Callable[..., Any], tmp_path: Path
) -> None:
    other = made_history_of("other", machine="f" * 16, nights=9, names=("alone",))
    page = site(made_history, tmp_path / "site", other)
    wanted = len(series_of(made_history.nights)) + len(series_of(other.nights))
    assert wanted == 50 and page.count('<svg class="spark') == wanted
    assert all(f'id="machine-{machine}"' in page for machine in (made_history.machine, "f" * 16))
    assert page.index(made_history.machine) < page.index("f" * 16), "the one with the newest night comes first"


def test_the_same_history_makes_the_same_bytes(made_history: Any, tmp_path: Path) -> None:
    made_history.check([made_history.finding()])
    assert site(made_history, tmp_path / "one") == site(made_history, tmp_path / "two")


def test_a_finding_has_its_evidence_its_commits_and_its_commands(made_history: Any, tmp_path: Path) -> None:
    made_history.check([made_history.finding(), made_history.finding("tfidf", verdict="cleared", effect=1.01)],
                       notes=[Note(kind="improved", text="lsa-64 is quicker")])  # fmt: skip
    words = Read(site(made_history, tmp_path / "site")).words
    for said in ("+21 % [+18 %, +24 %]", "16 pairs of re-runs", "harness track compare", "git bisect start",
                 "Make the search slower", "1 suspected, and cleared by re-runs", "lsa-64 is quicker"):  # fmt: skip
        assert said in words
    assert "1 worse" in words


def test_what_is_still_open_is_on_the_page_of_a_quiet_night(made_history: Any, tmp_path: Path) -> None:
    made_history.check([made_history.finding()], made_history.nights[40])
    made_history.check([])
    page = site(made_history, tmp_path / "site")
    assert "Still open" in page and page.count('<svg class="spark bad"') == 1 and page.count(" data-open") == 1


def test_texts_of_others_are_shown_and_do_nothing(made_history_of: Callable[..., Any], tmp_path: Path) -> None:
    made = made_history_of(nights=9, tasks=HOSTILE[:2], names=HOSTILE, subject=HOSTILE[0])
    findings = [made.finding(text, task=HOSTILE[0], case=text, why=text, command=text, good=text) for text in HOSTILE]
    notes = [Note(kind="improved", text=text) for text in HOSTILE]
    made.check(findings, why=HOSTILE[1], notes=notes, commits=list(HOSTILE))
    for text in (site(made, tmp_path / "site"), standalone(report_of(made.kept, made.last))):
        read = Read(text)
        assert read.does == [] and not {"img", "iframe", "object"} & set(read.tags)
        assert "<script>window.__pwned=1</script>" in read.words and "\u202e" not in text and "\x1b" not in text


def test_a_report_of_one_file_loads_nothing(made_history: Any) -> None:
    made_history.check([made_history.finding()])
    text = standalone(report_of(made_history.kept, made_history.last))
    read = Read(text)
    assert not {"script", "link", "img"} & set(read.tags) and "url(" not in text and "default-src 'none'" in text
    assert "<svg" in text and "bm25" in read.words


# --- drawings --------------------------------------------------------------------------------------------------------


def drawn(made: Any, **otherwise: Any) -> ElementTree.Element:
    made.check([made.finding(**otherwise)])
    (told,) = report_of(made.kept, made.last).groups[0].told
    return ElementTree.fromstring(evidence(told))


def test_evidence_shows_the_nights_the_limit_the_step_and_the_re_runs(made_history: Any) -> None:
    figure = drawn(made_history)
    circles = {c.get("class"): float(c.get("cy", "nan")) for c in figure.iter("circle")}
    lines = {p.get("class"): p.get("d", "") for p in figure.iter("path")}
    assert len([c for c in figure.iter("circle") if c.get("class") != "again"]) == 60

    def height(path: str) -> float:
        return float(path[1:].split(" ")[1].partition("h")[0])

    assert circles["now"] < height(lines["line"]) < height(lines["middle"]), (
        "above the limit, and that above the median"
    )
    assert circles["again"] < height(lines["line"])
    top, bottom = re.fullmatch(r"M[\d.]+ ([\d.]+)V([\d.]+)", lines["again"]).groups()  # type: ignore[union-attr]
    assert float(bottom) < circles["again"] < float(top), "the interval holds the effect"
    step = float(lines["step"][1:].split(" ")[0])
    places = sorted(float(c.get("cx", "nan")) for c in figure.iter("circle") if c.get("class") != "again")
    assert places[-2] < step < places[-1], "between the last good night and the first bad one"
    assert sum("other" in (c.get("class") or "") for c in figure.iter("circle")) == 15


def test_a_drift_is_marked_where_it_began(made_history: Any) -> None:
    figure = drawn(made_history, layer="drift", good=made_history.nights[40].commit, bad=made_history.nights[41].commit)
    step = next(float(p.get("d", "")[1:].split(" ")[0]) for p in figure.iter("path") if p.get("class") == "step")
    places = [float(c.get("cx", "nan")) for c in figure.iter("circle") if c.get("class") != "again"]
    assert places[40] < step < places[41]


def test_nothing_is_drawn_outside_the_picture(made_history: Any) -> None:
    figure = drawn(made_history, effect=3.0, low=0.5, high=9.0, metric="memory/peak", before=4e8, value=1.2e9)
    svg = next(figure.iter("svg"))
    _, _, width, height = map(float, svg.get("viewBox", "").split())
    for circle in figure.iter("circle"):
        assert 0 <= float(circle.get("cx", "nan")) <= width and 0 <= float(circle.get("cy", "nan")) <= height


def test_a_line_is_broken_where_the_context_changed() -> None:
    dots = [Dot(n / 9, 1.0 + n, "a" if n < 4 else "b") for n in range(10)]
    path = re.search(r' d="([^"]*)"', small(dots, "latency/x", "ten nights"))
    assert path and path[1].count("M") == 2
    alone = small([Dot(0.0, 1.0, "a")], "latency/x", "one night")
    assert "h.1" in alone, "one night is a point"


@pytest.mark.parametrize("value", [0.0, -3.0, 1e-300, 1e300])
def test_any_number_can_be_drawn(value: float) -> None:
    ElementTree.fromstring(small([Dot(0.0, value, "a"), Dot(1.0, value, "a")], "score/x", "two nights"))


# --- beside asv, and from the command --------------------------------------------------------------------------------


def test_asvs_pages_stay_and_are_linked(made_history: Any, tmp_path: Path) -> None:
    out = tmp_path / "site"
    assert "asv/index.html" not in site(made_history, out)
    shutil.rmtree(out)
    (out / "asv").mkdir(parents=True)
    (out / "asv" / "index.html").write_text("theirs")
    for _ in range(2):
        assert 'href="asv/index.html"' in site(made_history, out)
    assert (out / "asv" / "index.html").read_text() == "theirs"
    (tmp_path / "other" / "asv").mkdir(parents=True)
    (tmp_path / "other" / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match=r"thesis\.tex"):
        site(made_history, tmp_path / "other")


def test_the_board_is_built_with_the_nights_and_without_those_that_cannot_be_read(
    made_history: Any, made_history_of: Callable[..., Any], made_record: Callable[..., Record], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    store = Store(tmp_path / "results")
    store.add(made_record("bm25", 0.9))
    shutil.copytree(made_history.root, store.root / "history")
    other = made_history_of("results/history", machine="f" * 16, nights=3)
    (other.root / ("f" * 16) / "nights" / f"{other.last.id}.json").write_text("{}")
    assert main(["board", "build", "--results", str(store.root), "--to", str(tmp_path / "site")]) == 0
    assert "the nights of ffffffffffffffff left out" in capsys.readouterr().err
    page = (tmp_path / "site" / "tracking.html").read_text("utf-8")
    assert made_history.machine in page and "f" * 16 not in page


# --- in a browser ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Playwright's own Chromium, or the system's."""
    api = pytest.importorskip("playwright.sync_api", reason="needs the package `playwright`")
    with api.sync_playwright() as playwright:
        usual = sorted(Path.home().glob(".cache/ms-playwright/chromium-*/chrome-linux*/chrome"))
        own = [p for p in (Path(playwright.chromium.executable_path), *usual) if p.is_file()]
        names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
        found = str(own[0]) if own else next((p for n in names if (p := shutil.which(n))), None)
        if found is None:
            pytest.skip("no Chromium here: `playwright install chromium` gets one")
        running = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def tab(browser: Any, made_history: Any, tmp_path: Path) -> Iterator[Any]:
    """The page of a night on which one row became slower, another broke, and a third was cleared."""
    find = made_history.finding
    made_history.check([
        find(), find(metric="time/search", value=1.09e9, before=9e8),
        find("lsa-64", "status", value=None, before=None, effect=None, low=None, high=None, p=None),
        find("tfidf", verdict="cleared"), find("minilm-d32", verdict="inconclusive"),
    ])  # fmt: skip
    site(made_history, tmp_path / "site")
    context = browser.new_context(viewport={"width": 1300, "height": 900})
    page, wrong, root = context.new_page(), [], (tmp_path / "site").as_uri()
    page.on("pageerror", lambda e: wrong.append(f"error: {e}"))
    page.on("console", lambda m: wrong.append(m.text) if m.type in ("error", "warning") else None)
    page.on("request", lambda r: None if r.url.startswith((root, "data:")) else wrong.append(r.url))
    page.goto(f"{root}/tracking.html")
    yield page
    context.close()
    assert wrong == []


def test_the_page_breaks_no_rule_of_accessibility_in_either_theme(tab: Any) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs `axe-playwright-python`")
    for theme in ("light", "dark"):
        tab.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
        found = axe.Axe().run(tab, options={"resultTypes": ["violations"], "preload": False}).response
        assert "color-contrast" in {p["id"] for p in found["passes"]}
        assert [f"{v['id']}: {v['nodes'][0]['html']}" for v in found["violations"]] == [], theme
        tab.click("#theme")


def test_series_are_filtered_by_task_number_words_and_by_what_is_worse(tab: Any) -> None:
    shown = tab.locator(".multiples figure:visible")
    assert shown.count() == 0, "folded until something is asked for"
    tab.select_option("[data-filter=task]", "limit/retrieval")
    assert shown.count() == 20 and tab.inner_text("#tracking-count") == "20 series"
    assert tab.locator("article.finding:visible").count() == 3
    tab.select_option("[data-filter=kind]", "latency")
    assert shown.count() == 4
    tab.fill("[data-filter=q]", "BM25 46-dense")
    assert shown.count() == 1 and tab.locator("article.finding:visible").count() == 1
    tab.click("#tracking-filters [type=reset]")
    assert shown.count() == 0 and tab.locator("article.finding:visible").count() == 3
    tab.check("[data-filter=open]")
    assert shown.count() == 2 and tab.locator(".cell:visible").count() == 2, "and the row that broke, without numbers"


def test_nothing_is_wider_than_a_telephone(tab: Any) -> None:
    tab.set_viewport_size({"width": 360, "height": 800})
    tab.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    wide = tab.evaluate("document.documentElement.scrollWidth")
    assert wide <= 360
