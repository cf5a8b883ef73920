"""The data card of a run: loadable as a data set, the same for the same run, safe to read."""

from __future__ import annotations

import json
import re
from pathlib import Path

import datasets
import huggingface_hub
import numpy as np
import pytest
from markdown_it import MarkdownIt

import qaqfilter
from outputs import visible
from qaqfilter import RunDirectoryError
from qaqfilter.markdown import block, code
from qaqfilter.spread import QUANTILES, WIDTH, histogram, quantiles

STEPS = """\
  - {id: sane, use: length, of: query, keep: {min: 17}}
  - {id: rmi, use: rmi, strata: {by: nll_query, bins: 2}, keep: {fraction: 0.5}}
  - {id: seen, use: ifd}"""
HOSTILE = '\x1b[2Jx |`](javascript:1)<img src=x>\u202e --- "\n---\nlicense: mit'


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def card_of(folder) -> str:
    return (folder / "README.md").read_text(encoding="utf-8")


def front(folder) -> dict:
    """The front matter, as the hub's own library reads it; it must be valid for a data set."""
    card = huggingface_hub.DatasetCard.load(folder / "README.md")
    assert card.data.to_dict() == huggingface_hub.metadata_load(folder / "README.md")
    return card.data.to_dict()


def fences(text: str, language: str) -> list[str]:
    tokens = MarkdownIt().parse(text)
    return [t.content for t in tokens if t.type == "fence" and t.info == language]


def tables(text: str) -> list[list[list[str]]]:
    """Every table's rows of cells, as text."""
    found: list[list[list[str]]] = []
    inside = False
    for token in MarkdownIt().enable("table").parse(text):
        if token.type == "table_open":
            found.append([])
            inside = True
        elif token.type == "table_close":
            inside = False
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type == "inline" and inside:
            found[-1][-1].append("".join(child.content for child in token.children))
    return found


def test_the_front_matter_names_the_kept_and_the_rejected_records(out, write_recipe):
    qaqfilter.run(write_recipe(STEPS))
    data = front(out)
    assert data["pretty_name"] == "test"
    assert data["size_categories"] == ["n<1K"]
    assert "qaqfilter" in data["tags"]
    assert data["configs"] == [
        {"config_name": "default", "data_files": [{"split": "train", "path": "kept.jsonl"}]},
        {"config_name": "rejected", "data_files": [{"split": "train", "path": "rejected.jsonl"}]},
    ]
    assert "license" not in data


def test_the_excerpts_in_the_docs_are_of_a_real_card(tmp_path):
    page = (Path(__file__).parent.parent / "docs" / "runs.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", page, re.DOTALL))
    for name, text in told.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    qaqfilter.run(tmp_path / "recipe.yaml")
    excerpts = fences(page.split("## The data card")[1].split("\n## ")[0], "text")
    assert [excerpt in card_of(tmp_path / "out") for excerpt in excerpts] == [True, True]


def test_the_front_matter_follows_the_files(out, write_recipe):
    changes = ["output.rejects=false", "output.compression=gzip"]
    qaqfilter.run(write_recipe(STEPS), overrides=changes)
    assert front(out)["configs"] == [
        {"config_name": "default", "data_files": [{"split": "train", "path": "kept.jsonl.gz"}]}
    ]


