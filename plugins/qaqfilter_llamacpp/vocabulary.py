"""Text to token ids, and what else a GGUF file says without its weights."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import llama_cpp  # noqa: TID253 - only backend.py imports this file

from qaqfilter import BackendError, Whole

# Tokens whose text a tokeniser finds anywhere, also in data, because the file calls them user
# defined: <|im_end|>, DeepSeek's full-width bars, <start_of_turn>, <unused12> are markup
# wherever they stand; others in brackets are if the chat template uses them (<think>, [INST]).
# Runs of white space, digits and Gemma's HTML tags are ordinary text.
_MARKUP = re.compile(r"<[|｜].*[|｜]>|</?[a-z]+(_[a-z]+)+>|<(unused|reserved)\w*>", re.DOTALL)
_BRACKETED = re.compile(r"[<\[]\S*\w\S*[>\]]")

_SPECIAL = (
    llama_cpp.LLAMA_TOKEN_ATTR_UNKNOWN
    | llama_cpp.LLAMA_TOKEN_ATTR_CONTROL
    | llama_cpp.LLAMA_TOKEN_ATTR_USER_DEFINED
)


def model_parameters(**values: object) -> Any:
    """llama.cpp's model parameters, without the dummy space that some tokenisers put first."""
    parameters = llama_cpp.llama_model_default_params()
    overrides = (llama_cpp.llama_model_kv_override * 2)()  # the second, empty, ends the list
    overrides[0].key = b"tokenizer.ggml.add_space_prefix"
    overrides[0].tag = llama_cpp.LLAMA_KV_OVERRIDE_TYPE_BOOL
    value: Any = overrides[0].value  # a view into the override
    value.val_bool = False
    parameters.kv_overrides = overrides
    for name, value in values.items():
        setattr(parameters, name, value)
    return parameters


