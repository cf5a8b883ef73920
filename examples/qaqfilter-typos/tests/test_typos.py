"""What a slip may do, what it must leave alone, and a calibration with this folder's recipe."""

import json
import shutil
import subprocess
import sys
from collections import Counter
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pytest
import qaqfilter_typos as plugin
from qaqfilter_typos import NEIGHBOURS, AnswerTypos, QueryTypos, mistyped, slipped, typeable

from qaqfilter import Origin, Record
from qaqfilter.manager import load_plugins

HERE = Path(__file__).parent.parent
PROSE = (
    "Default values are computed once, when the function is defined. Therefore they are shared. "
)


def words(text):
    return [word[0] for word in typeable(text)]


def kind(word, wrong):
    """Which of the four slips makes `wrong` of `word`; None for anything else."""
    for at in range(1, len(word)):
        head, letter, tail = word[:at], word[at], word[at + 1 :]
        if wrong == head + tail:
            return "left out"
        if tail and wrong == head + tail[0] + letter + tail[1:]:
            return "swapped"
        if any(wrong == head + near + tail for near in NEIGHBOURS[letter]):
            return "replaced"
        if any(wrong == head + letter + near + tail for near in NEIGHBOURS[letter]):
            return "put in"
    return None


def test_neighbours_are_those_of_the_keyboard():
    assert set(NEIGHBOURS["s"]) == set("awedzx")
    assert set(NEIGHBOURS["q"]) == set("wa")
    assert set(NEIGHBOURS["m"]) == set("njk")
    assert all(key in NEIGHBOURS[other] for key, near in NEIGHBOURS.items() for other in near)


@pytest.mark.parametrize("word", ["that", "Python", "letter", "aaaa", "dictionary"])
def test_a_slip_is_one_of_the_four_and_never_the_word(word):
    found = Counter(kind(word, slipped(word, np.random.default_rng(n))) for n in range(400))
    assert None not in found
    assert word not in {slipped(word, np.random.default_rng(n)) for n in range(400)}
    expected = {"left out", "put in", "replaced"} | ({"swapped"} if word != "aaaa" else set())
    assert set(found) == expected
    assert min(found.values()) > 40


def test_the_same_seed_the_same_copy():
    made = [mistyped(PROSE, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert made[0] == made[1] != made[2]


def test_about_one_word_in_eight():
    text = PROSE * 200
    before, after = text.split(), mistyped(text, np.random.default_rng(0)).split()
    pairs = list(zip_longest(before, after))
    changed = [(one, other) for one, other in pairs if one != other]
    assert all(kind(one.strip(".,"), other.strip(".,")) for one, other in changed)
    assert 0.11 < len(changed) / len(typeable(text)) < 0.14


def test_a_short_text_gets_one():
    for seed in range(50):
        assert mistyped("Sort it.", np.random.default_rng(seed)) != "Sort it."


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Use `sorted` here; then stop.", ["here", "then", "stop"]),
        ("See https://example.org/some/page for more.", ["more"]),
        ("Open data/input.txt or mail some.body@example.org please", ["Open", "mail", "please"]),
        ("Call os.path.join, not snake_case or camelCase or HTTP2.", ["Call"]),
        (
            "They don't use well-known names like max(these) often",
            ["They", "names", "like", "often"],
        ),
        ("text\n```python\nvalue other\n```\nmore", ["text", "more"]),
        ("text\n~~~\nvalue other", ["text"]),
        ("- item\n  ```\n  value\n  ```\n- again", ["item", "again"]),
        ("Result:\n    indented words here", ["Result"]),
        ("total = first plus second", []),
        ("SELECT name FROM users where that;", []),
        ("return text plus other", []),
        ("for line in lines:", []),
        ("For line one, look there.", ["line", "look", "there"]),
        ("from module import names", []),
        ("print(some, other)", []),
        ("Explain the operator ==.", ["Explain", "operator"]),
        ("größer Zeichen", ["Zeichen"]),
        ("", []),
    ],
)
def test_words_that_may_be_mistyped(text, found):
    assert words(text) == found


def record(query, answer):
    return Record("1", query=query, answer=answer, row=b"", origin=Origin("test", 0))


def test_each_damages_its_side():
    rng = np.random.default_rng(0)
    one = record("Write words here", PROSE)
    query, answer = QueryTypos().damage(one, [], rng)
    assert query != one.query
    assert answer == one.answer
    query, answer = AnswerTypos().damage(one, [], rng)
    assert query == one.query
    assert answer != one.answer
    assert QueryTypos().damage(record("x?", PROSE), [], rng) is None
    assert AnswerTypos().damage(record("Write", "x = 1"), [], rng) is None


def test_both_are_offered():
    assert {"query_typos", "answer_typos"} <= set(load_plugins().names("damage"))
    for component in plugin.qaqfilter_damages():
        made = component.create(component.config())
        assert made.damage(record("Write that", PROSE), [], np.random.default_rng(0))


def test_calibrate(tmp_path):
    for name in ("recipe.yaml", "data.jsonl"):
        shutil.copy(HERE / name, tmp_path)
    command = [sys.executable, "-c", "from qaqfilter.cli import main; main()"]
    command += ["calibrate", "recipe.yaml", "-n", "24"]
    command += ["--damage", "query_typos", "--damage", "answer_typos"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "out" / "calibration.json").read_text())
    # Two answers are code alone.
    assert [(one["damage"], one["records"]) for one in told["damages"]] == [
        ("query_typos", 24),
        ("answer_typos", 22),
    ]
    auc = {(one["step"], one["damage"]): one["auc"] for one in told["catches"]}
    assert auc["answer", "answer_typos"] > 0.65
    assert auc["query", "query_typos"] > 0.55
