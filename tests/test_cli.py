"""The command line as a user meets it: words, exit codes, interruption."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from outputs import visible

COMMAND = [sys.executable, "-m", "qaqfilter"]
STEPS = "  - {id: rmi, use: rmi, keep: {fraction: 0.5}}"


def qaqfilter(*arguments, **options):
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False, **options
    )


def test_run_prints_the_account_and_the_files(tmp_path, write_recipe):
    done = qaqfilter("run", write_recipe(STEPS))
    assert done.returncode == 0, done.stderr
    assert "read 8 = kept 4 + rejected 4 + quarantined 0" in done.stdout
    assert "rejected: fraction" in done.stdout
    assert str(tmp_path / "out" / "kept.jsonl") in done.stdout
    assert "scoring (toy): 8/8 records" in done.stderr
    assert "tokens/s" in done.stderr


def test_set_limit_and_replace_reach_the_run(write_recipe):
    recipe = write_recipe(STEPS)
    assert "read 3 = kept 1" in qaqfilter("run", recipe, "--limit", 3).stdout
    refused = qaqfilter("run", recipe)
    assert (refused.returncode, "--replace" in refused.stderr) == (1, True)
    done = qaqfilter("run", recipe, "--replace", "--set", "steps.rmi.keep.fraction=0.25")
    assert "read 8 = kept 2" in done.stdout


def test_validate_reads_no_data(tmp_path, write_recipe):
    recipe = write_recipe(STEPS)
    (tmp_path / "data.jsonl").unlink()
    done = qaqfilter("validate", recipe)
    assert (done.returncode, done.stderr) == (0, "")
    assert "ok. Steps: rmi (rmi). Models: toy." in done.stdout


def test_a_wrong_recipe_ends_with_2(write_recipe):
    recipe = write_recipe(STEPS.replace("keep", "keeep"))
    for verb in ("validate", "run"):
        done = qaqfilter(verb, recipe)
        assert done.returncode == 2
        assert f"{recipe}:7: steps.rmi.keeep: unknown key; did you mean 'keep'?" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [("rnu",), ("run",), ("run", "x.yaml", "--limit", "0")])
def test_wrong_usage_ends_with_2(arguments):
    done = qaqfilter(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_too_many_bad_records_end_with_3(tmp_path, write_recipe):
    recipe = write_recipe(STEPS)
    (tmp_path / "data.jsonl").write_text("no\n")
    done = qaqfilter("run", recipe)
    assert done.returncode == 3
    assert "1 of 1 records are bad" in done.stderr
    assert str(tmp_path / "out" / "quarantine.jsonl") in done.stderr


def test_a_missing_input_ends_with_1(tmp_path, write_recipe):
    recipe = write_recipe(STEPS)
    (tmp_path / "data.jsonl").unlink()
    done = qaqfilter("run", recipe)
    assert done.returncode == 1
    assert "data.jsonl" in done.stderr
    assert not visible(tmp_path / "out")


SLOW = """
import time
from qaqfilter import Component, Options, hookimpl

class Slow:
    columns = ("x",)
    def __init__(self, config): pass
    def measure(self, record):
        print("measuring", flush=True)
        time.sleep(60)
        return {"x": 1.0}

@hookimpl
def qaqfilter_selectors():
    yield Component("slow", Options, Slow, "sleeps")
"""


def test_interruption_ends_cleanly_with_130(tmp_path, write_recipe):
    plugin = tmp_path / "slow.py"
    plugin.write_text(SLOW)
    recipe = write_recipe("  - {id: slow, use: slow, keep: {min: 0}}")
    with subprocess.Popen(
        [*COMMAND, "run", str(recipe), "--plugin", str(plugin)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "measuring\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted: the outputs are whole or as they were before" in errors
    assert "Traceback" not in errors
    assert not visible(tmp_path / "out")


def test_plugins_are_listed_with_who_brings_them():
    done = qaqfilter("plugins", env={"COLUMNS": "200", "PATH": ""})
    assert done.returncode == 0
    for name in ("jsonl", "llamacpp", "disagreement", "chat", "local", "pypi"):
        assert name in done.stdout
    assert "qaqfilter 0.1.0" in done.stdout


def test_the_schema_knows_every_option():
    schema = json.loads(qaqfilter("schema").stdout)
    steps = {
        choice["properties"]["use"]["const"]: choice
        for choice in schema["definitions"]["step"]["oneOf"]
    }
    assert {"ifd", "rmi", "disagreement", "perplexity", "length", "random"} <= set(steps)
    assert set(steps["rmi"]["properties"]) >= {"id", "use", "keep", "strata", "group", "model"}
    assert steps["rmi"]["required"] == ["use", "id"]
    assert steps["ifd"]["properties"]["variant"]["enum"] == ["ifd_ppl", "ifd_nll"]
    assert steps["ifd"]["additionalProperties"] is False


def test_progress_bars_on_a_terminal(write_recipe):
    """The bars draw on a terminal and the run is the same."""
    from io import StringIO

    from rich.console import Console
    from rich.progress import Progress

    from qaqfilter import run
    from qaqfilter.cli.progress import Bars

    text = StringIO()
    console = Console(file=text, force_terminal=True, width=160)
    with Progress(console=console) as progress:
        report = run(write_recipe(STEPS), observer=Bars(progress))
    assert report.kept == 4
    assert "scoring (toy)" in text.getvalue()
    assert "100%" in text.getvalue()


def test_a_plugin_may_not_take_over_a_verb(monkeypatch, capsys):
    from qaqfilter import cli

    class Clash:
        def names(self, kind):
            return ["run"]

    monkeypatch.setattr(cli, "load_plugins", Clash)
    assert cli.run_cli(["--help"]) == 2
    assert "a plugin offers the command 'run', which is qaqfilter's own" in capsys.readouterr().err


def test_what_is_missing_is_listed_with_the_whole_pip_command(tmp_path):
    """Brackets are part of the command, not of the terminal's colours."""
    plugin = tmp_path / "needy.py"
    plugin.write_text(
        "from qaqfilter import Component, Needs, Options, hookimpl\n"
        "@hookimpl\n"
        "def qaqfilter_backends():\n"
        "    needs = Needs('needy[all]', ('qaqfilter_absent_module',))\n"
        "    yield Component('needy', Options, None, 'needs something', needs)\n"
    )
    done = qaqfilter("plugins", "--plugin", plugin, env={"COLUMNS": "200", "PATH": ""})
    assert "pip install 'needy[all]'" in done.stdout