class Vocabulary:
    """The vocabulary and metadata of a loaded model; the model must outlive it."""

    def __init__(self, model: Any, path: Path) -> None:
        self._model = model
        self._vocab = llama_cpp.llama_model_get_vocab(model)
        self._buffer = (ctypes.c_int32 * 4096)()
        self.path = path
        self.size: int = llama_cpp.llama_vocab_n_tokens(self._vocab)
        self.bos: int = llama_cpp.llama_vocab_bos(self._vocab)
        self.eos: int = llama_cpp.llama_vocab_eos(self._vocab)
        self.adds_bos: bool = llama_cpp.llama_vocab_get_add_bos(self._vocab)
        template = llama_cpp.llama_model_chat_template(model, None)
        self.template: str | None = template.decode("utf-8", "replace") if template else None

    def text(self, token: int) -> str:
        """The text of a token as the file spells it; empty for a token that does not exist."""
        if not 0 <= token < self.size:
            return ""
        return str(llama_cpp.llama_vocab_get_text(self._vocab, token).decode("utf-8", "replace"))

    def metadata(self, key: str) -> str | None:
        """A metadata value as text, or None."""
        buffer = ctypes.create_string_buffer(256)
        length = llama_cpp.llama_model_meta_val_str(self._model, key.encode(), buffer, 256)
        return buffer.value.decode("utf-8", "replace") if length >= 0 else None

    def number(self, key: str) -> int | None:
        """A metadata value of this architecture (``context_length``) as an integer, or None."""
        value = self.metadata(f"{self.metadata('general.architecture')}.{key}")
        return int(value) if value and value.isdigit() else None

    @property
    def description(self) -> str:
        """Family, size and quantisation, as llama.cpp words them: gemma3 270M Q4_K - Medium."""
        buffer = ctypes.create_string_buffer(256)
        llama_cpp.llama_model_desc(self._model, buffer, 256)
        return buffer.value.decode("utf-8", "replace")

    @property
    def causal(self) -> bool:
        """Whether the model predicts each token from those before it."""
        architecture = self.metadata("general.architecture")
        return not (
            llama_cpp.llama_model_has_encoder(self._model)
            or llama_cpp.llama_model_is_diffusion(self._model)
            or self.metadata(f"{architecture}.attention.causal") == "false"
        )

    def encode(self, text: str, *, markup: bool) -> list[int]:
        """Ids of one segment; special tokens only where `markup`. An empty text has none."""
        ids = self._tokenise(text, parse_special=markup)
        if markup or self._forbidden.keys().isdisjoint(ids):
            return ids
        # The text spells a special token. Cut inside every spelling: no piece then holds one.
        ids = [token for piece in self._cut(text) for token in self._tokenise(piece)]
        for token in self._forbidden.keys() & set(ids):
            # The unknown token also stands for characters that the vocabulary lacks.
            if self._forbidden[token] in text:
                raise BackendError(
                    f"{self.path}: the vocabulary can write {self._forbidden[token]!r} only as "
                    f"the special token {token}, which data must not hold; remove such records"
                )
        return ids

    def encode_whole(self, text: str) -> Whole:
        """Ids of a text with the special tokens that the file asks for, and those it spells."""
        adds_end: bool = llama_cpp.llama_vocab_get_add_eos(self._vocab)
        ids = self._tokenise(text, parse_special=True, add_special=True)
        return Whole(ids, None, int(adds_end))

    def places(self, text: str) -> list[tuple[int, int]]:
        """Which characters each token of ``encode(text, markup=False)`` writes."""
        written = [self._bytes_of(token) for token in self.encode(text, markup=False)]
        if b"".join(written) != text.encode():
            # Vocabularies that write blanks as U+2581 read one in the data back as a blank.
            text = text.replace("\u2581", " ")
        if b"".join(written) != text.encode():
            raise BackendError(
                f"{self.path}: the tokens of this model do not spell the text that they are of, so "
                "nobody can tell which of its words each stands for"
            )
        # By byte, the character that it is of.
        letters = [at for at, letter in enumerate(text) for _ in letter.encode()]
        places, done = [], 0
        for piece in written:
            end = done + len(piece)
            places.append((letters[done], letters[end - 1] + 1) if piece else (0, 0))
            done = end
        return places

    def _bytes_of(self, token: int) -> bytes:
        buffer = ctypes.create_string_buffer(512)
        # Nothing stripped, and special tokens spelt: data has none.
        count = llama_cpp.llama_token_to_piece(self._vocab, token, buffer, 512, 0, True)
        if count < 0:
            buffer = ctypes.create_string_buffer(-count)
            count = llama_cpp.llama_token_to_piece(self._vocab, token, buffer, -count, 0, True)
        return buffer.raw[:count]

    @cached_property
    def _forbidden(self) -> dict[int, str]:
        """The tokens that data must never hold, with their spellings."""
        found = {}
        attribute = llama_cpp.llama_vocab_get_attr
        for token in range(self.size):
            kind = attribute(self._vocab, token)
            if kind & _SPECIAL:
                text = self.text(token)
                user_defined_only = kind & _SPECIAL == llama_cpp.LLAMA_TOKEN_ATTR_USER_DEFINED
                if text and (not user_defined_only or self._is_markup(text)):
                    found[token] = text
        return found

    def _is_markup(self, text: str) -> bool:
        if _MARKUP.fullmatch(text):
            return True
        return bool(self.template and text in self.template and _BRACKETED.fullmatch(text))

    @cached_property
    def _spelling(self) -> re.Pattern[str]:
        """Finds where a forbidden token of two characters or more begins, overlaps included."""
        texts = {text for text in self._forbidden.values() if len(text) > 1}
        return re.compile(f"(?={'|'.join(map(re.escape, sorted(texts)))})")

    def _cut(self, text: str) -> Iterator[str]:
        """`text` in pieces, cut after the first character of every special token in it."""
        start = 0
        for match in self._spelling.finditer(text):
            yield text[start : match.start() + 1]
            start = match.start() + 1
        yield text[start:]

    def _tokenise(
        self, text: str, *, parse_special: bool = False, add_special: bool = False
    ) -> list[int]:
        try:
            data = text.encode()
        except UnicodeEncodeError as error:
            raise BackendError(
                f"character {error.start} of a text is {text[error.start]!r}, half of a surrogate "
                "pair: no Unicode text, so there is nothing to score; repair the input"
            ) from None
        for _ in range(2):
            room = len(self._buffer)
            # The length is given, so a NUL inside the text does not end it.
            count = llama_cpp.llama_tokenize(
                self._vocab, data, len(data), self._buffer, room, add_special, parse_special
            )
            if count >= 0:
                return self._buffer[:count]
            # Too small: llama.cpp says how many it needs, as a negative number.
            if count == -(2**31):
                break
            self._buffer = (ctypes.c_int32 * -count)()
        raise BackendError(
            f"{self.path}: llama.cpp cannot tokenise a text of {len(data)} bytes; shorten it"
        )
