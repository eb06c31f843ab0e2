"""What the pages say, and that they say it the same way each time."""

from __future__ import annotations

import json
import re
import shutil
import threading
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.board.board import Board, CaseTable, Entry, TaskPage
from harness.board.site import build
from harness.board.site.assets import as_script
from harness.board.site.escaping import file_names, html, script, shown
from harness.board.site.plots import plots_of
from harness.board.site.record_page import MOST_BYTES
from harness.board.site.server import make_server
from harness.errors import MissingPackage, UsageError
from harness.record import Record
from harness.store import Store
from harness.table import Row
from harness.task import Score

pytest.importorskip("itables", reason="the pages need the packages `itables` and `plotly`")
pytest.importorskip("plotly", reason="the pages need the packages `itables` and `plotly`")


def pages_of(root: Path) -> dict[str, str]:
    return {str(p.relative_to(root)): p.read_text("utf-8") for p in sorted(root.rglob("*.html"))}


def rows_of_page(page: str) -> dict[str, str]:
    """The lines of the table of all rows, as text, by the row's name (the first of it)."""
    body = page[page.index('id="rows"') :]
    found: dict[str, str] = {}
    for line in re.findall(r"<tr.*?</tr>", body[: body.index("</table>")], re.S)[1:]:
        name = re.search(r'baseline/[^"]*">([^<]*)<', line)
        found.setdefault(name[1] if name else "", line)
    return found


