"""A plugin that misbehaves in a run is named, with who made it, and nothing is lost."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

import qaqfilter
from qaqfilter import PluginFailed, RecipeError
from qaqfilter.cli import plugins as plugins_verb
from qaqfilter.cli import run_cli
from qaqfilter.manager import load_plugins

HEAD = """
import numpy as np
from qaqfilter import *
from qaqfilter import hookimpl
"""

SELECTOR = (
    HEAD
    + """
class Wrong:
    columns = ("x",)
    {needs}
    def __init__(self, config): {init}
    {body}

@hookimpl
def qaqfilter_selectors():
    yield Component("wrong", Options, Wrong, "misbehaves")
"""
)

RMI = "  - {id: rmi, use: rmi, keep: {top: 5}}\n"


def visible(folder):
    """Every file with its bytes; what begins with a dot is the run's own affair."""
    return {path.name: path.read_bytes() for path in folder.glob("[!.]*")}


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Put a plugin's source on the path, as a distribution `outside` in version 1.2."""

    def install(source):
        (tmp_path / "site").mkdir(exist_ok=True)
        (tmp_path / "site" / "outside_plugin.py").write_text(source)
        info = tmp_path / "site" / "outside-1.2.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text("[qaqfilter]\noutside = outside_plugin\n")
        monkeypatch.syspath_prepend(tmp_path / "site")
        monkeypatch.delitem(sys.modules, "outside_plugin", raising=False)

    yield install
    sys.modules.pop("outside_plugin", None)


def selector(body, *, needs="needs = ()", init="pass"):
    return SELECTOR.format(body=body, needs=needs, init=init)


SCORES = {
    "raises": ("return {'x': [][1]}", r"failed in score\(\): IndexError: .*outside_plugin.py:\d"),
    "exits": ("raise SystemExit(3)", r"failed in score\(\): SystemExit: 3"),
    "too few rows": ("return {'x': np.zeros(len(table) - 1)}", r"'x' has shape \(4,\) .* 5 rows"),
    "other columns": ("return {'y': np.zeros(len(table))}", r"declares the columns \['x'\] and"),
    "words": (
        "return {'x': np.array(['a'] * len(table))}",
        "gave no array of float64: column 'x' is of <U1",
    ),
    "whole numbers": ("return {'x': np.arange(len(table))}", "column 'x' is of int64"),
    "single precision": ("return {'x': np.ones(len(table), 'f')}", "column 'x' is of float32"),
    "a list": ("return {'x': [1.0] * len(table)}", "column 'x' is of list"),
    "nothing": ("return None", r"failed in score\(\): TypeError"),
    "changes a likelihood": (
        "table.likelihoods['toy.query'].logprob[0] = 0",
        r"failed in score\(\): ValueError: .*read-only.*takes a copy",
    ),
    "changes a column": ("table.columns['rmi.rmi'] *= 2", "read-only.*takes a copy"),
    "changes the rows": ("table.rows[:] = 0", "read-only.*takes a copy"),
}


@pytest.mark.parametrize(("body", "told"), SCORES.values(), ids=SCORES)
def test_a_selector_is_named_and_nothing_is_lost(installed, write_recipe, tmp_path, body, told):
    installed(selector(f"def score(self, table): {body}", needs="needs = (Need('toy', 'query'),)"))
    good = write_recipe(RMI)
    report = qaqfilter.run(good)
    before = visible(tmp_path / "out")
    recipe = write_recipe(RMI + "  - {id: w, use: wrong}")
    with pytest.raises(PluginFailed) as caught:
        qaqfilter.run(recipe, replace=True)
    message = str(caught.value)
    assert message.startswith("step 'w': selector 'wrong' (outside 1.2)")
    assert re.search(told, message)
    assert message.endswith("and check it with qaqfilter.testing.SelectorContract")
    assert visible(tmp_path / "out") == before
    # What was scored meanwhile is in the store: without the plugin nothing is asked again.
    again = qaqfilter.run(write_recipe(RMI), replace=True)
    assert (again.kept, again.models[0].cost.computed) == (report.kept, 0)


