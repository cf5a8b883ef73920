"""The fixtures for authors of plugins, used as an author would: in a project of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

USES = """
import pytest
from qaqfilter import RecipeError, Record

PLUGIN = '''
from qaqfilter import Component, Options, hookimpl

class Odd:
    columns = ("odd",)
    def __init__(self, config): pass
    def measure(self, record): return {"odd": len(record.answer) % 2}

@hookimpl
def qaqfilter_selectors():
    yield Component("odd", Options, Odd, "odd answers")
'''

STEPS = {"steps": [{"id": "size", "use": "length", "of": "answer", "keep": {"min": 1}}]}


def test_records_are_there_and_anew(tiny_records):
    assert all(isinstance(one, Record) for one in tiny_records)
    assert {"", "   "} <= {one.query for one in tiny_records}
    tiny_records.clear()


def test_nobody_else_changed_them(tiny_records):
    assert len(tiny_records) > 5
    assert len({one.id for one in tiny_records}) == len(tiny_records)


def test_a_recipe_runs_over_them(run_recipe, tiny_records):
    run = run_recipe(STEPS)
    assert run.report.read == len(tiny_records) == len(run.kept) + len(run.rejected)
    assert {"id": "tiny-3", "reason": "min"}.items() <= run.rejected[0].items()
    assert run.rejected[0]["record"]["query"] == "A question without an answer?"


def test_yaml_text_and_records_of_ones_own(run_recipe, tmp_path):
    (tmp_path / "odd.py").write_text(PLUGIN)
    text = "steps:\\n  - {id: odd, use: odd, keep: {min: 1}}"
    rows = [{"query": "a", "answer": "b"}, {"query": "c", "answer": "dé"}]
    run = run_recipe(text, rows, plugins=[tmp_path / "odd.py"])
    assert run.kept == rows[:1]
    again = run_recipe(text, rows[1:], plugins=[tmp_path / "odd.py"])
    assert again.kept == [] and again.folder != run.folder


def test_an_error_names_the_line_of_the_text(run_recipe):
    with pytest.raises(RecipeError, match=r"recipe\\.yaml:3: .*kepp"):
        run_recipe("name: x\\nsteps:\\n  - {id: s, use: length, of: answer, kepp: {min: 1}}\\n")


def test_a_model_is_there(reference_backend):
    assert reference_backend.encode("def", markup=False)
    assert reference_backend.facts


def test_and_asked_in_a_recipe(run_recipe):
    model = {"models": {"m": {"use": "reference", "model": "builtin:weak"}}}
    run = run_recipe(model | {"steps": [{"id": "p", "use": "perplexity", "keep": {"top": 3}}]})
    assert len(run.kept) == 3
"""

UNUSED = """
import sys

def test_nothing_of_ours_is_imported():
    assert "pytest_qaqfilter" in sys.modules
    assert not [name for name in sys.modules if name.split(".")[0] in ("qaqfilter", "numpy")]
"""

CONTRACT = """
import pytest
from qaqfilter import Component, Options
from qaqfilter.testing import SelectorContract


class Odd:
    columns = ("odd",)

    def __init__(self, config):
        self.last = 0

    def measure(self, record):
        before, self.last = self.last, len(record.answer)
        return {"odd": self.last - before}


class TestOdd(SelectorContract):
    @pytest.fixture
    def component(self):
        return Component("odd", Options, Odd, "odd answers")
"""


@pytest.fixture
def pytest_run(tmp_path):
    """Run pytest on one test file in a folder of its own, with warnings as errors."""

    def run(source: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "project").mkdir()
        (tmp_path / "project" / "test_mine.py").write_text(source, encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"]
        environment = {**os.environ, "QAQFILTER_STORE": str(tmp_path / "store")}
        return subprocess.run(
            command,
            check=False,
            cwd=tmp_path / "project",
            env=environment,
            capture_output=True,
            text=True,
        )

    return run


def test_it_comes_in_by_an_entry_point():
    entries = [e for e in distribution("qaqfilter").entry_points if e.group == "pytest11"]
    assert [(entry.name, entry.value) for entry in entries] == [("qaqfilter", "pytest_qaqfilter")]


def test_the_fixtures_do_what_they_say(pytest_run, tmp_path: Path):
    done = pytest_run(USES)
    assert "7 passed" in done.stdout, done.stdout + done.stderr
    assert not (tmp_path / "store").exists()


def test_who_does_not_use_it_does_not_pay(pytest_run):
    done = pytest_run(UNUSED)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_a_contract_fails_with_the_rule_and_the_place_to_read(pytest_run):
    done = pytest_run(CONTRACT)
    assert "1 failed, 15 passed" in done.stdout, done.stdout + done.stderr
    assert "A measured number is a function of the record and the options" in done.stdout
    assert "found: odd, the same selector in another order: " in done.stdout
    assert "see docs/plugins.md#rules-for-selectors" in done.stdout
