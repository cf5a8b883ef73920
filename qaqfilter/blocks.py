"""One block of a recipe (``{use: name, ...}``) -> a component with validated options.

A block mixes keys of the core with the plugin's own; each side is validated by its own pydantic
model, and every problem is worded here, with its place in the file and a suggestion.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from qaqfilter.blame import NOBODY, Plugin
from qaqfilter.errors import PluginError
from qaqfilter.manager import PluginManager
from qaqfilter.options import LOCATION, MODEL_NAME, OPENS_MODELS, RUN_SEED, fields_marked
from qaqfilter.printable import printable
from qaqfilter.protocols import Component
from qaqfilter.yamlfile import Location, YamlFile

M = TypeVar("M", bound=BaseModel)

_MOST_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Block:
    """A component and its validated options."""

    component: Component[Any]
    options: BaseModel
    plugin: Plugin = NOBODY

    def make(self, *further: Any) -> Any:
        """What the component creates; `further` is what its hook lists behind the options.

        Raises PluginFailed for what is no QaqfilterError; an OSError of a sink passes.
        """
        passing = (OSError,) if self.plugin.kind == "sink" else ()
        with self.plugin.blamed("create", passing=passing):
            return self.component.create(self.options, *further)

    def as_data(self) -> dict[str, Any]:
        """The block as it would stand in a fully written-out recipe."""
        return {"use": self.component.name, **self.options.model_dump(mode="json")}


@dataclass(slots=True)
class BlockReader:
    """Reads blocks of one recipe file and collects every problem instead of stopping at one."""

    file: YamlFile
    manager: PluginManager
    folder: Path
    seed: int = 0
    models: Sequence[str] = ()
    opens_models: bool = True
    problems: list[str] = field(default_factory=list)

    def complain(self, location: Location, text: str) -> None:
        """Add a problem."""
        self.problems.append(self.file.problem(location, text))

    def core(self, model: type[M], raw: Any, location: Location) -> M | None:
        """Validate keys of the core."""
        return self._validate(model, raw, location, ())

    def split(
        self, core: type[M], raw: Any, location: Location, kind: str
    ) -> tuple[M, Block] | None:
        """Validate a block: the keys that `core` declares, then the rest by its component."""
        if not isinstance(raw, dict):
            self.complain(location, f"must be a mapping such as {{use: ...}} (got {_shown(raw)})")
            return None
        own = {key: value for key, value in raw.items() if key in core.model_fields}
        rest = {key: value for key, value in raw.items() if key not in own and key != "use"}
        head = self._validate(core, own, location, ())
        block = self.block(rest | {"use": raw.get("use")}, location, kind, tuple(core.model_fields))
        return (head, block) if head is not None and block is not None else None

    def block(
        self, raw: Any, location: Location, kind: str, core_keys: tuple[str, ...] = ()
    ) -> Block | None:
        """Validate ``{use: name, ...options}``."""
        if not isinstance(raw, dict):
            self.complain(location, f"must be a mapping such as {{use: ...}} (got {_shown(raw)})")
            return None
        name = raw.get("use")
        if not isinstance(name, str):
            known = ", ".join(self.manager.names(kind))
            self.complain(location, f"needs `use:`, the name of a {kind}; there are: {known}")
            return None
        try:
            # A run is shown without its models: what they need may not be installed here.
            shown_only = kind == "backend" and not self.opens_models
            find = self.manager.component if shown_only else self.manager.require
            component = find(kind, name)
        except PluginError as error:
            self.complain((*location, "use"), str(error))
            return None
        rest = {key: value for key, value in raw.items() if key != "use"}
        rest = self._filled(component.config, rest)
        options = self._validate(component.config, rest, location, (*core_keys, "use"))
        if options is None:
            return None
        for role in fields_marked(component.config, MODEL_NAME):
            self._check_model(getattr(options, role), (*location, role))
        for name in fields_marked(component.config, LOCATION):
            self._check_scheme(getattr(options, name), (*location, name))
        by = self.manager.offers[kind, component.name].distribution
        return Block(component, options, Plugin(kind, component.name, by))

    def _filled(self, config: type[BaseModel], raw: dict[str, Any]) -> dict[str, Any]:
        """Fill in what the recipe may leave out: its only model, and its seed."""
        filled = dict(raw)
        if len(self.models) == 1:
            for role in fields_marked(config, MODEL_NAME):
                filled.setdefault(role, self.models[0])
        for name in fields_marked(config, RUN_SEED):
            filled.setdefault(name, self.seed)
        return filled

    def _check_model(self, name: str, location: Location) -> None:
        if name not in self.models:
            known = ", ".join(map(printable, self.models)) or "none"
            self.complain(
                location,
                f"no model is called {name!r}{suggestion(name, self.models)} "
                f"(models of this recipe: {known})",
            )

    def _check_scheme(self, place: str | None, location: Location) -> None:
        scheme, known = (place or "").partition(":")[0], self.manager.names("model")
        if place is not None and scheme not in known:
            self.complain(
                location,
                f"no plugin knows model locations {scheme + ':'!r}{suggestion(scheme, known)} "
                f"(schemes: {', '.join(known) or 'none'})",
            )

    def _validate(
        self, model: type[M], raw: Any, location: Location, others: tuple[str, ...]
    ) -> M | None:
        context = {"folder": self.folder, OPENS_MODELS: self.opens_models}
        try:
            return model.model_validate(raw, context=context)
        except ValidationError as error:
            found = [(_in_data(item, raw), item) for item in error.errors()]
            said = [where for where, item in found if item["type"] == "value_error"]
            for where, item in found:
                # Of a key that may be this or that: not also what is wrong with it as the other.
                better = any(place[: len(where)] == where for place in said)
                if item["type"] == "value_error" or not better:
                    self.complain((*location, *where), _wording(model, item, others))
            return None


def suggestion(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _shown(value: Any) -> str:
    """A value in a message, which must not be as long as the recipe."""
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def _in_data(item: Mapping[str, Any], raw: Any) -> Location:
    """Where an error stands in the recipe: without pydantic's names for members of a union."""
    *parents, last = item["loc"] or ("",)
    where: list[str | int] = []
    for key in parents:
        if (isinstance(raw, dict) and key in raw) or (
            isinstance(raw, list) and key in range(len(raw))
        ):
            where.append(key)
            raw = raw[key]
    missing = item["type"] == "missing"  # the one error of a key that the data do not have
    known = (isinstance(raw, dict) and (missing or last in raw)) or (
        isinstance(raw, list) and isinstance(last, int)
    )
    return (*where, last) if item["loc"] and known else tuple(where)


