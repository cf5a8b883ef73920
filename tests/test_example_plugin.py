"""The plugin of examples/qaqfilter-comments, installed as a stranger would install it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parent.parent / "examples" / "qaqfilter-comments"
COMMAND = (sys.executable, "-c", "from qaqfilter.cli import main; main()")

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs a command where the plugin is installed, in a folder of its own."""
    target = tmp_path_factory.mktemp("site")
    # What comes with the tree, but nothing that another test or pytest left in it.
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "qaqfilter_comments.py"):
        (source / name).write_bytes((EXAMPLE / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-build-isolation"]
    pip += ["--no-index", "--disable-pip-version-check", "--target", str(target), str(source)]
    subprocess.run(pip, check=True, capture_output=True, text=True, timeout=300)
    path = os.pathsep.join(filter(None, [str(target), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "COLUMNS": "160"}

    def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, check=False, cwd=cwd, env=environment, capture_output=True, text=True
        )

    return run


def test_it_is_listed_with_its_distribution(run: Run, tmp_path: Path) -> None:
    done = run(*COMMAND, "plugins", cwd=tmp_path)
    line = next(line for line in done.stdout.splitlines() if line.split()[1:2] == ["comments"])
    assert line.split()[0] == "selector"
    assert "share of comment lines in the answer" in line
    assert "qaqfilter-comments 0.1.0" in line
    assert line.split()[-1] == "yes"


def test_a_recipe_filters_with_it(run: Run, tmp_path: Path) -> None:
    answers = {"bare": "x = 1\ny = 2", "half": "# set x\nx = 1", "talk": "# a\n# b\nx = 1"}
    rows = [json.dumps({"id": i, "query": "set x", "answer": a}) + "\n" for i, a in answers.items()]
    (tmp_path / "data.jsonl").write_text("".join(rows))
    (tmp_path / "recipe.yaml").write_text(
        "version: 1\nname: outside\ninput: {use: jsonl, path: data.jsonl}\n"
        "steps:\n  - {id: code, use: comments, keep: {max: 0.5}}\n"
        "output: {use: jsonl, path: out}\n"
    )
    done = run(*COMMAND, "run", "recipe.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "kept.jsonl").read_text() == "".join(rows[:2])
    (rejected,) = (tmp_path / "out" / "rejected.jsonl").read_text().splitlines()
    told = json.loads(rejected)
    assert (told["id"], told["step"], told["reason"]) == ("talk", "code", "max")
    assert told["value"] == pytest.approx(2 / 3)


def test_its_options_are_checked(run: Run, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(
        "version: 1\nname: outside\ninput: {use: jsonl, path: data.jsonl}\n"
        "steps:\n  - {id: code, use: comments, marker: ['%']}\n"
        "output: {use: jsonl, path: out}\n"
    )
    done = run(*COMMAND, "validate", "recipe.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "recipe.yaml:5: steps.code.marker: unknown key; did you mean 'markers'?" in done.stderr


def test_without_it_the_recipe_says_what_is_missing(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "version: 1\nname: outside\ninput: {use: jsonl, path: data.jsonl}\n"
        "steps:\n  - {id: code, use: comments}\noutput: {use: jsonl, path: out}\n"
    )
    done = subprocess.run(
        [*COMMAND, "validate", str(recipe)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "no selector is called 'comments'" in done.stderr


def test_its_own_test_passes(run: Run, tmp_path: Path) -> None:
    pytest_run = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLE))
    done = run(*pytest_run, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


def test_its_module_is_short() -> None:
    lines = (EXAMPLE / "qaqfilter_comments.py").read_text().splitlines()
    assert len(lines) < 40
