"""What docs/security.md promises, each with something that would break it if it could."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors import SafetensorError

import qaqfilter
from qaqfilter import ModelError, PromptError, QaqfilterError, RecipeError, RunDirectoryError
from qaqfilter.cli import cli, run_cli
from qaqfilter.sandbox import Template
from tiny_models import make_model

GOOD = b'{"query": "add two numbers", "answer": "a + b"}\n'
COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e"


@pytest.fixture(scope="module")
def llama(tmp_path_factory) -> Path:
    return make_model(tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture
def folder(llama, tmp_path) -> Path:
    """A whole model, to be spoilt."""
    return Path(shutil.copytree(llama, tmp_path / "model"))


@pytest.fixture
def marker(tmp_path) -> Path:
    """What exists as soon as a stranger's code has run."""
    return tmp_path / "owned"


class Payload:
    """Pickled, it is a call of `os.mkdir`: loading it makes the marker."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def recipe_for(tmp_path: Path, model: str = "{use: ngram}", steps: str = "", **blocks) -> Path:
    steps = steps or "  - {id: rmi, use: rmi, keep: {top: 5}}"
    given = {
        "name": "stranger",
        "input": "{use: jsonl, path: data.jsonl}",
        "output": "{use: jsonl, path: out}",
        **blocks,
    }
    rows = "".join(f"{key}: {value}\n" for key, value in given.items())
    path = tmp_path / "recipe.yaml"
    path.write_text(f"version: 1\n{rows}models:\n  toy: {model}\nsteps:\n{steps}\n")
    if not (tmp_path / "data.jsonl").exists():
        (tmp_path / "data.jsonl").write_bytes(GOOD * 2)
    return path


def command(
    *words: str | Path, module: str = "qaqfilter", **options
) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", module, *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, check=False, **options)


def test_the_page_names_tests_that_exist() -> None:
    root = Path(__file__).parent.parent
    named = set(re.findall(r"`(test_\w+)`", (root / "docs" / "security.md").read_text("utf-8")))
    code = "".join(path.read_text("utf-8") for path in (root / "tests").glob("test_*.py"))
    assert len(named) > 15
    assert named <= set(re.findall(r"def (test_\w+)", code))


# --- recipes: data, never code


@pytest.mark.parametrize(
    "block",
    [
        {"input": "{use: os.system, path: x}"},
        {"input": "{use: '../plugin.py', path: x}"},
        {"input": "{use: !!python/name:os.system '', path: x}"},
        {"plugins": "[plugin.py]"},
        {"input": "{use: jsonl, path: x, plugin: plugin.py}"},
        {"output": "{use: jsonl, path: out, create: os.mkdir}"},
        {"run": "{executor: 'subprocess.run'}"},
        {"prompt": "{use: 'plugin:Prompt'}"},
    ],
)
def test_a_recipe_imports_nothing(tmp_path, monkeypatch, marker, block) -> None:
    (tmp_path / "plugin.py").write_text(f"import os; os.mkdir({str(marker)!r})")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RecipeError):
        qaqfilter.load_recipe(recipe_for(tmp_path, **block))
    assert not marker.exists()


# --- models: no pickle is read


def test_the_payload_works(marker) -> None:
    """Otherwise the tests below would show nothing."""
    pickle.loads(pickle.dumps(Payload(marker)))
    assert marker.is_dir()


def pickled(marker: Path, path: Path, kind: str) -> None:
    if kind == "torch":
        import torch

        torch.save({"weight": Payload(marker)}, path)
    else:
        path.write_bytes(pickle.dumps(Payload(marker)))


def refused(tmp_path: Path, model: str, marker: Path) -> str:
    """The message of a run that must fail, and must not run the payload."""
    with pytest.raises(ModelError) as caught:
        qaqfilter.run(recipe_for(tmp_path, model))
    assert not marker.exists()
    assert not (tmp_path / "out").exists()
    return str(caught.value)


PICKLES = ("pytorch_model.bin", "model.pt", "model.pth", "model.ckpt", "weights.pkl")


@pytest.mark.parametrize("backend", ["transformers", "llamacpp", "reference"])
@pytest.mark.parametrize("name", PICKLES)
@pytest.mark.parametrize("whole", [True, False], ids=["folder", "file"])
def test_pickled_weights_are_refused(tmp_path, folder, marker, backend, name, whole) -> None:
    (folder / "model.safetensors").unlink()
    pickled(marker, folder / name, "torch")
    place = "model" if whole else f"model/{name}"
    said = refused(tmp_path, f"{{use: {backend}, model: {place}}}", marker)
    assert (
        "pickles can run code when they are loaded, so they are not; convert them to safetensors"
        in said
    )


@pytest.mark.parametrize("kind", ["torch", "pickle"])
@pytest.mark.parametrize(
    ("backend", "name"),
    [
        ("transformers", "model.safetensors"),
        ("reference", "model.safetensors"),
        ("transformers", "tokenizer.json"),
        ("transformers", "config.json"),
        ("llamacpp", "model.gguf"),
    ],
)
def test_a_pickle_under_another_name_is_not_read(
    tmp_path, folder, marker, backend, name, kind
) -> None:
    pickled(marker, folder / name, kind)
    place = f"model/{name}" if backend == "llamacpp" else "model"
    with pytest.raises((QaqfilterError, SafetensorError)):
        qaqfilter.run(recipe_for(tmp_path, f"{{use: {backend}, model: {place}}}"))
    assert not marker.exists()


@pytest.mark.parametrize("shard", ["evil.bin", "../evil.safetensors", "evil", "a/b.safetensors"])
def test_an_index_lists_safetensors_of_its_folder_alone(tmp_path, folder, marker, shard) -> None:
    (folder / "model.safetensors").rename(folder / "part.safetensors")
    (folder / "a").mkdir()
    pickled(marker, folder / shard, "torch")
    index = {"metadata": {}, "weight_map": {"lm_head.weight": shard, "x": "part.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    said = refused(tmp_path, "{use: transformers, model: model}", marker)
    assert f"model.safetensors.index.json lists {shard!r} as weights" in said


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("config.json", {"transformers_weights": "adapter_model.bin"}, "'adapter_model.bin' as"),
        ("config.json", {"attn_implementation": "a/b"}, "attn_implementation in config.json"),
        ("config.json", {"x": {"_attn_implementation": {"": "a/b:c"}}}, "'a/b:c', code from the"),
        ("adapter_config.json", {"base_model_name_or_path": "a/b"}, "holds an adapter"),
    ],
)
def test_other_ways_to_have_a_pickle_read_or_code_fetched(
    tmp_path, folder, marker, file, content, said
) -> None:
    pickled(marker, folder / "adapter_model.bin", "torch")
    known = json.loads((folder / file).read_bytes()) if (folder / file).exists() else {}
    (folder / file).write_text(json.dumps(known | content))
    assert said in refused(tmp_path, "{use: transformers, model: model}", marker)


# --- models: their own code only where the recipe says so

OWN = """
import os
from transformers import LlamaConfig, LlamaForCausalLM
os.makedirs({marker!r}, exist_ok=True)
class OwnConfig(LlamaConfig):
    model_type = "own_architecture"
