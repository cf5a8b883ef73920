"""The contract of pages: a file of its own, in which text of records stays text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from html.parser import HTMLParser
from typing import Any

import pytest

from qaqfilter.manager import load_plugins
from qaqfilter.pages import Page
from qaqfilter.protocols import Component
from qaqfilter.reopening import Reopened, reopened
from qaqfilter.testing.components import ComponentContract
from qaqfilter.testing.rules import rule
from qaqfilter.testing.samples import record, records

HOOK = "qaqfilter_pages"
TAG = "qaq-hostile"
HOSTILE = f"""</script></style></textarea></title>--><{TAG}>'"><{TAG} x="</pre><{TAG} """
LOADING = {"script": "src", "link": "href", "img": "src", "iframe": "src", "object": "data"}

Run = Callable[[dict[str, Any]], Reopened]


class PageContract(ComponentContract):
    """Override `component`, and `recipe` where the page needs other steps than one of `length`."""

    @pytest.fixture
    def recipe(self) -> dict[str, Any]:
        """A run that the page shows; its records hold text that tries to be markup."""
        keep = {"min": 1}
        return {"steps": [{"id": "size", "use": "length", "of": "answer", "keep": keep}]}

    @pytest.fixture
    def page(self, component: Component[Any], config: Any) -> Page:
        """The page under test."""
        made: Page = component.create(config)
        return made

    @pytest.fixture
    def finish(self, run_recipe: Callable[..., Any]) -> Iterator[Run]:
        """Makes a run of a recipe, as pages see it."""
        with ExitStack() as opened:

            def run(recipe: dict[str, Any]) -> Reopened:
                hostile = [record(n, HOSTILE, HOSTILE * n) for n in range(100, 104)]
                done = run_recipe(recipe, [*records(), *hostile])
                return opened.enter_context(reopened(done.folder, load_plugins()))

            yield run

    @pytest.fixture
    def finished(self, finish: Run, recipe: dict[str, Any]) -> Reopened:
        """A run of `recipe`."""
        return finish(recipe)

    @rule(HOOK)
    def test_wanted_are_rows_of_the_run(self, page: Page, finished: Reopened) -> None:
        """`wanted(run)` gives rows of the run, whole numbers from 0, for whose text there is
        room in memory.
        """
        wanted = list(page.wanted(finished.run))
        size = len(records()) + 4
        wrong = [row for row in wanted if not 0 <= int(row) < size or int(row) != row]
        assert not wrong, f"{wrong[:5]} of a run with the rows 0 to {size - 1}"

    @rule(HOOK)
    def test_html_is_a_page_in_bytes(self, page: Page, finished: Reopened) -> None:
        """`html(run, records)` returns the bytes of an HTML file in UTF-8."""
        found = finished.page(page)
        assert isinstance(found, bytes), f"it gave a {type(found).__name__}"
        start = found.decode().lstrip()[:15].lower()
        assert start.startswith(("<!doctype html", "<html")), f"it begins with {start!r}"

    @rule(HOOK)
    def test_text_of_records_stays_text(self, page: Page, finished: Reopened) -> None:
        """Text of records comes from anybody: nothing of it may act as markup or script."""
        tags = [tag for tag, _ in _elements(finished.page(page))]
        assert TAG not in tags, f"a record made an element <{TAG}>: escape its text"

    @rule(HOOK)
    def test_it_fetches_nothing(self, page: Page, finished: Reopened) -> None:
        """A page is self-contained: whoever opens it needs no net, and is announced nowhere."""
        for tag, attributes in _elements(finished.page(page)):
            place = attributes.get(LOADING.get(tag, ""), "") or ""
            inside = not place or place.startswith(("data:", "#"))
            assert inside, f"<{tag}> loads {place!r}: put it into the file"

    @rule(HOOK)
    def test_a_run_may_have_kept_nothing(
        self, page: Page, finish: Run, recipe: dict[str, Any]
    ) -> None:
        """A run has a page also where no record was kept."""
        none = {"id": "none", "use": "length", "of": "answer", "keep": {"min": 1e9}}
        assert finish({**recipe, "steps": [*recipe["steps"], none]}).page(page), "it is empty"


class _Reader(HTMLParser):
    """Collects elements as a browser would see them."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember it."""
        self.elements.append((tag, dict(attrs)))


def _elements(html: bytes) -> list[tuple[str, dict[str, str | None]]]:
    reader = _Reader()
    reader.feed(html.decode())
    reader.close()
    return reader.elements
