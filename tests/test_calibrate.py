"""`calibrate`: damage is planted in the user's data, and what is caught of it is told."""

from __future__ import annotations

import json

import numpy as np
import pytest

import qaqfilter
from qaqfilter import Origin, Record, Silent
from qaqfilter.cli import run_cli
from qaqfilter.manager import load_plugins
from qaqfilter.recipe import load_recipe
from qaqfilter_calibrate.calibrating import calibrate, load_damages
from qaqfilter_calibrate.copies import make_copies
from qaqfilter_calibrate.placing import place_all

STEPS = """  - {id: sane, use: length, of: answer, keep: {min: 30}}
  - {id: rmi, use: rmi, strata: {by: nll_query, bins: 2}, keep: {rank: [0.1, 1.0]}}"""
LOUD = """
from qaqfilter import Component, Options, hookimpl

class Loud:
    def damage(self, record, others, rng):
        if "vowels" in record.query:
            return None
        return record.query, record.answer.upper() + str(rng.integers(10))

@hookimpl
def qaqfilter_damages():
    yield Component("loud", Options, lambda config: Loud(), "in capitals")
"""
SHARES = ("caught", "auc", "one_sided", "two_sided")


def read(folder):
    return json.loads((folder / "calibration.json").read_text(encoding="utf-8"))


def calibrated(path, *, damages=(), **more):
    recipe = load_recipe(path, load_plugins())
    return calibrate(recipe, Silent(), load_damages(recipe, damages), times=20, **more)


def by(rows, **wanted):
    (found,) = [row for row in rows if all(row[k] == v for k, v in wanted.items())]
    return found


@pytest.fixture(scope="module")
def stdlib(tmp_path_factory):
    """Real pairs, real small models, and the command as a user gives it."""
    folder = tmp_path_factory.mktemp("stdlib")
    source = load_plugins().component("source", "docstrings")
    sizes = {"max_query": 200, "min_answer": 80, "max_answer": 400}
    rows = source.create(source.config(limit=60, **sizes)).read()
    (folder / "data.jsonl").write_bytes(b"".join(record.row for record in rows))
    (folder / "recipe.yaml").write_text(
        """version: 1
name: stdlib
input: {use: jsonl, path: data.jsonl}
models:
  strong: {use: reference, model: "builtin:strong"}
  weak: {use: reference, model: "builtin:weak"}
steps:
  - {id: sane, use: length, of: answer, unit: lines, keep: {min: 2}}
  - {id: ifd, use: ifd, model: strong}
  - {id: rmi, use: rmi, model: strong, strata: {by: nll_query, bins: 2}, keep: {rank: [0.1, 0.9]}}
  - {id: qaq, use: disagreement, strong: strong, weak: weak, bins: 2, keep: {fraction: 0.8}}
output: {use: jsonl, path: out}
""",
        encoding="utf-8",
    )
    assert run_cli(["calibrate", str(folder / "recipe.yaml"), "-n", "24"]) == 0
    return folder


def test_real_damage_is_caught_by_real_models(stdlib):
    data = read(stdlib / "out")
    assert [one["step"] for one in data["steps"]] == ["sane", "ifd", "rmi", "qaq"]
    assert len(data["damages"]) == 9
    assert len(data["catches"]) == 4 * 9
    # One line is no function, and the strong model knows whose answer it is.
    assert by(data["catches"], step="sane", damage="refusal")["caught"] == 1
    assert by(data["catches"], step="rmi", damage="swapped")["auc"] > 0.75
    assert by(data["catches"], step="rmi", damage="echoed")["auc"] < 0.1
    assert by(data["catches"], step="rmi", damage="echoed")["two_sided"] == 1
    assert by(data["catches"], step="ifd", damage="echoed")["caught"] == 0
    assert by(data["catches"], step="ifd", damage="echoed")["one_sided"] == 1
    assert by(data["steps"], step="ifd")["keeps"] == "scores"
    assert by(data["steps"], step="rmi")["judged"] == "rank"
    assert data["records"] == 24
    assert data["input"]["records"] == 60


