"""Fixtures that several test files share."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from qaqfilter.manager import PluginManager, load_plugins

if TYPE_CHECKING:
    from browser import Browser

# A shared machine may stall for longer than any deadline; the examples are cheap.
hypothesis.settings.register_profile("qaqfilter", deadline=None)
hypothesis.settings.load_profile("qaqfilter")


@pytest.fixture(scope="session", autouse=True)
def scores_of_the_session(tmp_path_factory):
    """What fixtures score goes to a store of the tests' own, never to the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QAQFILTER_STORE", str(tmp_path_factory.mktemp("scores")))
        yield


@pytest.fixture(autouse=True)
def own_scores(scores_of_the_session, tmp_path_factory, monkeypatch):
    """Nothing is known from another test."""
    monkeypatch.setenv("QAQFILTER_STORE", str(tmp_path_factory.mktemp("scores")))


PAIRS = [
    ("add two numbers", "def add(a, b):\n    return a + b"),
    ("reverse a string", "def reverse(s):\n    return s[::-1]"),
    ("largest of a list", "def largest(xs):\n    return max(xs)"),
    ("count the vowels in a word", "def vowels(w):\n    return sum(c in 'aeiou' for c in w)"),
    ("read a file as text", "def read(path):\n    return open(path).read()"),
    ("is the number even", "def even(n):\n    return n % 2 == 0"),
    ("square every item of a list", "def squares(xs):\n    return [x * x for x in xs]"),
    ("join words with a comma", "def join(words):\n    return ', '.join(words)"),
]


@pytest.fixture(autouse=True, scope="session")
def _ctrl_c_works() -> None:
    """A shell that starts the tests in the background has them ignore SIGINT; take it back."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def manager() -> PluginManager:
    """Every installed plugin."""
    return load_plugins()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One headless Chromium; each test opens its own page in it."""
    from browser import started

    with started() as window:
        yield window


@pytest.fixture
def pairs() -> list[tuple[str, str]]:
    """Eight small (query, answer) pairs."""
    return list(PAIRS)


@pytest.fixture
def write_jsonl(tmp_path: Path) -> Callable[..., Path]:
    """Write (query, answer) pairs as JSON lines into the test's folder."""

    def write(pairs: list[tuple[str, str]], name: str = "data.jsonl") -> Path:
        path = tmp_path / name
        lines = [json.dumps({"query": q, "answer": a}) + "\n" for q, a in pairs]
        path.write_text("".join(lines), encoding="utf-8")
        return path

    return write


@pytest.fixture
def write_recipe(tmp_path: Path, write_jsonl: Callable[..., Path]) -> Callable[..., Path]:
    """Write a recipe over `PAIRS` with an n-gram model; the steps are the test's."""

    def write(steps: str, *, head: str = "", pairs: list[tuple[str, str]] | None = None) -> Path:
        write_jsonl(PAIRS if pairs is None else pairs)
        path = tmp_path / "recipe.yaml"
        path.write_text(
            "version: 1\nname: test\ninput: {use: jsonl, path: data.jsonl}\n"
            "models:\n  toy: {use: ngram}\n"
            f"{head}steps:\n{steps}\noutput: {{use: jsonl, path: out}}\n",
            encoding="utf-8",
        )
        return path

    return write
