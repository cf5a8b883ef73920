"""Options of `diversity`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from qaqfilter import ModelLocation, Options, RunSeed
from qaqfilter_diversity.embedding import DEFAULT


class DiversityOptions(Options):
    """Options of `diversity`."""

    method: Literal["k_center", "facility_location"] = Field(
        "k_center", description="How records are picked."
    )
    top: int | None = Field(None, ge=0, description="How many to keep; or say `fraction`.")
    fraction: float | None = Field(
        None, ge=0, le=1, description="How many to keep of the records that reach the step."
    )
    of: Literal["query", "answer", "both"] = Field("query", description="Which text is embedded.")
    model: ModelLocation = Field(
        DEFAULT,
        description="Static embeddings: a model2vec folder or hub id, such as "
        "`minishlab/potion-base-8M`, or those of the package wordllama.",
    )
    dimensions: int = Field(
        256, ge=2, le=4096, description="Numbers of an embedding that count, a byte each."
    )
    seed: RunSeed = Field(description="Draws the first record of k_center; else run.seed.")

    @model_validator(mode="after")
    def _one_count(self) -> DiversityOptions:
        if (self.top is None) == (self.fraction is None):
            raise ValueError("say how many to keep: `top: 1000`, or `fraction: 0.1`, and not both")
        return self
