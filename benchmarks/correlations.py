"""How much the selectors agree, and which planted damage each of them sees.

    python -m benchmarks.correlations [--records 300] [--model pypi:gemma3-270m]
    python -m benchmarks.correlations --numbers examples/measured.parquet

Pairs of docstring and function of the standard library, a third of them damaged on purpose, are
scored by a real model and by the two embedded ones. Printed, as Markdown: Spearman's rank
correlation between the selectors over the undamaged pairs, and for each kind of damage the share of
(damaged, undamaged) pairs in which the damaged one scores higher (AUC). What was scored once comes
from the score store.

`--write` leaves the numbers in a file, without the texts; `--numbers` makes the tables from one.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

import qaqfilter
from benchmarks.rank_statistics import Column, auc, interval, spearman

KINDS = ("swapped", "echoed", "cut")
"""What is done to answers, in the order of the tables."""


@dataclass(frozen=True)
class Measure:
    """A number of every record: its name in the tables, and its column in the scores."""

    name: str
    column: str
    step: Mapping[str, Any]


def _measure(name: str, column: str, **step: Any) -> Measure:
    return Measure(name, f"{step['id']}.{column}", step)


MEASURES = (
    _measure("ifd_ppl", "ifd_ppl", id="ifd", use="ifd", model="main"),
    _measure("ifd_nll", "ifd_nll", id="cherry", use="ifd", model="main", variant="ifd_nll"),
    _measure("s_ifd", "s_ifd", id="tokens", use="s_ifd", model="main"),
    _measure("rmi", "rmi", id="rmi", use="rmi", model="main"),
    _measure("rifd_ppl", "rifd_ppl", id="reverse", use="rifd", model="main"),
    _measure("pmi", "pmi", id="pmi", use="pmi", model="main"),
    _measure(
        "coder_reviewer",
        "coder_reviewer_per_token",
        id="review",
        use="coder_reviewer",
        model="main",
        per="token",
    ),
    _measure("bits A", "bits_per_byte", id="bits", use="bits_per_byte", model="main"),
    _measure("loss_gap", "loss_gap", id="gap", use="loss_gap", model="weak", reference="strong"),
    _measure("diff", "diff", id="qaq", use="disagreement", strong="main", weak="weak"),
    _measure(
        "sum", "sum", id="agree", use="disagreement", strong="main", weak="weak", arm="sum_high"
    ),
    _measure("ppl A", "perplexity", id="ppl", use="perplexity", model="main"),
    _measure("ppl Q", "perplexity", id="ppl_q", use="perplexity", model="main", of="query"),
    _measure("ppl QA", "perplexity", id="ppl_qa", use="perplexity", model="main", of="both"),
    _measure("length A", "length", id="length", use="length", of="answer"),
    _measure("random", "random", id="random", use="random"),
)
"""The selectors. The model `main` is the real one; `strong` and `weak` are the embedded ones."""

EXTRA = (
    _measure("ifd_ppl strong", "ifd_ppl", id="ifd_strong", use="ifd", model="strong"),
    _measure("rmi strong", "rmi", id="rmi_strong", use="rmi", model="strong"),
    _measure("ifd_ppl weak", "ifd_ppl", id="ifd_weak", use="ifd", model="weak"),
    _measure("rmi weak", "rmi", id="rmi_weak", use="rmi", model="weak"),
)
"""The same selectors with the embedded models: what a smaller model sees."""


def main() -> None:
    """Score or read, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--records", type=int, default=300, help="how many; a third is damaged")
    parser.add_argument("--model", default="pypi:gemma3-270m", help="a model for llama.cpp")
    parser.add_argument("--numbers", type=Path, help="take the numbers of this file; no model runs")
    parser.add_argument("--write", type=Path, help="leave the numbers in this file")
    options = parser.parse_args()
    table = pq.read_table(options.numbers) if options.numbers else scored(options)
    if options.write:
        pq.write_table(table, options.write, compression="zstd")
    for title, lines in tables(table).items():
        print(f"{title}\n\n" + "\n".join(lines) + "\n")


def scored(options: argparse.Namespace) -> pa.Table:
    """Likelihoods and scores of every record, and `damage`: what was done to it, or null."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recipe.yaml"
        recipe = recipe_of(options.records, options.model) | {"name": "correlations"}
        path.write_bytes(orjson.dumps(recipe))  # JSON is YAML
        report = qaqfilter.score_recipe(path)
        found = pq.read_table(str(report.files["scores"]))
        source = qaqfilter.load_recipe(path).source
        damage = {
            record.id: record.fields["damage"]
            for record in source.component.create(source.options).read()
            if isinstance(record, qaqfilter.Record)
        }
    wanted = ("id", "main.", "strong.", "weak.", *(f"{m.step['id']}." for m in MEASURES + EXTRA))
    found = found.select([name for name in found.column_names if name.startswith(wanted)])
    return found.append_column("damage", pa.array([damage[i] for i in found["id"].to_pylist()]))


def recipe_of(records: int, model: str) -> dict[str, Any]:
    """Steps that only score, over real pairs of which a third is damaged."""
    damage = {"swapped": records * 2 // 15, "echoed": records // 10, "cut": records // 10}
    return {
        "version": 1,
        "input": {
            "use": "docstrings", "limit": records, "damage": damage,
            "max_query": 200, "min_answer": 80, "max_answer": 500,
        },
        "models": {
            "main": {"use": "llamacpp", "model": model},
            "strong": {"use": "reference", "model": "builtin:strong"},
            "weak": {"use": "reference", "model": "builtin:weak"},
        },
        "steps": [dict(measure.step) for measure in MEASURES + EXTRA],
        "output": {"use": "jsonl", "path": "out"},
    }  # fmt: skip


def tables(table: pa.Table) -> dict[str, list[str]]:
    """Title -> the lines of a Markdown table."""
    damage = np.array([kind or "" for kind in table["damage"].to_pylist()])
    numbers = {m.name: _numbers(table, m.column) for m in MEASURES + EXTRA}
    clean = {m.name: numbers[m.name][damage == ""] for m in MEASURES}
    return {
        "Rank correlations": _correlations(clean),
        "Damage": _damage(numbers, damage),
    }


def _numbers(table: pa.Table, column: str) -> Column:
    return np.asarray(table[column].to_numpy(), dtype=np.float64)


def _correlations(columns: Mapping[str, Column]) -> list[str]:
    lines = _head(["", *columns])
    for row, (name, values) in enumerate(columns.items()):
        cells = [_signed(spearman(values, other)) for other in list(columns.values())[:row]]
        lines.append(_row([name, *cells, *[""] * (len(columns) - row)]))
    return lines


def _damage(numbers: Mapping[str, Column], damage: np.ndarray[Any, Any]) -> list[str]:
    lines = _head(["score", *KINDS])
    for name, values in numbers.items():
        good = values[damage == ""]
        cells = []
        for kind in KINDS:
            bad = values[damage == kind]
            low, high = interval(bad, good)
            cells.append(f"{auc(bad, good):.2f} ({low:.2f} to {high:.2f})")
        lines.append(_row([name, *cells]))
    return lines


def _head(cells: Sequence[str]) -> list[str]:
    return [_row(cells), "|---|" + "---:|" * (len(cells) - 1)]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _signed(value: float) -> str:
    return f"{value:.2f}".replace("-", "−").replace("−0.00", "0.00")


if __name__ == "__main__":
    main()
