"""Against a server process on loopback whose numbers are the reference backend's."""

import json
import logging
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from loopback_server import reference
from pydantic import ValidationError
from qaqfilter_completions import CompletionsOptions
from qaqfilter_completions.backend import CompletionsBackend

import qaqfilter
from qaqfilter import BackendError, ModelError, TokenSequence
from qaqfilter.testing import BackendContract

HERE = Path(__file__).parent
TEXTS = ("def add(a, b):\n    return a + b", "é, ∑, 漢字 <|end|> [INST] <b>", " x ", "7" * 300)
KEY, ITS_SERVER = "QAQFILTER_COMPLETIONS_KEY", "QAQFILTER_COMPLETIONS_SERVER"


@pytest.fixture(scope="session")
def server():
    """The address of a server that runs in a process of its own."""
    with started() as (_, url):
        yield url


class started:  # noqa: N801 - reads as what it does
    def __enter__(self):
        command = [sys.executable, str(HERE / "loopback_server.py")]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        port = self.process.stdout.readline().strip()
        assert port, "the server did not start"
        return self.process, f"http://127.0.0.1:{port}"

    def __exit__(self, *error):
        self.process.kill()
        self.process.communicate()


@pytest.fixture(scope="session")
def exact():
    """What the numbers have to be."""
    backend = reference()
    yield backend
    backend.close()


@pytest.fixture
def opened(server):
    """Opens a backend at the server in some mood; closes all of them."""
    made = []

    def opened(mood="good", **options):
        made.append(CompletionsBackend(CompletionsOptions(url=f"{server}/{mood}", **options)))
        return made[-1]

    yield opened
    for backend in made:
        backend.close()


def log(server, mood):
    """The requests that the server got in that mood."""
    with urllib.request.urlopen(f"{server}/log") as answer:
        return [one for one in json.load(answer) if one["path"].startswith(f"/{mood}/")]


