"""What llama.cpp offers for reading prompts on this CPU, measured by turns in one process.

    python -m benchmarks.llamacpp_settings [--tokens 512] [--rounds 3] [--skip settings]

One text through bare `llama_decode`, the second half of its positions with logits: chunk sizes,
flash attention, threads, the number type of the key-value cache, and quantisations made from
Gemma 3 270M (Q4_K_M) in a temporary folder. Speeds are relative to the backend's own settings;
"same bits" says whether the logits are theirs.
"""

from __future__ import annotations

import argparse
import ctypes
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from qaqfilter.manager import load_plugins
from qaqfilter_llamacpp.machine import patient_threads, usable_cores

with patient_threads():  # as the plugin does
    import llama_cpp

    from qaqfilter_llamacpp.library import initialise

MODEL = "pypi:gemma3-270m"
F16, F32 = llama_cpp.GGML_TYPE_F16, llama_cpp.GGML_TYPE_F32
# Name: llama.cpp's file type, and the type of the output head where it is not the usual one.
QUANTISATIONS = {
    "F32": (llama_cpp.LLAMA_FTYPE_ALL_F32, None),
    "F16": (llama_cpp.LLAMA_FTYPE_MOSTLY_F16, None),
    "BF16": (llama_cpp.LLAMA_FTYPE_MOSTLY_BF16, None),
    "Q8_0": (llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0, None),
    "Q6_K": (llama_cpp.LLAMA_FTYPE_MOSTLY_Q6_K, None),
    "Q5_K_M": (llama_cpp.LLAMA_FTYPE_MOSTLY_Q5_K_M, None),
    "Q5_0": (llama_cpp.LLAMA_FTYPE_MOSTLY_Q5_0, None),
    "Q4_K_M": (llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_M, None),
    "IQ4_NL": (llama_cpp.LLAMA_FTYPE_MOSTLY_IQ4_NL, None),
    "Q4_0": (llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0, None),
    "Q4_0, head Q4_0": (llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0, llama_cpp.GGML_TYPE_Q4_0),
}


@dataclass(frozen=True)
class Setting:
    """One contender; the defaults are the backend's."""

    name: str
    path: Path
    chunk: int = 128
    batch: int | None = None
    flash: bool = False
    threads: int = 1
    single_threads: int | None = None
    kv: int = F16
    repack: bool = True


class Contender:
    """A model and a context; `run` decodes the text once and returns the seconds."""

    def __init__(self, setting: Setting, ids: np.ndarray) -> None:
        model = llama_cpp.llama_model_default_params()
        model.use_extra_bufts = setting.repack
        self._model = llama_cpp.llama_model_load_from_file(str(setting.path).encode(), model)
        context = llama_cpp.llama_context_default_params()
        context.n_ctx = len(ids)
        context.n_batch, context.n_ubatch = setting.batch or setting.chunk, setting.chunk
        context.n_threads_batch = setting.threads
        context.n_threads = setting.single_threads or setting.threads
        context.flash_attn_type = (
            llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED
            if setting.flash
            else llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        )
        context.type_k = context.type_v = setting.kv
        context.swa_full = True
        self._context = llama_cpp.llama_init_from_model(self._model, context)
        if not self._context:
            raise SystemExit(f"llama.cpp makes no context for {setting.name}")
        vocab = llama_cpp.llama_model_get_vocab(self._model)
        self._vocabulary = llama_cpp.llama_vocab_n_tokens(vocab)
        self._step = context.n_batch
        self._batch = llama_cpp.llama_batch_init(self._step, 0, 1)
        self._ids = ids
        self._digest = blake2b()
        self.run(digest=True)  # the first run is slower, and not counted
        self.digest = self._digest.hexdigest()
        self.times: list[float] = []

    def run(self, *, digest: bool = False) -> float:
        """Seconds in llama_decode, over all chunks."""
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._context), True)
        spent, batch, half = 0.0, self._batch, len(self._ids) // 2
        for start in range(0, len(self._ids), self._step):
            count = min(self._step, len(self._ids) - start)
            batch.n_tokens = count
            for index in range(count):
                batch.token[index] = int(self._ids[start + index])
                batch.pos[index] = start + index
                batch.n_seq_id[index] = 1
                batch.seq_id[index][0] = 0
                batch.logits[index] = start + index >= half
            begun = time.perf_counter()
            if llama_cpp.llama_decode(self._context, batch):
                raise SystemExit("llama_decode failed")
            spent += time.perf_counter() - begun
            if digest and (rows := min(count, start + count - half)) > 0:
                logits = llama_cpp.llama_get_logits(self._context)
                found = np.ctypeslib.as_array(logits, (rows, self._vocabulary))
                self._digest.update(found.data)
        return spent

    def close(self) -> None:
        """Free everything."""
        llama_cpp.llama_batch_free(self._batch)
        llama_cpp.llama_free(self._context)
        llama_cpp.llama_model_free(self._model)


