"""Recipes: what is wrong is said with file:line, key path, and a suggestion."""

from __future__ import annotations

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
        ("run.seed=[", "the value is not YAML"),
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


def test_a_missing_file_is_said(tmp_path, manager):
    with pytest.raises(RecipeError, match=r"absent\.yaml: no such file"):
        load_recipe(tmp_path / "absent.yaml", manager)


def test_a_list_is_no_recipe(load):
    assert "a recipe is a mapping" in problems(load, "- a\n- b\n")[0]
