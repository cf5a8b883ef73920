"""Likelihoods from a completions server that gives log-probabilities of the prompt, as vLLM does.

    models:
      strong: {use: completions, url: "http://127.0.0.1:8000"}

`server.py` is the connection, `vocabulary.py` turns text into ids, `backend.py` asks for numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from qaqfilter import Backend, Component, Options, Resources, hookimpl


class CompletionsOptions(Options):
    """A model behind a server with `/v1/completions`, `echo` and `/tokenize`. Texts go there."""

    url: str = Field(
        description="Where the server is, `http://127.0.0.1:8000`; without /v1, user and password."
    )
    model: str | None = Field(
        None, description="The server's name for the model. Default: the only one it has."
    )
    revision: str | None = Field(
        None,
        description="What the server runs, where its name does not tell: a commit, a quantisation. "
        "It counts as another model then, and no score of the one before is taken for its own.",
    )
    start_token: str | None = Field(
        None,
        description="The text of the token that stands before a sequence. Default: what the "
        "server's tokenizer puts there; models without a BOS need one, `<|endoftext|>` say.",
    )
    batch_tokens: int = Field(16384, ge=1, description="Most tokens that are asked for at once.")
    prompts: int = Field(32, ge=1, description="Most sequences in one request.")
    timeout: float = Field(300, gt=0, description="Seconds to wait for an answer.")
    retries: int = Field(
        6, ge=0, description="How often a server is asked again that is busy or drops the line."
    )

    @field_validator("url")
    @classmethod
    def _an_address(cls, value: str) -> str:
        """Nothing secret may stand in it: the recipe goes into the manifest."""
        parts = urlsplit(value)
        if parts.username is not None or parts.password is not None:
            raise ValueError(
                "a recipe holds no credentials; a key goes into QAQFILTER_COMPLETIONS_KEY"
            )
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("write http:// or https://, a host and a port: http://127.0.0.1:8000")
        try:
            parts.port  # noqa: B018 - reading it is the check
        except ValueError:
            raise ValueError("its port is no number from 0 to 65535") from None
        if parts.query or parts.fragment:
            raise ValueError("leave out what follows the ? or #")
        return value.rstrip("/").removesuffix("/v1")


def create(config: CompletionsOptions, resources: Resources) -> Backend:
    """Ask the server what it has. Raises ModelError where it cannot be used."""
    from qaqfilter_completions.backend import CompletionsBackend

    return CompletionsBackend(config)


@hookimpl
def qaqfilter_backends() -> Iterator[Component[Backend]]:
    """Offer `completions`."""
    yield Component(
        "completions",
        CompletionsOptions,
        create,
        "a model behind a completions server that gives prompt log-probabilities (vLLM)",
    )
