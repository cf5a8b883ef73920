"""Likelihoods from Hugging Face models, through transformers and torch.

    models:
      strong: {use: transformers, model: Qwen/Qwen2.5-Coder-1.5B, revision: abc123}

Hub ids and folders of safetensors. `backend.py` joins `batch.py` (sequences to tensors),
`beginning.py` (what sequences share), `head.py` (tensors to likelihoods) and `budget.py` (how much
fits a batch); `refusals.py` says what a model folder may not hold; that data never becomes a
special token is the business of `encoding.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from qaqfilter import Backend, Component, ModelLocation, Needs, Options, Resources, hookimpl


class TransformersOptions(Options):
    """A causal language model run by transformers."""

    model: ModelLocation = Field(
        description="A folder, a hub id such as `Qwen/Qwen2.5-Coder-1.5B`, or `scheme:rest`. "
        "The weights must be safetensors; a GGUF file is for `llamacpp`."
    )
    revision: str | None = Field(
        None, description="Commit, tag or branch of a hub model. Name a commit to repeat a run."
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        description="Number type of the weights and of the body's arithmetic. `auto`: bfloat16 "
        "on CUDA, float32 on CPU and MPS, whatever the files hold. Log-softmax is always float32.",
    )
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$",
        description="`cpu`, `cuda`, `cuda:1`, `mps`; `auto` takes CUDA, else MPS, else the CPU.",
    )
    batch_tokens: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        "auto",
        description="Most tokens in a batch. `auto` finds it by a short probe, "
        "once for each model and machine. A batch that does not fit in memory is halved, and so "
        "are later ones of its size.",
    )
    max_length: int | None = Field(
        None,
        ge=2,
        description="Most tokens in a sequence, the start token included; not above the model's "
        "own limit, which is the default.",
    )
    trust_remote_code: bool = Field(
        False,
        description="Run Python code that came with the model. It can do whatever you can; the "
        "run says that it is on.",
    )
    attention: Literal["auto", "eager", "sdpa", "flash_attention_2"] = Field(
        "auto",
        description="Attention implementation; `auto` leaves the choice to transformers.",
    )


def create(config: TransformersOptions, resources: Resources) -> Backend:
    """Find the files and read configuration and tokenizer; the weights wait for the first use."""
    from qaqfilter_transformers.backend import TransformersBackend

    return TransformersBackend(config, resources)


@hookimpl
def qaqfilter_backends() -> Iterator[Component[Backend]]:
    """Offer `transformers`."""
    yield Component(
        "transformers",
        TransformersOptions,
        create,
        "Hugging Face models on CUDA, MPS or the CPU",
        Needs("qaqfilter[transformers]", ("torch", "transformers")),
    )
