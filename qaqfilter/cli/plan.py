"""`qaqfilter plan`: what a run would ask of its models."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import click
from rich.filesize import decimal
from rich.table import Table

from qaqfilter.api import plan as plan_from_python
from qaqfilter.cli.options import (
    json_option,
    limit_option,
    plugin_option,
    recipe_argument,
    set_option,
)
from qaqfilter.cli.progress import make_observer
from qaqfilter.cli.say import plain_console, safe, say, say_json
from qaqfilter.estimates import MemoryPlan, ModelPlan, RecipePlan


@click.command(name="plan", epilog="Example: qaqfilter plan recipe.yaml --sample 1000")
@recipe_argument
@set_option
@plugin_option
@limit_option
@click.option(
    "--sample",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    help="Records that are tokenised, spread evenly over the input.",
)
@json_option
def command(
    *,
    recipe: Path,
    overrides: tuple[str, ...],
    plugins: tuple[Path, ...],
    limit: int | None,
    sample: int,
    as_json: bool,
) -> None:
    """Say what a run would compute, and load no weights.

    A model's files are looked at, and fetched where they are not here yet; nothing is scored.
    """
    with make_observer() as observer:
        plan = plan_from_python(
            recipe,
            overrides=overrides,
            plugins=plugins,
            limit=limit,
            sample=sample,
            observer=observer,
        )
    if as_json:
        say_json(plan.as_data())
        return
    console = plain_console()
    console.print(_steps(plan))
    if plan.models:
        console.print(_models(plan))
    for note in _notes(plan, recipe):
        say(note)


def _steps(plan: RecipePlan) -> Table:
    table = Table(title=safe(plan.name), title_justify="left")
    table.add_column("step")
    table.add_column("records in", justify="right")
    table.add_column("go on", justify="right")
    for step in plan.steps:
        known = f"{plan.whole(step.kept)}" if step.decides else "not known yet"
        table.add_row(f"{step.id} ({step.use})", f"{plan.whole(step.read)}", known)
    return table


def _models(plan: RecipePlan) -> Table:
    table = Table()
    table.add_column("model")
    for model in plan.models:
        table.add_column(safe(model.model), justify="right")
    table.add_row("for step", *(model.step for model in plan.models))
    for name, show in _counts(plan).items():
        texts = [show(model) for model in plan.models]
        if any(texts):
            table.add_row(name, *texts)
    return table


def _counts(plan: RecipePlan) -> dict[str, Callable[[ModelPlan], str]]:
    """A row for each count; one that says nothing of any model is left out."""

    def count(get: Callable[[ModelPlan], int]) -> Callable[[ModelPlan], str]:
        return lambda m: f"{'≤ ' if m.upper_bound else ''}{plan.whole(get(m))}"

    def request(name: str) -> Callable[[ModelPlan], str]:
        return lambda m: str(plan.whole(m.requests[name])) if name in m.requests else ""

    def reason(name: str) -> Callable[[ModelPlan], str]:
        return lambda m: str(plan.whole(m.missing.get(name, 0)))

    reasons = sorted({name for model in plan.models for name in model.missing} | {"too_long"})
    likelihoods = dict.fromkeys(name for model in plan.models for name in model.requests)
    return {
        "records": count(lambda m: m.records),
        **{f"records {name}": reason(name) for name in reasons},
        "answers cut": lambda m: str(plan.whole(m.cut)) if m.cut else "",
        **{f"requests for {name}": request(name) for name in likelihoods},
        "sequences a record": lambda m: f"{m.sequences / max(1, m.records):.2f}",
        "tokens asked for": count(lambda m: m.asked),
        "tokens after merging": count(lambda m: m.planned),
        "known from the score store": lambda m: str(plan.whole(m.stored)),
        "in shared beginnings": lambda m: str(plan.whole(m.shared)) if m.shares else "",
        "tokens to compute": count(lambda m: m.computed),
        "weights on disk": lambda m: "" if m.weights is None else decimal(m.weights),
        "memory": lambda m: "" if m.memory is None else f"about {decimal(m.memory)}",
        "tokens/s before": lambda m: f"{m.speed:.0f}" if m.speed else "",
        "time": lambda m: _time(plan.seconds(m)),
    }


def _memory(memory: MemoryPlan) -> str:
    parts = {
        "the process": memory.process,
        "columns": memory.columns,
        "the score store's index": memory.index,
        "the largest model" if memory.complete else "the largest model's weights": memory.model,
    }
    told = ", ".join(f"{name} {decimal(size)}" for name, size in parts.items() if size)
    about = "about" if memory.complete else "at least"
    more = "" if memory.complete else "; what a pass takes beside them its backend does not say"
    return f"Memory: {about} {decimal(memory.total)} ({told}){more}."


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _notes(plan: RecipePlan, recipe: Path) -> Iterator[str]:
    read = f"{plan.records} records" + (f" and {plan.bad} bad ones" if plan.bad else "")
    if plan.exact:
        yield f"{read}; all were tokenised."
    else:
        yield f"{read}; {plan.sampled} were tokenised, and what stands above is carried to all."
    if any(model.upper_bound for model in plan.models):
        yield (
            "≤: an upper bound. A step before it drops records, and nobody knows yet which, so it "
            "is counted as if all came through."
        )
    if any(0 < model.stored < model.planned for model in plan.models):
        yield (
            "Known from the score store: at most. A batch of which any score is missing is "
            "computed whole."
        )
    yield _memory(plan.memory)
    if any(plan.seconds(model) is None for model in plan.models):
        yield (
            f"Time unknown: no run in {plan.folder} has asked this model yet. `qaqfilter score "
            f"{shlex.quote(str(recipe))} --limit 200` leaves one to go by, and its "
            "scores are not computed again; go on with --replace."
        )
    elif plan.models:
        total = sum(plan.seconds(model) or 0.0 for model in plan.models)
        yield f"Time: {_time(total)}, at the speed of the run in {plan.folder}, loading included."
