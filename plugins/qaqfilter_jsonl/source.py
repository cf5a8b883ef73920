"""Records from files of JSON lines, streaming."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field, model_validator

from qaqfilter import BadRecord, Options, Origin, RecipeGlob, Record, SourceError
from qaqfilter.layouts import LAYOUTS, FieldMap, Layout, by_fields, detect
from qaqfilter.printable import printable
from qaqfilter_jsonl.diagnosis import why_not_json
from qaqfilter_jsonl.files import Trouble, find, lines

_log = logging.getLogger(__name__)
_BOM = b"\xef\xbb\xbf"
_LOOK_AT = 100  # objects that may be bad before `layout: auto` gives up


class JsonlSourceOptions(Options):
    """Files of JSON lines: .jsonl, .jsonl.gz or .jsonl.zst, by the name's end."""

    path: RecipeGlob | Annotated[list[RecipeGlob], Field(min_length=1)] = Field(
        description="One or more files, relative to the recipe; `*`, `?`, `[ab]` and `**` match "
        "several, which are read in the order of their names."
    )
    layout: Literal["auto", "query_answer", "alpaca"] = Field(
        "auto",
        description="Where query and answer stand: fields `query` and `answer`, or Alpaca's "
        "`instruction`, `input` and `output`. `auto` looks at the first rows.",
    )
    fields: FieldMap | None = Field(
        None, description="The fields by name, where no layout fits: {query: ..., answer: ...}."
    )
    max_record_bytes: int = Field(
        1 << 24,
        ge=1,
        description="Most bytes of a line, unpacked. A longer one is a bad record, of which only "
        "the beginning is held and kept.",
    )

    @model_validator(mode="after")
    def _one_layout(self) -> JsonlSourceOptions:
        if self.fields is not None and self.layout != "auto":
            raise ValueError("layout and fields exclude each other")
        return self


class JsonlSource:
    """Reads the files afresh each time. A blank line is nothing; any other is one record."""

    def __init__(self, config: JsonlSourceOptions) -> None:
        self._config = config
        self._detected: Layout | None = None
        self._lost: set[str] = set()

    def read(self) -> Iterator[Record | BadRecord]:
        """Every line as a record or a bad record; so is the place where a file is damaged.

        Raises SourceError where a pattern matches no file, a file cannot be read, or
        `layout: auto` finds none.
        """
        paths = self._config.path
        files = find([paths] if isinstance(paths, str) else paths)
        layout = self._layout(files)
        for part, path in files:
            ordinal = 0
            for number, row, trouble in lines(path, self._config.max_record_bytes):
                found: Record | BadRecord | None
                if trouble is None:
                    found = _parse(row, number, layout, part, ordinal)
                else:
                    found = self._bad(trouble, row, Origin(part, ordinal, number))
                if found is not None:
                    yield found
                    ordinal += 1

    def _bad(self, trouble: Trouble, row: bytes, origin: Origin) -> BadRecord:
        """What is left of a line. Lost data is said aloud, once: one bad record looks harmless."""
        if trouble.lost and origin.part not in self._lost:
            self._lost.add(origin.part)
            _log.warning("%s: %s", origin, trouble.text)
        return BadRecord(trouble.text, row, origin)

    def _layout(self, files: list[tuple[str, Path]]) -> Layout:
        """The layout that the recipe names, or that of the first rows."""
        if self._config.fields is not None:
            return by_fields(self._config.fields)
        if self._config.layout != "auto":
            return LAYOUTS[self._config.layout]
        if self._detected is not None:
            return self._detected
        problems: list[str] = []
        most = self._config.max_record_bytes
        every = ((part, *line) for part, path in files for line in lines(path, most))
        for part, number, row, _ in every:
            try:
                fields = orjson.loads(_payload(row, number))
                if not isinstance(fields, dict):
                    continue
                name = detect(fields)
            except orjson.JSONDecodeError:
                continue  # a bad record, reported when its turn comes
            except SourceError as error:
                problems.append(f"{printable(part)}, line {number}: {error}")
                if len(problems) == _LOOK_AT:
                    break
                continue
            hint = "name another with input.layout or input.fields"
            _log.info("%s, line %d: layout %s (%s)", printable(part), number, name, hint)
            self._detected = LAYOUTS[name]
            return self._detected
        if problems:
            raise SourceError(problems[0])
        # Not one object among the rows: they are bad records in any layout.
        return next(iter(LAYOUTS.values()))


def _payload(row: bytes, number: int) -> bytes:
    """The row's JSON: without a byte order mark, which only a file's first line may have."""
    return row[len(_BOM) :] if number == 1 and row.startswith(_BOM) else row


def _parse(
    row: bytes, number: int, layout: Layout, part: str, ordinal: int
) -> Record | BadRecord | None:
    """One line; None if it is blank. `row` is kept as it is, mark and line end included."""
    payload = _payload(row, number)
    if payload.isspace() or not payload:
        return None
    origin = Origin(part, ordinal, number)
    try:
        fields: Any = orjson.loads(payload)
        if not isinstance(fields, dict):
            return BadRecord(f"a JSON {_KINDS[type(fields)]}, not an object", row, origin)
        query, answer, system, label = layout.read(fields)
    except orjson.JSONDecodeError as error:
        return BadRecord(why_not_json(payload, error), row, origin)
    except ValueError as error:
        return BadRecord(str(error), row, origin)
    return Record(label, query, answer, row, origin, system, fields)


_KINDS: dict[type, str] = {
    list: "list",
    str: "string",
    int: "number",
    float: "number",
    bool: "truth value",
    type(None): "null",
}
