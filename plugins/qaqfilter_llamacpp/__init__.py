"""Likelihoods from quantised models on a laptop: GGUF files through llama.cpp.

    models:
      weak: {use: llamacpp, model: qwen3-0.6b-q8_0.gguf}

`backend.py` joins `vocabulary.py` (text to ids), `decoder.py` (ids to rows of logits) and
`logsoftmax.py` (rows to log-probabilities); `library.py` holds what is one per process, and
`machine.py` chooses the threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from qaqfilter import Backend, Component, ModelLocation, Needs, Options, Resources, hookimpl
from qaqfilter_llamacpp.machine import patient_threads


class LlamaCppOptions(Options):
    """A causal language model in a GGUF file, run by llama.cpp, one sequence at a time."""

    model: ModelLocation = Field(
        description="A GGUF file, a folder that holds one, `hf:org/name/file.gguf`, "
        "`pypi:gemma3-270m`, `builtin:strong` or `builtin:weak`. Other "
        "folders of safetensors are for `transformers`."
    )
    revision: str | None = Field(
        None, description="Commit, tag or branch of a hub model. Name a commit to repeat a run."
    )
    n_ctx: int | None = Field(
        None,
        ge=2,
        description="Most tokens in a sequence, the start token included. Default: what the "
        "model was trained on, at most 4096. Memory grows with the longest sequence met, up to "
        "this; scores do not change.",
    )
    n_gpu_layers: int = Field(
        0,
        ge=-1,
        description="Layers to compute on the GPU; -1 means all. Needs a llama-cpp-python that "
        "was built for the GPU.",
    )
    threads: int | None = Field(
        None,
        ge=1,
        description="Threads to compute with. Default: one for each physical core that the process "
        "may use, within its CPU quota. On a CPU the scores do not depend on it.",
    )
    kv_type: Literal["f16", "f32"] = Field(
        "f16",
        description="Number type of the key-value cache. `f32` takes twice the memory and gains "
        "accuracy only where the weights are float32 too.",
    )


def create(config: LlamaCppOptions, resources: Resources) -> Backend:
    """Find the file and read its vocabulary; the weights wait for the first scores."""
    with patient_threads():
        from qaqfilter_llamacpp.backend import LlamaCppBackend

    return LlamaCppBackend(config, resources)


@hookimpl
def qaqfilter_backends() -> Iterator[Component[Backend]]:
    """Offer `llamacpp`."""
    yield Component(
        "llamacpp",
        LlamaCppOptions,
        create,
        "GGUF models on a CPU or GPU, through llama.cpp",
        Needs("qaqfilter[llamacpp]", ("llama_cpp",)),
    )