MEASURES = {
    "raises": ("1 / 0", r"data\.jsonl:1: selector .* failed in measure\(\): ZeroDivisionError"),
    "nothing": ("None", r"data\.jsonl:1: selector .* failed in measure\(\): TypeError"),
    "words": (
        "{'x': 'many'}",
        r"measured 'x' as 'many' of the record at data\.jsonl:1: .* its name in `labels`; this is",
    ),
    "none": ("{'x': None}", r"measured 'x' as None .*:1: a number that is undefined is NaN; this"),
    "a list": ("{'x': [1]}", r"measured 'x' as \[1\] .*:1: .* an int or a float; this is a fault"),
    "another name": (
        "{'y': 1}",
        r"measured \['y'\] of the record at data\.jsonl:1, and not \['x'\], which it declares",
    ),
}


@pytest.mark.parametrize(("value", "told"), MEASURES.values(), ids=MEASURES)
def test_a_measure_is_named_with_its_record(installed, write_recipe, value, told):
    installed(selector(f"def measure(self, record): return {value}", needs=""))
    with pytest.raises(PluginFailed, match=told) as caught:
        qaqfilter.run(write_recipe("  - {id: w, use: wrong, keep: {min: 1}}"))
    assert "step 'w'" in str(caught.value)
    assert "selector 'wrong' (outside 1.2)" in str(caught.value)
    assert "check it with qaqfilter.testing.SelectorContract" in str(caught.value)


def test_a_label_is_text(installed, write_recipe):
    labels = "labels = ('language',)"
    measured = "def measure(self, record): return {'x': 1, 'language': 7}"
    installed(selector(measured, needs=labels))
    with pytest.raises(PluginFailed, match=r"'language' as 7 .*: a label is text or None"):
        qaqfilter.run(write_recipe("  - {id: w, use: wrong, keep: {min: 1}}"))


DECIDES = {
    "raises": ("1 / 0", r"failed in decide\(\): ZeroDivisionError"),
    "too few": ("Decisions(yes[1:], none[1:], ('kept',), x[1:], x[1:])", "about .*7,.* table of 8"),
    "unknown reason": ("Decisions(~yes, none + 3, ('kept',), x, x)", "by reasons"),
    "no reason": ("Decisions(~yes, none, ('kept', 'low'), x, x)", "reason 0 if it is kept"),
    "a mask": ("yes", r"failed in decide\(\): AttributeError"),
}


@pytest.mark.parametrize(("value", "told"), DECIDES.values(), ids=DECIDES)
def test_decisions_that_do_not_fit_are_refused(installed, write_recipe, value, told):
    body = (
        "def score(self, table): return {'x': np.zeros(len(table))}\n"
        "    def decide(self, table):\n"
        "        yes, none = np.ones(len(table), bool), np.zeros(len(table), np.int16)\n"
        "        x = table.column('x')\n"
        f"        return {value}"
    )
    installed(selector(body))
    with pytest.raises(PluginFailed, match=told) as caught:
        qaqfilter.run(write_recipe("  - {id: w, use: wrong}"))
    assert str(caught.value).startswith("step 'w': selector 'wrong' (outside 1.2)")


def test_a_selector_that_cannot_be_made_is_named(installed, write_recipe):
    installed(selector("def score(self, table): pass", init="raise RuntimeError('no file')"))
    told = r"selector 'wrong' \(outside 1\.2\) failed in create: RuntimeError: no file"
    with pytest.raises(PluginFailed, match=told):
        qaqfilter.run(write_recipe("  - {id: w, use: wrong}"))


def test_a_score_without_needs_is_told_what_it_lacks(installed, write_recipe):
    installed(selector("def score(self, table): pass", needs=""))
    told = r"selector 'wrong' lacks `measure`, or `score` with `needs`"
    with pytest.raises(RecipeError, match=told):
        qaqfilter.run(write_recipe("  - {id: w, use: wrong}"))


