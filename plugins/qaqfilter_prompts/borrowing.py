"""Which chat template: a file, the model's own, or another model's, of which no weights load."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from qaqfilter import (
    ChatTemplate,
    ExistingRecipePath,
    ModelFiles,
    ModelLocation,
    Options,
    PromptError,
    Resources,
)


class TemplateOptions(Options):
    """Which chat template: the model's own, or one that is named. It is never guessed."""

    template: ExistingRecipePath | None = Field(
        None, description="A file with a Jinja chat template, in place of the model's own."
    )
    template_from: ModelLocation | None = Field(
        None, description="A model to borrow the chat template of: an instruct sibling, say."
    )

    @model_validator(mode="after")
    def _one_template(self) -> Self:
        if self.template is not None and self.template_from is not None:
            raise ValueError("template and template_from exclude each other")
        return self


def _one_answer(value: str) -> str:
    if value.count("{answer}") != 1:
        raise ValueError("must hold {answer} exactly once")
    return value


Reverse = Annotated[str, AfterValidator(_one_answer)]
"""What asks for the query of an answer; `{answer}` stands for the answer."""


def chosen_template(
    config: TemplateOptions, own: ChatTemplate | None, resources: Resources
) -> ChatTemplate:
    """The template that the recipe names, else the model's own. Raises PromptError."""
    template, template_from = config.template, config.template_from
    if template is not None:
        try:
            source = Path(template).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise PromptError(f"cannot read the chat template {template}: {error}") from None
        bos, eos = (own.bos_token, own.eos_token) if own else ("", "")
        return ChatTemplate(source, bos, eos, f"chat template {template}")
    if template_from is not None:
        return template_of(template_from, resources.model_files(template_from))
    if own is None:
        raise PromptError(
            "the model has no chat template; name a file with `prompt.template`, or a model that "
            "has one with `prompt.template_from` (the instruct sibling of a base model, say), or "
            "use the plain format: `prompt: {use: plain}`"
        )
    return own


def template_of(location: str, files: ModelFiles) -> ChatTemplate:
    """The template in `files`, which `location` led to. PromptError where there is none."""
    origin = f"chat template of {location}"
    if files.format == "gguf":
        return _from_gguf(files.path, origin)
    folder = files.path if files.path.is_dir() else files.path.parent
    return _from_folder(folder, origin)


def _from_folder(folder: Path, origin: str) -> ChatTemplate:
    """``chat_template.jinja`` beats the one inside ``tokenizer_config.json``."""
    config = _tokenizer_config(folder / "tokenizer_config.json")
    own_file = folder / "chat_template.jinja"
    try:
        source = own_file.read_text(encoding="utf-8") if own_file.is_file() else _default(config)
    except UnicodeDecodeError as error:
        raise PromptError(f"{own_file} is not UTF-8: {error}") from None
    if source is None:
        raise PromptError(
            f"{origin}: {folder} has no chat template (neither chat_template.jinja nor "
            "chat_template in tokenizer_config.json); name another with `prompt.template_from`"
        )
    bos, eos = (_token_text(config.get(name)) for name in ("bos_token", "eos_token"))
    return ChatTemplate(source, bos, eos, origin)


def _tokenizer_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        config = json.loads(path.read_bytes())
    except ValueError as error:
        raise PromptError(f"{path} is not JSON: {error}") from None
    return config if isinstance(config, dict) else {}


def _default(config: dict[str, Any]) -> str | None:
    """A template is text, or a list of named ones of which `default` is for conversations."""
    found = config.get("chat_template")
    if isinstance(found, list):
        found = {item.get("name"): item.get("template") for item in found}.get("default")
    return found if isinstance(found, str) else None


def _token_text(token: object) -> str:
    """A special token's text; it is stored as text, or as an object with it as `content`."""
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) else ""


def _from_gguf(path: Path, origin: str) -> ChatTemplate:
    try:
        from gguf import GGUFReader
    except ImportError:
        raise PromptError(
            f"{origin}: reading GGUF metadata needs: pip install 'qaqfilter[llamacpp]'"
        ) from None
    reader = GGUFReader(path)

    def value(key: str) -> Any:
        field = reader.get_field(f"tokenizer.{key}")
        return None if field is None else field.contents()

    def token(key: str) -> str:
        number = value(f"ggml.{key}_token_id")
        tokens = reader.get_field("tokenizer.ggml.tokens")
        return "" if number is None or tokens is None else str(tokens.contents(int(number)))

    source = value("chat_template")
    if not isinstance(source, str):
        raise PromptError(f"{origin}: {path.name} has no chat template in its metadata")
    return ChatTemplate(source, token("bos"), token("eos"), origin)
