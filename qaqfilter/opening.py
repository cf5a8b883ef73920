"""A model of the recipe, opened: backend, prompt and facts, freed at the end whatever happens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import NamedTuple

from qaqfilter.blame import Culprit
from qaqfilter.blocks import Block
from qaqfilter.errors import BackendHung, ModelError, PromptError
from qaqfilter.identity import fingerprint
from qaqfilter.protocols import Backend, PromptFormat, Resources


class Opened(NamedTuple):
    """An open model. `facts` are those of the backend when it was opened."""

    backend: Backend
    prompt: PromptFormat
    facts: Mapping[str, object]


@contextmanager
def opened(
    culprit: Culprit, backend: Block, prompt: Block, resources: Resources, verified: Resources
) -> Iterator[Opened]:
    """Make a backend and its prompt. A backend that loads late has not loaded its weights yet.

    The backend gets `verified`, whose files are checked; the prompt, which may borrow its template
    from another model, gets `resources`. Raises ModelError and PromptError.
    """
    with culprit.blamed("loading it", ModelError):
        made: Backend = backend.component.create(backend.options, verified)
    with _freeing(made, culprit):
        with culprit.blamed(f"making its prompt {prompt.component.name!r}", PromptError):
            asked_by = prompt.component.create(prompt.options, made, resources)
        with culprit.blamed("giving its facts"):
            facts = dict(made.facts)
            fingerprint(facts)
        yield Opened(made, asked_by, facts)


@contextmanager
def _freeing(backend: Backend, culprit: Culprit) -> Iterator[None]:
    """Close the backend at the end, unless it hangs; what failed first is what is raised."""
    try:
        yield
    except BackendHung:
        raise
    except BaseException:
        with suppress(Exception):
            backend.close()
        raise
    with culprit.blamed("closing it"):
        backend.close()