def test_every_number_stands_inside_its_interval_and_adds_up(stdlib):
    data = read(stdlib / "out")
    for row in data["catches"]:
        assert row["records"] <= 24
        for name in SHARES:
            assert 0 <= row[f"{name}_low"] <= row[f"{name}_high"] <= 1
        assert row["caught_low"] <= row["caught"] <= row["caught_high"]
        assert row["one_sided"] <= row["two_sided"]
    for row in data["chain_catches"]:
        assert sum(row["by_step"].values()) == pytest.approx(row["caught"])
        steps = [one["caught"] for one in data["catches"] if one["damage"] == row["damage"]]
        assert max(steps) <= row["caught"] <= min(1, sum(steps)) + 1e-12
    for one in data["histograms"]:
        assert len(one["edges"]) == 31
        assert sum(one["clean"]) == 24 - by(data["steps"], step=one["step"])["nulls"]
        for name, counts in one["damages"].items():
            row = by(data["catches"], step=one["step"], damage=name)
            assert sum(counts) == row["records"] - row["nulls"]


def test_what_is_missed_is_shown_with_its_numbers(stdlib):
    data = read(stdlib / "out")
    assert {one["damage"] for one in data["missed"]} == {
        one["damage"] for one in data["chain_catches"] if one["caught"] < 1
    }
    for one in data["missed"]:
        assert set(one["values"]) == {"sane", "ifd", "rmi", "qaq"}
        assert 0.1 <= one["ranks"]["rmi"] <= 0.9
        assert one["query"]


def test_suggestions_can_be_pasted_and_cost_what_they_say(stdlib):
    data = read(stdlib / "out")
    recipe = stdlib / "recipe.yaml"
    assert [one["step"] for one in data["suggestions"]] == ["sane", "ifd", "rmi", "qaq"]
    for one in data["suggestions"]:
        keep = one["yaml"].removeprefix("keep: ")
        loaded = load_recipe(recipe, load_plugins(), [f"steps.{one['step']}.keep={keep}"])
        damages = load_damages(loaded, ())
        again = calibrate(loaded, Silent(), damages, records=24, times=5)
        # A bound of four digits may lie on the other side of one record.
        assert by(again["steps"], step=one["step"])["cost"] <= 0.1 + 1 / 24
        caught = [row["caught"] for row in again["catches"] if row["step"] == one["step"]]
        assert np.mean(caught) == pytest.approx(one["catch"], abs=0.02)


def test_the_clean_sample_decides_as_a_run_over_it_would(tmp_path, write_recipe, pairs):
    recipe = write_recipe(STEPS, pairs=pairs * 2 + [("nothing", "")])
    data = calibrated(recipe, records=17)
    report = qaqfilter.run(recipe)
    assert data["chain"]["cost"] == pytest.approx(1 - report.kept / 17)


def test_a_fitted_model_is_fitted_on_the_clean_sample_alone(write_recipe):
    recipe = write_recipe(STEPS)
    one = calibrated(recipe, damages=("refusal",))
    two = calibrated(recipe, damages=("refusal", "swapped", "invented_terms"))
    assert one["steps"] == two["steps"]
    assert one["catches"] == [row for row in two["catches"] if row["damage"] == "refusal"]
    clean, more = (data["histograms"][1] for data in (one, two))
    assert sum(clean["clean"]) == sum(more["clean"]) == 8


def test_the_same_seed_the_same_account_and_nothing_scored_twice(write_recipe, pairs):
    recipe = write_recipe(STEPS, pairs=[(f"{q} {n}", a) for n in range(3) for q, a in pairs])

    class Told(Silent):
        def __init__(self):
            self.tokens = 0

        def advanced(self, records, tokens):
            self.tokens += tokens

    def account(seed):
        loaded = load_recipe(recipe, load_plugins())
        return calibrate(loaded, Told(), load_damages(loaded, ()), records=12, seed=seed, times=20)

    assert account(1) == account(1)
    assert account(1)["missed"] != account(2)["missed"]


class Same:
    """No damage at all but for a field that no step reads."""

    def damage(self, record, others, rng):
        return record.query + " ", record.answer


