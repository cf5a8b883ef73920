"""`convert`: records from one layout, and one format, to another. Nothing is decided."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import orjson
from pydantic import BaseModel, ValidationError

from qaqfilter.errors import (
    RunDirectoryError,
    TooManyBadRecords,
    UsageError,
)
from qaqfilter.layout_writers import WRITERS, in_place, taken_by, talk_of
from qaqfilter.layouts import Content, FieldMap
from qaqfilter.looking import Found, look
from qaqfilter.manager import PluginManager
from qaqfilter.printable import printable
from qaqfilter.protocols import Component, Source
from qaqfilter.reports import Observer
from qaqfilter.sinks import Sink
from qaqfilter.types import BadRecord, Record

_PACKED = {".gz": "gzip", ".zst": "zstd"}
_AT_ONCE = 1000
"""Records between two signs of progress."""


class Converted(NamedTuple):
    """What became of the records: how many were written, how many not, and the first of those."""

    written: int
    refused: int
    first: str


@dataclass(frozen=True, slots=True)
class Conversion:
    """From files to records in another layout.

    `data` are files or patterns. Without `source`, `layout` and `fields` they are looked at.
    `fields` are FieldMap's. `drop` names fields to leave out, of rows and of turns.
    """

    data: Sequence[str]
    to: str
    source: str | None = None
    layout: str | None = None
    fields: Mapping[str, str] | None = None
    drop: tuple[str, ...] = ()

    def look(self, manager: PluginManager) -> Found:
        """Find source and layout. Raises UsageError and SourceError, with what to do."""
        found = look(
            manager,
            self.data,
            Path.cwd(),
            source=self.source,
            fields=self.fields,
            layout=self.layout,
        )
        if found.layout is None and self.fields is None:
            raise UsageError(
                f"source {found.source!r} does not say where query and answer stand: name the "
                "layout with --layout, or the fields with --fields query=...,answer=..."
            )
        return found

    def opened(self, manager: PluginManager, found: Found) -> Source:
        """The source that `found` names."""
        component = manager.require("source", found.source)
        place = {"fields": self.fields} if self.fields else {"layout": found.layout}
        block = {"path": list(found.patterns), **place}
        source: Source = component.create(_checked(component, block))
        return source

    def converted(self, record: Record, layout: str | None) -> Record:
        """The record in the other layout. Raises ValueError where that cannot say it."""
        if layout == self.to and not self.drop:
            return record
        try:
            row = json.loads(record.row, parse_float=orjson.Fragment, parse_int=_whole)
        except RecursionError:
            raise ValueError("lists or objects nested too deeply") from None
        fields = self._rewritten(record, record.fields, layout) if record.fields else {}
        line = orjson.dumps(self._rewritten(record, row, layout), option=orjson.OPT_APPEND_NEWLINE)
        return replace(record, row=line, fields=fields)

    def _rewritten(
        self, record: Record, row: Mapping[str, Any], layout: str | None
    ) -> dict[str, Any]:
        if layout == self.to:
            return in_place(row, (), {}, self.drop)
        content = Content(record.query, record.answer, record.system, record.id, record.history)
        new = WRITERS[self.to](talk_of(content, row, layout, self.drop))
        names = FieldMap.model_validate(self.fields) if self.fields else None
        if names is not None and names.id:
            new = {"id": record.id, **new}
        return in_place(row, taken_by(layout, names), new, self.drop)


def convert(
    manager: PluginManager,
    conversion: Conversion,
    found: Found,
    path: Path,
    observer: Observer,
    *,
    on_error: Literal["fail", "skip"] = "fail",
) -> Converted:
    """Write the records to `path`, in the format of its ending, once all of them are converted.

    Raises TooManyBadRecords, and writes nothing, where `on_error` is "fail" and a record is bad or
    cannot be said in the layout.
    """
    make_sink = sink_for(manager, path.name)
    source = conversion.opened(manager, found)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Beside the target, so that the file can be moved there in one go.
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
            form = _ending(path.name)[0]
            with _fitting(make_sink(Path(folder))) as sink:
                done = _all(conversion, source, found.layout, sink, observer, form=form)
            if done.refused and on_error == "fail":
                raise TooManyBadRecords(
                    f"{done.refused} of {done.refused + done.written} records cannot be written "
                    f"in layout {conversion.to}, so nothing was; the first: {done.first}\n"
                    "--on-error skip leaves them out"
                )
            (file,) = Path(folder).glob("kept.*")
            file.replace(path)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from error
    return done


@contextmanager
def _fitting(sink: Sink) -> Iterator[Sink]:
    """The sink, closed in the end; what does not fit its format is told in words of a command."""
    try:
        try:
            yield sink
        finally:
            sink.close()
    except RunDirectoryError as error:
        raise RunDirectoryError(f"{error} (here: -o NAME.jsonl)") from None


def _all(
    conversion: Conversion,
    source: Source,
    layout: str | None,
    sink: Sink,
    observer: Observer,
    *,
    form: str,
) -> Converted:
    written = refused = 0
    first = ""
    observer.started("converting", None)
    for item in source.read():
        try:
            if isinstance(item, BadRecord):
                raise ValueError(item.error)
            record = conversion.converted(item, layout)
            if record is item and _ending(item.origin.part)[0] != form:
                record = replace(item, fields=dict(item.fields))  # not the source's own kind of row
            sink.keep(record)
            written += 1
        except ValueError as error:
            refused += 1
            first = first or f"{item.origin}: {printable(str(error))}"
        if (written + refused) % _AT_ONCE == 0:
            observer.advanced(_AT_ONCE, 0)
    observer.advanced((written + refused) % _AT_ONCE, 0)
    observer.finished()
    return Converted(written, refused, first)


def sink_for(manager: PluginManager, name: str) -> partial[Sink]:
    """What makes the sink for a file of that name, given a folder.

    A sink is called what its files end in. Raises UsageError for an ending that no sink writes.
    """
    form, packed = _ending(name)
    options: dict[str, Any] = {"compression": _PACKED[packed]} if packed else {}
    if form == "tsv":
        form, options = "csv", {**options, "delimiter": "\t"}
    if form not in manager.names("sink"):
        known = ", ".join(f".{name}" for name in manager.names("sink"))
        raise UsageError(f"no sink writes {name}: a name ends in {known}")
    component = manager.require("sink", form)
    wrong = UsageError(f"{form} files are not packed as a whole: leave {packed} out")
    if packed and "compression" not in component.config.model_fields:
        raise wrong
    make = partial(component.create, _checked(component, options))
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder)).close()
        if not [*Path(folder).glob("kept.*")]:
            raise UsageError(f"{form} is written as a folder: name a file of another format")
        if not [*Path(folder).glob(f"kept.*{packed}")]:  # it packs something else: pages, say
            raise wrong
    return make


def _ending(name: str) -> tuple[str, str]:
    """A file's form and how it is packed: ("jsonl", ".gz"); either may be empty."""
    suffixes = [suffix.lower() for suffix in Path(name).suffixes[-2:]]
    packed = suffixes.pop() if suffixes and suffixes[-1] in _PACKED else ""
    return suffixes[-1][1:] if suffixes else "", packed


def _checked(component: Component[Any], block: Mapping[str, Any]) -> BaseModel:
    try:
        return component.config.model_validate(block, context={"folder": Path.cwd()})
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise UsageError(f"{component.name} cannot do that: {where}: {problem['msg']}") from None


def _whole(digits: str) -> int | orjson.Fragment:
    """A whole number; as it is spelt where it is longer than any parser's."""
    return int(digits) if len(digits) < 19 else orjson.Fragment(digits)