class OwnModel(LlamaForCausalLM):
    config_class = OwnConfig
"""


def test_a_models_own_code_runs_only_where_the_recipe_says_so(tmp_path, folder, marker) -> None:
    config = json.loads((folder / "config.json").read_bytes())
    config["model_type"] = "own_architecture"
    config["auto_map"] = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text(OWN.format(marker=str(marker)))
    recipe = recipe_for(tmp_path, "{use: transformers, model: model, device: cpu}")
    # transformers copies such code below HF_HOME before it imports it.
    here = {**os.environ, "HF_HOME": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}

    done = command("run", recipe, env=here)
    assert done.returncode == ModelError.exit_code, done.stderr
    assert "to run the model's own code, write `trust_remote_code: true`" in done.stderr
    assert not marker.exists()

    done = command("run", recipe, "--set", "models.toy.trust_remote_code=true", env=here)
    assert done.returncode == 0, done.stderr
    assert marker.exists()
    assert "trust_remote_code is on; the model's own code runs" in done.stderr
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_bytes())
    assert manifest["recipe"]["models"]["toy"]["trust_remote_code"] is True
    assert manifest["models"][0]["facts"]["trust_remote_code"] is True


# --- templates


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ lipsum.__globals__['os'] }}",
        "{{ raise_exception.__globals__['json'] }}",
        "{{ strftime_now.__self__.resolution }}",
        "{{ dict.__subclasses__() }}",
        "{{ self._TemplateReference__context.environment }}",
        "{% for m in messages|map(attribute='__class__') %}{{ m.mro }}{% endfor %}",
        "{{ (''|attr('__class__')).mro }}",
        "{{ '{0.__class__.__mro__}'.format('').x.y }}",
        "{% include 'recipe.yaml' %}",
        "{% import 'os' as os %}",
        "{% extends 'recipe.yaml' %}",
        "{{ messages.append(1) }}",
        "{{ messages.clear() }}",
        "{{ messages[0].update({'content': 'x'}) }}",
        "{{ messages[0].pop('content') }}",
        "{% for i in range(10 ** 9) %}{% endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ 'x' * 10 ** 15 }}",
    ],
)
def test_a_template_cannot_leave_its_sandbox(source) -> None:
    messages = [{"role": "user", "content": "hello"}]
    with pytest.raises(PromptError, match="a model"):
        Template(source, "a model").render({"messages": messages})
    assert messages == [{"role": "user", "content": "hello"}]


def test_what_a_template_may_look_at_is_nothing_of_pythons() -> None:
    """Such a look gives an undefined value, which prints as nothing."""
    source = "{% for f in [lipsum, strftime_now, raise_exception] %}{{ f.__globals__ }}"
    source += "{{ f.__code__ }}{{ f['__globals__'] }}{{ f|attr('__class__') }}{% endfor %}"
    source += "{{ '{0.__class__}'.format(1) }}"
    assert Template(source, "a model").render({"messages": []}) == ""


def test_a_prompt_of_the_recipe_is_in_the_sandbox_too(tmp_path) -> None:
    prompt = "{use: jinja, query: '{{ query.__class__.__mro__ }}', answer: '{{ answer }}'}"
    with pytest.raises(PromptError, match="'__class__' of 'str' object is unsafe"):
        qaqfilter.run(recipe_for(tmp_path, prompt=prompt))


# --- outputs stay in the run directory

PLACES = ["../../x", "/x", "..", ".", "a/b", "C:\\x", "~/x", "manifest.json", "kept.jsonl", "x\0y"]


def tree(folder: Path) -> dict[str, bytes | str]:
    """Everything below a folder, links as what they say."""
    return {
        str(path.relative_to(folder)): (
            f"link to {path.readlink()}"
            if path.is_symlink()
            else path.read_bytes()
            if path.is_file()
            else ""
        )
        for path in sorted(folder.rglob("*"))
    }


def test_no_name_from_the_data_becomes_a_path(tmp_path, monkeypatch) -> None:
    """Ids, values that group, names of fields, and lines that are quarantined."""
    monkeypatch.setenv("QAQFILTER_STORE", str(tmp_path / "store"))
    rows = [
        {"id": place, "query": f"q {n}", "answer": f"a {n}", "kind": place, place: place}
        for n, place in enumerate(PLACES)
    ]
    lines = [json.dumps(row).encode() for row in rows] + [b"../../y"]
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "data.jsonl").write_bytes(b"\n".join(lines))
    steps = "  - {id: rmi, use: rmi, group: kind, keep: {fraction: 0.5}}\n"
    steps += "  - {id: len, use: length, of: answer, keep: {max: 0}}"
    source = "{use: jsonl, path: data.jsonl, max_errors: 1}"
    report = qaqfilter.run(recipe_for(tmp_path / "work", steps=steps, input=source))
    assert (report.read, report.rejected, report.quarantined) == (11, 10, 1)
    outside = {name.split("/")[0] for name in tree(tmp_path)}
    assert outside == {"work", "store"}
    found = {name.removeprefix("work/") for name in tree(tmp_path) if name.startswith("work/")}
    names = OUTPUTS
    assert found == {"data.jsonl", "recipe.yaml", "out", *(f"out/{name}" for name in names)}


def test_no_name_of_an_input_file_becomes_a_path(tmp_path) -> None:
    for name in ("..jsonl", "~.jsonl", "-rf.jsonl", "a\\..\\b.jsonl", "out.jsonl"):
        (tmp_path / name).write_bytes(GOOD)
    recipe = recipe_for(tmp_path, input="{use: jsonl, path: ['*.jsonl', '..jsonl']}")
    before = set(os.listdir(tmp_path))  # noqa: PTH208 - names, not paths
    report = qaqfilter.run(recipe)
    assert report.read == 5 + 2
    assert {path.name for path in tmp_path.iterdir()} - before == {"out"}


OUTPUTS = (
    "kept.jsonl",
    "rejected.jsonl",
    "quarantine.jsonl",
    "report.html",
    "scores.parquet",
    "manifest.json",
    "README.md",
)


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("dangling", [False, True])
@pytest.mark.parametrize("name", OUTPUTS)
def test_a_link_planted_for_an_output_is_not_followed(tmp_path, name, dangling, replace) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    if not dangling:
        (elsewhere / "mine").write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).symlink_to(elsewhere / "mine")
    (tmp_path / "data.jsonl").write_bytes(GOOD + b"bad\n" + GOOD)
    before = tree(elsewhere)
    source = "{use: jsonl, path: data.jsonl, max_errors: 1}"
    try:
        report = qaqfilter.run(recipe_for(tmp_path, input=source), replace=replace)
    except RunDirectoryError:
        assert not replace
    else:
        assert not any(path.is_symlink() for path in report.files.values())
        assert (tmp_path / "out" / "kept.jsonl").read_bytes() == GOOD * 2
    assert tree(elsewhere) == before


def test_a_link_planted_for_the_quarantine_of_a_failed_run(tmp_path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "quarantine.jsonl").symlink_to(tmp_path / "mine")
    (tmp_path / "data.jsonl").write_bytes(b"bad\n" + GOOD)
    with pytest.raises(qaqfilter.TooManyBadRecords):
        qaqfilter.run(recipe_for(tmp_path))
    assert (tmp_path / "mine").read_text() == "mine"
    assert not (tmp_path / "out" / "quarantine.jsonl").is_symlink()


@pytest.mark.parametrize("target", ["elsewhere", "absent"])
@pytest.mark.parametrize("name", [".partial-{pid}", ".partial-1", ".partial-x", ".lock"])
def test_a_link_planted_where_a_run_works_is_not_followed(tmp_path, name, target) -> None:
    """Names of work in progress can be guessed."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine").write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name.format(pid=os.getpid())).symlink_to(tmp_path / target)
    before = tree(tmp_path / "elsewhere")
    try:
        qaqfilter.run(recipe_for(tmp_path), replace=True)
    except RunDirectoryError as error:
        assert "cannot write to" in str(error)
    assert tree(tmp_path / "elsewhere") == before
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize(
    "files", ["../mine", "sub/../../mine", "{absolute}", "..", ".", "sub", "sub/mine", "a\0b"]
)
def test_a_planted_manifest_has_nothing_removed_elsewhere(tmp_path, files) -> None:
    out = tmp_path / "out"
    (out / "sub").mkdir(parents=True)
    for path in (tmp_path / "mine", out / "sub" / "mine"):
        path.write_text("mine")
    names = [files.format(absolute=tmp_path / "mine"), "link"]
    (out / "link").symlink_to(tmp_path / "mine")
    (out / "manifest.json").write_text(json.dumps({"files": names}))
    try:
        qaqfilter.run(recipe_for(tmp_path), replace=True)
    except RunDirectoryError as error:
        assert "cannot write to" in str(error)
    assert (tmp_path / "mine").read_text() == "mine"
    assert (out / "sub" / "mine").read_text() == "mine"


