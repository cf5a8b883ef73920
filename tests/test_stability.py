"""What is public is written down, and nobody changes it by accident (docs/stability.md).

`python tests/test_stability.py` writes tests/data/public.json anew, after a change that is meant.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import qaqfilter
from qaqfilter import recipe_keys, testing
from qaqfilter.cli import VERBS
from qaqfilter.hookspecs import Specs

ROOT = Path(__file__).parent.parent
PINNED = ROOT / "tests" / "data" / "public.json"
TYPED = ROOT / "tests" / "typing" / "public_api.py"


def public() -> dict[str, Any]:
    """Names with what can be said to them, hooks with their arguments, keys, verbs, exit codes."""
    return {
        "names": {name: _described(getattr(qaqfilter, name)) for name in qaqfilter.__all__},
        "testing": sorted(testing.__all__),
        "hooks": {
            name: [p for p in inspect.signature(hook).parameters if p != "self"]
            for name, hook in vars(Specs).items()
            if name.startswith("qaqfilter_")
        },
        "recipe": {
            name: list(keys.model_fields)
            for name, keys in sorted(vars(recipe_keys).items())
            if name.endswith("Keys")
        },
        "verbs": [*VERBS],
        "exit_codes": {
            name: error.exit_code
            for name, error in sorted(vars(qaqfilter).items())
            if isinstance(error, type) and issubclass(error, qaqfilter.QaqfilterError)
        },
    }


def _described(thing: Any) -> Any:
    if inspect.isfunction(thing):
        return f"function{_signature(thing)}"
    if dataclasses.is_dataclass(thing):
        return [field.name for field in dataclasses.fields(thing)]
    if hasattr(thing, "_fields"):
        return [*thing._fields]
    if isinstance(thing, type):
        return sorted(
            name
            for name, value in vars(thing).items()
            if not name.startswith("_") and (callable(value) or isinstance(value, property))
        )
    return "value"


def _signature(function: Any) -> str:
    return re.sub(r"\s+", " ", str(inspect.signature(function)))


def test_what_is_public_is_what_is_written_down():
    now = json.loads(json.dumps(public()))
    then = json.loads(PINNED.read_text())
    for part in then:
        assert now[part] == then[part], (
            f"what is public changed ({part}). If that is meant: say so in CHANGELOG.md, look at "
            "docs/stability.md, and write the pin anew with `python tests/test_stability.py`"
        )
    assert set(now) == set(then)


def test_nothing_else_is_offered():
    """A name without an underscore that is no module and not in __all__ would be public by slip."""
    modules = {n for n, v in vars(qaqfilter).items() if inspect.ismodule(v)}
    names = {n for n in vars(qaqfilter) if not n.startswith("_")} - modules
    assert names <= {*qaqfilter.__all__}


def test_the_page_names_every_format():
    page = (ROOT / "docs" / "stability.md").read_text()
    for word in ("scores.parquet", "manifest.json", "calibration.json", "version: 1", "exit code"):
        assert word in page


@pytest.mark.parametrize(
    "checker",
    [["mypy", "--strict", "--no-incremental"], ["basedpyright", "--level", "error"]],
    ids=["mypy", "pyright"],
)
@pytest.mark.parametrize("wrong", [False, True])
def test_type_checkers_understand_what_is_public(tmp_path, checker, wrong):
    text = TYPED.read_text()
    if wrong:  # the check can fail
        assert text.count("assert_type(report.kept, int)") == 1
        text = text.replace("assert_type(report.kept, int)", "assert_type(report.kept, str)")
    file = tmp_path / "public_api.py"
    file.write_text(text)
    python = ["--pythonpath", sys.executable] if checker[0] == "basedpyright" else []
    done = subprocess.run(
        [sys.executable, "-m", *checker, *python, str(file)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode != 0) is wrong, done.stdout + done.stderr
    if wrong:
        assert re.search(r"assert[-_]?type", done.stdout, re.IGNORECASE)


@pytest.mark.parametrize(
    ("version", "says"),
    [
        ("2", "of version 2, and this qaqfilter reads version 1: a later one is needed"),
        ('"1"', "write `version: 1`"),
        ("0", "write `version: 1`"),
        ("true", "write `version: 1`"),
    ],
)
def test_a_recipe_of_another_version_is_told_what_to_do(tmp_path, version, says):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"version: {version}\nname: x\ninput: {{use: jsonl, path: d.jsonl}}\n"
        "steps: [{id: a, use: length, keep: {min: 1}}]\noutput: {use: jsonl, path: o}\n"
    )
    with pytest.raises(qaqfilter.RecipeError, match=re.escape(says)) as caught:
        qaqfilter.load_recipe(recipe)
    assert f"{recipe}:1: version:" in str(caught.value)


if __name__ == "__main__":
    PINNED.write_text(json.dumps(public(), indent=1) + "\n")