@pytest.mark.parametrize(
    "steps",
    [
        "  - {id: rmi, use: rmi, keep: {rank: [0.25, 0.8]}}",
        "  - {id: rmi, use: rmi, strata: {by: nll_query, bins: 3}, keep: {fraction: 0.5}}",
        "  - {id: qaq, use: disagreement, strong: toy, weak: other, bins: 2, keep: {top: 4}}",
        "  - {id: s, use: s_ifd, model: toy, keep: {max: 1}}",
        "  - {id: d, use: exact_duplicates}",
        "  - {id: n, use: near_duplicates}\n  - {id: rmi, use: rmi, model: toy, keep: {top: 3}}",
        "  - {id: l, use: length, of: query, keep: {fraction: 0.5}, group: kind}",
        "  - {id: l, use: length, of: answer, keep: {quota: 2}, group: kind}",
        "  - {id: p, use: perplexity, model: toy}\n"
        "  - {id: rmi, use: rmi, model: toy, strata: {by: p.nll, bins: 2}, keep: {top: 4}}\n"
        "  - {id: c, use: combine, of: {rmi.rmi: 1, p.nll: -1}, keep: {fraction: 0.7}}",
    ],
)
def test_a_copy_that_equals_its_record_has_its_rank_and_fate(tmp_path, write_recipe, steps):
    head = "  other: {use: ngram, order: 1}\n"
    if "model" not in steps and "disagreement" not in steps:
        steps = steps.replace("use: rmi", "use: rmi, model: toy")
    recipe = load_recipe(write_recipe(steps, head=head), load_plugins())
    rows = [
        Record(str(n), q, a, b"%d" % n, Origin("x", n), fields={"kind": "ab"[n % 2]})
        for n, (q, a) in enumerate(TEXTS)
    ]
    unchanged = make_copies(rows, {"spoilt": Spoilt()}, 0)
    # The same record once more, as a copy: as if nothing had been done to it.
    copies = type(unchanged)(
        ("same", "spoilt"),
        (*rows, *unchanged.records),
        np.repeat([0, 1], len(rows)),
        np.tile(np.arange(len(rows)), 2),
        len(rows),
    )
    alone, lost_alone = place_all(recipe, Silent(), rows, unchanged, share=1)
    places, lost = place_all(recipe, Silent(), rows, copies, share=1)
    assert lost.tolist() == lost_alone.tolist()
    size = len(rows)
    for one, before in zip(places, alone, strict=True):
        for numbers in (one.values, one.kept, *([] if one.ranks is None else [one.ranks])):
            assert np.array_equal(numbers[:size], numbers[size : 2 * size], equal_nan=True)
        # And the spoilt ones are placed as if the others were not there.
        assert np.array_equal(one.values[2 * size :], before.values[size:], equal_nan=True)
        assert one.kept[2 * size :].tolist() == before.kept[size:].tolist()


class Spoilt:
    def damage(self, record, others, rng):
        return record.query, others[0].answer + "!"


TEXTS = [
    ("add two numbers", "def add(a, b):\n    return a + b"),
    ("add two numbers", "def add(a, b):\n    return a + b"),
    ("largest of a list", "def largest(xs):\n    return max(xs)"),
    ("count the vowels", "def vowels(w):\n    return sum(c in 'aeiou' for c in w)"),
    ("is the number even", "def even(n):\n    return n % 2 == 0"),
    ("square every item", "def squares(xs):\n    return [x * x for x in xs]"),
    ("join words with a comma", "def join(words):\n    return ', '.join(words)"),
    ("nothing", ""),
]


def test_nulls_are_caught_and_told(write_recipe, pairs):
    """An empty query or answer has no score: a null never passes, and has no place in an AUC."""
    recipe = write_recipe(
        "  - {id: rmi, use: rmi, keep: {min: -100}}", pairs=[*pairs, ("", "x"), ("x", "")]
    )
    data = calibrated(recipe, damages=("refusal",))
    step, row = data["steps"][0], data["catches"][0]
    assert (step["nulls"], step["cost"]) == (2, 0.2)
    assert (row["records"], row["nulls"], row["caught"]) == (10, 1, 0.1)
    assert row["auc"] * 8 * 9 * 2 == pytest.approx(round(row["auc"] * 8 * 9 * 2))
    # The nulls alone cost more than a tenth, so there is no bound to suggest.
    assert row["two_sided"] == 0.1
    assert data["suggestions"][0]["yaml"] is None


