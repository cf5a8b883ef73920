"""Run a recipe over records that were damaged on purpose, and say what each step caught.

python examples/quickstart.py [RECIPE]        quickstart.yaml unless another is named
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

import qaqfilter
from qaqfilter.cli.progress import make_observer
from qaqfilter.cli.summary import print_summary

SCORES = {"rmi": "rmi", "ifd": "ifd_ppl", "disagreement": "diff"}
"""Selector -> the column whose power to tell damage is shown."""


def main(recipe: Path) -> None:
    with make_observer() as observer:
        report = qaqfilter.run(recipe, replace=True, observer=observer)
    print_summary(report)
    damage = planted(report)
    scores = pq.read_table(report.files["scores"]).to_pydict()
    console = Console(highlight=False)
    console.print(caught(report, scores, damage))
    console.print(told_apart(report, scores, damage))
    console.print("0.5 is chance; near 1 the damaged records score higher, near 0 lower.")
    console.print(f"The whole run, in a browser: {report.files['report']}", soft_wrap=True)


def planted(report: qaqfilter.RunReport) -> dict[str, str]:
    """id -> what was done to it, for the damaged records; the source marks them in its rows."""
    kept = report.files["kept"].read_bytes().splitlines()
    rejected = report.files["rejected"].read_bytes().splitlines()
    rows = [json.loads(line) for line in kept]
    rows += [json.loads(line)["record"] for line in rejected]
    return {row["id"]: row["damage"] for row in rows if row["damage"]}


def caught(report: qaqfilter.RunReport, scores: dict, damage: dict[str, str]) -> Table:
    """A row a step: how many damaged records it threw out, and how many chance would have."""
    kinds = sorted(set(damage.values()))
    table = Table(title="damaged records thrown out (chance would catch)")
    table.add_column("step")
    for heading in ("thrown out", *kinds, "undamaged"):
        table.add_column(heading, justify="right")
    left = Counter(damage.get(id_, "undamaged") for id_ in scores["id"])
    for step in report.steps:
        out = Counter(
            damage.get(id_, "undamaged")
            for id_, by in zip(scores["id"], scores["step"], strict=True)
            if by == step.id
        )
        share = sum(out.values()) / max(1, step.read)
        cells = [f"{out[kind]} ({share * left[kind]:.1f})" for kind in (*kinds, "undamaged")]
        table.add_row(step.id, f"{sum(out.values())} of {step.read}", *cells)
        left -= out
    table.add_section()
    table.add_row("left", str(report.kept), *(str(left[kind]) for kind in (*kinds, "undamaged")))
    return table


def told_apart(report: qaqfilter.RunReport, scores: dict, damage: dict[str, str]) -> Table:
    """A row a score: how often a damaged record scores higher than an undamaged one (AUC)."""
    kinds = sorted(set(damage.values()))
    table = Table(title="AUC of damaged against undamaged, among those that got there")
    table.add_column("score")
    for kind in kinds:
        table.add_column(kind, justify="right")
    for step in report.steps:
        if step.use in SCORES:
            name = f"{step.id}.{SCORES[step.use]}"
            values = dict(zip(scores["id"], scores[name], strict=True))
            values = {id_: value for id_, value in values.items() if value is not None}
            good = [value for id_, value in values.items() if id_ not in damage]
            bad = [[v for i, v in values.items() if damage.get(i) == kind] for kind in kinds]
            table.add_row(name, *(f"{auc(b, good):.2f}" if b and good else "-" for b in bad))
    return table


def auc(bad: Sequence[float], good: Sequence[float]) -> float:
    """How often a bad one is higher than a good one; ties count half, and nothing is NaN."""
    wins = sum((b > g) + (b == g) / 2 for b in bad for g in good)
    return wins / (len(bad) * len(good))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("quickstart.yaml"))
