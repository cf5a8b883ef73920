"""`qaqfilter plugins new`: what it writes works at once, and it overwrites nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from qaqfilter.cli import run_cli
from qaqfilter.manager import load_plugins
from qaqfilter.scaffold.names import HOOKS, LONGEST
from qaqfilter.scaffold.project import project_files

COMMAND = (sys.executable, "-c", "from qaqfilter.cli import main; main()")
KINDS = list(HOOKS)
KEPT = {"selector": 7, "backend": 4, "source": 3, "sink": 4, "prompt": 4, "executor": 4}
READ = {kind: 5 if kind == "source" else 8 for kind in KEPT}
STRICT = ["E", "F", "W", "I", "UP", "B", "C4", "SIM", "RUF", "PTH", "RET", "N", "PL", "BLE", "T20"]

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def named(kind: str) -> str:
    """Long names in half of the kinds, short ones in the others."""
    return f"my_{kind}" if KINDS.index(kind) % 2 else f"a_name_of_many_characters_for_a_{kind}"


def folder_of(kind: str) -> str:
    return f"qaqfilter-{named(kind).replace('_', '-')}"


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of each kind, written by the command."""
    folder = tmp_path_factory.mktemp("projects")
    for kind in KINDS:
        where = folder / folder_of(kind)
        assert run_cli(["plugins", "new", named(kind), "--kind", kind, "--folder", str(where)]) == 0
    return folder


@pytest.fixture(scope="module")
def run(projects: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs a command where all of them are installed."""
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-build-isolation"]
    pip += ["--no-index", "--disable-pip-version-check", "--target", str(target)]
    pip += [str(projects / folder_of(kind)) for kind in KINDS]
    done = subprocess.run(pip, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    path = os.pathsep.join(filter(None, [str(target), os.environ.get("PYTHONPATH")]))

    def run(*command: str, cwd: Path, **further: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": path, "COLUMNS": "160", **further}
        return subprocess.run(
            command, check=False, cwd=cwd, env=environment, capture_output=True, text=True
        )

    return run


PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist")


def test_its_tests_pass(run: Run, projects: Path) -> None:
    """As its README has them run."""
    for kind in ("selector", "backend"):
        done = run(*PYTEST, cwd=projects / folder_of(kind))
        assert done.returncode == 0, done.stdout
        assert re.search(r"^\d\d passed in ", done.stdout, re.MULTILINE), done.stdout


@pytest.fixture(scope="module")
def all_at_once(run: Run, projects: Path) -> str:
    """What pytest says of the tests of every project, in one process: it takes long to begin."""
    done = run(*PYTEST, "-vv", "-W", "error", "--import-mode=importlib", ".", cwd=projects)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_the_tests_of_every_kind_pass(all_at_once: str, kind: str) -> None:
    here = f"{folder_of(kind)}/tests/test_plugin.py::"
    passed = re.findall(rf"^{here}(\S+) PASSED", all_at_once, re.MULTILINE)
    assert len([name for name in passed if name.startswith("TestContract::")]) > 7
    assert [name for name in passed if not name.startswith("TestContract::")]


SPOILT = {
    "selector": ("counted / len(lines) if lines", 'counted / 0 if "=" in record.answer'),
    "backend": ("ids[a:b]]", "ids[a:b]] + 7"),
    "source": ("enumerate(file)", "enumerate(file, start=1)"),
    "sink": ("record.row.decode", "record.row[:-3].decode"),
    "prompt": ('raise PromptError(f"', 'raise ValueError(f"'),
    "executor": ("yield answer", "yield answer; yield answer"),
    "damage": ("rng.integers(len(long))", "np.random.randint(len(long))"),
}


@pytest.fixture(scope="module")
def spoilt(run: Run, projects: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What pytest says where a rule of each kind's contract is broken."""
    folder = tmp_path_factory.mktemp("spoilt") / "projects"
    shutil.copytree(projects, folder)
    modules = tmp_path_factory.mktemp("modules")
    for kind, (before, after) in SPOILT.items():
        module = folder / folder_of(kind) / f"qaqfilter_{named(kind)}.py"
        text = module.read_text()
        assert before in text
        (modules / module.name).write_text(text.replace(before, after))
        module.unlink()
    # This folder comes before the one where the whole ones are installed.
    (folder / "conftest.py").write_text(f"import sys\n\nsys.path.insert(0, {str(modules)!r})\n")
    command = (*PYTEST, "-W", "error", "--import-mode=importlib", "-k", "TestContract", ".")
    done = run(*command, cwd=folder)
    assert done.returncode == 1, done.stdout
    return done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_its_tests_bite(spoilt: str, kind: str) -> None:
    assert f"FAILED {folder_of(kind)}/tests/test_plugin.py::TestContract::" in spoilt


@pytest.mark.parametrize("kind", list(KEPT))
def test_its_recipe_runs(run: Run, projects: Path, tmp_path: Path, kind: str) -> None:
    project = shutil.copytree(projects / folder_of(kind), tmp_path / "project")
    cache = {"QAQFILTER_CACHE": str(tmp_path / "cache")}
    done = run(*COMMAND, "run", "recipe.yaml", "--json", cwd=project, **cache)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["read"], told["kept"]) == (READ[kind], KEPT[kind])
    assert told["read"] == told["kept"] + told["rejected"]


