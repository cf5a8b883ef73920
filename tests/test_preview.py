"""`preview`: a few records with their numbers and their fate."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest

import qaqfilter
from qaqfilter.cli import run_cli

STEPS = """  - {id: sane, use: length, of: answer, keep: {min: 40}}
  - {id: rmi, use: rmi, keep: {fraction: 0.5}}"""


def fates(folder):
    found = pq.read_table(folder / "scores.parquet").to_pylist()
    return [(row["id"], row["kept"], row["step"], row["reason"], row["rmi.rmi"]) for row in found]


def as_fates(preview):
    return [
        (
            one.record.id,
            one.rejection is None,
            one.rejection and one.rejection.step,
            one.rejection and one.rejection.reason,
            one.numbers["rmi.rmi"],
        )
        for one in preview.records
    ]


def test_it_decides_as_a_run_over_the_same_records(tmp_path, write_recipe):
    recipe = write_recipe(STEPS)
    preview = qaqfilter.preview(recipe, records=5)
    assert not (tmp_path / "out").exists()
    qaqfilter.run(recipe, limit=5)
    assert as_fates(preview) == fates(tmp_path / "out")
    assert preview.ranked == ("rmi",)
    assert {kept for _, kept, *_ in as_fates(preview)} == {True, False}


def test_scores_come_from_the_store_and_go_there(write_recipe):
    recipe = write_recipe(STEPS)
    qaqfilter.preview(recipe, records=8)
    plan = qaqfilter.plan(recipe)
    assert plan.models[0].stored == plan.models[0].planned > 0


def test_random_ones_are_the_same_by_the_same_seed(write_recipe, pairs):
    recipe = write_recipe(STEPS, pairs=pairs * 5)
    ordinals = [
        [
            one.record.origin.ordinal
            for one in qaqfilter.preview(recipe, records=6, random=s).records
        ]
        for s in (1, 1, 2)
    ]
    assert ordinals[0] == ordinals[1] != ordinals[2]
    assert ordinals[0] == sorted(set(ordinals[0]))
    assert max(*ordinals[0], *ordinals[2]) > 6


def test_bad_records_are_told_and_not_counted(tmp_path, write_recipe, capsys):
    recipe = write_recipe(STEPS)
    data = tmp_path / "data.jsonl"
    data.write_text("no\n" + data.read_text())
    assert run_cli(["preview", str(recipe), "-n", "3"]) == 0
    told = capsys.readouterr().out
    assert "bad record: data.jsonl:1: not JSON" in told
    assert "of 3 records would be kept" in told


def test_sorting_puts_the_lowest_first_and_the_undefined_last(write_recipe, capsys):
    recipe = write_recipe(STEPS)
    assert run_cli(["preview", str(recipe), "--json", "--sort", "rmi.rmi"]) == 0
    numbers = [one["numbers"]["rmi.rmi"] for one in json.loads(capsys.readouterr().out)["records"]]
    there = [number for number in numbers if number is not None]
    assert 0 < len(there) < len(numbers) == 8
    assert numbers == sorted(there) + [None] * (8 - len(there))


def test_reverse_keeps_the_undefined_at_the_end(write_recipe):
    preview = qaqfilter.preview(write_recipe(STEPS))
    numbers = [one.numbers["rmi.rmi"] for one in preview.sorted_by("rmi.rmi", reverse=True)]
    there = [number for number in numbers if number is not None]
    assert numbers == sorted(there, reverse=True) + [None] * (8 - len(there))
    assert 0 < len(there) < 8


def test_an_unknown_column_is_named_beside_the_known(write_recipe, capsys):
    assert run_cli(["preview", str(write_recipe(STEPS)), "--sort", "rmi.rim"]) == 2
    told = capsys.readouterr().err
    assert "no column 'rmi.rim'" in told
    assert "rmi.rmi" in told


def test_texts_are_shortened_and_safe_to_print(write_recipe, capsys):
    nasty = [("red \x1b[31m\u202eevil", "\n".join(f"line {n} " + "x" * 200 for n in range(9)))]
    assert run_cli(["preview", str(write_recipe("  - {id: r, use: random}", pairs=nasty))]) == 0
    told = capsys.readouterr().out
    assert "\x1b" not in told
    assert "\u202e" not in told
    assert "\\x1b[31m\\u202eevil" in told
    assert "line 2 xxx" in told
    assert "line 3" not in told
    assert max(map(len, told.splitlines())) < 110


def test_ranks_are_told_only_where_the_recipe_ranks(write_recipe, capsys):
    told = "is not a rank over all"
    assert run_cli(["preview", str(write_recipe(STEPS))]) == 0
    assert f"A rank over 8 records {told}: in a run, rmi may" in capsys.readouterr().out
    assert run_cli(["preview", str(write_recipe(STEPS.replace("fraction: 0.5", "min: 0")))]) == 0
    assert told not in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["--random", "3"]])
def test_an_empty_input_has_a_preview(tmp_path, write_recipe, capsys, arguments):
    recipe = write_recipe(STEPS)
    (tmp_path / "data.jsonl").write_text("")
    assert run_cli(["preview", str(recipe), *arguments]) == 0
    assert "0 of 0 records would be kept" in capsys.readouterr().out
