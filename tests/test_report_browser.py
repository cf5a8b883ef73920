"""The report as readers meet it: in a real browser, with a mouse, with a keyboard, in the dark."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

import browser as browsers
import qaqfilter
from browser import PATIENCE, PHONE, Browser
from qaqfilter.cli import run_cli

EXAMPLE = Path(__file__).parent.parent / "examples" / "quickstart.yaml"
A4 = (718, 1000)
"""What is between the usual margins of a sheet, in CSS pixels."""


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> qaqfilter.RunReport:
    """The quickstart: 150 real records, two real models, three steps, one of them in strata."""
    folder = tmp_path_factory.mktemp("quickstart")
    return qaqfilter.run(EXAMPLE, overrides=[f"output.path={folder / 'out'}"])


@pytest.fixture(scope="module")
def page(run) -> Path:
    return run.files["report"]


@pytest.fixture(scope="module")
def scores(run) -> dict[str, list]:
    return pq.read_table(run.files["scores"]).to_pydict()


def made(folder: Path, body: str, head: str = "") -> Path:
    path = folder / "page.html"
    path.write_text(f"<!doctype html><html><head>{head}</head><body>{body}</body></html>")
    return path


def find(browser: Browser, selector: str) -> WebElement:
    return browser.driver.find_element(By.CSS_SELECTOR, selector)


def find_all(browser: Browser, selector: str) -> list[WebElement]:
    return browser.driver.find_elements(By.CSS_SELECTOR, selector)


def until(browser: Browser, holds: Callable[[], object], what: str) -> None:
    WebDriverWait(browser.driver, PATIENCE).until(lambda _: holds(), what)


def colour(browser: Browser, selector: str, what: str = "color") -> str:
    text: str = browser.script(
        "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]",
        selector,
        what,
    )
    return text


# --- what the tests look with can see


def test_without_a_browser_the_tests_say_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    install = "apt-get install chromium chromium-driver"
    with pytest.raises(browsers.BrowserMissingError, match=install), browsers.started():
        pass


def test_a_request_would_be_seen(browser, tmp_path):
    asks = (
        '<img src="http://127.0.0.1:9/an-image" alt="">'
        '<script>fetch("http://127.0.0.1:9/a-fetch").catch(() => {});'
        'new WebSocket("ws://127.0.0.1:9/a-socket");</script>'
    )
    browser.open(made(tmp_path, asks))
    asked: list[str] = []

    def all_seen() -> bool:
        asked.extend(browser.requests())
        return {url.rpartition("/")[2] for url in asked} == {"an-image", "a-fetch", "a-socket"}

    until(browser, all_seen, "the three requests")


def test_an_error_would_be_seen(browser, tmp_path):
    browser.open(made(tmp_path, "<script>nothing.of.the.kind()</script>"))
    assert "nothing is not defined" in " ".join(browser.problems())


def test_what_the_policy_forbids_would_be_seen(browser, tmp_path):
    policy = "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'\">"
    browser.open(made(tmp_path, "<script>window.hacked = 1</script>", policy))
    assert "Content Security Policy" in " ".join(browser.problems())
    assert browser.script("return window.hacked") is None


def test_what_shuts_people_out_would_be_seen(browser, tmp_path):
    faint = '<p style="color: #aaa">faint</p><img src="data:,">'
    browser.open(made(tmp_path, faint, "<title>a page</title>"))
    found = " ".join(browser.shut_out())
    assert all(rule in found for rule in ("color-contrast", "image-alt", "html-has-lang"))


def test_too_wide_a_page_would_be_seen(browser, tmp_path):
    wide = '<div style="width: 800px">wide</div>'
    phone = '<meta name="viewport" content="width=device-width, initial-scale=1">'
    browser.open(made(tmp_path, wide, phone), size=PHONE)
    assert browser.overflow() > 400


def test_markup_of_a_record_would_be_seen(browser, tmp_path):
    """The texts that the report is tried with do act where nobody escapes them."""
    browser.open(made(tmp_path, SCRIPTS[0]))
    assert browser.script("return window.hacked") == 1
    for text in (*SCRIPTS[4:6], *SCRIPTS[8:11]):
        browser.open(made(tmp_path, f'<p title="{text}">{text}</p>'))
        assert browser.script(ALIEN) != [], text


# --- the page


def test_it_opens_without_complaint_and_asks_for_nothing(browser, page, run):
    browser.open(page)
    browser.unfold()
    assert browser.problems() == []
    assert browser.requests() == []
    assert browser.script("return document.title") == f"quickstart: {run.kept} of 150 records kept"


def test_every_chart_is_drawn(browser, page, run):
    """Marks are counted and measured: an empty frame is a drawing too."""
    browser.open(page)
    charts = browser.script("""
        const drawn = {};
        for (const chart of document.querySelectorAll(".chart")) {
          const marks = [...chart.querySelectorAll("[class*='role-mark'] path")];
          drawn[chart.id] = marks.map((it) => it.__data__)
            .filter((mark) => mark.datum && "outcome" in mark.datum)
            .map((mark) => ({kind: mark.mark.marktype, height: mark.height,
              count: mark.datum.count, stratum: mark.datum.stratum || 0}));
        }
        return drawn;
    """)
    assert {"scores-0", "scores-1", "strata-1", "plane-1", "scores-2", "ranks-2"} <= {*charts}
    ifd, rmi, qaq = (step.read for step in run.steps)
    for name, records in {"plane-1": rmi, "ranks-2": qaq}.items():
        assert [mark["kind"] for mark in charts[name]] == ["symbol"] * records
    bars = {name: marks for name, marks in charts.items() if name not in ("plane-1", "ranks-2")}
    for name, marks in bars.items():
        assert len(marks) > 10, name
        for stratum in {mark["stratum"] for mark in marks}:
            here = [mark for mark in marks if mark["stratum"] == stratum]
            unit = here[0]["height"] / here[0]["count"]
            # A bar is as high as it has records.
            assert [mark["height"] / mark["count"] for mark in here] == pytest.approx(
                [unit] * len(here)
            ), name
    counted = {name: sum(mark["count"] for mark in marks) for name, marks in bars.items()}
    assert counted["scores-0"] == ifd == 150
    assert counted["scores-1"] == counted["strata-1"] == rmi
    assert counted["scores-2"] == qaq


def test_every_axis_has_its_title(browser, page):
    browser.open(page)
    titles = browser.script("""
        const titles = (chart) => [...chart.querySelectorAll(".role-axis-title text")];
        return Object.fromEntries([...document.querySelectorAll(".chart")].map(
          (chart) => [chart.id, titles(chart).map((text) => text.textContent)]));
    """)
    assert {name for name, found in titles.items() if not all(found) or not found} == set()
    assert {*titles["plane-1"]} == {"rmi.nll_query", "rmi.rmi"}
    assert {*titles["ranks-2"]} == {"qaq.strong_rank", "qaq.weak_rank"}


@pytest.mark.parametrize("size", [browsers.DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_labels_of_an_axis_do_not_touch(browser, page, size):
    browser.open(page, size=size)
    touching = browser.script("""
        const found = [];
        for (const axis of document.querySelectorAll(".chart .role-axis-label")) {
          const boxes = [...axis.querySelectorAll("text")]
            .filter((text) => text.textContent && getComputedStyle(text).opacity !== "0")
            .map((text) => ({text: text.textContent, box: text.getBoundingClientRect()}));
          boxes.forEach((one, index) => boxes.slice(index + 1).forEach((other) => {
            const apart = one.box.right + 3 < other.box.left || other.box.right + 3 < one.box.left
              || one.box.bottom < other.box.top + 2 || other.box.bottom < one.box.top + 2;
            if (!apart) found.push([axis.closest(".chart").id, one.text, other.text]);
          }));
        }
        return found;
    """)
    assert touching == []


def test_every_link_leads_somewhere(browser, page):
    browser.open(page)
    lost = browser.script("""
        return [...document.querySelectorAll("a")].map((a) => a.getAttribute("href"))
          .filter((to) => !to.startsWith("#") || document.getElementById(to.slice(1)) === null);
    """)
    assert lost == []
    twice = browser.script("""
        const ids = [...document.querySelectorAll("[id]")].map((it) => it.id);
        return ids.filter((id, index) => ids.indexOf(id) !== index);
    """)
    assert twice == []


# --- regions


def listed(browser: Browser, chart: str) -> dict[str, list[float]]:
    """id -> its values, as the list under a chart has them."""
    rows = browser.script(
        "return [...document.querySelectorAll(arguments[0])]"
        ".map((row) => [...row.cells].map((cell) => cell.textContent))",
        f"#picked-{chart} tbody tr",
    )
    return {row[0]: [float(text) for text in row[1:-2]] for row in rows}


def said(browser: Browser, chart: str) -> str:
    return find(browser, f"#picked-{chart}").text.partition("\n")[0]


def fill(browser: Browser, chart: str, *bounds: str) -> None:
    """Type bounds into the form of a chart and send it, with the keyboard alone."""
    fields = find_all(browser, f"#pick-{chart} input")
    assert len(fields) == len(bounds)
    for field, bound in zip(fields, bounds, strict=True):
        field.clear()
        field.send_keys(bound)
    fields[-1].send_keys(Keys.ENTER)


def test_bounds_that_are_typed_list_their_records(browser, page, scores):
    browser.open(page)
    fill(browser, "scores-0", "0.3", "0.8")
    expected = {
        id_: value
        for id_, value in zip(scores["id"], scores["ifd.ifd_ppl"], strict=True)
        if value is not None and 0.3 <= value <= 0.8
    }
    assert 5 < len(expected) <= 50  # no more are listed
    found = listed(browser, "scores-0")
    assert {*found} == {*expected}
    assert [*found.values()] == [[pytest.approx(expected[id_], rel=1e-3)] for id_ in found]
    assert said(browser, "scores-0").startswith(f"{len(expected)} of the 150 sampled records")
    outcomes = {row.text for row in find_all(browser, "#picked-scores-0 td:nth-child(3)")}
    assert "kept" in outcomes
    assert len(outcomes) > 1
    assert browser.problems() == []


def test_a_region_of_a_plane_has_two_pairs_of_bounds(browser, page, scores):
    browser.open(page)
    fill(browser, "plane-1", "4.2", "5", "0", "1")
    columns = scores["id"], scores["rmi.nll_query"], scores["rmi.rmi"]
    expected = {
        id_
        for id_, nll, rmi in zip(*columns, strict=True)
        if nll is not None and 4.2 <= nll <= 5 and 0 <= rmi <= 1
    }
    assert len(expected) > 5
    assert {*listed(browser, "plane-1")} == expected


def test_bounds_left_open_and_bounds_that_hold_nothing(browser, page):
    browser.open(page)
    fill(browser, "scores-0", "", "")
    assert said(browser, "scores-0").startswith("150 of the 150 sampled records")
    assert "the first 50 are listed" in said(browser, "scores-0")
    assert len(listed(browser, "scores-0")) == 50
    assert "Infinity" not in said(browser, "scores-0")
    fill(browser, "scores-0", "7", "8")
    assert said(browser, "scores-0").startswith("0 of the 150 sampled records")
    assert listed(browser, "scores-0") == {}


@pytest.mark.parametrize(("chart", "axes"), [("scores-0", 1), ("plane-1", 2), ("ranks-2", 2)])
def test_dragging_over_a_chart_lists_records(browser, page, chart, axes):
    browser.open(page)
    plot = find(browser, f"#{chart} .region_brush_bg path, #{chart} .background")
    browser.script("arguments[0].scrollIntoView({block: 'center'})", plot)
    width, height = plot.rect["width"], plot.rect["height"]
    drag = ActionChains(browser.driver, duration=50)
    drag.move_to_element_with_offset(plot, int(-width * 0.3), int(-height * 0.4))
    drag.click_and_hold()
    drag.move_by_offset(int(width * 0.3), int(height * 0.4))
    drag.move_by_offset(int(width * 0.25), int(height * 0.35)).release().perform()
    until(browser, lambda: listed(browser, chart), "a list of records")
    texts = [field.get_attribute("value") for field in find_all(browser, f"#pick-{chart} input")]
    bounds = [(float(low), float(high)) for low, high in zip(texts[::2], texts[1::2], strict=True)]
    assert len(bounds) == axes
    assert all(low < high for low, high in bounds)
    by_mouse = listed(browser, chart)
    for values in by_mouse.values():
        for value, (low, high) in zip(values, bounds, strict=True):
            # The fields round what was dragged to four digits.
            assert low - 1e-3 <= value <= high + 1e-3
    fill(browser, chart, *texts)
    assert len({*listed(browser, chart)} ^ {*by_mouse}) <= 2
    assert browser.problems() == []


def test_a_listed_record_opens(browser, page):
    browser.open(page)
    fill(browser, "scores-0", "", "")
    link = find(browser, "#picked-scores-0 a")
    card = link.get_attribute("href").rpartition("#")[2]
    assert not find(browser, f"#{card}").get_property("open")
    label = link.text
    link.click()
    until(browser, lambda: find(browser, f"#{card}").get_property("open"), "the record, open")
    assert find(browser, f"#{card} .id").text == label
    assert find(browser, f"#{card} pre").is_displayed()
    assert in_view(browser, card)


def test_an_address_of_a_record_opens_it(browser, page):
    browser.open(page)
    card = find_all(browser, ".record[id]")[-1].get_attribute("id")
    browser.open(page, fragment=f"#{card}")
    assert find(browser, f"#{card}").get_property("open")
    until(browser, lambda: in_view(browser, card), "the record, in view")


def test_a_link_opens_its_record_a_second_time(browser, page):
    """The address is the same then, and browsers do not tell scripts of that."""
    browser.open(page)
    fill(browser, "scores-0", "", "")
    link = find(browser, "#picked-scores-0 a")
    card = find(browser, f"#{link.get_attribute('href').rpartition('#')[2]}")
    for _ in range(2):
        link.click()
        until(browser, lambda: card.get_property("open"), "the record, open")
        browser.script("arguments[0].open = false", card)


def in_view(browser: Browser, id_: str) -> bool:
    inside: bool = browser.script(
        "const box = document.getElementById(arguments[0]).getBoundingClientRect();"
        "return box.top < innerHeight && box.bottom > 0",
        id_,
    )
    return inside


def test_a_bar_says_its_numbers_beside_the_pointer_and_nowhere_else(browser, page):
    browser.open(page)
    height = browser.script("return document.documentElement.scrollHeight")
    bar = find_all(browser, "#scores-0 [class*='layer_0_marks'] path")[8]
    browser.script("arguments[0].scrollIntoView({block: 'center'})", bar)
    ActionChains(browser.driver, duration=50).move_to_element(bar).perform()
    until(browser, lambda: find_all(browser, "#vg-tooltip-element.visible"), "the numbers")
    told = find(browser, "#vg-tooltip-element")
    assert told.is_displayed()
    counted = browser.script("return arguments[0].__data__.datum.count", bar)
    assert f"records {counted}" in told.text
    across, down = browser.script(
        """
        const [one, other] = [...arguments].map((it) => it.getBoundingClientRect());
        const between = (a, b, c, d) => Math.max(0, c - b, a - d);
        return [between(one.left, one.right, other.left, other.right),
                between(one.top, one.bottom, other.top, other.bottom)];
        """,
        told,
        bar,
    )
    assert across < 40
    assert down < 40
    ActionChains(browser.driver, duration=50).move_to_element(find(browser, "h3")).perform()
    until(browser, lambda: not told.is_displayed(), "nothing any more")
    assert browser.script("return document.documentElement.scrollHeight") == height


# --- who reads it, and where


@pytest.mark.parametrize(
    ("size", "dark"),
    [(browsers.DESKTOP, False), (browsers.DESKTOP, True), (PHONE, True)],
    ids=["light", "dark", "dark on a phone"],
)
def test_nobody_is_shut_out(browser, page, size, dark):
    """WCAG 2.2 A and AA by axe-core, with a list of records, and unfolded: tables, five records."""
    browser.open(page, size=size, dark=dark)
    fill(browser, "scores-0", "0.9", "1.2")
    browser.unfold()
    browser.script("""
        for (const it of [...document.querySelectorAll(".record")].slice(5)) it.open = false;
    """)
    assert browser.shut_out() == []
    assert browser.problems() == []


@pytest.mark.parametrize(
    ("dark", "media"),
    [(False, "screen"), (True, "screen"), (True, "print")],
    ids=["light", "dark", "on paper"],
)
def test_charts_stand_out_from_the_page(browser, page, dark, media):
    """axe-core cannot tell what is behind a drawing. WCAG: text 4.5 to 1, other marks 3 to 1."""
    browser.open(page, dark=dark)
    browser.media(media, dark=dark)
    inks = browser.script("""
        const found = {};
        for (const it of document.querySelectorAll(".chart svg text, .chart .role-mark path")) {
          if (it.closest("[class*='region_brush']")) continue;
          const style = getComputedStyle(it);
          const fill = style.fill.startsWith("rgb") && parseFloat(style.fillOpacity) > 0;
          const through = style.opacity * (fill ? style.fillOpacity : style.strokeOpacity);
          const key = [it.tagName, fill ? style.fill : style.stroke, through].join("|");
          if (through > 0) found[key] = true;  // a label that has no room is there, unseen
        }
        return Object.keys(found).map((key) => key.split("|"));
    """)
    assert {tag for tag, *_ in inks} == {"text", "path"}
    behind = rgb(colour(browser, "body", "backgroundColor"))
    for tag, ink, through in inks:
        mixed = [
            float(through) * front + (1 - float(through)) * back
            for front, back in zip(rgb(ink), behind, strict=True)
        ]
        assert contrast(mixed, behind) >= (4.5 if tag == "text" else 3), (tag, ink, through)


def rgb(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"[\d.]+", text)[:3]]


def contrast(one: list[float], other: list[float]) -> float:
    """As WCAG 2 defines it: 1 for equal colours, 21 for black on white."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour_: list[float]) -> float:
    linear = [
        share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4
        for share in (part / 255 for part in colour_)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_dark_and_light_differ_in_charts_too(browser, page):
    watched = {
        "body": "backgroundColor",
        "h1": "color",
        "a": "color",
        ".kept": "color",
        "#scores-0 .role-axis-label text": "fill",
        "#scores-0 [class*='role-mark layer_0'] path": "fill",
        "#plane-1 [class*='role-mark layer_1'] :is(line, path)": "stroke",
    }

    def seen() -> list[str]:
        return [colour(browser, selector, what) for selector, what in watched.items()]

    browser.open(page)
    light = seen()
    browser.open(page, dark=True)
    dark = seen()
    assert [one for one, other in zip(light, dark, strict=True) if one == other] == []
    browser.media("screen", dark=False)  # evening turns to morning over an open page
    until(browser, lambda: seen() == light, "the charts, in light colours")
    assert browser.problems() == []


def test_a_phone_scrolls_in_one_direction(browser, page):
    browser.open(page, size=PHONE)
    assert browser.overflow() == 0
    fill(browser, "plane-1", "", "", "", "")
    browser.unfold()
    assert browser.overflow() == 0
    wide = browser.script("""
        return [...document.querySelectorAll(".chart svg")]
          .filter((it) => it.getBoundingClientRect().right > innerWidth).length;
    """)
    assert wide == 0


@pytest.mark.parametrize("size", [browsers.DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_text_of_charts_can_be_read(browser, page, size):
    """No smaller than 9 pixels, shrunken drawings included."""
    browser.open(page, size=size)
    small = browser.script("""
        const found = [];
        for (const text of document.querySelectorAll(".chart svg text")) {
          const {a, b} = text.getScreenCTM();  // b, where it is turned
          const size = parseFloat(getComputedStyle(text).fontSize) * Math.hypot(a, b);
          if (size < 9) found.push([text.closest(".chart").id, text.textContent, size]);
        }
        return found;
    """)
    assert small == []


def test_print_has_what_paper_can_show(browser, page):
    browser.open(page, size=A4, dark=True)
    browser.media("print", dark=True)
    for selector in ("nav", "form.pick", "button"):
        assert {colour(browser, selector, "display")} == {"none"}
    assert colour(browser, "body", "backgroundColor") == "rgb(255, 255, 255)"
    assert colour(browser, "h1") == "rgb(27, 31, 39)"
    assert colour(browser, ".bar", "printColorAdjust") == "exact"
    assert colour(browser, "pre", "maxHeight") == "none"
    assert browser.overflow() == 0
    browser.unfold()
    assert browser.overflow() == 0
    wide = browser.script("""
        return [...document.querySelectorAll(".chart svg, table")]
          .filter((it) => it.getBoundingClientRect().right > innerWidth)
          .map((it) => it.textContent.slice(0, 60));
    """)
    assert wide == []


def test_a_keyboard_reaches_everything_in_order_and_sees_where_it_is(browser, page):
    browser.open(page)
    expected = browser.script("""
        const all = "a[href], button, input, summary, [tabindex]";
        return [...document.querySelectorAll(all)].filter((it) => it.checkVisibility()).length;
    """)
    assert expected > 60
    keys = ActionChains(browser.driver, duration=0)
    browser.script("""
        window.been = [];
        document.addEventListener("focusin", (event) => {
          const style = getComputedStyle(event.target);
          window.been.push([event.target, style.outlineStyle, parseFloat(style.outlineWidth)]);
        });
    """)
    for _ in range(expected):
        keys.send_keys(Keys.TAB)
    keys.perform()
    been = browser.script("""
        const follows = (one, other) =>
          one.compareDocumentPosition(other) & Node.DOCUMENT_POSITION_FOLLOWING;
        return {
          count: new Set(window.been.map(([element]) => element)).size,
          backwards: window.been.slice(1).filter(
            ([it], before) => !follows(window.been[before][0], it)).length,
          unseen: window.been.filter(([, style, width]) => style === "none" || !(width >= 2))
            .map(([element]) => element.outerHTML.slice(0, 100)),
        };
    """)
    assert been == {"count": expected, "backwards": 0, "unseen": []}


def test_a_keyboard_opens_records_and_tables(browser, page):
    browser.open(page)
    for selector in ("details.record", "figure details"):
        find(browser, f"{selector} > summary").send_keys(Keys.ENTER)
        until(browser, find(browser, selector).is_displayed, selector)
        assert find(browser, selector).get_property("open"), selector
    assert find(browser, "details.record pre").is_displayed()
    assert find(browser, "figure details table").is_displayed()


def test_without_scripts_tables_and_records_are_there(browser, page, run):
    browser.open(page, scripts=False)
    assert find_all(browser, "svg") == []
    funnel = find(browser, "#funnel table").text
    assert "read 150" in funnel
    assert f"passed {run.kept}" in funnel
    find(browser, "details.record > summary").click()
    assert find(browser, "details.record pre").text
    find(browser, "#figure-scores-0 summary").click()
    cells = find_all(browser, "#figure-scores-0 tbody tr")
    counts = [re.findall(r"\S+", row.text)[-2:] for row in cells]
    assert sum(int(kept) + int(lost) for kept, lost in counts) == 150
    assert browser.problems() == []


def test_without_scripts_nothing_is_offered_that_needs_them(browser, page):
    browser.open(page, scripts=False)
    useless = find_all(browser, "form.pick, .chart")
    assert [it.get_attribute("id") for it in useless if it.is_displayed()] == []


# --- runs with little to show

VARIED = [{"query": f"question {n}", "answer": "word " * (n % 7 + 1)} for n in range(40)]
RMI = "rmi, model: toy, strata: {by: nll_query, bins: 3}, keep: {rank: [0.1, 0.9]}}"
ODD = {
    "no record": ([], f"[{{id: rmi, use: {RMI}]"),
    "one record": (VARIED[:1], f"[{{id: rmi, use: {RMI}]"),
    "all alike": (VARIED[:1] * 30, f"[{{id: rmi, use: {RMI}]"),
    "empty texts": ([{"query": "", "answer": ""}] * 9, f"[{{id: rmi, use: {RMI}]"),
    "none kept": (
        VARIED,
        f"[{{id: len, use: length, of: answer, keep: {{min: 999}}}}, {{id: rmi, use: {RMI}]",
    ),
    "scores alone": (VARIED, "[{id: rmi, use: rmi, model: toy}]"),
    "no model": (VARIED, "[{id: one, use: exact_duplicates}]"),
    "long names": (VARIED, f"[{{id: {'n' * 60}, use: {RMI}]"),
}


@pytest.mark.parametrize("name", ODD)
def test_a_run_with_little_to_show_is_shown(browser, tmp_path, name):
    rows, steps = ODD[name]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"version: 1\nname: {name}\ninput: {{use: jsonl, path: data.jsonl}}\n"
        f"models: {{toy: {{use: ngram}}}}\nsteps: {steps}\noutput: {{use: jsonl, path: out}}\n"
    )
    browser.open(qaqfilter.run(recipe).files["report"], size=PHONE)
    browser.unfold()
    assert browser.problems() == []
    assert browser.overflow() == 0
    charts = find_all(browser, ".chart")
    assert [it for it in charts if not it.find_elements(By.CSS_SELECTOR, ".role-mark path")] == []
    assert find(browser, "#funnel").is_displayed()


# --- records that mean no good

SCRIPTS = [
    "<script>window.hacked=1</script>",
    "</style><script>window.hacked=1</script>",
    "</script><script>window.hacked=1</script>",
    "<!--<script>",  # after this, </script> no longer ends a script
    '"><img src=x onerror=window.hacked=1>',
    "'><svg onload=window.hacked=1>",
    "--><script>window.hacked=1</script><!--",
    "]]></pre></details></main><script>window.hacked=1</script>",
    '<iframe src="javascript:parent.hacked=1"></iframe>',
    '<meta http-equiv="refresh" content="0;url=http://127.0.0.1:9/">',
    '<base href="http://127.0.0.1:9/"><link rel=stylesheet href=//127.0.0.1:9/x>',
    "javascript:window.hacked=1",
    "datum.constructor.constructor('window.hacked=1')()",
    '{"signal": "datum.constructor.constructor(\'window.hacked=1\')()"}',
    "{{ self.__init__.__globals__ }}{% raw %}",
    "__proto__",
    "constructor",
    "&lt;script&gt;",
    '```"><img src=x onerror=window.hacked=1>\ncode\n```',
    "```html\n<script>window.hacked=1</script>\n```",
    "def f():\n    return '<script>window.hacked=1</script>'",
]
DECEITS = [
    "a\u202eb",
    "a\u2066b\u2069",
    "a\u0000b",
    "a\u200bb\ufeff",
    "a\u001b[2Jb\u009b",
    "a\u2028b",
]
UNSEEN = "[\u202a-\u202e\u2066-\u2069\u0000\u001b\u009b\u200b\ufeff\u2028]"
HUGE = "<script>window.hacked=1</script>" * 32768


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> Path:
    """A report of records that try everything, in a file whose name does too."""
    folder = tmp_path_factory.mktemp("hostile")
    rows = [
        {"id": f"{text}", "query": f"q {text}", "answer": f"a {text}", "kind": text}
        for text in (*SCRIPTS, *DECEITS)
    ]
    rows.append({"id": HUGE, "query": HUGE[:99999], "answer": HUGE, "kind": HUGE})
    rows += [{"id": f"plain {n}", "query": f"{n} x", "answer": f"a b {n}"} for n in range(20)]
    lines = [json.dumps(row) for row in rows]
    lines += [  # JSON lets halves of characters in
        '{"id": "half", "query": "<script>\\ud800", "answer": "\\udc00</script>", "kind": "half"}',
        '{"id": "\\ud800<script>window.hacked=1</script>", "query": "q", "answer": "a"}',
        "<script>window.hacked=1</script>",
    ]
    (folder / '"><img src=x onerror=window.hacked=1>.jsonl').write_text("\n".join(lines))
    recipe = folder / "recipe.yaml"
    recipe.write_text(
        "version: 1\n"
        'name: "<script>window.hacked=1</script>"\n'
        'input: {use: jsonl, path: "*.jsonl", on_error: quarantine, max_errors: 0.5}\n'
        "models: {toy: {use: ngram}, other: {use: ngram, order: 3}}\n"
        "steps:\n"
        "  - {id: long, use: length, of: answer, group: kind, keep: {fraction: 0.9}}\n"
        "  - {id: rmi, use: rmi, model: toy, strata: {by: nll_query, bins: 2}, "
        "keep: {fraction: 0.8}}\n"
        "  - {id: ifd, use: ifd, model: toy, group: kind, keep: {fraction: 0.9}}\n"
        "  - {id: qaq, use: disagreement, strong: toy, weak: other, keep: {fraction: 0.5}}\n"
        "output: {use: jsonl, path: out}\n"
    )
    report = qaqfilter.run(recipe)
    assert report.read == len(lines)
    assert report.quarantined == 3
    return report.files["report"]


ALIEN = """
    return [...document.querySelectorAll(
      "img, iframe, object, embed, link, base, meta[http-equiv=refresh], a[href^=javascript]")]
      .concat([...document.querySelectorAll("*")].filter(
        (it) => it.getAttributeNames().some((name) => name.startsWith("on"))))
      .map((it) => it.outerHTML.slice(0, 200));
"""
TEXT = """
    const page = document.documentElement.cloneNode(true);
    for (const script of page.querySelectorAll("script")) script.remove();
    return page.textContent;
"""
CENSUS = """
    return ["html", "head", "body", "main", "footer", "title", "style", "script", "meta"].map(
      (name) => document.querySelectorAll(name).length);
"""


def test_hostile_records_are_only_text(browser, page, hostile):
    browser.open(page)
    usual = browser.script(CENSUS)
    browser.open(hostile)
    for chart in ("scores-1", "plane-1"):
        fill(browser, chart, *[""] * len(find_all(browser, f"#pick-{chart} input")))
        assert listed(browser, chart)
    browser.unfold()
    assert browser.script("return window.hacked") is None
    assert browser.script(ALIEN) == []
    assert browser.script(CENSUS) == usual
    assert browser.problems() == []
    assert browser.requests() == []
    charts = find_all(browser, ".chart")
    assert len(charts) >= 5
    assert [it for it in charts if not it.find_elements(By.CSS_SELECTOR, ".role-mark path")] == []


def test_hostile_records_are_shown_as_they_are(browser, hostile):
    """Nothing is dropped to be safe: who reviews data sees what is in it."""
    browser.open(hostile)
    shown = browser.script("""
        return [...document.querySelectorAll(".record")].map((card) =>
          [card.querySelector(".id").textContent,
           ...[...card.querySelectorAll("pre")].map((it) => it.textContent)]);
    """)
    whole = {id_: texts for id_, *texts in shown if id_ in SCRIPTS}
    assert len(whole) > 3
    for id_, texts in whole.items():
        assert texts == [f"q {id_}", f"a {id_}"]


def test_what_deceives_the_eye_is_marked(browser, hostile):
    browser.open(hostile)
    fill(browser, "scores-0", "", "")
    assert set(re.findall(UNSEEN, browser.script(TEXT))) == set()
    assert {"a\\u202eb", "a\\u200bb\\ufeff"} <= {*listed(browser, "scores-0")}
    marks = {it.get_property("textContent") for it in find_all(browser, ".unseen")}
    assert marks >= {"U+202E", "U+2066", "U+0000", "U+001B", "U+2028"}


def test_a_megabyte_of_text_is_cut(browser, hostile):
    """Beside the charts' library, the file is small."""
    text = hostile.read_text(encoding="utf-8")
    library = sum(len(script) for script in re.findall(r"<script>(.*?)</script>", text, re.DOTALL))
    assert len(text) - library < 400_000
    browser.open(hostile)
    assert "cut here" in find(browser, "body").get_property("textContent")


def test_hostile_records_on_a_phone_without_scripts(browser, hostile):
    browser.open(hostile, size=PHONE, scripts=False)
    browser.unfold()
    assert browser.overflow() == 0
    assert browser.script("return window.hacked") is None
    assert browser.script(ALIEN) == []


# --- the pages of other verbs


@pytest.fixture(scope="module")
def pages(tmp_path_factory, hostile) -> dict[str, Path]:
    """What other verbs write of the hostile records; the report has heatmaps now."""
    folder = tmp_path_factory.mktemp("pages")
    other = qaqfilter.run(
        hostile.parent.parent / "recipe.yaml",
        overrides=[f"output.path={folder / 'other'}", "steps.qaq.keep.fraction=0.2"],
    )
    verbs = {
        "explain": ["explain", "--model", "toy", hostile.parent, SCRIPTS[4]],
        "explain, deceiving": ["explain", "--no-model", hostile.parent, DECEITS[0]],
        "diff": ["diff", hostile.parent, other.folder, "-n", "20"],
        "report": ["report", hostile.parent, "--heatmaps", "3"],
    }
    written = {name: folder / f"{name}.html" for name in verbs}
    for name, words in verbs.items():
        option = "--output" if name == "report" else "--html"
        assert run_cli([*map(str, words), option, str(written[name])]) == 0, name
    return written


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark on a phone"])
@pytest.mark.parametrize("name", ["explain", "diff", "report"])
def test_other_pages_open_for_everybody(browser, pages, name, dark):
    browser.open(pages[name], dark=dark, size=PHONE if dark else browsers.DESKTOP)
    browser.unfold()
    assert browser.problems() == []
    assert browser.requests() == []
    assert browser.overflow() == 0
    # The rest of the report is looked at above.
    assert browser.shut_out("pre.heat" if name == "report" else "html") == []


@pytest.mark.parametrize("name", ["explain", "explain, deceiving", "diff", "report"])
def test_other_pages_of_hostile_records_are_only_text(browser, pages, name):
    browser.open(pages[name], size=PHONE)
    browser.unfold()
    assert browser.script("return window.hacked") is None
    assert browser.script(ALIEN) == []
    # The report has its charts and their data; other pages have no script.
    assert browser.script("return document.scripts.length") == (4 if name == "report" else 0)
    assert len(find_all(browser, "pre.heat")) >= (2 if name in ("report", "explain") else 0)
    assert browser.problems() == []
    assert browser.requests() == []
    assert browser.overflow() == 0
    text = browser.script(TEXT)
    assert set(re.findall(UNSEEN, text)) == set()
    if name != "explain, deceiving":
        assert "onerror=window.hacked=1" in text
