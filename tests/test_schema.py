"""The JSON Schema of recipes, in the terms of an editor's YAML language server: it is draft 7, says
no to a slip of the pen, has words for every key, and never contradicts `validate`.
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator
from ruamel.yaml import YAML

from qaqfilter import RecipeError
from qaqfilter.cli import run_cli
from qaqfilter.manager import PluginManager, load_plugins
from qaqfilter.recipe import load_recipe
from qaqfilter.schema import BLOCKS, recipe_schema
from qaqfilter.yamlfile import read_yaml
from test_docs import PAGES, blocks

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
# What json-schema.org lists for draft 7, as far as it says something to an editor.
KEYWORDS = {
    *("$ref", "title", "description", "default", "type", "enum", "const", "format"),
    *("properties", "required", "additionalProperties", "propertyNames", "patternProperties"),
    *("items", "additionalItems", "minItems", "maxItems", "uniqueItems", "contains"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    *("minProperties", "minLength", "maxLength", "pattern"),
    *("anyOf", "oneOf", "allOf", "not", "if", "then", "else"),
}

SLIPPED = """\
from qaqfilter import Component, Options, hookimpl
from pydantic import Field

class Inner(Options):
    {key}: int = Field(0{described})

class SlippedOptions(Options):
    inner: Inner = Field(Inner(), description="A block.")

@hookimpl
def qaqfilter_selectors():
    yield Component("{name}", SlippedOptions, lambda config: None, "a selector")
"""


@pytest.fixture(scope="module")
def schema(manager: PluginManager) -> dict:
    return recipe_schema(manager)


@pytest.fixture(scope="module")
def validator(schema: dict) -> Draft7Validator:
    return Draft7Validator(schema)


def subschemas(schema: object, place: str = "") -> Iterator[tuple[str, dict]]:
    """Every schema inside a schema, and where it stands; default, const and enum are data."""
    if isinstance(schema, list):
        for number, item in enumerate(schema):
            yield from subschemas(item, f"{place}/{number}")
    elif isinstance(schema, dict):
        yield place, schema
        for key, value in schema.items():
            if key in ("properties", "definitions"):
                for name, inner in value.items():
                    yield from subschemas(inner, f"{place}/{key}/{name}")
            elif key not in ("default", "const", "enum", "required"):
                yield from subschemas(value, f"{place}/{key}")


def undescribed(schema: dict) -> list[str]:
    """Keys for which an editor has nothing to say."""
    return [
        f"{place}/{name}"
        for place, inner in subschemas(schema)
        for name, told in inner.get("properties", {}).items()
        if not told.get("description", "").strip()
    ]


def plugin(folder: Path, name: str, key: str = "key", described: str = "") -> Path:
    path = folder / f"{name}.py"
    path.write_text(SLIPPED.format(name=name, key=key, described=described), encoding="utf-8")
    return path


# --- what an editor needs -----------------------------------------------------------------


def test_it_is_draft_7_and_nothing_later(schema):
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"
    Draft7Validator.check_schema(schema)
    used = {key for _, inner in subschemas(schema) for key in inner}
    assert used - KEYWORDS == {"$schema", "definitions"}
    # Nothing counts beside a reference in draft 7, so nothing may stand there.
    assert not [place for place, inner in subschemas(schema) if "$ref" in inner and len(inner) > 1]
    references = {inner["$ref"] for _, inner in subschemas(schema) if "$ref" in inner}
    assert references <= {f"#/definitions/{name}" for name in schema["definitions"]}


def test_unknown_keys_are_flagged_everywhere(schema):
    """Every mapping either has its keys listed and no others, or takes names of the user's."""
    free = {
        place
        for place, inner in subschemas(schema)
        if inner.get("type") == "object" and inner.get("additionalProperties") is not False
    }
    assert {place for place in free if "properties" in _at(schema, place)} == set()
    assert "/properties/models" in free


