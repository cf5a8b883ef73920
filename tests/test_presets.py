"""`preset: name` in recipes, joint texts, and `qaqfilter compare-presets`."""

from __future__ import annotations

import json

import numpy as np
import pytest
from jsonschema import Draft7Validator

import qaqfilter
from published import make_model, records
from qaqfilter import BackendError, Joint, Limit, RecipeError, Whole
from qaqfilter.cli import run_cli
from qaqfilter.joint_encoding import JointEncoder
from qaqfilter.manager import load_plugins
from qaqfilter.ranking import fractional_ranks
from qaqfilter.schema import recipe_schema

PAIRS = [{"query": f"say {n}", "answer": f"{n} it is"} for n in range(20)]


def recipe_of(*steps, models=("m",)):
    return {
        "version": 1,
        "name": "presets",
        "input": {"use": "jsonl", "path": "data.jsonl"},
        "models": {name: {"use": "ngram", "order": 1 + n} for n, name in enumerate(models)},
        "steps": list(steps),
        "output": {"use": "jsonl", "path": "out"},
    }


@pytest.fixture
def load(tmp_path):
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in PAIRS))

    def loaded(*steps, models=("m",)):
        path = tmp_path / "recipe.yaml"
        path.write_text(json.dumps(recipe_of(*steps, models=models), indent=1))
        return qaqfilter.load_recipe(path)

    return loaded


def only_step(recipe):
    (step,) = recipe.resolved()["steps"]
    return step


def test_a_preset_is_written_out(load):
    step = only_step(load({"id": "s", "preset": "superfiltering"}))
    assert (step["use"], step["variant"], step["model"]) == ("ifd", "ifd_ppl", "m")
    assert step["prompt"] == {"use": "superfiltering", "max_length": 1024}
    assert step["keep"]["below"] == 1
    assert "preset" not in step
    # What is written out is a recipe, and the same one.
    step.pop("group", None)
    assert only_step(load(step)) == step


def test_what_the_step_says_stands(load):
    step = only_step(
        load(
            {
                "id": "s",
                "preset": "cherry",
                "use": "ifd",
                "keep": {"top": 3},
                "prompt": {"use": "cherry", "max_length": 64},
            }
        )
    )
    assert step["keep"] == {"top": 3, "invert": False, "of": "survivors"}
    assert step["prompt"]["max_length"] == 64
    assert step["variant"] == "ifd_nll"


def test_a_preset_may_be_told_to_keep_everything(load):
    step = only_step(load({"id": "s", "preset": "rifd", "keep": None}))
    assert "keep" not in step


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ({"preset": "cherri"}, "no preset is called 'cherri'; did you mean 'cherry'?"),
        ({"preset": "cherry", "use": "rmi"}, "the preset 'cherry' is a step of `use: ifd`"),
        ({"preset": 3}, "must be the name of a preset; there are: cherry, qaq, qaq-repo"),
        ({"preset": "qaq", "strong": "m"}, "steps[0].weak"),
        ({"preset": "cherry", "bins": 3}, "unknown key"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(load, step, said):
    with pytest.raises(RecipeError) as caught:
        load({"id": "s", **step})
    (problem,) = caught.value.problems
    assert said.replace("steps[0].", "") in problem
    assert "recipe.yaml:" in problem


@pytest.mark.parametrize("keys", ["[]", "{'keep': {'max': 1}}", "{'use': 3}"])
def test_a_plugin_with_a_preset_that_is_no_step(load, tmp_path, keys):
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "from qaqfilter import Component, Options, hookimpl\n"
        "@hookimpl\n"
        "def qaqfilter_presets():\n"
        f"    yield Component('mine', Options, lambda config: {keys}, 'wrong')\n"
    )
    load({"id": "s", "preset": "cherry"})
    with pytest.raises(RecipeError, match=r"the preset 'mine' .* must give `use`"):
        qaqfilter.load_recipe(
            tmp_path / "recipe.yaml", overrides=["steps.s.preset=mine"], plugins=[plugin]
        )


