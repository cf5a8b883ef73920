"""`builtin:strong` and `builtin:weak`: as files, as GGUF, and as models that know something."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import qaqfilter_embedded
from qaqfilter import ModelError, TokenSequence
from qaqfilter.manager import load_plugins
from qaqfilter.testing import BackendContract
from qaqfilter_docstrings.source import Docstrings, DocstringsOptions
from qaqfilter_embedded.locator import EmbeddedLocator
from qaqfilter_reference import ReferenceOptions
from qaqfilter_reference.backend import ReferenceBackend

SHIPPED = Path(qaqfilter_embedded.__file__).parent


class Here:
    """Resources without a run."""

    def model_files(self, location, revision=None):
        return load_plugins().locate(location, revision)

    def records(self):
        return iter(())


def reference(model, precision="float32"):
    options = ReferenceOptions.model_validate({"model": model, "precision": precision})
    return ReferenceBackend(options, Here())


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """GGUF files go here instead of the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QAQFILTER_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def pairs():
    """Short ones of the standard library, which the models were not trained on."""
    options = {"limit": 60, "max_query": 400, "max_answer": 900, "seed": 7}
    records = Docstrings(DocstringsOptions.model_validate(options)).read()
    return [(record.query, record.answer) for record in records]


class TestStrong(BackendContract):
    tolerance = 0.0

    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls):
        backend = reference("builtin:strong")
        yield backend
        backend.close()

    @pytest.fixture(scope="class")
    @classmethod
    def other_backends(cls):
        other = reference("builtin:weak")
        yield [other]
        other.close()


class TestWeak(BackendContract):
    tolerance = 0.0

    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls):
        backend = reference("builtin:weak")
        yield backend
        backend.close()

    @pytest.fixture(scope="class")
    @classmethod
    def other_backends(cls):
        other = reference("builtin:strong")
        yield [other]
        other.close()


# --- files ----------------------------------------------------------------------------------


def test_small_enough_to_ship():
    weights = [SHIPPED / name / "model.safetensors" for name in ("strong", "weak")]
    assert sum(path.stat().st_size for path in weights) < 8_000_000
    assert (SHIPPED / "MODEL_CARD.md").is_file()


def test_a_location_is_a_folder_in_the_hub_layout():
    files = EmbeddedLocator().locate("strong", None)
    assert files.format == "safetensors"
    assert {path.name for path in files.path.iterdir()} >= {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    }
    assert files == EmbeddedLocator().locate("strong", None)
    assert files.digest != EmbeddedLocator().locate("weak", None).digest


@pytest.mark.parametrize(
    ("location", "revision", "message"),
    [
        ("strang", None, "did you mean builtin:strong"),
        ("x", None, "Known: strong, weak"),
        ("weak", "main", "no revisions"),
    ],
)
def test_what_a_location_cannot_be(location, revision, message):
    with pytest.raises(ModelError, match=message):
        EmbeddedLocator().locate(location, revision)


def test_gguf_is_made_once(cache):
    pytest.importorskip("gguf")
    files = EmbeddedLocator().locate("weak", None).as_gguf()
    assert files.format == "gguf"
    assert files.path.is_relative_to(cache)
    made = files.path.stat().st_mtime_ns
    assert EmbeddedLocator().locate("weak", None).as_gguf() == files
    assert files.path.stat().st_mtime_ns == made
    files.path.unlink()
    assert EmbeddedLocator().locate("weak", None).as_gguf() == files, "other bytes"
    assert [path.name for path in files.path.parent.iterdir()] == [files.path.name]
    assert files.as_gguf() is files


def test_without_the_library_gguf(monkeypatch, tmp_path):
    monkeypatch.setenv("QAQFILTER_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(ModelError, match=r"pip install 'qaqfilter\[llamacpp\]'"):
        EmbeddedLocator().locate("weak", None).as_gguf()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_cache_that_cannot_be_written(monkeypatch, tmp_path):
    pytest.importorskip("gguf")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("QAQFILTER_CACHE", str(tmp_path / "file"))
    with pytest.raises(ModelError, match="point QAQFILTER_CACHE"):
        EmbeddedLocator().locate("weak", None).as_gguf()


# --- numbers --------------------------------------------------------------------------------


def sequences_of(backend, pairs):
    """Both orders of each pair in the plain layout; spans: first side, second side."""
    newline = backend.encode("\n", markup=True)
    found = []
    for pair in pairs:
        sides = [backend.encode(text, markup=False) for text in pair]
        for first, second in (sides, sides[::-1]):
            ids = (backend.start_token, *first, *newline, *second)
            start = len(ids) - len(second)
            found.append(TokenSequence(ids, ((1, 1 + len(first)), (start, len(ids)))))
    return found


def mean_nats(backend, sequences):
    return np.array([[span.mean() for span in spans] for spans in backend.logprobs(sequences)])


def opened(library, model):
    if library == "transformers":
        pytest.importorskip("torch")
        from qaqfilter_transformers import TransformersOptions, create

        options = {"model": model, "device": "cpu", "dtype": "float32"}
        return create(TransformersOptions.model_validate(options), Here())
    pytest.importorskip("llama_cpp")
    from qaqfilter_llamacpp import LlamaCppOptions, create

    return create(LlamaCppOptions.model_validate({"model": model}), Here())


@pytest.mark.parametrize("model", ["builtin:strong", "builtin:weak"])
@pytest.mark.parametrize(("library", "tolerance"), [("transformers", 1e-4), ("llamacpp", 5e-3)])
def test_backends_agree_with_the_reference(cache, pairs, library, tolerance, model):
    """Tolerance: nats per token, on the mean of each likelihood of each record."""
    oracle, other = reference(model, "float64"), opened(library, model)
    try:
        sequences = sequences_of(oracle, pairs[:20])
        assert sequences == sequences_of(other, pairs[:20])
        assert other.start_token == oracle.start_token
        assert other.adds_start == oracle.adds_start
        assert other.max_length == oracle.max_length
        difference = np.abs(mean_nats(other, sequences) - mean_nats(oracle, sequences))
        assert difference.max() < tolerance
    finally:
        other.close()


def test_the_strong_model_knows_more(pairs):
    strong, weak = reference("builtin:strong"), reference("builtin:weak")
    sequences = sequences_of(strong, pairs[:30])
    assert mean_nats(strong, sequences).mean() > mean_nats(weak, sequences).mean() + 0.3


def test_rmi_finds_damage(pairs):
    """RMI = nll(Q) - nll(Q|A): low for another's answer, high for one that repeats the query."""
    strong = reference("builtin:strong")

    def rmi(damaged):
        # Of the two orders of a pair: Q is the first span of the one, the second of the other.
        values = mean_nats(strong, sequences_of(strong, damaged)).reshape(-1, 2, 2)
        return values[:, 1, 1] - values[:, 0, 0]

    queries, answers = zip(*pairs, strict=True)
    clean = rmi(pairs)
    swapped = rmi(list(zip(queries, answers[1:] + answers[:1], strict=True)))
    echoed = rmi(list(zip(queries, queries, strict=True)))
    assert np.mean(clean[:, None] > swapped) > 0.7
    assert np.mean(clean[:, None] < echoed) > 0.7
