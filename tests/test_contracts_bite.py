"""Every rule of every contract fails for a plugin that breaks it, alone, and says where to read."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import qaqfilter.testing
import wrong_plugins

ROOT = Path(__file__).parent.parent
WRONG = {name: made for name, made in vars(wrong_plugins).items() if hasattr(made, "breaks")}
CONTRACTS = [made for name, made in vars(qaqfilter.testing).items() if name.endswith("Contract")]


CRASHED = re.compile(r"^(E +)?found: \w+: .*\(at .*qaqfilter/testing/", re.MULTILINE)
"""A check that stumbled over what it was given, in place of saying what is wrong with it."""


def rules(contract):
    """The names of a contract's rules, those of the contracts behind it included."""
    return {name for name in dir(contract) if name.startswith("test_")}


def breaks(made):
    """The rules that the plugin under a test class breaks."""
    return {made.breaks} if isinstance(made.breaks, str) else {*(made.breaks or ())}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """{test class: {rule: the message of its failure, or "" where it passed}}, by pytest itself."""
    report = tmp_path_factory.mktemp("bite") / "report.xml"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        f"--junitxml={report}",
    ]
    command += ["-c", str(ROOT / "pyproject.toml"), str(ROOT / "tests" / "wrong_plugins.py")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1, done.stdout + done.stderr  # some failed, none could not be run
    found = {}
    for case in ElementTree.parse(report).iter("testcase"):
        name = case.attrib["classname"].rpartition(".")[2]
        rule = case.attrib["name"].partition("[")[0]
        failure = next((one for one in case if one.tag in ("failure", "error")), None)
        here = found.setdefault(name, {})
        here[rule] = here.get(rule, "") or ("" if failure is None else failure.text)
    return found


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_plugin_breaks_its_rule_and_no_other(outcomes, name):
    failed = {rule: text for rule, text in outcomes[name].items() if text}
    assert set(failed) == breaks(WRONG[name])
    assert set(outcomes[name]) == rules(WRONG[name])
    for rule, text in failed.items():
        said = " ".join(getattr(WRONG[name], rule).__doc__.split())
        told = " ".join(text.replace("\nE ", "\n").split())
        assert said in told
        assert "found: " in text
        assert not CRASHED.search(text), "the contract itself failed"
        assert "see docs/" in text


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.__name__)
def test_every_rule_bites(contract):
    bitten = {rule for made in WRONG.values() if breaks(made) for rule in breaks(made)}
    assert rules(contract) <= bitten


def test_the_sections_that_are_named_are_there(outcomes):
    pages = {page.name: page.read_text(encoding="utf-8") for page in ROOT.glob("docs/*.md")}
    headings = {f"{name}#{heading(line)}" for name, of in pages.items() for line in of.splitlines()}
    texts = [text for failures in outcomes.values() for text in failures.values() if text]
    named = {text.rpartition("see docs/")[2].split()[0] for text in texts}
    assert len(named) > 5
    assert named <= headings


def heading(line):
    """The anchor of a heading, as GitHub makes it."""
    if not line.startswith("#"):
        return None
    kept = (c for c in line.lstrip("# ").lower() if c.isalnum() or c in " -_")
    return "".join(kept).replace(" ", "-")