def test_a_sample_too_small_for_its_bins_gets_no_bounds_and_is_told(tmp_path, capsys):
    """Eighteen of twenty in three bins: the smallest cut costs three, more than a tenth."""
    path = tmp_path / "recipe.yaml"
    path.write_text(
        """version: 1
name: small
input: {use: docstrings, limit: 60, max_query: 200, min_answer: 80, max_answer: 400}
models:
  strong: {use: reference, model: "builtin:strong"}
steps:
  - {id: ifd, use: ifd, keep: {max: 1}}
  - {id: rmi, use: rmi, strata: {by: nll_query, bins: 3}, keep: {rank: [0.1, 0.9]}}
output: {use: jsonl, path: out}
"""
    )
    data = calibrated(path, damages=("swapped", "echoed"), records=20)
    _, rmi = data["suggestions"]
    assert rmi["catch"] == 0
    assert (rmi["keep"], rmi["yaml"], rmi["low"], rmi["high"]) == (None, None, None, None)
    assert [note for note in data["notes"] if "says little" in note] == [
        "The sample has only 20 records, which says little: take more with -n."
    ]
    assert run_cli(["calibrate", str(path), "-n", "20", "--damage", "swapped"]) == 0
    assert "no bound that costs so little catches anything" in capsys.readouterr().out


def test_a_damage_of_ones_own(tmp_path, write_recipe, capsys):
    plugin = tmp_path / "loud.py"
    plugin.write_text(LOUD)
    recipe = write_recipe(STEPS)
    arguments = ["calibrate", str(recipe), "--plugin", str(plugin), "--damage", "loud", "--json"]
    assert run_cli(arguments) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == read(tmp_path / "out")
    assert printed["damages"] == [{"damage": "loud", "summary": "in capitals", "records": 7}]
    assert {one["records"] for one in printed["catches"]} == {7}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("return 1 / 0", "damage 'loud' failed on the record at data.jsonl:1: ZeroDivisionError"),
        ("return record", "damage 'loud' gave Record("),
        ("return record.query, 3", "it has to give (query, answer), two texts, or None"),
    ],
)
def test_a_damage_that_fails_is_named(tmp_path, write_recipe, capsys, body, told):
    plugin = tmp_path / "loud.py"
    plugin.write_text(
        LOUD.replace("return record.query, record", f"{body}\n        return record.query, record")
    )
    arguments = ["calibrate", str(write_recipe(STEPS)), "--plugin", str(plugin), "--damage", "loud"]
    assert run_cli(arguments) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_unknown_damage_is_named_beside_the_known(write_recipe, capsys):
    assert run_cli(["calibrate", str(write_recipe(STEPS)), "--damage", "swaped"]) == 2
    assert "no damage is called 'swaped'; did you mean 'swapped'?" in capsys.readouterr().err


def test_a_calibration_is_not_overwritten_unasked(tmp_path, write_recipe, capsys):
    recipe = str(write_recipe(STEPS))
    arguments = ["calibrate", recipe, "--damage", "refusal"]
    assert run_cli(arguments) == 0
    before = (tmp_path / "out" / "calibration.json").read_bytes()
    assert run_cli([*arguments, "--seed", "1"]) == 1
    assert "calibration.json is there: --replace writes it anew" in capsys.readouterr().err
    assert (tmp_path / "out" / "calibration.json").read_bytes() == before
    assert run_cli([*arguments, "--seed", "1", "--replace"]) == 0
    assert read(tmp_path / "out")["seed"] == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["calibration.json"]


def test_runs_and_calibrations_leave_each_other_alone(tmp_path, write_recipe):
    recipe = write_recipe(STEPS)
    assert run_cli(["calibrate", str(recipe), "--damage", "refusal"]) == 0
    before = (tmp_path / "out" / "calibration.json").read_bytes()
    qaqfilter.run(recipe)
    qaqfilter.run(recipe, replace=True)
    assert (tmp_path / "out" / "calibration.json").read_bytes() == before
    kept = (tmp_path / "out" / "kept.jsonl").read_bytes()
    assert run_cli(["calibrate", str(recipe), "--damage", "refusal", "--replace"]) == 0
    assert (tmp_path / "out" / "kept.jsonl").read_bytes() == kept
    assert (tmp_path / "out" / "manifest.json").exists()


