"""The backend: ids to the server, log-probabilities back, and nothing believed unseen.

A request asks to have its prompt echoed with log-probabilities, and the ids that they are of. The
list has an entry a token; the first is null, since nothing stands before it, and one more may
follow for the token that the server generated. A list that is one off looks like any other, so each
is held against the ids that were sent.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from qaqfilter import BackendError, Floats, ModelError, TokenSequence
from qaqfilter.batching import check_sequences
from qaqfilter_completions import CompletionsOptions
from qaqfilter_completions.server import Server, ServerError
from qaqfilter_completions.vocabulary import Vocabulary

KEY, ITS_SERVER = "QAQFILTER_COMPLETIONS_KEY", "QAQFILTER_COMPLETIONS_SERVER"
NO_PROBABILITY = -9999.0
"""What vLLM writes for a log-probability of minus infinity."""
ROUNDING = 1e-4
"""A certain token may come out so far above 0."""
PLAIN_SAMPLING = {
    # A server may have defaults of its own, and older ones apply them to the prompt's numbers.
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": -1,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
}


class CompletionsBackend:
    """Implements `qaqfilter.Backend`. Raises ModelError where the server cannot be used."""

    chat_template = None
    """A server does not tell it; `prompt: {use: chat, template_from: ...}` names another place."""

    def __init__(self, config: CompletionsOptions) -> None:
        self._prompts = config.prompts
        self.batch_tokens = config.batch_tokens
        self._server = Server(
            config.url, key_for(config.url), timeout=config.timeout, retries=config.retries
        )
        try:
            self._model, about = self._find(config.model)
            self._vocabulary = Vocabulary(self._server, self._model, config.start_token)
            version = self._version()
        except BaseException:
            self._server.close()
            raise
        self.start_token = self._vocabulary.start
        self.adds_start = self._vocabulary.adds_start
        # The server generates a token behind each prompt, which has to fit too.
        self.max_length = self._vocabulary.longest - 1
        self.facts: Mapping[str, object] = {
            "backend": "completions",
            "server": config.url,
            "model": self._model,
            "root": about.get("root"),
            "revision": config.revision,
            "version": version,
            "max_length": self.max_length,
            "start_token": self.start_token,
        }

    def encode(self, text: str, *, markup: bool) -> list[int]:
        """Token ids of one segment: no BOS, no dummy space; special tokens only in markup."""
        return self._vocabulary.encode(text, markup=markup)

    def encode_batch(self, texts: Sequence[str], *, markup: bool) -> list[list[int]]:
        """What `encode` gives for each text."""
        return self._vocabulary.encode_batch(texts, markup=markup)

    def logprobs(self, sequences: Sequence[TokenSequence]) -> list[tuple[Floats, ...]]:
        """Log-probabilities (nats, float64) of each span; NaN where a token has probability 0.

        Raises BackendError where the server fails, or scores anything but what it was sent.
        """
        check_sequences(sequences, max_length=self.max_length, vocabulary=2**31)
        # What follows the last span changes nothing.
        ends = [max((end for start, end in s.spans if end > start), default=0) for s in sequences]
        asked = [index for index, end in enumerate(ends) if end]
        found: dict[int, Floats] = {}
        for first in range(0, len(asked), self._prompts):
            some = asked[first : first + self._prompts]
            answers = self._score([list(sequences[index].ids[: ends[index]]) for index in some])
            found.update(zip(some, answers, strict=True))
        nothing = np.empty(0)
        return [
            tuple(found.get(index, nothing)[start:end].copy() for start, end in sequence.spans)
            for index, sequence in enumerate(sequences)
        ]

    def close(self) -> None:
        """Close the connections; the server goes on."""
        self._vocabulary.close()
        self._server.close()

    def _score(self, prompts: list[list[int]]) -> list[Floats]:
        """One array a prompt, as long as it; the first number is NaN."""
        answer = self._server.ask(
            "/v1/completions",
            {
                "model": self._model,
                "prompt": prompts,
                "echo": True,
                "logprobs": 1,
                "max_tokens": 1,
                "return_tokens_as_token_ids": True,
                "add_special_tokens": False,
                **PLAIN_SAMPLING,
            },
        )
        try:
            choices = {int(choice["index"]): choice for choice in answer["choices"]}
        except (KeyError, TypeError, ValueError) as error:
            raise self._broken("its answer has no list of choices") from error
        if sorted(choices) != list(range(len(prompts))):
            raise self._broken(f"it gave {len(choices)} answers to {len(prompts)} prompts")
        return [self._numbers(ids, choices[index]) for index, ids in enumerate(prompts)]

    def _numbers(self, ids: list[int], choice: Mapping[str, Any]) -> Floats:
        told = choice.get("logprobs")
        tokens = told.get("tokens") if isinstance(told, dict) else None
        values = told.get("token_logprobs") if isinstance(told, dict) else None
        if not isinstance(tokens, list) or not isinstance(values, list) or len(tokens) < len(ids):
            raise self._broken(
                "it gives no log-probabilities of the prompt; vLLM does, llama.cpp's own server "
                "does not"
            )
        if len(tokens) > len(ids) + 1 or len(values) != len(tokens):
            raise self._broken(
                f"it gave {len(values)} numbers for {len(tokens)} tokens, and was sent {len(ids)}; "
                "does it add a start token?"
            )
        for at, (sent, scored) in enumerate(zip(ids, tokens, strict=False)):
            if scored != f"token_id:{sent}":
                raise self._broken(
                    f"it was sent token {sent} at position {at}, and scored {scored!r:.40}; it has "
                    "to tell ids (return_tokens_as_token_ids), and score what it is sent"
                )
        if values[0] is not None:
            raise self._broken("it gave a number to the first token: its numbers may be one off")
        try:
            found = np.array([float("nan"), *map(float, values[1 : len(ids)])], dtype=np.float64)
        except TypeError as error:
            raise self._broken("a token in the middle of a prompt has no number") from error
        found[found <= NO_PROBABILITY] = np.nan
        return np.where((found > 0) & (found <= ROUNDING), 0.0, found)

    def _broken(self, what: str) -> BackendError:
        return BackendError(f"{self._server.url}: {what}")

    def _find(self, wanted: str | None) -> tuple[str, Mapping[str, Any]]:
        """The server's name for the model, and what else it says of it."""
        answer = self._server.ask("/v1/models")
        try:
            models = {str(model["id"]): model for model in answer["data"]}
        except (KeyError, TypeError) as error:
            raise ModelError(
                f"{self._server.url}/v1/models lists no models; is this a completions server?"
            ) from error
        names = ", ".join(models) or "none"
        if wanted is None and len(models) != 1:
            raise ModelError(f"{self._server.url} has several models; name one as `model`: {names}")
        name = next(iter(models)) if wanted is None else wanted
        if name not in models:
            raise ModelError(f"{self._server.url} has no model {name!r}; it has: {names}")
        return name, models[name]

    def _version(self) -> object:
        """The server's own; None where it does not tell."""
        try:
            answer = self._server.ask("/version")
        except ServerError as error:
            if error.status == 0:
                raise
            return None
        return answer.get("version") if isinstance(answer, dict) else None


def key_for(url: str) -> str | None:
    """The key from the environment, for the one server that may see it.

    A recipe is data, and names the server: it must not have a key sent to a stranger's. Raises
    ModelError for a key without a server.
    """
    key, server = os.environ.get(KEY), os.environ.get(ITS_SERVER)
    if not key:
        return None
    if not server:
        raise ModelError(
            f"{KEY} is set, and {ITS_SERVER} is not: no recipe may choose who gets the key; set it "
            "to the server's address, http://127.0.0.1:8000"
        )
    return key if _origin(server) == _origin(url) else None


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port