def sequences(backend):
    found = []
    for text in TEXTS:
        ids = (backend.start_token, *backend.encode(text, markup=False))
        end = len(ids)
        spans = ((1, end), (end // 2, end), (1, 1), (end - 1, end))
        found.append(TokenSequence(ids, spans))
    return [*found, TokenSequence((0,), ()), TokenSequence((0, 5, 6), ((1, 2),))]


def assert_equal(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert len(one) == len(other)
        for got, right in zip(one, other, strict=True):
            assert got.dtype == np.float64
            np.testing.assert_allclose(got, right, rtol=0, atol=1e-6)


class TestContract(BackendContract):
    tolerance = 0.0

    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls, server):
        backend = CompletionsBackend(CompletionsOptions(url=server + "/good"))
        yield backend
        backend.close()

    @pytest.fixture(scope="class")
    @classmethod
    def other_backends(cls, server):
        other = CompletionsBackend(CompletionsOptions(url=server + "/another-model"))
        yield [other]
        other.close()


# --- numbers ----------------------------------------------------------------------------


@pytest.mark.parametrize("mood", ["good", "backwards", "not-generated", "busy", "hangs-up"])
@pytest.mark.parametrize("prompts", [1, 4, 32])
def test_numbers_are_those_of_the_model(opened, exact, mood, prompts):
    backend = opened(mood, prompts=prompts)
    asked = sequences(exact)
    assert_equal(backend.logprobs(asked), exact.logprobs(asked))


def test_what_a_request_says(opened, server):
    backend = opened("asked", prompts=2)
    asked = [
        TokenSequence((0, 5, 6, 7, 8), ((1, 2), (2, 4))),
        TokenSequence((0, 9), ()),
        TokenSequence((0, 9), ((1, 2),)),
        TokenSequence((0, 3, 4), ((2, 3),)),
    ]
    backend.logprobs(asked)
    bodies = [one["body"] for one in log(server, "asked") if one["path"].endswith("completions")]
    # What follows the last span is not sent, nor is what has no span.
    assert [body.pop("prompt") for body in bodies] == [[[0, 5, 6, 7], [0, 9]], [[0, 3, 4]]]
    assert bodies[0] == {
        "model": "weak",
        "echo": True,
        "logprobs": 1,
        "max_tokens": 1,
        "return_tokens_as_token_ids": True,
        "add_special_tokens": False,
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": -1,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
    }


def test_a_probability_of_zero_is_null(opened):
    (found,) = opened("impossible").logprobs([TokenSequence((0, 5, 6), ((1, 3),))])
    assert np.isnan(found[0]).tolist() == [True, False]


@pytest.mark.parametrize(
    ("mood", "said"),
    [
        ("generated-only", "no log-probabilities of the prompt"),
        ("no-logprobs", "no log-probabilities of the prompt"),
        ("shifted", "one off"),
        ("adds-bos", "does it add a start token"),
        ("drops-bos", "sent token 0 at position 0"),
        ("words", "it has to tell ids"),
        ("hole", "has no number"),
        ("loses-one", "1 answers to 2 prompts"),
        ("text-only", "answered HTTP 500: 4 validation errors: valid string"),
        ("always-busy", "failed 7 times in a row, at last with HTTP 503"),
    ],
)
def test_numbers_that_cannot_be_trusted_are_refused(opened, server, mood, said):
    backend = opened(mood)
    with pytest.raises(BackendError, match=said) as caught:
        backend.logprobs([TokenSequence((0, 5, 6, 7), ((1, 4),)), TokenSequence((0, 8), ((1, 2),))])
    assert server in str(caught.value)


def test_too_long_is_refused_before_it_is_sent(opened, server):
    backend = opened("long")
    with pytest.raises(BackendError, match="1025 tokens; at most 1024 fit"):
        backend.logprobs([TokenSequence((0,) * 1025, ((1, 2),))])
    assert not [one for one in log(server, "long") if one["path"].endswith("completions")]


# --- text to ids ------------------------------------------------------------------------


def test_ids_are_those_of_the_tokenizer(opened, exact):
    backend = opened()
    assert (backend.start_token, backend.adds_start, backend.max_length) == (0, True, 1024)
    for text in (TEXTS[0], "", "é, ∑, 漢字", " x ", "a\n\n  b", "if a < b > c[i]: [TODO x]"):
        assert backend.encode(text, markup=False) == exact.encode(text, markup=False)
        assert backend.encode(text, markup=True) == exact.encode(text, markup=True)


@pytest.mark.parametrize("text", ["<|end|>", "a <|begin|><|end|> b", "<<|end|>>", "<|end|><|end|>"])
def test_special_tokens_come_of_markup_alone(opened, exact, text):
    backend = opened()
    assert {0, 1} & set(backend.encode(text, markup=True))
    ids = backend.encode(text, markup=False)
    assert not {0, 1} & set(ids)
    assert exact._tokenizer.decode(ids, skip_special_tokens=False) == text


def test_a_batch_of_texts(opened, exact):
    backend = opened()
    texts = [f"{text} {n}" for n in range(20) for text in TEXTS[::2]]
    found = backend.encode_batch(texts, markup=False)
    assert found == [exact.encode(text, markup=False) for text in texts]


def test_a_model_without_a_start_token_needs_one_named(opened):
    with pytest.raises(ModelError, match="start_token"):
        opened("no-bos")
    backend = opened("no-bos", start_token="<|end|>")
    assert (backend.start_token, backend.adds_start) == (1, False)
    assert opened("good", start_token="<|end|>").start_token == 1
    for mood in ("good", "no-bos"):
        with pytest.raises(ModelError, match="start_token 'a b' is 2 tokens"):
            opened(mood, start_token="a b")


# --- the server -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mood", "options", "said"),
    [
        ("two-models", {}, "several models; name one as `model`: weak, other"),
        ("good", {"model": "strong"}, "no model 'strong'; it has: weak"),
        ("no-tokenize", {}, "has no /tokenize"),
        ("spaces", {}, "a space before every text"),
        ("a-page", {}, "does not answer in JSON.*is this a completions server"),
        ("elsewhere", {}, "is somewhere else"),
        ("key", {}, "wants a key"),
    ],
)
def test_a_server_that_cannot_be_used(opened, mood, options, said):
    with pytest.raises(qaqfilter.QaqfilterError, match=said):
        opened(mood, **options)


def test_nobody_there():
    with started() as (process, url):
        process.kill()
        process.wait()
        with pytest.raises(BackendError, match=r"cannot be reached.*is the server running"):
            CompletionsBackend(CompletionsOptions(url=url))


def test_a_server_that_goes_away():
    with started() as (process, url):
        backend = CompletionsBackend(CompletionsOptions(url=url + "/good", retries=0))
        process.kill()
        process.wait()
        with pytest.raises(BackendError, match=r"failed 1 time in a row.*score store"):
            backend.logprobs([TokenSequence((0, 5), ((1, 2),))])
        backend.close()


def test_a_server_that_is_silent(opened):
    backend = opened("slow", timeout=0.5)
    with pytest.raises(BackendError, match=r"no answer within 0\.5 s"):
        backend.logprobs([TokenSequence((0, 5), ((1, 2),))])


def test_a_busy_server_is_asked_again(opened, caplog):
    with caplog.at_level(logging.WARNING, "qaqfilter_completions"):
        opened("busy").logprobs([TokenSequence((0, 5), ((1, 2),))])
    assert {record.getMessage().split(": ")[1] for record in caplog.records} == {
        "HTTP 429; again in 0.0 s",
        "HTTP 503; again in 0.0 s",
    }


def test_waits_grow_where_the_server_names_none(opened, monkeypatch):
    waits = []
    monkeypatch.setattr("qaqfilter_completions.server.time.sleep", waits.append)
    with pytest.raises(BackendError, match="failed 10 times"):
        opened("overrun", retries=9).logprobs([TokenSequence((0, 5), ((1, 2),))])
    assert waits == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]


