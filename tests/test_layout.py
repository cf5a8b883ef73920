"""The shape of the project: what its lists say is what its folders hold."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PLUGINS = sorted(p.name for p in (ROOT / "plugins").iterdir() if (p / "__init__.py").exists())
MEASURES_OR_SCORES = re.compile(r"^    def (score|measure)\(self, (table|record):", re.MULTILINE)
SELECTORS = [
    path
    for path in sorted((ROOT / "plugins").glob("*/*.py"))
    if MEASURES_OR_SCORES.search(path.read_text(encoding="utf-8"))
]


def test_every_plugin_has_its_entry_point():
    entry_points = PROJECT["project"]["entry-points"]["qaqfilter"]
    assert sorted(entry_points.values()) == PLUGINS
    installed = {e.value for e in distribution("qaqfilter").entry_points if e.group == "qaqfilter"}
    assert sorted(installed) == PLUGINS


def test_every_plugin_is_under_the_import_contracts():
    linter = PROJECT["tool"]["importlinter"]
    _, core, apart = linter["contracts"]
    assert sorted(linter["root_packages"]) == ["qaqfilter", *PLUGINS]
    assert set(PLUGINS) <= set(core["forbidden_modules"])
    assert sorted(apart["modules"]) == PLUGINS


def test_every_core_module_is_in_a_layer():
    layers = PROJECT["tool"]["importlinter"]["contracts"][0]["layers"]
    named = {name.strip().removeprefix("qaqfilter.") for row in layers for name in row.split("|")}
    modules = {p.stem for p in (ROOT / "qaqfilter").glob("*.py")} - {"__init__", "__main__"}
    assert named == modules | {"cli", "scaffold", "testing"}


@pytest.mark.parametrize("path", SELECTORS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_selector_is_one_short_file(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 100


def test_there_are_selectors_to_look_at():
    assert len(SELECTORS) >= 18


@pytest.mark.parametrize("path", sorted((ROOT / "qaqfilter").rglob("*.py")), ids=lambda p: p.name)
def test_a_core_file_stays_small(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    # The catalogue of hooks is mostly docstrings, and is read as a whole.
    assert lines <= (300 if path.stem == "hookspecs" else 250)


def test_the_version_is_said_once_and_the_same():
    import qaqfilter

    assert (
        qaqfilter.__version__ == PROJECT["project"]["version"] == distribution("qaqfilter").version
    )


def test_types_are_shipped():
    files = {str(file) for file in distribution("qaqfilter").files or []}
    assert any(f.endswith("py.typed") for f in files) or (ROOT / "qaqfilter/py.typed").exists()
