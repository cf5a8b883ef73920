"""The command line of `compare-presets`."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.table import Table

from qaqfilter import PromptError, fractional_ranks
from qaqfilter.cli.options import json_option, plugin_option, set_option
from qaqfilter.cli.progress import make_observer
from qaqfilter.cli.say import plain_console, safe, say, say_json
from qaqfilter.looking import look
from qaqfilter.manager import PluginManager, load_plugins
from qaqfilter.presets import preset_keys
from qaqfilter.previewed import Previewed
from qaqfilter.previewing import preview_recipe
from qaqfilter.recipe import build_recipe
from qaqfilter.starting import backend_for, location_for, sink_for
from qaqfilter.yamlfile import YamlFile
from qaqfilter_compare.comparing import Comparison, Pair, pairs

NAME = "compare-presets"
SHOWN = 5
"""Records that are shown of each preset: those whose ranks are furthest apart."""


@click.command(
    name=NAME,
    short_help="Score data by scripts' presets, and cleanly.",
    epilog="Example: qaqfilter compare-presets data.jsonl --model builtin:strong",
)
@click.argument("data", nargs=-1, required=True)
@click.option(
    "--model", required=True, help="A folder, a .gguf file, a Hugging Face id or builtin:strong."
)
@click.option("--weak-model", help="A second model: QAQ's script is then compared by its diff.")
@click.option(
    "-n",
    "--records",
    type=click.IntRange(min=2),
    default=200,
    show_default=True,
    help="How many records, drawn at random.",
)
@click.option("--seed", default=0, show_default=True, help="By which they are drawn.")
@click.option(
    "--template",
    metavar="PLACE",
    help="For QAQ's script, where the model has no chat template: a file with one, or a model to "
    "borrow it of (the instruct sibling, say).",
)
@set_option
@plugin_option
@json_option
def compare_presets(*, data: tuple[str, ...], as_json: bool, **given: Any) -> None:
    """Score DATA by the presets of published scripts, and by the clean steps beside them.

    Says of each preset how the two order the records, who is kept by its rule, and by how much
    records differ. Scores are kept in the score store; nothing else is written.
    """
    manager = load_plugins(given["plugins"])
    presets = {name: preset_keys(manager, name) for name in manager.names("preset")}
    asked = pairs(presets, two_models=given["weak_model"] is not None)
    found, left_out = [], {}
    labels: list[str] = []
    with make_observer() as observer:
        for pair in asked:
            recipe = build_recipe(_recipe(manager, pair, data, given), Path.cwd() / NAME, manager)
            drawn = {"records": given["records"], "random": given["seed"]}
            try:
                shown = preview_recipe(recipe, manager, observer, **drawn).records
            except PromptError as error:
                left_out[pair.preset] = str(error)
                continue
            labels = [one.record.id for one in shown]
            columns = (_values(shown, f"{step}.{pair.column}") for step in ("clean", "script"))
            found.append(Comparison(pair, *columns))
    rows = [comparison.as_data(labels) for comparison in found]
    if as_json:
        say_json({"records": len(labels), "presets": rows, "left_out": left_out})
        return
    _show(found, rows, labels)
    for preset, why in left_out.items():
        say(f"{preset} is left out: {why}")


def _recipe(
    manager: PluginManager, pair: Pair, data: Sequence[str], given: Mapping[str, Any]
) -> YamlFile:
    """A recipe of two steps that only score: the clean one and the script's."""
    here = Path.cwd()
    found = look(manager, data, here)
    names = {"model": given["model"]}
    if given["weak_model"] is not None:
        names["weak"] = given["weak_model"]
    two = {"strong": "model", "weak": "weak"}
    models = two if pair.clean["use"] == "disagreement" else {"model": "model"}
    script = dict(pair.script)
    if given["template"] is not None and "template_from" in _options_of_prompt(manager, pair):
        script["prompt"] = {**script["prompt"], **_template(given["template"])}
    steps = [{"id": "clean", **pair.clean, **models}, {"id": "script", **script, **models}]
    file = YamlFile(
        NAME,
        {
            "version": 1,
            "name": NAME,
            "input": {"use": found.source, "path": list(found.patterns)},
            "models": {
                name: {"use": backend_for(manager, model), "model": location_for(model, here)}
                for name, model in names.items()
            },
            "steps": steps,
            "output": {"use": sink_for(manager, found.source), "path": NAME},
        },
    )
    for assignment in given["overrides"]:
        file.set(assignment)
    return file


def _template(place: str) -> dict[str, str]:
    """What a prompt is told of where its chat template is."""
    is_text = Path(place).is_file() and not place.lower().endswith(".gguf")
    return {"template" if is_text else "template_from": location_for(place, Path.cwd())}


def _options_of_prompt(manager: PluginManager, pair: Pair) -> Collection[str]:
    """The options of the prompt that asks as the script does."""
    return manager.component("prompt", pair.script["prompt"]["use"]).config.model_fields


def _values(shown: Sequence[Previewed], column: str) -> Any:
    values = [one.numbers.get(column) for one in shown]
    return np.array([math.nan if value is None else value for value in values])


def _show(
    found: Sequence[Comparison], rows: Sequence[Mapping[str, Any]], labels: Sequence[str]
) -> None:
    console = plain_console()
    table = Table(title=f"{len(labels)} records: the scripts beside the clean definitions")
    table.add_column("preset")
    table.add_column("score")
    for heading in ("both", "null", "rank correlation", "kept", "overlap"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            row["preset"],
            row["column"],
            str(row["both"]),
            f"{row['clean_nulls']} / {row['script_nulls']}",
            _text(row["spearman"]),
            f"{row['kept_clean']} / {row['kept_script']}",
            _text(row["overlap"]),
        )
    console.print(table)
    say("null and kept: clean / script. overlap: kept by both, of those kept by either.")
    for comparison, row in zip(found, rows, strict=True):
        spread = row["difference"]
        say(
            f"\n{comparison.pair.preset}: script - clean is {_text(spread['median'])} (median; "
            f"{_text(spread['p05'])} to {_text(spread['p95'])} from the 5th to the 95th percentile)"
        )
        for line in _furthest(comparison, labels):
            say(line)


def _furthest(comparison: Comparison, labels: Sequence[str]) -> list[str]:
    """The records that the two place furthest from each other."""
    both = np.flatnonzero(comparison.both)
    if not len(both):
        return []
    clean, script = (fractional_ranks(v[both]) for v in (comparison.clean, comparison.script))
    furthest = np.argsort(-np.abs(clean - script), kind="stable")[:SHOWN]
    lines = ["  furthest apart in rank (clean, script):"]
    for place in furthest.tolist():
        row = both[place]
        lines.append(
            f"  {safe(labels[row])}: rank {clean[place]:.2f}, {script[place]:.2f}; "
            f"{comparison.pair.column} {comparison.clean[row]:.4g}, {comparison.script[row]:.4g}"
        )
    return lines


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
