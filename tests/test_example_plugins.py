"""The plugins of examples/, installed as a stranger would install them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
PROJECTS = sorted(path.parent.name for path in EXAMPLES.glob("*/pyproject.toml"))
COMMAND = (sys.executable, "-c", "from qaqfilter.cli import main; main()")

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What comes with the tree, but nothing that another test or pytest left in it."""
    folder = tmp_path_factory.mktemp("source")
    left = shutil.ignore_patterns("__pycache__", ".*", "build", "dist", "out", "*.egg-info")
    for name in PROJECTS:
        shutil.copytree(EXAMPLES / name, folder / name, ignore=left)
    return folder


@pytest.fixture(scope="module")
def run(projects: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs a command where the plugins are installed, in a folder of its own."""
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-build-isolation"]
    pip += ["--no-index", "--disable-pip-version-check", "--target", str(target)]
    pip += [str(projects / name) for name in PROJECTS]
    done = subprocess.run(pip, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    path = os.pathsep.join(filter(None, [str(target), os.environ.get("PYTHONPATH")]))

    def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": path, "COLUMNS": "160"}
        return subprocess.run(
            command, check=False, cwd=cwd, env=environment, capture_output=True, text=True
        )

    return run


def test_there_is_one_of_each_kind() -> None:
    assert PROJECTS == [
        "qaqfilter-comments",
        "qaqfilter-completions",
        "qaqfilter-typicality",
        "qaqfilter-typos",
    ]


def test_they_are_listed_with_their_distributions(run: Run, tmp_path: Path) -> None:
    told = json.loads(run(*COMMAND, "plugins", "--json", cwd=tmp_path).stdout)
    assert told["broken"] == []
    listed = {
        (one["kind"], one["name"], one["from"].removesuffix(" 0.1.0"), one["ready"])
        for one in told["components"]
    }
    assert listed >= {
        ("selector", "comments", "qaqfilter-comments", True),
        ("backend", "completions", "qaqfilter-completions", True),
        ("selector", "typicality", "qaqfilter-typicality", True),
        ("damage", "query_typos", "qaqfilter-typos", True),
        ("damage", "answer_typos", "qaqfilter-typos", True),
    }


@pytest.mark.parametrize("project", PROJECTS)
def test_its_own_tests_pass(run: Run, projects: Path, project: str) -> None:
    # They do without hypothesis, which takes longer to import than most of them to run.
    left_out = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest")
    done = run(sys.executable, "-m", "pytest", "-q", *left_out, cwd=projects / project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    assert " skipped" not in done.stdout


# --- comments ---------------------------------------------------------------------------


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


def test_its_module_is_short() -> None:
    lines = (EXAMPLES / "qaqfilter-comments" / "qaqfilter_comments.py").read_text().splitlines()
    assert len(lines) < 40


# --- typicality -------------------------------------------------------------------------


def test_a_selector_with_ranks(run: Run, projects: Path) -> None:
    folder = projects / "qaqfilter-typicality"
    done = run(*COMMAND, "run", "recipe.yaml", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "read 32 = kept 15 + rejected 17 + quarantined 0" in done.stdout
    # Another threshold asks no model.
    again = ("--replace", "--set", "steps.typical.keep.fraction=0.25")
    done = run(*COMMAND, "select", "recipe.yaml", *again, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "read 32 = kept 7 + rejected 25 + quarantined 0" in done.stdout


def test_a_selector_is_one_file_with_its_formula_first() -> None:
    file = EXAMPLES / "qaqfilter-typicality" / "qaqfilter_typicality.py"
    lines = file.read_text().splitlines()
    assert len(lines) <= 100
    assert lines[0].startswith('"""typicality = ')


# --- completions ------------------------------------------------------------------------


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of the example's own server, a process of its own."""
    command = [sys.executable, str(folder / "tests" / "loopback_server.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.kill()


def test_a_backend_behind_a_server(
    run: Run, projects: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = projects / "qaqfilter-completions"
    with served(folder) as url:
        monkeypatch.setenv("QAQFILTER_COMPLETIONS_KEY", "sesame")
        monkeypatch.setenv("QAQFILTER_COMPLETIONS_SERVER", url)
        here = ("--set", f"models.strong.url={url}/key", "--set", "models.strong.start_token=null")
        done = run(*COMMAND, "--log-format", "json", "run", "recipe.yaml", *here, cwd=folder)
        assert done.returncode == 0, done.stderr
        assert "read 8 = kept 3 + rejected 5 + quarantined 0" in done.stdout + done.stderr
        assert "sesame" not in done.stdout + done.stderr
        assert "sesame" not in (folder / "out" / "manifest.json").read_text()


def test_a_server_that_is_not_there(run: Run, projects: Path) -> None:
    folder = projects / "qaqfilter-completions"
    there = ("--set", "models.strong.url=http://127.0.0.1:1", "--set", "output.path=none")
    done = run(*COMMAND, "run", "recipe.yaml", *there, cwd=folder)
    assert done.returncode == 1
    assert "model 'strong' (completions" in done.stderr
    assert "http://127.0.0.1:1 cannot be reached" in done.stderr
    assert not (folder / "none" / "kept.jsonl").exists()


def test_credentials_in_a_recipe_are_refused(run: Run, projects: Path) -> None:
    there = ("--set", "models.strong.url=http://me:secret@127.0.0.1:8000")
    folder = projects / "qaqfilter-completions"
    done = run(*COMMAND, "validate", "recipe.yaml", *there, cwd=folder)
    assert done.returncode == 2
    assert "a recipe holds no credentials" in done.stderr


# --- typos ------------------------------------------------------------------------------


def test_damages_for_calibrate(run: Run, projects: Path) -> None:
    folder = projects / "qaqfilter-typos"
    wanted = ("--damage", "query_typos", "--damage", "answer_typos")
    done = run(*COMMAND, "calibrate", "recipe.yaml", "-n", "24", *wanted, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "query_typos" in done.stdout
    told = json.loads((folder / "out" / "calibration.json").read_text())
    assert [one["damage"] for one in told["damages"]] == ["query_typos", "answer_typos"]