def test_the_schema_knows_presets():
    check = Draft7Validator(recipe_schema(load_plugins()))
    two = {"strong": "m", "weak": "w"}
    for good in (
        {"id": "a", "preset": "cherry"},
        {"id": "a", "preset": "cherry", "use": "ifd", "keep": {"max": 2}},
        {"id": "a", "preset": "qaq", **two},
    ):
        assert check.is_valid(recipe_of(good, models=("m", "w"))), good
    for bad in (
        {"id": "a", "preset": "cherri"},
        {"id": "a", "preset": "cherry", "use": "rmi"},
        {"id": "a", "preset": "cherry", "bins": 3},
        {"preset": "cherry"},
    ):
        assert not check.is_valid(recipe_of(bad, models=("m", "w"))), bad


# --- joint texts --------------------------------------------------------------------------


class Letters:
    """A tokenizer of letters, with 1 before and, where asked, 2 behind; ``ab`` is one token."""

    def __init__(self, tail=0, starts=True):
        self.tail, self.starts = tail, starts

    def encode_whole(self, text):
        ids, starts, place = [1], [0], 0
        while place < len(text):
            size = 2 if text.startswith("ab", place) else 1
            ids.append(1000 if size == 2 else ord(text[place]))
            starts.append(place)
            place += size
        ids += [2] * self.tail
        starts += [0] * self.tail
        return Whole(ids, starts if self.starts else None, self.tail)


def spans(joint, **kinds):
    encoded, cut = JointEncoder(Letters(**kinds))(joint)
    if encoded is None:
        return None, cut
    return "".join("ab" if i == 1000 else chr(i) for i in encoded.ids[encoded.start :]), cut


def test_a_text_alone_is_scored_but_for_its_first_token():
    assert spans(Joint("xyz")) == ("xyz", 0)
    assert spans(Joint("")) == (None, 0)


def test_a_prefix_is_counted_apart():
    assert spans(Joint("xyz", 1)) == ("yz", 0)
    # The text before the boundary has two tokens, of which the whole has one: off by one.
    assert spans(Joint("xabyz", 2)) == ("yz", 0)


def test_offsets_take_what_begins_behind_the_boundary():
    assert spans(Joint("xabyz", 2, "offsets")) == ("yz", 0)
    assert spans(Joint("xabyz", 1, "offsets")) == ("abyz", 0)
    assert spans(Joint("xyz", 3, "offsets")) == (None, 0)
    assert spans(Joint("xyz", 1, "offsets"), tail=1) == ("yz", 0)  # nobody asks for the end


def test_cutting_leaves_what_the_tokenizer_puts_behind():
    assert spans(Joint("vwxyz", 1, limit=Limit(4))) == ("wx", 2)
    assert spans(Joint("vwxyz", 1, limit=Limit(4)), tail=1) == ("\x02", 3)
    # The prefix, tokenised by itself, has an end of its own: scripts are one off there.
    assert spans(Joint("vwxyz", 4, limit=Limit(4))) == (None, 2)


def test_a_text_shares_its_room_with_another():
    # "pq" has three tokens with the start token: five of eight are left, and one more is given.
    assert spans(Joint("vwxyzzzz", limit=Limit(8, beside="pq", slack=1))) == ("vwxyz", 3)
    # With four more than there are, the two are over the limit together.
    assert spans(Joint("vwxyzzzz", limit=Limit(8, beside="pq", slack=4))) == (None, 0)
    assert spans(Joint("v", limit=Limit(8, beside="p" * 20, slack=1))) == (None, 1)


def test_a_tokenizer_without_places_is_told():
    assert spans(Joint("xyz", 1), starts=False) == ("yz", 0)
    with pytest.raises(BackendError, match="use: transformers"):
        spans(Joint("xyz", 1, "offsets"), starts=False)
    with pytest.raises(BackendError, match="has no `encode_whole`"):
        JointEncoder(object())(Joint("x"))


