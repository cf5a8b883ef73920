"""The transformers backend against plain forward passes written here, and its encoding rules."""

from __future__ import annotations

import ast
import bisect
import heapq
import inspect
import json
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from qaqfilter import BackendError, ModelError, ModelFiles, TokenSequence, Work
from qaqfilter_transformers import TransformersOptions, budget, head, qaqfilter_backends
from qaqfilter_transformers.backend import TransformersBackend
from qaqfilter_transformers.encoding import Encoder, is_markup
from qaqfilter_transformers.memory import is_out_of_memory
from tiny_models import ARCHITECTURES, BOS, EOS, MAX_LENGTH, TURN_END, VOCABULARY, make_model


class Shelf:
    """Resources that know one model."""

    def __init__(self, path: Path, kind: str = "safetensors") -> None:
        self.files = ModelFiles(path, kind, digest="digest-of-the-weights")

    def model_files(self, location, revision=None):
        return self.files

    def records(self):
        return iter(())


def open_backend(folder: Path, **options) -> TransformersBackend:
    given = {"model": str(folder), "device": "cpu", "batch_tokens": 1024, **options}
    chosen = TransformersOptions.model_validate(given)
    return TransformersBackend(chosen, Shelf(folder))


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Threads that wait for one another cost more than these small models do."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    made: dict[str, Path] = {}

    def folder(architecture: str) -> Path:
        if architecture not in made:
            path = tmp_path_factory.mktemp("models") / architecture
            made[architecture] = make_model(path, architecture)
        return made[architecture]

    return folder


@pytest.fixture(scope="session")
def pairs() -> list[tuple[str, str]]:
    """(docstring, source) of 20 functions of the standard library."""
    found = []
    for module in (bisect, heapq, textwrap, ast, inspect):
        source = inspect.getsource(module)
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef) and (text := ast.get_docstring(node)):
                code = ast.get_source_segment(source, node) or ""
                if 40 < len(code) < 700 and len(text) < 400:
                    found.append((text, code))
    return found[:20]


@pytest.fixture(scope="session")
def sequences(folders, pairs) -> list[TokenSequence]:
    """Both orders of some pairs, each side scored; spans nest and touch."""
    backend = open_backend(folders("llama"))
    built = []
    for number, (query, answer) in enumerate(pairs):
        sides = [backend.encode(query, markup=False), backend.encode(answer, markup=False)]
        first, second = sides if number % 2 else sides[::-1]
        ids = (backend.start_token, *first, *second)
        middle = 1 + len(first)
        spans = ((1, middle), (middle, len(ids)), (middle, middle), (2, middle + 3))
        built.append(TokenSequence(ids, spans))
    assert len(built) == 20
    assert max(len(sequence.ids) for sequence in built) <= MAX_LENGTH
    return built


def plain_logprobs(model, sequence: TokenSequence) -> tuple[np.ndarray, ...]:
    """One record alone, every logit, log_softmax: slow and hard to get wrong."""
    with torch.no_grad():
        ids = torch.tensor([sequence.ids])
        every = torch.log_softmax(model(input_ids=ids).logits[0].double(), dim=-1)
    taken = every[torch.arange(len(sequence.ids) - 1), ids[0, 1:]].numpy()
    return tuple(taken[start - 1 : end - 1] for start, end in sequence.spans)


def plain_model(folder: Path):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def assert_equal(got, expected, tolerance: float = 1e-4) -> None:
    assert len(got) == len(expected)
    for mine, theirs in zip(got, expected, strict=True):
        assert len(mine) == len(theirs)
        for a, b in zip(mine, theirs, strict=True):
            assert a.dtype == np.float64
            assert a.shape == b.shape
            assert (a <= 0).all()
            np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


def small_blocks(monkeypatch) -> None:
    """Rows that straddle the sequences, and a vocabulary in blocks that do not divide it."""
    monkeypatch.setattr(head, "MOST_ROWS", 37)
    monkeypatch.setattr(head, "CPU_WORDS", 100)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_equals_a_plain_forward_pass_in_any_batch(architecture, folders, sequences, monkeypatch):
    small_blocks(monkeypatch)
    folder = folders(architecture)
    model = plain_model(folder)
    expected = [plain_logprobs(model, sequence) for sequence in sequences]
    assert np.std(np.concatenate([e[0] for e in expected])) > 0.5, "the test model is too uniform"
    backend = open_backend(folder)
    assert backend.head == "blocks"
    assert_equal(backend.logprobs(sequences), expected)
    assert_equal(backend.logprobs(sequences[::-1]), expected[::-1])
    for start in (0, 7):
        assert_equal(backend.logprobs(sequences[start : start + 7]), expected[start : start + 7])
    for sequence, one in list(zip(sequences, expected, strict=True))[:3]:
        assert_equal(backend.logprobs([sequence]), [one])
    assert backend.logprobs([]) == []