def _at(schema: dict, place: str) -> dict:
    for key in place.split("/")[1:]:
        schema = schema[int(key)] if isinstance(schema, list) else schema[key]
    return schema


def test_use_is_completed_with_every_installed_component(schema, manager):
    for block, (kind, _) in BLOCKS.items():
        choices = [choice["properties"] for choice in schema["definitions"][block]["oneOf"]]
        presets = [choice["preset"]["const"] for choice in choices if "preset" in choice]
        assert presets == (manager.names("preset") if block == "step" else [])
        uses = [choice["use"] for choice in choices if "preset" not in choice]
        assert [use["const"] for use in uses] == manager.names(kind) != []
        assert [use["description"] for use in uses] == [
            manager.component(kind, name).summary for name in manager.names(kind)
        ]
    executor = schema["definitions"]["RunKeys"]["properties"]["executor"]
    assert executor["anyOf"][0]["enum"] == manager.names("executor")


def test_choices_and_defaults_are_told(schema):
    keep = schema["definitions"]["Keep"]["properties"]
    assert (keep["of"]["enum"], keep["of"]["default"]) == (["survivors", "input"], "survivors")
    run = schema["definitions"]["RunKeys"]["properties"]
    assert (run["executor"]["default"], run["window"]["default"]) == ("local", 512)
    (jsonl,) = schema["definitions"]["output"]["oneOf"][:1]
    assert jsonl["properties"]["card"]["default"] is True


def test_every_key_has_words(schema):
    assert undescribed(schema) == []


def test_an_option_without_words_is_found(tmp_path):
    """The test before this one can fail."""
    found = recipe_schema(load_plugins([plugin(tmp_path, "wordless", "silent")]))
    assert undescribed(found) == ["/definitions/selector.wordless.Inner/silent"]


def test_models_of_one_name_in_two_plugins_stay_apart(tmp_path):
    files = [plugin(tmp_path, f"plugin_{key}", key, ", description='x'") for key in ("one", "two")]
    validator = Draft7Validator(recipe_schema(load_plugins(files)))
    recipe = recipe_of("{id: a, use: plugin_one, inner: {one: 1}}")
    assert validator.is_valid(recipe)
    recipe["steps"].append({"id": "b", "use": "plugin_two", "inner": {"two": 1}})
    assert validator.is_valid(recipe)
    recipe["steps"][1]["inner"] = {"one": 1}
    assert not validator.is_valid(recipe)


def recipe_of(step: str) -> dict:
    """A recipe as data; what the step says in YAML's flow style."""
    return {
        "version": 1,
        "name": "test",
        "input": {"use": "jsonl", "path": "data.jsonl"},
        "models": {"toy": {"use": "ngram"}},
        "steps": [YAML(typ="safe", pure=True).load(step)],
        "output": {"use": "jsonl", "path": "out"},
    }


def test_the_command_writes_it_to_a_file(tmp_path, capsys):
    file, mine = tmp_path / "schema.json", plugin(tmp_path, "mine", described=", description='x'")
    assert run_cli(["schema", "--output", str(file), "--plugin", str(mine)]) == 0
    written = json.loads(file.read_bytes())
    assert "selector.mine.Inner" in written["definitions"]
    assert run_cli(["schema", "--plugin", str(mine)]) == 0
    assert json.loads(capsys.readouterr().out) == written
    assert run_cli(["schema", "--output", str(tmp_path / "no" / "schema.json")]) == 2
    assert "cannot write" in capsys.readouterr().err


# --- recipes ------------------------------------------------------------------------------


def recipes_of_docs(tmp_path: Path) -> Iterator[tuple[str, dict]]:
    for page in PAGES:
        for found in blocks(page.read_text(encoding="utf-8"), page.name):
            whole = found.language == "yaml" and "version: 1" in found.text
            if whole and not {"invalid", "plugin"} & set(found.told):
                path = tmp_path / "recipe.yaml"
                path.write_text(found.text, encoding="utf-8")
                yield found.place, read_yaml(path).data