# --- the terminal


def printed(done: subprocess.CompletedProcess[str]) -> str:
    text = done.stdout + done.stderr
    assert not COMMANDS.search(text), repr(text)
    assert re.search(r"\[2J|u202e", text)  # it was printed, in a harmless form
    return text


@pytest.mark.parametrize(
    "wrong",
    [
        r'"\e[2J\u202e": 1',
        r'prompt: {use: "\e[2J"}',
        r'prompt: {use: plain, "\e[2J": 1}',
        r'prompt: "\e[2J"',
        r'"\e[2J": 1' + "\n" + r'"\e[2J": 2',
        "run: !<%1b[2J> {}",
        "run: {store: *\u202e}",
        r'run: {store: "~\e[2J"}',
        r'run: {store: false, executor: "\e[2J"}',
        r'run: {store: [], seed: "\e[2J"}',
    ],
)
def test_a_wrong_recipe_is_printed_escaped(tmp_path, wrong) -> None:
    recipe = recipe_for(tmp_path)
    recipe.write_text(f"{recipe.read_text()}{wrong}\n", encoding="utf-8")
    done = command("validate", recipe)
    assert done.returncode == RecipeError.exit_code
    printed(done)


@pytest.mark.skipif(sys.platform == "win32", reason="no such file names there")
@pytest.mark.parametrize("verb", ["validate", "run"])
def test_names_of_recipes_and_folders_are_printed_escaped(tmp_path, verb) -> None:
    folder = tmp_path / EVIL
    folder.mkdir()
    recipe = recipe_for(folder)
    done = command(verb, recipe)
    assert done.returncode == 0
    printed(done)
    assert command(verb, folder / "absent.yaml").returncode == RecipeError.exit_code
    printed(command(verb, folder / "absent.yaml"))
    printed(command(verb, recipe, "--plugin", folder / "absent.py"))
    printed(command(verb, recipe, "--set", f"{EVIL}=1"))
    printed(command(verb, recipe, "--set", f"steps.{EVIL}.x=1"))


