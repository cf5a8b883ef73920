"""Run quickstart.yaml, then say how many of the planted swaps the two scores would have caught."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

import qaqfilter
from qaqfilter.cli.progress import make_observer
from qaqfilter.cli.summary import print_summary

RECIPE = Path(__file__).with_name("quickstart.yaml")


def main() -> None:
    with make_observer() as observer:
        report = qaqfilter.run(RECIPE, replace=True, observer=observer)
    print_summary(report)

    scores = pq.read_table(report.files["scores"]).to_pydict()
    planted = swapped_ids(report)
    swapped = np.array([id_ in planted for id_ in scores["id"]])
    kept = np.array(scores["kept"])
    count = int(swapped.sum())
    print(f"\n{count} of {len(swapped)} records had their answers swapped on purpose.")
    print(
        f"The filter threw out {np.sum(~kept & swapped)} of them, and {np.sum(~kept & ~swapped)} "
        f"of the {len(swapped) - count} others."
    )
    for name, column, worst_is_high in (("RMI", "rmi.rmi", False), ("IFD", "ifd.ifd_ppl", True)):
        badness = np.array(scores[column]) * (1 if worst_is_high else -1)
        worst = np.argsort(-badness, kind="stable")[:count]
        end = "highest" if worst_is_high else "lowest"
        print(
            f"{name}: {swapped[worst].sum()} of the {count} {end} scores are swapped records; "
            f"AUC {auc(badness, swapped):.3f} (0.5 is chance)."
        )


def swapped_ids(report: qaqfilter.RunReport) -> set[str]:
    """The ids of the records that the source swapped; it marks them in its rows."""
    kept = report.files["kept"].read_bytes().splitlines()
    rejected = report.files["rejected"].read_bytes().splitlines()
    rows = [json.loads(line) for line in kept]
    rows += [json.loads(line)["record"] for line in rejected]
    return {row["id"] for row in rows if row["swapped"]}


def auc(badness: np.ndarray, bad: np.ndarray) -> float:
    """How often a bad record scores worse than a good one (ties count half)."""
    worse = badness[bad][:, None] - badness[~bad][None, :]
    return float((worse > 0).mean() + (worse == 0).mean() / 2)


if __name__ == "__main__":
    main()
