"""Speed of the transformers backend beside a plain loop, padded batches, lm-eval and minicons.

python -m benchmarks.transformers
python -m benchmarks.transformers --prefix
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping, Sequence
from functools import partial

from rich.console import Console

from benchmarks import agreement, matrix_work, prefix, rounds
from benchmarks.contender import too_large
from benchmarks.data import real_records
from benchmarks.expected import expected_sums
from benchmarks.full_logits import loop
from benchmarks.models import Loaded, gemma_folder, load
from benchmarks.ours import open_backend, open_prompt, our_contender, work_during
from benchmarks.peers import PEERS, check_installed, chosen_peers
from benchmarks.workload import Sums, Workload, make_workload
from qaqfilter import LIKELIHOODS, Backend, PromptFormat, Work
from qaqfilter.manager import PluginManager, load_plugins


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    asked = _parser().parse_args(arguments)
    console = Console(highlight=False, soft_wrap=True)
    peers = [] if asked.prefix else list(dict.fromkeys(asked.peers))
    check_installed(peers)
    packages = [name for name in peers if PEERS[name]]
    console.print(rounds.header(["torch", "transformers", *packages]))
    manager = load_plugins()
    folder = gemma_folder(manager, console)
    backend = open_backend(manager, folder)
    try:
        block = prefix.CHAT_LIKE if asked.prefix else {"use": "plain"}
        prompt = open_prompt(manager, backend, block)
        workload = _workload(manager, backend, prompt, asked)
        console.print(
            f"{len(workload.records)} records, {workload.tokens} tokens in "
            f"{len(workload.records) * len(workload.likelihoods)} requests, the longest "
            f"{workload.longest}; planned into {len(workload.sequences)} sequences"
        )
        measure = _prefix if asked.prefix else partial(_compare, peers=peers)
        measure(workload, backend, prompt, load(folder), count=asked.rounds, console=console)
    finally:
        backend.close()


def _compare(
    workload: Workload,
    backend: Backend,
    prompt: PromptFormat,
    loaded: Loaded,
    *,
    count: int,
    console: Console,
    peers: Sequence[str],
) -> None:
    ours, plain = our_contender(backend, prompt), loop(loaded)
    if reason := too_large(plain, workload):
        raise SystemExit(f"the loop {reason}; allow fewer tokens")
    contenders = [ours, plain, *chosen_peers(peers, workload, prompt, loaded, console)]
    base = {}
    for other in contenders[1:]:
        if other.likelihoods == ours.likelihoods:
            base[other.name] = ours.name
        else:  # qaqfilter beside it, doing only as much
            base[other.name] = f"qaqfilter, {len(other.likelihoods)} of {len(LIKELIHOODS)}"
            contenders.append(our_contender(backend, prompt, base[other.name], other.likelihoods))
    parts = {c.name: workload.only(c.likelihoods) for c in contenders}
    runs = {c.name: partial(c.score, parts[c.name]) for c in contenders}
    sums = {name: run() for name, run in runs.items()}  # the warm-up as well
    _check(workload, loaded, sums, console)
    sgemm = matrix_work.Sgemm()
    sgemm.measure()
    seconds = rounds.alternate(runs, count, console)
    sgemm.measure()
    base |= {name: name for name in runs if name not in base}
    tokens = {name: part.tokens for name, part in parts.items()}
    console.print(rounds.speed_table(seconds, base, len(workload.records), tokens))
    console.print("qaqfilter and minicons tokenise within the time; the others are given ids.")
    needed, weights = (
        matrix_work.tokens_of(workload.sequences),
        matrix_work.weights_of(loaded.model),
    )
    middle = statistics.median(seconds[ours.name])
    console.print(matrix_work.report(needed, weights, middle, sgemm))
    console.print(_saved(work_during(backend, runs[ours.name]), workload))


def _prefix(
    workload: Workload,
    backend: Backend,
    prompt: PromptFormat,
    loaded: Loaded,
    *,
    count: int,
    console: Console,
) -> None:
    apart = our_contender(prefix.Unshared(backend), prompt, "not shared")
    runs = {
        "not shared": partial(apart.score, workload),
        "shared": partial(our_contender(backend, prompt, "shared").score, workload),
    }
    starts = prefix.beginnings(workload, prompt, backend)
    console.print(f"fixed beginnings, in tokens: {', '.join(map(str, sorted(map(len, starts))))}")
    _check(workload, loaded, {name: run() for name, run in runs.items()}, console)
    seconds = rounds.alternate(runs, count, console)
    weights = matrix_work.weights_of(loaded.model)
    prefix.report(seconds, *prefix.needed(workload, starts), weights, console)
    console.print(_saved(work_during(backend, runs["shared"]), workload))


def _check(workload: Workload, loaded: Loaded, sums: Mapping[str, Sums], console: Console) -> None:
    expected = expected_sums(loaded, workload)
    for name, largest in agreement.check(workload, expected, sums).items():
        console.print(f"{name}: at most {largest:.1e} nats off on a record's sum")


def _workload(
    manager: PluginManager, backend: Backend, prompt: PromptFormat, asked: argparse.Namespace
) -> Workload:
    def tokens(text: str) -> int:
        return len(backend.encode(text, markup=False))

    records = real_records(manager, asked.records, asked.max_tokens, tokens)
    return make_workload(records, backend, prompt)


def _saved(work: Work | None, workload: Workload) -> str:
    """What planning, sharing and batching made of the tokens that were asked for."""
    planned = sum(len(sequence.ids) for sequence in workload.sequences)
    asked = workload.tokens
    text = f"tokens: {asked} asked for, {planned} planned ({1 - planned / asked:.0%} saved)"
    if work is None:
        return f"{text}; padding and sharing: not reported by the backend"
    waste = work.padding / max(1, work.computed + work.padding)
    return (
        f"{text}; {work.computed} computed, {work.reused} reused, {work.padding} padding "
        f"({waste:.1%} of what went through the model)"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transformers", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--records", type=int, default=40, help="how many (default: 40)")
    parser.add_argument("--rounds", type=int, default=3, help="of all contenders (default: 3)")
    parser.add_argument(
        "--max-tokens", type=int, default=500, help="most tokens of query or answer (default: 500)"
    )
    parser.add_argument(
        "--peers",
        nargs="*",
        choices=list(PEERS),
        default=list(PEERS),
        help="beside qaqfilter and the loop (default: all; none if nothing follows)",
    )
    parser.add_argument(
        "--prefix", action="store_true", help="measure prefix sharing instead, with a long prompt"
    )
    return parser


if __name__ == "__main__":
    main()
