"""Bytes as columns of numbers, and the code blocks of a text."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import qaqfilter
from qaqfilter import Fenced, Table, fenced_blocks, pack, packed_names, prose, unpack
from qaqfilter.memory import bytes_a_record

PLUGIN = """
from qaqfilter import Component, Options, hookimpl, pack, packed_names


class Secret:
    columns = ("size",)
    packed = packed_names("text", 12)

    def __init__(self, config):
        pass

    def measure(self, record):
        return {"size": len(record.query), **pack("text", record.query.encode()[:12].ljust(12))}


class Nosy:
    columns = ("seen",)
    needs = ()

    def __init__(self, config):
        pass

    def score(self, table):
        return {"seen": table.column("own.size") + sum("_text" in name for name in table)}


@hookimpl
def qaqfilter_selectors():
    yield Component("secret", Options, Secret, "bytes of its own")
    yield Component("nosy", Options, Nosy, "looks for the bytes of others")
"""


@given(st.lists(st.binary(min_size=13, max_size=13), min_size=1, max_size=5))
def test_bytes_come_back(rows):
    packed = [pack("digest", row) for row in rows]
    columns = {name: np.array([row[name] for row in packed]) for name in packed_names("digest", 13)}
    assert len(columns) == 3
    found = unpack(Table(np.arange(len(rows)), columns=columns), "digest", 13)
    assert [row.tobytes() for row in found] == rows


def test_a_row_that_was_not_measured_is_zeros():
    table = Table(np.arange(1), columns={"_x_0": np.array([np.nan])})
    assert unpack(table, "x", 4).tolist() == [[0, 0, 0, 0]]


def test_packed_columns_are_in_the_scores_and_nowhere_else(tmp_path, write_recipe):
    plugin = tmp_path / "secret.py"
    plugin.write_text(PLUGIN)
    path = write_recipe("  - {id: own, use: secret}\n  - {id: nosy, use: nosy}")
    shown = qaqfilter.preview(path, plugins=[plugin])
    assert {*shown.records[0].numbers} == {"own.size", "nosy.seen"}
    report = qaqfilter.run(path, plugins=[plugin], overrides=["output.annotate=numbers"])
    table = pq.read_table(report.files["scores"]).to_pydict()
    assert {"own._text_0", "own._text_1"} <= {*table}
    assert table["nosy.seen"] == table["own.size"]
    kept = (tmp_path / "out" / "kept.jsonl").read_text().splitlines()
    assert {*json.loads(kept[0])["numbers"]["own"]} == {"size"}


def test_what_is_packed_counts_as_memory(write_recipe):
    def bytes_with(permutations):
        step = f"{{id: unlike, use: near_duplicates, permutations: {permutations}}}"
        return bytes_a_record(qaqfilter.load_recipe(write_recipe(f"  - {step}")))

    assert bytes_with(1024) - bytes_with(64) > 1024 - 64


@pytest.mark.parametrize(
    ("text", "blocks", "rest"),
    [
        ("no code", [], "no code"),
        ("a\n```py\nx = 1\n```\nb", [("py", "x = 1\n")], "a\nb"),
        ("```\nx\n```", [("", "x\n")], ""),
        ("~~~ Rust\n```\n~~~~\n", [("rust", "```\n")], ""),
        ("````md\n```\n````", [("md", "```\n")], ""),
        ("```python title=x\ncut o", [("python", "cut o")], ""),
        ("``` {.haskell .x}\ny\n```", [("haskell", "y\n")], ""),
        ("```js,ignore\ny\n```", [("js", "y\n")], ""),
        ("- do:\n  ```\n  a\n    b\n  ```", [("", "a\n  b\n")], "- do:\n"),
        ("inline ```x``` here", [], "inline ```x``` here"),
        ("```not` a fence\n", [], "```not` a fence\n"),
        ("```\r\nx\r\n```\r\n", [("", "x\r\n")], ""),
        ("", [], ""),
    ],
)
def test_code_blocks(text, blocks, rest):
    assert fenced_blocks(text) == [Fenced(*block) for block in blocks]
    assert prose(text) == rest
