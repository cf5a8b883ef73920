"""The llama.cpp backend against llama.cpp itself, in one process, by turns.

    python -m benchmarks.llamacpp [--records 40] [--rounds 3] [--max-tokens 500]

Three questions, on Gemma 3 270M (Q4_K_M) and functions of the standard library: what is lost to
bare `llama_decode`, what is gained on `create_completion(logprobs=1)`, and what a beginning that
sequences share saves. Seconds depend on the machine; quote the ratios.
"""

from __future__ import annotations

import argparse
import logging
import resource
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from benchmarks.data import real_records
from benchmarks.ours import Models, open_prompt
from benchmarks.workload import make_workload
from qaqfilter import TokenSequence
from qaqfilter.encoding import Encoded
from qaqfilter.manager import load_plugins
from qaqfilter.planning import plan
from qaqfilter_llamacpp import LlamaCppOptions
from qaqfilter_llamacpp.machine import patient_threads, usable_cores

with patient_threads():  # as the plugin does
    import llama_cpp

    from qaqfilter_llamacpp.backend import LlamaCppBackend
    from qaqfilter_llamacpp.decoder import CHUNK, round_up

MODEL = "pypi:gemma3-270m"
PREFIX = "Here is a docstring; write the function that it documents, and nothing else. " * 5
PREFIX_TOKENS = 60


def make_records(backend: LlamaCppBackend, count: int, max_tokens: int) -> list[list[Encoded]]:
    """The four requests of `count` real records with at most `max_tokens` tokens a side."""

    def tokens(text: str) -> int:
        return len(backend.encode(text, markup=False))

    manager = load_plugins()
    records = real_records(manager, count, max_tokens, tokens)
    workload = make_workload(records, backend, open_prompt(manager, backend))
    return [list(row) for row in zip(*workload.requests.values(), strict=True)]


class Spent(NamedTuple):
    """Seconds by the clock, seconds of all processors, and what the call gave."""

    wall: float
    cpu: float
    result: Any


def timed(work: Callable[..., Any], *arguments: Any, **more: Any) -> Spent:
    """Call `work`."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work(*arguments, **more)
    return Spent(time.perf_counter() - wall, time.process_time() - cpu, result)


def peak_memory() -> str:
    """The most that this process has had in memory so far."""
    scale = 1 if sys.platform == "darwin" else 1024
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 2**20:,.0f} MiB"


class BareDecode:
    """`llama_decode` and nothing else: the same chunks and flags as the backend, no softmax."""

    def __init__(self, path: str, threads: int, longest: int) -> None:
        self._model = llama_cpp.llama_model_load_from_file(
            path.encode(), llama_cpp.llama_model_default_params()
        )
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_ctx = round_up(longest)
        parameters.n_batch = parameters.n_ubatch = CHUNK
        parameters.n_threads = parameters.n_threads_batch = threads
        parameters.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        parameters.swa_full = True
        self._context = llama_cpp.llama_init_from_model(self._model, parameters)
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._batch = llama_cpp.llama_batch_init(CHUNK, 0, 1)

    def __call__(self, sequences: Sequence[TokenSequence]) -> None:
        """Decode what the backend has to decode for `sequences`, each by itself."""
        batch = self._batch
        for sequence in sequences:
            wanted = {p - 1 for start, end in sequence.spans for p in range(start, end)}
            needed = round_up(max(wanted) + 1)
            ids = [*sequence.ids, *[sequence.ids[0]] * 8]
            llama_cpp.llama_memory_clear(self._memory, True)
            for start in range(0, needed, CHUNK):
                stop = min(start + CHUNK, needed)
                batch.n_tokens = stop - start
                for index, position in enumerate(range(start, stop)):
                    batch.token[index], batch.pos[index] = ids[position], position
                    batch.n_seq_id[index], batch.seq_id[index][0] = 1, 0
                    batch.logits[index] = position in wanted
                if llama_cpp.llama_decode(self._context, batch):
                    raise SystemExit("llama_decode failed")

    def close(self) -> None:
        """Free everything."""
        llama_cpp.llama_batch_free(self._batch)
        llama_cpp.llama_free(self._context)
        llama_cpp.llama_model_free(self._model)


def against_bare_decode(
    backend: LlamaCppBackend, records: list[list[Encoded]], rounds: int, path: str
) -> None:
    """Print the share of `llama_decode`'s own speed that the backend has."""
    batches = [plan([requests]).sequences for requests in records]
    longest = max(len(s.ids) for batch in batches for s in batch)
    tokens = sum(len(s.ids) for batch in batches for s in batch)
    scored = sum(end - start for batch in batches for s in batch for start, end in s.spans)
    backend.logprobs(batches[0])
    print(f"peak memory before the second context: {peak_memory()}")
    bare = BareDecode(path, usable_cores(), longest)
    bare(batches[0])
    contenders: dict[str, Callable[..., Any]] = {
        "ours": backend.logprobs,
        "llama_decode alone": bare,
    }
    totals: dict[str, list[Any]] = {name: [] for name in contenders}
    for turn in range(rounds):
        spent: dict[str, list[Any]] = {name: [] for name in contenders}
        for number, batch in enumerate(batches):
            # Who goes first changes, and with it who finds the processor warm.
            for name in list(contenders)[:: -1 if (turn + number) % 2 else 1]:
                spent[name].append(timed(contenders[name], batch)[:2])
        for name, calls in spent.items():
            totals[name].append(np.sum(calls, axis=0))
    bare.close()
    print(f"{tokens} tokens in {sum(map(len, batches))} sequences, {scored} of them scored")
    for name, times in totals.items():
        wall = float(np.median(times, axis=0)[0])
        print(f"  {name:20} {len(records) / wall:8.3f} records/s {tokens / wall:8.1f} tokens/s")
    shares = np.array(totals["llama_decode alone"]) / np.array(totals["ours"])
    for what, share in zip(("records/s", "records per second of CPU time"), shares.T, strict=True):
        print(f"  ours has {np.median(share):.1%} of its {what}; rounds: {np.round(share, 3)}")


