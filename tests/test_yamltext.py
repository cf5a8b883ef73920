"""What of YAML is a recipe: plain data within bounds, and everything else refused with its line."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qaqfilter import RecipeError
from qaqfilter.yamlfile import parse_yaml, read_yaml
from qaqfilter.yamltext import MOST_BYTES, MOST_LEVELS, MOST_VALUES, parse


def refusal(text: str) -> str:
    with pytest.raises(RecipeError) as caught:
        parse_yaml(text, "r.yaml")
    (problem,) = caught.value.problems
    return problem


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-0012", -12),
        ("1_000_000", 1_000_000),
        ("0x1F", 31),
        ("0o17", 15),
        ("9223372036854775807", 2**63 - 1),
        ("1.5", 1.5),
        (".5e-3", 0.0005),
        ("1e3", 1000.0),
        ("-.inf", -math.inf),
        ("true", True),
        ("False", False),
        ("NULL", None),
        ("~", None),
        ("", None),
        ("yes", "yes"),
        ("off", "off"),
        ("tRUE", "tRUE"),
        ("1_", "1_"),
        ("0o9", "0o9"),
        ("1:60", "1:60"),
        ("2001-99-99", "2001-99-99"),
        ("'1'", "1"),
        ('"null"', "null"),
        ("|\n  1\n", "1\n"),
        ("١٢", "١٢"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text, value):
    found = parse(f"a: {text}", "r").plain()["a"]
    assert found == value
    assert type(found) is type(value)


def test_not_a_number():
    assert math.isnan(parse(".nan", "r").plain())


@given(st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(allow_nan=False) | st.booleans())
def test_numbers_come_back(number):
    text = {True: "true", False: "false"}[number] if isinstance(number, bool) else repr(number)
    assert parse(text.replace("inf", ".inf"), "r").plain() == number


def test_keys_are_text():
    assert parse("1: a\ntrue: b\n~: c\n", "r").plain() == {"1": "a", "true": "b", "~": "c"}


def test_anchors_and_aliases_share_nothing():
    file = parse_yaml("a: &x {b: [1, 2]}\nc: *x\nd: [*x]\ne: &y 3\nf: *y\n", "r.yaml")
    assert file.data == {
        "a": {"b": [1, 2]},
        "c": {"b": [1, 2]},
        "d": [{"b": [1, 2]}],
        "e": 3,
        "f": 3,
    }
    file.set("c.b=5")
    assert (file.data["a"], file.data["c"]) == ({"b": [1, 2]}, {"b": 5})
    assert file.place(("a", "b", 0)) == "r.yaml:1"
    assert file.place(("d", 0)) == "r.yaml:1"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: !!python/object/apply:os.mkdir [x]", "r.yaml:2: the tag '!!python/object/apply"),
        ("a: !mine {b: 1}", "r.yaml:1: the tag '!mine': a recipe is plain data, without tags"),
        ("a: !!int '3'", "the tag '!!int'"),
        ("a: !!str 3", "text that looks like a number goes in quotes"),
        ("a: !!binary aGk=", "the tag '!!binary'"),
        ("!!set {a, b}", "the tag '!!set'"),
        ("%TAG ! tag:x,2000:\n---\na: !b 1", "r.yaml:3: the tag 'tag:x,2000:b'"),
        ("%YAML 1.1\n---\na: yes", "r.yaml:2: a recipe is YAML 1.2; remove the %YAML line"),
        ("a: &x {b: 1}\nc:\n  <<: *x", "r.yaml:3: the merge key '<<' is not in YAML 1.2; write"),
        ("a: &x [1, *x]", "r.yaml:1: the alias '*x' stands inside itself"),
        ("a: &x {b: *x}", "r.yaml:1: the alias '*x' stands inside itself"),
        ("a: *x", "r.yaml:1: the alias '*x' stands without its anchor before it"),
        ("[1]: 2", "r.yaml:1: a key is text"),
        ("? {a: 1}\n: 2", "r.yaml:1: a key is text"),
        ("a: &x b\n*x : 1", "r.yaml:2: a key is text"),
        ("!!str a: 1", "r.yaml:1: a key is text"),
        ("a: 1\n'a': 2", 'r.yaml:2: duplicate key "a": a key may stand only once'),
        ('"\\e": 1\n"\\e": 2', r'duplicate key "\x1b"'),
        ("1: 1\n'1': 2", 'r.yaml:2: duplicate key "1"'),
        ("a: 1\n---\nb: 2", "r.yaml:2: a second document"),
        ("a: 1\nb: 9223372036854775808", "r.yaml:2: a whole number of more than 64 bits"),
        ("a: " + "9" * 10_000, "r.yaml:1: a whole number of more than 64 bits"),
        ("a: 0x" + "f" * 10_000, "r.yaml:1: a whole number of more than 64 bits"),
        ('a: "\\ud800"', "r.yaml:1: half a character"),
        ('a: "\\UFFFFFFFF"', "not YAML"),
        ("a: 1\nb: \x1b", "r.yaml:2: not YAML: unacceptable character"),
        ("a: 1\nb: [", "r.yaml:2: not YAML"),
        ("a: 1\nb:\n\t- c", "r.yaml:3: not YAML: found character"),
        ("- 1", "r.yaml:1: a recipe is a mapping"),
        ("", "r.yaml:1: a recipe is a mapping"),
        ("!" + "x" * 100_000, "the tag"),
    ],
)
def test_what_is_refused(text, expected):
    problem = refusal(text)
    assert expected in problem
    assert len(problem) < 300


def test_a_billion_laughs_are_refused_before_they_are_written_out():
    rows = ["a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 40)]
    assert refusal("\n".join(rows)).startswith(f"r.yaml:5: more than {MOST_VALUES} values")


def test_as_many_values_as_are_allowed():
    assert len(parse(f"[{'1, ' * (MOST_VALUES - 1)}]", "r").plain()) == MOST_VALUES - 1
    assert f"more than {MOST_VALUES} values" in refusal(f"[{'1, ' * MOST_VALUES}]")


@pytest.mark.parametrize(("start", "end"), [("[", "]"), ("{a: ", "}")])
def test_as_deep_as_is_allowed(start, end):
    most = MOST_LEVELS - 1
    found = parse(f"{start * most}1{end * most}", "r").plain()
    for _ in range(most):
        found = found["a"] if isinstance(found, dict) else found[0]
    assert found == 1
    for levels in (MOST_LEVELS + 1, 5000):
        assert f"more than {MOST_LEVELS} lists" in refusal(start * levels + end * levels)


def test_aliases_cannot_build_a_tower():
    """Each is shallow where it stands, and all of them together are not."""
    rows = ["a0: &a0 [1]"]
    rows += [f"a{n}: &a{n} {'[' * 20}*a{n - 1}{']' * 20}" for n in range(1, 100)]
    assert refusal("\n".join(rows)).startswith(f"r.yaml:4: more than {MOST_LEVELS} lists")


def test_a_huge_file_is_not_read(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_bytes(b"# \xc3\xa4" + b" " * MOST_BYTES)
    with pytest.raises(RecipeError, match=f"more than {MOST_BYTES} bytes: not a recipe"):
        read_yaml(path)
    path.write_bytes(b"a: 1 #" + b" " * (MOST_BYTES - 6))
    assert read_yaml(path).data == {"a": 1}


def test_a_file_that_is_not_utf8(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_bytes(b"a: \xff")
    with pytest.raises(RecipeError, match="cannot be read"):
        read_yaml(path)


@given(st.text())
def test_any_text_is_data_or_refused(text):
    try:
        found = parse(text, "r").plain()
    except RecipeError as error:
        assert error.problems[0].startswith("r:")
    else:
        assert isinstance(found, dict | list | str | int | float | None)


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_json_is_read_as_what_it_is(value):
    # YAML wants this one character escaped, which JSON may leave as it is.
    assert parse(json.dumps(value).replace("\x7f", "\\u007f"), "r").plain() == value
