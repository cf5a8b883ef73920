"""The benchmarks start, and what they check can fail. Nothing here looks at a clock."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from qaqfilter import Origin, Record
from qaqfilter.encoding import Encoded

ROOT = Path(__file__).parent.parent
MODULES = (
    "correlations",
    "crash",
    "engine",
    "llamacpp",
    "llamacpp_settings",
    "memory",
    "million",
    "quantiles",
    "report",
    "scale",
    "transformers",
    "workers",
)


@pytest.mark.parametrize("name", MODULES)
def test_each_says_what_it_does(name):
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", "--help"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "options:" in done.stdout
    assert f"python -m benchmarks.{name}`" in (ROOT / "benchmarks" / "README.md").read_text()


def test_the_engine_is_measured_from_end_to_end():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.engine", "--rounds", "1", "--no-memory"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "20000" in done.stdout


def test_a_million_is_measured_with_every_case():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.million", "--records", "2000"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for case in ("store off", "store on", "all known", "select"):
        assert sum(line.startswith(case) for line in done.stdout.splitlines()) == 2


@pytest.fixture
def benchmarks(monkeypatch):
    """The package, found behind everything that is installed."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(ROOT)])
    from benchmarks import agreement, workload

    return SimpleNamespace(agreement=agreement, workload=workload)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([-1.0, -2.0, -3.01], "r2"),
        ([-1.0, np.nan, -3.0], "r1"),
        ([-1.0, -2.0], "gives 2 sums for 3 records"),
    ],
)
def test_a_contender_with_other_numbers_is_not_timed(benchmarks, values, message):
    records = tuple(Record(f"r{n}", "q", "a", b"", Origin("test", n)) for n in range(3))
    requests = {"query": tuple(Encoded((0, 1, 2), 1) for _ in records)}
    work, check = benchmarks.workload.Workload(records, requests), benchmarks.agreement.check
    right = {"query": np.array([-1.0, -2.0, -3.0])}
    close = {"query": np.array([-1.0005, -2.0, -3.0])}
    assert check(work, right, {"close": close}) == {"close": pytest.approx(5e-4)}
    with pytest.raises(SystemExit, match=message):
        check(work, right, {"close": close, "off": {"query": np.array(values)}})
