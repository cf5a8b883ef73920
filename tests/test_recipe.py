"""Recipes: what is wrong is said with file:line, key path, and a suggestion."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from qaqfilter import RecipeError
from qaqfilter.recipe import load_recipe

GOOD = """\
version: 1
name: good
input: {use: jsonl, path: data/*.jsonl, max_errors: 3}
models:
  strong: {use: ngram, order: 3}
  weak:
    use: ngram
    order: 2
    prompt: {use: plain, separator: "\\n\\n"}
steps:
  - {id: sane, use: length, keep: {min: 8, max: 2048}}
  - id: coherent
    use: rmi
    model: strong
    strata: {by: nll_query, bins: 10}
    keep: {rank: [0.0, 0.98]}
  - {id: qaq, use: disagreement, strong: strong, weak: weak, keep: {fraction: 0.25}}
output: {use: jsonl, path: out/}
run: {seed: 7}
"""


@pytest.fixture
def load(tmp_path, manager):
    def load_text(text: str, *overrides: str):
        path = tmp_path / "recipe.yaml"
        path.write_text(text)
        return load_recipe(path, manager, overrides)

    return load_text


def problems(load, text: str, *overrides: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load(text, *overrides)
    return [p.partition("recipe.yaml")[2] or p for p in caught.value.problems]


def test_a_good_recipe(load, tmp_path):
    recipe = load(GOOD)
    assert [step.id for step in recipe.steps] == ["sane", "coherent", "qaq"]
    assert recipe.source.options.path == str(tmp_path / "data/*.jsonl")
    assert Path(recipe.output.path) == tmp_path / "out"
    assert recipe.models["strong"].prompt.options.separator == "\n"
    assert recipe.models["weak"].prompt.options.separator == "\n\n"
    assert recipe.input.max_errors == 3
    assert recipe.executor.component.name == "local"


def test_a_resolved_recipe_is_a_recipe(load, tmp_path, manager):
    import json

    resolved = load(GOOD).resolved()
    again = load(json.dumps(resolved)).resolved()
    assert again == resolved


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "fraction: 0.25",
            "fractoin: 0.25",
            ":17: steps.qaq.keep.fractoin: unknown key; did you mean 'fraction'?",
        ),
        (
            "    strata: {by",
            "    stratta: {by",
            ":15: steps.coherent.stratta: unknown key; did you mean 'strata'?",
        ),
        ("name: good", "nmae: good", ":2: nmae: unknown key; did you mean 'name'?"),
        ("order: 3", "order: three", ":5: models.strong.order: input should be a valid integer"),
        (
            "use: rmi",
            "use: rmj",
            ":13: steps.coherent.use: no selector is called 'rmj'; did you mean 'rmi'?",
        ),
        (
            "use: ngram, order: 3",
            "use: ngarm, order: 3",
            ":5: models.strong.use: no backend is called 'ngarm'; did you mean 'ngram'?",
        ),
        (
            "    model: strong",
            "    model: strnog",
            ":14: steps.coherent.model: no model is called "
            "'strnog'; did you mean 'strong'? (models of this recipe: strong, weak)",
        ),
        ("    model: strong\n", "", ":12: steps.coherent.model: this key is required and missing"),
        ("id: coherent", "id: sane", ":12: steps.sane.id: step id 'sane' stands twice; the first"),
        ("id: coherent", "id: weak", ":12: steps.weak.id: 'weak' is a model's name too"),
        ("id: coherent", "id: a.b", ":12: steps.a.b.id: 'a.b': a step id is letters"),
        ("name: good\n", "name: good\nname: bad\n", ':3: duplicate key "name"'),
        ("rank: [0.0, 0.98]", "rank: [0.98, 0.1]", ":16: steps.coherent.keep: rank"),
        ("min: 8, max: 2048", "min: 8, max: 2", ":11: steps.sane.keep: no score is both"),
        ("min: 8, max: 2048", "", ":11: steps.sane.keep: keep has no rule"),
        ("fraction: 0.25", "fraction: 2", ":17: steps.qaq.keep.fraction: input should be less"),
        (
            "fraction: 0.25",
            "fraction: 0.25, of: inputt",
            ":17: steps.qaq.keep.of: must be one of survivors, input; did you mean 'input'?",
        ),
        (
            "by: nll_query",
            "by: nll_qurey",
            ":15: steps.coherent.strata.by: no column 'nll_qurey'; did you mean 'nll_query'?",
        ),
        ("version: 1", "version: 2", ":1: version:"),
        ("weak: weak", "weak: strong", ":17: steps.qaq"),
        ("run: {seed: 7}", "run: {executor: rya}", ":19: run.executor.use: no executor"),
        ("path: data/*.jsonl,", "", ":3: input.path: this key is required and missing"),
        ("separator: ", "separater: ", ":9: models.weak.prompt.separater: unknown key; did you"),
        ("steps:\n", "steps: [\n", ": not YAML"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(load, old, new, expected):
    assert old in GOOD
    found = problems(load, GOOD.replace(old, new, 1))
    assert any(expected in problem for problem in found), found


def test_all_problems_are_reported_at_once(load):
    text = GOOD.replace("order: 3", "order: three").replace("use: length", "use: lenght")
    found = problems(load, text)
    assert len(found) == 2
    assert found[0].startswith(":5: models.strong.order")
    assert found[1].startswith(":11: steps.sane.use")


def test_a_wrong_top_level_does_not_hide_the_rest(load):
    text = GOOD.replace("name: good", "nmae: good").replace("use: length", "use: lenght")
    found = problems(load, text)
    assert len(found) == 3
    assert any("nmae: unknown key" in problem for problem in found)
    assert any("name: this key is required" in problem for problem in found)
    assert any("no selector is called 'lenght'" in problem for problem in found)


def test_a_column_of_an_earlier_step_can_stratify(load):
    recipe = load(
        GOOD.replace("keep: {fraction: 0.25}", "strata: {by: coherent.rmi}, keep: {fraction: 0.25}")
    )
    assert recipe.steps[2].keys.strata.by == "coherent.rmi"


def test_strata_without_a_ranking_keep_are_refused(load):
    text = GOOD.replace("keep: {rank: [0.0, 0.98]}", "keep: {min: 0.1}")
    assert any("steps.coherent.strata: works beside a `keep`" in p for p in problems(load, text))


def test_set_overrides_by_step_id_and_by_index(load):
    recipe = load(
        GOOD,
        "steps.qaq.keep.fraction=0.1",
        "steps.0.keep.min=3",
        "run.seed=9",
        "models.strong.order=4",
    )
    assert recipe.steps[2].keys.keep.fraction == 0.1
    assert recipe.steps[0].keys.keep.min == 3
    assert recipe.run.seed == 9
    assert recipe.models["strong"].backend.options.order == 4


def test_set_takes_yaml_values_and_makes_missing_blocks(load):
    recipe = load(GOOD.replace("run: {seed: 7}\n", ""), "run.seed=3", "steps.sane.keep={max: 5}")
    assert recipe.run.seed == 3
    assert recipe.steps[0].keys.keep.max == 5
    assert recipe.steps[0].keys.keep.min is None


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("steps.qaqq.keep.fraction=1", "no item 'qaqq' in that list; there are: sane, coherent"),
        ("nonsense", "write it as --set a.b.c=value"),
        ("run.seed=[", "--set run.seed:1: not YAML"),
        ("run.seed=!!int 3", "--set run.seed:1: the tag '!!int'"),
    ],
)
def test_a_wrong_set_is_explained(load, assignment, expected):
    assert expected in problems(load, GOOD, assignment)[0]


def test_a_wrong_value_from_set_is_placed_there(load):
    with pytest.raises(RecipeError) as caught:
        load(GOOD, "steps.qaq.keep.fraction=nine")
    assert caught.value.problems[0].startswith("--set steps.qaq.keep.fraction: steps.qaq.keep")


def test_the_only_model_need_not_be_named(load):
    text = GOOD.replace("    model: strong\n", "").replace(
        "  - {id: qaq, use: disagreement, strong: strong, weak: weak, keep: {fraction: 0.25}}\n", ""
    )
    lines = text.splitlines(keepends=True)
    only = "".join(lines[:5] + lines[9:])
    assert load(only).steps[1].block.options.model == "strong"


def test_the_seed_of_the_run_reaches_steps_that_name_none(load):
    step = "  - {id: some, use: random, keep: {fraction: 0.5}}\noutput"
    assert load(GOOD.replace("output", step, 1)).steps[3].block.options.seed == 7
    own = step.replace("use: random", "use: random, seed: 1")
    assert load(GOOD.replace("output", own, 1)).steps[3].block.options.seed == 1


def test_a_folder_with_brackets_in_its_name_is_no_pattern(tmp_path, manager):
    folder = tmp_path / "run [1] *"
    (folder / "data").mkdir(parents=True)
    row = '{"query": "q", "answer": "a"}\n'
    for name in ("a.jsonl", "b.jsonl"):
        (folder / "data" / name).write_text(row)
    (folder / "recipe.yaml").write_text(GOOD)
    source = load_recipe(folder / "recipe.yaml", manager).source
    records = list(source.component.create(source.options).read())
    assert [record.origin.part for record in records] == ["a.jsonl", "b.jsonl"]


def test_the_environment_in_paths(load, tmp_path, monkeypatch):
    for name in ("data [1]*", "out"):
        (tmp_path / name).mkdir()
    (tmp_path / "weak.gguf").touch()
    monkeypatch.setenv("DATA", str(tmp_path / "data [1]*"))
    monkeypatch.setenv("_out2", "out")
    monkeypatch.setenv("MODELS", str(tmp_path))
    text = GOOD.replace("data/*.jsonl", "'${DATA}/*.jsonl'").replace(
        "path: out/", "path: '${_out2}/x'"
    )
    text = text.replace("weak:\n    use: ngram\n    order: 2", LLAMA)
    recipe = load(text.replace("run: {seed: 7}", "run: {store: '${DATA}/${_out2}'}"))
    assert recipe.source.options.path == f"{tmp_path}/data [[]1][*]/*.jsonl"
    assert Path(recipe.output.path) == tmp_path / "out" / "x"
    assert recipe.models["weak"].backend.options.model == f"path:{tmp_path}/weak.gguf"
    assert Path(recipe.run.store) == tmp_path / "data [1]*" / "out"


LLAMA = "weak:\n    use: transformers\n    model: ${MODELS}/weak.gguf"


@pytest.mark.parametrize(
    "written", ["$HOME", "${}", "${1A}", "${A-b}", "${A:-b}", "$(id)", "`id`", "%HOME%"]
)
def test_what_is_not_a_variable_stays(load, tmp_path, monkeypatch, written):
    monkeypatch.setenv("A", "filled")
    assert load(GOOD.replace("path: out/", f"path: '{written}'")).output.path == str(
        tmp_path / written
    )


def test_what_is_filled_in_is_not_looked_at_again(load, tmp_path, monkeypatch):
    monkeypatch.setenv("A", "~/${B}/$$*")
    monkeypatch.setenv("B", "never")
    path = load(GOOD.replace("path: out/", "path: 'x/${A}'")).output.path
    assert Path(path) == tmp_path / "x/~/${B}/$$*"


def test_the_environment_is_filled_in_nowhere_else(load, monkeypatch):
    monkeypatch.setenv("A", "filled")
    text = GOOD.replace("name: good", "name: ${A}\ndescription: ${A}")
    text = text.replace('separator: "\\n\\n"', 'separator: "${A}"').replace(
        "id: qaq", "group: '${A}', id: qaq"
    )
    recipe = load(text)
    assert recipe.name == "${A}"
    assert recipe.models["weak"].prompt.options.separator == "${A}"
    assert recipe.steps[2].keys.group == "${A}"
    chat = "{use: chat, system: '${A}', reverse: '${A} {answer}', variables: {'${A}': '${A}'}}"
    options = (
        load(text.replace('{use: plain, separator: "${A}"}', chat)).models["weak"].prompt.options
    )
    assert (options.system, options.reverse, options.variables) == (
        "${A}",
        "${A} {answer}",
        {"${A}": "${A}"},
    )
    found = problems(load, text.replace("id: qaq", "id: '${A}'"))
    assert found == [":18: steps.${A}.id: '${A}': a step id is letters, digits, _ and -"]


def test_a_variable_in_braces_has_to_be_in_quotes(load):
    (found,) = problems(load, GOOD.replace("data/*.jsonl", "${A}/*.jsonl"))
    assert found.startswith(":3: not YAML: ")
    assert found.endswith("; inside braces and brackets, ${NAME} has to be in quotes")


@pytest.mark.parametrize("location", ["hf:${A}/b", "path:${A}", "pypi:${A}"])
def test_behind_a_scheme_nothing_is_filled_in(load, monkeypatch, location):
    monkeypatch.setenv("A", "filled")
    text = GOOD.replace(
        "weak:\n    use: ngram\n    order: 2", LLAMA.replace("${MODELS}/weak.gguf", f"'{location}'")
    )
    assert load(text).models["weak"].backend.options.model == location


def test_a_variable_makes_no_hub_id(load, monkeypatch):
    """What a variable holds must not decide what is fetched."""
    monkeypatch.setenv("MODELS", "owner")
    text = GOOD.replace("weak:\n    use: ngram\n    order: 2", LLAMA.replace("weak.gguf", "name"))
    assert any("models.weak.model: no such file or folder" in p for p in problems(load, text))


@pytest.mark.parametrize("value", [None, ""])
def test_a_variable_that_is_not_set_is_said(load, monkeypatch, value):
    monkeypatch.delenv("ABSENT", raising=False)
    if value is not None:
        monkeypatch.setenv("ABSENT", value)
    text = GOOD.replace("data/*.jsonl", "'${ABSENT}/*.jsonl'").replace(
        "path: out/", "path: '${ABSENT}'"
    )
    said = "the environment variable ABSENT is not set, or empty: set it, as in ABSENT=/some/folder"
    assert [p.partition(" qaqfilter ...")[0] for p in problems(load, text)] == [
        f":3: input.path: {said}",
        f":18: output.path: {said}",
    ]
    (problem,) = problems(load, GOOD, "input.path=[a, '${ABSENT}']")
    assert problem.startswith(f"--set input.path: input.path.1: {said}")


def test_set_fills_in_as_the_recipe_does(load, tmp_path, monkeypatch):
    monkeypatch.setenv("A", "filled")
    recipe = load(GOOD, "output.path=${A}", "name=${A}")
    assert (Path(recipe.output.path), recipe.name) == (tmp_path / "filled", "${A}")


def test_the_home_folder_is_no_pattern(load, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home [1]"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home [1]"))
    assert (
        load(GOOD.replace("data/*", "~/*")).source.options.path == f"{tmp_path}/home [[]1]/*.jsonl"
    )


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("'~nobody-of-that-name/x'", "nobody knows the home folder '~nobody-of-that-name'"),
        ('"a\\0b"', "a path holds no NUL character"),
    ],
)
def test_paths_that_cannot_be(load, written, said):
    for key in ("data/*.jsonl", "out/"):
        assert said in problems(load, GOOD.replace(key, written))[0]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_path_that_no_manifest_can_hold(load, tmp_path, manager, monkeypatch):
    folder = tmp_path / os.fsdecode(b"d\xff")
    folder.mkdir()
    (folder / "recipe.yaml").write_text(GOOD)
    with pytest.raises(RecipeError) as caught:
        load_recipe(folder / "recipe.yaml", manager)
    assert len(caught.value.problems) == 2
    for problem in caught.value.problems:
        assert problem.endswith("is not UTF-8; rename that folder")
    monkeypatch.setenv("A", os.fsdecode(b"d\xff"))
    assert "is not UTF-8" in problems(load, GOOD, "output.path=${A}")[0]


def test_names_from_the_recipe_start_no_line_of_their_own(load):
    (found,) = problems(load, GOOD.replace("order: 3", '"a\\n\\e[2J": 3'))
    assert found.startswith(r":5: models.strong.a\x0a\x1b[2J: unknown key")
    (found,) = problems(load, GOOD.replace("name: good", "name: [x]"))
    assert found == ":2: name: input should be a valid string (got ['x'])"


def test_a_message_is_not_as_long_as_the_recipe(load):
    (found,) = problems(load, GOOD.replace("order: 3", f"order: {'x' * 10_000}"))
    assert len(found) < 400
    assert found.endswith("xxx...)")


def test_of_a_key_that_may_be_this_or_that_one_problem_is_said(load):
    found = problems(load, GOOD.replace("run: {seed: 7}", "run: {store: 3}"))
    assert found == [
        ":19: run.store: input should be a valid string (got 3)",
        ":19: run.store: must be one of false",
    ]


@pytest.mark.parametrize("first", ["a", "3", "null", "[]"])
def test_set_into_an_item_that_holds_no_keys(load, first):
    text = GOOD.replace("steps:\n", f"steps:\n  - {first}\n")
    step = ("steps.0.id=new", "steps.0.use=length", "steps.0.keep.min=2")
    if first == "[]":
        assert "no item 'id' in that list" in problems(load, text, *step)[0]
    else:
        assert [step.id for step in load(text, *step).steps] == ["new", "sane", "coherent", "qaq"]


def test_a_missing_file_is_said(tmp_path, manager):
    with pytest.raises(RecipeError, match=r"absent\.yaml: no such file"):
        load_recipe(tmp_path / "absent.yaml", manager)


def test_a_list_is_no_recipe(load):
    assert "a recipe is a mapping" in problems(load, "- a\n- b\n")[0]