PLUGIN = """
import logging, warnings
from qaqfilter import Component, Options, hookimpl
EVIL = "\\x1b]0;owned\\x07\\x1b[2J\\x9b31m\\u202e[red]"
class Length:
    columns = ("x",)
    def __init__(self, options): pass
    def measure(self, record):
        logging.getLogger("stranger").warning(EVIL)
        warnings.warn(EVIL)
        {end}
@hookimpl
def qaqfilter_selectors():
    yield Component("mine", Options, Length, EVIL)
"""


@pytest.mark.parametrize(
    ("end", "code"), [("return {'x': 1.0}", 0), ("raise KeyError(EVIL)", 1), ("[][0], EVIL", 1)]
)
def test_what_libraries_log_and_mistakes_are_printed_escaped(
    tmp_path, monkeypatch, end, code
) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # a narrower table folds the words that are looked for
    plugin = tmp_path / "plugin.py"
    plugin.write_text(PLUGIN.replace("{end}", end))
    steps = "  - {id: mine, use: mine, keep: {min: 0}}"
    done = command("run", recipe_for(tmp_path, steps=steps), "--plugin", plugin)
    assert done.returncode == code, done.stderr
    text = printed(done)
    assert ("is a fault of the plugin" in text) == bool(code)
    assert "Traceback" not in text  # it is the plugin's fault, and its place is named
    assert (f"(at {plugin}:" in text) == bool(code)
    assert "UserWarning" in text
    text = printed(command("plugins", "--plugin", plugin))
    assert "[red]" in text