def test_without_a_folder_nothing_is_saved_and_that_is_told(
    write_recipe, capsys, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    recipe = write_recipe(STEPS)
    arguments = ["calibrate", str(recipe), "--set", "output.path=-", "--damage", "refusal"]
    assert run_cli(arguments) == 0
    assert "nothing is saved: output.path is -" in capsys.readouterr().err
    assert not list(tmp_path.rglob("calibration.json"))


def test_an_address_gets_the_file(write_recipe, capsys):
    import fsspec

    recipe = write_recipe(STEPS)
    where = "memory://calibrations/one"
    arguments = ["calibrate", str(recipe), "--set", f"output.path={where}", "--damage", "refusal"]
    assert run_cli(arguments) == 0
    assert f"saved: {where}/calibration.json" in capsys.readouterr().out
    assert (
        json.loads(fsspec.filesystem("memory").cat("/calibrations/one/calibration.json"))["format"]
        == 1
    )
    assert run_cli(arguments) == 1
    assert "--replace writes it anew" in capsys.readouterr().err


@pytest.mark.parametrize("there", ["a file", "a folder of that name"])
def test_where_nothing_can_be_written_the_table_is_not_lost(tmp_path, write_recipe, capsys, there):
    recipe = write_recipe(STEPS)
    if there == "a file":
        (tmp_path / "out").write_text("mine")
    else:
        (tmp_path / "out" / "calibration.json").mkdir(parents=True)
    arguments = ["calibrate", str(recipe), "--damage", "refusal", "--replace"]
    assert run_cli(arguments) == 1
    told = capsys.readouterr()
    assert str(tmp_path / "out") in told.err
    assert ("the chain: costs" in told.out) is (there != "a file")
    assert not list(tmp_path.rglob(".calibration-*"))


@pytest.mark.parametrize(
    ("pairs", "told"),
    [([("a", "b")], "the input has 1 good record(s)"), ([("", ""), ("", "")], "could be damaged")],
)
def test_too_little_is_refused(write_recipe, capsys, pairs, told):
    arguments = ["calibrate", str(write_recipe(STEPS, pairs=pairs)), "--damage", "swapped"]
    assert run_cli(arguments) == 2
    assert told in capsys.readouterr().err


def test_the_table_says_what_the_file_holds(tmp_path, write_recipe, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert run_cli(["calibrate", str(write_recipe(STEPS)), "--cost", "0.25"]) == 0
    told = capsys.readouterr().out
    data = read(tmp_path / "out")
    assert data["cost"] == 0.25
    assert "rmi (rmi): by rank, keeps high, costs" in told
    for one in data["suggestions"]:
        assert f"\n  {one['yaml']}\n" in told
    rows = [line for line in told.splitlines() if "│" in line]
    assert len(rows) == 3 * 9  # two steps and the chain: no row takes two lines
    assert max(map(len, rows)) <= 80
    assert "…" not in told
    for note in data["notes"]:
        assert note in told


def test_counts_are_scaled_to_the_sample(write_recipe, pairs):
    many = [(f"{q} {n}", a) for n in range(4) for q, a in pairs]
    data = calibrated(
        write_recipe("  - {id: rmi, use: rmi, keep: {top: 16}}", pairs=many), records=8
    )
    step = by(data["steps"], step="rmi")
    assert step["cost"] == 0.5
    assert step["keep"] == {"top": 16}
    assert any("counts are scaled" in note for note in data["notes"])


def test_every_exchange_of_a_conversation_stays_with_its_copy(tmp_path, write_recipe):
    recipe = write_recipe(STEPS)
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"first {n}"},
                {"role": "assistant", "content": "one answer"},
                {"role": "user", "content": f"second {n}"},
                {"role": "assistant", "content": f"another answer {n} " * 3},
            ]
        }
        for n in range(4)
    ] + [
        {
            "messages": [
                {"role": "user", "content": "only"},
                {"role": "assistant", "content": "an answer, long enough to stay"},
            ]
        }
    ]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    loaded = load_recipe(recipe, load_plugins(), ["input.turns=each"])
    data = calibrate(loaded, Silent(), load_damages(loaded, ()), times=5)
    assert data["records"] == 5
    assert by(data["damages"], damage="refusal")["records"] == 5
    assert by(data["catches"], step="rmi", damage="refusal")["nulls"] == 0


def test_a_step_that_decides_itself_has_no_cuts(write_recipe, pairs):
    """One sees the sample with the copy in its record's place: no copy is its own duplicate."""
    recipe = write_recipe("  - {id: d, use: exact_duplicates}", pairs=[*pairs, pairs[0]])
    data = calibrated(recipe, damages=("echoed", "swapped"))
    step = data["steps"][0]
    assert (step["judged"], step["keeps"], step["keep"]) == ("itself", "itself", None)
    assert (step["nulls"], step["cost"]) == (0, pytest.approx(1 / 9))
    row = by(data["catches"], damage="echoed")
    # "add two numbers" twice, echoed in turn: each time the other copy is still the real one.
    assert (row["nulls"], row["caught"], row["auc"], row["two_sided"]) == (0, 0, None, None)
    assert data["suggestions"] == []
