"""Notebooks, in a kernel of their own: the example's results, and progress below the cells."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

EXAMPLE = Path(__file__).parent.parent / "examples" / "score_and_select.ipynb"


def work_through(notebook, folder):
    NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
    ).execute()
    return notebook


def shown(cell):
    """The pictures that a cell ended with."""
    return [out["data"] for out in cell["outputs"] if out["output_type"] == "display_data"]


def printed(cell, name="stdout"):
    return "".join(out["text"] for out in cell["outputs"] if out.get("name") == name)


@pytest.fixture
def example():
    return nbformat.read(EXAMPLE, as_version=4)


def test_the_example_is_kept_without_outputs(example):
    code = [cell for cell in example.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    nbformat.validate(example)


def test_the_example_finds_what_it_planted(example, tmp_path):
    ask = """print(json.dumps({
        "read": report.read, "kept": report.kept, "chosen": sum(chosen["kept"].to_pylist()),
        "tokens": table["strong.answer.tokens"].to_pylist(), "damaged": len(wrong),
        "damaged_kept": len(wrong & set(kept)), "by": sorted({f["step"] or "" for f in
        chosen.to_pylist()}),
        "gain": float((nats("strong.answer") - nats("strong.answer_given_query")).mean()),
    }))"""
    example.cells.append(nbformat.v4.new_code_cell(ask))
    work_through(example, tmp_path)
    found = json.loads(printed(example.cells[-1]))
    assert found["read"] > 40
    assert 0 < found["kept"] == found["chosen"] < found["read"]
    assert min(found["tokens"]) > 0
    assert found["damaged_kept"] / found["damaged"] < 0.5 < found["kept"] / found["read"]
    assert found["by"] == ["", "coherent", "sane"]
    assert found["gain"] > 0
    assert len((tmp_path / "out" / "kept.jsonl").read_text().splitlines()) == found["kept"]
    bars = [data for cell in example.cells if "outputs" in cell for data in shown(cell)]
    full = [data for data in bars if "text/html" in data and "<progress" in data["text/html"]]
    assert any("scoring" in data["text/plain"] for data in full)
    assert all(", 100%" in data["text/plain"] for data in full if "/0 " not in data["text/plain"])


def test_a_bar_ends_full_and_silence_is_silent(tmp_path):
    score = """import qaqfilter
records = [{"query": f"q {n}", "answer": "a b c"} for n in range(7)]
def score(**more):
    return qaqfilter.score(records, models={"toy": {"use": "ngram"}}, store=False, **more)"""
    cells = [score, "table = score()", "same = score(observer=qaqfilter.Silent())"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    _, loud, silent = work_through(notebook, tmp_path).cells
    bars = shown(loud)
    last = bars[-1]
    assert re.search(r"7/7 records, 100%", last["text/plain"])
    assert '<progress value="7" max="7">' in last["text/html"]
    assert silent["outputs"] == []