def settings(path: Path, cores: int) -> Iterator[list[Setting]]:
    """Groups of contenders on the model as it is; the first is always the backend's choice."""
    base = Setting("the backend's", path, threads=cores)
    yield [base, *(Setting(f"chunk {n}", path, n, threads=cores) for n in (32, 64, 256, 512))]
    yield [
        base,
        Setting("batch 512 of chunks of 128", path, 128, 512, threads=cores),
        Setting("flash attention", path, flash=True, threads=cores),
        Setting("KV f32", path, kv=F32, threads=cores),
        Setting("KV f32, flash attention", path, flash=True, kv=F32, threads=cores),
    ]
    counts = [n for n in range(1, 2 * cores + 1) if n != cores]
    yield [
        base,
        *(Setting(f"threads {n}", path, threads=n) for n in counts),
        Setting("n_threads 1, n_threads_batch all", path, threads=cores, single_threads=1),
    ]


def quantise(path: Path, folder: Path, name: str) -> Path:
    """`path` in another quantisation. Raises SystemExit where llama.cpp refuses."""
    kind, head = QUANTISATIONS[name]
    options = llama_cpp.llama_model_quantize_default_params()
    options.allow_requantize = True
    options.ftype = kind
    if head is not None:
        options.token_embedding_type = options.output_tensor_type = head
    target = folder / f"{name.replace(', ', '-').replace(' ', '-')}.gguf"
    if llama_cpp.llama_model_quantize(str(path).encode(), str(target).encode(), options):
        raise SystemExit(f"llama.cpp cannot write {name}")
    return target


@cache
def tensor_types(path: Path) -> str:
    """How many matrices of each type a GGUF file holds, and the type of the head."""
    from gguf import GGUFReader

    tensors = [t for t in GGUFReader(path).tensors if len(t.shape) > 1]
    head = next(t.tensor_type.name for t in tensors if t.name.startswith(("token_embd", "output.")))
    inner = Counter(t.tensor_type.name for t in tensors if t.name.startswith("blk."))
    return ", ".join(f"{n} {kind}" for kind, n in inner.most_common()) + f"; head {head}"


def compare(title: str, group: list[Setting], ids: np.ndarray, rounds: int, notes: Any) -> None:
    """Run the contenders by turns and print them beside the first."""
    print(f"\n# {title}")
    contenders = [Contender(setting, ids) for setting in group]
    for turn in range(rounds):
        for contender in contenders[:: -1 if turn % 2 else 1]:
            contender.times.append(contender.run())
    first = contenders[0]
    print(f"{'':34} {'tokens/s':>8} {'relative':>8}  same bits")
    for setting, contender in zip(group, contenders, strict=True):
        relative = median(a / b for a, b in zip(first.times, contender.times, strict=True))
        speed = len(ids) / median(contender.times)
        same = "yes" if contender.digest == first.digest else "no"
        print(f"{setting.name:34} {speed:8.1f} {relative:8.2f}  {same:9} {notes(setting)}")
        contender.close()


def text_ids(path: Path, count: int) -> np.ndarray:
    """The first tokens of a module of the standard library."""
    parameters = llama_cpp.llama_model_default_params()
    parameters.vocab_only = True
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), parameters)
    data = Path(argparse.__file__).read_bytes()[: 10 * count]
    room = (ctypes.c_int32 * len(data))()
    vocab = llama_cpp.llama_model_get_vocab(model)
    found = llama_cpp.llama_tokenize(vocab, data, len(data), room, len(data), True, False)
    llama_cpp.llama_model_free(model)
    return np.array(room[: min(found, count)], dtype=np.int32)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--skip", choices=("settings", "quantisations"))
    options = parser.parse_args()
    initialise()
    cores = usable_cores()
    path = load_plugins().locate(MODEL).path
    ids = text_ids(path, options.tokens // 8 * 8)
    print(f"{len(ids)} tokens, half of them scored, {cores} threads unless it says otherwise")
    if options.skip != "settings":
        titles = ("Chunks", "Attention and cache", "Threads")
        for title, group in zip(titles, settings(path, cores), strict=True):
            compare(title, group, ids, options.rounds, lambda setting: "")
    if options.skip == "quantisations":
        return
    with tempfile.TemporaryDirectory() as folder:
        group = [Setting("Q4_K_M, as it comes", path, threads=cores)]
        for name in QUANTISATIONS:
            made = quantise(path, Path(folder), name)
            group.append(Setting(name, made, threads=cores))
            if name in ("Q8_0", "Q4_K_M", "Q4_0"):
                plain = Setting(f"{name}, not repacked", made, threads=cores, repack=False)
                group.append(plain)

        def describe(setting: Setting) -> str:
            size = setting.path.stat().st_size / 2**20
            return f"{size:5.0f} MiB  {tensor_types(setting.path)}"

        compare("Quantisations", group, ids, options.rounds, describe)


if __name__ == "__main__":
    main()
