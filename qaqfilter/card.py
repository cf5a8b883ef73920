"""README.md of a run directory: a data card, by which the kept records can be loaded and judged.

Its front matter is that of a data set on the Hugging Face hub: `load_dataset(folder)` takes the
kept records, and not the rejected ones or the scores. It holds no times, so that two runs that
came to the same write the same card.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from qaqfilter.chain import Chain
from qaqfilter.manifest import Order, versions
from qaqfilter.markdown import block, code, table
from qaqfilter.printable import printable
from qaqfilter.recipe import Step
from qaqfilter.reports import ModelReport, RunReport
from qaqfilter.selectors import Cites, Decides
from qaqfilter.shared_recipe import recipe_text
from qaqfilter.spread import QUANTILES, histogram, quantiles
from qaqfilter.types import Bools, Floats

PARTS = 20
"""Input files that are listed."""
SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"))
MORE = ((10**7, "1M<n<10M"), (10**8, "10M<n<100M"), (10**9, "100M<n<1B"), (10**12, "1B<n<1T"))
_SHARD = re.compile(r"-[0-9]{5,}\.")
LICENCE = """\
None is stated here: the records keep the licence of the data they were taken from. Whoever
publishes them has to look it up, and write it into the front matter of this file (`license:`).
"""


def data_card(
    report: RunReport,
    order: Order,
    chain: Chain,
    scored_by: Sequence[ModelReport],
    files: Sequence[str],
) -> str:
    """The card's text. `files` are the names of the files beside it, or patterns of them."""
    sections = {
        f"# Kept records of {code(report.name)}": _what(report, chain),
        "## Counts": _counts(report, chain),
        "## Models": _models(chain, scored_by),
        "## Distributions": "\n".join(_distributions(chain)),
        "## How to reproduce": _reproduce(order, chain),
        "## How to cite": _cite(chain.recipe.steps),
        "## Licence": LICENCE,
    }
    parts = [f"{heading}\n\n{text}" for heading, text in sections.items() if text]
    return f"---\n{_front(report, files)}---\n\n" + "\n".join(parts)


def _front(report: RunReport, files: Sequence[str]) -> str:
    from huggingface_hub import DatasetCardData  # only where a card is written: it takes 0.1 s

    configs = [
        {
            "config_name": config,
            "data_files": [{"split": "train", "path": found[0] if len(found) == 1 else found}],
        }
        for config, name in (("default", "kept"), ("rejected", "rejected"))
        if (found := sorted({_SHARD.sub("-*.", f) for f in files if _is(name, f)}))
    ]
    data = DatasetCardData(
        pretty_name=printable(report.name),
        size_categories=[next((s for most, s in (*SIZES, *MORE) if report.kept < most), "n>1T")],
        tags=["qaqfilter", "data-selection", "instruction-tuning"],
        configs=configs or None,
    )
    return f"{data.to_yaml(line_break=chr(10))}\n"


def _is(name: str, file: str) -> bool:
    """Whether a file, or a shard, has this name."""
    return _SHARD.sub(".", file).startswith((f"{name}.", f"{name}/"))


# --- what was done ----------------------------------------------------------------------


def _what(report: RunReport, chain: Chain) -> str:
    steps = [_rule(step) for step in chain.recipe.steps]
    listed = "".join(f"- {line}\n" for line in steps)
    parts = chain.stream.parts
    rows = [(code(part.part), f"{part.records}") for part in islice(parts, PARTS)]
    if len(parts) > PARTS:
        rows.append((f"and {len(parts) - PARTS} more", ""))
    return (
        f"Of {report.read} records read, the {report.kept} that every step of a filter chain let "
        "through are kept here. A step keeps records by one number, taken from the text or from "
        "how likely language models find it, and throws the others out:\n\n"
        f"{listed}\n{table(('input', 'records'), rows)}"
    )


def _rule(step: Step) -> str:
    component, keep = step.block.component, step.keys.keep
    if isinstance(step.selector, Decides):
        rule = "decides by a rule of its own"
    elif keep is None:
        rule = "drops nothing"
    else:
        rule = f"keeps {code(_plain(keep.model_dump(mode='json', exclude_defaults=True)))}"
    beside = [
        f"{key} {code(_plain(value))}"
        for key, value in (
            ("in strata of", step.keys.strata and step.keys.strata.model_dump(mode="json")),
            ("in groups by", step.keys.group),
        )
        if value is not None
    ]
    what = f"{code(component.name)}: {printable(component.summary)}"
    return f"{code(step.id)} ({what}) {' '.join([rule, *beside])}"


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_plain(item)}" for key, item in value.items())
    return str(value).lower() if isinstance(value, bool) else str(value)


