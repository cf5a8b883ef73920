"""Input from a real S3 server and a real web server on this machine, and from real pipes."""

from __future__ import annotations

import gzip
import io
import json
import os
import pty
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from fsspec.registry import _registry as known_file_systems

import qaqfilter
from outputs import visible
from qaqfilter import RecipeError, Record, SourceError
from qaqfilter.cli import run_cli
from qaqfilter.manager import load_plugins
from s3_server import S3Server, forget, s3_server

RMI = "  - {id: r, use: rmi, keep: {top: 4}}"


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as found:
        yield found


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    forget()
    yield
    forget()


def rows(name: str, count: int) -> list[dict[str, object]]:
    return [{"query": f"Q {name} {n}", "answer": f"A {n}", "n": n} for n in range(count)]


def jsonl(name: str, count: int = 40) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows(name, count))


def table(name: str, suffix: str) -> bytes:
    lines = ["query,answer,n", *(f"{r['query']},{r['answer']},{r['n']}" for r in rows(name, 40))]
    text = "".join(f"{line}\n" for line in lines).encode()
    return text.replace(b",", b"\t") if suffix.startswith(".tsv") else text


def parquet(name: str) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows(name, 40)), sink, row_group_size=7)
    return sink.getvalue().to_pybytes()


def written(name: str, suffix: str) -> bytes:
    """A file of 40 records in the format that its ending tells."""
    if suffix == ".parquet":
        return parquet(name)
    if suffix.startswith((".csv", ".tsv")):
        plain = table(name, suffix)
    elif suffix.startswith(".jsonl"):
        plain = jsonl(name)
    else:
        plain = json.dumps(rows(name, 40)).encode()
    if suffix.endswith(".gz"):
        return gzip.compress(plain)
    return zstandard.compress(plain) if suffix.endswith(".zst") else plain


def source(use: str, path: object, **options: object):
    component = load_plugins().require("source", use)
    return component.create(component.config.model_validate({"path": path, **options}))


def read(use: str, path: object) -> list[tuple[object, ...]]:
    """What a source gives, and gives again."""
    one = source(use, path)
    found = []
    for _ in range(2):
        items = list(one.read())
        assert all(isinstance(item, Record) for item in items)
        found.append(
            [(r.id, r.query, r.row, str(r.origin), r.origin, dict(r.fields)) for r in items]
        )
    assert found[0] == found[1]
    return found[0]


# --- a bucket


@pytest.mark.parametrize(
    "suffix",
    [
        ".jsonl",
        ".jsonl.zst",
        ".jsonl.gz",
        ".json",
        ".json.gz",
        ".csv",
        ".csv.zst",
        ".tsv.gz",
        ".parquet",
    ],
)
def test_a_bucket_is_read_like_a_folder(server, tmp_path, suffix):
    use = {"tsv": "csv"}.get(suffix.split(".")[1], suffix.split(".")[1])
    for name in ("b/two", "a/one", "a/three"):
        data = written(name, suffix)
        local = tmp_path / "data" / f"{name}{suffix}"
        local.parent.mkdir(parents=True, exist_ok=True)
        local.write_bytes(data)
        server.system().pipe_file(f"bucket/{suffix}/{name}{suffix}", data)
    here, there = str(tmp_path / "data"), f"s3://bucket/{suffix}"
    for pattern in (f"*/*{suffix}", f"**/*{suffix}", f"a/one{suffix}", f"a/t*{suffix}"):
        found = read(use, f"{there}/{pattern}")
        assert found == read(use, f"{here}/{pattern}")
        assert len(found) == 40 * (3 if pattern.startswith("*") else 1)
    several = [f"b/two{suffix}", f"a/*{suffix}"]
    assert read(use, [f"{there}/{p}" for p in several]) == read(
        use, [f"{here}/{p}" for p in several]
    )


@pytest.fixture
def recipe(server, write_recipe, tmp_path) -> Path:
    path = write_recipe(RMI)
    server.system().pipe_file("bucket/run/data.jsonl", (tmp_path / "data.jsonl").read_bytes())
    return path


AT = "input.path=s3://bucket/run/data.jsonl"