def test_a_bare_output_head_would_fail_that_test(folders, sequences):
    """Guards the guard: the scaled and capped models must differ from their own lm_head."""
    for architecture in ("gemma2", "gemma3_text", "cohere", "granite"):
        model = plain_model(folders(architecture))
        ids = torch.tensor([sequences[0].ids])
        with torch.no_grad():
            bare = model.lm_head(model.base_model(input_ids=ids).last_hidden_state)
            assert (bare - model(input_ids=ids).logits).abs().max() > 0.1, architecture


def test_no_spans_and_empty_spans_give_empty_arrays(folders, sequences):
    backend = open_backend(folders("llama"))
    ids = sequences[0].ids
    batch = [TokenSequence(ids, ()), sequences[0], TokenSequence(ids, ((3, 3),))]
    nothing, scored, empty = backend.logprobs(batch)
    assert nothing == ()
    assert empty[0].shape == (0,)
    assert_equal([scored], backend.logprobs([sequences[0]]), 1e-5)
    assert backend.logprobs(batch[:1]) == [()]


class Largest(TorchDispatchMode):
    """Remembers the most rows of any tensor that is as wide as the vocabulary, and the widest."""

    rows = 0
    numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for one in result if isinstance(result, tuple | list) else (result,):
            if isinstance(one, torch.Tensor) and one.ndim > 1:
                if one.shape[-1] == VOCABULARY:
                    self.rows = max(self.rows, one.numel() // VOCABULARY)
                elif one.shape[-1] == 100:
                    self.numbers = max(self.numbers, one.numel())
        return result


@pytest.mark.parametrize("architecture", ["llama", "gemma2"])
def test_never_holds_more_logits_than_a_block(architecture, folders, sequences, monkeypatch):
    backend = open_backend(folders(architecture))
    assert backend.head == "blocks"
    small_blocks(monkeypatch)
    with Largest() as seen:
        backend.logprobs(sequences)
    assert seen.rows == 1, "one row for the family's forward to chew on, and no more"
    assert seen.numbers == 37 * 100


class Packed(torch.nn.Linear):
    """A head that is no plain matrix, as quantised ones are not."""


def test_a_head_that_is_no_plain_matrix_runs_in_rows(folders, sequences, monkeypatch):
    load = AutoModelForCausalLM.from_pretrained

    def packed(*args, **kwargs):
        model, report = load(*args, **kwargs)
        model.lm_head.__class__ = Packed
        return model, report

    expected = open_backend(folders("gemma2")).logprobs(sequences)
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", packed)
    backend = open_backend(folders("gemma2"))
    assert backend.head == "rows"
    rows = 16
    monkeypatch.setattr(head, "MEMORY_NUMBERS", rows * VOCABULARY)
    handed = []
    layer = backend._loaded().weights.lm_head
    layer.register_forward_pre_hook(lambda module, inputs: handed.append(inputs[0].shape[1]))
    with Largest() as seen:
        assert_equal(backend.logprobs(sequences[:1]), expected[:1], 1e-5)
    scored = len(sequences[0].ids) - 1
    assert sum(handed) == scored + 1, "each scored position goes through the head once"
    assert max(handed) == seen.rows == rows


def test_only_scored_positions_go_through_the_head(folders, sequences, monkeypatch):
    backend = open_backend(folders("llama"))
    assert backend.head == "blocks"
    ids = sequences[0].ids
    narrow = TokenSequence(ids, ((len(ids) - 5, len(ids)),))
    seen = []
    real = head.BlockHead.replay
    monkeypatch.setattr(
        head.BlockHead,
        "replay",
        lambda self, rows, *more: seen.append(len(rows)) or real(self, rows, *more),
    )
    backend.logprobs([narrow, narrow])
    assert seen == [10]


@pytest.mark.parametrize(
    ("logits", "expected"),
    [
        ([0.0, 0.0, 0.0, 0.0], -np.log(4)),
        ([-np.inf, -np.inf, 3.0, 3.0], -np.inf),  # the target is impossible; so is its block
        ([0.0, -np.inf, -np.inf, -np.inf], 0.0),
        ([1e4, 0.0, 0.0, 0.0], 0.0),
        ([0.0, 1e4, 0.0, 0.0], -1e4),
        ([0.0, np.nan, 0.0, 0.0], np.nan),
        ([0.0, 0.0, 0.0, np.inf], np.nan),
    ],
)
def test_blocks_of_logits_that_are_hard_to_add(logits, expected):
    whole = torch.tensor([logits], dtype=torch.float32)
    blocks = [(0, whole[:, :2].clone()), (2, whole[:, 2:].clone())]
    (found,) = head._logprobs(blocks, torch.tensor([0]))
    np.testing.assert_allclose(found.item(), expected, rtol=1e-6)


# What sequences begin with


def with_beginning(backend, sequences, tokens: int) -> list[TokenSequence]:
    """The sequences behind a text of the prompt's own, of so many tokens."""
    text = backend.encode("Guess what was asked, if this is the answer: " * 9, markup=False)
    before = (backend.start_token, *text[: tokens - 1])
    assert len(before) == tokens
    return [
        TokenSequence(
            (*before, *s.ids[1:]),
            tuple((a + tokens - 1, b + tokens - 1) for a, b in s.spans),
            tokens,
        )
        for s in sequences
    ]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_shared_beginning_changes_no_number(architecture, folders, sequences, monkeypatch):
    """Longer than the sliding window of those that have one."""
    small_blocks(monkeypatch)
    short = [s for s in sequences if len(s.ids) < 200]
    assert len(short) > 5
    backend = open_backend(folders(architecture))
    assert backend.shares
    given = with_beginning(backend, short, 40)
    model = plain_model(folders(architecture))
    assert_equal(backend.logprobs(given), [plain_logprobs(model, s) for s in given])
    read = sum(max(b for _, b in s.spans) - 1 for s in given)
    assert backend.work.reused == 39 * (len(given) - 1)
    assert backend.work.computed == read - backend.work.reused
    before = backend.work
    backend.logprobs(given[:2])
    assert backend.work.reused == before.reused + 2 * 39, "known from the batch before"


def test_what_a_batch_cannot_share_is_not_shared(folders, sequences):
    backend = open_backend(folders("llama"))
    first, second, third = with_beginning(backend, sequences[:3], 40)
    other = TokenSequence((*first.ids[:5], 7, *first.ids[6:]), first.spans, 40)
    scored_inside = TokenSequence(second.ids, ((5, 60),), 40)
    for batch in ([first, other], [third, scored_inside], [first, sequences[1]]):
        alone = [open_backend(folders("llama")).logprobs([replace(s, prefix=0)])[0] for s in batch]
        assert_equal(backend.logprobs(batch), alone, 1e-5)
    assert backend.work.reused == 0


def test_a_model_that_forgets_its_past_shares_nothing(folders, sequences, monkeypatch, caplog):
    real = LlamaForCausalLM.forward

    def forgets(self, *args, past_key_values=None, **kwargs):
        return real(self, *args, **kwargs)

    monkeypatch.setattr(LlamaForCausalLM, "forward", forgets)
    backend = open_backend(folders("llama"))
    assert backend.head == "blocks"
    assert not backend.shares
    given = with_beginning(backend, sequences[:2], 40)
    plain = plain_model(folders("llama"))
    assert_equal(backend.logprobs(given), [plain_logprobs(plain, s) for s in given])


def test_work_counts_the_padding(folders):
    backend = open_backend(folders("llama"))
    long, short = tuple(range(3, 23)), tuple(range(3, 11))
    backend.logprobs([TokenSequence(ids, ((1, len(ids)),)) for ids in (long, short)])
    assert backend.work == Work(computed=19 + 7, reused=0, padding=12)


# How much goes into a batch


@pytest.mark.parametrize(
    ("start", "each", "most", "expected"),
    [
        (0.2, 0.004, 4096, 2048),  # 1,600 tokens: the start is a thirty-second of the whole
        (0.0, 0.004, 4096, 512),
        (0.004, 0.004, 4096, 512),
        (9.0, 0.001, 4096, 4096),
        (0.02, 0.0, 65536, 65536),  # a device that is not filled by either size
        (0.02, 0.0, 50000, 32768),
    ],
)
def test_the_budget_makes_the_start_a_small_share(start, each, most, expected):
    small, large = ((n, start + each * n) for n in (64, 256))
    assert budget.choose(small, large, most) == expected


def test_a_budget_is_probed_once_for_a_model_and_a_machine(folders, tmp_path, monkeypatch):
    monkeypatch.setenv("QAQFILTER_CACHE", str(tmp_path))
    sizes = []
    real = TransformersBackend._probe

    def watched(self, tokens):
        sizes.append(tokens)
        real(self, tokens)

    monkeypatch.setattr(TransformersBackend, "_probe", watched)
    found = open_backend(folders("llama"), batch_tokens="auto").batch_tokens
    assert set(sizes) == {64, 256}
    assert found in (512, 1024, 2048, 4096)
    sizes.clear()
    assert open_backend(folders("llama"), batch_tokens="auto").batch_tokens == found
    assert not sizes
    open_backend(folders("gpt2"), batch_tokens="auto", dtype="bfloat16").batch_tokens  # noqa: B018
    assert sizes, "another number type is another model"
    (first, *_) = (tmp_path / "batch-tokens").iterdir()
    first.write_text("{", encoding="utf-8")
    assert len(list((tmp_path / "batch-tokens").iterdir())) == 2
    for folder in ("llama", "gpt2"):
        options = {} if folder == "llama" else {"dtype": "bfloat16"}
        backend = open_backend(folders(folder), batch_tokens="auto", **options)
        assert backend.batch_tokens >= 512, "a damaged note is written anew"


def test_a_probe_that_does_not_fit_ends_in_the_smallest_batches(
    folders, sequences, tmp_path, monkeypatch, caplog
):
    monkeypatch.setenv("QAQFILTER_CACHE", str(tmp_path))
    backend = open_backend(folders("llama"), batch_tokens="auto")
    expected = open_backend(folders("llama")).logprobs(sequences)
    body = backend._loaded().weights.base_model
    real = body.forward

    def small_memory(*args, **kwargs):
        if kwargs["input_ids"].numel() > 100 and len(kwargs["input_ids"]) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(*args, **kwargs)

    monkeypatch.setattr(body, "forward", small_memory)
    assert backend.batch_tokens == budget.SMALLEST
    assert "out of memory in the probe" in caplog.text
    assert not (tmp_path / "batch-tokens").exists(), "another time it may fit"
    assert_equal(backend.logprobs(sequences), expected, 1e-5)


def test_other_errors_of_a_probe_are_not_hidden(tmp_path, monkeypatch):
    monkeypatch.setenv("QAQFILTER_CACHE", str(tmp_path))

    def broken(tokens):
        raise RuntimeError("shape mismatch")

    with pytest.raises(RuntimeError, match="shape mismatch"):
        budget.batch_budget(broken, "model", "cpu")


def test_a_cache_that_cannot_be_written_costs_only_the_probe(folders, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("QAQFILTER_CACHE", str(tmp_path / "file"))
    assert open_backend(folders("llama"), batch_tokens="auto").batch_tokens >= 512


@pytest.mark.parametrize(
    "raised",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_out_of_memory_halves_the_batch_and_loses_nothing(
    raised, folders, sequences, monkeypatch, caplog
):
    backend = open_backend(folders("llama"), batch_tokens=16384)
    expected = backend.logprobs(sequences)
    sizes = []
    body = backend._loaded().weights.base_model
    real = body.forward

    limit = 900

    def small_memory(*args, **kwargs):
        sizes.append(kwargs["input_ids"].numel())
        if sizes[-1] > limit:
            raise raised
        return real(*args, **kwargs)

    monkeypatch.setattr(body, "forward", small_memory)
    assert_equal(backend.logprobs(sequences), expected, 1e-5)
    assert "halving" in caplog.text
    assert max(sizes) > limit
    sizes.clear()
    assert_equal(backend.logprobs(sequences), expected, 1e-5)
    assert max(sizes) <= limit, "a batch of the size that failed is not tried again"
    assert backend.batch_tokens < 16384, "and the next window is planned for what fits"


def test_out_of_memory_with_one_sequence_says_what_to_do(folders, sequences, monkeypatch):
    backend = open_backend(folders("llama"))
    body = backend._loaded().weights.base_model

    def no_memory(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(body, "forward", no_memory)
    with pytest.raises(BackendError, match=r"single sequence.*lower max_length"):
        backend.logprobs(sequences[:3])
    monkeypatch.undo()
    assert len(backend.logprobs(sequences[:3])) == 3


def test_other_errors_are_not_taken_for_out_of_memory(folders, sequences, monkeypatch):
    assert not is_out_of_memory(RuntimeError("expected all tensors to be on the same device"))
    backend = open_backend(folders("llama"))

    def broken(*args, **kwargs):
        raise RuntimeError("shape mismatch")

    monkeypatch.setattr(backend._loaded().weights.base_model, "forward", broken)
    with pytest.raises(RuntimeError, match="shape mismatch"):
        backend.logprobs(sequences[:2])


@pytest.mark.parametrize("selects", [True, False])
def test_a_family_that_cannot_be_replayed_runs_whole(
    selects, folders, sequences, monkeypatch, caplog
):
    """Its logits depend on the position, so rows of hidden states are not enough."""
    real = LlamaForCausalLM.forward

    def positional(self, input_ids=None, attention_mask=None, use_cache=None, logits_to_keep=None):
        output = real(self, input_ids=input_ids, attention_mask=attention_mask, use_cache=False)
        steps = torch.arange(output.logits.shape[1])
        output.logits = output.logits * (1 + steps[None, :, None] / 50)
        if logits_to_keep is not None:
            output.logits = output.logits[:, logits_to_keep]
        return output

    def simple(self, input_ids=None, attention_mask=None, use_cache=None):
        return positional(self, input_ids, attention_mask, use_cache)

    monkeypatch.setattr(LlamaForCausalLM, "forward", positional if selects else simple)
    model = plain_model(folders("llama"))
    expected = [plain_logprobs(model, sequence) for sequence in sequences]
    backend = open_backend(folders("llama"))
    assert backend.head == "whole"
    assert "one sequence at a time" in caplog.text
    assert_equal(backend.logprobs(sequences), expected)


def test_a_family_that_minds_its_neighbours_runs_whole(folders, sequences, monkeypatch):
    real = LlamaForCausalLM.forward

    def minds(self, input_ids=None, attention_mask=None, use_cache=None, **more):
        output = real(self, input_ids=input_ids, attention_mask=attention_mask, **more)
        neighbours = len(input_ids) - 1
        output.logits = output.logits * (1 + 0.1 * neighbours)
        return output

    monkeypatch.setattr(LlamaForCausalLM, "forward", minds)
    backend = open_backend(folders("llama"))
    assert backend.head == "whole"
    plain = plain_model(folders("llama"))
    assert_equal(backend.logprobs(sequences[:4]), [plain_logprobs(plain, s) for s in sequences[:4]])


def test_nan_passes_through(folders, sequences):
    backend = open_backend(folders("llama"))
    with torch.no_grad():
        backend._loaded().weights.lm_head.weight[5] = float("nan")
    assert np.isnan(backend.logprobs(sequences[:1])[0][0]).all()


def test_refuses_before_running(folders, monkeypatch):
    backend = open_backend(folders("llama"), max_length=40)
    assert backend.max_length == 40
    monkeypatch.setattr(backend, "_loaded", lambda: pytest.fail("it ran"))
    good = TokenSequence((0, 1, 2), ((1, 3),))
    for bad, message in [
        (TokenSequence((0,) * 41, ((1, 2),)), "41 tokens; at most 40"),
        (TokenSequence((0, 1, 2), ((0, 2),)), "spans"),
        (TokenSequence((0, 1, 2), ((1, 4),)), "spans"),
        (TokenSequence((0, 1, VOCABULARY), ((1, 2),)), "outside 0..511"),
        (TokenSequence((0, -1), ((1, 2),)), "outside"),
    ]:
        with pytest.raises(BackendError, match=message):
            backend.logprobs([good, bad])


def test_facts_encoding_and_template_need_no_weights(folders, monkeypatch):
    monkeypatch.setattr(
        AutoModelForCausalLM, "from_pretrained", lambda *a, **k: pytest.fail("load")
    )
    backend = open_backend(folders("llama"), revision="abc")
    assert backend.facts["model"] == "digest-of-the-weights"
    assert backend.facts["revision"] == "abc"
    assert backend.facts["dtype"] == "float32"
    assert backend.facts["device"] == "cpu"
    json.dumps(backend.facts)
    assert backend.max_length == MAX_LENGTH
    assert backend.start_token == 0
    assert backend.adds_start is True
    assert backend.encode("def f():", markup=False)
    assert backend.chat_template.bos_token == BOS
    assert backend.chat_template.eos_token == EOS
    assert "<|im_start|>" in backend.chat_template.source


def test_facts_stay_the_same_once_loaded_and_closed(folders, sequences):
    backend = open_backend(folders("gpt2"))
    before = dict(backend.facts)
    backend.logprobs(sequences[:1])
    assert dict(backend.facts) == before
    backend.close()
    backend.close()
    assert backend._model is None


def test_bfloat16_is_close(folders, sequences):
    exact = open_backend(folders("llama")).logprobs(sequences)
    backend = open_backend(folders("llama"), dtype="bfloat16")
    assert backend.head == "blocks"
    for mine, theirs in zip(backend.logprobs(sequences), exact, strict=True):
        assert abs(mine[1].mean() - theirs[1].mean()) < 0.1


# Encoding


@pytest.fixture(scope="session")
def encoder(folders):
    return open_backend(folders("llama")).encode


def test_a_batch_of_texts_is_encoded_as_each_alone(folders, pairs):
    backend = open_backend(folders("llama"))
    texts = [text for pair in pairs for text in pair]
    texts += ["", f"data that spells {BOS} and {TURN_END}", "é∑漢"]
    for markup in (False, True):
        alone = [backend.encode(text, markup=markup) for text in texts]
        assert backend.encode_batch(texts, markup=markup) == alone


def test_special_tokens_come_from_markup_only(folders, encoder):
    tokenizer = AutoTokenizer.from_pretrained(folders("llama"))
    end = tokenizer.convert_tokens_to_ids(TURN_END)
    text = f"a{TURN_END}\n{BOS}"
    assert encoder(text, markup=True).count(end) == 1
    data = encoder(text, markup=False)
    assert not {0, 1, 2, 3} & set(data)
    assert tokenizer.decode(data) == text
    assert encoder("x = 1", markup=True) == encoder("x = 1", markup=False)
    assert encoder("", markup=False) == encoder("", markup=True) == []


def test_plain_text_is_the_tokenizers_own_ids(folders, encoder, pairs):
    tokenizer = AutoTokenizer.from_pretrained(folders("llama"))
    for pair in pairs:
        for text in (*pair, "  naïve ü\t漢字 🎉\r\n"):
            own = tokenizer(text, add_special_tokens=False)["input_ids"]
            assert encoder(text, markup=False) == own


def test_truncation_and_padding_in_the_file_are_ignored(folders):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folders("llama") / "tokenizer.json"))
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=9)
    made = Encoder(tokenizer.to_str(), None)
    text = "def function(argument): return argument"
    assert len(made(text, markup=False)) > 9
    assert len(made("a", markup=True)) == 1


def sentencepiece_like(style: str):
    """Like Llama 2's: dummy prefix space, byte fallback, merges that lead to `</s>`."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces += ["▁", "h", "e", "<", "/", "s", ">", "he", "▁he", "</", "s>", "<s"]
    merges = [("h", "e"), ("▁", "he"), ("<", "/"), ("s", ">"), ("</", "s>"), ("<", "s>")]
    model = models.BPE(
        {piece: number for number, piece in enumerate(pieces)},
        merges,
        unk_token="<unk>",
        fuse_unk=True,
        byte_fallback=True,
    )
    tokenizer = Tokenizer(model)
    if style == "prepend":
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        )
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=style, split=False)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.add_special_tokens([AddedToken(t, normalized=False) for t in ("<s>", "</s>")])
    return tokenizer


@pytest.mark.parametrize("style", ["prepend", "always", "first"])
def test_no_dummy_prefix_space_and_no_special_token_by_merges(style):
    tokenizer = sentencepiece_like(style)
    assert tokenizer.encode("he").tokens == ["▁he"]
    made = Encoder(tokenizer.to_str(), None)
    assert made("he", markup=False) == made("he", markup=True) == [tokenizer.token_to_id("he")]
    assert made(" he", markup=False) == [tokenizer.token_to_id("▁he")]
    assert made("he</s>", markup=True)[-1] == 2
    for text in ("</s>", "he </s>he<s>", "</s></s>ü"):
        ids = made(text, markup=False)
        assert not {1, 2} & set(ids), text
        assert tokenizer.decode(ids) == text
    for text in ("he he", " he\nhe  ", "he </s>he<s>", "</s></s>ü 漢🎉he"):
        # Three or four bytes of a character share its place; a text cut at `</s>` counts on.
        ids, places = made(text, markup=False), made.places(text)
        for token, (start, end) in zip(ids, places, strict=True):
            spelt = tokenizer.id_to_token(token).replace("▁", " ")
            assert end - start == 1 if spelt.startswith("<0x") else text[start:end] == spelt
        assert {at for start, end in places for at in range(start, end)} == {*range(len(text))}


def test_byte_level_prefix_space_is_off(folders):
    described = json.loads((folders("llama") / "tokenizer.json").read_text())
    plain = Encoder(json.dumps(described), None)("def", markup=False)
    described["pre_tokenizer"]["add_prefix_space"] = True
    assert Encoder(json.dumps(described), None)("def", markup=False) == plain


def test_unigram_pieces_never_become_special_tokens():
    from tokenizers import Tokenizer, models

    pieces = [("<unk>", 0.0), ("</s>", 0.0), ("<", -5.0), ("/", -5.0), ("s", -5.0), (">", -5.0)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0))
    tokenizer.add_special_tokens(["<unk>", "</s>"])
    made = Encoder(tokenizer.to_str(), None)
    assert made("</s>", markup=False) == [2, 3, 4, 5]
    assert made("s\u6f22\u6f22s", markup=False) == [4, 0, 4], "a character unknown stays unknown"


def test_added_tokens_that_are_markup_never_come_from_data(folders):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folders("llama") / "tokenizer.json"))
    tokenizer.add_tokens(["<think>", "<|extra|>", "<tool_call>", "<td>", "    "])
    ids = {text: tokenizer.token_to_id(text) for text in ("<think>", "<|extra|>", "<tool_call>")}
    made = Encoder(tokenizer.to_str(), "{{ x }}<think>\n    {{ y }}")
    for text, number in ids.items():
        assert made(f"a {text} b", markup=True).count(number) == 1
        data = made(f"a {text} b", markup=False)
        assert number not in data
        assert tokenizer.decode(data) == f"a {text} b"
    # Ordinary vocabulary, though it was added late.
    assert made("<td>", markup=False) == [tokenizer.token_to_id("<td>")]
    assert made("    ", markup=False) == [tokenizer.token_to_id("    ")]


@pytest.mark.parametrize(
    ("content", "markup"),
    [
        ("<|im_end|>", True),
        ("<｜begin▁of▁sentence｜>", True),
        ("<start_of_turn>", True),
        ("</tool_call>", True),
        ("<unused12>", True),
        ("<think>", True),
        ("<td>", False),
        ("\n\n", False),
        ("[INST]", True),
        ("[toxicity]", False),
        ("0", False),
    ],
)
def test_what_counts_as_markup(content, markup):
    assert is_markup(content, "0\n\n<think>[INST]") is markup


# Loading


def edited(source: Path, target: Path, name: str, **changes) -> Path:
    """A copy of a model folder in which one JSON file is changed (None removes a key)."""
    target.mkdir()
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    content = json.loads((target / name).read_text())
    content = {key: value for key, value in {**content, **changes}.items() if value is not None}
    (target / name).write_text(json.dumps(content))
    return target


def test_the_start_token_is_bos_then_the_configurations_then_eos(folders, tmp_path):
    no_bos = edited(folders("qwen2"), tmp_path / "a", "tokenizer_config.json", bos_token=None)
    described = json.loads((no_bos / "tokenizer.json").read_text())
    described["post_processor"] = None
    (no_bos / "tokenizer.json").write_text(json.dumps(described))
    backend = open_backend(edited(no_bos, tmp_path / "b", "config.json", bos_token_id=2))
    assert (backend.start_token, backend.adds_start) == (2, False)
    backend = open_backend(edited(no_bos, tmp_path / "c", "config.json", bos_token_id=None))
    assert backend.start_token == 1
    ordinary = open_backend(edited(no_bos, tmp_path / "d", "config.json", bos_token_id=77))
    assert ordinary.start_token == 1, "an ordinary word is no start token"
    neither = edited(no_bos, tmp_path / "e", "tokenizer_config.json", eos_token=None)
    neither = edited(neither, tmp_path / "f", "config.json", bos_token_id=None, eos_token_id=None)
    with pytest.raises(ModelError, match="neither a BOS nor an EOS"):
        open_backend(neither)


def test_the_default_of_several_templates(folders, tmp_path):
    several = [{"name": "default", "template": "D"}, {"name": "tools", "template": "T"}]
    folder = edited(
        folders("llama"), tmp_path / "m", "tokenizer_config.json", chat_template=several
    )
    (folder / "chat_template.jinja").unlink()
    assert open_backend(folder).chat_template.source == "D"
    none = edited(folder, tmp_path / "n", "tokenizer_config.json", chat_template=None)
    assert open_backend(none).chat_template is None


def test_the_tokenizer_file_is_taken_as_it_is(folders, tmp_path, encoder):
    """DeepSeek Coder names LlamaTokenizerFast, which is not what its tokenizer.json holds."""
    changes = {"tokenizer_class": "LlamaTokenizerFast"}
    folder = edited(folders("llama"), tmp_path / "m", "tokenizer_config.json", **changes)
    text = "def f(x):\n    return  x"
    assert open_backend(folder).encode(text, markup=False) == encoder(text, markup=False)


def test_incomplete_weights_are_refused(folders, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = edited(folders("llama"), tmp_path / "m", "config.json")
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    backend = open_backend(folder)
    with pytest.raises(
        ModelError, match=r"not in the files, such as model\.layers\.1\.mlp\.up_proj"
    ):
        backend.logprobs([TokenSequence((0, 5), ((1, 2),))])


def test_mismatched_weights_are_refused(folders, tmp_path):
    folder = edited(folders("llama"), tmp_path / "m", "config.json", intermediate_size=100)
    with pytest.raises(ModelError, match=r"mlp|mismatch"):
        open_backend(folder).logprobs([TokenSequence((0, 5), ((1, 2),))])


def test_what_cannot_be_loaded_is_told(folders, tmp_path):
    options = TransformersOptions.model_validate({"model": f"path:{tmp_path}"})
    with pytest.raises(ModelError, match="use: llamacpp"):
        TransformersBackend(options, Shelf(tmp_path / "x.gguf", "gguf"))
    with pytest.raises(ModelError, match=r"no config\.json"):
        TransformersBackend(options, Shelf(tmp_path))
    folder = edited(folders("llama"), tmp_path / "m", "config.json")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="no safetensors"):
        open_backend(folder)
    with pytest.raises(ModelError, match="takes 512 tokens"):
        open_backend(folders("llama"), max_length=513)


def test_remote_code_is_refused_unless_asked_for(folders, tmp_path):
    remote = {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.OwnModel"}
    changes = {"auto_map": remote, "model_type": "own_architecture"}
    folder = edited(folders("llama"), tmp_path / "m", "config.json", **changes)
    (folder / "own.py").write_text("raise SystemExit('the code of a stranger ran')")
    with pytest.raises(ModelError, match="trust_remote_code: true"):
        open_backend(folder)


def test_remote_code_is_announced(folders, caplog):
    backend = open_backend(folders("llama"), trust_remote_code=True)
    assert "trust_remote_code is on" in caplog.text
    assert backend.facts["trust_remote_code"] is True


def test_slow_tokenizers_are_refused(folders, monkeypatch):
    from transformers import PreTrainedTokenizerFast

    monkeypatch.setattr(PreTrainedTokenizerFast, "is_fast", property(lambda self: False))
    with pytest.raises(ModelError, match="slow tokenizer"):
        open_backend(folders("llama"))


# The component


def test_the_component_and_its_options():
    (component,) = qaqfilter_backends()
    assert component.name == "transformers"
    assert component.needs.modules == ("torch", "transformers")
    fields = component.config.model_fields.values()
    assert all(field.description for field in fields)
    for bad in ({"device": "tpu"}, {"dtype": "int8"}, {"batch_tokens": 0}, {"modle": "x"}):
        with pytest.raises(ValidationError):
            TransformersOptions.model_validate({"model": "a/b", **bad})


def test_the_plugin_imports_nothing_heavy():
    code = "import qaqfilter_transformers, sys; sys.exit(any(m in sys.modules for m in %r))"
    heavy = ("torch", "transformers", "tokenizers")
    path = {"PYTHONPATH": ":".join(entry for entry in sys.path if entry)}
    assert (
        subprocess.run([sys.executable, "-c", code % (heavy,)], env=path, check=False).returncode
        == 0
    )
