"""Whatever the bytes: a recipe is read or refused, and every record of a run is accounted for."""

from __future__ import annotations

import gzip
import io
import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import qaqfilter
from qaqfilter import QaqfilterError, RecipeError
from qaqfilter.recipe import load_recipe

EXAMPLES = [
    path.read_bytes() for path in sorted((Path(__file__).parent.parent / "examples").glob("*.yaml"))
]
SAME_EACH_TIME = settings(derandomize=True, database=None, suppress_health_check=list(HealthCheck))

# --- recipes


def read_or_refused(path: Path, data: bytes, manager) -> bool:
    """Whether `data` are a recipe. Any other error than RecipeError ends the test."""
    path.write_bytes(data)
    try:
        recipe = load_recipe(path, manager)
    except RecipeError as error:
        assert error.problems
        assert all(error.problems)
        return False
    # What was accepted can be written out, and is the same recipe when it is read again.
    written = json.dumps(recipe.resolved(), default=str)
    path.write_text(written.replace("NaN", ".nan").replace("Infinity", ".inf"))
    assert load_recipe(path, manager).resolved() == recipe.resolved()
    return True


@pytest.fixture(scope="module")
def recipe_path(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("recipes") / "recipe.yaml"


@settings(SAME_EACH_TIME, max_examples=150)
@given(
    st.binary(max_size=300) | st.text(max_size=200).map(lambda text: text.encode(errors="replace"))
)
@example(b"\xef\xbb\xbfversion: 1")
@example(b"")
@example(b"\x00")
@example(b"version: 1\x85name: [\r: ${A}")
def test_any_bytes_as_a_recipe(recipe_path, manager, data) -> None:
    assert not read_or_refused(recipe_path, data, manager)


WORDS = [
    *("{", "}", "[", "]", ": ", "- ", "\n", '"', "'", "&a ", "*a", "!!x ", "<<: ", "?", "|", "#"),
    *("~", "null", "true", "-1", "0", "5000", "1e999", "0x1", "9" * 30, ".nan", "-.inf", "1.5"),
    *('"\\0"', '"\\ud800"', '"\\e[2J"', '"${HOME}"', '"${NOT_SET}"', "~x/", "**", "..", "[a"),
    *("hf:", "x:y", "2001-01-01", "[]", "{}", '""', "use: ", "path: ", "rank: [1, 0]", "\t", "é"),
    *(
        "\ufeff",
        "\u2028",
        "\x85",
        "keep: ",
        "top: 0",
        "steps: ",
        "plain",
        "jinja",
        "ngram",
        "length",
    ),
]


@st.composite
def spoilt_recipes(draw) -> bytes:
    """An example with a few edits: cuts, doubled lines, other values, bytes of all kinds."""
    data = draw(st.sampled_from(EXAMPLES))
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, len(data)))
        word = draw(st.sampled_from(WORDS)).encode()
        match draw(st.sampled_from(["insert", "replace", "cut", "value", "line", "byte"])):
            case "insert":
                data = data[:at] + word + data[at:]
            case "replace":
                data = data[:at] + word + data[at + len(word) :]
            case "cut":
                data = data[:at] + data[at + draw(st.integers(1, 30)) :]
            case "byte":
                data = data[:at] + draw(st.binary(min_size=1, max_size=2)) + data[at + 1 :]
            case edit:
                lines = data.split(b"\n")
                row = at % len(lines)
                if edit == "line":
                    lines.insert(draw(st.integers(0, len(lines))), lines[row])
                else:
                    lines[row] = lines[row].rpartition(b": ")[0] + b": " + word
                data = b"\n".join(lines)
    return data


@settings(SAME_EACH_TIME, max_examples=400)
@given(spoilt_recipes())
def test_a_spoilt_recipe_is_read_or_refused(recipe_path, manager, data) -> None:
    read_or_refused(recipe_path, data, manager)


@pytest.mark.parametrize("data", EXAMPLES)
def test_the_examples_are_recipes(recipe_path, manager, data) -> None:
    """Otherwise all that is said above is said of nothing."""
    assert read_or_refused(recipe_path, data, manager)


# --- runs

