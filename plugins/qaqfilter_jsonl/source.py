"""Records from files of JSON lines and of JSON arrays, streaming."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import orjson
from pydantic import Field

from qaqfilter import BadRecord, Origin, RecipeGlob, Record
from qaqfilter.input_files import InputFile, InputFiles, part_of
from qaqfilter.layout_options import LayoutOptions, find_layout
from qaqfilter.layouts import Layout
from qaqfilter.printable import printable
from qaqfilter_jsonl.array import elements
from qaqfilter_jsonl.diagnosis import why_not_json
from qaqfilter_jsonl.files import Trouble, lines

_log = logging.getLogger(__name__)
_BOM = b"\xef\xbb\xbf"
_PATH = (
    "One or more files, relative to the recipe, or addresses (`s3://bucket/folder/*.jsonl`); `*`, "
    "`?`, `[ab]` and `**` match several, which are read in the order of their names. `-` is "
    "standard input. See [Data elsewhere](remote.md)."
)


class JsonlSourceOptions(LayoutOptions):
    """Files of JSON lines: .jsonl, .jsonl.gz or .jsonl.zst, by the name's end."""

    path: RecipeGlob | Annotated[list[RecipeGlob], Field(min_length=1)] = Field(description=_PATH)
    max_record_bytes: int = Field(
        1 << 24,
        ge=1,
        description="Most bytes of a line, unpacked. A longer one is a bad record, of which only "
        "the beginning is held and kept.",
    )


class JsonlSource:
    """Reads the files afresh each time. A blank line is nothing; any other is one record."""

    _name = "line"
    _pieces = staticmethod(lines)

    def __init__(self, config: JsonlSourceOptions | JsonSourceOptions) -> None:
        self._config = config
        self._layout: Layout | None = None
        self._lost: set[str] = set()
        self._files = InputFiles(config.path)

    def spool(self, folder: Path) -> None:
        """Copy into `folder` what can be read only once. Raises SourceError."""
        self._files.spool(folder)

    def use_spool(self, folder: Path) -> None:
        """Read the copies that `spool` left in `folder`. Raises SourceError."""
        self._files.use_spool(folder)

    def read(self) -> Iterator[Record | BadRecord]:
        """Every line as a record or a bad record; so is the place where a file is damaged.

        Raises SourceError where a pattern matches no file, a file cannot be read, or
        `layout: auto` finds none.
        """
        files = self._files.find()
        layout = self._choose_layout(files)
        for file in files:
            yield from self._read(file, layout)

    def read_part(self, part: str) -> Iterator[Record | BadRecord]:
        """What `read` yields of one file. Raises SourceError where there is none of that name."""
        files = self._files.find()
        return self._read(part_of(files, part), self._choose_layout(files))

    def _read(self, file: InputFile, layout: Layout) -> Iterator[Record | BadRecord]:
        part, ordinal = file.part, 0
        for number, row, trouble in self._pieces(file, self._config.max_record_bytes):
            found: Record | BadRecord | None
            if trouble is None:
                found = self._parse(row, layout, part, ordinal, number)
            else:
                found = self._bad(trouble, row, Origin(part, ordinal, number))
            if found is not None:
                yield found
                ordinal += 1

    def _parse(
        self, row: bytes, layout: Layout, part: str, ordinal: int, number: int
    ) -> Record | BadRecord | None:
        """One line; None if it is blank. `row` is kept as it is, mark and line end included."""
        payload = self._payload(row, number)
        if payload.isspace() or not payload:
            return None
        origin = Origin(part, ordinal, number)
        try:
            fields: Any = orjson.loads(payload)
            if isinstance(fields, dict):
                return layout.read(fields).record(row, origin, fields)
            why = f"a JSON {_KINDS[type(fields)]}, not an object"
        except orjson.JSONDecodeError as error:
            why = why_not_json(payload, error, self._name)
        except ValueError as error:
            return BadRecord(str(error), row, origin)
        return BadRecord(why + self._hint(payload, number), row, origin)

    def _payload(self, row: bytes, number: int) -> bytes:
        """The row's JSON: without a byte order mark, which only a file's first line may have."""
        return row[len(_BOM) :] if number == 1 and row.startswith(_BOM) else row

    def _hint(self, payload: bytes, number: int) -> str:
        """A file that begins as an array probably is one."""
        looks_so = self._name == "line" and number == 1 and payload.lstrip().startswith(b"[")
        return "; a file that is one JSON array is read with `use: json`" if looks_so else ""

    def _bad(self, trouble: Trouble, row: bytes, origin: Origin) -> BadRecord:
        """What is left of a line. Lost data is said aloud, once: one bad record looks harmless."""
        if trouble.lost and origin.part not in self._lost:
            self._lost.add(origin.part)
            _log.warning("%s: %s", origin, trouble.text)
        return BadRecord(trouble.text, row, origin)

    def _choose_layout(self, files: list[InputFile]) -> Layout:
        """The layout, found once: every read is by the same one."""
        if self._layout is None:
            self._layout = find_layout(self._config, self._objects(files))
        return self._layout

    def _objects(self, files: list[InputFile]) -> Iterator[tuple[str, dict[str, Any]]]:
        """(place, row) for every line that holds an object."""
        for file in files:
            for number, row, _ in self._pieces(file, self._config.max_record_bytes):
                try:
                    fields = orjson.loads(self._payload(row, number))
                except orjson.JSONDecodeError:
                    continue  # a bad record, reported when its turn comes
                if isinstance(fields, dict):
                    yield f"{printable(file.part)}, line {number}", fields


class JsonSourceOptions(LayoutOptions):
    """Files that hold one JSON array each: .json, .json.gz or .json.zst, by the name's end."""

    path: RecipeGlob | Annotated[list[RecipeGlob], Field(min_length=1)] = Field(description=_PATH)
    max_record_bytes: int = Field(
        1 << 24,
        ge=1,
        description="Most bytes of an element, unpacked. A longer one is a bad record, of which "
        "only the beginning is held and kept.",
    )


class JsonSource(JsonlSource):
    """Reads the elements of an array, one after the other; each is one record."""

    _name = "element"
    _pieces = staticmethod(elements)

    def __init__(self, config: JsonSourceOptions) -> None:
        super().__init__(config)

    def _payload(self, row: bytes, number: int) -> bytes:
        return row


_KINDS: dict[type, str] = {
    list: "list",
    str: "string",
    int: "number",
    float: "number",
    bool: "truth value",
    type(None): "null",
}
