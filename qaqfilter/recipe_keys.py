"""The keys that the core itself understands, block by block; plugins add their own."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from qaqfilter.digests import Sha256
from qaqfilter.keep import Keep, Strata
from qaqfilter.named_paths import RecipePath
from qaqfilter.options import Options, RecipeOutput
from qaqfilter.units import Combine

VERSION = 1
"""The recipe format. Of another one `_known_version` says what to do."""
TooLong = Literal["reject", "cut_answer"]


class InputKeys(Options):
    """Keys of `input` that every source takes."""

    on_error: Literal["quarantine", "skip", "fail"] = Field(
        "quarantine",
        description="What to do with a bad record: `quarantine` writes it to `quarantine.jsonl`, "
        "`skip` counts it and no more, `fail` ends the run (exit code 3).",
    )
    max_errors: float = Field(
        0.01,
        ge=0,
        description="Most bad records, skipped ones too, before the run fails (exit code 3): "
        "below 1 a share of what is read, from 1 on a count. Also, for each model by itself, most "
        "records with a likelihood that is NaN or infinite, and most that its prompt cannot show, "
        "of those that it is asked about.",
    )


class ModelKeys(Options):
    """Keys of a model that every backend takes."""

    prompt: Any = Field(None, description="A prompt block for this model.")
    too_long: TooLong = Field(
        "reject",
        description="A record over the model's limit: `reject` it (reason too_long), or "
        "`cut_answer`: cut the end of the answer by as many tokens in all four likelihoods. "
        "A query is never cut. The column `<model>.cut` tells how many tokens went.",
    )
    detail: Literal["sums", "tokens"] = Field(
        "sums",
        description="`tokens`: every token's log-probability is kept too, in the score store and "
        "in `tokens.parquet`. Selectors that need them ask by themselves.",
    )
    sha256: Sha256 = Field(
        None,
        description="The SHA-256 of the weights, 64 hexadecimal digits, or `{file name: digest}` "
        "naming every weight file where there are several. Compared before the model is loaded.",
    )


class StepKeys(Options):
    """Keys of a step that every selector takes."""

    id: str = Field(description="Name of the step: in columns, rejects and reports.")
    preset: str | None = Field(
        None,
        description="A step that a plugin has written: what it says is filled in, `use` too, where "
        "this step does not say it itself.",
    )
    keep: Keep | None = Field(None, description="The keep rule; without it the step only scores.")
    strata: Strata | None = Field(None, description="Ranks are taken inside equal-count bins.")
    group: str | None = Field(
        None,
        description="Each record is ranked among those that have the same value here: a field of "
        "the record, with dots into objects, or a column `<step>.<column>` of this step or an "
        "earlier one.",
    )
    combine: Combine = Field(
        "mean",
        description="With `turns: each`: how the scores of a conversation's exchanges become the "
        "record's score.",
    )
    prompt: Any = Field(None, description="A prompt block for this step alone.")


class OutputKeys(Options):
    """Keys of `output` that every sink takes."""

    path: RecipeOutput = Field(
        description="The run directory: a folder, relative to the recipe, or an address such as "
        "`s3://bucket/folder`. `-`: the kept records go to standard output, and there is none."
    )
    rejects: bool = Field(True, description="Write the rejected records and why.")
    scores: bool = Field(True, description="Write every number to scores.parquet.")
    card: bool = Field(
        True,
        description="Write a data card, README.md; the kept records load with it as a "
        "data set of the Hugging Face hub.",
    )
    pages: tuple[str, ...] = Field(
        ("report",),
        description="Pages that people read, by name: each is a file, `report.html` say, that "
        "opens in a browser with nothing else at hand. `[]`: none.",
    )
    annotate: str | None = Field(
        None,
        min_length=1,
        description="A name, `qaq` say: kept records get one more field of this name, which holds "
        "the columns of every step and, in nats per token, the likelihoods of every model.",
    )


class RunKeys(Options):
    """The `run` block."""

    executor: Any = Field("local", description="An executor's name, or a block {use: name, ...}.")
    seed: int = Field(0, description="Seed for every step that draws at random.")
    store: RecipePath | Literal[False] | None = Field(
        None,
        description="Folder of the score store: what was scored once is not scored again, in any "
        "run. Default: `scores` in the user's cache, or QAQFILTER_STORE. `false`: none.",
    )
    window: int = Field(
        512, ge=1, description="Records that are planned and batched together (part of the plan)."
    )
    window_seconds: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="Most seconds that a model may take for one window; after that it is taken to "
        "hang, and the run fails. Loading the model does not count. Default: no limit.",
    )


def _known_version(value: object) -> object:
    """Say what to do about a recipe of another version than this program reads."""
    if type(value) is int and value > VERSION:
        raise ValueError(
            f"this recipe is of version {value}, and this qaqfilter reads version {VERSION}: a "
            "later one is needed (pip install --upgrade qaqfilter)"
        )
    if type(value) is not int or value != VERSION:
        raise ValueError(
            f"the version of the recipe format, which is {VERSION}: write `version: {VERSION}`"
        )
    return value


class RecipeKeys(Options):
    """The top level of a recipe."""

    version: Annotated[Literal[1], BeforeValidator(_known_version)] = Field(
        description="The recipe format; 1."
    )
    name: str = Field(description="A name for reports.")
    description: str | None = Field(None, description="What the recipe is for.")
    input: Any = Field(description="Where records come from: {use: <source>, ...}.")
    models: dict[str, Any] = Field(default={}, description="Models by name: {use: <backend>, ...}.")
    prompt: Any = Field(None, description="A prompt block for all models; plain by default.")
    steps: list[Any] = Field(min_length=1, description="The filter chain, in order.")
    output: Any = Field(description="Where results go: {use: <sink>, path: ...}.")
    run: RunKeys = Field(default=RunKeys(), description="How to run.")