STEPS = """\
  - {id: len, use: length, of: answer, keep: {min: 2}}
  - {id: rand, use: random, keep: {fraction: 0.8}}
  - {id: rmi, use: rmi, keep: {fraction: 0.7}}
"""
PAIR = st.builds(
    lambda query, answer, space: (
        f'{{"query":{json.dumps(query)},{space}"answer":{json.dumps(answer)}}}'.encode()
    ),
    st.text(max_size=12),
    st.text(max_size=12),
    st.sampled_from(["", " ", "\t"]),
)
BROKEN_LINES = [
    b"not json",
    b'{"query": "Q"}',
    b"\xff",
    b"[]",
    b"{",
    b'{"query": "Q", "answer": 1}',
    b"null",
]
BROKEN = st.sampled_from(BROKEN_LINES)
BLANK = st.sampled_from([b"", b"  ", b"\t"])
LINE = st.one_of(PAIR, PAIR, PAIR, PAIR, BROKEN, BLANK)
BAD = set(BROKEN_LINES)


@dataclass(frozen=True)
class File:
    """A file, and what should be found in it."""

    suffix: str
    data: bytes
    whole: bytes  # what was packed
    records: int
    broken: int
    cut: bool


@st.composite
def files(draw) -> File:
    found = draw(st.lists(LINE, max_size=14))
    ends = st.sampled_from([b"\n", b"\n", b"\r\n"])
    whole = draw(st.sampled_from([b"", b"", b"\xef\xbb\xbf"]))
    whole += b"".join(line + draw(ends) for line in found)
    if draw(st.booleans()):
        whole = whole.removesuffix(b"\n")
    suffix = draw(st.sampled_from(["", ".gz", ".zst"]))
    pack = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}[suffix]
    data = pack(whole)
    most = len(data)
    # At least a byte is left: an empty file is a whole one, with nothing in it.
    size = draw(st.just(most) | st.just(most) | st.integers(1, most)) if suffix else most
    records, broken = sum(bool(line.strip()) for line in found), sum(line in BAD for line in found)
    return File(suffix, data[:size], whole, records, broken, size < most)


@settings(SAME_EACH_TIME, max_examples=120)
@given(
    file=files(),
    on_error=st.sampled_from(["quarantine", "skip", "fail"]),
    most=st.sampled_from(["0", "0.3", "0.99", "1", "4", "1000", "1000"]),
)
def test_every_record_is_accounted_for(tmp_path_factory, file, on_error, most) -> None:
    folder = tmp_path_factory.mktemp("run")
    (folder / f"data.jsonl{file.suffix}").write_bytes(file.data)
    recipe = folder / "recipe.yaml"
    source = f"path: data.jsonl{file.suffix}, on_error: {on_error}, max_errors: {most}"
    recipe.write_text(
        f"version: 1\nname: any\ninput: {{use: jsonl, {source}}}\nmodels: {{toy: {{use: ngram}}}}\n"
        f"steps:\n{STEPS}output: {{use: jsonl, path: out}}\n"
    )
    out = folder / "out"
    try:
        report = qaqfilter.run(recipe)
    except QaqfilterError as error:
        assert str(error)
        assert file.broken or file.cut
        assert not out.exists() or [path.name for path in out.iterdir()] == ["quarantine.jsonl"]
        return
    assert report.read == report.kept + report.rejected + report.quarantined
    assert report.quarantined == 0 or on_error != "fail"
    if not file.cut:
        assert (report.read, report.quarantined) == (file.records, file.broken)
    written = {name: rows_of(out / f"{name}.jsonl") for name in ("kept", "rejected", "quarantine")}
    assert len(written["kept"]) == report.kept
    assert len(written["rejected"]) == report.rejected
    assert len(written["quarantine"]) == report.quarantined * (on_error == "quarantine")
    # To the byte and in order; a line end is added where a row without one has another behind it.
    rest = iter(lines_of(file.whole))
    for row in written["kept"]:
        assert any(row in (line, line + b"\n") for line in rest), row


def lines_of(data: bytes) -> list[bytes]:
    return list(io.BytesIO(data))


def rows_of(path: Path) -> list[bytes]:
    return lines_of(path.read_bytes()) if path.exists() else []
