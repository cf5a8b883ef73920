"""Every layout in every format that can hold it: kept records are the originals, field by field."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import qaqfilter
from qaqfilter.layouts import LAYOUTS

PAGE = Path(__file__).parent.parent / "docs" / "formats.md"

ROWS = {
    "query_answer": lambda q, a: {"query": q, "answer": a},
    "query_response": lambda q, a: {"query": q, "response": a},
    "problem_solution": lambda q, a: {"problem": q, "solution": a},
    "prompt_completion": lambda q, a: {"prompt": q, "completion": a},
    "alpaca": lambda q, a: {"instruction": q, "input": "", "output": a},
    "messages": lambda q, a: {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello."},
            {"role": "user", "content": q},
            {"role": "assistant", "content": a},
        ]
    },
    "conversations": lambda q, a: {
        "conversations": [{"from": "human", "value": q}, {"from": "gpt", "value": a}]
    },
}
FLAT = {name for name in ROWS if name not in ("messages", "conversations")}
FORMATS = ("jsonl", "json", "parquet", "csv", "datasets")
HOLDS = [(lay, fmt) for lay in ROWS for fmt in FORMATS if fmt != "csv" or lay in FLAT]


def write(path: Path, rows: list[dict]) -> None:
    match path.suffix:
        case ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        case ".json":
            path.write_text(json.dumps(rows, indent=1), encoding="utf-8")
        case ".parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
        case ".csv":
            with path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)
        case ".datasets":
            datasets.Dataset.from_list(rows).save_to_disk(path)


def read(path: Path) -> list[dict]:
    match path.suffix:
        case ".jsonl":
            return [json.loads(line) for line in path.read_bytes().splitlines()]
        case ".json":
            return json.loads(path.read_bytes())
        case ".parquet":
            return pq.read_table(path).to_pylist()
        case ".datasets":
            return datasets.load_from_disk(path).to_list()
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def typed(value: object) -> object:
    """A value with its type, so that 1 is not True, nor 1.0."""
    if isinstance(value, dict):
        return [(key, typed(item)) for key, item in value.items()]
    return [typed(item) for item in value] if isinstance(value, list) else (type(value), value)


@pytest.mark.parametrize(("layout", "form"), HOLDS)
def test_kept_records_are_the_originals(tmp_path, pairs, layout, form):
    extra = {"n": 3, "share": 0.5, "über": "ß", "note": 'a "b", c'}
    rows = [ROWS[layout](q, a) | {**extra, "n": number} for number, (q, a) in enumerate(pairs)]
    data = tmp_path / f"data.{form}"
    write(data, rows)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "version: 1\nname: formats\nmodels: {toy: {use: ngram}}\n"
        f"input: {{use: {form}, path: {data.name}}}\n"
        "steps: [{id: rmi, use: rmi, keep: {fraction: 0.5}}]\n"
        f"output: {{use: {form}, path: out}}\n"
    )
    report = qaqfilter.run(recipe)
    assert (report.read, report.kept, report.quarantined) == (8, 4, 0)
    written = tmp_path / "out" / f"kept.{form}"
    if form == "datasets":  # a folder, which has no ending
        (tmp_path / "out" / "kept").rename(written)
    before, kept = read(data), read(written)
    numbers = [int(row["n"]) for row in kept]
    assert len(kept) == 4 and numbers == sorted(numbers)
    for row, number in zip(kept, numbers, strict=True):
        assert typed(row) == typed(before[number])
    # The answer is the one that the layout names, whatever the format.
    scores = pq.read_table(tmp_path / "out" / "scores.parquet")
    assert scores["toy.query.tokens"].to_pylist() == [len(q.encode()) for q, _ in pairs]


def test_the_page_lists_what_is_tested():
    table = re.search(r"\| layout \|.*?\n\n", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert table is not None
    head, _, *lines = (
        [cell.strip(" `") for cell in line.strip()[1:-1].split("|")]
        for line in table.group().strip().splitlines()
    )
    assert head[1:] == list(FORMATS)
    assert {row[0] for row in lines} == set(LAYOUTS) == set(ROWS)
    told = {
        (row[0], form)
        for row in lines
        for form, cell in zip(FORMATS, row[1:], strict=True)
        if cell == "tested"
    }
    assert told == set(HOLDS)
