"""Plugins: every way in which one can be wrong has a message with who, what and how to mend it."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import pytest

from qaqfilter import Component, Needs, Options, PluginError, hookimpl
from qaqfilter import manager as manager_module
from qaqfilter.manager import KINDS, load_plugins


def plugin_module(name: str, **functions: object) -> ModuleType:
    module = ModuleType(name)
    for key, value in functions.items():
        setattr(module, key, value)
    return module


def offering(name: str, needs: Needs | None = None) -> ModuleType:
    """A plugin that offers one selector."""

    @hookimpl
    def qaqfilter_selectors():
        yield Component(name, Options, lambda config: None, "a test's selector", needs)

    return plugin_module("offering", qaqfilter_selectors=qaqfilter_selectors)


@pytest.fixture
def entry_points(monkeypatch):
    """Let the test say which entry points are installed, as (name, distribution, plugin)."""

    def install(*entries):
        found = []
        for name, distribution, plugin in entries:
            module = f"qaqfilter_test_entry_{name}"
            if isinstance(plugin, ModuleType):
                monkeypatch.setitem(sys.modules, module, plugin)
            else:
                module = plugin
            found.append((EntryPoint(name, module, "qaqfilter"), distribution))
        monkeypatch.setattr(manager_module, "entry_points", lambda: found)

    return install


def test_bundled_plugins_come_in_by_entry_points(manager):
    assert {"jsonl", "docstrings"} <= set(manager.names("source"))
    assert {"transformers", "llamacpp", "ngram"} <= set(manager.names("backend"))
    assert {"ifd", "rmi", "disagreement", "perplexity", "length", "random"} <= set(
        manager.names("selector")
    )
    assert {"plain", "chat", "jinja"} <= set(manager.names("prompt"))
    assert {"path", "hf", "pypi"} <= set(manager.names("model"))
    assert manager.names("executor") == ["local", "ray"]
    assert manager.broken == []
    assert {offer.distribution for offer in manager.offers.values()} == {"qaqfilter 0.1.0"}


def test_two_components_of_one_name_name_both_owners(entry_points):
    entry_points(("first", "one 1.0", offering("twin")), ("second", "two 2.0", offering("twin")))
    with pytest.raises(PluginError) as caught:
        load_plugins()
    message = str(caught.value)
    for part in ("selector 'twin'", "'first' (one 1.0)", "'second' (two 2.0)", "Uninstall one"):
        assert part in message
    assert "QAQFILTER_BLOCK_PLUGINS=second" in message


def test_a_file_that_clashes_is_not_what_can_be_blocked(tmp_path, monkeypatch):
    file = tmp_path / "rmi.py"
    file.write_text(
        "from qaqfilter import Component, Options, hookimpl\n\n\n"
        "@hookimpl\ndef qaqfilter_selectors():\n"
        '    yield Component("rmi", Options, lambda config: None, "of a file")\n'
    )
    with pytest.raises(PluginError) as told:
        load_plugins((file,))
    assert str(told.value).endswith("QAQFILTER_BLOCK_PLUGINS=rmi")
    monkeypatch.setenv("QAQFILTER_BLOCK_PLUGINS", "rmi")
    assert load_plugins((file,)).offers["selector", "rmi"].plugin == "rmi.py"


def test_a_blocked_plugin_is_out_and_said_to_be(entry_points, monkeypatch):
    entry_points(("first", "one 1.0", offering("twin")), ("second", "two 2.0", offering("twin")))
    monkeypatch.setenv("QAQFILTER_BLOCK_PLUGINS", "second, other")
    manager = load_plugins()
    assert manager.component("selector", "twin") is not None
    assert manager.offers["selector", "twin"].plugin == "first"
    with pytest.raises(PluginError, match="Blocked by QAQFILTER_BLOCK_PLUGINS: second"):
        manager.component("selector", "absent")


def test_a_broken_plugin_matters_only_to_who_asks_for_it(entry_points):
    entry_points(
        ("broken", "rotten 0.1", "qaqfilter_no_such_module"), ("good", "fine 1.0", offering("ok"))
    )
    manager = load_plugins()
    assert manager.component("selector", "ok")
    with pytest.raises(PluginError) as caught:
        manager.component("selector", "rotten")
    message = str(caught.value)
    assert "'broken' (rotten 0.1): ModuleNotFoundError" in message
    assert "qaqfilter_no_such_module" in message


def test_a_plugin_whose_hook_raises_is_broken_not_fatal(entry_points):
    @hookimpl
    def qaqfilter_selectors():
        raise RuntimeError("no such luck")
        yield

    module = plugin_module("raising", qaqfilter_selectors=qaqfilter_selectors)
    entry_points(("raising", "bad 1.0", module), ("good", "fine 1.0", offering("ok")))
    manager = load_plugins()
    assert manager.names("selector") == ["ok"]
    assert manager.broken[0].cause == "RuntimeError: no such luck"


def test_a_misspelt_hook_is_named_with_the_right_one(entry_points):
    @hookimpl
    def qaqfilter_selector():
        yield None

    entry_points(("slip", "slip 1.0", plugin_module("slip", qaqfilter_selector=qaqfilter_selector)))
    manager = load_plugins()
    cause = manager.broken[0].cause
    assert "no hook is called 'qaqfilter_selector'; did you mean 'qaqfilter_selectors'?" in cause


def test_a_wrong_hook_argument_is_named(entry_points):
    @hookimpl
    def qaqfilter_run_finished(reprot):
        pass

    module = plugin_module("args", qaqfilter_run_finished=qaqfilter_run_finished)
    entry_points(("args", "args 1.0", module))
    cause = load_plugins().broken[0].cause
    assert "reprot" in cause
    assert "hookspecs.py" in cause


def test_a_plugin_that_yields_something_else_is_told_what(entry_points):
    @hookimpl
    def qaqfilter_selectors():
        return ["not a component"]

    module = plugin_module("odd", qaqfilter_selectors=qaqfilter_selectors)
    entry_points(("odd", "odd 1.0", module))
    cause = load_plugins().broken[0].cause
    assert "qaqfilter_selectors yielded 'not a component'" in cause


def test_a_plugin_without_any_hook_is_told_so(entry_points):
    entry_points(("empty", "empty 1.0", plugin_module("empty")))
    assert "implements no hook" in load_plugins().broken[0].cause


def test_a_missing_extra_gives_the_pip_command(entry_points):
    needs = Needs("qaqfilter[llamacpp]", ("qaqfilter_absent_module",))
    entry_points(("needy", "needy 1.0", offering("needy", needs)))
    manager = load_plugins()
    assert manager.component("selector", "needy")
    with pytest.raises(PluginError) as caught:
        manager.require("selector", "needy")
    assert "needs qaqfilter_absent_module" in str(caught.value)
    assert "pip install 'qaqfilter[llamacpp]'" in str(caught.value)


def test_an_unknown_name_gets_a_suggestion(manager):
    with pytest.raises(PluginError, match=r"no selector is called 'rmo'; did you mean 'rmi'\?"):
        manager.component("selector", "rmo")


def test_a_single_file_plugin(tmp_path):
    path = tmp_path / "my_selector.py"
    path.write_text(
        "from qaqfilter import Component, Options, hookimpl\n"
        "class Vowels:\n"
        "    columns = ('vowels',)\n"
        "    def __init__(self, config): pass\n"
        "    def measure(self, record):\n"
        "        return {'vowels': sum(c in 'aeiou' for c in record.query)}\n"
        "@hookimpl\n"
        "def qaqfilter_selectors():\n"
        "    yield Component('vowels', Options, Vowels, 'vowels in the query')\n"
    )
    manager = load_plugins((path,))
    assert manager.offers["selector", "vowels"].distribution == str(path)
    assert "vowels" not in load_plugins().names("selector")


@pytest.mark.parametrize(
    ("text", "message"),
    [("import qaqfilter_nowhere", "ModuleNotFoundError"), ("x = 1", "implements no hook")],
)
def test_a_bad_single_file_plugin_is_fatal(tmp_path, text, message):
    path = tmp_path / "bad.py"
    path.write_text(text)
    with pytest.raises(PluginError, match=message) as caught:
        load_plugins((path,))
    assert "bad" in str(caught.value)


def test_a_single_file_plugin_that_is_not_there(tmp_path):
    with pytest.raises(PluginError, match=r"none\.py: no such file"):
        load_plugins((Path(tmp_path) / "none.py",))


@pytest.mark.parametrize("arguments", [["--help"], ["plugins"], ["run", "--help"]])
def test_the_command_line_imports_nothing_heavy(arguments):
    """Without a model to load, none of the heavy packages is imported."""
    code = (
        "import sys\n"
        "from qaqfilter.cli import run_cli\n"
        f"code = run_cli({arguments!r})\n"
        "heavy = {'torch', 'transformers', 'llama_cpp', 'ray', 'pyarrow'} & set(sys.modules)\n"
        "print('heavy:', sorted(heavy), 'code:', code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "heavy: [] code: 0"


def test_every_kind_has_its_hook():
    from qaqfilter.hookspecs import Specs

    hooks = {name for name in vars(Specs) if name.startswith("qaqfilter_")}
    watchers = {"qaqfilter_run_started", "qaqfilter_step_finished", "qaqfilter_run_finished"}
    assert set(KINDS.values()) | watchers == hooks
    assert len(KINDS) == 11