def keys_of(data: object, place: tuple = ()) -> Iterator[tuple]:
    """Where every key stands that is the recipe's language, and not a name of the user's."""
    if isinstance(data, dict):
        for key, value in data.items():
            if place != ("models",):
                yield (*place, key)
            yield from keys_of(value, (*place, key))
    elif isinstance(data, list):
        for number, item in enumerate(data):
            yield from keys_of(item, (*place, number))


def inside(data: object, place: tuple) -> object:
    for key in place:
        data = data[key]
    return data


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_valid_and_each_misspelt_key_is_not(path, validator):
    data = read_yaml(path).data
    assert list(validator.iter_errors(data)) == []
    places = list(keys_of(data))
    assert len(places) > 10
    for place in places:
        broken = copy.deepcopy(data)
        parent = inside(broken, place[:-1])
        parent[f"{place[-1]}x"] = parent.pop(place[-1])
        assert not validator.is_valid(broken), place


def test_recipes_of_the_docs_are_valid(tmp_path, validator):
    found = list(recipes_of_docs(tmp_path))
    assert len(found) > 5
    for place, data in found:
        assert [error.message for error in validator.iter_errors(data)] == [], place


WRONG = [
    "{id: a, use: rmi, model: toy, keep: {minimum: 1}}",
    "{id: a, use: rmi, variant: ifd_nll}",
    "{id: a, use: ifd, variant: ifd}",
    "{id: a, use: rmy}",
    "{id: a}",
    "{use: rmi}",
    "{id: a, use: rmi, keep: {rank: [0, 2]}}",
    "{id: a, use: rmi, keep: {fraction: 0}}",
    "{id: a, use: rmi, keep: {top: 1.5}}",
    "{id: a, use: rmi, strata: {by: nll_query, bin: 3}}",
    "{id: a, use: rmi, prompt: {use: plain, seperator: x}}",
]


@pytest.mark.parametrize("step", WRONG)
def test_slips_are_flagged(step, validator):
    assert not validator.is_valid(recipe_of(step))


# --- never against `validate` ---------------------------------------------------------------

# Names for each other's values. Whole numbers where a fraction is due are numbers too. No
# booleans, and no numbers in quotes: see the exceptions below.
VALUES = [
    None,
    "",
    "x",
    "toy",
    "plain",
    "jsonl",
    -1,
    3,
    0.5,
    [],
    {},
    ["a"],
    [0.1, 0.9],
    {"use": "x"},
]
BASES = [
    recipe_of(step)
    for step in (
        "{id: a, use: rmi, model: toy, strata: {by: nll_query, bins: 2}, keep: {rank: [0.1, 0.9]}}",
        "{id: a, use: ifd, variant: ifd_nll, prompt: {use: plain}, keep: {min: 1, invert: false}}",
        "{id: a, use: length, of: answer, unit: lines, keep: {min: 2, max: 40, fraction: 0.5}}",
    )
]
BASES[1]["run"] = {"executor": {"use": "local"}, "seed": 1, "store": False, "window": 8}
BASES[1]["prompt"] = None
BASES[2]["input"] |= {"fields": {"query": "q", "answer": "a"}, "on_error": "skip"}
BASES[2]["models"]["toy"] |= {"order": 3, "fit": ["text.txt"], "too_long": "cut_answer"}


# Edits that do no harm, so that not nearly all of the edited recipes are refused by both.
HARMLESS = [
    (("description",), "what it is for"),
    (("input", "max_errors"), 0.5),
    (("input", "on_error"), "fail"),
    (("models", "toy", "order"), 1),
    (("models", "toy", "prompt"), {"use": "plain", "separator": " "}),
    (("steps", 0, "keep"), {"above": 0, "top": 3, "of": "input"}),
    (("steps", 0, "keep"), {"below": -0.5, "invert": True}),
    (("steps", 0, "prompt"), None),
    (("output", "compression"), "gzip"),
    (("run",), {"executor": "local", "window_seconds": 2.5, "store": "scores"}),
]


