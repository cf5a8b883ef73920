"""Data may hold what a terminal obeys; nothing of it reaches one."""

from __future__ import annotations

import re
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.progress import Progress

from qaqfilter import Origin
from qaqfilter.cli.say import safe
from qaqfilter.layouts import LAYOUTS
from qaqfilter.printable import printable
from qaqfilter.progress import Bars, PlainLines

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202etxt.exe\rdone"
COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain naïve 漢字 🙂 \u00a0", "plain naïve 漢字 🙂 \u00a0"),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\nb\tc\r\0", "a\\x0ab\\x09c\\x0d\\x00"),
        ("\x7f\x80\x9f", "\\x7f\\x80\\x9f"),
        ("\u202e\u2066\u2028\ud800", "\\u202e\\u2066\\u2028\\ud800"),
    ],
)
def test_what_is_escaped(text, shown):
    assert printable(text) == shown


def test_what_is_kept():
    assert printable("a\nb\x1b", keep="\n") == "a\nb\\x1b"
    assert safe("a\n\tb\r") == "a\n\tb\\x0d"


@given(st.text(st.characters()))
def test_any_text_is_safe_and_can_be_encoded(text):
    assert not COMMANDS.search(printable(text))
    printable(text).encode()
    assert printable(printable(text)) == printable(text)


def test_an_origin_is_one_line():
    assert str(Origin("a\n\x1b.jsonl", 0, 3)) == "a\\x0a\\x1b.jsonl:3"


def test_names_of_fields_in_messages():
    with pytest.raises(ValueError, match="there are: ") as caught:
        LAYOUTS["query_answer"].read({EVIL: 1} | {f"x{n}" * 50: n for n in range(1000)})
    message = str(caught.value)
    assert not COMMANDS.search(message)
    assert message.endswith(" and 981 more")
    assert len(message) < 2000


def test_progress_shows_messages_escaped(capsys):
    lines = PlainLines()
    lines.started(EVIL, 1)
    lines.message(EVIL)
    lines.finished()
    assert not COMMANDS.search(capsys.readouterr().err)
    text = StringIO()
    with Progress(console=Console(file=text, width=200), disable=True) as progress:
        Bars(progress).message(EVIL)
    assert text.getvalue() == safe(EVIL) + "\n"


@pytest.mark.parametrize("on_error", ["quarantine", "skip", "fail"])
def test_a_run_over_evil_names(tmp_path, on_error):
    """A file name, a field name and the recipe's own name, printed by every part of a run."""
    (tmp_path / "a\x1b[2J\n.jsonl").write_bytes(
        b'{"query": "Q", "answer": "A", "id": "\\u001b[2J"}\n' * 2
        + b'{"\\u001b[2J\\u202e": 1}\n'
        + b'{"query": "Q"'
    )
    (tmp_path / "b.jsonl").write_bytes(b'{"query": "Q", "answer": "A"}\n' * 5)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        'version: 1\nname: "evil \\e[2J"\n'
        f"input: {{use: jsonl, path: '*.jsonl', on_error: {on_error}, max_errors: 5}}\n"
        "steps:\n  - {id: len, use: length, of: query, keep: {min: 0}}\n"
        "output: {use: jsonl, path: out}\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "qaqfilter", "run", str(recipe)], capture_output=True, check=False
    )
    printed = (done.stdout + done.stderr).decode()
    assert done.returncode == (3 if on_error == "fail" else 0), printed
    assert not COMMANDS.search(printed)
    assert r"a\x1b[2J\x0a.jsonl:3: field 'query' is missing; there are: \x1b[2J\u202e" in printed
    if on_error != "fail":
        assert r"evil \x1b[2J" in printed


def test_wrong_usage_is_printed_escaped():
    done = subprocess.run(
        [sys.executable, "-m", "qaqfilter", "\x1b[2J"], capture_output=True, check=False
    )
    assert done.returncode == 2
    assert b"\x1b" not in done.stderr
    assert b"x1b[2J" in done.stderr


def test_tables_show_names_as_they_are(capsys):
    """No markup of rich's, and no pictures for words between colons."""
    from rich.table import Table

    from qaqfilter.cli.say import plain_console

    table = Table()
    table.add_column(":smile:")
    table.add_row("[bold]:heart:[/bold]")
    plain_console().print(table)
    plain_console().print(":warning: 'a' 1 [red]x[/red]")
    out = capsys.readouterr().out
    assert ":smile:" in out
    assert "[bold]:heart:[/bold]" in out
    assert ":warning: 'a' 1 [red]x[/red]\n" in out
    console = r"\bConsole\("
    root = Path(__file__).parent.parent
    found = [
        path
        for folder in ("qaqfilter", "plugins")
        for path in (root / folder).rglob("*.py")
        if re.search(console, path.read_text()) and "progress" not in path.name
    ]
    assert [path.name for path in found] == ["say.py"]