def test_a_line_that_was_dropped_between_requests_is_no_failure(opened, exact, caplog):
    backend = opened("hangs-up", retries=0, prompts=1)
    asked = sequences(exact)
    assert_equal(backend.logprobs(asked), exact.logprobs(asked))
    assert not caplog.records


def test_facts(opened, server):
    facts = opened(revision="q8").facts
    assert facts == {
        "backend": "completions",
        "server": server + "/good",
        "model": "weak",
        "root": "/models/weak",
        "revision": "q8",
        "version": "0.0-loopback",
        "max_length": 1024,
        "start_token": 0,
    }
    assert opened("no-version").facts["version"] is None


@pytest.mark.parametrize(
    "url",
    ["localhost:8000", "ftp://h", "http://me:secret@h", "http://h/?key=1", "http://h:x", "http://"],
)
def test_addresses_that_are_refused(url):
    with pytest.raises(ValidationError) as caught:
        CompletionsOptions(url=url)
    assert caught.value.errors()[0]["type"] == "value_error"


def test_what_clients_call_the_base_url_is_taken_too():
    assert CompletionsOptions(url="https://h/a/v1/").url == "https://h/a"


# --- the key ----------------------------------------------------------------------------


def test_the_key_goes_to_its_server_alone(opened, server, monkeypatch):
    monkeypatch.setenv(KEY, "sesame")
    monkeypatch.setenv(ITS_SERVER, server)
    opened("key")
    assert {one["key"] for one in log(server, "key")} == {None, "Bearer sesame"}
    monkeypatch.setenv(ITS_SERVER, "http://127.0.0.1:1")
    opened("stranger")
    assert {one["key"] for one in log(server, "stranger")} == {None}
    monkeypatch.delenv(ITS_SERVER)
    with pytest.raises(ModelError, match=ITS_SERVER):
        opened("key")


def test_a_wrong_key_is_not_told(opened, server, monkeypatch):
    monkeypatch.setenv(KEY, "wrong-secret")
    monkeypatch.setenv(ITS_SERVER, server)
    with pytest.raises(BackendError, match="refuses the key") as caught:
        opened("key")
    assert "wrong-secret" not in str(caught.value)


# --- a run ------------------------------------------------------------------------------


def test_the_recipe_gives_what_the_model_at_home_gives(server, tmp_path, monkeypatch):
    monkeypatch.setenv(KEY, "sesame")
    monkeypatch.setenv(ITS_SERVER, server)
    text = (HERE.parent / "recipe.yaml").read_text()
    (tmp_path / "data.jsonl").write_bytes((HERE.parent / "data.jsonl").read_bytes())
    text = text.replace("http://127.0.0.1:8000", server + "/key")
    assert '    start_token: "<|endoftext|>"\n' in text
    (tmp_path / "there.yaml").write_text(text.replace('    start_token: "<|endoftext|>"\n', ""))
    before, _, after = text.partition("models:")
    home = 'models: {strong: {use: reference, model: "builtin:weak"}}\nsteps:'
    home += after.partition("steps:")[2].replace("path: out", "path: home")
    (tmp_path / "here.yaml").write_text(before + home)
    there, here = (
        qaqfilter.run(tmp_path / name, observer=qaqfilter.Silent())
        for name in ("there.yaml", "here.yaml")
    )
    assert there.steps[0].rejected == here.steps[0].rejected == {"fraction": 4, "empty_answer": 1}
    columns = [pq.read_table(tmp_path / f / "scores.parquet").to_pydict() for f in ("out", "home")]
    numbers = [name for name in columns[1] if name.startswith(("strong.", "gain."))]
    assert "gain.pmi" in numbers
    assert columns[0]["id"] == columns[1]["id"]
    plain = [n for n, one in enumerate(columns[0]["id"]) if one != "special"]  # see the README
    for name in numbers:
        one, other = (np.array(c[name], dtype=object)[plain] for c in columns)
        assert [v is None for v in one] == [v is None for v in other]
        both = [(a, b) for a, b in zip(one, other, strict=True) if isinstance(b, float)]
        assert all(a == pytest.approx(b, abs=1e-6) for a, b in both)
    for file in (tmp_path / "out").rglob("*"):
        assert b"sesame" not in file.read_bytes()
