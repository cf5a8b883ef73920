"""manifest.json: what a run was, so that a later one knows what it may build on."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import orjson
from pydantic import TypeAdapter, ValidationError

from qaqfilter.addresses import Address
from qaqfilter.errors import RunDirectoryError
from qaqfilter.grounds import Grounds
from qaqfilter.input_parts import InputPart, whole_digest
from qaqfilter.reports import ModelReport, RunReport

MANIFEST = "manifest.json"
PACKAGES = ("qaqfilter", "numpy", "torch", "transformers", "llama-cpp-python")
ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked for beside the recipe.

    `limit` reads only so many records; `everything` scores every record for every step.
    """

    command: Literal["run", "score", "select"]
    limit: int | None = None
    everything: bool = False


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest that was read; `recipe` is the resolved one, `report` what the run came to.

    `scored_by` are the models behind its numbers, also where another run asked them. `grounds` is
    None where an earlier version wrote it.
    """

    order: Order
    recipe: dict[str, Any]
    input: tuple[InputPart, ...]
    files: tuple[str, ...]
    finished: str
    report: RunReport
    scored_by: tuple[ModelReport, ...]
    grounds: Grounds | None = None


_MODELS = TypeAdapter(tuple[ModelReport, ...])
_REPORT = TypeAdapter(RunReport)
_INPUT = TypeAdapter(tuple[InputPart, ...])
_ORDER = TypeAdapter(Order)
_GROUNDS: TypeAdapter[Grounds | None] = TypeAdapter(Grounds | None)


def write_manifest(
    report: RunReport,
    order: Order,
    recipe: Mapping[str, Any],
    *,
    parts: Sequence[InputPart],
    scored_by: Sequence[ModelReport],
    grounds: Grounds,
    finished: str,
) -> bytes:
    """The text of a manifest. `scored_by` are the models behind the numbers, whenever they ran."""
    account = asdict(report)
    del account["folder"]
    text = {
        "format": 1,
        "order": asdict(order),
        "finished": finished,
        "recipe": recipe,
        **account,
        "files": {name: path.name for name, path in report.files.items()},
        **(
            {}
            if tuple(scored_by) == report.models
            else {"scored_by": [asdict(m) for m in scored_by]}
        ),
        "versions": {"python": platform.python_version(), **versions()},
        "platform": platform.platform(),
        "grounds": asdict(grounds),
        "input_digest": whole_digest(parts),
        "input": [_without_nothing(asdict(part)) for part in parts],
    }
    return orjson.dumps(text, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE, default=str)


def _without_nothing(part: dict[str, Any]) -> dict[str, Any]:
    """Hardly any part has a record that was set aside, and there may be thousands of parts."""
    return {key: value for key, value in part.items() if value != {}}


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of the finished run in `folder`; None where there is none.

    Raises RunDirectoryError for one that cannot be understood.
    """
    try:
        written = (folder / MANIFEST).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unknown(folder, error) from error
    return parse_manifest(written, folder)


def parse_manifest(written: bytes, folder: Path | Address) -> Manifest:
    """What a manifest says that was found in `folder`. Raises RunDirectoryError."""
    try:
        found = orjson.loads(written)
        if found["format"] != 1:
            raise ValueError(f"format {found['format']!r}, where 1 is known")
        files = {name: folder / _own_name(file) for name, file in found["files"].items()}
        account = {key: found[key] for key in RunReport.__dataclass_fields__ if key in found}
        return Manifest(
            order=_ORDER.validate_python(found["order"]),
            recipe=as_written(found["recipe"]),
            input=_INPUT.validate_python(found["input"]),
            files=tuple(path.name for path in files.values()),
            finished=str(found["finished"]),
            report=_REPORT.validate_python(account | {"folder": folder, "files": files}),
            scored_by=_MODELS.validate_python(found.get("scored_by", found["models"])),
            grounds=_GROUNDS.validate_python(found.get("grounds")),
        )
    except (ValueError, LookupError, TypeError, AttributeError, ValidationError) as error:
        raise _unknown(folder, error) from error


def _unknown(folder: Path | Address, error: Exception) -> RunDirectoryError:
    return RunDirectoryError(
        f"{folder / MANIFEST} is no manifest that this version can read ({error}): run again with "
        "--replace, or name another folder with --set output.path=..."
    )


def _own_name(name: str) -> str:
    """A file of the folder itself: a manifest may come from anybody."""
    if Path(name).name != name or not name:
        raise ValueError(f"{name!r} is not a file name")
    return name


def as_written(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A resolved recipe as it reads when it comes back from a manifest.

    Nulls are left out: an option that a later version adds is null where nobody gives it.
    """
    found: dict[str, Any] = _without_nulls(orjson.loads(orjson.dumps(recipe, default=str)))
    return found


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def changed_keys(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """``a.b.c: old -> new`` for every key of two resolved recipes that differs; steps by id."""
    old, new = (dict(_flat("", recipe)) for recipe in (before, now))
    for key in [*old, *(key for key in new if key not in old)]:
        one, other = old.get(key, ABSENT), new.get(key, ABSENT)
        if one != other:
            yield f"{key}: {_shown(one)} -> {_shown(other)}"
    orders = [[step["id"] for step in recipe["steps"]] for recipe in (before, now)]
    if orders[0] != orders[1] and sorted(orders[0]) == sorted(orders[1]):
        yield f"steps: {', '.join(orders[0])} -> {', '.join(orders[1])}"


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _flat(f"{prefix}.{key}" if prefix else str(key), item)
    elif prefix == "steps":
        for step in value:
            yield from _flat(f"steps.{step['id']}", step)
    else:
        yield prefix, value


def _shown(value: Any) -> str:
    return value if value is ABSENT else orjson.dumps(value).decode()


def versions() -> dict[str, str]:
    """The versions of qaqfilter and of what computes its numbers, where installed."""
    found: dict[str, str] = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