class _Read(HTMLParser):
    """Every tag and attribute of a page."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.scripts: list[str] = []
        self.inline = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        for name, value in attrs:
            if name in ("href", "src"):
                self.links.append(value or "")
        if tag == "script":
            self.inline += not dict(attrs).get("src")


def test_the_same_board_builds_the_same_bytes(made, tmp_path: Path) -> None:
    turned = replace(made.board, records=dict(reversed(list(made.board.records.items()))))
    for board, folder in ((made.board, "one"), (turned, "two")):
        build(board, made.store, tmp_path / folder, made.releases)
    one, two = ({p.relative_to(tmp_path / f): p.read_bytes() for p in (tmp_path / f).rglob("*") if p.is_file()}
                for f in ("one", "two"))  # fmt: skip
    assert one == two


def test_every_link_leads_to_a_file_of_the_site(made, tmp_path: Path) -> None:
    index = build(made.board, made.store, tmp_path / "site", made.releases)
    pages = pages_of(index.parent)
    assert len(pages) > 40
    for name, text in pages.items():
        for link in _Read(text).links:
            path, _, anchor = link.partition("#")
            target = (index.parent / name).parent / unquote(path) if path else index.parent / name
            assert target.is_file(), (name, link)
            assert not anchor or "=" in anchor or f'id="{anchor}"' in text or f"id={anchor}" in text, (name, link)


def test_what_went_wrong_is_shown_with_its_reason(made, tmp_path: Path) -> None:
    build(made.board, made.store, tmp_path / "site")
    rows = rows_of_page((tmp_path / "site/task/made.task.html").read_text("utf-8"))
    assert "failed</span>" in rows["broken"] and "it broke" in rows["broken"]
    for status in ("timeout", "oom", "unsupported"):
        assert f"{status}</span>" in rows[status] and f"it was {status}" in rows[status]


def test_a_retracted_row_stays_struck_with_its_reason(made, tmp_path: Path) -> None:
    build(made.board, made.store, tmp_path / "site")
    row = rows_of_page((tmp_path / "site/task/made.task.html").read_text("utf-8"))["withdrawn"]
    assert 'class="retracted"' in row and "trained on the test queries" in row
    (record,) = (
        p for p in (tmp_path / "site/record").iterdir() if '<h1><a href="../baseline/withdrawn.html' in p.read_text()
    )
    assert "Retracted" in record.read_text() and "trained on the test queries" in record.read_text()
    assert "trained on the test queries" in (tmp_path / "site/index.html").read_text("utf-8")


def test_ranks_are_sets_and_what_is_not_resolved_is_told_as_that(made, tmp_path: Path) -> None:
    build(made.board, made.store, tmp_path / "site")
    rows = rows_of_page((tmp_path / "site/task/made.task.html").read_text("utf-8"))
    assert ">3\u20137<" in rows["minilm-d16"]
    assert ">not resolved<" in rows["minilm-d32"]
    assert ">control<" in rows["oracle"]
    assert "not resolved" not in rows["broken"]


def test_the_overview_names_those_who_are_tied_together(made, tmp_path: Path) -> None:
    index = build(made.board, made.store, tmp_path / "site").read_text("utf-8")
    line = next(x for x in re.findall(r"<tr>.*?</tr>", index) if "critical n" in x)
    assert "bm25" in line and "minilm-d16" in line and "2 tied, ranks 1\u20132" in line
    assert "random" not in line


def test_marks_trust_and_machine_stand_beside_a_row(made, tmp_path: Path) -> None:
    build(made.board, made.store, tmp_path / "site")
    rows = rows_of_page((tmp_path / "site/task/made.task.html").read_text("utf-8"))
    assert "the machine&#x27;s speed moved" in rows["minilm-d16"] and "reproduced" in rows["minilm-d16"]
    assert "replicated" in rows["bm25"] and 'title="this machine"' in rows["bm25"]


def test_a_page_without_scripts_has_the_first_rows_and_the_data_have_all(tmp_path: Path) -> None:
    entries = [
        Entry(Row("t", 1, "c", f"row-{i}", "ok", "", "s", i / 200, None, 1, None), "self-reported") for i in range(200)
    ]
    task = TaskPage("t", 1, "", (Score("s", best=1.0, main=True),), [CaseTable("c", {}, {}, entries, False)])
    build(Board([task], ""), Store(tmp_path / "none"), tmp_path / "site")
    page = (tmp_path / "site/task/t.html").read_text("utf-8")
    assert len(rows_of_page(page)) == 60 and "140 further rows" in page
    text = (tmp_path / "site/data/t.js").read_text("ascii").strip()
    data = json.loads(text.removeprefix("window.BOARD=").removesuffix(";"))
    assert len(data["rows"]) == 200
    assert {data["strings"][row[1]] for row in data["rows"]} == {f"row-{i}" for i in range(200)}


def test_an_empty_board_is_a_site_as_well(tmp_path: Path) -> None:
    index = build(Board([], ""), Store(tmp_path / "none"), tmp_path / "site")
    assert "<h1>" in index.read_text("utf-8") and (tmp_path / "site/baselines.html").is_file()


def test_a_records_page_has_its_command_calls_memory_and_output(made, tmp_path: Path) -> None:
    build(made.board, made.store, tmp_path / "site")
    pages = [p.read_text("utf-8") for p in (tmp_path / "site/record").iterdir()]
    page = next(p for p in pages if "broken</a>" in p)
    assert "harness run --task limit --scale smoke" in page and "ValueError: no index" in page
    assert "200 calls of query" in page and 'class="bars"' in page and "1 MB before, 10 MB more" in page
    assert "<script src" in page and page.count("<script") == 1


def test_a_records_page_stays_small_whatever_the_record_holds(
    tmp_path: Path, made_record: Callable[..., Record]
) -> None:
    store = Store(tmp_path / "results")
    score = made_record("x").scores[0].model_dump()
    phase = made_record("x").phases[0].model_dump()
    large = made_record(
        '"' * 500,
        case__name="<" * 500,
        output_tail='"&\n' * 50_000,
        notes=["'" * 5000] * 300,
        reason="<" * 9000,
        scores=[{**score, "name": f"{'&' * 200}{i}", "main": False} for i in range(500)],
        phases=[{**phase, "name": f"{'>' * 200}{i}"} for i in range(200)],
        baseline__params={str(i): '"' * 200 for i in range(99)},
        provenance__command='harness run --baseline "' + "x" * 9000,
    )
    store.root.joinpath("records/t/r").mkdir(parents=True)
    path = store.root / "records/t/r" / f"{large.id}.json"
    path.write_text(large.to_json(), "utf-8")
    build(Board([], "", {large.id: path}), store, tmp_path / "site")
    (page,) = (tmp_path / "site/record").iterdir()
    assert page.stat().st_size <= MOST_BYTES
    assert "harness run --baseline" in page.read_text("utf-8")


def test_a_release_has_its_changes_and_its_rows(made, tmp_path: Path) -> None:
    build(made.board, made.store, tmp_path / "site", made.releases)
    page = (tmp_path / "site/release/2026.2.html").read_text("utf-8")
    assert "withdrawn left: it was retracted" in page
    assert (tmp_path / "site/release/2026.2.csv").read_text("utf-8").startswith("task,row")
    listed = (tmp_path / "site/releases.html").read_text("utf-8")
    assert listed.index("2026.2") < listed.index("2026.1")


def test_hostile_texts_become_no_tag_no_attribute_and_no_link(hostile, texts, tmp_path: Path) -> None:
    index = build(hostile.board, hostile.store, tmp_path / "site", hostile.releases)
    assert texts.used >= 1000
    ours = {
        "html",
        "head",
        "meta",
        "title",
        "link",
        "script",
        "body",
        "a",
        "header",
        "nav",
        "ul",
        "li",
        "button",
        "main",
        "p",
        "h1",
        "h2",
        "h3",
        "span",
        "i",
        "b",
        "s",
        "div",
        "section",
        "article",
        "table",
        "caption",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "details",
        "summary",
        "dl",
        "dt",
        "dd",
        "code",
        "pre",
        "form",
        "label",
        "select",
        "option",
        "input",
        "figure",
        "figcaption",
        "noscript",
        "footer",
        "sup",
        "small",
        "br",
        "svg",
        "path",
        "rect",
        "text",
    }
    for name, text in pages_of(index.parent).items():
        read = _Read(text)
        assert read.tags <= ours, (name, read.tags - ours)
        assert not [a for a in read.attributes if a.startswith("on") or a in ("style", "srcdoc", "formaction")], name
        assert read.inline == 0, name
        assert not [x for x in read.links if ":" in x.partition("#")[0] or x.startswith("//")], name
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]", text), name


def test_hostile_names_give_files_inside_the_site(hostile, tmp_path: Path) -> None:
    build(hostile.board, hostile.store, tmp_path / "site", hostile.releases)
    for path in tmp_path.joinpath("site").rglob("*"):
        assert re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", path.name), path
    assert not [p for p in tmp_path.iterdir() if p.name not in ("site", "hostile", "hostile.csv")]


@given(st.lists(st.text(max_size=80), max_size=30))
def test_no_two_names_share_a_file_even_where_case_does_not_count(names: list[str]) -> None:
    files = file_names(names)
    assert len({f.casefold() for f in files.values()}) == len(set(names))
    assert all(re.fullmatch(r"[a-z0-9_-][a-z0-9._-]*", f) and len(f) < 200 for f in files.values())


def test_names_that_only_look_different_get_files_of_their_own() -> None:
    files = file_names(["BM25", "bm25", "bm25 ", "con", "index", "../bm25", "bm25-" + file_names(["BM25"])["BM25"][5:]])
    assert files["bm25"] == "bm25"
    assert len({f.casefold() for f in files.values()}) == 7
    assert "con" not in files.values() and "index" not in files.values()


@given(st.text(st.characters(), max_size=200))
def test_what_is_shown_hides_and_reorders_nothing(text: str) -> None:
    assert not re.search(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]", shown(text)
    )
    assert not set(html(text)) & set("<>\"'")
    html(text).encode("utf-8")


@given(
    st.recursive(
        st.text(st.characters(), max_size=30) | st.integers() | st.booleans() | st.none(),
        lambda x: st.lists(x, max_size=4) | st.dictionaries(st.text(max_size=5), x, max_size=4),
    )
)
def test_data_are_a_script_of_ascii_that_closes_nothing(value: object) -> None:
    text = script("X", value)
    assert text.isascii() and "<" not in text and ">" not in text
    json.loads(text.removeprefix("window.X=").removesuffix(";\n"))


def test_a_folder_with_other_files_is_refused_and_left_as_it_is(made, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/thesis.tex").write_text("years of work", "utf-8")
    with pytest.raises(UsageError, match=r"thesis\.tex"):
        build(made.board, made.store, tmp_path / "home")
    assert [p.name for p in (tmp_path / "home").iterdir()] == ["thesis.tex"]


def test_pages_of_what_left_the_board_are_gone_after_the_next_build(made, tmp_path: Path) -> None:
    build(made.board, made.store, tmp_path / "site", made.releases)
    build(replace(made.board, tasks=made.board.tasks[:1], records={}), made.store, tmp_path / "site")
    left = {str(p.relative_to(tmp_path / "site")) for p in (tmp_path / "site").rglob("*.html")}
    assert "task/made.task.html" in left and "task/made.charts.html" not in left
    assert not [p for p in left if p.startswith(("record/", "release"))]


def test_the_table_comes_from_the_installed_package_as_a_plain_script() -> None:
    assert (
        as_script("var a=1;export{b as ITable,a as default};\n/* MIT */")
        == "(()=>{var a=1;window.DataTable=a;})();\n\n/* MIT */"
    )
    with pytest.raises(MissingPackage, match="itables"):
        as_script("var a=1;")


def test_a_parameter_of_three_values_is_drawn_and_one_of_two_is_not(made) -> None:
    titles = [p.title for p in plots_of(made.board.tasks[0])]
    assert "46-dense: recall@2 over dimension" in titles and "recall@2 over documents" in titles
    fewer = replace(made.board.tasks[0], cases=made.board.tasks[0].cases[:2])
    assert "recall@2 over documents" not in [p.title for p in plots_of(fewer)]


def test_controls_bounds_and_the_best_of_the_others_are_drawn_in(made) -> None:
    plot = plots_of(made.board.tasks[0])[0]
    kinds = {t.name: t.kind for t in plot.traces}
    assert kinds == {"minilm": "row", "oracle": "control", "random": "control", "bm25 (best of the others)": "control"}
    charts = {p.title: {t.name: t.kind for t in p.traces} for p in plots_of(made.board.tasks[1])}
    assert charts["score over length"] == {"rope": "row", "fit": "bound"}


def test_a_retracted_row_is_drawn_nowhere(made) -> None:
    names = {t.name for task in made.board.tasks for p in plots_of(task) for t in p.traces}
    assert not [n for n in names if "withdrawn" in n]


def test_a_site_is_served_on_this_machine_alone(made, tmp_path: Path) -> None:
    index = build(made.board, made.store, tmp_path / "site")
    with make_server(index.parent) as server:
        assert server.server_address[0] == "127.0.0.1"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/task/made.task.html") as answer:
                assert b"made/task" in answer.read()
        finally:
            server.shutdown()
            thread.join()
    shutil.rmtree(index.parent)
    with pytest.raises(UsageError, match="harness board build"):
        make_server(index.parent)