def against_completion(backend: LlamaCppBackend, records: list[list[Encoded]], path: str) -> None:
    """Print how much faster than `create_completion` the same texts are, and if numbers agree."""
    longest = [max(requests, key=lambda r: len(r.ids)).ids for requests in records]
    texts = sorted(longest, key=len)[:3]
    plain = llama_cpp.Llama(
        path, n_ctx=256, logits_all=True, flash_attn=False, n_threads=usable_cores(), verbose=False
    )
    mine, other, tokens, differences = 0.0, 0.0, 0, []
    for ids in texts:
        text = plain.detokenize(list(ids[1:])).decode()
        theirs_ids = tuple(plain.tokenize(text.encode(), special=True))
        tokens += len(theirs_ids)
        sequence = TokenSequence(theirs_ids, ((1, len(theirs_ids)),))
        spent = timed(backend.logprobs, [sequence])
        mine += spent.wall
        ((found,),) = spent.result
        spent = timed(
            plain.create_completion, text, echo=True, logprobs=1, max_tokens=1, temperature=0.0
        )
        other += spent.wall
        # Theirs leaves out the start token, and has None for the first token behind it.
        theirs = spent.result["choices"][0]["logprobs"]["token_logprobs"][1 : len(theirs_ids) - 1]
        differences.append(found[1:] - np.array(theirs))
    plain.close()
    means = [abs(float(d.mean())) for d in differences]
    worst = max(float(np.abs(d).max()) for d in differences)
    print(f"{len(texts)} short texts, {tokens} tokens, every token scored")
    print(f"  ours {tokens / mine:.1f} tokens/s, create_completion {tokens / other:.2f} tokens/s")
    print(f"  ours is {other / mine:.0f} times as fast")
    agree = "agree" if max(means) <= 0.03 and worst <= 0.5 else "DO NOT AGREE"
    print(f"  numbers {agree}: off by {max(means):.4f} on a mean, {worst:.3f} on a token, at most")


def with_a_prefix(backend: LlamaCppBackend, records: list[list[Encoded]], rounds: int) -> None:
    """Print what a fixed beginning of 60 tokens costs if it is shared, and if it is not."""
    prefix = (backend.start_token, *backend.encode(PREFIX, markup=False))[:PREFIX_TOKENS]
    # The requests' own start token is left out.
    data = [min(requests, key=lambda r: len(r.ids)).ids[1:] for requests in records]

    def once(*, shared: bool, last_only: bool) -> tuple[float, int]:
        """Seconds, and positions decoded."""
        before, spent = backend.work, 0.0
        for number, ids in enumerate(data):
            # Another first token, and nothing of the last sequence can be used again.
            whole = (prefix[0] if shared else 1000 + number, *prefix[1:], *ids)
            span = (len(whole) - 1 if last_only else PREFIX_TOKENS, len(whole))
            spent += timed(backend.logprobs, [TokenSequence(whole, (span,), PREFIX_TOKENS)]).wall
        after = backend.work
        return spent, after.computed + after.padding - before.computed - before.padding

    for last_only in (False, True):
        pairs = [
            [once(shared=shared, last_only=last_only) for shared in (True, False)]
            for _ in range(rounds)
        ]
        what = "the last token alone" if last_only else "every token behind it"
        ratio = np.median([with_it[0] / without[0] for with_it, without in pairs])
        decoded, everything = (positions for _, positions in pairs[-1])
        print(
            f"{len(data)} sequences, one a call, {what} scored: {ratio:.3f} of the time without "
            f"sharing, {decoded} of {everything} positions ({decoded / everything:.3f})"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--records", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--max-tokens", type=int, default=500, help="most tokens a side")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    shelf = Models(load_plugins())
    backend = LlamaCppBackend(LlamaCppOptions(model=MODEL), shelf)
    path = str(shelf.model_files(MODEL).path)
    records = make_records(backend, options.records, options.max_tokens)
    print("\n# A fixed beginning of 60 tokens")
    with_a_prefix(backend, records, options.rounds)
    print("\n# Against llama_decode alone, four likelihoods a record")
    against_bare_decode(backend, records, options.rounds, path)
    print("\n# Against llama_cpp.Llama.create_completion(echo=True, logprobs=1)")
    against_completion(backend, records, path)
    print(f"  peak memory, its own matrix of logits included: {peak_memory()}")
    backend.close()


if __name__ == "__main__":
    main()
