"""Peak memory of the transformers backend beside full logits and lm-eval, each in its own process.

python -m benchmarks.memory
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import agreement
from benchmarks.contender import GIB, Contender, too_large
from benchmarks.data import real_records
from benchmarks.memory_of import Peak, Prepared, memory_of
from benchmarks.models import gemma_folder, load
from benchmarks.ours import open_backend, open_prompt, our_contender
from benchmarks.peers import check_installed
from benchmarks.rounds import header
from benchmarks.workload import Sums, Workload, make_workload
from qaqfilter.manager import load_plugins

NAMES = ("qaqfilter", "loop", "padded", "lm-eval")
BATCH = 8
"""Requests in a batch, for those that have batches of a fixed number."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    asked = _parser().parse_args(arguments)
    names = list(dict.fromkeys(("qaqfilter", *asked.contenders)))
    check_installed([name for name in names if name == "lm-eval"])
    console = Console(highlight=False, soft_wrap=True)
    console.print(header(["torch", "transformers", *[n for n in names if n == "lm-eval"]]))
    manager = load_plugins()
    folder = gemma_folder(manager, console)
    backend = open_backend(manager, folder)  # for its tokenizer; the weights are never loaded
    prompt = open_prompt(manager, backend)
    records = real_records(
        manager,
        asked.records,
        asked.max_tokens,
        lambda text: len(backend.encode(text, markup=False)),
    )
    workload = make_workload(records, backend, prompt)
    console.print(
        f"{len(records)} records, {workload.tokens} tokens in requests of up to {workload.longest}"
    )
    peaks: dict[str, Peak[Sums | str]] = {}
    sums: dict[str, Sums] = {}
    for name in names:
        with console.status(f"measuring {name}"):
            measured = memory_of(partial(prepare, name, folder, workload))
        if isinstance(measured.value, str):
            console.print(f"{name} left out: {measured.value}")
            continue
        peaks[name], sums[name] = measured, measured.value
    reference = "loop" if "loop" in sums else "qaqfilter"
    for name, largest in agreement.check(workload, sums[reference], sums).items():
        if name != reference:
            console.print(f"{name}: at most {largest:.1e} nats from {reference} on a record's sum")
    console.print(_table(peaks))


def prepare(name: str, folder: Path, workload: Workload) -> Prepared[Sums | str]:
    """In the child: load the contender's model and hand out its runs."""
    contender = _contender(name, folder)

    def run() -> Sums | str:
        return too_large(contender, workload) or contender.score(workload)

    return partial(contender.score, workload.shortest()), run


def _contender(name: str, folder: Path) -> Contender:
    if name == "qaqfilter":
        manager = load_plugins()
        backend = open_backend(manager, folder)
        return our_contender(backend, open_prompt(manager, backend))
    loaded = load(folder)
    if name == "lm-eval":
        from benchmarks.lm_eval_peer import lm_eval

        return lm_eval(loaded)(BATCH)
    from benchmarks.full_logits import loop, padded

    return loop(loaded) if name == "loop" else padded(loaded, BATCH)


def _table(peaks: Mapping[str, Peak[Sums | str]]) -> Table:
    table = Table(title="peak memory, GiB")
    table.add_column("contender")
    for heading in ("above the model", "times ours", "in total", "times ours"):
        table.add_column(heading, justify="right")
    ours = peaks["qaqfilter"]
    for name, own in peaks.items():
        sign = "< " if own.hidden else ""  # loading took more, and cannot be told apart
        table.add_row(
            f"{name}, batch {BATCH}" if name in ("padded", "lm-eval") else name,
            f"{sign}{own.above / GIB:.2f}",
            f"{own.above / max(1, ours.above):.1f}",
            f"{own.peak / GIB:.2f}",
            f"{own.peak / ours.peak:.1f}",
        )
    return table


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--records", type=int, default=40, help="how many (default: 40)")
    parser.add_argument(
        "--max-tokens", type=int, default=250, help="most tokens of query or answer (default: 250)"
    )
    parser.add_argument(
        "--contenders",
        nargs="+",
        choices=NAMES,
        default=NAMES,
        help="beside qaqfilter, which always runs (default: all)",
    )
    return parser


if __name__ == "__main__":
    main()
