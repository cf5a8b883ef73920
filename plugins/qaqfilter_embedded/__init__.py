"""Two tiny language models that come with qaqfilter: ``builtin:strong`` and ``builtin:weak``.

Trained by tools/train_embedded_models.py; MODEL_CARD.md says on what, how well, and for what.
Each is a folder in the layout of the Hugging Face hub; `gguf.py` writes it as GGUF for backends
that read that.
"""

from __future__ import annotations

from collections.abc import Iterator

from qaqfilter import Component, Locator, Options, hookimpl


class EmbeddedOptions(Options):
    """A location scheme has no options: a recipe writes only `scheme:rest`."""


def _locator(_config: EmbeddedOptions) -> Locator:
    from qaqfilter_embedded.locator import EmbeddedLocator

    return EmbeddedLocator()


@hookimpl
def qaqfilter_models() -> Iterator[Component[Locator]]:
    """Offer `builtin:`."""
    yield Component("builtin", EmbeddedOptions, _locator, "the two models that come with qaqfilter")