def test_the_traceback_of_a_mistake_of_ours_is_printed_escaped(monkeypatch, capsys) -> None:
    def mistaken(**_: object) -> None:
        raise RuntimeError(EVIL)

    monkeypatch.setattr(cli, "main", mistaken)
    assert run_cli(["plugins"]) == 1
    told = capsys.readouterr()
    text = printed(subprocess.CompletedProcess([], 1, told.out, told.err))
    assert "Traceback" in text and "please report it" in text


def test_what_transformers_says_of_a_model_is_printed_escaped(tmp_path, folder) -> None:
    """It lists the weights that it did not use, by the names that the file gives them."""
    from safetensors.numpy import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    weights[EVIL] = weights["lm_head.weight"].copy()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    recipe = recipe_for(tmp_path, "{use: transformers, model: model, device: cpu}")
    done = command("run", recipe, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    assert done.returncode == 0, done.stderr
    printed(done)


# --- the network


@pytest.fixture
def contacted(monkeypatch) -> list[str]:
    """Every host that is asked for; none is reached."""
    hosts: list[str] = []

    def refuse(*arguments: object, **_options: object) -> None:
        hosts.append(
            str(arguments[-1] if isinstance(arguments[0], socket.socket) else arguments[0])
        )
        raise OSError("no network here")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    return hosts


@pytest.mark.parametrize(
    "model",
    [
        "{use: ngram}",
        "{use: transformers, model: model, device: cpu}",
        "{use: reference, model: 'builtin:weak'}",
    ],
)
def test_a_local_run_contacts_nobody(tmp_path, folder, contacted, model) -> None:
    assert qaqfilter.run(recipe_for(tmp_path, model)).read == 2
    assert contacted == []


def test_a_hub_model_contacts_the_hub_alone(tmp_path, contacted, monkeypatch) -> None:
    import huggingface_hub.constants as hub

    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path / "hub"))
    recipe = recipe_for(tmp_path, "{use: transformers, model: 'hf:nobody/nothing'}")
    qaqfilter.load_recipe(recipe)
    assert contacted == []
    with pytest.raises(ModelError, match="hf:nobody/nothing"):
        qaqfilter.run(recipe)
    assert set(contacted) == {hub.ENDPOINT.removeprefix("https://")}
