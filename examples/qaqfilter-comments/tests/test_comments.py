"""The selector alone, and in a run with the installed entry point."""

import json
import math
from pathlib import Path

import pytest
import qaqfilter_comments as plugin

import qaqfilter


@pytest.mark.parametrize(
    ("answer", "share"),
    [("x = 1", 0.0), ("# one\nx = 1\n\n  // two\ny = 2\n", 0.5), ("# all", 1.0)],
)
def test_share(answer: str, share: float) -> None:
    assert measured(answer) == share


@pytest.mark.parametrize("answer", ["", " \n\n"])
def test_no_line_has_no_share(answer: str) -> None:
    assert math.isnan(measured(answer))


def test_a_recipe_uses_it(tmp_path: Path) -> None:
    answers = ["x = 1", "# a\n# b\nx = 1", ""]
    rows = [json.dumps({"id": str(n), "query": "q", "answer": a}) for n, a in enumerate(answers)]
    (tmp_path / "data.jsonl").write_text("\n".join(rows))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "version: 1\n"
        "name: comments\n"
        "input: {use: jsonl, path: data.jsonl}\n"
        "steps: [{id: code, use: comments, keep: {max: 0.5}}]\n"
        "output: {use: jsonl, path: out}\n"
    )
    report = qaqfilter.run(recipe)
    assert (tmp_path / "out" / "kept.jsonl").read_text().splitlines() == rows[:1]
    assert report.steps[0].rejected == {"max": 1, "undefined": 1}


def measured(answer: str) -> float:
    origin = qaqfilter.Origin("test", 0)
    record = qaqfilter.Record("1", query="q", answer=answer, row=b"", origin=origin)
    selector = plugin.Comments(plugin.CommentsOptions())
    return selector.measure(record)["comment_share"]