def test_nan_is_a_null_and_loses_no_record(installed, write_recipe):
    installed(selector("def score(self, table): return {'x': np.full(len(table), np.nan)}"))
    heard = Heard()
    recipe = write_recipe("  - {id: w, use: wrong, keep: {min: 0}}")
    report = qaqfilter.run(recipe, observer=heard)
    assert (report.read, report.kept, report.steps[0].rejected) == (8, 0, {"undefined": 8})
    assert (
        "step 'w': selector 'wrong' (outside 1.2) gave no score (NaN) to any of 8 records, so none "
        "is kept"
    ) in heard.messages


def test_some_nan_are_nothing_to_tell_of(installed, write_recipe):
    score = "{'x': np.where(np.arange(len(table)) == 3, 1.0, np.nan)}"
    installed(selector(f"def score(self, table): return {score}"))
    heard = Heard()
    recipe = write_recipe("  - {id: w, use: wrong, keep: {min: 0}}")
    assert qaqfilter.run(recipe, observer=heard).kept == 1
    assert not any("NaN" in message for message in heard.messages)


class Heard(qaqfilter.Silent):
    """Keeps what a run tells."""

    def __init__(self):
        self.messages = []

    def message(self, text):
        self.messages.append(text)


WATCHER = (
    HEAD
    + """
@hookimpl
def qaqfilter_step_finished(step, table, decisions):
    {body}
"""
)
CHANGES = ("decisions.kept[:] = True", "table.columns['rmi.rmi'][:] = 0", "table.rows[:] = 0")


@pytest.mark.parametrize("body", CHANGES)
def test_a_watcher_cannot_change_what_it_sees(installed, write_recipe, body):
    installed(WATCHER.format(body=body))
    told = r"plugin 'outside' \(outside 1\.2\) failed in qaqfilter_step_finished: .*read-only"
    with pytest.raises(PluginFailed, match=told):
        qaqfilter.run(write_recipe(RMI))


SOURCE = (
    HEAD
    + """
class Wrong:
    def __init__(self, config): pass
    def read(self):
        yield Record("a", "q", "a", b"{{}}", Origin("made up", 0))
        {body}

@hookimpl
def qaqfilter_sources():
    yield Component("wrong", Options, Wrong, "misbehaves")
"""
)
READS = {
    "raises": ("raise LookupError('lost')", r"failed in read\(\): LookupError: lost"),
    "yields a dict": ("yield {'query': 'q'}", r"failed in read\(\): TypeError: it yielded {'query"),
}


@pytest.mark.parametrize(("body", "told"), READS.values(), ids=READS)
def test_a_source_is_named(installed, write_recipe, tmp_path, body, told):
    installed(SOURCE.format(body=body))
    recipe = write_recipe(RMI)
    with pytest.raises(PluginFailed, match=told) as caught:
        qaqfilter.run(recipe, overrides=["input={use: wrong}"])
    assert str(caught.value).startswith("source 'wrong' (outside 1.2)")
    assert not visible(tmp_path / "out")


SINK = (
    HEAD
    + """
class Wrong:
    def __init__(self, config, folder): self.folder = folder
    def keep(self, record): {keep}
    def reject(self, record, rejection): {reject}
    def close(self): {close}

@hookimpl
def qaqfilter_sinks():
    yield Component("wrong", Options, Wrong, "misbehaves")
"""
)


@pytest.mark.parametrize("method", ["keep", "reject", "close"])
def test_a_sink_is_named_and_the_earlier_run_stays(installed, write_recipe, tmp_path, method):
    bodies = dict.fromkeys(("keep", "reject", "close"), "pass") | {method: "[][1]"}
    installed(SINK.format(**bodies))
    qaqfilter.run(write_recipe(RMI))
    before = visible(tmp_path / "out")
    recipe = write_recipe(RMI)
    with pytest.raises(PluginFailed, match=rf"failed in {method}\(\): IndexError") as caught:
        qaqfilter.run(recipe, overrides=["output={use: wrong, path: out}"], replace=True)
    assert "sink 'wrong' (outside 1.2)" in str(caught.value)
    assert visible(tmp_path / "out") == before


