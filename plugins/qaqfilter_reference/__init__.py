"""Likelihoods from plain numpy: the embedded models' default, and the others' oracle.

    models:
      strong: {use: reference}                        # builtin:strong
      weak: {use: reference, model: "builtin:weak"}

`llama.py` is the forward pass, to be read as a description of what a log-likelihood is;
`backend.py` makes a `qaqfilter.Backend` of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from qaqfilter import Backend, Component, ModelLocation, Options, Resources, hookimpl


class ReferenceOptions(Options):
    """A small model of the Llama architecture, computed by numpy, one sequence at a time."""

    model: ModelLocation = Field(
        "builtin:strong",
        description="`builtin:strong`, `builtin:weak`, or a folder with safetensors of the Llama "
        "architecture and a byte-level tokenizer.",
    )
    revision: str | None = Field(
        None, description="Commit, tag or branch of a hub model. Name a commit to repeat a run."
    )
    precision: Literal["float32", "float64"] = Field(
        "float32",
        description="What every number of the pass is kept in. `float64` is what other backends "
        "are checked against; it takes about twice the time.",
    )


def create(config: ReferenceOptions, resources: Resources) -> Backend:
    """Find the files and read configuration and tokenizer; the weights wait for the first use."""
    from qaqfilter_reference.backend import ReferenceBackend

    return ReferenceBackend(config, resources)


@hookimpl
def qaqfilter_backends() -> Iterator[Component[Backend]]:
    """Offer `reference`."""
    yield Component(
        "reference",
        ReferenceOptions,
        create,
        "small Llama models in plain numpy; needs nothing else",
    )
