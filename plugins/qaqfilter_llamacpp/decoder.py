"""Token ids to rows of logits: one sequence at a time, in chunks of whole groups of 8.

llama.cpp picks its kernels by the number of rows: what is left over after groups of four goes
through another kernel, whose last digits differ (by up to half a nat on a token once activations
are quantised). So every chunk is filled up to a multiple of 8 with tokens behind the ones that
count, which a causal model cannot see. With flash attention off, the logits at a position then
are a function of the tokens up to it, to the bit: not of what else is scored, the threads, the
context size, or how long the sequence goes on. Packing sequences into one batch breaks this.

So a beginning that two sequences have in common is computed once: the cache keeps the last
sequence, whichever call it came with, and the next goes on at the last multiple of 8 before they
part. And so the context may start small and grow with the longest sequence met.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import llama_cpp  # noqa: TID253 - only backend.py imports this file
import numpy as np
from numpy.typing import NDArray

from qaqfilter import BackendError, ModelError, Work
from qaqfilter_llamacpp.library import Interruptible, complaints

GROUP = 8
CHUNK = 128
_SMALLEST_CONTEXT = 512
_KV_TYPES = {"f16": llama_cpp.GGML_TYPE_F16, "f32": llama_cpp.GGML_TYPE_F32}
_STATUS = {1: "no room in the key-value cache", 2: "the computation was stopped"}


def round_up(count: int) -> int:
    """The next multiple of GROUP."""
    return -(-count // GROUP) * GROUP


class Decoder:
    """A context of `model` and one batch. `close` frees both; the model stays.

    The key-value cache takes 2 bytes (4 with `f32`) × 2 × layers × width of the keys a position:
    half a megabyte in a Llama of 7 billion, 2 GB at 4,096 positions. So it begins with 512 and is
    made anew, at least twice as large, where a sequence needs more, up to `longest`. `shortest`
    is for models that change with the size of their context: it never is below that.
    """

    def __init__(
        self,
        model: Any,
        runner: Interruptible,
        *,
        longest: int,
        shortest: int,
        threads: int,
        kv_type: str,
        gpu: bool,
        vocabulary: int,
    ) -> None:
        parameters = llama_cpp.llama_context_default_params()
        # 256 and 512 were 3 % faster on a CPU, and hold 1 MB of logits a token at Gemma's size.
        parameters.n_batch = parameters.n_ubatch = CHUNK
        parameters.n_seq_max = 1
        parameters.n_threads = parameters.n_threads_batch = threads
        parameters.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        parameters.type_k = parameters.type_v = _KV_TYPES[kv_type]
        parameters.swa_full = True
        # With no layer on the GPU nothing runs there, not even the large matrices of a chunk.
        parameters.offload_kqv = parameters.op_offload = gpu
        parameters.no_perf = True
        self._parameters = parameters
        self._model = model
        self._runner = runner
        self._context: Any = None
        self._room = 0
        self._longest = round_up(longest)
        self._shortest = min(max(round_up(shortest), _SMALLEST_CONTEXT), self._longest)
        self._held = np.empty(0, dtype=np.int32)  # the tokens in the key-value cache
        self._vocabulary = vocabulary
        self._batch = llama_cpp.llama_batch_init(CHUNK, 0, 1)
        self._tokens = np.ctypeslib.as_array(self._batch.token, shape=(CHUNK,))
        self._positions = np.ctypeslib.as_array(self._batch.pos, shape=(CHUNK,))
        self._flags = np.ctypeslib.as_array(self._batch.logits, shape=(CHUNK,))
        for index in range(CHUNK):
            self._batch.n_seq_id[index] = 1
            self._batch.seq_id[index][0] = 0
        self._closed = False
        self.work = Work()
        """What was decoded so far; kept after `close`."""

    def rows(
        self, ids: Sequence[int], wanted: NDArray[np.int64]
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Yield (positions, their logits) chunk by chunk; positions are `wanted`, in order.

        `wanted` is ascending and without repeats. The logits are llama.cpp's own memory: use
        them before the next chunk. Raises BackendError where llama.cpp fails.
        """
        if not len(wanted):
            return
        needed = round_up(int(wanted[-1]) + 1)
        if needed > self._longest:  # llama.cpp would end the process
            raise BackendError(f"position {wanted[-1]} lies outside n_ctx = {self._longest}")
        self._make_room(needed)
        padded = np.full(needed, ids[0], dtype=np.int32)
        real = min(needed, len(ids))
        padded[:real] = ids[:real]
        begin = self._reuse(padded, int(wanted[0]))
        self._count(reused=begin)
        for start in range(begin, needed, CHUNK):
            stop = min(start + CHUNK, needed)
            inside = wanted[(wanted >= start) & (wanted < stop)]
            self._decode(padded[start:stop], start, inside - start)
            self._held = padded[:stop]
            useful = min(stop, int(wanted[-1]) + 1) - start
            self._count(computed=useful, padding=stop - start - useful)
            if len(inside):
                yield inside, self._logits(len(inside))

    def forget(self) -> None:
        """Overwrite the cache, after a NaN: masked or not, it would spread to other sequences.

        What is masked counts zero times, and zero times NaN is NaN.
        """
        self._held = self._held[:0]
        if self._context:
            llama_cpp.llama_memory_clear(self._memory, True)

    def _make_room(self, needed: int) -> None:
        """Have a context of `needed` positions, multiple of GROUP, or more."""
        if needed <= self._room:
            return
        room = min(max(needed, 2 * self._room, self._shortest), self._longest)
        self._free_context()  # first: two caches side by side may not fit
        self._parameters.n_ctx = room
        context = self._runner.call(llama_cpp.llama_init_from_model, self._model, self._parameters)
        if not context:
            raise ModelError(
                f"llama.cpp cannot make a context of {room} tokens: {complaints()}; "
                "set a smaller n_ctx"
            )
        self._context, self._room = context, room
        llama_cpp.llama_set_abort_callback(context, self._runner.should_stop, self._runner.data)
        self._memory = llama_cpp.llama_get_memory(context)

    def _free_context(self) -> None:
        self._held, self._room = self._held[:0], 0
        if self._context:
            llama_cpp.llama_free(self._context)
            self._context = None

    def _count(self, computed: int = 0, reused: int = 0, padding: int = 0) -> None:
        """Replace `work` as a whole, so that another thread may read it at any time."""
        done = self.work
        self.work = Work(done.computed + computed, done.reused + reused, done.padding + padding)

    def _reuse(self, tokens: NDArray[np.int32], first_wanted: int) -> int:
        """Cut the cache back to what `tokens` begin with; how many positions that leaves."""
        held, self._held = self._held, self._held[:0]  # nothing, should anything fail from here
        shorter = min(len(held), len(tokens))
        differing = np.flatnonzero(held[:shorter] != tokens[:shorter])
        common = int(differing[0]) if len(differing) else shorter
        keep = min(common, first_wanted) // GROUP * GROUP
        # Recurrent models cannot go back to the middle, and say so.
        if not keep or not llama_cpp.llama_memory_seq_rm(self._memory, 0, keep, -1):
            llama_cpp.llama_memory_clear(self._memory, True)
            return 0
        return keep

    def _decode(self, tokens: NDArray[np.int32], start: int, flagged: NDArray[np.int64]) -> None:
        count = len(tokens)
        self._batch.n_tokens = count
        self._tokens[:count] = tokens
        self._positions[:count] = np.arange(start, start + count)
        self._flags[:] = 0
        self._flags[flagged] = 1
        status = self._runner.call(llama_cpp.llama_decode, self._context, self._batch)
        if status != 0:
            reason = _STATUS.get(status) or complaints()
            raise BackendError(f"llama.cpp failed with status {status}: {reason}")

    def _logits(self, count: int) -> NDArray[np.float32]:
        """The flagged rows of the last chunk, viewed, not copied."""
        pointer = llama_cpp.llama_get_logits(self._context)
        if not pointer:
            raise BackendError(f"llama.cpp gave no logits: {complaints()}")
        return np.ctypeslib.as_array(pointer, shape=(count, self._vocabulary))

    def close(self) -> None:
        """Free the batch and the context now. May be called again."""
        self._free_context()
        if not self._closed:
            del self._tokens, self._positions, self._flags
            llama_cpp.llama_batch_free(self._batch)
            self._closed = True
