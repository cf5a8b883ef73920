"""A headless Chromium that says what it objected to, what it asked for, and who it shuts out."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

DESKTOP = (1280, 900)
PHONE = (390, 844)
PATIENCE = 30
"""Seconds after which a page that is not drawn never will be; nothing is measured with it."""

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # containers, and root, have no sandbox to give
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--force-color-profile=srgb",
    "--hide-scrollbars",  # a screenshot of the whole page has nothing to scroll
    # What a browser does for itself would stand among the requests of the page.
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)
DRAWN = """
const charts = document.getElementById("charts");
return document.readyState === "complete"
  && (charts === null || document.documentElement.dataset.drawn === "yes");
"""
WCAG = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")


class BrowserMissingError(RuntimeError):
    """There is no Chromium, or nothing to drive it with."""


class Browser:
    """One window. What it tells is of the page that was opened last."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(
        self,
        page: Path,
        *,
        size: tuple[int, int] = DESKTOP,
        dark: bool = False,
        media: str = "screen",
        scripts: bool = True,
        fragment: str = "",
    ) -> None:
        """Open a file as a reader would, and wait until its charts are drawn.

        `size` is in CSS pixels; a narrow one is a phone, which obeys the page's viewport. Without
        `scripts` the page's own do not run; those of the tests do.
        """
        self.driver.get("about:blank")
        self._emulate(size, dark=dark, media=media, scripts=scripts)
        self.driver.get_log("browser")
        self.driver.get_log("performance")
        self.address = page.resolve().as_uri()
        self.driver.get(self.address + fragment)
        if scripts:
            WebDriverWait(self.driver, PATIENCE).until(
                lambda driver: driver.execute_script(DRAWN), f"{page} was not drawn"
            )

    def media(self, media: str, *, dark: bool = False) -> None:
        """Show the open page as in print or on screen, in a dark room or not."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.cdp("Emulation.setEmulatedMedia", media=media, features=[scheme])

    def script(self, text: str, *arguments: Any) -> Any:
        """Run the body of a function in the page."""
        return self.driver.execute_script(text, *arguments)

    def cdp(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command of the DevTools protocol."""
        answer: dict[str, Any] = self.driver.execute_cdp_cmd(method, parameters)
        return answer

    def problems(self) -> list[str]:
        """Errors and warnings in the console: of scripts, and of what the policy forbade.

        Each is told once.
        """
        return [
            f"{entry['level']}: {entry['message']}"
            for entry in self.driver.get_log("browser")
            if entry["level"] in ("SEVERE", "WARNING")
        ]

    def requests(self) -> list[str]:
        """What was asked for beside the file itself and data that it holds; each is told once."""
        messages = [
            json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")
        ]
        asked = [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]
        asked += [
            message["params"]["url"]
            for message in messages
            if message["method"] == "Network.webSocketCreated"
        ]
        return [
            url
            for url in asked
            if url.partition("#")[0] != self.address and not url.startswith("data:")
        ]

    def shut_out(self, within: str = "html") -> list[str]:
        """Where the page as it is shown now fails WCAG 2.2, levels A and AA, as axe-core sees it.

        `within` selects parts of it: all of a long page takes seconds.

        axe runs in a world of its own: the page's policy stays in force and need not allow it, and
        the page's scripts do not see it.
        """
        frame = self.cdp("Page.getFrameTree")["frameTree"]["frame"]["id"]
        world = self.cdp("Page.createIsolatedWorld", frameId=frame, worldName="axe")
        self._evaluate(axe(), world)
        options = {"runOnly": {"type": "tag", "values": WCAG}, "resultTypes": ["violations"]}
        run = f"axe.run({json.dumps(within)}, {json.dumps(options)}).then(JSON.stringify)"
        found = json.loads(self._evaluate(run, world))
        if not found["passes"]:
            raise AssertionError("axe-core looked at nothing")
        return [
            f"{rule['id']}: {node['html'][:200]}: {node['failureSummary']}"
            for rule in found["violations"]
            for node in rule["nodes"]
        ]

    def unfold(self) -> None:
        """Open all that is folded away."""
        self.script("for (const it of document.querySelectorAll('details')) it.open = true;")

    def overflow(self) -> int:
        """By how many pixels the document is wider than the window."""
        wide: int = self.script(
            "const page = document.documentElement; return page.scrollWidth - page.clientWidth;"
        )
        return wide

    def screenshot(self, path: Path) -> None:
        """A PNG of the whole page."""
        shot = self.cdp("Page.captureScreenshot", captureBeyondViewport=True, format="png")
        path.write_bytes(base64.b64decode(shot["data"]))

    def _emulate(self, size: tuple[int, int], *, dark: bool, media: str, scripts: bool) -> None:
        self.media(media, dark=dark)
        self.cdp("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.cdp(
            "Emulation.setDeviceMetricsOverride",
            width=size[0],
            height=size[1],
            deviceScaleFactor=1,
            mobile=size[0] < 600,
        )

    def _evaluate(self, expression: str, world: dict[str, Any]) -> Any:
        answer = self.cdp(
            "Runtime.evaluate",
            expression=expression,
            contextId=world["executionContextId"],
            awaitPromise=True,
            returnByValue=True,
        )
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"])
        return answer["result"].get("value")


@contextmanager
def started() -> Iterator[Browser]:
    """A browser until the end of the block."""
    chromium = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        raise BrowserMissingError(
            "chromium or chromedriver is not on the PATH: both show reports as readers see them. "
            "Install them with: apt-get install chromium chromium-driver"
        )
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    window = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield Browser(window)
    finally:
        window.quit()


def axe() -> str:
    """The script axe-core, out of a package whose own way to run it, Playwright, is not used."""
    package = find_spec("axe_playwright_python")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("axe_playwright_python; install the dependency group dev")
    return Path(package.origin).with_name("axe.min.js").read_text(encoding="utf-8")
