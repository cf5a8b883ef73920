"""The same float32 weights through transformers and through llama.cpp give the same numbers.

Two libraries that share no code are each other's best test: rotary order, norms, BOS, the
alignment of targets and positions, and the tokenizer all have to be right on both sides.
"""

from __future__ import annotations

import ast
import textwrap
import timeit
from pathlib import Path

import numpy as np
import pytest

from qaqfilter import ModelFiles, TokenSequence
from qaqfilter_llamacpp import LlamaCppOptions
from qaqfilter_llamacpp.backend import LlamaCppBackend
from qaqfilter_transformers import TransformersOptions
from qaqfilter_transformers.backend import TransformersBackend
from tiny_models import BOS, TURN_END, TURN_START, export_gguf, make_model

TOLERANCE = 2e-3
"""Nats on the mean of a sequence. llama.cpp may keep its KV cache as float16."""


class Shelf:
    """Resources that know one model."""

    def __init__(self, files: ModelFiles) -> None:
        self.files = files

    def model_files(self, location, revision=None):
        return self.files

    def records(self):
        return iter(())


@pytest.fixture(scope="module")
def backends(tmp_path_factory):
    folder = make_model(tmp_path_factory.mktemp("agree") / "llama")
    gguf = export_gguf(folder, folder.parent / "llama.gguf")
    ours = TransformersBackend(
        TransformersOptions.model_validate({"model": str(folder), "device": "cpu"}),
        Shelf(ModelFiles(folder, "safetensors", "digest")),
    )
    theirs = LlamaCppBackend(
        LlamaCppOptions.model_validate({"model": str(gguf)}),
        Shelf(ModelFiles(gguf, "gguf", "digest")),
    )
    yield ours, theirs
    ours.close()
    theirs.close()


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Functions of the standard library, and what tokenizers stumble over."""
    found = []
    for module in (textwrap, timeit):
        source = Path(module.__file__).read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef):
                found.append((ast.get_source_segment(source, node) or "")[:500])
    odd = ["", " ", "\n\n", "  x\t= 1\r\n", "naïve ü 漢字 🎉", "don't we'LL 1234567", "a\x00b"]
    return [*found, *odd, f"{TURN_START}user\n{BOS}hi{TURN_END}", "<|im_end", "||>"]


def test_the_same_ids(backends, texts):
    ours, theirs = backends
    assert len(texts) > 15
    for text in texts:
        for markup in (False, True):
            mine = list(ours.encode(text, markup=markup))
            assert mine == list(theirs.encode(text, markup=markup)), (text, markup)


def test_the_same_start_template_and_limit(backends):
    ours, theirs = backends
    assert ours.start_token == theirs.start_token
    assert ours.adds_start == theirs.adds_start
    assert ours.max_length == theirs.max_length
    assert ours.chat_template.source == theirs.chat_template.source
    assert ours.chat_template.bos_token == theirs.chat_template.bos_token
    assert ours.chat_template.eos_token == theirs.chat_template.eos_token


def test_the_same_likelihoods(backends, texts):
    ours, theirs = backends
    sequences = []
    for text in texts:
        ids = (ours.start_token, *ours.encode(text, markup=False))
        if len(ids) > 8:
            middle = len(ids) // 3
            sequences.append(TokenSequence(ids, ((1, len(ids)), (middle, len(ids)))))
    assert len(sequences) > 10
    mine, other = ours.logprobs(sequences), theirs.logprobs(sequences)
    worst = 0.0
    for a, b in zip(mine, other, strict=True):
        for one, two in zip(a, b, strict=True):
            assert len(one) == len(two)
            worst = max(worst, abs(float(np.mean(one) - np.mean(two))))
    assert worst < TOLERANCE
    assert np.std([spans[0].mean() for spans in mine]) > 20 * TOLERANCE, "the texts hardly differ"
