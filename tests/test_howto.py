"""What the how-to pages promise and a page alone cannot show: processes, servers, trainers."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from ruamel.yaml import YAML

import qaqfilter
from outputs import visible
from test_docs import COMMAND, PAGES, ROOT, Block, blocks, links

DOCS = ROOT / "docs"


def blocks_of(page: str) -> list[Block]:
    return list(blocks((DOCS / page).read_text(encoding="utf-8"), page))


def write_files(page: str, folder: Path) -> None:
    """The files that a page has its reader save."""
    for block in blocks_of(page):
        if "file" in block.told:
            (folder / block.told["file"]).write_text(block.text, encoding="utf-8")


def keep_answered(folder: Path, data: str, out: str, sink: str = "jsonl") -> Path:
    """Run a recipe that keeps what has an answer; the run directory."""
    recipe = folder / f"{out}.yaml"
    recipe.write_text(
        "version: 1\nname: x\n"
        f"input: {{use: {data.rpartition('.')[2]}, path: {data}, turns: all}}\n"
        "steps: [{id: sane, use: length, of: answer, keep: {min: 1}}]\n"
        f"output: {{use: {sink}, path: {out}}}\n",
        encoding="utf-8",
    )
    assert qaqfilter.run(recipe).kept > 0
    return folder / out


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_index_leads_to_every_page() -> None:
    """To those in a folder of their own by that folder's index."""
    for folder in {page.parent for page in PAGES if page.name != "README.md"}:
        index = (folder / "index.md").read_text(encoding="utf-8")
        linked = {address for _, address in links(index)}
        assert {page.name for page in folder.glob("*.md")} - {"index.md"} <= linked


# --- trainers -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """File, as the pages' settings name it -> its rows, after a run over the pages' data."""
    folder = tmp_path_factory.mktemp("trainers")
    write_files("howto-trainers.md", folder)
    write_files("howto-sharegpt.md", folder)
    pairs = [{"query": "Halve a.", "answer": "a / 2"}, {"query": "And b?", "answer": ""}]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs))
    found = {}
    for name in ("messages", "alpaca", "pairs"):
        out = keep_answered(folder, f"{name}.jsonl", f"kept-{name}")
        rows = read_jsonl(out / "kept.jsonl")
        # As it came in, with every field: what the pages' advice rests on.
        assert rows == read_jsonl(folder / f"{name}.jsonl")[: len(rows)]
        found[f"{out.name}/kept.jsonl"] = rows
    out = keep_answered(folder, "data.json", "kept-sharegpt", "json")
    found[f"{out.name}/kept.json"] = json.loads((out / "kept.json").read_text(encoding="utf-8"))
    return found


def test_dataset_info_names_what_is_in_the_kept_files(kept) -> None:
    (block,) = [
        b for b in blocks_of("howto-trainers.md") if b.told.get("file") == "dataset_info.json"
    ]
    info = json.loads(block.text)
    assert len(info) == 3
    for entry in info.values():
        columns, tags = entry["columns"], entry.get("tags", {})
        for row in kept[entry["file_name"]]:
            assert set(columns.values()) <= set(row)
            if entry.get("formatting") != "sharegpt":
                continue
            role, content = tags.get("role_tag", "from"), tags.get("content_tag", "value")
            for turn in row[columns["messages"]]:
                assert {role, content} <= set(turn)
        if tags:
            roles = {turn[role] for row in kept[entry["file_name"]] for turn in row["messages"]}
            assert roles <= set(tags.values())


def test_axolotl_entries_name_what_is_in_the_kept_files(kept) -> None:
    (block,) = [b for b in blocks_of("howto-trainers.md") if b.language == "yaml"]
    entries = YAML(typ="safe").load(block.text)["datasets"]
    assert len(entries) == 4
    for entry in entries:
        kind = entry["type"]
        for row in kept[entry["path"]]:
            if kind == "alpaca":
                assert {"instruction", "output"} <= set(row)
            elif kind == "chat_template":
                names = entry.get(
                    "message_property_mappings", {"role": "role", "content": "content"}
                )
                for turn in row[entry.get("field_messages", "messages")]:
                    assert set(names.values()) <= set(turn)
            else:
                assert {kind["field_instruction"], kind["field_output"]} <= set(row)


# --- several processes on one store ------------------------------------------------------------


def test_two_processes_score_and_a_third_computes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files("howto-gpus.md", tmp_path)
    recipe = tmp_path / "recipe.yaml"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen(
            [
                *(*COMMAND, "score", str(recipe), "--all"),
                *("--set", f"input.path={part}.jsonl", "--set", f"output.path={part}"),
            ],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for part in ("part-00", "part-01")
    ]
    for process in running:
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said

    qaqfilter.run(recipe)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))
    assert [model["cost"]["computed"] for model in manifest["models"]] == [0, 0]
    assert [model["cost"]["stored"] > 0 for model in manifest["models"]] == [True, True]

    qaqfilter.run(recipe, overrides=["output.path=whole", "run.store=false"])
    parts, whole = visible(tmp_path / "out"), visible(tmp_path / "whole")
    for name in ("kept.jsonl", "rejected.jsonl", "scores.parquet"):
        assert parts[name] == whole[name], name


# --- a hub that refuses ------------------------------------------------------------------------


class Refusing(BaseHTTPRequestHandler):
    """A hub that has nothing for anybody; it remembers who asked."""

    asked: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        self.asked.append(self.headers["Authorization"])
        gated = "org/gated" in self.path
        self.send_response(403 if gated else 401)
        self.send_header("X-Error-Code", "GatedRepo" if gated else "RepoNotFound")
        self.send_header("X-Error-Message", "refused by the test")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:
        """Not into the tests' output."""


@pytest.fixture
def hub() -> Iterator[str]:
    """The address of a refusing hub."""
    Refusing.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("name", ["org/gated", "org/private"])
def test_what_a_hub_refuses_is_told_as_the_page_shows(hub: str, name: str, tmp_path: Path) -> None:
    (shown,) = [
        line.removesuffix("…")
        for block in blocks_of("howto-offline.md")
        for line in block.text.splitlines()
        if line.startswith("error:") and f"hf:{name}:" in line
    ]
    write_files("howto-offline.md", tmp_path)
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub,
        "HF_HOME": str(tmp_path / "hub"),
        "HF_TOKEN": "hf_of_the_test",
        "HF_HUB_OFFLINE": "0",
        "NO_PROXY": "127.0.0.1",
    }
    done = subprocess.run(
        [*COMMAND, "run", str(tmp_path / "recipe.yaml"), "--set", f"models.strong.model=hf:{name}"],
        check=False,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1
    assert shown in done.stderr
    assert "hf_of_the_test" not in done.stdout + done.stderr
    # The page says that the token goes to the mirror.
    assert "Bearer hf_of_the_test" in Refusing.asked