def test_a_run_from_a_bucket_is_a_run_from_a_file(recipe, tmp_path, capsys):
    report = qaqfilter.run(recipe, overrides=["output.path=local"])
    assert (report.kept, report.rejected) == (4, 4)
    assert run_cli(["run", str(recipe), "--set", AT]) == 0
    for name in ("kept.jsonl", "rejected.jsonl", "scores.parquet"):
        assert visible(tmp_path / "out")[name] == visible(tmp_path / "local")[name]
    capsys.readouterr()
    assert run_cli(["run", str(recipe), "--set", AT]) == 0
    assert "finished" in capsys.readouterr().err
    more = ["--set", "steps.r.keep.top=2", "--replace"]
    assert run_cli(["select", str(recipe), "--set", AT, *more]) == 0
    assert len((tmp_path / "out" / "kept.jsonl").read_bytes().splitlines()) == 2


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("s3://bucket/run/none.jsonl", "no file matches s3://bucket/run/none.jsonl"),
        ("s3://bucket/run/*.zst", r"no file matches s3://bucket/run/\*.zst"),
        ("s3://bucket/run", r"no file matches s3://bucket/run \(a folder; name the files in it"),
        ("s3://other/data.jsonl", "there is no bucket 'other', or not for these keys; keys and"),
        ("s3://other/*.jsonl", "there is no bucket 'other'"),
        ("nosuch://x/data.jsonl", "Protocol not known: nosuch"),
    ],
)
def test_what_is_not_there(recipe, tmp_path, address, message):
    with pytest.raises(SourceError, match=message):
        qaqfilter.run(recipe, overrides=[f"input.path={address}"])
    assert not (tmp_path / "out").exists()


def test_without_keys_and_without_a_server(recipe, monkeypatch, server):
    with monkeypatch.context() as patch:
        patch.setitem(fsspec.config.conf, "s3", {"endpoint_url": server.endpoint})
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.delenv(name)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_CONFIG_FILE", "/dev/null")
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        forget()
        with pytest.raises(SourceError, match=r"credentials.*AWS_ACCESS_KEY_ID"):
            qaqfilter.run(recipe, overrides=[AT])
    forget()
    server.stop()
    try:
        with pytest.raises(SourceError, match=r"s3://bucket/run/data.jsonl: .*AWS_ENDPOINT_URL"):
            qaqfilter.run(recipe, overrides=[AT])
    finally:
        server.start()


@pytest.mark.parametrize("change", ["gone", "other"])
def test_a_file_that_changes_between_two_reads(server, change):
    key = "bucket/changing/data.jsonl"
    server.system().pipe_file(key, jsonl("before"))
    one = source("jsonl", f"s3://{key}")
    assert len(list(one.read())) == 40
    if change == "gone":
        server.system().rm(key)
        with pytest.raises(SourceError, match=r"no file matches s3://bucket/changing/data.jsonl"):
            list(one.read())
    else:
        server.system().pipe_file(key, jsonl("after", 50))
        assert [r.query for r in one.read()] == [str(r["query"]) for r in rows("after", 50)]


def test_a_run_whose_input_changes_is_ended(recipe, server, monkeypatch):
    """The survey sees one file, the scoring another."""
    from qaqfilter.stream import RecordStream

    survey = RecordStream.survey

    def then_changed(self, *args):
        survey(self, *args)
        server.system().pipe_file("bucket/run/data.jsonl", jsonl("other", 8))

    monkeypatch.setattr(RecordStream, "survey", then_changed)
    with pytest.raises(SourceError, match=r"data.jsonl: the input changed while the run read it"):
        qaqfilter.run(recipe, overrides=[AT])