@st.composite
def edited(draw, names: list[str]) -> dict:
    """A recipe with one to three random edits: keys gone, added or renamed; values replaced."""
    data = copy.deepcopy(draw(st.sampled_from(BASES)))
    for _ in range(draw(st.integers(1, 3))):
        places = [place for place in keys_of(data) if inside(data, place[:-1])]
        if not places:
            break
        place = draw(st.sampled_from(places))
        parent, key = inside(data, place[:-1]), place[-1]
        edit = draw(st.sampled_from(["harmless", "drop", "put", "value", "rename"]))
        if edit == "harmless":
            harmless, value = draw(st.sampled_from(HARMLESS))
            with suppress(LookupError, TypeError):  # another edit took its place away
                inside(data, harmless[:-1])[harmless[-1]] = copy.deepcopy(value)
        elif edit == "drop":
            del parent[key]
        elif edit == "put":
            parent[draw(st.sampled_from(names))] = copy.deepcopy(draw(st.sampled_from(VALUES)))
        elif edit == "value" or isinstance(parent[key], bool):
            parent[key] = copy.deepcopy(draw(st.sampled_from(VALUES)))
        else:
            parent[draw(st.sampled_from(names))] = parent.pop(key)
    return data


def accepted(data: dict, folder: Path, manager: PluginManager) -> bool:
    path = folder / "recipe.yaml"
    path.write_text(json.dumps(data), encoding="utf-8")
    try:
        load_recipe(path, manager)
    except RecipeError:
        return False
    return True


def test_what_validate_accepts_the_schema_accepts(tmp_path, schema, validator, manager):
    (tmp_path / "data.jsonl").write_text('{"query": "q", "answer": "a"}\n')
    (tmp_path / "text.txt").write_text("text")
    names = sorted(
        {name for _, inner in subschemas(schema) for name in inner.get("properties", {})}
    )
    outcomes: Counter[tuple[bool, bool]] = Counter()

    @settings(max_examples=400, suppress_health_check=list(HealthCheck))
    @given(edited(names))
    def check(data: dict) -> None:
        both = accepted(data, tmp_path, manager), validator.is_valid(data)
        outcomes[both] += 1
        assert both != (True, False), [e.message for e in validator.iter_errors(data)]

    for base in BASES:
        assert accepted(base, tmp_path, manager)
        assert validator.is_valid(base)
    check()
    assert outcomes[True, True] >= 10
    assert outcomes[False, False] >= 50


# Documented in docs/first-recipe.md: where the two differ.
@pytest.mark.parametrize(
    "path, value",
    [(("run", "window"), "8"), (("run", "window"), True), (("output", "rejects"), "no")],
)
def test_the_schema_is_stricter_about_quoted_numbers(tmp_path, validator, manager, path, value):
    (tmp_path / "data.jsonl").write_text("")
    data = copy.deepcopy(BASES[1])
    inside(data, path[:-1])[path[-1]] = value
    assert accepted(data, tmp_path, manager)
    assert not validator.is_valid(data)


@pytest.mark.parametrize(
    "path, value",
    [
        (("input", "path"), "${QAQFILTER_NOT_SET}/data.jsonl"),
        (("steps", 0, "strata", "by"), "no_such_column"),
        (("steps", 0, "model"), "no_such_model"),
        (("steps", 0, "keep"), {"min": 1, "above": 1}),
        (("steps", 0, "id"), "toy"),
        (("models", "toy", "sha256"), "0" * 64),
    ],
)
def test_what_validate_alone_can_tell(tmp_path, validator, manager, path, value):
    (tmp_path / "data.jsonl").write_text("")
    data = copy.deepcopy(BASES[0])
    assert accepted(data, tmp_path, manager)
    inside(data, path[:-1])[path[-1]] = value
    assert not accepted(data, tmp_path, manager)
    assert validator.is_valid(data)
