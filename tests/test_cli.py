"""The command line as a user meets it: words, exit codes, interruption."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from outputs import visible
from qaqfilter.cli import cli

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


def test_a_list_of_plugins_in_a_pipe_has_a_line_for_each():
    done = qaqfilter("plugins", env={"COLUMNS": "40", "PATH": ""})
    components = json.loads(qaqfilter("plugins", "--json").stdout)["components"]
    _, *lines = done.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [[c["kind"], c["name"]] for c in components]
    for line, component in zip(lines, components, strict=True):
        assert component["summary"] in line and component["from"] in line


def test_plugins_of_one_kind():
    done = qaqfilter("plugins", "--kind", "selector")
    told = json.loads(qaqfilter("plugins", "--kind", "selector", "--json").stdout)
    _, *lines = done.stdout.splitlines()
    names = [one["name"] for one in told["components"]]
    assert [line.split()[:2] for line in lines] == [["selector", name] for name in names]
    assert "rmi" in names
    assert qaqfilter("plugins", "--kind", "filter").returncode == 2


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

    from qaqfilter import run
    from qaqfilter.live_bars import bars_on
    from qaqfilter.progress import Bars

    text = StringIO()
    console = Console(file=text, force_terminal=True, width=160)
    with bars_on(console) as progress:
        report = run(write_recipe(STEPS), observer=Bars(progress))
    assert report.kept == 4
    assert "scoring (toy)" in text.getvalue()
    assert "8/8" in text.getvalue() and "tokens/s" in text.getvalue()


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


# --- help, completion, JSON, pipes ----------------------------------------------------------


def every_command():
    """(words, command) of every verb and of what stands below it."""
    context = click.Context(cli, info_name="qaqfilter")
    for name in cli.list_commands(context):
        found = cli.get_command(context, name)
        yield [name], found
        for below in found.list_commands(context) if isinstance(found, click.Group) else ():
            yield [name, below], found.get_command(context, below)


def test_verbs_stand_in_the_order_of_use_and_none_is_cut_off():
    told = qaqfilter("--help").stdout
    listed = told.partition("Commands:")[2].splitlines()[1:]
    assert [line.split()[0] for line in listed][:6] == [
        "init",
        "validate",
        "plan",
        "preview",
        "run",
        "score",
    ]
    assert all(len(line.split()) > 2 for line in listed)
    assert "..." not in told.partition("Commands:")[2]


def test_every_command_has_an_example_that_can_be_typed():
    examples = {}
    for words, found in every_command():
        assert found.epilog is not None, words
        assert found.epilog.startswith("Example: "), words
        examples[tuple(words)] = found.epilog.removeprefix("Example: ")
        assert f"qaqfilter {' '.join(words)}" in examples[tuple(words)]
        for option in re.findall(r"(?<!\S)-+[a-z-]+", examples[tuple(words)]):
            assert option in [name for parameter in found.params for name in parameter.opts]
    assert len(examples) >= 15


def completed(tmp_path, line, shell="bash"):
    """The words that bash offers for the last word of a line, with the script sourced."""
    if shutil.which("bash") is None:
        pytest.skip("there is no bash here")
    command = tmp_path / "qaqfilter"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m qaqfilter "$@"\n')
    command.chmod(0o755)
    script = tmp_path / "completion.bash"
    script.write_text(qaqfilter("completion", shell).stdout)
    words = " ".join(f"'{word}'" for word in line)
    program = (
        f"source '{script}'; COMP_WORDS=({words}); COMP_CWORD={len(line) - 1}; "
        "_qaqfilter_completion qaqfilter; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
    )
    return done.stdout.split()


def test_bash_completes_verbs_options_and_values(tmp_path):
    assert completed(tmp_path, ["qaqfilter", "p"]) == ["plan", "preview", "plugins"]
    assert "--sample" in completed(tmp_path, ["qaqfilter", "plan", "--s"])
    assert completed(tmp_path, ["qaqfilter", "cache", "c"]) == ["clear", "compact"]
    offered = completed(tmp_path, ["qaqfilter", "init", "--method", "r"])
    assert offered == ["rmi"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script(shell):
    done = qaqfilter("completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"_QAQFILTER_COMPLETE={shell}_complete" in done.stdout
    if shutil.which(shell):
        checked = subprocess.run(
            [shell, "-n"], input=done.stdout, text=True, capture_output=True, check=False
        )
        assert (checked.returncode, checked.stderr) == (0, "")


def test_json_of_a_run_and_its_halves(tmp_path, write_recipe):
    recipe = write_recipe(STEPS)
    for verb in ("score", "run", "select"):
        done = qaqfilter(verb, recipe, "--json", "--replace")
        assert done.returncode == 0, done.stderr
        account = json.loads(done.stdout)
        assert account["read"] == 8
        assert account["kept"] == 4
        assert account["steps"][0]["rejected"] == {"fraction": 4}
        for path in account["files"].values():
            assert Path(path).is_file()
        manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
        assert manifest["kept"] == account["kept"]
    models = json.loads(qaqfilter("run", recipe, "--json", "--replace").stdout)["models"]
    assert models[0]["cost"]["stored"] > 0


def test_json_of_validate_holds_the_recipe_or_the_problems(write_recipe):
    done = qaqfilter("validate", write_recipe(STEPS), "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["valid"], found["problems"]) == (0, True, [])
    assert found["recipe"]["steps"][0]["keep"]["fraction"] == 0.5
    done = qaqfilter("validate", write_recipe(STEPS.replace("keep", "keeep")), "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, done.stderr, found["valid"]) == (2, "", False)
    assert "did you mean 'keep'" in found["problems"][0]


def test_json_of_plugins_and_cache(write_recipe):
    recipe = write_recipe(STEPS)
    assert qaqfilter("run", recipe).returncode == 0
    offered = json.loads(qaqfilter("plugins", "--json").stdout)
    assert {"kind": "selector", "name": "rmi"}.items() <= next(
        one for one in offered["components"] if one["name"] == "rmi"
    ).items()
    assert (offered["broken"], offered["blocked"]) == ([], [])
    held = json.loads(qaqfilter("cache", "info", "--json").stdout)
    manifest = json.loads((recipe.parent / "out" / "manifest.json").read_text())
    assert [one["fingerprint"] for one in held["fingerprints"]] == [
        manifest["models"][0]["fingerprint"]
    ]
    assert held["fingerprints"][0]["scores"] == 16


def test_an_error_leaves_standard_output_empty(tmp_path, write_recipe):
    recipe = write_recipe(STEPS)
    (tmp_path / "data.jsonl").unlink()
    for verb in ("run", "plan", "preview"):
        done = qaqfilter(verb, recipe, "--json")
        assert (done.returncode, done.stdout) == (1, "")
        assert "error: no file matches" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [["run"], ["score"], ["select"], ["plan"], ["preview"], ["validate"], ["run", "--json"]],
)
def test_nothing_commands_a_pipe(write_recipe, arguments):
    """Neither colour nor bars, even where the variables speak of a terminal that can do both."""
    recipe = write_recipe(STEPS)
    if arguments == ["select"]:
        qaqfilter("score", recipe)
    environment = {k: v for k, v in os.environ.items() if k != "FORCE_COLOR"}
    verb, *options = arguments
    done = qaqfilter(
        verb,
        recipe,
        *options,
        env=environment | {"TERM": "xterm-256color", "COLORTERM": "truecolor"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    assert "\r" not in done.stdout + done.stderr


def colours(text):
    """Commands that set a colour, not bold or the like."""
    return re.findall(r"\x1b\[[0-9;]*3[0-7][0-9;]*m", text)


def test_no_color_is_heeded_on_a_terminal(write_recipe):
    recipe = write_recipe(STEPS)
    told = {}
    for name, value in (("plain", {"NO_COLOR": "1"}), ("coloured", {})):
        ours, theirs = pty.openpty()
        environment = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
        with subprocess.Popen(
            [*COMMAND, "run", str(recipe), "--replace"],
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            env=environment | {"TERM": "xterm-256color"} | value,
        ) as process:
            os.close(theirs)
            told[name] = _all(ours)
            assert process.wait(timeout=60) == 0
        os.close(ours)
    assert colours(told["coloured"])
    assert not colours(told["plain"])
    assert "kept 4" in told["plain"]


def _all(terminal):
    pieces = []
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # so Linux tells that nobody writes any more
            piece = b""
        if not piece:
            return b"".join(pieces).decode(errors="replace")
        pieces.append(piece)
