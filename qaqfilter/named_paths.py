"""Options that name a file or folder of this machine, which a plugin reads."""

from __future__ import annotations

import os
from typing import Annotated

from pydantic import AfterValidator, ValidationInfo

from qaqfilter.options import against_recipe, opens_models


class NamedPath(str):
    """An absolute path that an option names; a run remembers what was there, see `grounds.py`."""

    __slots__ = ()


def _named(value: str, info: ValidationInfo) -> NamedPath:
    return NamedPath(against_recipe(value, info))


def _existing(value: NamedPath, info: ValidationInfo) -> NamedPath:
    if opens_models(info) and not os.path.exists(value):  # noqa: PTH110 - True or False, no error
        raise ValueError(
            f"no such file or folder: {value}; correct the path (a relative one counts from the "
            "recipe's folder), or put there what is missing"
        )
    return value


RecipePath = Annotated[str, AfterValidator(_named)]
"""A path, absolute or relative to the recipe; ``~`` and ``${NAME}`` are filled in."""

ExistingRecipePath = Annotated[RecipePath, AfterValidator(_existing)]
"""A RecipePath at which there must be a file or folder; else the recipe is not valid."""
