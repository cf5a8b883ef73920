"""The documentation site, built once as `make site` does: its HTML, and what readers see of it."""

from __future__ import annotations

import base64
import importlib
import json
import os
import re
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.support.ui import WebDriverWait

import qaqfilter
from browser import DESKTOP, PHONE, Browser, started
from qaqfilter import testing
from qaqfilter.hookspecs import Specs
from qaqfilter.manager import KINDS, load_plugins
from qaqfilter.options import MODEL_NAME, fields_marked

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
TOOL = ROOT / "tools" / "site"
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
DIAGRAMS = sorted((DOCS / "diagrams").glob("*.svg"))
SVG = "{http://www.w3.org/2000/svg}"
FETCHED = {"audio": "src", "embed": "src", "iframe": "src", "img": "src", "link": "href"} | {
    "object": "data",
    "script": "src",
    "source": "src",
    "video": "src",
}
SHAPES = ("h1", "h2", "h3", "h4", "ol", "ul", "li", "table", "tr", "pre", "code", "strong", "img")


class Html(HTMLParser):
    """What a page links to, fetches and offers as anchors; how much of what its text is made of."""

    def __init__(self, text: str, *, whole: bool = False) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.menu: list[str] = []
        self.fetched: list[str] = []
        self.shapes: Counter[str] = Counter()
        self.within = "article" if whole else ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        if "id" in told:
            self.ids.append(told["id"])
        if tag == "a" and "href" in told:
            self.links.append(told["href"])
            if "md-nav__link" in told.get("class", ""):
                self.menu.append(told["href"])
        if told.get(FETCHED.get(tag, "-")):
            self.fetched.append(told[FETCHED[tag]])
        if tag == "article":
            self.within = tag
        elif self.within and tag in SHAPES:
            self.shapes[tag] += 1

    def handle_endtag(self, tag: str) -> None:
        if tag == "article":
            self.within = ""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the site was built, its sources beside it."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, str(TOOL / "build.py"), str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def site(folder: Path) -> dict[str, Html]:
    """Address -> page."""
    html = folder / "html"
    return {
        path.relative_to(html).as_posix(): Html(path.read_text(encoding="utf-8"))
        for path in sorted(html.rglob("*.html"))
    }


def dead_links(site: dict[str, Html], html: Path) -> Iterator[str]:
    """Links and pictures of the site that lead to no file of it, or to no anchor."""
    for address, page in site.items():
        for link in [*page.links, *page.fetched]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            # That nothing is found may be told anywhere: its links begin at the top.
            start = html if parts.path.startswith("/") else (html / address).parent
            target = html / address
            if parts.path:
                target = Path(os.path.normpath(start / unquote(parts.path).lstrip("/")))
            if not target.is_file() or html not in target.parents:
                yield f"{address}: {link}: no such file"
            elif target.suffix == ".html" and parts.fragment:
                name = target.relative_to(html).as_posix()
                if unquote(parts.fragment) not in site[name].ids:
                    yield f"{address}: {link}: no such anchor"


# --- pages and links ------------------------------------------------------------------------


def test_no_link_is_dead(site, folder):
    assert sum(len(page.links) for page in site.values()) > 1000
    assert list(dead_links(site, folder / "html")) == []


def test_no_anchor_stands_twice(site):
    for address, page in site.items():
        assert [name for name, times in Counter(page.ids).items() if times > 1] == [], address


def test_a_dead_link_is_found(tmp_path):
    text = '<a href="b.html#x"></a><a href="b.html#y"></a><a href="#z"></a><img src="../c.png">'
    pages = {"a/a.html": text, "a/b.html": '<h1 id="x"></h1><a href="/a/none.html"></a>'}
    (tmp_path / "a").mkdir()
    for name, html in pages.items():
        (tmp_path / name).write_text(html)
    assert list(dead_links({name: Html(html) for name, html in pages.items()}, tmp_path)) == [
        "a/a.html: b.html#y: no such anchor",
        "a/a.html: #z: no such anchor",
        "a/a.html: ../c.png: no such file",
        "a/b.html: /a/none.html: no such file",
    ]


def test_every_page_of_docs_is_in_the_menu(site):
    menu = {link.removeprefix("./").partition("#")[0] for link in site["index.html"].menu}
    wanted = {page.removesuffix(".md") + ".html" for page in PAGES}
    # What is missing goes under `nav` of tools/site/mkdocs.yml.
    assert wanted - menu == set()
    assert {"gallery.html", "api/index.html", "project/CHANGELOG.html"} <= menu


