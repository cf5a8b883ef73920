"""Bounds by Ray Data's approximate quantiles beside exact ranks: how far off, and how long.

    python -m benchmarks.quantiles [--rows 5000000]

For columns that one driver's memory does not hold: Ray Data reads the parts of a table on all
nodes, makes a sketch of each (KLL, Karnin, Lang and Liberty 2016, arXiv 1603.05346) and joins them.
The peer is numpy's sort of the whole column. Needs `pip install datasketches`.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

QUANTILES = [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99]
FILES = 20


def main() -> None:
    """Print a line for each precision of the sketch."""
    parser = argparse.ArgumentParser(description="Approximate quantiles beside exact ones.")
    parser.add_argument("--rows", type=int, default=5_000_000, help="rows (5000000)")
    rows: int = parser.parse_args().rows

    import ray
    from datasketches import kll_floats_sketch
    from ray.data.aggregate import ApproximateQuantile

    # As RMI is: a bell with a long tail on one side.
    draw = np.random.default_rng(0)
    values = draw.normal(0.3, 0.4, rows) + draw.exponential(0.3, rows)
    ray.init(include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    with tempfile.TemporaryDirectory(prefix="qaqfilter-quantiles-") as name:
        for number, part in enumerate(np.array_split(values, FILES)):
            pq.write_table(pa.table({"rmi.rmi": part}), Path(name) / f"{number:03}.parquet")
        began = time.monotonic()
        ordered = np.sort(np.concatenate([_column(path) for path in Path(name).iterdir()]))
        sorting = time.monotonic() - began
        for precision in (200, 800, 3200):
            wanted = ApproximateQuantile("rmi.rmi", QUANTILES, precision, "found")
            began = time.monotonic()
            found = ray.data.read_parquet(name).aggregate(wanted)["found"]
            seconds = time.monotonic() - began
            ranks = np.searchsorted(ordered, found) / rows
            off = np.abs(ranks - QUANTILES).max()
            promised = kll_floats_sketch(precision).normalized_rank_error(False)
            print(
                f"precision {precision:5}: a bound is off by at most {off:.3%} of the ranks "
                f"(promised: {promised:.3%}), in {seconds / sorting:.1f} times the time of the sort"
            )
    ray.shutdown()


def _column(path: Path) -> np.ndarray:
    found: np.ndarray = pq.read_table(path).column(0).to_numpy()
    return found


if __name__ == "__main__":
    main()
