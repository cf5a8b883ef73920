"""Which contenders stand beside qaqfilter and the loop, each at its best batch size."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from benchmarks.best_batch import best_batch
from benchmarks.contender import Contender, too_large
from benchmarks.full_logits import padded
from benchmarks.models import Loaded
from benchmarks.workload import Workload
from qaqfilter import PromptFormat
from qaqfilter.discovery import is_installed

PEERS = {"padded": None, "lm-eval": "lm_eval", "minicons": "minicons"}
"""Name on the command line -> the module that must be installed for it."""

TRIAL = 6
"""Records of the trial that finds a peer's best batch size."""


def check_installed(names: Sequence[str]) -> None:
    """Raise SystemExit for a peer that is not there: none is left out in silence."""
    missing = [name for name in names if (module := PEERS[name]) and not is_installed(module)]
    if missing:
        raise SystemExit(
            f"not installed: {', '.join(missing)}. Choose others with --peers, or mend it with: "
            "pip install -r benchmarks/requirements.txt -c constraints.txt"
        )


def chosen_peers(
    names: Sequence[str],
    workload: Workload,
    prompt: PromptFormat,
    loaded: Loaded,
    console: Console,
) -> list[Contender]:
    """The wanted peers, each at its best batch size; one that does not fit is left out, aloud."""
    found = []
    trial = workload.part(TRIAL)
    if "padded" in names:
        batches = padded(loaded)
        if reason := too_large(batches, workload):
            console.print(f"{batches.name} left out: {reason}")
        else:
            found.append(batches)
    if "lm-eval" in names:
        from benchmarks.lm_eval_peer import lm_eval

        found.append(best_batch(lm_eval(loaded), workload, trial, console))
    if "minicons" in names:
        from benchmarks.minicons_peer import minicons

        make, different = minicons(loaded, prompt, workload)
        able = make(1).likelihoods
        console.print(f"minicons can be given the same token ids for: {', '.join(able) or 'none'}")
        for name, bad in different.items():
            if bad:
                console.print(f"minicons left out for {name}: other token ids in {bad} records")
        if able:
            found.append(best_batch(make, workload.only(able), trial.only(able), console))
    return found
