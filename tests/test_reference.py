"""The numpy backend: its contract, and its numbers against transformers'."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from qaqfilter import BackendError, ModelError, ModelFiles, TokenSequence
from qaqfilter.testing import TEXTS, BackendContract, sequences_of
from qaqfilter_reference import ReferenceOptions
from qaqfilter_reference.backend import ReferenceBackend
from tiny_models import make_model


class Shelf:
    """Resources that know one model."""

    def __init__(self, files):
        self.files = files

    def model_files(self, location, revision=None):
        return self.files

    def records(self):
        return iter(())


def opened(folder, **options):
    config = ReferenceOptions.model_validate({"model": f"path:{folder}", **options})
    return ReferenceBackend(config, Shelf(ModelFiles(folder, "safetensors", "digest")))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("reference") / "llama")


@pytest.fixture
def changed(folder, tmp_path):
    """A copy of the model with one of its JSON files edited."""

    def change(file, **entries):
        copy = tmp_path / "changed"
        shutil.copytree(folder, copy)
        content = json.loads((copy / file).read_bytes())
        (copy / file).write_text(json.dumps({**content, **entries}), encoding="utf-8")
        return copy

    return change


class TestFloat32(BackendContract):
    """One sequence at a time: neighbours change not a bit."""

    tolerance = 0.0

    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls, folder):
        backend = opened(folder)
        yield backend
        backend.close()

    @pytest.fixture(scope="class")
    @classmethod
    def other_backends(cls, folder):
        other = opened(folder, precision="float64")
        yield [other]
        other.close()


class TestFloat64(BackendContract):
    tolerance = 0.0

    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls, folder):
        backend = opened(folder, precision="float64")
        yield backend
        backend.close()

    @pytest.fixture(scope="class")
    @classmethod
    def other_backends(cls, folder):
        other = opened(folder)
        yield [other]
        other.close()


def test_against_transformers_in_float64(folder):
    """The same formula in the same precision by other people's code: equal to rounding."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)
    backend = opened(folder, precision="float64")
    for sequence in sequences_of(backend):
        ids = torch.tensor([sequence.ids])
        with torch.inference_mode():
            logits = theirs(ids).logits[0, :-1]
        expected = logits.log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0].numpy()
        # transformers keeps the rotary angles in float32 whatever the precision
        np.testing.assert_allclose(backend.logprobs([sequence])[0][0], expected, atol=2e-5)


def test_float32_is_near_float64(folder):
    single, double = opened(folder), opened(folder, precision="float64")
    sequences = sequences_of(single)
    found, expected = single.logprobs(sequences), double.logprobs(sequences)
    worst = max(abs(a[0] - b[0]).max() for a, b in zip(found, expected, strict=True))
    assert 0 < worst < 1e-4


def test_by_hand():
    """One layer that adds nothing: the embedding of a token decides about the next alone."""
    from qaqfilter_reference.llama import Llama, Shape

    layer = "model.layers.0."
    attention = {f"{layer}self_attn.{n}_proj.weight": np.zeros((2, 2)) for n in "qkvo"}
    forward = {f"{layer}mlp.{n}_proj.weight": np.zeros((2, 2)) for n in ("gate", "up", "down")}
    norms = (f"{layer}input_layernorm", f"{layer}post_attention_layernorm", "model.norm")
    model = Llama(
        Shape(1, 2, 1, 1, 2, context=4, vocabulary=2, epsilon=0.0, theta=10000.0),
        {
            "model.embed_tokens.weight": np.array([[3.0, 0.0], [0.0, 5.0]]),
            **attention,
            **forward,
            **{f"{name}.weight": np.ones(2) for name in norms},
        },
    )
    # Token 0 becomes (√2, 0): logits 3√2 for itself and 0 for token 1; token 1 gets 5√2.
    found = model.logprobs(np.array([0, 1, 1, 0]), np.array([1, 2, 3]))
    expected = [
        -np.log1p(np.exp(3 * 2**0.5)),
        -np.log1p(np.exp(-5 * 2**0.5)),
        -np.log1p(np.exp(5 * 2**0.5)),
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_the_same_ids_as_transformers(folder):
    transformers = pytest.importorskip("transformers")
    theirs = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    backend = opened(folder)
    for text in (*TEXTS, "", "a\x00b", "don't we'LL"):
        assert backend.encode(text, markup=False) == theirs.encode(text, add_special_tokens=False)
    assert backend.adds_start
    assert backend.chat_template.source == theirs.chat_template
    assert len(backend.encode("<|im_end|>", markup=True)) == 1
    assert len(backend.encode("<|im_end|>", markup=False)) > 1


def test_malformed_sequences_are_refused(folder):
    backend = opened(folder)
    for ids, span, message in (
        ((0, 5), (0, 1), "spans"),
        ((0, 5), (1, 3), "spans"),
        ((0, 99999), (1, 2), "outside"),
    ):
        with pytest.raises(BackendError, match=message):
            backend.logprobs([TokenSequence(ids, (span,))])
    assert backend.logprobs([TokenSequence((0, 5), ((1, 1),))])[0][0].shape == (0,)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"model_type": "gemma3_text"}, "model_type is 'gemma3_text'"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"attention_bias": True}, "attention_bias"),
        ({"rope_parameters": {"rope_type": "llama3"}}, "rope_type is 'llama3'"),
        ({"hidden_size": None}, "config.json lacks or garbles"),
        ({"bos_token_id": None, "eos_token_id": None}, "neither a BOS nor an EOS"),
    ],
)
def test_what_it_does_not_compute_is_refused(changed, entry, message):
    with pytest.raises(ModelError, match=message):
        opened(changed("config.json", **entry))


def test_other_tokenizers_are_refused(changed):
    with pytest.raises(ModelError, match="byte-level tokenizers only"):
        opened(changed("tokenizer.json", normalizer={"type": "NFC"}))


def test_weights_that_do_not_fit_are_refused(changed):
    backend = opened(changed("config.json", num_hidden_layers=3))
    with pytest.raises(ModelError, match="do not make a Llama model"):
        backend.logprobs([TokenSequence((0, 5), ((1, 2),))])


def test_a_gguf_file_is_refused(tmp_path):
    files = ModelFiles(tmp_path / "m.gguf", "gguf", "digest")
    config = ReferenceOptions.model_validate({"model": "path:m.gguf"})
    with pytest.raises(ModelError, match="use: llamacpp"):
        ReferenceBackend(config, Shelf(files))