def _counts(report: RunReport, chain: Chain) -> str:
    rows = [("", "read", f"{report.read}", "")]
    if report.quarantined:
        rows.append(("", "quarantined: no record", f"{report.quarantined}", ""))
    for step in report.steps:
        for reason, count in step.rejected.items():
            bound = _bound(chain, step.id, reason)
            rows.append((code(step.id), f"rejected: {code(reason)}", f"{count}", bound))
    rows.append(("", "kept", f"{report.kept}", ""))
    counts = table(("step", "what", "records", "bound"), rows)
    groups = [
        (code(step.id), code(group.name), f"{group.read}", f"{group.kept}")
        for step in report.steps
        for group in step.groups
    ]
    listed = table(("step", "group", "reached it", "kept"), groups)
    return f"{counts}\n{listed}" if groups else counts


def _bound(chain: Chain, step: str, reason: str) -> str:
    """What the rejected were judged against, where that is one number."""
    fates = chain.fates
    codes = [index for index, word in enumerate(fates.reasons) if word == reason]
    here = (fates.step == fates.steps.index(step)) & np.isin(fates.reason, codes)
    bounds = np.unique(fates.bound[here & ~np.isnan(fates.bound)])
    return f"{bounds[0]:.6g}" if len(bounds) == 1 else ""


def _models(chain: Chain, scored_by: Sequence[ModelReport]) -> str:
    """Which models, told so that another can see whether theirs gives the same numbers."""
    if not scored_by:
        return "No model was asked.\n"
    rows = []  # a model that was asked in two stretches has two reports
    for model in sorted(scored_by, key=lambda model: model.name):
        backend = chain.recipe.models[model.name.rpartition("@")[2]].backend
        rows.append((code(model.name), code(backend.component.name), code(model.fingerprint)))
    used = ", ".join(f"{name} {number}" for name, number in versions().items())
    listed = table(("model", "backend", "fingerprint"), list(dict.fromkeys(rows)))
    return f"{listed}\nVersions: {used}.\n"


# --- numbers ----------------------------------------------------------------------------


def _distributions(chain: Chain) -> Iterator[str]:
    """Every column by which a step decided, for what reached the step and for what was kept."""
    fates = chain.fates
    kept = fates.step < 0
    for index, step in enumerate(chain.recipe.steps):
        reached = kept | (fates.step >= index)
        for name in _deciding(step):
            values = chain.columns.numbers.get(name)
            if values is not None:
                yield _distribution(name, values, reached, kept)


def _deciding(step: Step) -> Iterator[str]:
    if step.keys.keep is None and not isinstance(step.selector, Decides):
        return
    yield f"{step.id}.{step.selector.columns[0]}"
    if step.keys.strata is not None:
        by = step.keys.strata.by
        yield f"{step.id}.{by}" if by in step.selector.columns else by


def _distribution(name: str, values: Floats, reached: Bools, kept: Bools) -> str:
    rows, bars = [], []
    everywhere = quantiles(values[reached])
    for label, which in (("all", reached), ("kept", kept)):
        found = quantiles(values[which])
        count = int(np.count_nonzero(~np.isnan(values[which])))
        shown = [f"{value:.4g}" for value in found] or [""] * len(QUANTILES)
        rows.append((label, f"{count}", *shown))
        if everywhere:
            bars.append(f"{label:<5}|{histogram(values[which], everywhere[0], everywhere[-1])}|")
    heading = ("records", "count", *(f"{q} %" for q in QUANTILES))
    drawn = f"\n{block(chr(10).join(bars), 'text')}" if bars else ""
    return f'{code(name)}; "all" are those that reached the step.\n\n{table(heading, rows)}{drawn}'


# --- what to do with it -------------------------------------------------------------------


def _reproduce(order: Order, chain: Chain) -> str:
    limit = "" if order.limit is None else f" --limit {order.limit}"
    return (
        "Save this as `recipe.yaml` beside the input. Paths are relative to it.\n\n"
        f"{block(recipe_text(chain.recipe), 'yaml')}\n"
        f"{block(f'qaqfilter run recipe.yaml{limit}', 'console')}"
    )


def _cite(steps: Sequence[Step]) -> str:
    """The papers of the steps' methods, each once."""
    found = {
        paper: None
        for step in steps
        if isinstance(step.selector, Cites)
        for paper in step.selector.papers
    }
    return "".join(f"- {printable(paper.name)}: <{printable(paper.url)}>\n" for paper in found)
