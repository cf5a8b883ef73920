"""`init`: three commands from data to a result."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ruamel.yaml import YAML

import qaqfilter
from qaqfilter.cli import run_cli
from qaqfilter.layouts import LAYOUTS
from qaqfilter.starting_text import Draft, quoted

COMMAND = [sys.executable, "-m", "qaqfilter"]
ROWS = {
    "query_answer": lambda q, a: {"query": q, "answer": a},
    "query_response": lambda q, a: {"query": q, "response": a},
    "problem_solution": lambda q, a: {"problem": q, "solution": a},
    "prompt_completion": lambda q, a: {"prompt": q, "completion": a},
    "alpaca": lambda q, a: {"instruction": q, "input": "", "output": a},
    "messages": lambda q, a: {
        "messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]
    },
    "conversations": lambda q, a: {
        "conversations": [{"from": "human", "value": q}, {"from": "gpt", "value": a}]
    },
}
"""A row in each layout of the core: a layout without one here fails the test below."""


def qaqfilter_in(folder, *arguments, **options):
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        **options,
    )
    assert done.returncode == 0, done.stderr
    return done


def write_rows(path, pairs, layout="query_answer"):
    rows = [json.dumps(ROWS[layout](q, a)) + "\n" for q, a in pairs]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(rows))
    return rows


@pytest.mark.parametrize("layout", LAYOUTS)
def test_three_commands_from_data_to_a_result(tmp_path, pairs, layout):
    rows = write_rows(tmp_path / "data.jsonl", pairs, layout)
    started = qaqfilter_in(tmp_path, "init", "data.jsonl")
    assert f"data.jsonl: source jsonl, layout {layout}" in started.stdout
    qaqfilter_in(tmp_path, "run", "recipe.yaml")
    head = subprocess.run(
        ["head", "out/kept.jsonl"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    kept = head.stdout.splitlines(keepends=True)
    assert len(kept) == 2
    assert set(kept) < set(rows)


def test_the_recipe_is_valid_commented_and_known_to_editors(tmp_path, pairs):
    write_rows(tmp_path / "data.jsonl", pairs)
    qaqfilter_in(tmp_path, "init", "data.jsonl")
    assert (
        "ok. Steps: sane (length), qaq" in qaqfilter_in(tmp_path, "validate", "recipe.yaml").stdout
    )
    lines = (tmp_path / "recipe.yaml").read_text().splitlines()
    assert lines[0] == "# yaml-language-server: $schema=qaqfilter.schema.json"
    blocks = [n for n, text in enumerate(lines) if text.startswith(("input", "models", "steps"))]
    assert len(blocks) == 3
    assert all(lines[n - 1].startswith("# ") for n in blocks)
    printed = qaqfilter_in(tmp_path, "schema").stdout
    assert json.loads((tmp_path / "qaqfilter.schema.json").read_text()) == json.loads(printed)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "data.jsonl",
        "qaqfilter.schema.json",
        "recipe.yaml",
    ]


@pytest.mark.parametrize(("method", "kept"), [("disagreement", 4), ("rmi", 4), ("ifd", 4)])
def test_methods_keep_the_share(tmp_path, pairs, monkeypatch, method, kept):
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "data.jsonl", pairs)
    assert run_cli(["init", "data.jsonl", "--method", method, "--keep", "0.5"]) == 0
    report = qaqfilter.run("recipe.yaml")
    assert 1 <= report.kept <= kept
    assert len(report.models) == (2 if method == "disagreement" else 1)


NAMES = [
    "with space.jsonl",
    "a: b, {c} #d.jsonl",
    "'single' \"double\" \\back.jsonl",
    "ünï-日本-😀.jsonl",
    "data[1]*?.jsonl",
    "~home.jsonl",
    "${HOME}.jsonl",
    "-dash/-x.jsonl",
    "null.jsonl",
    "tab\there\x7f.jsonl",
    "folder [x]/two.jsonl",
]


@pytest.mark.parametrize("name", NAMES)
def test_odd_names_mean_themselves(tmp_path, pairs, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / name, pairs)
    write_rows(tmp_path / "data1xx.jsonl", pairs[:1])  # what a pattern would match
    recipe = tmp_path / "recipes of mine" / "r [1].yaml"
    code = run_cli(
        ["init", "-o", str(recipe), "--method", "rmi", "--output", "re[s]: x", "--", name]
    )
    assert code == 0
    report = qaqfilter.run(recipe)
    assert report.read == len(pairs)
    assert report.folder.resolve() == tmp_path / "re[s]: x"


def test_patterns_and_several_files(tmp_path, pairs, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        write_rows(tmp_path / "data" / f"{number}.jsonl", pairs[number : number + 1])
    assert run_cli(["init", "data/*.jsonl", "-o", "below/one.yaml"]) == 0
    assert "data/*.jsonl: 3 files, source jsonl" in capsys.readouterr().out
    write_rows(tmp_path / "data" / "late.jsonl", pairs[3:4])
    assert qaqfilter.plan("below/one.yaml").records == 4
    assert run_cli(["init", "data/0.jsonl", "data/2.jsonl", "-o", "two.yaml"]) == 0
    assert qaqfilter.plan("two.yaml").records == 2


def test_fields_that_fit_no_layout_are_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("odd.jsonl").write_text('{"q: 1": "why?", "a\\"": "because"}\n')
    assert run_cli(["init", "odd.jsonl"]) == 1
    told = capsys.readouterr().err
    assert "fits no layout" in told
    assert "--query FIELD --answer FIELD" in told
    assert not Path("recipe.yaml").exists()
    assert run_cli(["init", "odd.jsonl", "--query", "q: 1"]) == 2
    assert run_cli(["init", "odd.jsonl", "--query", "q: 1", "--answer", 'a"']) == 0
    assert qaqfilter.plan("recipe.yaml").records == 1


def test_nothing_is_overwritten_without_force(tmp_path, pairs, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "data.jsonl", pairs)
    Path("recipe.yaml").write_text("mine")
    assert run_cli(["init", "data.jsonl"]) == 2
    assert "--force" in capsys.readouterr().err
    assert Path("recipe.yaml").read_text() == "mine"
    assert run_cli(["init", "data.jsonl", "--force"]) == 0
    assert qaqfilter.load_recipe("recipe.yaml").name == "data"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["absent.jsonl"], 2, "no file matches absent.jsonl"),
        (["folder"], 2, "name the files in it, as in folder/*"),
        ([], 2, "name the data: qaqfilter init data.jsonl"),
        (["empty.jsonl"], 1, "the input is empty"),
        (["bad.jsonl"], 1, "no good record to look at: not JSON"),
        (["picture.png"], 2, "choose with --source"),
        (["data.jsonl", "--backend", "refrence"], 2, "recipe.yaml:11: models.strong.use"),
        (["data.jsonl", "--keep", "0"], 2, "0<x<=1"),
    ],
)
def test_what_cannot_be_started_with_says_so(
    tmp_path, pairs, monkeypatch, capsys, *, arguments, code, message
):
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "data.jsonl", pairs)
    Path("folder").mkdir()
    Path("empty.jsonl").write_text("")
    Path("bad.jsonl").write_text("no\n")
    Path("picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\0")
    before = sorted(tmp_path.iterdir())
    assert run_cli(["init", *arguments]) == code
    told = capsys.readouterr().err
    assert message in told
    assert ".partial" not in told
    assert sorted(tmp_path.iterdir()) == before


def test_a_file_of_no_known_ending_is_tried(tmp_path, pairs, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "records.txt", pairs)
    assert run_cli(["init", "records.txt"]) == 0
    assert "source jsonl" in capsys.readouterr().out
    assert qaqfilter.plan("recipe.yaml").records == len(pairs)


@pytest.mark.parametrize(
    ("model", "use"), [("me/model", "transformers"), ("small.gguf", "llamacpp"), ("./there", None)]
)
def test_models_go_to_the_backend_that_reads_them(tmp_path, pairs, monkeypatch, model, use):
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "data.jsonl", pairs)
    Path("small.gguf").write_bytes(b"GGUF")
    Path("there").mkdir()
    assert (
        run_cli(["init", "data.jsonl", "--model", model, "--method", "rmi", "-o", "r/r.yaml"]) == 0
    )
    loaded = qaqfilter.load_recipe("r/r.yaml").models["strong"].backend
    assert loaded.component.name == use or use is None
    place = {"me/model": "hf:me/model", "small.gguf": "small.gguf", "./there": "there"}[model]
    assert loaded.options.model.endswith(place)
    if use != "transformers":
        assert loaded.options.model.startswith("path:")


@pytest.mark.parametrize(
    "text", ["", "plain", 'a"b\\c', "\n\t\x00\x1b\x85", "é日😀\u2028\ufeff", "~ ${X}: #"]
)
def test_quoted_text_comes_back(text):
    assert YAML(typ="safe").load(f"key: {quoted(text)}\n") == {"key": text}


@pytest.mark.parametrize(
    ("share", "rank"), [(0.25, "[0.73, 0.98]"), (0.98, "[0, 0.98]"), (1.0, "[0, 1]")]
)
def test_a_share_by_rmi_leaves_out_what_repeats_the_query(share, rank):
    draft = Draft("n", "jsonl", ["d"], None, "jsonl", "out", "rmi", share, {})
    assert f"keep: {{rank: {rank}}}" in draft.text("s.json")


@pytest.mark.parametrize("data", [["data.jsonl"], []], ids=["named", "asked for"])
def test_it_asks_on_a_terminal(tmp_path, pairs, data):
    write_rows(tmp_path / "data.jsonl", pairs)
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "init", *data],
        cwd=tmp_path,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=os.environ | {"TERM": "dumb"},
    ) as process:
        os.close(theirs)
        told = ""
        asked = [] if data else [("Data, a file", "dta.jsonl"), ("no file matches", "data.jsonl")]
        for question, reply in (
            *asked,
            ("What to keep", "ifd"),
            ("Share of the records", "0.5"),
            ("Model that judges", ""),
        ):
            told += _until(ours, question)
            os.write(ours, f"{reply}\n".encode())
        told += _until(ours, "next: qaqfilter run recipe.yaml")
        assert process.wait(timeout=60) == 0
    os.close(ours)
    assert "two models" in told
    text = (tmp_path / "recipe.yaml").read_text()
    assert "use: ifd, model: strong, keep: {max: 1, fraction: 0.5}" in text
    assert 'model: "builtin:strong"' in text


def _until(terminal, text):
    told = ""
    end = time.monotonic() + 60
    while text not in told:
        ready, _, _ = select.select([terminal], [], [], max(0.0, end - time.monotonic()))
        assert ready, f"never came: {text!r} in {told!r}"
        told += os.read(terminal, 4096).decode(errors="replace")
    return told


def test_a_recipe_for_conversations_tells_of_turns(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    turns = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]
    Path("talks.jsonl").write_text(json.dumps({"messages": turns}) + "\n")
    Path("pairs.jsonl").write_text('{"query": "Q", "answer": "A"}\n')
    for name, told in (("talks", True), ("pairs", False)):
        assert run_cli(["init", f"{name}.jsonl", "-o", f"{name}.yaml"]) == 0
        assert ("`turns: each`" in Path(f"{name}.yaml").read_text()) == told
        qaqfilter.load_recipe(f"{name}.yaml")