def test_the_damage_is_calibrated(run: Run, projects: Path, tmp_path: Path) -> None:
    project = shutil.copytree(projects / folder_of("damage"), tmp_path / "project")
    command = ("calibrate", "recipe.yaml", "-n", "8", "--damage", named("damage"), "--json")
    cache = {"QAQFILTER_CACHE": str(tmp_path / "cache")}
    done = run(*COMMAND, *command, cwd=project, **cache)
    assert done.returncode == 0, done.stderr
    (damage,) = json.loads(done.stdout)["damages"]
    assert (damage["damage"], damage["records"]) == (named("damage"), 8)


def test_all_are_listed_with_their_distributions(run: Run, tmp_path: Path) -> None:
    told = json.loads(run(*COMMAND, "plugins", "--json", cwd=tmp_path).stdout)
    assert told["broken"] == []
    listed = {(one["kind"], one["name"], one["from"]) for one in told["components"]}
    assert listed >= {(kind, named(kind), f"{folder_of(kind)} 0.1.0") for kind in KINDS}


def test_it_is_clean_by_ruff_and_mypy(projects: Path) -> None:
    lint = ["-m", "ruff", "check", "--no-cache", "--config", f"lint.select={STRICT}"]
    ignored = ["--ignore", "RUF001,RUF002,RUF003,PLR2004,PLC0415"]
    modules = [f"{folder_of(kind)}/qaqfilter_{named(kind)}.py" for kind in KINDS]
    for command in (
        ["-m", "ruff", "check", "--no-cache", "."],
        [*lint, *ignored, "."],
        ["-m", "ruff", "format", "--no-cache", "--check", "."],
        ["-m", "mypy", "--strict", "--no-incremental", *modules],
    ):
        done = subprocess.run(
            [sys.executable, *command], check=False, cwd=projects, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_to_be_replaced_is_told(tmp_path, capsys, kind: str) -> None:
    """By the command and in the README: every file that is an example, and no other."""
    where = tmp_path / "mine"
    assert run_cli(["plugins", "new", "mine", "--kind", kind, "--folder", str(where)]) == 0
    told = capsys.readouterr().out.partition("put your own in place of\n")[2]
    readme = (where / "README.md").read_text().partition("## Make it yours\n")[2]
    listed = re.findall(r"^- `(.+)`: (.+)$", readme.partition("## ")[0], re.MULTILINE)
    assert told.splitlines() == [f"  {place}: {what}" for place, what in listed]
    files = {path.relative_to(where).as_posix() for path in where.rglob("*") if path.is_file()}
    assert {place for place, _ in listed} == files - {".gitignore", "tests/conftest.py"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_file(tmp_path, monkeypatch, capsys, kind: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_cli(["plugins", "new", f"my_{kind}", "--kind", kind, "--single-file"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == [f"my_{kind}.py"]
    assert f"qaqfilter plugins --plugin my_{kind}.py" in capsys.readouterr().out
    manager = load_plugins([tmp_path / f"my_{kind}.py"])
    assert manager.offers[kind, f"my_{kind}"].component.summary


def test_a_single_file_in_a_run(tmp_path, run_recipe) -> None:
    where = ["--folder", str(tmp_path / "mine")]
    assert run_cli(["plugins", "new", "width", "--kind", "selector", "--single-file", *where]) == 0
    steps = [{"id": "lines", "use": "width", "keep": {"max": 3}}]
    records = [{"query": "q", "answer": answer} for answer in ("abc", "abcd")]
    done = run_recipe({"steps": steps}, records, plugins=[tmp_path / "mine" / "width.py"])
    assert [record["answer"] for record in done.kept] == ["abc"]


def test_names_that_follow(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_cli(["plugins", "new", "mean_line", "--kind", "selector"]) == 0
    project = tmp_path / "qaqfilter-mean-line"
    assert 'mean_line = "qaqfilter_mean_line"' in (project / "pyproject.toml").read_text()
    assert "class MeanLine:" in (project / "qaqfilter_mean_line.py").read_text()
    assert sorted(path.relative_to(project).as_posix() for path in project.rglob("*.*")) == [
        ".gitignore",
        "README.md",
        "data.jsonl",
        "pyproject.toml",
        "qaqfilter_mean_line.py",
        "recipe.yaml",
        "tests/conftest.py",
        "tests/test_plugin.py",
    ]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Mean-Line", "such as mean_line"),
        ("2nd", "such as nd"),
        ("größe", "such as gr_e"),
        ("mean__line", "such as mean_line"),
        ("_", "a letter first"),
        ("x" * (LONGEST + 1), f"at most {LONGEST} small letters"),
        ("../out", "such as out"),
        ("class", "a word of Python"),
        ("json", "a module of Python's: take another name, such as my_json"),
        ("qaqfilter", "qaqfilter itself"),
        ("length", "offers a selector 'length' already"),
    ],
)
def test_names_that_lead_to_trouble(tmp_path, monkeypatch, capsys, name: str, told: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_cli(["plugins", "new", name, "--kind", "selector"]) == 2
    assert told in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_name_of_another_kind_is_free(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_cli(["plugins", "new", "length", "--kind", "source"]) == 0


def test_nothing_is_overwritten(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    taken = tmp_path / "qaqfilter-mine"
    taken.mkdir()
    (taken / "notes.txt").write_text("mine")
    (tmp_path / "mine.py").write_text("mine")
    new = ["plugins", "new", "mine", "--kind", "selector"]
    assert run_cli(new) == 2
    assert "qaqfilter-mine is there already" in capsys.readouterr().err
    assert run_cli([*new, "--folder", "mine.py"]) == 2
    assert "mine.py is there already" in capsys.readouterr().err
    assert run_cli([*new, "--single-file"]) == 2
    assert "mine.py is there already" in capsys.readouterr().err
    assert {path.name for path in tmp_path.rglob("*")} == {"qaqfilter-mine", "notes.txt", "mine.py"}
    assert (tmp_path / "mine.py").read_text() == "mine"


def test_an_empty_folder_is_filled(tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    where = ["--folder", str(tmp_path / "empty")]
    assert run_cli(["plugins", "new", "mine", "--kind", "sink", *where]) == 0
    assert (tmp_path / "empty" / "pyproject.toml").exists()


def test_what_fails_half_way_leaves_nothing(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    written = Path.write_text

    def full(path: Path, *text: str, **how: str) -> int:
        if path.name == "recipe.yaml":
            raise OSError(28, "No space left on device")
        return written(path, *text, **how)

    monkeypatch.setattr(Path, "write_text", full)
    assert run_cli(["plugins", "new", "mine", "--kind", "selector"]) == 2
    assert "qaqfilter-mine cannot be written: No space left on device" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_kind_that_cannot_be_begun(capsys) -> None:
    assert run_cli(["plugins", "new", "mine", "--kind", "preset"]) == 2
    told = capsys.readouterr().err
    assert all(kind in told for kind in KINDS)


def test_every_template_ends_as_a_file_should() -> None:
    from qaqfilter.scaffold.names import Names

    for kind in KINDS:
        for place, text in project_files(Names("mine", kind)).items():
            assert text.endswith("\n") and not text.endswith("\n\n"), (kind, place)
            assert "{{" not in text, (kind, place)
