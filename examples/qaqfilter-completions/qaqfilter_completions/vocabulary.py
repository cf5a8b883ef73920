"""Text to ids by the server's own tokenizer (`/tokenize`), and the start token.

A server makes special tokens of `<|im_end|>` in any text. In data they must stay text: where one
token came of something that looks like a special token, the text is cut behind its first character
and both parts are tokenised by themselves.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from qaqfilter import BackendError, ModelError
from qaqfilter_completions.server import Server, ServerError

SPECIAL = re.compile(r"<[^\s<>]+>|\[/?[A-Z][A-Z_0-9]+\]")
"""What special tokens look like: <|im_end|>, <s>, <start_of_turn>, [INST], [/INST]."""
AT_ONCE = 8
"""Texts that are tokenised at the same time."""


class Tokens(NamedTuple):
    """The ids of a text, what they are called, and the most tokens that the server takes."""

    ids: list[int]
    names: list[str]
    longest: int


class Vocabulary:
    """Raises ModelError where the server's tokenizer cannot be used.

    `start` is the text of the start token; None where the tokenizer's own will do.
    """

    def __init__(self, server: Server, model: str, start: str | None) -> None:
        self._server, self._model = server, model
        self._pool: ThreadPoolExecutor | None = None
        try:
            plain, whole = self._ask("a"), self._ask("a", add_special_tokens=True)
        except ServerError as error:
            if error.status != 404:
                raise
            raise ModelError(
                f"{server.url} has no /tokenize, without which a text has no ids; vLLM has it"
            ) from error
        if plain.names[0].startswith(("\u2581", " ")):
            raise ModelError(
                f"the tokenizer of {model!r} puts a space before every text, so that a text cannot "
                "be put together from parts; `use: transformers` can turn that off"
            )
        self.longest = plain.longest
        before = whole.ids[: _place(plain.ids, whole.ids)]
        self.adds_start = len(before) == 1
        own = self.adds_start and start is None
        self.start = before[0] if own else self._named(start)

    def encode(self, text: str, *, markup: bool) -> list[int]:
        """Ids of one segment, and nothing added. Raises BackendError."""
        if not text:
            return []
        tokens = self._ask(text)
        if markup:
            return tokens.ids
        special = {name for name in tokens.names if SPECIAL.fullmatch(name) and name in text}
        if not special:
            return tokens.ids
        names = "|".join(re.escape(name[1:]) for name in sorted(special, key=len, reverse=True))
        first = "".join(sorted({re.escape(name[0]) for name in special}))
        parts = re.split(rf"(?<=[{first}])(?={names})", text)
        return [one for part in parts for one in self.encode(part, markup=False)]

    def encode_batch(self, texts: Sequence[str], *, markup: bool) -> list[list[int]]:
        """What `encode` gives for each; a few at a time, since each takes a request."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(AT_ONCE, "tokenize")
        return list(self._pool.map(lambda text: self.encode(text, markup=markup), texts))

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def _named(self, start: str | None) -> int:
        if start is None:
            raise ModelError(
                f"the tokenizer of {self._model!r} puts no token before a text, and without one "
                "the first token has no likelihood; name one: `start_token: '<|endoftext|>'`, or "
                "what the model's EOS is called"
            )
        ids = self._ask(start).ids
        if len(ids) != 1:
            raise ModelError(
                f"start_token {start!r} is {len(ids)} tokens of {self._model!r}, not 1"
            )
        return ids[0]

    def _ask(self, text: str, *, add_special_tokens: bool = False) -> Tokens:
        found = self._server.ask(
            "/tokenize",
            {
                "model": self._model,
                "prompt": text,
                "add_special_tokens": add_special_tokens,
                "return_token_strs": True,
            },
        )
        try:
            ids, names = [int(one) for one in found["tokens"]], found["token_strs"]
            if names is None or len(names) != len(ids) or not ids:
                raise ValueError("token_strs")
            return Tokens(ids, [str(name) for name in names], int(found["max_model_len"]))
        except (KeyError, TypeError, ValueError) as error:
            raise BackendError(
                f"{self._server.url}/tokenize does not tell tokens, token_strs and max_model_len "
                f"({type(error).__name__}: {error}); vLLM does, an old one may not"
            ) from error


def _place(part: list[int], whole: list[int]) -> int:
    """Where `part` stands in `whole`; 0 where it does not."""
    places = range(len(whole) - len(part) + 1)
    return next((at for at in places if whole[at : at + len(part)] == part), 0)