def test_init_from_a_bucket(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_cli(["init", "s3://bucket/run/data.jsonl", "-o", "new.yaml"]) == 0
    loaded = qaqfilter.load_recipe("new.yaml")
    assert loaded.source.options.path == "s3://bucket/run/data.jsonl"
    assert qaqfilter.run("new.yaml").read == 8


class _Hub(fsspec.AbstractFileSystem):
    """A stand-in for the hub: its paths begin with the kind of a repository, as the hub's do."""

    protocol = "hf"
    cachable = False
    held: ClassVar[dict[str, bytes]] = {}

    def ls(self, path, detail=True, **_):
        path = self._strip_protocol(path).rstrip("/")
        found = {}
        for name, data in self.held.items():
            if name == path:
                found[name] = {"name": name, "size": len(data), "type": "file"}
            elif name.startswith(f"{path}/"):
                below = name[len(path) + 1 :].partition("/")
                kind = "directory" if below[1] else "file"
                one = f"{path}/{below[0]}"
                found[one] = {"name": one, "size": 0 if below[1] else len(data), "type": kind}
        if not found:
            raise FileNotFoundError(path)
        return list(found.values()) if detail else sorted(found)

    def _open(self, path, mode="rb", **_):
        return io.BytesIO(self.held[self._strip_protocol(path)])


def test_addresses_of_the_hub(monkeypatch):
    monkeypatch.setitem(known_file_systems, "hf", _Hub)
    monkeypatch.setattr(
        _Hub,
        "held",
        {
            "datasets/org/name/data/b.parquet": parquet("b"),
            "datasets/org/name/data/a.parquet": parquet("a"),
            "datasets/org/name@main/x.jsonl": jsonl("x", 3),
        },
    )
    found = list(source("parquet", "hf://datasets/org/name/data/*.parquet").read())
    assert [r.query for r in found] == [str(r["query"]) for n in "ab" for r in rows(n, 40)]
    assert [r.origin.part for r in found][::40] == ["a.parquet", "b.parquet"]
    one = list(source("jsonl", "hf://datasets/org/name@main/x.jsonl").read())
    assert [r.origin.part for r in one] == ["x.jsonl"] * 3
    with pytest.raises(SourceError, match=r"no file matches hf://datasets/org/none/x.jsonl"):
        list(source("jsonl", "hf://datasets/org/none/x.jsonl").read())


def _large(count: int) -> bytes:
    """More than is asked for at once."""
    return jsonl("large", count) + json.dumps({"query": "Q", "answer": "A" * 20_000_000}).encode()


@pytest.mark.parametrize("change", ["stopped", "gone", "other"])
def test_what_happens_in_the_middle_of_a_file(server, monkeypatch, change):
    monkeypatch.setattr("s3fs.S3FileSystem.retries", 1)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    key = "bucket/middle/data.jsonl"
    server.system().pipe_file(key, _large(40))
    reading = source(
        "jsonl",
        f"s3://{key}",
        fields={"query": "query", "answer": "answer"},
        max_record_bytes=1 << 26,
    )
    items = reading.read()
    assert isinstance(next(items), Record)
    if change == "stopped":
        server.stop()
    elif change == "gone":
        server.system().rm(key)
    else:
        server.system().pipe_file(key, _large(41))
    try:
        with pytest.raises(SourceError, match=rf"s3://{key}: .*\(after line 40\)"):
            list(items)
    finally:
        if change == "stopped":
            server.start()


def test_a_server_without_an_answer_is_told_while_one_waits(monkeypatch, caplog):
    settings = {"key": "k", "secret": "s", "config_kwargs": {"read_timeout": 1}}
    monkeypatch.setitem(fsspec.config.conf, "s3", settings)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr("s3fs.S3FileSystem.retries", 1)
    monkeypatch.setattr("qaqfilter.remote_files._PATIENCE", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and no more
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        forget()
        with pytest.raises(SourceError, match=r"s3://bucket/x.jsonl: .*AWS_ENDPOINT_URL"):
            list(source("jsonl", "s3://bucket/x.jsonl").read())
    assert "s3://bucket/x.jsonl: no answer for 0.1 seconds; still trying" in caplog.text


# --- a web server


class Web(ThreadingHTTPServer):
    """Serves what is put into `files`; `told` counts requests by method and path."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, tuple[int, bytes, int]] = {}
        self.told: Counter[str] = Counter()
        self.seen: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Web

    def _answer(self, *, body: bool) -> None:
        path = self.path.partition("?")[0]
        self.server.told[f"{self.command} {path}"] += 1
        self.server.seen.append(self.path)
        if path == "/moved.jsonl":
            self.send_response(302)
            self.send_header("Location", "/data.jsonl")
            self.end_headers()
            return
        status, data, more = self.server.files.get(path, (404, b"", 0))
        self.send_response(status)
        self.send_header("Content-Length", str(len(data) + more))
        self.end_headers()
        if body:
            self.wfile.write(data)

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def web(tmp_path, write_recipe) -> Iterator[Web]:
    write_recipe(RMI)
    found = Web()
    thread = threading.Thread(target=found.serve_forever, daemon=True)
    thread.start()
    data = (tmp_path / "data.jsonl").read_bytes()
    found.files = {
        "/data.jsonl": (200, data, 0),
        "/short.jsonl": (200, data, 100),
        "/forbidden.jsonl": (403, b"", 0),
        "/broken.jsonl": (500, b"", 0),
    }
    yield found
    found.shutdown()
    thread.join()
    found.server_close()


def test_a_web_server_is_asked_once(web, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    at = f"input.path=http://me:secret@127.0.0.1:{web.server_port}/data.jsonl?sig=h1dd3n"
    local = qaqfilter.run(recipe, overrides=["output.path=local"])
    report = qaqfilter.run(recipe, overrides=[at])
    assert web.told["GET /data.jsonl"] == 1
    assert web.seen[-1].endswith("?sig=h1dd3n")
    assert report.kept == local.kept
    out = visible(tmp_path / "out")
    assert out["kept.jsonl"] == visible(tmp_path / "local")["kept.jsonl"]
    assert (
        zstandard.ZstdDecompressor().stream_reader(out["spool-0.zst"]).read()
        == (tmp_path / "data.jsonl").read_bytes()
    )
    for name, content in out.items():
        assert b"secret" not in content, name
        assert b"h1dd3n" not in content, name
    scores = str(pq.read_table(tmp_path / "out" / "scores.parquet").to_pylist())
    assert "secret" not in scores
    assert "h1dd3n" not in scores
    # Another selection reads the copy.
    asked = sum(web.told.values())
    again = qaqfilter.select_recipe(recipe, overrides=[at, "steps.r.keep.top=2"], replace=True)
    assert again.kept == 2
    assert sum(web.told.values()) == asked
    assert "spool-0.zst" in visible(tmp_path / "out")


def test_a_redirect_is_followed(web, tmp_path):
    report = qaqfilter.run(
        tmp_path / "recipe.yaml", overrides=[f"input.path={web.url}/moved.jsonl"]
    )
    assert report.read == 8


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.jsonl", r"none.jsonl: there is no such file \(404\), or not any more; check the"),
        (
            "forbidden.jsonl",
            r"forbidden.jsonl: the server answers 403 Forbidden; check the address",
        ),
        ("broken.jsonl", r"broken.jsonl: the server answers 500 Internal Server Error; try again"),
        ("short.jsonl", r"short.jsonl: "),
        ("*.jsonl", "a server does not list its files; name each of them"),
    ],
)
def test_what_a_web_server_refuses(web, tmp_path, name, message):
    with pytest.raises(SourceError, match=message) as caught:
        qaqfilter.run(
            tmp_path / "recipe.yaml", overrides=[f"input.path={web.url}/{name}?sig=h1dd3n"]
        )
    assert "h1dd3n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_web_server_that_is_not_there(tmp_path, write_recipe):
    recipe = write_recipe(RMI)
    with pytest.raises(SourceError, match=r"http://127.0.0.1:1/d.jsonl: .*can be reached"):
        qaqfilter.run(recipe, overrides=["input.path=http://127.0.0.1:1/d.jsonl"])


# --- standard input

QAQ = [sys.executable, "-m", "qaqfilter"]


def piped(data: bytes, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*QAQ, *arguments], input=data, cwd=cwd, capture_output=True, check=False, timeout=120
    )


def test_a_pipe_is_a_file(write_recipe, tmp_path):
    recipe = write_recipe(RMI)
    qaqfilter.run(recipe, overrides=["output.path=local"])
    wanted = visible(tmp_path / "local")["kept.jsonl"]
    plain = (tmp_path / "data.jsonl").read_bytes()
    command = ["run", "recipe.yaml", "--set", "input.path=-"]
    for data in (plain, gzip.compress(plain), zstandard.compress(plain)):
        done = piped(data, *command, "--replace", cwd=tmp_path)
        assert done.returncode == 0, done.stderr.decode()
        assert visible(tmp_path / "out")["kept.jsonl"] == wanted
    # The same again is finished; something else in the pipe is another input.
    done = piped(plain, *command, cwd=tmp_path)
    assert done.returncode == 0
    assert visible(tmp_path / "out")["kept.jsonl"] == wanted
    done = piped(plain + jsonl("more", 2), *command, "--replace", cwd=tmp_path)
    assert b"read 10 = " in done.stdout
    # No pipe is needed for another selection.
    done = piped(
        b"", "select", *command[1:], "--replace", "--set", "steps.r.keep.top=1", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr.decode()
    assert len(visible(tmp_path / "out")["kept.jsonl"].splitlines()) == 1


@pytest.mark.parametrize("suffix", [".csv", ".json", ".parquet", ".csv.gz"])
def test_other_formats_in_a_pipe(tmp_path, write_recipe, suffix):
    recipe = write_recipe("  - {id: l, use: length, keep: {min: 1}}")
    use = suffix.split(".")[1]
    text = recipe.read_text().replace(
        "{use: jsonl, path: data.jsonl}", f'{{use: {use}, path: "-"}}'
    )
    recipe.write_text(text.replace("{use: jsonl, path: out}", f"{{use: {use}, path: out}}"))
    done = piped(written("x", suffix), "run", "recipe.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    assert b"read 40 = kept 40" in done.stdout


def test_in_and_out_in_one_pipe(write_recipe, tmp_path):
    write_recipe(RMI)
    both = ["--set", "input.path=-", "--set", "output.path=-"]
    done = piped((tmp_path / "data.jsonl").read_bytes(), "run", "recipe.yaml", *both, cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    assert len(done.stdout.splitlines()) == 4
    assert not (tmp_path / "out").exists()


def test_who_reads_the_output_may_stop(write_recipe, tmp_path):
    write_recipe("  - {id: l, use: length, keep: {min: 1}}")
    (tmp_path / "many.jsonl").write_bytes(jsonl("many", 20_000))
    python = shlex.quote(sys.executable)
    command = (
        f"cat many.jsonl | {python} -m qaqfilter run recipe.yaml "
        "--set input.path=- --set output.path=- | head -1"
    )
    done = subprocess.run(
        command, shell=True, cwd=tmp_path, capture_output=True, check=False, timeout=120
    )
    assert json.loads(done.stdout)["n"] == 0
    assert b"Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_other_input_in_the_pipe_is_no_finished_run(write_recipe, tmp_path):
    write_recipe(RMI)
    command = ["run", "recipe.yaml", "--set", "input.path=-"]
    data = (tmp_path / "data.jsonl").read_bytes()
    assert piped(data, *command, cwd=tmp_path).returncode == 0
    before = visible(tmp_path / "out")
    done = piped(data + jsonl("more", 2), *command, cwd=tmp_path)
    assert done.returncode == 1
    assert b"stdin changed (8 records then, 10 now)" in done.stderr
    assert visible(tmp_path / "out") == before


def test_preview_and_plan_of_a_pipe(write_recipe, tmp_path):
    write_recipe(RMI)
    data = (tmp_path / "data.jsonl").read_bytes()
    for command in (["preview", "recipe.yaml", "-n", "3"], ["plan", "recipe.yaml"]):
        done = piped(data, *command, "--set", "input.path=-", cwd=tmp_path)
        assert done.returncode == 0, done.stderr.decode()
    assert not (tmp_path / "out").exists()


def test_validate_reads_no_pipe(write_recipe, tmp_path):
    write_recipe(RMI)
    reader, writer = os.pipe()  # nobody ever writes: whoever reads waits for ever
    try:
        done = subprocess.run(
            [*QAQ, "validate", "recipe.yaml", "--set", "input.path=-"],
            cwd=tmp_path,
            stdin=reader,
            capture_output=True,
            check=False,
            timeout=60,
        )
    finally:
        os.close(reader)
        os.close(writer)
    assert done.returncode == 0


def test_a_terminal_is_no_input(write_recipe, tmp_path):
    write_recipe(RMI)
    terminal, end = pty.openpty()
    try:
        done = subprocess.run(
            [*QAQ, "run", "recipe.yaml", "--set", "input.path=-"],
            cwd=tmp_path,
            stdin=end,
            capture_output=True,
            check=False,
            timeout=60,
        )
    finally:
        os.close(terminal)
        os.close(end)
    assert done.returncode == 1
    assert b"which is a terminal here: pipe data into it" in done.stderr
    assert not (tmp_path / "out" / "kept.jsonl").exists()


def test_a_killed_run_leaves_no_copy_in_the_way(write_recipe, tmp_path):
    write_recipe(RMI)
    data = (tmp_path / "data.jsonl").read_bytes()
    command = [*QAQ, "run", "recipe.yaml", "--set", "input.path=-"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdin is not None
    process.stdin.write(jsonl("many", 60_000))  # more than is read at once, and less than all
    process.stdin.flush()
    deadline = time.monotonic() + 60
    while not [*tmp_path.glob("out/.partial/spool-*")] and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdin.close()
    assert [*tmp_path.glob("out/.partial/spool-*")]
    done = piped(data[: len(data) // 2].rpartition(b"\n")[0] + b"\n", *command[3:], cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    assert not (tmp_path / "out" / ".partial").exists()
    assert set(visible(tmp_path / "out")) >= {"kept.jsonl", "spool-0.zst"}


def test_standard_input_is_not_for_init(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run_cli(["init", "-"]) == 2
    assert "save it to a file first" in capsys.readouterr().err


def test_what_is_read_at_an_address_is_not_written_there(recipe):
    for scheme in ("s3", "s3a"):
        with pytest.raises(RecipeError, match="own files in output"):
            qaqfilter.load_recipe(
                recipe,
                overrides=[f"input.path={scheme}://bucket/o/*.jsonl", "output.path=s3://bucket/o"],
            )