def test_a_warning_is_an_error(folder, tmp_path):
    """The same build with one link to nowhere fails, and says where."""
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "index.md").write_text("# A page\n\n[nowhere](nowhere.md)\n")
    (tmp_path / "mkdocs.yml").write_text(
        re.sub(r"(?s)\nnav:.*", "\nnav: [index.md]\n", (folder / "mkdocs.yml").read_text())
    )
    done = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict", "-f", str(tmp_path / "mkdocs.yml")],
        env={**os.environ, "PYTHONPATH": str(TOOL), "NO_COLOR": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "index.md:3" in done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_the_shape_that_the_forge_gives_it(page, site):
    """Two readers of Markdown differ in lists and tables: nested items want four spaces here."""
    text = (DOCS / page).read_text(encoding="utf-8")
    forge = Html(MarkdownIt().enable("table").render(text), whole=True)
    assert site[page.removesuffix(".md") + ".html"].shapes == forge.shapes


def test_what_docs_link_to_outside_is_a_page(site):
    for name in (
        "project/CHANGELOG.html",
        "project/CONTRIBUTING.html",
        "project/benchmarks/index.html",
        "project/examples/clean.yaml.html",
        "project/examples/score_and_select.ipynb.html",
        "project/plugins/qaqfilter_embedded/MODEL_CARD.html",
    ):
        assert site[name].shapes["h1"] == 1, name


def test_links_are_turned_to_where_files_stand_on_the_site(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(TOOL)
    outside = importlib.import_module("outside")
    page = "[a](../x/a.md#b) [c](c.md) ![d](d.svg)\n\n```text\n[a](../x/a.md#b)\n```\n"
    turned = page.replace("](../x/a.md#b) ", "](project/x/a.md#b) ")
    assert outside.turned("docs/page.md", page) == turned
    assert outside.turned("x/a.md", "[c](../docs/c.md) [e](e.py)") == "[c](../../c.md) [e](e.py.md)"
    assert outside.turned("docs/s/p.md", "[h](../../qaqfilter/hookspecs.py)") == (
        "[h](../api/hookspecs.md)"
    )
    cell = {"cell_type": "code", "source": ["x"], "outputs": [{"text": ["1"]}]}
    shown = outside.shown("n.ipynb", json.dumps({"cells": [cell]}))
    assert [line for line in shown.splitlines() if line[:1] not in ("~", "")] == ["x", "1"]
    (tmp_path / "docs").mkdir()
    for name in outside.ALWAYS:
        (tmp_path / name).write_text(f"# {name}\n")
    (tmp_path / "docs" / "p.md").write_text("[gone](../gone.py)\n")
    monkeypatch.setattr(outside, "ROOT", tmp_path)
    with pytest.raises(outside.SiteError, match=r"docs/p\.md: the link '\.\./gone\.py' leads"):
        list(outside.pages())


# --- nothing from elsewhere -----------------------------------------------------------------


def test_no_page_fetches_from_another_host(site, folder):
    fetched = {link for page in site.values() for link in page.fetched}
    assert len(fetched) > 10
    assert {link for link in fetched if urlsplit(link).netloc or urlsplit(link).scheme} == set()
    sheets = list((folder / "html").rglob("*.css"))
    assert sheets
    for sheet in sheets:
        addresses = re.findall(r"url\(([^)]*)\)|@import([^;]*)", sheet.read_text())
        odd = [
            a or b for a, b in addresses if not (a or b).strip("\"' ").startswith(("data:", "#"))
        ]
        assert [address for address in odd if "//" in address] == [], sheet


# --- the reference is complete ----------------------------------------------------------------


def test_every_public_name_and_hook_has_its_place(site):
    ids = {name for page in site.values() for name in page.ids}
    wanted = {f"qaqfilter.{name}" for name in qaqfilter.__all__}
    wanted |= {f"qaqfilter.testing.{name}" for name in testing.__all__}
    hooks = [name for name in vars(Specs) if name.startswith("qaqfilter_")]
    wanted |= {f"qaqfilter.hookspecs.Specs.{name}" for name in hooks}
    assert wanted - ids == set()
    headings = {name for name in site["hooks.html"].ids if name.startswith("qaqfilter_")}
    assert len(headings) == len(hooks)


def test_a_docstring_is_prose_with_code_and_links(site, folder):
    api = {name: page for name, page in site.items() if name.startswith("api/")}
    assert len(api) >= 8
    page = (folder / "html" / "api" / "hookspecs.html").read_text(encoding="utf-8")
    assert "::" not in re.sub(
        r"<[^>]*>", "", page.partition("<article")[2].partition("</article")[0]
    )
    assert page.count('class="language-python') >= len(KINDS)
    assert "attributes" not in {name for page in api.values() for name in page.ids}
    values = (folder / "html" / "api" / "values.html").read_text(encoding="utf-8")
    assert re.search(r'href="[^"]*#qaqfilter\.(types\.)?Origin"', values)


def test_the_gallery_has_every_bundled_component(site, folder):
    text = (folder / "pages" / "gallery.md").read_text(encoding="utf-8")
    rows = {
        re.match(r"\| \[`([^`]+)`\]", line)[1]: line
        for line in text.splitlines()
        if line.startswith("| [`")
    }
    offers = load_plugins().offers
    bundled = [o for o in offers.values() if o.distribution.split()[0] == "qaqfilter"]
    assert {offer.component.name for offer in bundled} == set(rows)
    for word in (
        "`similarity`, `duplicate_of`, `cluster`",
        "`qaqfilter_duplicates`",
        "`duplicates`",
    ):
        assert word in rows["near_duplicates"]
    assert "`ifd_ppl`" in rows["ifd"]


def test_the_search_knows_every_page(site, folder):
    index = json.loads((folder / "html" / "search.json").read_text(encoding="utf-8"))
    known = {item["location"].partition("#")[0] for item in index["items"]}
    assert set(site) - known == {"404.html"}
    inlined = (folder / "html" / "search.js").read_text(encoding="utf-8")
    assert json.loads(inlined.partition("=")[2].rstrip("; \n")) == index


# --- as a reader sees it, with nothing but the files --------------------------------------------


@pytest.fixture(scope="module")
def reader() -> Iterator[Browser]:
    with started() as browser:
        browser.cdp("Network.enable")
        browser.cdp("Network.setBlockedURLs", urls=["http://*", "https://*"])
        yield browser


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
@pytest.mark.parametrize("page", ["index.html", "architecture.html", "api/values.html"])
def test_a_page_shuts_nobody_out(page, size, dark, folder, reader):
    reader.open(folder / "html" / page, size=size, dark=dark)
    scheme = reader.script("return document.body.dataset.mdColorScheme")
    assert scheme == ("slate" if dark else "default")
    assert reader.overflow() <= 0
    assert reader.problems() == []
    assert {urlsplit(url).scheme for url in reader.requests()} == {"file"}
    assert reader.shut_out() == []


def test_the_search_works_from_the_disk(folder, reader):
    reader.open(folder / "html" / "selectors" / "rmi.html")
    reader.script("document.querySelector('.md-search__button').click()")
    ActionChains(reader.driver).pause(0.5).send_keys("fractional_ranks").perform()
    # The results are in a tree of their own.
    links = """
    const trees = [...document.querySelectorAll("*")].map(part => part.shadowRoot);
    return trees.filter(Boolean).flatMap(tree => [...tree.querySelectorAll("a")].map(a => a.href));
    """
    found = WebDriverWait(reader.driver, 30).until(lambda _: reader.script(links))
    assert any("/api/plugins.html#qaqfilter.fractional_ranks" in link for link in found), found
    assert reader.problems() == []


# --- diagrams -------------------------------------------------------------------------------


def test_there_are_diagrams():
    assert len(DIAGRAMS) >= 4


@pytest.mark.parametrize("path", DIAGRAMS, ids=lambda path: path.stem)
def test_a_diagram_is_used_described_and_fetches_nothing(path):
    used = [
        page
        for page in PAGES
        if re.search(
            rf"!\[[^\]]{{40,}}\]\((\.\./)?diagrams/{path.name}\)", (DOCS / page).read_text()
        )
    ]
    assert used, f"no page shows {path.name} with an alternative text"
    text = path.read_text(encoding="utf-8")
    root = ElementTree.fromstring(text)
    assert root.tag == f"{SVG}svg"
    assert root.get("role") == "img"
    for name in ("title", "desc"):
        [told] = root.findall(f"{SVG}{name}")
        assert told.get("id") in root.get("aria-labelledby", "").split()
        assert len(" ".join((told.text or "").split())) > 10
    for part in root.iter():
        assert part.tag not in {f"{SVG}{t}" for t in ("script", "image", "foreignObject", "use")}
        assert not [name for name in part.attrib if name.endswith("href") or name.startswith("on")]
    assert set(re.findall(r"url\(([^)]*)\)", text)) <= {"#head"}
    assert "@import" not in text
    assert "prefers-color-scheme: dark" in text


OVERLAPPING = """
const [picture] = document.getElementsByTagName("svg");
const edge = picture.getBoundingClientRect();
const texts = [...picture.querySelectorAll("text")];
const boxes = texts.map(text => [text, text.getBoundingClientRect()]);
const found = [];
for (const [text, a] of boxes) {
  if (a.left < edge.left + 4 || a.right > edge.right - 4 || a.bottom > edge.bottom - 4)
    found.push(`outside: ${text.textContent}`);
  for (const [other, b] of boxes)
    if (text !== other && a.left < b.right && b.left < a.right
        && a.top + 3 < b.bottom && b.top + 3 < a.bottom)
      found.push(`over another: ${text.textContent}`);
}
for (const box of picture.querySelectorAll("rect:not(.paper, .band)")) {
  const a = box.getBoundingClientRect();
  for (const [text, b] of boxes) {
    const middle = (b.top + b.bottom) / 2;
    const touches = b.left < a.right && a.left < b.right && a.top < middle && middle < a.bottom;
    if (touches && (b.left < a.left + 2 || b.right > a.right - 2))
      found.push(`wider than its box: ${text.textContent}`);
  }
}
return found;
"""


@pytest.mark.parametrize("path", DIAGRAMS, ids=lambda path: path.stem)
def test_no_word_of_a_diagram_is_cut_or_covered(path, reader):
    reader.open(path)
    assert reader.script(OVERLAPPING) == []


def test_a_covered_word_is_found(tmp_path, reader):
    svg = tmp_path / "bad.svg"
    svg.write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" width="200" height="100">'
        '<rect x="10" y="10" width="30" height="30"/><text x="12" y="30">a wide text</text>'
        '<text x="20" y="32">over it</text><text x="180" y="80">too far</text></svg>'
    )
    reader.open(svg)
    kinds = {line.partition(":")[0] for line in reader.script(OVERLAPPING)}
    assert kinds == {"outside", "over another", "wider than its box"}


def colour(reader: Browser, x: float, y: float) -> tuple[int, ...]:
    """Red, green and blue of a point of the page, as it is shown."""
    clip = {"x": x, "y": y, "width": 1, "height": 1, "scale": 1}
    shot = reader.cdp("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)["data"]
    png = base64.b64decode(shot)
    data, at = b"", 8
    while at < len(png):
        length = int.from_bytes(png[at : at + 4], "big")
        if png[at + 4 : at + 8] == b"IDAT":
            data += png[at + 8 : at + 8 + length]
        at += length + 12
    # One row of one pixel: the filter of the row, then the colours.
    return tuple(zlib.decompress(data)[1:4])


def test_a_diagram_follows_the_colours_that_the_reader_chose(folder, reader):
    """The system says light, the reader dark: the picture is as dark as the page."""
    reader.open(folder / "html" / "methods.html", dark=False)
    place = """
    const box = document.querySelector('img[src$="likelihoods.svg"]').getBoundingClientRect();
    return [box.right + scrollX - 20, box.top + scrollY + 20].map(Math.round);
    """
    x, y = reader.script(place)
    assert colour(reader, x, y) == (255, 255, 255)
    reader.script("document.body.setAttribute('data-md-color-scheme', 'slate')")
    assert max(colour(reader, x, y)) < 64


def test_the_diagram_of_likelihoods_says_what_selectors_ask_for():
    root = ElementTree.parse(DOCS / "diagrams" / "likelihoods.svg").getroot()
    drawn = {
        row.get("data-selector"): {dot.get("data-likelihood") for dot in row.iter(f"{SVG}circle")}
        for row in root.iter(f"{SVG}g")
    }
    asked = {}
    for (kind, name), offer in load_plugins().offers.items():
        made = offer.component
        if kind != "selector" or not (models := fields_marked(made.config, MODEL_NAME)):
            continue
        selector = made.create(made.config.model_validate({model: model for model in models}))
        asked[name] = {need.likelihood for need in selector.needs}
    assert drawn == asked
