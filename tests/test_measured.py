"""What the pages say was measured is what examples/measured.parquet holds.

The file is made by `python -m benchmarks.correlations --write examples/measured.parquet`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
from markdown_it import MarkdownIt

import qaqfilter

ROOT = Path(__file__).parent.parent
PAGES = sorted([*(ROOT / "docs" / "selectors").glob("*.md"), ROOT / "docs" / "thresholds.md"])
OTHERS = ("length", "random", "bits_per_byte", "s_ifd")
"""Selectors that need more than sums: the text, or every token."""


@pytest.fixture(scope="module")
def measured():
    return pq.read_table(ROOT / "examples" / "measured.parquet")


@pytest.fixture
def benchmark(monkeypatch):
    """The package, found behind everything that is installed."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(ROOT)])
    from benchmarks import correlations, rank_statistics

    return SimpleNamespace(tables=correlations, numbers=rank_statistics)


def rows(text: str) -> Iterator[list[str]]:
    """The cells of every line of every table, as they are written."""
    cells: list[str] = []
    for token in MarkdownIt().enable("table").parse(text):
        if token.type == "tr_open":
            cells = []
        elif token.type == "inline":
            cells.append(token.content)
        elif token.type == "tr_close":
            yield cells
        elif token.type == "table_close":
            yield []


def wrong_numbers(text: str, table) -> list[str]:
    """Cells that are not the number of the record; tables whose first heading is `record`."""
    places = {name: n for n, name in enumerate(table["id"].to_pylist())}
    found, heads = [], []
    for cells in rows(text):
        if not heads:
            heads = cells
        elif not cells:
            heads = []
        elif heads[0] == "record":
            place = places.get(cells[0].strip("`"))
            for head, cell in zip(heads, cells, strict=True):
                column = re.fullmatch(r"`([\w.]+)`", head)
                if place is None or (column and column[1] not in table.column_names):
                    found.append(f"{cells[0]}, {head}: not in the file")
                elif column:
                    number = float(cell.replace("−", "-"))
                    decimals = len(cell.partition(".")[2])
                    right = table[column[1]][place].as_py()
                    if round(right, decimals) != number:
                        found.append(f"{cells[0]}, {head}: {cell}, and {right} is right")
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_a_record_has_the_numbers_that_a_page_gives_it(page, measured):
    assert wrong_numbers(page.read_text(encoding="utf-8"), measured) == []


def test_a_wrong_number_is_found(measured):
    text = (
        "| record | `rmi.rmi` | `rmi.x` |\n|---|---|---|\n| `{}` | {:.2f} | 1 |\n| `no` | 1 | 1 |"
    )
    name, rmi = measured["id"][0].as_py(), measured["rmi.rmi"][0].as_py()
    assert len(wrong_numbers(text.format(name, rmi), measured)) == 1 + 3
    assert len(wrong_numbers(text.format(name, rmi + 0.01), measured)) == 1 + 1 + 3


def test_the_tables_are_those_of_the_file(benchmark, measured):
    text = (ROOT / "docs" / "selectors" / "index.md").read_text(encoding="utf-8")
    for title, lines in benchmark.tables.tables(measured).items():
        assert f"## {title}" in text
        assert "\n".join(lines) in text


def test_the_scores_of_the_file_are_those_of_the_selectors(benchmark, measured):
    steps = {
        measure.step["id"]: dict(measure.step)
        for measure in benchmark.tables.MEASURES + benchmark.tables.EXTRA
        if measure.step["use"] not in OTHERS
    }
    again = qaqfilter.select(measured, list(steps.values()))
    for measure in benchmark.tables.MEASURES + benchmark.tables.EXTRA:
        if measure.step["id"] in steps:
            np.testing.assert_array_equal(
                again[measure.column].to_numpy(), measured[measure.column].to_numpy()
            )


def test_rank_correlation_and_auc_by_hand(benchmark):
    one, other = np.array([1.0, 2, 3, 4, np.nan]), np.array([10.0, 40, 20, 30, 0])
    # 1 - 6 * (0 + 4 + 1 + 1) / (4 * 15)
    assert benchmark.numbers.spearman(one, other) == pytest.approx(0.4)
    assert benchmark.numbers.spearman(one, -np.exp(one)) == pytest.approx(-1)
    assert np.isnan(benchmark.numbers.spearman(one, np.ones(5)))
    bad, good = np.array([2.0, 5]), np.array([1.0, 2, 6, np.nan])
    assert benchmark.numbers.auc(bad, good) == pytest.approx((1.5 + 2) / 6)
    low, high = benchmark.numbers.interval(np.arange(40.0) + 10, np.arange(200.0) / 4)
    assert low < benchmark.numbers.auc(np.arange(40.0) + 10, np.arange(200.0) / 4) < high
    assert benchmark.numbers.interval(np.ones(3), np.zeros(3)) == (1, 1)
