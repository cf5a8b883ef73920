"""The docstrings source, on the real standard library (parsed once: 3 to 7 seconds)."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import subprocess
import sys
import textwrap
from collections import Counter

import orjson
import pytest
from pydantic import ValidationError

from qaqfilter import SourceError
from qaqfilter_docstrings.functions import functions
from qaqfilter_docstrings.packages import modules
from qaqfilter_docstrings.source import Docstrings, DocstringsOptions


def read(**options: object) -> list:
    return list(Docstrings(DocstringsOptions(**options)).read())


@pytest.fixture(scope="module")
def stdlib() -> list:
    return read(limit=300, seed=1)


def test_the_sample_of_the_standard_library(stdlib) -> None:
    assert len(stdlib) == 300
    for side in ("id", "query", "answer"):
        assert len({getattr(record, side) for record in stdlib}) == 300
    assert len({record.origin for record in stdlib}) == 300
    places = [(record.origin.part, record.origin.line) for record in stdlib]
    assert places == sorted(places)
    assert not any(part.split(".")[0] in {"test", "idlelib"} for part, _ in places)
    for record in stdlib:
        assert 20 <= len(record.query) <= 2000
        assert 40 <= len(record.answer) <= 4000


def test_answers_are_the_functions_without_their_docstrings(stdlib) -> None:
    """Compare with what Python itself says of a few modules that may be imported safely."""
    checked = 0
    for record in stdlib:
        module, _, name = record.id.partition(":")
        if module.split(".")[0] not in {
            "json",
            "decimal",
            "logging",
            "inspect",
            "pathlib",
            "statistics",
            "_pydecimal",
            "typing",
            "http",
            "urllib",
        }:
            continue
        value = importlib.import_module(module)
        try:
            for part in name.split(":")[0].split("."):
                value = inspect.getattr_static(value, part)
        except AttributeError:
            continue  # a local function
        if getattr(value, "__module__", None) != module:
            continue  # another package has put its own in place (torch does, in inspect)
        if not inspect.isfunction(value) or value.__code__.co_firstlineno > record.origin.line:
            continue
        assert record.query == inspect.cleandoc(value.__doc__).strip()
        theirs = ast.parse(textwrap.dedent(inspect.getsource(value))).body[0]
        ours = ast.parse(record.answer).body[0]
        assert ast.dump(ours.args) == ast.dump(theirs.args)
        assert list(map(ast.dump, ours.body)) == list(map(ast.dump, theirs.body[1:]))
        checked += 1
    assert checked >= 10


def test_rows_are_json_lines(stdlib) -> None:
    for record in stdlib:
        assert record.row.endswith(b"}\n")
        assert orjson.loads(record.row) == record.fields
        assert record.fields["query"] == record.query
        assert record.fields["lineno"] == record.origin.line
        assert record.fields["damage"] is None


@pytest.fixture(scope="module")
def package() -> list:
    return read(package="json")


def test_a_package_is_read_without_being_imported() -> None:
    code = (
        "import sys\n"
        "from qaqfilter_docstrings.source import Docstrings, DocstringsOptions\n"
        "print(len(list(Docstrings(DocstringsOptions(package='wsgiref')).read())),"
        " 'wsgiref' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    count, imported = done.stdout.split()
    assert int(count) > 5
    assert imported == "False"


def test_a_single_module_is_a_package_too() -> None:
    assert {record.origin.part for record in read(package="textwrap")} == {"textwrap"}
    assert "textwrap:dedent" in {record.id for record in read(package="textwrap")}


@pytest.mark.parametrize("name", ["no_such_package_here", "sys", "__main__"])
def test_no_source_to_be_had(name: str) -> None:
    with pytest.raises(SourceError, match=name):
        read(package=name)


def test_samples_depend_on_the_seed_alone(package) -> None:
    assert len(package) > 10
    first, again, other = (read(package="json", limit=5, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert {r.id for r in first} != {r.id for r in other}
    assert {r.id for r in first} <= {r.id for r in package}
    assert [r.id for r in read(package="json", limit=10**6)] == [r.id for r in package]


def test_damage_is_what_it_says(package) -> None:
    straight = {record.id: record for record in package}
    found = read(package="json", damage={"swapped": 4, "echoed": 2, "cut": 3}, seed=3)
    assert [r.id for r in found] == [r.id for r in package]
    done = {what: [r for r in found if r.fields["damage"] == what] for what in (
        "swapped", "echoed", "cut", None
    )}  # fmt: skip
    assert [len(records) for records in done.values()] == [4, 2, 3, len(package) - 9]
    swapped = done["swapped"]
    assert all(r.answer != straight[r.id].answer for r in swapped)
    assert Counter(r.answer for r in swapped) == Counter(straight[r.id].answer for r in swapped)
    assert all(r.answer == r.query == straight[r.id].query for r in done["echoed"])
    for record in done["cut"]:
        whole = straight[record.id].answer
        assert record.answer == whole[: len(whole) // 5]
    assert done[None] == [straight[r.id] for r in done[None]]
    assert all(json.loads(r.row)["answer"] == r.answer for r in found)


def test_more_damage_than_records() -> None:
    with pytest.raises(SourceError, match="too few"):
        read(package="json", damage={"swapped": 10_000})


def test_one_source_parses_once(monkeypatch) -> None:
    source = Docstrings(DocstringsOptions(package="json"))
    first = list(source.read())
    monkeypatch.setattr("qaqfilter_docstrings.source.functions", None)
    assert list(source.read()) == first


@pytest.mark.parametrize(
    "options",
    [
        {"damage": {"swapped": 1}},
        {"limit": 0},
        {"limit": 3, "damage": {"cut": 4}},
        {"package": "a.b"},
    ],
)
def test_options_refused(options) -> None:
    with pytest.raises(ValidationError):
        DocstringsOptions(**options)


def test_skipped_folders() -> None:
    names = [name for name, _ in modules("stdlib")]
    assert names == sorted(names)
    assert "json.decoder" in names
    skipped = {"test", "tests", "idlelib", "lib2to3", "turtledemo", "site-packages"}
    assert not any(skipped & set(name.split(".")) for name in names)


TEXT = '''\
@decorated(1)  # why
def plain(a: int = 1) -> int:  # a comment
    # before
    """Say é.

        Indented more.
    Margin.
    """  # noqa
    # after
    return a


class Outer:
\tdef tabbed(self):
\t\t"Tabs."
\t\treturn """one
\t\ttwo
\tthree"""

\tasync def only(self):
\t\t"""Nothing below."""

\tdef none(self):
\t\treturn 1

    # far left comment
\tdef outer(self):
\t\t"Outer."
\t\tdef inner():
\t\t\t"Inner."
\t\t\tpass
\t\treturn inner


def line(): "é one"; return "é", 2
def brackets():
    (
        "in brackets"
    )
    return 1
def ends():
    """Two
    lines"""; x = 1
    return x
def tied():
    "Tied."; \\
    return
if True:
    def branch():
        "In a branch."; x = 1
        return x
'''


def test_functions_of_a_text() -> None:
    found = {f.qualname: f for f in functions(TEXT)}
    assert list(found) == [
        "plain", "Outer.tabbed", "Outer.outer", "Outer.outer.<locals>.inner", "line",
        "brackets", "ends", "branch",
    ]  # fmt: skip
    assert found["plain"] == (
        "plain",
        2,
        "Say é.\n\n    Indented more.\nMargin.",
        "@decorated(1)  # why\ndef plain(a: int = 1) -> int:  # a comment\n    # before\n"
        "    # after\n    return a",
    )
    # What stands inside a string is its value, and stays.
    assert found["Outer.tabbed"].source == (
        'def tabbed(self):\n\treturn """one\n\t\ttwo\n\tthree"""'
    )
    assert found["Outer.outer.<locals>.inner"].source == "def inner():\n\tpass"
    assert found["line"].source == 'def line(): return "é", 2'
    assert found["line"].docstring == "é one"
    assert found["brackets"].source == "def brackets():\n    return 1"
    assert found["ends"].source == "def ends():\n    x = 1\n    return x"
    assert found["branch"].source == "def branch():\n    x = 1\n    return x"


def test_text_that_does_not_parse() -> None:
    with pytest.raises((SyntaxError, ValueError)):
        list(functions("def f(:"))