EXECUTOR = (
    HEAD
    + """
class Wrong:
    def __init__(self, config): pass
    def score(self, stage, windows):
        {body}

@hookimpl
def qaqfilter_executors():
    yield Component("wrong", Options, Wrong, "misbehaves")
"""
)


@pytest.mark.parametrize(
    ("body", "told"),
    [("yield from [][1]", "IndexError"), ("yield 3", "TypeError: it yielded a int")],
)
def test_an_executor_is_named(installed, write_recipe, body, told):
    installed(EXECUTOR.format(body=body))
    with pytest.raises(PluginFailed, match=rf"failed in score\(\): {told}") as caught:
        qaqfilter.run(write_recipe(RMI), overrides=["run.executor=wrong"])
    assert str(caught.value).startswith("executor 'wrong' (outside 1.2)")


BACKEND = (
    HEAD
    + """
from qaqfilter_ngram import NgramOptions
from qaqfilter_ngram.backend import NgramBackend

class Wrong(NgramBackend):
    def logprobs(self, sequences): return [][1]

@hookimpl
def qaqfilter_backends():
    yield Component("wrong", NgramOptions, Wrong, "misbehaves")
"""
)


def test_a_backend_is_named(installed, write_recipe):
    installed(BACKEND)
    told = r"model 'toy' .*IndexError.* a fault of the backend \(outside 1\.2\)"
    with pytest.raises(qaqfilter.BackendError, match=told):
        qaqfilter.run(write_recipe(RMI), overrides=["models.toy.use=wrong"])


def test_the_command_says_so_without_a_traceback(installed, write_recipe, tmp_path):
    plugin = tmp_path / "mine.py"
    plugin.write_text(selector("def score(self, table): return {'x': [][1]}"))
    command = [sys.executable, "-m", "qaqfilter", "run", "--plugin", "mine.py", "recipe.yaml"]
    write_recipe("  - {id: w, use: wrong}")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "step 'w': selector 'wrong' (mine.py) failed in score(): IndexError" in done.stderr


@pytest.fixture
def clock(monkeypatch):
    """The clock is the test's: what is measured is the time around a plugin's import."""
    now = [0.0]

    def clock(passed=0.0):
        now[0] += passed
        return now[0]

    monkeypatch.setattr("time.perf_counter", clock)


SLEEPS = "import time\ntime.perf_counter(5)\n" + WATCHER.format(body="pass")


@pytest.mark.parametrize("verb", ["plugins", "validate", "run"])
def test_a_file_that_is_slow_to_load_is_told(tmp_path, write_recipe, clock, capsys, verb):
    recipe = write_recipe("  - {id: sane, use: length, keep: {min: 1}}")
    (tmp_path / "sleeps.py").write_text(SLEEPS)
    what = [] if verb == "plugins" else [str(recipe)]
    assert run_cli([verb, *what, "--plugin", str(tmp_path / "sleeps.py")]) == 0
    said = " ".join("".join(capsys.readouterr()).split())
    assert f"slow: sleeps.py ({tmp_path / 'sleeps.py'}) took 5.0 s to load" in said
    assert said.count("slow: ") == 1


def test_a_slow_import_is_told(installed, clock, monkeypatch, capsys):
    installed(SLEEPS)
    manager = load_plugins()
    assert manager.seconds["outside"] == 5.0
    assert {taken for name, taken in manager.seconds.items() if name != "outside"} == {0.0}
    monkeypatch.setattr(plugins_verb, "load_plugins", lambda files: manager)
    plugins_verb.command.main([], standalone_mode=False)
    said = " ".join("".join(capsys.readouterr()).split())
    assert "slow: outside (outside 1.2) took 5.0 s to load, in every command" in said
    assert said.count("slow: ") == 1
    plugins_verb.command.main(["--json"], standalone_mode=False)
    assert json.loads(capsys.readouterr().out)["seconds"]["outside"] == 5.0
