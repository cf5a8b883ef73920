"""`score` and `select` are the two halves of `run`: together they give the same files."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import qaqfilter
from outputs import Said, visible
from qaqfilter import NotScored, RunDirectoryError, SourceError
from qaqfilter.cli import run_cli

STEPS = """\
  - {id: sane, use: length, of: query, keep: {min: 18}}
  - {id: even, use: rmi, keep: {rank: [0.0, 0.9]}, strata: {by: nll_query, bins: 2}}
  - {id: ifd, use: ifd, keep: {fraction: 0.8}, group: source}
  - {id: some, use: random, keep: {top: 9}}"""
OUTPUTS = ("kept.jsonl", "rejected.jsonl", "scores.parquet", "quarantine.jsonl", "README.md")


@pytest.fixture
def recipe(tmp_path, write_recipe) -> Path:
    """A chain of every kind of step over sixteen records, two of them twice, and a bad one."""
    path = write_recipe(STEPS)
    data = tmp_path / "data.jsonl"
    rows = [json.loads(line) for line in data.read_bytes().splitlines()]
    more = [{"query": r["answer"], "answer": r["query"], "source": "b"} for r in rows[:6]]
    rows = [{**row, "source": "a"} for row in rows] + more + [{**row} for row in rows[:2]]
    text = "".join(json.dumps(row) + "\n" for row in rows[:8])
    text += '{"broken\n' + "".join(json.dumps(row) + "\n" for row in rows[8:])
    data.write_text(text, encoding="utf-8")
    path.write_text(path.read_text().replace("data.jsonl}", "data.jsonl, max_errors: 1}"))
    return path


def same_as_a_run(recipe: Path, folder: Path, changes: list[str]) -> None:
    """What is in `folder` is what a whole run of the changed recipe writes."""
    other = folder.parent / "reference"
    qaqfilter.run(recipe, overrides=[*changes, f"output.path={other}"], replace=True)
    wanted, found = visible(other), visible(folder)
    assert set(found) == set(wanted)
    for name in OUTPUTS:
        assert found[name] == wanted[name], name


def no_models(monkeypatch) -> None:
    """From here on nobody opens a model."""

    def refuse(self):
        raise AssertionError("a model was opened")

    monkeypatch.setattr("qaqfilter.stages.ScoringStage.open", refuse)


def test_score_and_select_are_the_halves_of_run(tmp_path, recipe, monkeypatch):
    scored = qaqfilter.score_recipe(recipe)
    files = {"scores.parquet", "quarantine.jsonl", "report.html", "manifest.json"}
    assert set(visible(tmp_path / "out")) == files
    assert scored.models[0].cost.computed > 0
    with monkeypatch.context() as patch:
        no_models(patch)
        selected = qaqfilter.select_recipe(recipe)
    assert (selected.kept, selected.rejected, selected.quarantined) == (
        scored.kept,
        scored.rejected,
        1,
    )
    assert selected.steps == scored.steps
    same_as_a_run(recipe, tmp_path / "out", [])
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_bytes())
    assert manifest["order"]["command"] == "select"
    assert manifest["scored_by"][0]["fingerprint"] == scored.models[0].fingerprint


CHANGES = [
    ["steps.ifd.keep.fraction=0.3"],
    ["steps.even.keep={rank: [0.2, 1.0], invert: true}", "steps.even.strata.bins=3"],
    ["steps.even.keep={min: 0.0}", "steps.even.strata=null"],
    ["steps.sane.keep.min=20", "steps.some.keep.top=3"],
    ["steps.ifd.group=null", "steps.ifd.keep={below: 1.0}"],
    ["steps.ifd.group=query"],  # a field that nobody looked at: the text is read again
    ["steps.some={id: other, use: length, of: answer, keep: {max: 60}}"],
    ["steps.some.seed=4", "name=renamed"],
]


@pytest.mark.parametrize("changes", CHANGES)
def test_other_thresholds_give_what_a_run_would(tmp_path, recipe, monkeypatch, changes):
    qaqfilter.score_recipe(recipe, everything=True)
    with monkeypatch.context() as patch:
        no_models(patch)
        qaqfilter.select_recipe(recipe, overrides=changes)
    # A chain that never asked about some records leaves their numbers empty; here all are there.
    other = tmp_path / "reference"
    qaqfilter.run(recipe, overrides=[*changes, f"output.path={other}"])
    for name in ("kept.jsonl", "rejected.jsonl", "quarantine.jsonl"):
        assert (tmp_path / "out" / name).read_bytes() == (other / name).read_bytes()
    ours, theirs = (pq.read_table(f / "scores.parquet") for f in (tmp_path / "out", other))
    for name in ("id", "part", "ordinal", "kept", "step", "reason"):
        assert ours[name].equals(theirs[name]), name
    assert (
        ours["toy.query.missing"].null_count == len(ours) > theirs["toy.query.missing"].null_count
    )


def test_selections_one_after_the_other(tmp_path, recipe, monkeypatch):
    """Tighter, then looser again: nothing is forgotten on the way."""
    qaqfilter.run(recipe)
    whole = visible(tmp_path / "out")
    with monkeypatch.context() as patch:
        no_models(patch)
        for changes in CHANGES:
            if "steps.even" not in str(changes):
                qaqfilter.select_recipe(recipe, overrides=changes, unscored="reject", replace=True)
        qaqfilter.select_recipe(recipe, replace=True)
    found = visible(tmp_path / "out")
    assert {name: found[name] for name in OUTPUTS} == {name: whole[name] for name in OUTPUTS}


def test_steps_in_another_order(tmp_path, recipe):
    qaqfilter.score_recipe(recipe, everything=True)
    text = recipe.read_text()
    lines = STEPS.splitlines()
    recipe.write_text(text.replace(STEPS, "\n".join([lines[2], lines[0], lines[3], lines[1]])))
    report = qaqfilter.select_recipe(recipe)
    assert [step.id for step in report.steps] == ["ifd", "sane", "some", "even"]
    other = tmp_path / "reference"
    qaqfilter.run(recipe, overrides=[f"output.path={other}"])
    for name in ("kept.jsonl", "rejected.jsonl"):
        assert (tmp_path / "out" / name).read_bytes() == (other / name).read_bytes()


def test_records_that_were_never_scored_are_counted_and_named(tmp_path, recipe, capsys):
    qaqfilter.run(recipe)
    before = visible(tmp_path / "out")
    changes = ["steps.sane.keep.min=1"]
    with pytest.raises(NotScored) as caught:
        qaqfilter.select_recipe(recipe, overrides=changes, replace=True)
    text = str(caught.value)
    table = pq.read_table(tmp_path / "out" / "scores.parquet").to_pydict()
    never = [n for n, why in enumerate(table["toy.query.missing"]) if why == "not_scored"]
    first = f"{table['id'][never[0]]} (data.jsonl#{table['ordinal'][never[0]]})"
    assert f"{len(never)} records at step 'even': toy.query; the first is {first}" in text
    assert "toy.query_given_answer" in text
    assert visible(tmp_path / "out") == before

    said = Said()
    report = qaqfilter.select_recipe(
        recipe, overrides=changes, unscored="reject", replace=True, observer=said
    )
    even = next(step for step in report.steps if step.id == "even")
    assert even.rejected["not_scored"] == len(never)
    assert [m for m in said.messages if "rejected as not_scored are records that" in m]

    command = text.partition("score them with: ")[2].splitlines()[0]
    assert shlex.split(command)[:2] == ["qaqfilter", "run"]
    assert run_cli(shlex.split(command)[1:]) == 0
    same_as_a_run(recipe, tmp_path / "out", changes)


@pytest.mark.parametrize(
    "change",
    [
        "models.toy.order=3",
        "models.toy.prompt={use: jinja, query: 'x{{ query }}', answer: '{{ answer }}', "
        "answer_given_query: '{{ query }}:{{ answer }}', "
        "query_given_answer: '{{ answer }}:{{ query }}'}",
        "models.toy.too_long=cut_answer",
    ],
)
def test_numbers_of_another_model_are_not_used(recipe, change):
    qaqfilter.score_recipe(recipe, everything=True)
    if "jinja" in change:
        change = "models.toy.prompt={use: plain, separator: ' '}"
    with pytest.raises(NotScored, match=r"\d+ records at step 'even': toy\.query;"):
        qaqfilter.select_recipe(recipe, overrides=[change])


def test_a_step_with_a_prompt_of_its_own(tmp_path, recipe):
    own = "steps.ifd.prompt={use: plain, separator: ' '}"
    qaqfilter.score_recipe(recipe, overrides=[own], everything=True)
    assert qaqfilter.select_recipe(recipe, overrides=[own, "steps.ifd.keep.fraction=0.5"]).kept
    with pytest.raises(NotScored, match=r"at step 'ifd': ifd@toy\.answer"):
        qaqfilter.select_recipe(
            recipe,
            overrides=["steps.ifd.prompt={use: plain, separator: '-'}"],
            scores=tmp_path / "out",
            write=False,
        )


def test_another_input_is_refused(tmp_path, recipe, write_jsonl):
    qaqfilter.score_recipe(recipe)
    write_jsonl([("a", "b")], "other.jsonl")
    with pytest.raises(RunDirectoryError, match=r"another input \(input\.path: .*other\.jsonl"):
        qaqfilter.select_recipe(recipe, overrides=["input.path=other.jsonl"])
    # What is done about bad records does not change which good ones there are.
    assert qaqfilter.select_recipe(recipe, overrides=["input.max_errors=3"]).kept


@pytest.mark.parametrize("where", ["first", "last", "gone", "more"])
def test_input_that_changed_since_it_was_scored(tmp_path, recipe, where):
    qaqfilter.score_recipe(recipe)
    before = visible(tmp_path / "out")
    data = tmp_path / "data.jsonl"
    rows = data.read_bytes().splitlines(keepends=True)
    match where:
        case "first":
            rows[0] = rows[1]
        case "last":
            rows[-1] = rows[-1].replace(b"reverse", b"turn")
        case "gone":
            rows = rows[:-3]
        case "more":
            rows.append(rows[0])
    data.write_bytes(b"".join(rows))
    with pytest.raises(SourceError, match=r"data\.jsonl: the input changed since .* were scored"):
        qaqfilter.select_recipe(recipe)
    assert visible(tmp_path / "out") == before


def test_a_finished_selection_is_not_overwritten_unasked(tmp_path, recipe):
    qaqfilter.score_recipe(recipe)
    first = qaqfilter.select_recipe(recipe)
    said = Said()
    assert qaqfilter.select_recipe(recipe, observer=said) == first
    assert [m for m in said.messages if "nothing to do" in m]
    # A run of the same recipe finds its work done, too.
    assert qaqfilter.run(recipe, observer=said) == first
    with pytest.raises(RunDirectoryError, match=r"steps\.some\.keep\.top: 9 -> 2"):
        qaqfilter.select_recipe(recipe, overrides=["steps.some.keep.top=2"])
    assert (
        qaqfilter.select_recipe(recipe, overrides=["steps.some.keep.top=2"], replace=True).kept == 2
    )


def test_run_does_not_throw_away_what_score_made(tmp_path, recipe):
    qaqfilter.score_recipe(recipe, everything=True)
    with pytest.raises(RunDirectoryError, match="qaqfilter select"):
        qaqfilter.run(recipe)
    with pytest.raises(RunDirectoryError, match="another recipe"):
        qaqfilter.score_recipe(recipe, overrides=["steps.some.keep.top=2"], everything=True)
    report = qaqfilter.score_recipe(recipe)  # all that it asks for is there
    assert report.kept and visible(tmp_path / "out")


@pytest.mark.parametrize("how", ["--dry-run", "--replace"])
def test_progress_counts_no_record_twice(write_recipe, capsys, how):
    """Another option is another measure: what is measured anew is a stretch of its own."""
    recipe = write_recipe("  - {id: sane, use: length, of: query, keep: {min: 18}}")
    qaqfilter.run(recipe)
    capsys.readouterr()
    assert run_cli(["select", str(recipe), how, "--set", "steps.sane.of=answer"]) == 0
    lines = re.findall(r"^(.+): (\d+)/(\d+) records", capsys.readouterr().err, re.MULTILINE)
    assert "measuring (sane)" in [label for label, *_ in lines]
    assert all(done == total for _, done, total in lines), lines


def test_a_dry_run_writes_nothing(tmp_path, recipe):
    qaqfilter.run(recipe)
    before = visible(tmp_path / "out")
    report = qaqfilter.select_recipe(recipe, overrides=["steps.some.keep.top=2"], write=False)
    assert (report.kept, report.files) == (2, {})
    assert visible(tmp_path / "out") == before


def test_the_numbers_of_another_folder(tmp_path, recipe):
    qaqfilter.run(recipe)
    before = visible(tmp_path / "out")
    changes = ["steps.some.keep.top=2", f"output.path={tmp_path / 'two'}"]
    report = qaqfilter.select_recipe(recipe, overrides=changes, scores=tmp_path / "out")
    assert (report.kept, report.folder) == (2, tmp_path / "two")
    assert visible(tmp_path / "out") == before
    same_as_a_run(recipe, tmp_path / "two", ["steps.some.keep.top=2"])


def test_without_numbers_the_command_that_makes_them_is_named(tmp_path, recipe):
    with pytest.raises(RunDirectoryError, match=r"no finished run.*qaqfilter run .*recipe\.yaml"):
        qaqfilter.select_recipe(recipe)
    qaqfilter.run(recipe, overrides=["output.scores=false"])
    with pytest.raises(RunDirectoryError, match=r"without scores\.parquet"):
        qaqfilter.select_recipe(recipe, replace=True)


@pytest.mark.parametrize("damage", ["cut", "other", "foreign"])
def test_a_scores_file_that_is_not_the_one_written(tmp_path, recipe, damage):
    qaqfilter.score_recipe(recipe)
    path = tmp_path / "out" / "scores.parquet"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "foreign":
        pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)
    else:
        other = [f"output.path={tmp_path / 'other'}"]
        qaqfilter.score_recipe(recipe, overrides=other, limit=5)
        path.write_bytes((tmp_path / "other" / "scores.parquet").read_bytes())
    with pytest.raises(RunDirectoryError, match=r"scores\.parquet .*qaqfilter"):
        qaqfilter.select_recipe(recipe)


@settings(max_examples=15, derandomize=True)
@given(
    st.fixed_dictionaries(
        {
            "steps.sane.keep.min": st.integers(20, 30),
            "steps.even.keep": st.sampled_from(
                ["{rank: [0.1, 0.9]}", "{fraction: 0.5}", "{min: -0.2}", "{top: 5, invert: true}"]
            ),
            "steps.ifd.keep.fraction": st.floats(0.05, 1.0),
            "steps.some.keep.top": st.integers(1, 12),
        }
    )
)
def test_any_tighter_recipe_can_be_selected(tmp_path_factory, changes):
    """Through the same first step as the scored run, or a tighter one, with free later steps."""
    folder = tmp_path_factory.mktemp("any")
    rows = [{"query": f"query number {n % 7} of many", "answer": f"{n}" * n} for n in range(1, 25)]
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = folder / "recipe.yaml"
    recipe.write_text(
        "version: 1\nname: any\ninput: {use: jsonl, path: data.jsonl}\n"
        f"models: {{toy: {{use: ngram}}}}\nsteps:\n{STEPS}\noutput: {{use: jsonl, path: out}}\n"
    )
    overrides = [f"{key}={value}" for key, value in changes.items()]
    if "min" in changes["steps.even.keep"]:
        overrides.append("steps.even.strata=null")
    qaqfilter.score_recipe(recipe, everything=True)
    selected = qaqfilter.select_recipe(recipe, overrides=overrides)
    other = folder / "reference"
    wanted = qaqfilter.run(recipe, overrides=[*overrides, f"output.path={other}"])
    assert (selected.kept, selected.steps) == (wanted.kept, wanted.steps)
    for name in ("kept.jsonl", "rejected.jsonl"):
        assert (folder / "out" / name).read_bytes() == (other / name).read_bytes()


def test_select_loads_no_model_and_no_tokenizer(tmp_path, recipe):
    """With a recipe whose models are real ones, in a process of its own."""
    text = recipe.read_text()
    recipe.write_text(text.replace("{use: ngram}", "{use: reference, model: 'builtin:weak'}"))
    qaqfilter.score_recipe(recipe)
    heavy = ("torch", "transformers", "llama_cpp", "tokenizers", "safetensors", "ray")
    look = (
        "import sys\n"
        "from qaqfilter.cli import run_cli\n"
        "code = run_cli(['select', sys.argv[1], '--set', 'steps.some.keep.top=3'])\n"
        f"print([name for name in {heavy!r} if name in sys.modules])\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", look, str(recipe)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    assert len((tmp_path / "out" / "kept.jsonl").read_bytes().splitlines()) == 3


def test_an_option_that_an_older_version_did_not_know_changes_nothing(tmp_path, recipe):
    qaqfilter.score_recipe(recipe)
    path = tmp_path / "out" / "manifest.json"
    manifest = json.loads(path.read_bytes())
    assert manifest["recipe"]["models"]["toy"].pop("sha256", "gone") is None
    assert manifest["recipe"]["run"].pop("window_seconds", "gone") is None
    path.write_text(json.dumps(manifest))
    assert qaqfilter.select_recipe(recipe).kept
    assert qaqfilter.run(recipe).kept  # the same run: it has nothing to do