def _wording(model: type[BaseModel], item: Mapping[str, Any], others: tuple[str, ...]) -> str:
    """A pydantic error in a user's words."""
    kind, location = item["type"], item["loc"]
    if kind == "extra_forbidden":
        known = _keys_at(model, location[:-1]) + (list(others) if len(location) == 1 else [])
        hint = suggestion(str(location[-1]), known)
        return f"unknown key{hint} (keys here: {', '.join(known)})"
    if kind == "missing":
        return "this key is required and missing"
    message = str(item["msg"]).removeprefix("Value error, ")
    if kind == "literal_error":
        text = str(item["ctx"]["expected"])
        expected = re.findall(r"'([^']*)'", text) or [text.lower()]  # of False: as YAML has it
        return f"must be one of {', '.join(expected)}{suggestion(str(item['input']), expected)}"
    if kind == "value_error":
        return message
    return f"{message[0].lower()}{message[1:]} (got {_shown(item['input'])})"


def _keys_at(model: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    """The keys that a nested model takes, found by walking annotations along `location`."""
    here: type[BaseModel] | None = model
    for key in location:
        if here is None:
            return []
        info = here.model_fields.get(str(key))
        if info is not None:
            here = next(iter(_models_in(info.annotation)), None)
    return list(here.model_fields) if here is not None else []


def _models_in(annotation: Any) -> Iterable[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)
