"""The devices that a backend can use here, and the options that choose them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

Options = Mapping[str, object]


def device_options(backend: str) -> Iterator[tuple[str, Options]]:
    """Yield (device, options of the backend for it)."""
    if backend == "transformers":
        yield from _torch_devices()
    elif backend == "llamacpp":
        yield from _llama_devices()
    else:
        yield "cpu", {}


def _torch_devices() -> Iterator[tuple[str, Options]]:
    import torch

    names = ["cpu", *(f"cuda:{n}" for n in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        names.append("mps")
    for name in names:
        yield name, {"device": name, "dtype": "float32"}


def _llama_devices() -> Iterator[tuple[str, Options]]:
    import llama_cpp

    yield "cpu", {}
    if llama_cpp.llama_supports_gpu_offload():
        yield "gpu", {"n_gpu_layers": -1}