def test_the_kept_records_load_as_a_data_set(out, tmp_path, write_recipe, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    qaqfilter.run(write_recipe(STEPS))
    cache = str(tmp_path / "cache")
    loaded = datasets.load_dataset(str(out), cache_dir=cache)
    kept = [json.loads(line) for line in (out / "kept.jsonl").read_bytes().splitlines()]
    assert {name: list(split) for name, split in loaded.items()} == {"train": kept}
    assert 0 < len(kept) < 8
    rejected = datasets.load_dataset(str(out), "rejected", split="train", cache_dir=cache)
    assert len(rejected) == 8 - len(kept)
    assert {"step", "reason", "value", "bound"} <= set(rejected.column_names)


def test_counts_bounds_models_and_papers(out, write_recipe):
    report = qaqfilter.run(write_recipe(STEPS))
    text = card_of(out)
    inputs, counts, models, *_ = tables(text)
    assert inputs[1:] == [["data.jsonl", "8"]]
    rejected = {step.id: dict(step.rejected) for step in report.steps}
    rows = {(row[0], row[1]): row[2:] for row in counts[1:]}
    assert rows["", "read"][0] == "8"
    assert rows["", "kept"][0] == str(report.kept)
    assert rows["sane", "rejected: min"] == [str(rejected["sane"]["min"]), "17"]
    assert rows["rmi", "rejected: fraction"][0] == str(rejected["rmi"]["fraction"])
    assert models[1:] == [["toy", "ngram", report.models[0].fingerprint]]
    assert f"qaqfilter {qaqfilter.__version__}" in text
    assert re.findall(r"<(https://arxiv.*?)>", text) == [
        "https://arxiv.org/abs/2603.12165",
        "https://arxiv.org/abs/2402.00530",
    ]


def test_distributions_of_what_steps_decided_by(out, write_recipe):
    import pyarrow.parquet as pq

    qaqfilter.run(write_recipe(STEPS))
    text = card_of(out)
    names = re.findall(r'^`(\S+)`; "all"', text, re.MULTILINE)
    assert names == ["sane.length", "rmi.rmi", "rmi.nll_query"]  # `seen` decides nothing
    scores = pq.read_table(out / "scores.parquet")
    kept = scores["kept"].to_numpy()
    shown = tables(text)[3:]
    for name, (heading, everything, of_kept) in zip(names, shown, strict=True):
        assert heading == ["records", "count", *(f"{q} %" for q in QUANTILES)]
        values = scores[name].to_numpy()
        for row, which in ((everything, ~np.isnan(values)), (of_kept, kept)):
            wanted = np.percentile(values[which], QUANTILES)
            assert row[1:] == [str(which.sum()), *(f"{value:.4g}" for value in wanted)]


def test_a_record_that_never_got_to_a_step_is_not_in_its_distribution(out, write_recipe):
    recipe = write_recipe(STEPS)
    qaqfilter.score_recipe(recipe, everything=True)
    qaqfilter.select_recipe(recipe)
    _, sane, rmi, _ = (table[1][1] for table in tables(card_of(out))[2:])
    assert sane == "8"
    assert rmi == str(len([q for q in QUERIES if len(q) >= 17])) != "8"


QUERIES = (
    "add two numbers",
    "reverse a string",
    "largest of a list",
    "count the vowels in a word",
    "read a file as text",
    "is the number even",
    "square every item of a list",
    "join words with a comma",
)


def test_the_same_run_writes_the_same_card(out, tmp_path, write_recipe, monkeypatch):
    recipe = write_recipe(STEPS)
    qaqfilter.run(recipe)
    first = card_of(out)
    qaqfilter.run(recipe, replace=True)
    assert card_of(out) == first
    monkeypatch.setenv("QAQFILTER_STORE", str(tmp_path / "other-store"))
    qaqfilter.run(recipe, overrides=["output.path=elsewhere"])
    assert card_of(tmp_path / "elsewhere") == first
    qaqfilter.run(recipe, overrides=["steps.rmi.keep.fraction=0.25"], replace=True)
    assert card_of(out) != first


def test_the_recipe_in_the_card_makes_the_same_run(out, tmp_path, write_recipe):
    qaqfilter.run(write_recipe(STEPS, head="prompt: {use: plain, separator: '``` \u202e'}\n"))
    text = card_of(out)
    (recipe,) = fences(text, "yaml")
    assert fences(text, "console") == ["qaqfilter run recipe.yaml\n"]
    assert str(tmp_path) not in text
    there = tmp_path / "there"
    there.mkdir()
    (there / "data.jsonl").write_bytes((tmp_path / "data.jsonl").read_bytes())
    (there / "recipe.yaml").write_text(recipe, encoding="utf-8")
    qaqfilter.run(there / "recipe.yaml")
    ours, theirs = visible(out), visible(there / "out")
    for name in ("kept.jsonl", "rejected.jsonl", "scores.parquet", "README.md"):
        assert ours[name] == theirs[name], name


def test_paths_of_a_card_say_nothing_of_the_machine(
    out, tmp_path, tmp_path_factory, write_recipe, monkeypatch
):
    home = tmp_path_factory.mktemp("home") / "[me]"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    (home / "fit.txt").write_text("a b c")
    recipe = write_recipe(STEPS)
    text = recipe.read_text().replace("{use: ngram}", "{use: ngram, fit: ['~/fit.txt']}")
    recipe.write_text(text)
    qaqfilter.run(recipe)
    assert str(tmp_path) not in card_of(out)
    assert str(home.parent) not in card_of(out)
    assert "- ~/fit.txt\n" in card_of(out)


def test_a_limit_is_part_of_the_command(out, write_recipe):
    qaqfilter.run(write_recipe(STEPS), limit=5)
    assert fences(card_of(out), "console") == ["qaqfilter run recipe.yaml --limit 5\n"]


def test_data_in_a_card_stays_data(out, tmp_path, write_recipe):
    name = "\u202edata`|<b>.jsonl"
    recipe = write_recipe(STEPS)
    (tmp_path / "data.jsonl").rename(tmp_path / name)
    text = recipe.read_text().replace("data.jsonl", "'*.jsonl'")
    text = text.replace("name: test", f"name: {json.dumps(HOSTILE)}")
    recipe.write_text(text, encoding="utf-8")
    qaqfilter.run(recipe)
    raw = card_of(out)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", raw)
    data = front(out)
    assert "license" not in data
    assert data["pretty_name"].startswith("\\x1b[2Jx |`]")
    assert len(data["configs"]) == 2
    body = raw.split("\n---\n", 1)[1]
    tokens = MarkdownIt().enable("table").parse(body)
    inner = [child for token in tokens for child in token.children or []]
    assert not [t for t in [*tokens, *inner] if t.type in ("html_inline", "html_block", "link_open")
                and "arxiv.org" not in str(t.attrs)]  # fmt: skip
    assert [t.tag for t in tokens if t.type == "heading_open"] == ["h1"] + ["h2"] * 6
    assert tables(body)[0][1:] == [["\\u202edata`|<b>.jsonl", "8"]]


@pytest.mark.parametrize("text", ["", "`", "``a`", "a|b", " x ", "\n# y", "\\", "a``", "<b>"])
def test_a_code_span_shows_its_text(text):
    (inline,) = [t for t in MarkdownIt().enable("table").parse(code(text)) if t.type == "inline"]
    (span,) = inline.children
    assert span.type == "code_inline"
    assert span.content.replace("\\|", "|").strip() == text.replace("\n", "\\x0a").strip()


def test_a_block_shows_its_text():
    (token,) = MarkdownIt().parse(block("a\n```\n````\nb\x1b\n", "text"))
    assert (token.type, token.content) == ("fence", "a\n```\n````\nb\\x1b\n")


def test_a_histogram_has_its_counts_in_place():
    values = np.array([0.0, 0.0, 0.0, 0.0, 1.0, np.nan])
    assert histogram(values, 0.0, 1.0) == "█" + " " * (WIDTH - 2) + "▂"
    assert histogram(np.array([5.0]), 5.0, 5.0) == "█" + " " * (WIDTH - 1)
    assert histogram(np.array([]), 0.0, 1.0) == " " * WIDTH
    assert histogram(np.array([0.0, 5e-324]), 0.0, 5e-324).count("█") == 1
    assert quantiles(np.array([np.nan])) == ()
    assert quantiles(np.array([1.0, np.nan, 3.0]))[3] == 2.0


def test_no_card_where_none_is_wanted(out, write_recipe):
    report = qaqfilter.run(write_recipe(STEPS), overrides=["output.card=false"])
    assert "README.md" not in visible(out)
    assert "README" not in report.files
    qaqfilter.score_recipe(write_recipe(STEPS), replace=True)
    assert "README.md" not in visible(out)


def test_nothing_kept_is_a_card_too(out, write_recipe):
    qaqfilter.run(write_recipe("  - {id: none, use: length, keep: {min: 1000}}"))
    text = card_of(out)
    assert front(out)["size_categories"] == ["n<1K"]
    assert "No model was asked." in text
    assert tables(text)[-1][2] == ["kept", "0", *[""] * len(QUANTILES)]
    assert "How to cite" not in text


@pytest.mark.parametrize("half", ["run", "select_recipe"])
def test_a_readme_of_the_users_is_not_overwritten_unasked(out, write_recipe, half):
    recipe = write_recipe(STEPS)
    work = getattr(qaqfilter, half)
    if half == "select_recipe":
        qaqfilter.score_recipe(recipe)
    out.mkdir(exist_ok=True)
    mine = out / "README.md"
    mine.write_text("mine")
    with pytest.raises(RunDirectoryError, match=r"README\.md is there, .* output\.card=false"):
        work(recipe)
    assert mine.read_text() == "mine"
    work(recipe, overrides=["output.card=false"])
    assert mine.read_text() == "mine"
    with pytest.raises(RunDirectoryError, match=r"README\.md is there"):
        work(recipe)
    work(recipe, replace=True)
    assert mine.read_text().startswith("---\n")
    # Now it is the run's own, and goes with it.
    work(recipe, overrides=["output.card=false"], replace=True)
    assert not mine.exists()
