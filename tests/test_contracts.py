"""The contracts run on the bundled backends, and bite on wrong ones."""

from __future__ import annotations

import numpy as np
import pytest

from qaqfilter.manager import load_plugins
from qaqfilter.testing import BackendContract, scored_alone, sequences_of
from qaqfilter_llamacpp import LlamaCppOptions
from qaqfilter_ngram import NgramOptions
from qaqfilter_ngram.backend import NgramBackend
from qaqfilter_transformers import TransformersOptions
from tiny_models import export_gguf, make_model


class Here:
    """Resources without a run: models by location, and two records to fit on."""

    def model_files(self, location, revision=None):
        return load_plugins().locate(location, revision)

    def records(self):
        from qaqfilter import Origin, Record

        yield Record("a", "add two numbers", "lambda a, b: a + b", b"", Origin("t", 0))
        yield Record("b", "print squares", "print([i * i for i in range(9)])", b"", Origin("t", 1))


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny") / "llama"
    make_model(folder)
    return folder


class TestNgram(BackendContract):
    tolerance = 0.0

    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls):
        return NgramBackend(NgramOptions(), Here())


class TestTransformers(BackendContract):
    tolerance = 1e-4

    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls, llama_folder):
        from qaqfilter_transformers.backend import TransformersBackend

        options = TransformersOptions.model_validate({"model": str(llama_folder), "device": "cpu"})
        backend = TransformersBackend(options, Here())
        yield backend
        backend.close()


class TestLlamaCpp(BackendContract):
    """One sequence at a time: neighbours change not a bit."""

    tolerance = 0.0

    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls, llama_folder):
        from qaqfilter_llamacpp.backend import LlamaCppBackend

        path = llama_folder.parent / "llama.gguf"
        export_gguf(llama_folder, path)
        backend = LlamaCppBackend(LlamaCppOptions.model_validate({"model": str(path)}), Here())
        yield backend
        backend.close()


class Wrong(NgramBackend):
    """A backend with one fault."""

    def __init__(self, fault) -> None:
        super().__init__(NgramOptions(), Here())
        self.fault = fault

    def logprobs(self, sequences):
        return self.fault(self, sequences, super().logprobs(sequences))


def faults():
    yield "order", lambda b, s, r: list(reversed(r)), "test_neighbours_and_order_change_nothing"
    yield "lost", lambda b, s, r: r[:1] if len(r) > 1 else r, "test_neighbours_and_order"
    yield (
        "positive",
        lambda b, s, r: [tuple(-a for a in x) for x in r],
        "test_log_probabilities_are_finite",
    )
    yield (
        "nan",
        lambda b, s, r: [tuple(a * np.nan for a in x) for x in r],
        "test_log_probabilities_are_finite",
    )
    yield (
        "short",
        lambda b, s, r: [tuple(a[1:] for a in x) for x in r],
        "test_one_array_a_span_as_long_as_the_span",
    )
    yield (
        "neighbours",
        lambda b, s, r: [tuple(a - len(s) / 1e3 for a in x) for x in r],
        "test_neighbours_and_order_change_nothing",
    )
    yield (
        "deaf",
        lambda b, s, r: [tuple(np.full(y - x, -1.0) for x, y in q.spans) for q in s],
        "test_the_context_is_used",
    )


@pytest.mark.parametrize(("fault", "rule"), [f[1:] for f in faults()], ids=[f[0] for f in faults()])
def test_the_contract_bites(broken_rules, fault, rule):
    failed = broken_rules(Wrong(fault))
    assert any(name.startswith(rule) for name in failed), failed


@pytest.fixture
def broken_rules():
    """Call every rule of the contract on a backend; give the names of those that fail."""

    def run(backend):
        contract = BackendContract()
        sequences = sequences_of(backend)
        alone = scored_alone(backend, sequences)
        known = {"backend": backend, "sequences": sequences, "alone": alone}
        failed = []
        for name in dir(BackendContract):
            if not name.startswith("test_"):
                continue
            rule = getattr(contract, name)
            wanted = rule.__code__.co_varnames[1 : rule.__code__.co_argcount]
            arguments = {k: known[k] for k in wanted if k in known}
            if "order" in wanted:
                arguments["order"] = (4, 3, 2, 1, 0)
            try:
                rule(**arguments)
            except (AssertionError, IndexError, ValueError, pytest.fail.Exception):
                failed.append(name)
        return failed

    return run
