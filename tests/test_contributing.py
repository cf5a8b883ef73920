"""What contributors are told and CI does: the commands exist, the templates can be read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent
TARGETS = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def test_five_commands_that_exist():
    page = (ROOT / "CONTRIBUTING.md").read_text()
    told = re.findall(r"^\$ make ([a-z]+)", page, re.MULTILINE)
    assert len(told) == 5
    assert set(told) <= set(TARGETS)


def test_the_workflow_runs_what_there_is():
    workflow = YAML(typ="safe").load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    runs = [step["run"] for step in steps if "run" in step]
    assert "bash .ci/run" in runs
    assert (ROOT / ".ci" / "run").exists()
    for command in runs:
        if command.startswith("make "):
            assert command.removeprefix("make ") in TARGETS
    pythons = workflow["jobs"]["everything"]["strategy"]["matrix"]["python"]
    project = (ROOT / "pyproject.toml").read_text()
    assert len(pythons) == 3
    assert f'requires-python = ">={pythons[0]}"' in project
    assert any("macos" in job["runs-on"] for job in workflow["jobs"].values())


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_issue_forms_ask_for_something(path):
    form = YAML(typ="safe").load(path.read_text())
    if path.stem == "config":
        assert "blank_issues_enabled" in form
        return
    assert form["name"]
    assert form["description"]
    assert any(item.get("validations", {}).get("required") for item in form["body"])
    for item in form["body"]:
        assert item["type"] == "textarea"
        assert item["attributes"]["label"]


def test_there_is_a_form_for_wrong_numbers_and_a_pull_request_template():
    assert {path.stem for path in FORMS} == {"bug", "config", "idea", "wrong-number"}
    assert "make test" in (ROOT / ".github" / "PULL_REQUEST_TEMPLATE.md").read_text()
