"""Text to token ids, one segment at a time, so that ids never depend on what stands beside them.

Three things that a tokenizer does by default are taken out of its JSON description: the start
token and its like, the dummy space before the first word, and truncation. For data a fourth:
no text may turn into a special token, or into an added token that a chat template uses as
markup though it is not flagged special (`<think>`, `<tool_call>`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from tokenizers import Encoding, Tokenizer

from qaqfilter import Whole

# <|im_end|>, DeepSeek's full-width bars, <start_of_turn>, </tool_call>, <unused12>: markup
# wherever they stand. Added tokens for white space, digits or HTML tags are ordinary text.
_MARKUP = re.compile(r"<[|｜].*[|｜]>|</?[a-z]+(_[a-z]+)+>|<(unused|reserved)\w*>", re.DOTALL)
_BRACKETED = re.compile(r"[<\[]\S*\w\S*[>\]]")


class Encoder:
    """Encodes segments with a tokenizer given as JSON (`Tokenizer.to_str()`).

    `chat_template` is the source of the model's template, where added tokens may be markup.
    """

    def __init__(self, description: str, chat_template: str | None) -> None:
        own = {**json.loads(description), "truncation": None, "padding": None}
        self._own = Tokenizer.from_str(json.dumps(own))
        plain = plainly(own)
        self._markup = Tokenizer.from_str(json.dumps(plain))
        self._unknown = _unknown_token(plain)
        self.forbidden: dict[int, str] = {}
        for token in plain.get("added_tokens") or ():
            if token["special"] or is_markup(token["content"], chat_template):
                # Flagged special, so that `encode_special_tokens` below holds for it as well.
                token["special"] = True
                self.forbidden[token["id"]] = token["content"]
        # A post-processor adds nothing here, but may take white space out of the offsets.
        self._data = Tokenizer.from_str(json.dumps({**plain, "post_processor": None}))
        self._data.encode_special_tokens = True

    def __call__(self, text: str, *, markup: bool) -> list[int]:
        """Ids of one segment; special tokens only where `markup`. An empty text has none."""
        if not text:
            return []
        if markup:
            return list(self._markup.encode(text, add_special_tokens=False).ids)
        return self._encode_data(text)

    def batch(self, texts: Sequence[str], *, markup: bool) -> list[list[int]]:
        """The ids of each text, as calling this object gives them, on all cores."""
        tokenizer = self._markup if markup else self._data
        found = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        ids = [list(encoding.ids) for encoding in found]
        if markup:
            return ids
        clean = self.forbidden.keys().isdisjoint
        return [
            one if clean(one) else self._encode_data(t) for one, t in zip(ids, texts, strict=True)
        ]

    def whole(self, text: str) -> Whole:
        """The ids that the tokenizer gives by default, special tokens included."""
        encoding = self._own.encode(text)
        return Whole.of(encoding.ids, encoding.offsets, encoding.special_tokens_mask)

    def places(self, text: str) -> list[tuple[int, int]]:
        """Which characters of a text, taken as data, each of its tokens writes."""
        return [place for _, place in self._tokens(text)]

    def _encode_data(self, text: str) -> list[int]:
        return [token for token, _ in self._tokens(text)]

    def _tokens(self, text: str, at: int = 0) -> list[tuple[int, tuple[int, int]]]:
        """Ids and their places, for a text that begins at character `at` of a longer one."""
        encoding = self._data.encode(text, add_special_tokens=False)
        ids = list(encoding.ids)
        found = [
            (token, (at + start, at + end))
            for token, (start, end) in zip(ids, encoding.offsets, strict=True)
        ]
        if self.forbidden.keys().isdisjoint(ids):
            return found
        # The vocabulary itself spells a special token (Unigram pieces, or merges that lead to
        # `</s>`): cut the text inside it, so that each half is something else.
        cut = self._cut(text, encoding)
        if cut is None:
            return found
        return self._tokens(text[:cut], at) + self._tokens(text[cut:], at + cut)

    def _cut(self, text: str, encoding: Encoding) -> int | None:
        for token, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            content = self.forbidden.get(token)
            if content is None or end - start < 2:
                continue
            # The unknown token also stands for characters that the vocabulary lacks.
            if content != self._unknown or content in text[start:end]:
                return (start + end) // 2
        return None


def is_markup(content: str, chat_template: str | None) -> bool:
    """Whether an added token that is not flagged special is markup all the same."""
    if _MARKUP.fullmatch(content):
        return True
    return bool(chat_template and content in chat_template and _BRACKETED.fullmatch(content))


def plainly(description: dict[str, Any]) -> dict[str, Any]:
    """A tokenizer's description without dummy prefix space, truncation and padding."""
    return {
        **description,
        "truncation": None,
        "padding": None,
        "normalizer": _without_prefix(description.get("normalizer")),
        "pre_tokenizer": _without_prefix(description.get("pre_tokenizer")),
    }


def _without_prefix(part: Any) -> Any:
    """Edit one normalizer or pre-tokenizer; None where nothing of it is left."""
    if part is None or part["type"] == "Prepend":
        return None
    edited = dict(part)
    if "prepend_scheme" in edited:
        edited["prepend_scheme"] = "never"
    if "add_prefix_space" in edited:
        edited["add_prefix_space"] = False
    for parts in ("normalizers", "pretokenizers"):
        if parts in edited:
            kept = [_without_prefix(one) for one in edited[parts]]
            edited[parts] = [one for one in kept if one is not None]
    return edited


def _unknown_token(description: dict[str, Any]) -> str | None:
    model = description["model"]
    if isinstance(model.get("unk_id"), int):  # Unigram: [[piece, score], ...]
        return str(model["vocab"][model["unk_id"]][0])
    unknown = model.get("unk_token")
    return None if unknown is None else str(unknown)