@pytest.mark.parametrize("use", ["reference", "llamacpp", "transformers"])
def test_backends_agree_on_whole_texts(use, tmp_path):
    """Special tokens that a text spells, the one put before it, and where tokens begin."""
    model = make_model(tmp_path / "strong", "strong", "begin")
    resources = _Resources()
    manager = load_plugins()
    component = manager.require("backend", use)
    location = "builtin:strong" if use == "llamacpp" else f"path:{model}"
    options = component.config.model_validate({"model": location}, context={"folder": tmp_path})
    backend = component.create(options, resources)
    try:
        text = "def f(x):\n    return x  # <|end|> 漢字"
        whole = backend.encode_whole(text)
        assert whole.ids[0] == backend.start_token
        assert 1 in whole.ids[1:]  # <|end|>
        assert whole.tail == 0
        if use == "llamacpp":
            assert whole.starts is None
        else:
            assert whole.starts[0] == 0
            end = whole.ids.index(1)
            assert text[whole.starts[end] :].startswith("<|end|>")
        expected = tmp_path.parent / "whole_ids.json"
        if expected.exists():
            assert whole.ids == json.loads(expected.read_text())
        expected.write_text(json.dumps(whole.ids))
    finally:
        backend.close()


class _Resources:
    def model_files(self, location, revision=None):
        return load_plugins().locate(location, revision)


def test_a_cut_is_told(tmp_path):
    """A joint text that lost tokens has a column that says how many."""
    rows = [{"query": "say", "answer": "a" * n} for n in (3, 50)]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    step = {"id": "s", "preset": "superfiltering", "keep": None}
    step["prompt"] = {"use": "superfiltering", "max_length": 20}
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(recipe_of(step)))
    import pyarrow.parquet as pq

    table = pq.read_table(qaqfilter.run(path).files["scores"]).to_pydict()
    # "say\n" and 50 letters after the start token are 55 tokens, of which 20 are left; alone 51
    # tokens share the 20 with the 5 of the prompt, and one more.
    assert table["s@m.cut"] == [0, 35]
    assert table["s@m.answer_given_query.tokens"] == [3, 15]
    assert table["s@m.answer.tokens"] == [3, 15]


# --- compare-presets ----------------------------------------------------------------------


@pytest.fixture
def compared(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = [row for row in records() if row["id"].startswith(("plain", "input"))][:24]
    (tmp_path / "data.json").write_text(json.dumps(rows), encoding="utf-8")
    (tmp_path / "template.jinja").write_text(
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )

    def call(*options):
        command = ["compare-presets", "data.json", "--model", "builtin:weak", *options]
        assert run_cli([*command, "--set", "run.store=false"]) == 0
        return capsys.readouterr().out

    return call


def test_compare_presets_counts_what_it_says(compared):
    found = json.loads(compared("--json", "--template", "template.jinja"))
    assert found["records"] == 24
    assert found["left_out"] == {}
    assert [row["preset"] for row in found["presets"]] == [
        "cherry",
        "qaq-repo",
        "rifd",
        "superfiltering",
    ]
    for row in found["presets"]:
        each = row["per_record"]
        both = [one for one in each if one["clean"] is not None and one["script"] is not None]
        assert row["both"] == len(both) > 10
        ranks = [fractional_ranks(np.array([one[k] for one in both])) for k in ("clean", "script")]
        assert row["spearman"] == pytest.approx(np.corrcoef(*ranks)[0, 1])
        kept = [{one["id"] for one in each if one[f"kept_{k}"]} for k in ("clean", "script")]
        assert (row["kept_clean"], row["kept_script"]) == (len(kept[0]), len(kept[1]))
        union = kept[0] | kept[1]
        assert row["overlap"] == (len(kept[0] & kept[1]) / len(union) if union else None)
        assert row["difference"]["median"] == pytest.approx(
            np.median([one["script"] - one["clean"] for one in both])
        )


def test_compare_presets_says_what_it_leaves_out(compared):
    told = compared("--records", "10")
    assert "10 records: the scripts beside the clean definitions" in told
    assert "qaq-repo is left out: model 'model'" in told
    assert "has no chat template" in told
    assert "furthest apart in rank" in told


def test_compare_presets_with_two_models(compared):
    found = json.loads(
        compared("--json", "--template", "template.jinja", "--weak-model", "builtin:weak")
    )
    assert {row["preset"]: row["column"] for row in found["presets"]}["qaq-repo"] == "diff"
